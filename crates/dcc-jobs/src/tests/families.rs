//! Children, successors and endings; the flood.

use dcc_core::event::EventCode;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::{JobFilter, PermissionAnswer};
use dcc_core::session::{SessionState, StateReason};
use dcc_core::{Code, SessionId};
use serde_json::{Value, json};

use super::rig::Rig;
use crate::context::Limits;

fn spawn(rig: &Rig, parent: SessionId, more: Value) -> Result<SessionId, (Code, String)> {
    let mut params = json!({ "agent": "puppet" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = rig.act(Op::SessionSpawn, params, Rig::of(parent));
    match job.failure {
        None => Ok(job.bindings.session_id.unwrap()),
        Some(failure) => Err((failure.code, failure.message)),
    }
}

#[test]
fn children_are_few_not_deep_and_never_wider() {
    let rig = Rig::new();
    let root = rig.start(None);
    let child = spawn(&rig, root, json!({ "role": "orchestrator", "purpose": "look around" })).unwrap();
    let session = rig.session(child);
    assert_eq!((session.parent_session_id, session.spawn_depth, session.purpose.as_deref()), (Some(root), 1, Some("look around")));
    assert_eq!(spawn(&rig, child, json!({ "role": "coder" })).unwrap_err().0, Code::RoleSeparation);
    assert_eq!(spawn(&rig, root, json!({ "role": "validator" })).unwrap_err().0, Code::RoleSeparation);
    let deep = spawn(&rig, spawn(&rig, child, json!({})).unwrap(), json!({})).unwrap();
    let (code, said) = spawn(&rig, deep, json!({})).unwrap_err();
    assert!(code == Code::PolicyForbidden && said.starts_with("depth_limit_exceeded"), "{said}");
    for _ in 0..3 {
        spawn(&rig, root, json!({})).unwrap();
    }
    let (code, said) = spawn(&rig, root, json!({})).unwrap_err();
    assert!(code == Code::RateLimit && said.starts_with("children_cap_reached"), "{said}");
    rig.ok(Op::SessionCancel, child, json!({}));
    spawn(&rig, root, json!({})).unwrap();
    assert_eq!(rig.events(root, EventCode::ChildSpawned).len(), 5);
}

#[test]
fn paths_and_grants_do_not_widen_on_the_way_down() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let child = spawn(&rig, root, json!({ "prompt": "go", "paths": ["docs"] })).unwrap();
    let grandchild = spawn(&rig, child, json!({ "prompt": "go", "paths": ["src", "docs/deep"] })).unwrap();
    for (id, path) in [(child, "a.txt"), (grandchild, "src/a.txt"), (grandchild, "docs/a.md")] {
        assert_eq!(rig.puppets.write(id, path, "x").unwrap_err().code, Code::Scope, "{path}");
    }
    assert!(rig.pending().is_empty(), "nobody is asked about what would be refused anyway");
    // A grant for the worktree is the first session's; a child's same request is asked anew, and not offered that scope.
    let answer = rig.puppets.ask(root, "check");
    let pending = rig.until("a request", || rig.pending().first().copied());
    let scope = dcc_core::approval::Scope::Workspace;
    let request = dcc_core::approval::DecisionRequest { approve: true, scope, reason: None, decider: Rig::operator(), nonce_sha256: None, preview_digest: None, typed: None };
    rig.runner.decide(pending, request).unwrap();
    assert_eq!(answer.get(), PermissionAnswer::AllowOnce);
    assert_eq!(rig.puppets.ask(root, "check").get(), PermissionAnswer::AllowOnce, "its own grant covers it");
    let asked = rig.puppets.ask(child, "check");
    let pending = rig.until("the child's request", || rig.pending().first().copied());
    let approval = crate::ledger::approval(rig.runner.cx.ports.recorder.as_ref(), pending).unwrap();
    assert!(!approval.offered.contains(&scope), "{:?}", approval.offered);
    rig.approve();
    assert_eq!(asked.get(), PermissionAnswer::AllowOnce);
}

#[test]
fn a_childs_result_is_announced_to_its_parent_once() {
    let rig = Rig::new();
    let root = rig.start(None);
    let child = spawn(&rig, root, json!({ "prompt": "count" })).unwrap();
    rig.puppets.report(child, dcc_core::ports::AgentReport::Message { text: "There are three.".into() });
    rig.puppets.end_turn(child, "end_turn");
    rig.ok(Op::SessionClose, child, json!({ "handoff": { "done": ["counted"] } }));
    let told = rig.events(root, EventCode::ChildEnded);
    assert_eq!(told.len(), 1);
    let result = rig.runner.cx.ports.artifacts.get(serde_json::from_value(told[0].payload["result_ref"].clone()).unwrap()).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert_eq!((&result["state"], &result["last_words"], &result["session_id"]), (&json!("COMPLETED"), &json!("There are three."), &json!(child)));
    assert!(result["handoff_id"].is_string());
}

#[test]
fn cancelling_lists_all_and_says_cancelled_only_of_what_is_gone() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let child = spawn(&rig, root, json!({ "prompt": "go" })).unwrap();
    let grandchild = spawn(&rig, child, json!({})).unwrap();
    std::fs::write(rig.place.worktree().join("unsaved.txt"), "x").unwrap();
    let ends = rig.runner.what_ends(root).unwrap();
    assert_eq!(ends.descendants.iter().map(|d| d.session_id).collect::<Vec<_>>(), [child, grandchild]);
    assert_eq!((ends.uncommitted[0].count, ends.uncommitted[0].paths.clone()), (1, vec!["unsaved.txt".to_owned()]));
    rig.puppets.behave(|m| m.stop_fails = true);
    let (code, said) = rig.refused(Op::SessionCancel, root, json!({}));
    assert!(code == Code::AgentFailed && said.contains("could not be ended"), "{said}");
    assert_eq!(rig.state(root), (SessionState::Active, StateReason::Running), "not said of what lives");
    rig.puppets.behave(|m| m.stop_fails = false);
    rig.ok(Op::SessionCancel, root, json!({ "reason": "enough" }));
    let words: Vec<Value> = rig.events(root, EventCode::SessionSteered).into_iter().map(|e| e.payload).filter(|p| p["steer"] == "cancel").collect();
    assert_eq!(words.len(), 2, "one for each time it was asked for");
    assert_eq!((&words[1]["descendants"], &words[1]["reason"]), (&json!([child, grandchild]), &json!("enough")));
    assert_eq!(rig.state(grandchild), (SessionState::Cancelled, StateReason::CancelledByParent));
    assert!(rig.place.worktree().join("unsaved.txt").exists());
}

#[test]
fn cancelling_begins_none_of_the_waiting_messages() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    rig.send(id, "second");
    rig.send(id, "third");
    rig.ok(Op::SessionCancel, id, json!({}));
    assert_eq!(rig.state(id), (SessionState::Cancelled, StateReason::CancelledByOperator));
    assert_eq!(rig.puppets.heard(id), ["go"]);
    assert_eq!(rig.session(id).waiting.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["second", "third"], "a successor takes them along");
    let turns = JobFilter { op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    let turns = rig.runner.cx.ports.store.jobs(&turns).unwrap();
    assert_eq!(turns.iter().map(|t| t.state).collect::<Vec<_>>(), [JobState::Cancelled]);
}

#[test]
fn cancelling_reaches_below_a_child_that_has_ended() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let child = spawn(&rig, root, json!({ "prompt": "go" })).unwrap();
    let grandchild = spawn(&rig, child, json!({ "prompt": "go" })).unwrap();
    rig.puppets.crash(child, 3);
    rig.until_state(child, SessionState::Failed, StateReason::AgentExit);
    assert_eq!(rig.runner.what_ends(root).unwrap().descendants.iter().map(|d| d.session_id).collect::<Vec<_>>(), [grandchild]);
    rig.ok(Op::SessionCancel, root, json!({}));
    assert_eq!(rig.state(grandchild), (SessionState::Cancelled, StateReason::CancelledByParent));
    assert!(rig.runner.cx.ports.sessions.live().is_empty(), "no agent is left");
}

#[test]
fn a_session_is_closed_with_a_form_a_waiver_or_what_was_written() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    assert_eq!(rig.refused(Op::SessionClose, id, json!({ "waive_reason": "x" })).0, Code::IllegalTransition, "a turn is running");
    for bad in [json!({}), json!({ "handoff": "words" }), json!({ "handoff": {} }), json!({ "handoff": { "done": [""] } }), json!({ "waive_reason": " " })] {
        let mut params = bad;
        params["stop"] = json!(true);
        assert_eq!(rig.refused(Op::SessionClose, id, params.clone()).0, Code::InvalidInput, "{params}");
    }
    let child = spawn(&rig, id, json!({})).unwrap();
    assert_eq!(rig.refused(Op::SessionClose, id, json!({ "waive_reason": "x", "stop": true })).0, Code::IllegalTransition, "a child is open");
    rig.ok(Op::SessionClose, child, json!({ "waive_reason": "nothing came of it" }));
    let written = rig.ok(Op::HandoffWrite, id, json!({ "handoff": { "done": ["half"], "evidence": [{ "kind": "commit", "ref": "abc" }] } }));
    rig.ok(Op::SessionClose, id, json!({ "stop": true }));
    let session = rig.session(id);
    assert_eq!((session.state, session.state_reason), (SessionState::Completed, StateReason::Done));
    assert_eq!(session.last_handoff_id.unwrap().to_string(), written.result["handoff_id"].as_str().unwrap());
    let turn = rig.runner.cx.ports.store.jobs(&dcc_core::ports::JobFilter { op: Some(Op::SessionRun), session_id: Some(id), ..Default::default() }).unwrap();
    assert_eq!(turn[0].state, JobState::Cancelled);
}

#[test]
fn a_session_has_one_successor_with_its_words() {
    let rig = std::sync::Arc::new(Rig::new());
    let id = rig.start(Some("the task"));
    rig.send(id, "and this");
    assert_eq!(rig.refused(Op::SessionRetry, id, json!({})).0, Code::IllegalTransition);
    rig.ok(Op::SessionCancel, id, json!({}));
    let both = [0, 1].map(|_| rig.begin(Op::SessionRetry, json!({}), Rig::of(id)));
    let ends = both.map(|b| b.join().unwrap());
    let won: Vec<SessionId> = ends.iter().filter(|j| j.failure.is_none()).filter_map(|j| j.bindings.session_id).collect();
    assert_eq!(won.len(), 1, "{ends:#?}");
    let successor = rig.session(won[0]);
    assert_eq!((successor.successor_of, rig.session(id).succeeded_by), (Some(id), Some(won[0])));
    rig.until("the first turn", || (rig.puppets.heard(won[0]) == ["the task"]).then_some(()));
    rig.puppets.end_turn(won[0], "end_turn");
    assert_eq!(rig.puppets.heard(won[0]), ["the task", "and this"]);
    assert!(rig.session(id).waiting.is_empty());
}

#[test]
fn a_flood_pauses_once_and_loses_nothing() {
    let rig = Rig::with(Limits { requests_per_minute: 5, ..Limits::default() });
    let id = rig.start(Some("go"));
    let answers: Vec<_> = (0..8).map(|n| rig.puppets.ask(id, &format!("check-{n}"))).collect();
    rig.until_state(id, SessionState::Paused, StateReason::RateLimited);
    rig.until("all requests", || (rig.pending().len() == 8).then_some(()));
    let paused = rig.events(id, EventCode::SessionStateChange).iter().filter(|e| e.payload["to"] == "PAUSED").count();
    assert_eq!(paused, 1);
    rig.ok(Op::SessionResume, id, json!({}));
    for _ in 0..8 {
        rig.approve();
    }
    assert!(answers.iter().all(|a| a.get() == PermissionAnswer::AllowOnce));
}

#[test]
fn a_heartbeat_is_a_sign_of_life_and_not_of_work() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    let before = rig.shown(id);
    crate::host::beats::beat(&rig.runner.cx).unwrap();
    let after = rig.shown(id);
    assert_eq!(after.last_activity_at, before.last_activity_at);
    assert!(after.last_heartbeat_at > before.last_heartbeat_at);
    rig.puppets.end_turn(id, "end_turn");
    crate::host::beats::beat(&rig.runner.cx).unwrap();
    assert_eq!(rig.shown(id).last_heartbeat_at, after.last_heartbeat_at, "what does not run has no pulse");
}

#[test]
fn checkpoints_follow_the_work_at_a_bounded_rate() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    for n in 0..50 {
        rig.puppets.finish_tool(id, &format!("call-{n}"));
    }
    let made = rig.events(id, EventCode::SessionCheckpoint);
    let calls = made.iter().filter(|e| e.payload["why"] == "tool_call").count();
    assert!((1..25).contains(&calls), "{calls} for 50 calls in far less than 25 s");
    rig.puppets.end_turn(id, "end_turn");
    let last = rig.events(id, EventCode::SessionCheckpoint).pop().unwrap();
    assert_eq!(last.payload["why"], "before_rest");
    assert!(last.payload["head"].as_str().unwrap().contains("work@"));
    assert_eq!(rig.shown(id).checkpoint.unwrap().seq, last.seq);
}
