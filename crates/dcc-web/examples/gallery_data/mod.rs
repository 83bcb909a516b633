//! Made-up data of one project for the gallery.

#![allow(clippy::unnecessary_wraps, clippy::too_many_arguments)] // made-up data, written densely

pub mod flow;
pub mod packets;
pub mod rest;

use dcc_api::view::{ApprovalRow, EventRow, FailureView, NeedsView, NoticeView, SessionRef, Shell, ToolCallRow};

/// The moment all ages count from.
pub const NOW: i64 = 1_795_344_138_000;
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

pub fn failure(code: &str, message: &str, hint: &str) -> FailureView {
    FailureView { code: code.to_owned(), message: message.to_owned(), hint: some(hint) }
}

pub fn shell() -> Shell {
    Shell {
        project_name: "meterd".into(),
        instance_id: "i-1".into(),
        seq: 18_234,
        last_event_at_ms: Some(NOW - 2000),
        verified_seq: Some(18_200),
        verified_at_ms: Some(NOW - 12_000),
        db_status: "ok".into(),
        needs: NeedsView { approvals: 4, questions: 1, reviews: 1, recoveries: 2, hrefs: strings(&["/approval/ap-3", "/approval/ap-2", "/approval/ap-1"]) },
        running: 3,
        running_limit: Some(8),
        agents: strings(&["claude", "codex", "opencode", "scripted"]),
        ..Shell::default()
    }
}

pub fn calm_shell() -> Shell {
    Shell { needs: NeedsView::default(), running: 0, seq: 3, verified_seq: Some(3), ..shell() }
}

pub fn trouble_shell() -> Shell {
    Shell {
        notices: vec![
            NoticeView { kind: "warn".into(), word: "recovery".into(), message: "2 sessions were running when the server ended. Nothing resumes by itself.".into(), href: some("/health"), label: some("Open the queue"), ..NoticeView::default() },
            NoticeView { kind: "stale".into(), word: "stale".into(), message: "The recorder's last checkpoint is 3 h old.".into(), code: some("HSK-500-RECORDER"), ..NoticeView::default() },
        ],
        read_only: Some(failure("HSK-423-LOCKED", "The database was written by a newer dcc and is opened read-only.", "Update dcc, or move devcc.db aside and rebuild.")),
        db_status: "read-only".into(),
        ..shell()
    }
}

pub fn session_ref(id: &str, agent: &str, state: &str, reason: &str) -> SessionRef {
    SessionRef { session_id: id.into(), agent: agent.into(), role: "coder".into(), state: state.into(), state_reason: some(reason), since_at_ms: Some(NOW - 4 * MINUTE) }
}

pub fn approval(id: &str, tier: &str, title: &str, agent: &str, age: i64) -> ApprovalRow {
    ApprovalRow {
        approval_id: id.into(),
        status: "pending".into(),
        tier: tier.into(),
        op: "version.commit".into(),
        title: title.into(),
        wp_id: some("WP-041"),
        mt_id: some("MT-004"),
        session_id: some("0192f3a4-1111-7abc-8def-0123c41f9a20"),
        agent: some(agent),
        workspace_id: some("ws-041"),
        job_id: some("0192f3a4-2222-7abc-8def-01237d030001"),
        requested_at_ms: NOW - age,
        expires_at_ms: Some(NOW - age + 24 * HOUR),
        ..ApprovalRow::default()
    }
}

pub fn event(seq: i64, age: i64, code: &str, outcome: &str, what: &str) -> EventRow {
    EventRow {
        seq,
        event_id: format!("0192f3a4-3333-7abc-8def-{seq:012}"),
        recorded_at_ms: NOW - age,
        code: format!("FR-EVT-{code}"),
        name: code.to_owned(),
        outcome: if outcome.is_empty() { None } else { some(outcome) },
        what: what.to_owned(),
        actor_kind: "agent".into(),
        actor_id: "claude c41f9a20".into(),
        wp_id: some("WP-041"),
        mt_id: some("MT-004"),
        session_id: some("0192f3a4-1111-7abc-8def-0123c41f9a20"),
        job_id: some("0192f3a4-2222-7abc-8def-01237d030001"),
        ..EventRow::default()
    }
}

pub fn events() -> Vec<EventRow> {
    vec![
        event(18_201, 4 * MINUTE, "APPR-requested", "waiting", "approval requested: commit 3 paths"),
        EventRow { observed: some("gated"), ..event(18_196, 5 * MINUTE, "JOB-finished", "ok", "recipe nextest -p meter-http, 61 tests") },
        EventRow { observed: some("gated"), ..event(18_177, 6 * MINUTE, "JOB-finished", "error", "recipe nextest -p meter-store, 2 of 44 failed") },
        EventRow { observed: some("inferred"), ..event(18_171, 7 * MINUTE, "WS-out_of_band_change", "unknown", "docs/openapi.json changed, no call announced it") },
        event(18_160, 8 * MINUTE, "SESS-004", "", "turn started"),
        event(18_102, 20 * MINUTE, "SESS-STEER-delivered", "ok", "message delivered after call 17"),
        event(18_040, 37 * MINUTE, "VCS-committed", "ok", "committed 9c41e7d, 4 paths"),
        event(18_038, 37 * MINUTE, "APPR-decided", "ok", "approval decided: once"),
    ]
}

pub fn call(id: &str, age: i64, effect: &str, tool: &str, target: &str, status: &str, result: &str, ms: Option<i64>, how: &str) -> ToolCallRow {
    ToolCallRow {
        tool_call_id: id.into(),
        started_at_ms: NOW - age,
        tool: tool.into(),
        target: target.into(),
        side_effect: effect.into(),
        status: status.into(),
        result: some(result),
        duration_ms: ms,
        observed: how.into(),
        ..ToolCallRow::default()
    }
}

pub fn calls() -> Vec<ToolCallRow> {
    vec![
        call("c1", 7 * MINUTE, "READ", "read", "crates/meter-core/src/batch.rs", "ok", "ok", Some(20), "reported"),
        call("c2", 6 * MINUTE + 40_000, "WRITE", "edit", "crates/meter-core/src/batch.rs", "ok", "ok", Some(110), "gated"),
        call("c3", 6 * MINUTE + 20_000, "WRITE", "write", "docs/openapi.json", "ok", "seen", None, "inferred"),
        ToolCallRow { detail: some("test dedupe::claims_twice ... FAILED\ntest dedupe::\u{1b}[31mmismatch\u{1b}[0m ... FAILED\n42 passed, 2 failed"), ..call("c4", 6 * MINUTE, "EXECUTE", "recipe", "nextest -p meter-store", "error", "2 of 44", Some(21_700), "gated") },
        call("c5", 5 * MINUTE + 20_000, "READ", "read", "crates/meter-store/src/lib.rs", "ok", "ok", Some(10), "reported"),
        call("c6", 5 * MINUTE, "WRITE", "edit", "crates/meter-http/src/ingest.rs", "ok", "ok", Some(120), "gated"),
        call("c7", 4 * MINUTE + 30_000, "EXECUTE", "recipe", "nextest -p meter-http", "ok", "61 tests", Some(38_200), "gated"),
        call("c8", 4 * MINUTE, "EXECUTE", "commit", "3 paths on dcc/WP-041-idempotent-ingest", "held", "held", Some(4 * MINUTE), "gated"),
    ]
}
