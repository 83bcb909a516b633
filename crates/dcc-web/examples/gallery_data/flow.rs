//! Workspaces, review, sessions.

use dcc_api::view::{
    BudgetView, CallsFilter, CallsView, CheckView, CheckpointView, CommitRow, CostRow, CostView, DeliveryView, DiffLine, FileDiff, FileRow, HunkView, LedgerRow, PathView, PlanEntry, QueuedMessage, QuietView,
    RawRow, ReviewView, RouteView, SessionRow, SessionView, SessionsView, TurnItem, TurnView, WorkspaceRow, WorkspacesView, WpRef,
};

use super::{DAY, HOUR, MINUTE, NOW, calls, events, failure, rest, session_ref, some, strings};

fn commit_row(oid: &str, subject: &str, age: i64, governed: bool) -> CommitRow {
    CommitRow { commit_oid: oid.repeat(40).chars().take(40).collect(), subject: subject.into(), author: "Ada Operator".into(), committed_at_ms: NOW - age, job_id: governed.then(|| "0192f3a4-2222-7abc-8def-01237d030001".to_owned()), approval_id: None, governed }
}

fn workspace(id: &str, branch: &str, wp: Option<&str>, dirty: Option<i64>) -> WorkspaceRow {
    WorkspaceRow {
        workspace_id: id.into(),
        kind: "worktree".into(),
        role: "coder".into(),
        name: branch.trim_start_matches("dcc/").into(),
        path: format!("../meterd.wt/{}", branch.trim_start_matches("dcc/")),
        branch: some(branch),
        base_branch: some("main"),
        head_oid: some("9c41e7d0000000000000000000000000000000aa"),
        status: "active".into(),
        health: "ok".into(),
        ahead: Some(3),
        behind: Some(0),
        dirty_files: dirty,
        wp_id: wp.map(str::to_owned),
        wp_title: some("Idempotent usage ingestion"),
        last_commit: Some(commit_row("9c41e7d", "Claim inside the transaction", 38 * MINUTE, true)),
        disk_bytes: Some(612_000_000),
        last_opened_at_ms: Some(NOW - 20 * MINUTE),
        ..WorkspaceRow::default()
    }
}

pub fn workspaces() -> WorkspacesView {
    WorkspacesView {
        items: vec![
            WorkspaceRow { approvals: 1, sessions: vec![session_ref("s-041", "claude", "BLOCKED", "approval_wait")], ..workspace("ws-041", "dcc/WP-041-idempotent-ingest", Some("WP-041"), Some(9)) },
            WorkspaceRow { sessions: vec![session_ref("s-042", "codex", "ACTIVE", "running")], ..workspace("ws-042", "dcc/WP-042-ingest-rate-limit", Some("WP-042"), Some(4)) },
            WorkspaceRow { health: String::new(), ahead: None, behind: None, ..workspace("ws-050", "dcc/WP-050-usage-latency", Some("WP-050"), None) },
            WorkspaceRow { health: "missing".into(), health_failure: Some(failure("HSK-404-WORKTREE", "The directory is gone; the branch is merged.", "Unlink it, or create it again.")), ..workspace("ws-035", "dcc/WP-035-split-handlers", None, None) },
            WorkspaceRow { kind: "root".into(), role: "human".into(), wp_title: None, ..workspace("ws-root", "main", None, Some(0)) },
        ],
        archived: 2,
        importable: strings(&["../meterd-hotfix"]),
        packets: vec![WpRef { wp_id: "WP-044".into(), title: "Backfill job".into(), status: "ready".into() }],
        ..WorkspacesView::default()
    }
}

fn file(path: &str, kind: &str, add: i64, del: i64, group: &str) -> FileRow {
    FileRow { path: PathView::from(path), kind: kind.into(), additions: Some(add), deletions: Some(del), blob_oid: format!("{:040x}", path.len() * 7919), group: group.into(), in_scope: group != "unexpected", touched_by: some("claude, turn 7"), ..FileRow::default() }
}

fn files() -> Vec<FileRow> {
    vec![
        file("crates/meter-store/src/dedupe.rs", "added", 96, 0, "source"),
        file("crates/meter-http/src/ingest.rs", "modified", 42, 7, "source"),
        file("crates/meter-core/src/batch.rs", "modified", 18, 4, "source"),
        FileRow { plain: some("binary, 41 KB to 44 KB"), additions: None, deletions: None, ..file("docs/flow.png", "modified", 0, 0, "source") },
        FileRow { path: PathView::Bytes { b64: "c3JjL/8ucnM=".into() }, ..file("x", "untracked", 3, 0, "source") },
        file("crates/meter-http/tests/idempotent_ingest.rs", "added", 128, 0, "supporting"),
        file("Cargo.lock", "modified", 22, 3, "supporting"),
        file(".github/workflows/ci.yml", "modified", 3, 1, "unexpected"),
    ]
}

fn line(kind: &str, old: Option<i64>, new: Option<i64>, text: &str, marks: &[(usize, usize)]) -> DiffLine {
    DiffLine { kind: kind.into(), old_number: old, new_number: new, text: text.into(), marks: marks.to_vec() }
}

pub fn diff() -> FileDiff {
    FileDiff {
        file: files().swap_remove(1),
        hunks: vec![HunkView {
            header: "@@ -31,7 +31,9 @@ pub async fn post_usage(".into(),
            note: some("in scope"),
            lines: vec![
                line("context", Some(31), Some(31), "    State(app): State<App>,", &[]),
                line("add", None, Some(32), "    headers: HeaderMap,", &[]),
                line("context", Some(32), Some(33), "    Json(batch): Json<UsageBatch>,", &[]),
                line("del", Some(33), None, ") -> Result<StatusCode, ApiError> {", &[(12, 22)]),
                line("del", Some(34), None, "    let written = app.store.append(tenant, &batch.events).await?;", &[(18, 34)]),
                line("add", None, Some(34), ") -> Result<Response, ApiError> {", &[(12, 20)]),
                line("add", None, Some(35), "    let key = IdempotencyKey::from_headers(&headers)?; // \u{202e}hidden\u{202c}", &[]),
                line("add", None, Some(36), "\tlet digest = batch.canonical_digest();", &[]),
                line("context", Some(35), Some(37), "}", &[]),
                line("no_newline", None, None, "", &[]),
            ],
        }],
        ..FileDiff::default()
    }
}

pub fn long_diff() -> FileDiff {
    let lines = (1..120).map(|n| line("add", None, Some(n), &format!("    fn generated_{n}() -> u64 {{ {n} }}"), &[])).collect();
    FileDiff { file: files().swap_remove(0), hunks: vec![HunkView { header: "@@ -0,0 +1,119 @@".into(), note: some("new file"), lines }], ..FileDiff::default() }
}

pub fn review() -> ReviewView {
    ReviewView {
        workspace: workspaces().items.swap_remove(0),
        wp: Some(WpRef { wp_id: "WP-041".into(), title: "Idempotent usage ingestion".into(), status: "in_progress".into() }),
        mt_id: some("MT-004"),
        source: "uncommitted".into(),
        files: files(),
        diffs: vec![FileDiff { file: files().swap_remove(0), ..long_diff() }, diff(), FileDiff { file: files().swap_remove(3), ..FileDiff::default() }],
        additions: 312,
        deletions: 15,
        message: "Make POST /v1/usage idempotent\n\nClaim the key, append and record the outcome in one transaction.".into(),
        author: some("Ada Operator <ada@example.invalid>"),
        trailers: strings(&["DCC-WP: WP-041", "DCC-MT: MT-004"]),
        checks: vec![
            CheckView { name: "nextest meter-http".into(), status: "done".into(), detail: "61 tests, exit 0, 5 m".into(), job_id: some("0192f3a4-2222-7abc-8def-01237d030001") },
            CheckView { name: "secret scan".into(), status: "open".into(), detail: "runs in the commit preview".into(), job_id: None },
        ],
        recipes: strings(&["nextest", "fmt-check"]),
        jobs: rest::jobs().items.into_iter().take(3).collect(),
        ..ReviewView::default()
    }
}

pub fn clean_review() -> ReviewView {
    ReviewView {
        workspace: WorkspaceRow { dirty_files: Some(0), ..workspaces().items.swap_remove(0) },
        wp: review().wp,
        commits: vec![commit_row("9c41e7d", "Claim inside the transaction", 38 * MINUTE, true), commit_row("d09e3f2", "Key table and migration", 2 * HOUR, true), commit_row("77ab0c1", "wip", DAY, false)],
        commit_refusal: Some(failure("VCS_NOTHING_TO_COMMIT", "Nothing is changed.", "")),
        ..ReviewView::default()
    }
}

pub fn trouble_review() -> ReviewView {
    ReviewView {
        failure: Some(failure("HSK-423-LOCKED", ".git/worktrees/WP-041/index.lock exists since 10:31 and its process 4711 is gone.", "Remove the lock file, then check again.")),
        wp: None,
        packets: workspaces().packets,
        commit_refusal: Some(failure("HSK-423-LOCKED", "The index is locked.", "Remove the lock first.")),
        ..review()
    }
}

fn session_row(id: &str, agent: &str, state: &str, reason: &str, wp: &str) -> SessionRow {
    SessionRow {
        session_id: format!("0192f3a4-1111-7abc-8def-0123{id}"),
        role: "coder".into(),
        agent: agent.into(),
        model_id: some("sonnet"),
        backend: "cloud".into(),
        state: state.into(),
        state_reason: some(reason),
        state_since_at_ms: Some(NOW - 4 * MINUTE),
        wp_id: some(wp),
        wp_title: some("Idempotent usage ingestion"),
        mt_id: some("MT-004"),
        workspace_id: some("ws-041"),
        branch: some("dcc/WP-041-idempotent-ingest"),
        grants: 1,
        tokens_in: Some(212_000),
        tokens_out: Some(38_000),
        tool_calls: 57,
        cost: Some(CostView { amount: "1.84".into(), currency: "USD".into(), source: "reported".into() }),
        sandbox_posture: "namespaces+landlock+seccomp".into(),
        created_at_ms: NOW - HOUR,
        started_at_ms: Some(NOW - HOUR),
        last_activity_at_ms: Some(NOW - 4 * MINUTE),
        ..SessionRow::default()
    }
}

pub fn sessions() -> SessionsView {
    SessionsView {
        items: vec![
            SessionRow { approvals: 1, state_detail: some("approval, commit 3 paths"), ..session_row("c41f9a20", "claude", "BLOCKED", "approval_wait", "WP-041") },
            SessionRow { ended_at_ms: Some(NOW - 30 * MINUTE), ..session_row("20f3be61", "codex", "COMPLETED", "done", "WP-041") },
            SessionRow { cost: None, tokens_in: None, tokens_out: None, state_detail: some("nextest meter-http"), ..session_row("3e91b0d4", "codex", "ACTIVE", "running", "WP-042") },
            session_row("5d2260ee", "claude", "BLOCKED", "rate_limited", "WP-050"),
            SessionRow { cascade: 2, open_children: 1, lane: "BACKGROUND".into(), quiet: Some(QuietView { for_ms: 4 * MINUTE, last_tool: some("command cargo test"), tool_runs: true }), ..session_row("5d2260ef", "claude", "ACTIVE", "running", "WP-050") },
            SessionRow { depth: 1, near_limit: some("3 of 4 children"), parent_session_id: some("0192f3a4-1111-7abc-8def-01235d2260ef"), ..session_row("5d2260f0", "codex", "ACTIVE", "running", "WP-050") },
            session_row("b81d04aa", "codex", "PAUSED", "crash_recovery", "WP-049"),
            session_row("77a90c4b", "gemini", "BLOCKED", "input_wait", "WP-047"),
        ],
        ended: 12,
        costs: costs(),
        backends: strings(&["cloud", "local"]),
        workspaces: workspaces().items,
        ..SessionsView::default()
    }
}

fn costs() -> Vec<CostRow> {
    let row = |scope: &str, name: &str, cost: Option<&str>| CostRow { scope: scope.into(), name: name.into(), sessions: 3, tokens_in: 812_000, tokens_out: 96_000, cost: cost.map(|amount| CostView { amount: amount.into(), currency: "USD".into(), source: "estimated".into() }), wall_ms: 47 * MINUTE, ..CostRow::default() };
    vec![
        CostRow { soft_percent: Some(80), budget: Some(BudgetView { percent: 82, words: "4.10 of 5.00 USD".into(), level: "soft".into() }), ..row("project", "The project", Some("4.10")) },
        CostRow { href: some("/wp/WP-041"), mixed: true, ..row("packet", "WP-041 Idempotent usage ingestion", Some("1.84")) },
        row("provider", "anthropic", Some("3.02")),
        CostRow { tokens_in: 0, tokens_out: 0, ..row("provider", "openai", None) },
        CostRow { href: some("/session/x"), ..row("session", "claude c41f9a20", Some("1.84")) },
    ]
}

fn turn(id: &str, number: Option<i64>, who: &str, age: i64, items: Vec<TurnItem>) -> TurnView {
    TurnView { turn_id: id.into(), number, who: who.into(), name: "claude".into(), started_at_ms: NOW - age, ended_at_ms: number.map(|_| NOW - age + 8 * MINUTE), status: "done".into(), tokens: number.map(|_| 18_000), items, ..TurnView::default() }
}

pub fn session() -> SessionView {
    let text = |text: &str| TurnItem::Text { text: text.into() };
    let many = (0..17).map(|n| super::call(&format!("r{n}"), 20 * MINUTE - n * 9000, if n % 5 == 0 { "WRITE" } else { "READ" }, if n % 5 == 0 { "edit" } else { "read" }, "crates/meter-store/src/dedupe.rs", if n == 8 { "error" } else { "ok" }, "ok", Some(30), "reported")).collect();
    SessionView {
        session: SessionRow { state_detail: some("approval"), ..session_row("c41f9a20", "claude", "BLOCKED", "approval_wait", "WP-041") },
        turns: vec![
            TurnView { note: some("queued, delivered after call 17"), ..turn("m1", None, "operator", 21 * MINUTE, vec![text("The claim and the append must be one transaction. Do not add a second table for replays.")]) },
            TurnView { job_id: some("0192f3a4-2222-7abc-8def-01237d030006"), ..turn("t6", Some(6), "agent", 20 * MINUTE, vec![text("I will move the claim into the store transaction and let the handler map its four results to responses."), TurnItem::Calls { calls: many }]) },
            TurnView { status: "running".into(), ended_at_ms: None, ..turn("t7", Some(7), "agent", 8 * MINUTE, vec![TurnItem::Thought { text: "The digest is compared before canonical ordering.".into() }, text("Two store tests fail because the digest is compared before canonical ordering. Fixing the batch, then the handler."), TurnItem::Calls { calls: calls() }, TurnItem::Held { approval_id: "ap-1".into() }]) },
        ],
        earlier_turns: 5,
        queued: vec![waiting("q1", "Add the replay header to the docs.", "waiting"), waiting("q2", "Then say in the handoff which of the four results has no test yet, and why it has none.", "waiting"), waiting("q0", "Run the store tests again.", "unknown")],
        deliveries: [("queue", "it is delivered when the running turn ends"), ("boundary", "the running turn is cancelled at its next request or finished tool call, then it is delivered"), ("now", "the running turn is cancelled, pending requests are answered as cancelled, then it is delivered")].iter().map(|(when, sentence)| DeliveryView { when: (*when).into(), sentence: (*sentence).into(), refused: false }).collect(),
        ends: vec![session_row("3e91b0d4", "codex", "ACTIVE", "running", "WP-041")],
        route: Some(RouteView { packet: WpRef { wp_id: "WP-041".into(), title: "Idempotent usage ingestion".into(), status: "in_progress".into() }, tasks: vec![("MT-004".into(), "Record the outcome of a claim".into(), "in_progress".into()), ("MT-005".into(), "Describe the header".into(), "pending".into())] }),
        children: vec![SessionRow { depth: 1, ..session_row("3e91b0d4", "codex", "ACTIVE", "running", "WP-041") }],
        held: vec![rest::commit_card()],
        plan: [("Read the handler, the store and the error types", "completed"), ("Claim and finish inside the store transaction", "completed"), ("Map claim results to responses", "in_progress"), ("Describe the header in the OpenAPI document", "pending")].iter().map(|(text, status)| PlanEntry { text: (*text).into(), status: (*status).into() }).collect(),
        ledger: vec![
            LedgerRow { tool: "read".into(), side_effect: "READ".into(), observed: "reported".into(), calls: 31, ok: 31, failed: 0, duration_ms: Some(1200) },
            LedgerRow { tool: "write".into(), side_effect: "WRITE".into(), observed: "inferred".into(), calls: 2, ok: 2, failed: 0, duration_ms: None },
            LedgerRow { tool: "recipe".into(), side_effect: "EXECUTE".into(), observed: "gated".into(), calls: 6, ok: 4, failed: 2, duration_ms: Some(221_000) },
        ],
        grants: rest::grants().into_iter().take(1).collect(),
        changes: files(),
        jobs: rest::jobs().items.into_iter().take(4).collect(),
        events: events(),
        uncommitted_files: Some(8),
        handoff_required: true,
        ..SessionView::default()
    }
}

fn waiting(id: &str, text: &str, delivery: &str) -> QueuedMessage {
    QueuedMessage { message_id: id.into(), text: text.into(), when: "queue".into(), delivery: delivery.into(), queued_at_ms: NOW - MINUTE, job_id: None }
}

/// The session with one of its parts at the side.
pub fn session_at(tab: &str) -> SessionView {
    let row = |id: &str, depth: i64| SessionRow { depth, cascade: 2 - depth, open_children: i64::from(depth < 2), ..session_row(id, "claude", "ACTIVE", "running", "WP-041") };
    SessionView {
        tab: tab.into(),
        calls: CallsView { items: calls(), total: 4, filter: CallsFilter { effect: some("WRITE"), ..CallsFilter::default() } },
        tree: vec![SessionRow { near_limit: some("3 of 4 children"), ..row("c41f9a20", 0) }, row("3e91b0d4", 1), SessionRow { near_limit: some("depth 3 of 3: can spawn no more"), ..row("3e91b0d5", 2) }],
        checkpoints: (0..3).map(|n| CheckpointView { number: 9 - n, seq: 18_200 - n * 40, saved_at_ms: NOW - n * MINUTE, note: some("tool call · active · refs/heads/dcc/WP-041@9c41e7d") }).collect(),
        raw: events().into_iter().map(|event| RawRow { payload: format!("{{\n  \"seq\": {}\n}}", event.seq), event }).collect(),
        session: SessionRow { quiet: Some(QuietView { for_ms: 4 * MINUTE, last_tool: some("command cargo nextest run -p meter-store"), tool_runs: true }), lane: "PRIMARY".into(), ..session_row("c41f9a20", "claude", "ACTIVE", "running", "WP-041") },
        ..session()
    }
}

pub fn new_session() -> SessionView {
    SessionView { session: SessionRow { grants: 0, tool_calls: 0, tokens_in: None, tokens_out: None, cost: None, ..session_row("c41f9a21", "scripted", "BLOCKED", "input_wait", "WP-041") }, starters: strings(&["Work on MT-004: record the outcome of a claim.", "Read the packet and write a plan first."]), ..SessionView::default() }
}

pub fn failed_session() -> SessionView {
    SessionView {
        session: SessionRow { ended_at_ms: Some(NOW), ..session_row("c41f9a22", "gemini", "FAILED", "agent_exit", "WP-041") },
        failure: Some(failure("HSK-500-ENGINE", "gemini ended with exit 1 before the session was open.", "Log in with `gemini auth`, then start another session.")),
        output: strings(&["Error: not logged in", "  at login (\u{1b}[2mfile:///usr/lib/gemini\u{1b}[0m:12)"]),
        ..SessionView::default()
    }
}
