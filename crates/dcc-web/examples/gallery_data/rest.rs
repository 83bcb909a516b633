//! Inbox, cards, jobs, timeline, search, health, pages.

use dcc_api::view::{
    ApprovalCard, ApprovalRow, AttemptView, EventView, FactView, FixView, GateDecision, GrantRow, HealthGroup, HealthRow, HealthView, InboxGroup, InboxView, JobRow, JobView, JobsView, LoginView, OutputView,
    PathEffect, PathView, PhaseView, ProblemView, RecoveryRow, ScopeView, SearchGroup, SearchHit, SearchScope, SearchView, SnippetLine, TimelineLane, TimelineMark, TimelineSpan, TimelineView,
};

use super::{HOUR, MINUTE, NOW, approval, calls, event as event_row, events, failure, flow, some, strings};

fn scope(name: &str, offered: bool, covers: &str, releases: i64) -> ScopeView {
    ScopeView { scope: name.into(), offered, covers: covers.into(), until_at_ms: (name != "once").then_some(NOW + 8 * HOUR), releases, refusal: (!offered).then(|| "R2 is at most for this job".to_owned()) }
}

fn path(path: &str, kind: &str, add: i64, del: i64) -> PathEffect {
    PathEffect { path: PathView::from(path), kind: kind.into(), additions: Some(add), deletions: Some(del), blob_oid: some("3f0a91c000000000000000000000000000000000") }
}

pub fn commit_card() -> ApprovalCard {
    ApprovalCard {
        approval: approval("ap-1", "R1", "Commit 3 paths on dcc/WP-041-idempotent-ingest", "claude", 4 * MINUTE),
        plan_digest: "7be041c9".into(),
        preview_digest: "aa11".into(),
        decidable: true,
        message: some("Make POST /v1/usage idempotent\n\nClaim the key, append and record the outcome in one transaction.\nA replay answers with the first outcome."),
        paths: vec![path("crates/meter-http/src/ingest.rs", "modified", 42, 7), path("crates/meter-store/src/dedupe.rs", "added", 96, 0), path("crates/meter-store/migrations/0019_idempotency.sql", "added", 14, 0)],
        facts: vec![FactView { name: "Secret scan".into(), value: "0 findings in 3 blobs".into() }, FactView { name: "Hooks".into(), value: "do not run on this path".into() }],
        diff: Some(flow::diff()),
        diff_href: some("/ws/ws-041"),
        workspace_path: some("../meterd.wt/WP-041-idempotent-ingest"),
        branch: some("dcc/WP-041-idempotent-ingest"),
        parent_oid: some("9c41e7d0000000000000000000000000000000aa"),
        tree_oid: some("a6c2f900000000000000000000000000000000aa"),
        requester: "session".into(),
        role: some("coder"),
        model_id: some("sonnet"),
        mt_name: some("Record the outcome of a claim"),
        last_instruction: some("The claim and the append must be one transaction."),
        claim: some("The handler, the store and the migration belong together; tests pass, ready to commit before I touch the docs."),
        before: calls().into_iter().rev().take(4).collect(),
        risk: "writes one commit on its own feature branch".into(),
        reversible: true,
        undo: "a revert commit".into(),
        risk_notes: strings(&["nothing outside the 3 paths changes"]),
        capability_id: "dev.version.write".into(),
        rule: "coder: ask".into(),
        rule_source: "built-in policy".into(),
        scopes: vec![scope("once", true, "This plan only. Runs within 120 s.", 0), scope("job", true, "These 3 paths in job 7d03, max 25 times, till 18:42.", 0), scope("session", true, "c41f9a20, own branch, till it ends.", 1), scope("workspace", true, "claude coders here, for 24 h.", 2)],
        ..ApprovalCard::default()
    }
}

pub fn r3_card() -> ApprovalCard {
    ApprovalCard {
        approval: ApprovalRow { op: "workspace.remove".into(), ..approval("ap-3", "R3", "Remove worktree WP-036-tenant-quotas with 2 uncommitted files", "gemini", 11 * MINUTE) },
        message: None,
        paths: vec![path("notes/untracked.md", "deleted", 0, 40), path("src/quota.rs", "deleted", 0, 12)],
        facts: vec![],
        diff: None,
        diff_href: None,
        risk: "deletes two files that stand in no commit".into(),
        reversible: false,
        undo: "none; a recovery ref is taken first".into(),
        confirm_text: some("WP-036-tenant-quotas"),
        scopes: vec![scope("once", true, "This plan only. Runs within 120 s.", 0)],
        preview_digest: "r3".into(),
        ..commit_card()
    }
}

pub fn command_card() -> ApprovalCard {
    ApprovalCard {
        approval: ApprovalRow { op: "capability.request".into(), ..approval("ap-2", "R2", "Run cargo flamegraph --bench usage_read", "claude", 9 * MINUTE) },
        command: strings(&["cargo", "flamegraph", "--bench", "usage read", "--", "\u{202e}--evil"]),
        message: None,
        paths: vec![],
        diff: None,
        diff_href: None,
        network: strings(&["crates.io:443"]),
        capability_id: "dev.shell.custom".into(),
        risk: "a command outside the session's own profile".into(),
        undo: "none".into(),
        reversible: false,
        grant_miss: some("the session's grant covers recipes only"),
        scopes: vec![scope("once", true, "This command only. Runs within 120 s.", 0), scope("job", true, "This argv until the turn ends, max 25 times.", 0), scope("session", false, "", 0), scope("workspace", false, "", 0)],
        preview_digest: "r2".into(),
        ..commit_card()
    }
}

pub fn decided_card() -> ApprovalCard {
    let base = commit_card();
    ApprovalCard {
        approval: ApprovalRow { status: "denied".into(), decided_at_ms: Some(NOW - MINUTE), decided_by: some("operator"), reason: some("use the fixture, not the real file"), failure: Some(failure("HSK-403-APPROVAL-DENIED", "The operator denied it.", "The reason was sent to claude.")), ..base.approval.clone() },
        decidable: false,
        ..base
    }
}

pub fn grants() -> Vec<GrantRow> {
    let grant = |id: &str, status: &str, scope: &str| GrantRow { grant_id: id.into(), status: status.into(), capability_id: "dev.version.write".into(), scope: scope.into(), covers: "commits on dcc/WP-041-idempotent-ingest".into(), approval_id: some("ap-0"), wp_id: some("WP-041"), session_id: some("0192f3a4-1111-7abc-8def-0123c41f9a20"), agent: some("claude"), issued_at_ms: NOW - HOUR, expires_at_ms: Some(NOW + 8 * HOUR), uses: 3, max_uses: Some(100), ..GrantRow::default() };
    vec![grant("g-1", "active", "session"), GrantRow { revoked_at_ms: Some(NOW - MINUTE), ..grant("g-2", "revoked", "job") }]
}

pub fn inbox(tab: &str, by_address: bool) -> InboxView {
    let group = |key: &str, title: &str, items: Vec<ApprovalRow>| InboxGroup { key: key.into(), title: title.into(), items, ..InboxGroup::default() };
    let decided = |id: &str, status: &str, title: &str| ApprovalRow { status: status.into(), decided_at_ms: Some(NOW - 38 * MINUTE), scope: (status == "consumed").then(|| "once".to_owned()), outcome: some("ran in 0.8 s"), reason: (status == "denied").then(|| "use the fixture".to_owned()), ..approval(id, "R1", title, "codex", HOUR) };
    InboxView {
        tab: tab.into(),
        groups: vec![
            group("decision", "Needs decision", vec![r3_card().approval, command_card().approval, commit_card().approval]),
            InboxGroup { note: "6 requests of 3 sessions, R1 each".into(), ..group("batch:edit", "File edits in its own worktree", (0..6).map(|n| approval(&format!("ap-b{n}"), "R1", &format!("Edit src/part_{n}.rs"), "codex", 3 * MINUTE)).collect()) },
            group("question", "Questions and reviews", vec![approval("ap-7", "R0", "“Keep the old secret valid for 24 h or for 72 h?”", "gemini", 19 * MINUTE)]),
        ],
        decided: vec![decided("ap-8", "consumed", "Create worktree WP-048-openapi-drift"), decided("ap-9", "denied", "Read .env.staging")],
        grants: grants(),
        open_count: 4,
        decided_count: 14,
        grants_count: 2,
        selected: (tab == "open").then(commit_card),
        selected_by_address: by_address,
        last_result: some("last grant released 2 calls"),
        sessions_running: 3,
    }
}

fn job_row(id: &str, op: &str, state: &str, summary: &str, age: i64) -> JobRow {
    JobRow {
        job_id: format!("0192f3a4-2222-7abc-8def-01237d03{id}"),
        op: op.into(),
        state: state.into(),
        summary: summary.into(),
        actor_kind: "human".into(),
        actor_id: "operator".into(),
        wp_id: some("WP-041"),
        attempt: 1,
        created_at_ms: NOW - age,
        updated_at_ms: NOW - age + 800,
        finished_at_ms: matches!(state, "completed" | "failed").then_some(NOW - age + 800),
        failure: (state == "failed").then(|| failure("HSK-409-STALE-PREVIEW", "ingest.rs changed after the preview.", "Look at the change and ask again.")),
        ..JobRow::default()
    }
}

pub fn jobs() -> JobsView {
    JobsView {
        items: vec![
            JobRow { approval_id: some("ap-1"), session_id: some("0192f3a4-1111-7abc-8def-0123c41f9a20"), ..job_row("0001", "version.commit", "awaiting_user", "commit 3 paths", 4 * MINUTE) },
            job_row("0002", "sandbox.run_recipe", "running", "nextest -p meter-http", 20_000),
            job_row("0003", "sandbox.run_recipe", "completed", "nextest -p meter-store, 44 tests", 9 * MINUTE),
            job_row("0004", "version.commit", "failed", "commit 2 paths", 14 * MINUTE),
            job_row("0005", "workspace.create", "completed", "worktree on dcc/WP-041-idempotent-ingest", HOUR),
        ],
        ops: strings(&["locus.create_wp", "version.commit", "sandbox.run_recipe", "workspace.create"]),
        total: Some(5),
        ..JobsView::default()
    }
}

pub fn job() -> JobView {
    let phase = |phase: &str, status: &str, detail: &str| PhaseView { phase: phase.into(), status: status.into(), at_ms: Some(NOW - 14 * MINUTE), detail: some(detail) };
    let mut row = jobs().items.swap_remove(3);
    row.session_id = some("0192f3a4-1111-7abc-8def-0123c41f9a20");
    row.workspace_id = some("ws-041");
    JobView {
        job: row,
        idempotency_key: some("5b0f6a52-7a51-4c3d-9d0e-0d2f6a1b7c55"),
        plan_digest: some("7be041c9aa"),
        phases: vec![phase("plan", "done", "3 blobs hashed"), phase("gate", "done", "8 gates"), phase("approve", "done", "once, by operator"), phase("apply", "failed", "precondition moved"), phase("record", "open", "")],
        gates: vec![GateDecision { gate: "capability".into(), decision: "ask".into(), reason: some("dev.version.write: coder ask"), decided_at_ms: Some(NOW - 14 * MINUTE) }],
        plan: vec![FactView { name: "Branch".into(), value: "dcc/WP-041-idempotent-ingest".into() }, FactView { name: "Paths".into(), value: "crates/meter-http/src/ingest.rs\ncrates/meter-store/src/dedupe.rs".into() }],
        params_json: "{\n  \"paths\": [\"crates/meter-http/src/ingest.rs\"],\n  \"message\": \"Make it idempotent\"\n}".into(),
        approvals: vec![ApprovalRow { status: "approved".into(), decided_at_ms: Some(NOW - 14 * MINUTE), scope: some("once"), ..approval("ap-4", "R1", "Commit 2 paths", "claude", 15 * MINUTE) }],
        attempts: vec![AttemptView { attempt: 1, state: "failed".into(), started_at_ms: NOW - 14 * MINUTE, ended_at_ms: Some(NOW - 14 * MINUTE), failure: Some(failure("HSK-409-STALE-PREVIEW", "moved", "")) }],
        events: events(),
        output: Some(OutputView { exit_code: Some(100), text: "running 44 tests\ntest dedupe::claims_twice ... FAILED\n".into(), truncated: true, sha256: some(&"ab".repeat(32)) }),
        next_step: some("Review the change of ingest.rs and commit again; nothing was written."),
        ..JobView::default()
    }
}

pub fn timeline(layout: &str) -> TimelineView {
    let span = |kind: &str, label: &str, from: i64, to: Option<i64>| TimelineSpan { kind: kind.into(), label: label.into(), from_at_ms: NOW - from * MINUTE, to_at_ms: to.map(|to| NOW - to * MINUTE) };
    let mark = |kind: &str, label: &str, at: i64| TimelineMark { kind: kind.into(), label: label.into(), at_ms: NOW - at * MINUTE, event_id: "e".into() };
    let lane = |name: &str, note: &str, spans, marks| TimelineLane { name: name.into(), session_id: some("s-1"), note: note.into(), spans, marks };
    TimelineView {
        layout: layout.into(),
        filter: dcc_api::view::TimelineFilter { wp: some("WP-041"), ..Default::default() },
        items: events(),
        next_cursor: some("18038"),
        total: Some(231),
        verified_seq: Some(18_200),
        verified_at_ms: Some(NOW - 12_000),
        lanes: vec![
            lane("operator", "decisions and messages", vec![], vec![mark("decision", "once", 37), mark("decision", "steer", 21)]),
            lane("claude", "WP-041, waits 4 m", vec![span("run", "turn 5", 60, Some(37)), span("run", "turn 6", 20, Some(12)), span("run", "turn 7", 8, Some(4)), span("wait", "waits 4 m", 4, None)], vec![mark("ask", "commit 3 paths", 4), mark("error", "2 of 44", 6), mark("call", "read", 7)]),
            lane("codex", "WP-042, working", vec![span("run", "turn 1", 45, Some(30)), span("run", "turn 2", 10, None)], vec![mark("call", "read", 9)]),
            lane("claude", "WP-050, rate limited", vec![span("run", "turn 3", 60, Some(25)), span("pause", "paused", 25, Some(20)), span("blocked", "rate limited", 15, None)], vec![]),
        ],
        ..TimelineView::default()
    }
}

pub fn event() -> EventView {
    let row = event_row(18_177, 6 * MINUTE, "JOB-finished", "error", "recipe nextest -p meter-store, 2 of 44 failed");
    EventView {
        header: [("seq", "18177"), ("event_id", &row.event_id), ("code", &row.code), ("trace_id", "4f1c22"), ("policy_digest", "9a01bb")].iter().map(|(name, value)| FactView { name: (*name).into(), value: (*value).to_owned() }).collect(),
        payload_json: some("{\n  \"exit_code\": 100,\n  \"tests_run\": 44\n}"),
        payload_sha256: "ab".repeat(32),
        prev_hash: "cd".repeat(32),
        hash: "ef".repeat(32),
        context: events(),
        event: row,
        ..EventView::default()
    }
}

pub fn search() -> SearchView {
    let built = |scope: &str, title: &str, count| SearchScope { scope: scope.into(), title: title.into(), count, built: true };
    let hit = |kind: &str, title: &str, detail: &str, href: &str| SearchHit { kind: kind.into(), title: title.into(), detail: detail.into(), href: href.into(), ..SearchHit::default() };
    SearchView {
        q: "idempotent".into(),
        scope: "code".into(),
        scopes: vec![built("objects", "Objects", Some(3)), built("code", "Code", Some(2)), built("events", "Events", Some(12)), SearchScope { scope: "transcripts".into(), title: "Transcripts".into(), count: None, built: false }],
        groups: vec![
            SearchGroup { title: "WP-041-idempotent-ingest".into(), workspace_id: some("ws-041"), items: vec![SearchHit { snippet: vec![SnippetLine { number: Some(41), text: "/// Claims an idempotency key inside the transaction.".into(), marks: vec![(14, 25)] }, SnippetLine { number: Some(42), text: "pub async fn claim(&mut self, key: &IdempotencyKey) -> Result<Claim> {".into(), marks: vec![] }], also_in: 3, ..hit("code", "crates/meter-store/src/dedupe.rs:41", "", "/ws/ws-041") }] },
            SearchGroup { title: "Packets".into(), workspace_id: None, items: vec![SearchHit { status: some("in_progress"), ..hit("wp", "WP-041", "Idempotent usage ingestion for POST /v1/usage", "/wp/WP-041") }] },
        ],
        total: 17,
        took_ms: Some(38),
        ..SearchView::default()
    }
}

pub fn health() -> HealthView {
    let row = |name: &str, status: &str, word: &str, evidence: &str, fix: Option<FixView>| HealthRow { name: name.into(), status: status.into(), word: word.into(), evidence: evidence.into(), since_at_ms: Some(NOW - 12_000), fix, ..HealthRow::default() };
    let op = |label: &str, op: &str| Some(FixView { label: label.into(), op: some(op), ..FixView::default() });
    let group = |title: &str, note: &str, rows: Vec<HealthRow>| HealthGroup { title: title.into(), note: note.into(), rows };
    HealthView {
        waivable: Some(vec![("ws-1".into(), "dcc/WP-047".into())]),
        groups: vec![
            group("Record", "what cannot be rebuilt", vec![row("Recorder chain", "ok", "", "18 234 events, 41 MB, verified to seq 18 200", None), row("Artifacts", "ok", "", "2 118 files, 312 MB, 0 hashes differ, sampled 200", None)]),
            group("Derived", "may be deleted and comes back", vec![row("devcc.db", "ok", "", "integrity ok, 28 MB, WAL 1.2 MB, cursor at seq 18 234", None), row("TASK_BOARD.md", "drift", "stale", "2 changes behind", op("Write the file", "locus.sync_task_board"))]),
            group("Git", "", vec![row("Worktree WP-035-split-handlers", "fault", "missing", "directory is gone, branch at c0d91ab is merged, nothing uncommitted was recorded", Some(FixView { label: "Open it".into(), href: some("/ws/ws-035"), ..FixView::default() })), row("Disk", "ok", "", "184 GB free, worktrees 6.1 GB", None)]),
            group("Agents", "", vec![row("gemini", "needs", "login", "0.21.0, token expires at 11:15; 1 session uses it", Some(FixView { label: "Copy the login command".into(), command: some("gemini auth"), ..FixView::default() })), row("opencode", "unknown", "", "version did not answer within 2 s", None)]),
            group("Machine", "", vec![row("Sandbox", "ok", "", "namespaces+landlock+seccomp, self-test: write outside, connect, signal refused", None)]),
        ],
        recovery: vec![RecoveryRow { session_id: some("0192f3a4-1111-7abc-8def-0123b81d04aa"), agent: some("codex"), wp_id: some("WP-049"), state: "crash_recovery".into(), evidence: "checkpoint 9, 40 s before the end · 1 pending write, effect unknown · 3 dirty files".into(), since_at_ms: Some(NOW - 2 * HOUR), safe_to_resume: false, ..RecoveryRow::default() }],
        recovery_note: some("The server ended without a shutdown at 08:26:40 and came back at 08:28:02."),
        checked_at_ms: Some(NOW - 9000),
    }
}

pub fn login() -> LoginView {
    LoginView { server: "127.0.0.1:4173".into(), command: "dcc up --detach".into(), failure: Some(failure("HSK-401-LINK-USED", "This link was used or is older than 60 seconds.", "Get a new one below.")) }
}

pub fn problem() -> ProblemView {
    ProblemView { status: 404, code: "HSK-404-WP".into(), title: "Packet WP-099 is not in this project".into(), cause: some("No record gov/work_packets/WP-099/packet.json exists."), hint: some("Check the id, or look on the board."), job_id: None }
}
