//! Board and packet.

#![allow(clippy::unnecessary_wraps, clippy::too_many_arguments)] // made-up data, written densely

use dcc_api::view::{
    BoardView, CardView, CriterionView, DependencyView, EvidenceView, GateView, HealthRow, LaneView, MirrorView, MtRow, NoteView, PacketView, ReadinessView, WpRef,
};

use super::{DAY, HOUR, MINUTE, NOW, approval, events, failure, flow, rest, session_ref, some, strings};

fn card(id: &str, title: &str, status: &str, age: i64, mts: &[&str]) -> CardView {
    CardView { wp_id: id.into(), title: title.into(), status: status.into(), priority: 2, lane_since_at_ms: Some(NOW - age), mt_statuses: strings(mts), ..CardView::default() }
}

fn lane(status: &str, title: &str, cards: Vec<CardView>) -> LaneView {
    LaneView { status: status.into(), title: title.into(), count: cards.len() as i64, wip_limit: (status == "in_progress").then_some(6), cards }
}

fn working(id: &str, branch: &str, dirty: Option<i64>, base: CardView) -> CardView {
    CardView { workspace_id: some(id), branch: some(branch), dirty_files: dirty, ..base }
}

pub fn board(layout: &str) -> BoardView {
    let done = "completed";
    let ready = vec![
        card("WP-044", "Backfill job for usage events that arrive after the period closed", "ready", 2 * DAY, &["pending"; 5]),
        card("WP-051", "Replace chrono with jiff in meter-core and meter-store", "ready", 3 * DAY, &["pending"; 3]),
        CardView { priority: 0, ..card("WP-052", "Retention for the audit table: 400 days, then cold storage", "ready", 3 * DAY, &["pending"; 4]) },
        card("WP-055", "Expose queue lag per tenant as a gauge", "ready", 8 * DAY, &["pending"; 3]),
    ];
    let progress = vec![
        CardView {
            approvals: vec![approval("ap-1", "R1", "Commit 3 paths on dcc/WP-041-idempotent-ingest", "claude", 4 * MINUTE)],
            sessions: vec![session_ref("s-041", "claude", "BLOCKED", "approval_wait")],
            ..working("ws-041", "dcc/WP-041-idempotent-ingest", Some(9), card("WP-041", "Idempotent usage ingestion for POST /v1/usage", "in_progress", 2 * HOUR + 14 * MINUTE, &[done, done, done, "in_progress", "blocked", "pending", "pending"]))
        },
        CardView { sessions: vec![session_ref("s-047", "gemini", "BLOCKED", "input_wait")], why: some("question: keep the old secret 24 h or 72 h?"), ..working("ws-047", "dcc/WP-047-secret-rotation", Some(7), card("WP-047", "Rotate webhook signing secrets without dropping deliveries", "in_progress", 5 * HOUR, &[done, done, "in_progress", "pending"])) },
        CardView { sessions: vec![session_ref("s-042", "codex", "ACTIVE", "running")], why: some("working: nextest meter-http · 4 s"), ..working("ws-042", "dcc/WP-042-ingest-rate-limit", Some(4), card("WP-042", "Rate-limit the public ingest API per tenant", "in_progress", HOUR, &[done, "in_progress", "pending"])) },
        CardView { sessions: vec![session_ref("s-050", "claude", "BLOCKED", "rate_limited")], why: some("rate limited until 10:51"), ..working("ws-050", "dcc/WP-050-usage-latency", None, card("WP-050", "p99 of GET /v1/usage under 40 ms at 2,000 requests/s", "in_progress", 6 * HOUR, &[done, done, "blocked", "pending"])) },
        CardView { why: Some("\u{202e}evil\u{202c} <script>alert(1)</script> \u{1b}[31mred".into()), ..card("WP-066", "Title with <b>markup</b>, a bidi \u{202e}override\u{202c} and a zero\u{200b}width", "in_progress", HOUR, &[]) },
    ];
    let blocked = vec![CardView { why: some("waits for WP-041"), ..card("WP-043", "Charge prepaid credits before invoicing the remainder", "blocked", DAY + 4 * HOUR, &["pending"; 6]) }];
    let gated = vec![CardView { why: some("held: wait for the security review"), ..card("WP-036", "Promote tenant quotas to main", "gated", 52 * MINUTE, &[done; 5]) }];
    let closed = vec![
        card("WP-038", "Round invoices in integer minor units, never in floats", "done", HOUR, &[done; 6]),
        card("WP-040", "Health endpoint reports the store and the queue apart", "done", 2 * HOUR, &[done; 2]),
        card("WP-037", "Reject events whose timestamp lies more than 24 h ahead", "done", DAY, &[done; 3]),
    ];
    BoardView {
        layout: layout.into(),
        filter: "all".into(),
        total: 17,
        mirror: Some(MirrorView { mirror_state: "advisory_edit".into(), path: "TASK_BOARD.md".into(), message: some("was edited by hand: 1 proposal (WP-049 moved to Ready for Dev, line 41). The board shows the store."), checked_at_ms: Some(NOW) }),
        lanes: vec![
            lane("stub", "Stub backlog", vec![]),
            lane("ready", "Ready for dev", ready),
            lane("in_progress", "In progress", progress),
            lane("blocked", "Blocked", blocked),
            lane("gated", "Gated", gated),
            lane("done", "Done", closed),
            lane("cancelled", "Superseded", vec![card("WP-031", "Old importer", "cancelled", 9 * DAY, &[])]),
        ],
        ..BoardView::default()
    }
}

pub fn empty_board() -> BoardView {
    let row = |name: &str, status: &str, word: &str, evidence: &str| HealthRow { name: name.into(), status: status.into(), word: word.into(), evidence: evidence.into(), ..HealthRow::default() };
    BoardView {
        machine: vec![
            row("Repository", "ok", "ready", "~/src/meterd, branch main at 4e1f0aa, clean"),
            row("git", "ok", "ready", "2.47.1, hooks and filters of this repository will not run"),
            row("Sandbox", "ok", "ready", "namespaces+landlock+seccomp, self-test passed"),
            row("gemini", "needs", "login", "installed, not logged in. Sessions with it will wait."),
            row("opencode", "absent", "absent", "not on PATH. Nothing is downloaded for you."),
        ],
        ..BoardView::default()
    }
}

pub fn trouble_board() -> BoardView {
    BoardView {
        failure: Some(failure("HSK-400-INVALID-INPUT", "gov/work_packets/WP-049/packet.json line 12: unknown status \"soon\".", "The lanes show the last good state. Repair the record or restore it from git.")),
        mirror: Some(MirrorView { mirror_state: "stale".into(), path: "TASK_BOARD.md".into(), message: some("is behind by 2 changes."), checked_at_ms: Some(NOW) }),
        q: "quota".into(),
        hidden: 16,
        ..board("lanes")
    }
}

fn mt(id: &str, name: &str, status: &str, evidence: Option<EvidenceView>, waits: Option<&str>) -> MtRow {
    MtRow {
        mt_id: id.into(),
        name: name.into(),
        status: status.into(),
        done_criteria: strings(&["nextest -p meter-store passes", "no second table"]),
        iterations: i64::from(status != "pending"),
        max_iterations: 5,
        agent: (status != "pending").then(|| "claude".to_owned()),
        evidence,
        waits: waits.map(str::to_owned),
        ..MtRow::default()
    }
}

fn proof(command: &str, tests: i64, oid: &str, age: i64) -> Option<EvidenceView> {
    Some(EvidenceView { job_id: some("0192f3a4-2222-7abc-8def-01237d03000a"), command: some(command), exit_code: Some(0), tests_run: Some(tests), commit_oid: some(oid), statement: None, recorded_at_ms: Some(NOW - age) })
}

pub fn packet() -> PacketView {
    let oid = "9c41e7d0000000000000000000000000000000aa";
    PacketView {
        wp_id: "WP-041".into(),
        title: "Idempotent usage ingestion for POST /v1/usage".into(),
        description: some("A client that retries must never be charged twice.\n\nThe key stands in the header `Idempotency-Key`; the outcome is kept for 24 h."),
        status: "in_progress".into(),
        priority: 1,
        wp_type: "feature".into(),
        routing: "GOV_STANDARD".into(),
        reporter: "operator".into(),
        version: 14,
        why: some("approval: commit 3 paths"),
        why_since_at_ms: Some(NOW - 4 * MINUTE),
        in_scope_paths: strings(&["crates/meter-http/**", "crates/meter-store/**", "crates/meter-core/src/batch.rs", "docs/openapi.json"]),
        acceptance_criteria: vec![
            CriterionView { text: "A repeated key with the same batch answers with the first outcome and writes nothing".into(), status: "met".into(), proof: some("MT-003, 44 tests") },
            CriterionView { text: "A request in flight answers 409 with Retry-After, and its claim has an end".into(), status: "open".into(), proof: some("MT-005") },
            CriterionView { text: "p99 of POST /v1/usage grows by less than 2 ms".into(), status: "open".into(), proof: None },
        ],
        pre_work: GateView { status: "pass".into(), reason: None, validated_by: some("operator"), validated_at_ms: Some(NOW - 2 * HOUR) },
        post_work: GateView { status: "pending".into(), ..GateView::default() },
        micro_tasks: vec![
            mt("MT-001", "Digest of a batch", "completed", proof("nextest meter-core", 38, oid, 3 * HOUR), None),
            mt("MT-003", "Claim inside the transaction", "completed", proof("nextest meter-store", 44, oid, 38 * MINUTE), None),
            mt("MT-004", "Record the outcome of a claim", "in_progress", None, Some("needs a finished check on a commit")),
            mt("MT-005", "Replay and mismatch responses", "pending", None, Some("depends on MT-004")),
            mt("MT-007", "Load test, 1 % replays", "blocked", proof("bench ingest", 0, oid, 31 * MINUTE), None),
        ],
        notes: vec![
            NoteView { note_id: "n1".into(), written_at_ms: NOW - 31 * MINUTE, author: "you".into(), author_kind: "human".into(), note_type: "user".into(), body: "The claim needs a lease. Put the end into the same row, no sweeper.".into() },
            NoteView { note_id: "n2".into(), written_at_ms: NOW - HOUR, author: "claude".into(), author_kind: "agent".into(), note_type: "plan".into(), body: "Kept the digest over canonical order; member order in the request no longer matters.".into() },
        ],
        dependencies: vec![DependencyView { dependency_id: "d1".into(), kind: "blocks".into(), wp: WpRef { wp_id: "WP-043".into(), title: "Charge prepaid credits before invoicing".into(), status: "blocked".into() } }],
        workspaces: vec![flow::workspaces().items.swap_remove(0)],
        sessions: flow::sessions().items.into_iter().take(2).collect(),
        approvals: vec![approval("ap-1", "R1", "Commit 3 paths", "claude", 4 * MINUTE)],
        commits: flow::clean_review().commits,
        jobs: rest::jobs().items,
        readiness: vec![
            ReadinessView { name: "micro-tasks".into(), status: "open".into(), detail: some("3 of 5 not completed") },
            ReadinessView { name: "pending decisions".into(), status: "open".into(), detail: some("1") },
            ReadinessView { name: "task board".into(), status: "done".into(), detail: some("in step") },
        ],
        events: events(),
        close_refusal: Some(failure("HSK-409-GATE-NOT-PASSED", "post_work is pending and 3 micro-tasks are open.", "Finish or skip them, then decide the gate.")),
        evidence_jobs: vec![proof("nextest -p meter-http", 61, oid, 5 * MINUTE).expect("made above")],
        created_at_ms: NOW - DAY,
        updated_at_ms: NOW - MINUTE,
        ..PacketView::default()
    }
}

pub fn stub() -> PacketView {
    PacketView { wp_id: "WP-0001".into(), title: "Say hello".into(), status: "stub".into(), wp_type: "feature".into(), routing: "GOV_STANDARD".into(), priority: 2, version: 1, pre_work: GateView { status: "pending".into(), ..GateView::default() }, post_work: GateView { status: "pending".into(), ..GateView::default() }, ..PacketView::default() }
}
