//! Each projection from stored rows: every field follows its source event, also when the source is empty.

use dcc_core::approval::ApprovalStatus;
use dcc_core::event::EventCode as C;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::sessions::{Observed, SideEffect, ToolStatus};
use dcc_core::ports::store::{JobFilter, Store as _};
use dcc_core::session::SessionState;
use dcc_core::workspace::WorkspaceStatus;
use dcc_core::{ApprovalId, Code, GrantId, JobId, SessionId, WorkspaceId};
use serde_json::{Value, json};

use super::fixtures::*;

#[test]
fn an_empty_store_answers_with_nothing() {
    let bench = Bench::new();
    let store = &bench.store;
    store.apply(&[]).unwrap();
    assert_eq!(store.cursor().unwrap(), 0);
    assert!(store.jobs(&JobFilter::default()).unwrap().is_empty());
    assert!(store.approvals(None, 0).unwrap().is_empty());
    assert!(store.grants(0).unwrap().is_empty());
    assert!(store.sessions(0).unwrap().is_empty());
    assert!(store.workspaces().unwrap().is_empty());
    assert!(store.tool_calls(None, 0, 0).unwrap().is_empty());
    assert!(store.messages(id(20), 0, 0).unwrap().is_empty());
    assert!(store.find_objects("", 0).unwrap().is_empty());
    assert!(store.resolve_short("0190aaaa").unwrap().is_empty());
    assert_eq!(store.job(id(1)).unwrap(), None);
    assert_eq!(store.health().status, "ok");
}

/// Applies the changes to an accepted job; the row must equal the pure fold over the same events.
fn job_after(changes: Vec<(C, Value)>) -> (Bench, Job) {
    let bench = Bench::new();
    let mut told = vec![(C::JobAccepted, of_job(10), json!({"job": job_json(10)}))];
    told.extend(changes.into_iter().map(|(code, payload)| (code, of_approval(40, 10), payload)));
    let events = numbered(told);
    bench.store.apply(&events).unwrap();
    let mut folded = None;
    for event in &events {
        dcc_core::job::apply(&mut folded, event);
    }
    let stored = bench.store.job(id(10)).unwrap();
    assert_eq!(stored, folded);
    (bench, stored.unwrap())
}

#[test]
fn a_job_follows_each_of_its_events() {
    let (bench, job) = job_after(vec![]);
    assert_eq!((job.state, job.attempt, job.updated_at), (JobState::Queued, 1, at(1)));
    assert_eq!(bench.text("SELECT state FROM attempts"), "queued");

    let planned = json!({"plan_digest": "a".repeat(64), "plan_artifact": "b".repeat(64), "inputs": ["c".repeat(64)], "bindings": {"wp_id": "WP-9"}});
    let (bench, job) = job_after(vec![(C::JobPlanned, planned)]);
    assert_eq!(job.plan_digest.unwrap().to_string(), "a".repeat(64));
    assert_eq!(bench.text("SELECT plan_digest || wp_id FROM jobs"), format!("{}WP-9", "a".repeat(64)));

    let failed = json!({
        "from": "running", "to": "failed", "failure": {"code": "VCS_CONFLICT", "message": "m"}, "result": {"wp_id": "WP-1"}, "outputs": ["d".repeat(64)]
    });
    let (bench, job) = job_after(vec![
        (C::JobStateChange, json!({"from": "queued", "to": "running", "instance_id": uuid_text(77)})),
        (C::JobFinished, failed),
    ]);
    assert_eq!((job.state, job.failure.unwrap().message.as_str()), (JobState::Failed, "m"));
    assert_eq!(bench.text("SELECT failure_code FROM jobs"), "VCS_CONFLICT");
    let attempt = bench.text("SELECT state || ' ' || started_at || ' ' || ended_at || ' ' || failure_message FROM attempts");
    assert_eq!(attempt, format!("failed {} {} m", at(2), at(3)));

    let (bench, job) = job_after(vec![
        (C::GateDecided, json!({"gate": {"gate": "schema", "outcome": "pass", "reason": "fine"}})),
        (C::GateDecided, json!({"gate": {"gate": "consent", "outcome": "deny", "reason": "no", "code": "HSK-403-APPROVAL-DENIED"}})),
    ]);
    assert_eq!(job.gates.len(), 2);
    let gates = "SELECT group_concat(gate || ':' || outcome || ':' || reason || ':' || coalesce(code, '-'), ' ') FROM gates";
    assert_eq!(bench.text(gates), "schema:pass:fine:- consent:deny:no:HSK-403-APPROVAL-DENIED");

    let (_, job) = job_after(vec![(C::ApprovalRequested, json!({})), (C::EffectPlanned, json!({"effect": {"path": "/x"}}))]);
    assert_eq!((job.approval_id, job.effect), (Some(id::<ApprovalId>(40)), Some(json!({"path": "/x"}))));
}

#[test]
fn a_retry_adds_an_attempt_and_keeps_the_first() {
    let (bench, job) = job_after(vec![
        (C::JobStateChange, json!({"to": "running"})),
        (C::JobStateChange, json!({"to": "stalled"})),
        (C::JobStateChange, json!({"to": "running", "attempt": 2})),
        (C::JobFinished, json!({"to": "completed"})),
    ]);
    assert_eq!(job.attempt, 2);
    let attempts = "SELECT group_concat(attempt || state || coalesce(ended_at, ''), ' ') FROM attempts";
    assert_eq!(bench.text(attempts), format!("1stalled 2completed{}", at(5)));
}

#[test]
fn jobs_are_filtered_by_every_part_and_paged_by_cursor() {
    let bench = Bench::new();
    let mut jobs: Vec<Value> = (10..16).map(job_json).collect();
    jobs[1]["op"] = json!("version.commit");
    jobs[2]["bindings"] = json!({"wp_id": "WP-Other", "mt_id": "MT-007", "session_id": uuid_text(20), "workspace_id": uuid_text(30)});
    jobs[3]["root_job_id"] = json!(uuid_text(10));
    jobs[4]["state"] = json!("running");
    let told = jobs.into_iter().zip(10..).map(|(job, n)| (C::JobAccepted, of_job(n), json!({"job": job}))).collect();
    bench.store.apply(&numbered(told)).unwrap();
    let found = |filter: JobFilter| -> Vec<JobId> { bench.store.jobs(&filter).unwrap().into_iter().map(|j| j.job_id).collect() };
    let ids = |numbers: &[u64]| -> Vec<JobId> { numbers.iter().map(|n| id(*n)).collect() };
    let any = JobFilter::default;
    assert_eq!(found(any()), ids(&[15, 14, 13, 12, 11, 10]));
    assert_eq!(found(JobFilter { op: Some(Op::VersionCommit), ..any() }), ids(&[11]));
    assert_eq!(found(JobFilter { wp_id: Some(wp("WP-OTHER")), ..any() }), ids(&[12]));
    assert_eq!(found(JobFilter { mt_id: Some("MT-007".parse().unwrap()), ..any() }), ids(&[12]));
    assert_eq!(found(JobFilter { session_id: Some(id(20)), ..any() }), ids(&[12]));
    assert_eq!(found(JobFilter { workspace_id: Some(id(30)), ..any() }), ids(&[12]));
    assert_eq!(found(JobFilter { root_job_id: Some(id(10)), ..any() }), ids(&[13, 10]));
    assert_eq!(found(JobFilter { states: vec![JobState::Running, JobState::Failed], ..any() }), ids(&[14]));
    assert_eq!(found(JobFilter { states: vec![JobState::Queued], op: Some(Op::VersionCommit), ..any() }), ids(&[11]));
    assert_eq!(found(JobFilter { limit: 2, ..any() }), ids(&[15, 14]));
    assert_eq!(found(JobFilter { limit: 2, cursor: Some(uuid_text(14)), ..any() }), ids(&[13, 12]));
    assert!(found(JobFilter { session_id: Some(id(99)), ..any() }).is_empty());
    let failure = bench.store.jobs(&JobFilter { cursor: Some("nonsense".into()), ..any() }).unwrap_err();
    assert_eq!(failure.code, Code::InvalidInput);
}

#[test]
fn an_approval_and_its_grant_follow_their_events() {
    let bench = Bench::new();
    let store = &bench.store;
    let presented = json!({"presented": {"nonce_sha256": "e".repeat(64), "preview_digest": "f".repeat(64), "presented_at": at(2), "surface": "browser"}});
    let events = numbered(vec![
        (C::ApprovalRequested, of_approval(40, 10), json!({"approval": approval_json(40)})),
        (C::ApprovalPresented, of_approval(40, 10), presented),
        (C::ApprovalDecided, of_approval(40, 10), json!({"decision": decision_json(true, Some("good"))})),
        (C::GrantIssued, of_approval(40, 10), json!({"grant": grant_json(50, 40)})),
        (C::GrantUsed, of_approval(40, 11), json!({"grant_id": uuid_text(50)})),
        (C::ApprovalConsumed, of_approval(40, 10), json!({})),
        (C::GrantRevoked, of_approval(40, 10), json!({"grant_id": uuid_text(50)})),
    ]);
    store.apply(&events[..1]).unwrap();
    assert_eq!(store.approval(id(40)).unwrap().unwrap().status, ApprovalStatus::Pending);
    assert_eq!(bench.text("SELECT status FROM pending_approvals"), "pending");
    store.apply(&events[..2]).unwrap();
    assert_eq!(store.approval(id(40)).unwrap().unwrap().presented.unwrap().presented_at, at(2));
    store.apply(&events[..3]).unwrap();
    assert_eq!(store.approvals(Some(ApprovalStatus::Approved), 0).unwrap().len(), 1);
    assert!(store.approvals(Some(ApprovalStatus::Pending), 0).unwrap().is_empty());
    store.apply(&events[..5]).unwrap();
    let grant = store.grant(id(50)).unwrap().unwrap();
    assert_eq!((grant.used, grant.revoked), (1, false));
    assert_eq!(store.approval(id(40)).unwrap().unwrap().grant_id, Some(id::<GrantId>(50)));
    assert_eq!(bench.text("SELECT expires_at FROM approval_tokens"), at(90_000).to_string());
    store.apply(&events).unwrap();
    assert_eq!(store.approval(id(40)).unwrap().unwrap().status, ApprovalStatus::Consumed);
    assert!(store.grants(0).unwrap()[0].revoked);
    let v1 = "SELECT status || decided_by || decided_at || decision_reason || token_id FROM pending_approvals";
    assert_eq!(bench.text(v1), format!("approvedhuman{}good{}", at(50), uuid_text(50)));
    // A revoked token ends when it was revoked.
    assert_eq!(bench.text("SELECT expires_at FROM approval_tokens"), at(7).to_string());
    assert_eq!(bench.rows("SELECT capability_id FROM session_capability_grants WHERE execution_session_id LIKE '%14'").len(), 2);
}

#[test]
fn approvals_end_in_each_way() {
    for (code, payload, status, v1) in [
        (C::ApprovalDecided, json!({"decision": decision_json(false, Some("too wide"))}), ApprovalStatus::Denied, "rejected too wide"),
        (C::ApprovalExpired, json!({"reason": "nobody came"}), ApprovalStatus::Expired, "expired nobody came"),
        (C::ApprovalStale, json!({"reason": "head moved"}), ApprovalStatus::Stale, "expired stale: head moved"),
        (C::ApprovalStale, json!({"status": "cancelled"}), ApprovalStatus::Cancelled, "expired cancelled"),
        (C::ApprovalStale, json!({"status": "superseded", "reason": "r"}), ApprovalStatus::Superseded, "expired superseded: r"),
    ] {
        let bench = Bench::new();
        let asked = (C::ApprovalRequested, of_approval(40, 10), json!({"approval": approval_json(40)}));
        bench.store.apply(&numbered(vec![asked, (code, of_approval(40, 10), payload)])).unwrap();
        assert_eq!(bench.store.approval(id(40)).unwrap().unwrap().status, status);
        assert_eq!(bench.text("SELECT status || ' ' || decision_reason FROM pending_approvals"), v1);
    }
}

#[test]
fn a_session_follows_its_events() {
    let bench = Bench::new();
    let store = &bench.store;
    let handoff = json!({"handoff": {"handoff_id": "h-1", "done_ref": "d", "remaining_ref": "r", "decisions": ["x"], "evidence": [{"kind": "commit", "ref": "abc"}]}});
    let events = numbered(vec![
        (C::SessionCreated, of_session(20), json!({"session": session_json(20)})),
        (C::SessionStateChange, of_session(20), json!({"to": "ACTIVE", "reason": "running", "model_id": "m-1", "process": {"pid": 7, "start_time": 9}})),
        (C::SessionMessage, of_session(20), json!({"role": "user", "text": "go"})),
        (C::ToolCallStarted, of_call(20, "c1"), json!({"tool": tool_json("c1", "requested"), "observed": "gated"})),
        (C::SessionStateChange, of_session(20), json!({"to": "BLOCKED", "reason": "approval_wait"})),
        (C::HandoffWritten, of_session(20), handoff),
        (C::SessionCompleted, of_session(20), json!({"to": "COMPLETED", "reason": "done", "closing": "over"})),
    ]);
    let mut folded = None;
    for (i, event) in events.iter().enumerate() {
        store.apply(&events[..=i]).unwrap();
        dcc_core::session::apply(&mut folded, event);
        assert_eq!(store.session(id(20)).unwrap(), folded, "event {}", event.seq);
        let wanted = match i {
            0..=3 => "running",
            4 | 5 => "waiting_approval",
            _ => "closed",
        };
        assert_eq!(bench.text("SELECT status FROM execution_sessions"), wanted);
    }
    let session = folded.unwrap();
    assert_eq!((session.state, session.turns, session.tool_calls), (SessionState::Completed, 1, 1));
    let row = "SELECT agent_type || agent_name || model_role || model_id || bound_wp_id || bound_mt_id || started_at || ended_at || handoff_required || last_handoff_id FROM execution_sessions";
    assert_eq!(bench.text(row), format!("workerscriptedcoderm-1WP-0001MT-001{}{}1h-1", at(2), at(7)));
    assert_eq!(bench.text("SELECT summary_done_ref || summary_remaining_ref || decisions_json || blockers_json FROM handoffs"), r#"dr["x"][]"#);
    assert_eq!(bench.text("SELECT kind || ref FROM handoff_evidence"), "commitabc");
}

#[test]
fn a_workspace_follows_its_events() {
    let bench = Bench::new();
    let store = &bench.store;
    let told = numbered(vec![
        (C::WorkspaceCreated, of_workspace(30), json!({"workspace": workspace_json(30, "/r/x")})),
        (C::WorkspaceLinked, of_workspace(30), json!({"wp_id": "WP-2", "mt_id": "MT-002"})),
        (C::WorkspaceLinked, of_workspace(30), json!({"wp_id": null, "mt_id": null})),
        (C::WorkspaceClosed, of_workspace(30), json!({})),
        (C::WorkspaceOpened, of_workspace(30), json!({})),
        (C::Committed, of_workspace(30), json!({"commit_oid": "2".repeat(40)})),
        (C::WorkspaceArchived, of_workspace(30), json!({})),
    ]);
    let row = "SELECT status || ' ' || coalesce(linked_wp_id, '-') || ' ' || coalesce(linked_mt_id, '-') || ' ' || substr(head_rev, 1, 1) || ' ' || coalesce(last_opened_at, '-') FROM workspaces";
    let wanted = [
        "active WP-0001 - 1 -".to_owned(),
        "active WP-2 MT-002 1 -".to_owned(),
        "active - - 1 -".to_owned(),
        "paused - - 1 -".to_owned(),
        format!("active - - 1 {}", at(5)),
        format!("active - - 2 {}", at(5)),
        format!("archived - - 2 {}", at(5)),
    ];
    for (i, wanted) in wanted.into_iter().enumerate() {
        store.apply(&told[..=i]).unwrap();
        assert_eq!(bench.text(row), wanted);
    }
    assert_eq!(store.workspace(id(30)).unwrap().unwrap().status, WorkspaceStatus::Archived);
    assert_eq!(bench.text("SELECT last_open_workspace_id FROM projects"), uuid_text(30));
}

#[test]
fn a_tool_call_gathers_its_reports() {
    let bench = Bench::new();
    let store = &bench.store;
    let mut bare = tool_json("c1", "running");
    for (key, empty) in [("title", json!("")), ("kind", json!("")), ("locations", json!([])), ("raw_input", json!(null)), ("side_effect", json!("READ"))] {
        bare[key] = empty;
    }
    let mut done = bare.clone();
    done["status"] = json!("ok");
    done["raw_output"] = json!({"lines": 3});
    let mut late = bare.clone();
    late["title"] = json!("Edit b.rs");
    let mut about = of_call(20, "c1");
    about.approval_id = Some(id(40));
    store
        .apply(&numbered(vec![
            (C::ToolCallStarted, of_call(20, "c1"), json!({"tool": tool_json("c1", "requested"), "observed": "gated"})),
            (C::ToolCallProgress, about, json!({"tool": bare, "observed": "reported"})),
            (C::ToolCallStarted, of_call(21, "c1"), json!({"tool": tool_json("c1", "running"), "observed": "inferred"})),
            (C::ToolCallFinished, of_call(20, "c1"), json!({"tool": done, "observed": "reported"})),
            (C::ToolCallProgress, of_call(20, "c1"), json!({"tool": late, "observed": "reported"})),
            (C::ToolCallProgress, of_call(20, "c2"), json!({"tool": {"nonsense": true}})),
        ]))
        .unwrap();
    let calls = store.tool_calls(Some(id(20)), 0, 0).unwrap();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!((call.tool.title.as_str(), call.tool.kind.as_str(), call.tool.locations.len()), ("Edit b.rs", "edit", 1));
    assert_eq!((call.tool.status, call.started_at, call.finished_at, call.seq), (ToolStatus::Ok, at(1), Some(at(4)), 1));
    assert_eq!((call.observed, call.approval_id, call.tool.side_effect), (Observed::Gated, Some(id::<ApprovalId>(40)), SideEffect::Write));
    assert_eq!((&call.tool.raw_input, &call.tool.raw_output), (&Some(json!({"path": "src/a.rs"})), &Some(json!({"lines": 3}))));
    let all = store.tool_calls(None, 0, 0).unwrap();
    assert_eq!(all.iter().map(|c| (c.seq, c.observed)).collect::<Vec<_>>(), [(1, Observed::Gated), (3, Observed::Inferred)]);
    assert_eq!(store.tool_calls(None, 1, 0).unwrap().len(), 1);
    assert_eq!(store.tool_calls(None, 0, 1).unwrap().len(), 1);
}

/// A write in the name of a call neither renames nor ends it, whatever order its reports come in, and equal times keep the
/// order of the log.
#[test]
fn a_write_for_a_call_stands_in_the_calls_row() {
    let write = |n: u64, path: &str, status: &str| json!({"write_id": format!("write-{}", uuid_text(n)), "job_id": uuid_text(n), "path": path, "status": status, "sha256": "00".repeat(32), "bytes": 4, "before": null});
    let told = |call: &str, n: u64, path: &str, status: &str| json!({"tool": tool_json(call, "running"), "observed": "gated", "write": write(n, path, status)});
    let mut titled = tool_json("c1", "ok");
    titled["title"] = json!("Edit two files");
    let mut events = numbered(vec![
        (C::ToolCallStarted, of_call(20, "c1"), json!({"tool": titled, "observed": "reported"})),
        (C::ToolCallStarted, of_call(20, "c2"), told("c2", 63, "b", "running")),
        (C::ToolCallStarted, of_call(20, "c1"), told("c1", 61, "a", "running")),
        (C::ToolCallStarted, of_call(20, "c1"), told("c1", 62, "b", "running")),
        (C::ToolCallFinished, of_call(20, "c1"), told("c1", 61, "a", "ok")),
        (C::ToolCallFinished, of_call(20, "c1"), told("c1", 62, "b", "error")),
    ]);
    for event in &mut events {
        event.ts = at(1);
    }
    let bench = Bench::new();
    bench.store.apply(&events).unwrap();
    let calls = bench.store.tool_calls(Some(id(20)), 0, 0).unwrap();
    assert_eq!(calls.iter().map(|c| c.tool.tool_call_id.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    let call = &calls[0];
    assert_eq!((call.tool.title.as_str(), call.tool.status, call.observed), ("Edit two files", ToolStatus::Ok, Observed::Gated));
    let writes: Vec<_> = call.writes.iter().map(|w| (w.job_id, w.path.display(), w.status)).collect();
    assert_eq!(writes, [(id(61), "a".to_owned(), ToolStatus::Ok), (id(62), "b".to_owned(), ToolStatus::Error)]);
    assert_eq!((calls[1].tool.status, calls[1].writes.len()), (ToolStatus::Running, 1), "a call that only its write tells of");
    let live = bench.store.dump().unwrap();
    bench.store.reset().unwrap();
    for event in events.chunks(1) {
        bench.store.apply(event).unwrap();
    }
    assert_eq!(bench.store.dump().unwrap(), live);
}

#[test]
fn messages_keep_their_order_and_their_reference() {
    let bench = Bench::new();
    let store = &bench.store;
    store
        .apply(&numbered(vec![
            (C::SessionMessage, of_session(20), json!({"role": "user", "text": "hello"})),
            (C::SessionMessage, of_session(20), json!({"role": "agent", "text_ref": "a".repeat(64)})),
            (C::SessionMessage, of_session(21), json!({"role": "agent", "text": "other"})),
            (C::SessionMessage, of_session(20), json!({"role": "thought", "text": ""})),
            (C::SessionMessage, of_session(20), json!({"text": "no role"})),
        ]))
        .unwrap();
    let messages = store.messages(id(20), 0, 0).unwrap();
    let shown: Vec<_> = messages.iter().map(|m| (m.seq, m.role.as_str(), m.text.as_str(), m.text_ref.is_some(), m.ts)).collect();
    assert_eq!(shown, [(1, "user", "hello", false, at(1)), (2, "agent", "", true, at(2)), (4, "thought", "", false, at(4))]);
    assert_eq!(store.messages(id(20), 1, 1).unwrap()[0].seq, 2);
}

#[test]
fn lists_are_newest_first() {
    let bench = Bench::new();
    let store = &bench.store;
    let mut told = Vec::new();
    for n in 0..3 {
        told.push((C::SessionCreated, of_session(20 + n), json!({"session": session_json(20 + n)})));
        told.push((C::WorkspaceCreated, of_workspace(30 + n), json!({"workspace": workspace_json(30 + n, &format!("/r/{n}"))})));
        told.push((C::ApprovalRequested, of_approval(40 + n, 10), json!({"approval": approval_json(40 + n)})));
    }
    store.apply(&numbered(told)).unwrap();
    assert_eq!(store.sessions(2).unwrap().iter().map(|s| s.session_id).collect::<Vec<_>>(), [id::<SessionId>(22), id(21)]);
    assert_eq!(store.workspaces().unwrap().iter().map(|w| w.workspace_id).collect::<Vec<_>>(), [id::<WorkspaceId>(32), id(31), id(30)]);
    assert_eq!(store.approvals(None, 1).unwrap()[0].approval_id, id(42));
}

#[test]
fn what_is_open_is_never_cut_off() {
    let bench = Bench::new();
    let store = &bench.store;
    let many = dcc_core::limits::PAGE_MAX + 30;
    let told = (0..many as u64).map(|n| (C::SessionCreated, of_session(10_000 + n), json!({ "session": session_json(10_000 + n) }))).collect();
    store.apply(&numbered(told)).unwrap();
    assert_eq!(store.sessions(0).unwrap().len(), dcc_core::limits::PAGE_MAX);
    assert_eq!(store.open_sessions().unwrap().len(), many);
}
