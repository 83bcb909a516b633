//! Messages: queued, at the boundary, at once; changed while they wait; never lost, never twice.

use std::sync::Arc;

use dcc_core::event::EventCode;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::PermissionAnswer;
use dcc_core::session::{Delivery, SessionState, StateReason};
use dcc_core::{Code, SessionId};
use serde_json::json;

use super::rig::Rig;

const IDLE: (SessionState, StateReason) = (SessionState::Blocked, StateReason::InputWait);

fn texts(rig: &Rig, id: SessionId) -> Vec<String> {
    rig.session(id).waiting.iter().map(|m| m.text.clone()).collect()
}

fn message(rig: &Rig, id: SessionId, text: &str) -> String {
    rig.session(id).waiting.iter().find(|m| m.text == text).expect("it waits").message_id.to_string()
}

#[test]
fn a_first_prompt_is_a_message_and_then_a_turn() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    assert_eq!(rig.puppets.heard(id), ["go"]);
    assert_eq!(rig.state(id), (SessionState::Active, StateReason::Running));
    assert_eq!(rig.steers(id), ["queued", "delivering", "delivered"]);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.state(id), IDLE);
    assert_eq!((rig.shown(id).turns, rig.session(id).waiting.len()), (1, 0));
    assert!(rig.puppets.told(id)[0].contains("command center"), "DCC's preamble comes before it");
}

#[test]
fn messages_queue_behind_a_turn_in_their_order() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    for text in ["second", "third"] {
        let sent = rig.send(id, text);
        assert_eq!(sent.result["delivery"], "it is delivered when the running turn ends");
        assert!(sent.result.get("turn_job_id").is_none());
    }
    assert_eq!(texts(&rig, id), ["second", "third"]);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!((rig.puppets.heard(id), texts(&rig, id)), (vec!["first".to_owned(), "second".into()], vec!["third".to_owned()]));
    assert_eq!(rig.state(id).0, SessionState::Active);
    rig.puppets.end_turn(id, "end_turn");
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.puppets.heard(id), ["first", "second", "third"]);
    assert_eq!(rig.state(id), IDLE);
    let delivered = rig.events(id, EventCode::SessionSteered).into_iter().filter(|e| e.payload["steer"] == "delivered").collect::<Vec<_>>();
    assert_eq!(delivered.len(), 3);
    assert!(delivered.iter().all(|e| e.job_id.is_some()), "delivery names its turn");
}

#[test]
fn a_turn_that_failed_leaves_the_queue_alone() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.send(id, "second");
    rig.puppets.fail_turn(id, "overloaded");
    assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::ToolError));
    assert_eq!(rig.session(id).fault.as_deref(), Some("overloaded"));
    assert_eq!(texts(&rig, id), ["second"]);
    // A person's next word lets it go on, in order.
    rig.send(id, "third");
    assert_eq!(rig.puppets.heard(id), ["first", "second"]);
    assert_eq!(texts(&rig, id), ["third"]);
}

#[test]
fn waiting_messages_are_edited_moved_removed_and_sent_now() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    for text in ["b", "c", "d"] {
        rig.send(id, text);
    }
    rig.ok(Op::SessionSend, id, json!({ "message_id": message(&rig, id, "c"), "edit": "C" }));
    rig.ok(Op::SessionSend, id, json!({ "message_id": message(&rig, id, "d"), "move": 0 }));
    rig.ok(Op::SessionSend, id, json!({ "message_id": message(&rig, id, "b"), "remove": true }));
    assert_eq!(texts(&rig, id), ["d", "C"]);
    let now = rig.ok(Op::SessionSend, id, json!({ "message_id": message(&rig, id, "C"), "now": true }));
    assert_eq!(now.result["delivered"], true);
    assert_eq!((rig.puppets.heard(id), texts(&rig, id)), (vec!["first".to_owned(), "C".into()], vec!["d".to_owned()]));
    let turns = rig.runner.cx.ports.store.jobs(&dcc_core::ports::JobFilter { op: Some(Op::SessionRun), ..Default::default() }).unwrap();
    assert_eq!(turns.iter().map(|j| j.state).collect::<Vec<_>>(), [JobState::Running, JobState::Cancelled], "newest first");
    let (code, _) = rig.refused(Op::SessionSend, id, json!({ "message_id": "0198c0de-0000-7000-8000-00000000000a", "remove": true }));
    assert_eq!(code, Code::NotFound);
    for bad in [json!({}), json!({ "text": " " }), json!({ "text": "x", "remove": true }), json!({ "message_id": message(&rig, id, "d") }), json!({ "message_id": message(&rig, id, "d"), "now": true, "remove": true })] {
        assert_eq!(rig.refused(Op::SessionSend, id, bad.clone()).0, Code::InvalidInput, "{bad}");
    }
}

#[test]
fn of_two_who_change_one_message_one_is_told() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("first"));
    rig.send(id, "b");
    let waiting = message(&rig, id, "b");
    // Both plans see revision 0; the lock makes them come one after the other, the key makes the second lose.
    let hold = rig.runner.cx.delivering.lock().unwrap();
    let acts = ["edited by one", "edited by two"].map(|text| rig.begin(Op::SessionSend, json!({ "message_id": waiting, "edit": text }), Rig::of(id)));
    let filter = dcc_core::ports::JobFilter { op: Some(Op::SessionSend), states: vec![JobState::Running], ..Default::default() };
    rig.until("both acts", || (rig.runner.cx.ports.store.jobs(&filter).unwrap().len() == 2).then_some(()));
    drop(hold);
    let jobs = acts.map(|a| a.join().unwrap());
    let lost: Vec<_> = jobs.iter().filter_map(|j| j.failure.as_ref()).collect();
    assert_eq!(lost.len(), 1, "{jobs:#?}");
    assert_eq!(lost[0].code, Code::VersionConflict);
    assert!(lost[0].message.contains("changed meanwhile by operator"), "{}", lost[0].message);
    assert_eq!(texts(&rig, id).len(), 1);
}

#[test]
fn boundary_interrupts_at_the_next_request() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    let sent = rig.ok(Op::SessionSend, id, json!({ "text": "other way", "when": "boundary" }));
    assert!(sent.result["delivery"].as_str().unwrap().contains("at its next request"));
    assert_eq!(rig.puppets.heard(id), ["first"], "not before a boundary");
    let answer = rig.puppets.ask(id, "check");
    assert_eq!(answer.get(), PermissionAnswer::Cancelled);
    rig.until("the delivery", || (rig.puppets.heard(id).len() == 2).then_some(()));
    assert_eq!(rig.puppets.heard(id)[1], "other way");
    assert!(rig.pending().is_empty(), "the request was never put to a person");
    rig.until("its word", || (rig.steers(id).last().map(String::as_str) == Some("delivered")).then_some(()));
    assert_eq!(&rig.steers(id)[3..], ["queued", "interrupted", "delivering", "delivered"]);
}

#[test]
fn boundary_interrupts_at_a_finished_tool_call_and_at_a_request_that_waits() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.ok(Op::SessionSend, id, json!({ "text": "second", "when": "boundary" }));
    rig.puppets.finish_tool(id, "compile");
    rig.until("the delivery", || (rig.puppets.heard(id).len() == 2).then_some(()));
    let answer = rig.puppets.ask(id, "check");
    rig.until_state(id, SessionState::Blocked, StateReason::ApprovalWait);
    assert_eq!(rig.pending().len(), 1);
    rig.ok(Op::SessionSend, id, json!({ "text": "third", "when": "boundary" }));
    assert_eq!(answer.get(), PermissionAnswer::Cancelled);
    rig.until("the delivery", || (rig.puppets.heard(id).len() == 3).then_some(()));
    assert!(rig.pending().is_empty());
}

#[test]
fn boundary_without_a_boundary_comes_with_the_end_of_the_turn() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.send(id, "patient");
    rig.ok(Op::SessionSend, id, json!({ "text": "urgent", "when": "boundary" }));
    assert_eq!(texts(&rig, id), ["urgent", "patient"]);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.puppets.heard(id), ["first", "urgent"]);
    assert!(!rig.steers(id).contains(&"interrupted".to_owned()));
}

#[test]
fn now_stops_the_turn_and_a_stubborn_agent_loses_no_text() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    let answer = rig.puppets.ask(id, "check");
    rig.until_state(id, SessionState::Blocked, StateReason::ApprovalWait);
    let sent = rig.ok(Op::SessionSend, id, json!({ "text": "stop that", "when": "now" }));
    assert_eq!(answer.get(), PermissionAnswer::Cancelled);
    assert_eq!(sent.result["delivered"], true);
    assert_eq!(rig.puppets.heard(id), ["first", "stop that"]);
    rig.puppets.behave(|m| m.heeds_cancel = false);
    let (code, said) = rig.refused(Op::SessionSend, id, json!({ "text": "and that", "when": "now" }));
    assert_eq!(code, Code::SboxTimeout);
    assert!(said.contains("waits first in line"), "{said}");
    assert_eq!(texts(&rig, id), ["and that"]);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.puppets.heard(id), ["first", "stop that", "and that"]);
}

#[test]
fn what_could_be_delivered_and_was_refused_is_taken_back() {
    let rig = Rig::new();
    let id = rig.start(None);
    rig.puppets.behave(|m| m.prompt_fails = Some("it left its mode"));
    let (code, said) = rig.refused(Op::SessionSend, id, json!({ "text": "go" }));
    assert_eq!((code, said.as_str()), (Code::AgentFailed, "it left its mode"));
    assert!(rig.session(id).waiting.is_empty());
    assert_eq!(rig.steers(id), ["queued", "delivering", "returned", "removed"]);
    assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::ToolError));
}

#[test]
fn an_ended_session_takes_no_message() {
    let rig = Rig::new();
    let id = rig.start(None);
    rig.ok(Op::SessionCancel, id, json!({}));
    let (code, said) = rig.refused(Op::SessionSend, id, json!({ "text": "go" }));
    assert_eq!(code, Code::IllegalTransition);
    assert!(said.contains("has ended (CANCELLED)"), "{said}");
}

#[test]
fn waiting_messages_survive_a_kill_and_nothing_is_delivered_by_itself() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.send(id, "second");
    rig.send(id, "third");
    let rig = rig.killed();
    assert_eq!(rig.state(id), (SessionState::Paused, StateReason::CrashRecovery));
    assert_eq!(texts(&rig, id), ["second", "third"]);
    assert!(rig.puppets.starts().is_empty());
    rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(rig.puppets.heard(id), ["second"]);
    rig.puppets.end_turn(id, "end_turn");
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.puppets.heard(id), ["second", "third"], "each once");
}

#[test]
fn a_message_on_its_way_during_a_kill_is_never_sent_again_by_itself() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(None);
    rig.puppets.behave(|m| m.holds_prompts = true);
    let sending = rig.begin(Op::SessionSend, json!({ "text": "once" }), Rig::of(id));
    rig.until("the hand-over", || rig.steers(id).contains(&"delivering".to_owned()).then_some(()));
    // Killed between the mark and the agent's answer: the old process never gets to write again.
    let place = Arc::clone(&rig.place);
    std::mem::forget(sending);
    let new = Rig::open(&place, rig.runner.cx.config.limits.clone());
    let waiting = new.session(id).waiting;
    assert!(matches!(waiting[0].delivery, Delivery::Unknown { .. }), "{waiting:?}");
    new.ok(Op::SessionResume, id, json!({ "prompt": "look at the worktree first" }));
    assert_eq!(new.puppets.heard(id), ["look at the worktree first"]);
    new.puppets.end_turn(id, "end_turn");
    assert_eq!(new.state(id), IDLE, "the unsure one waits for a person");
    new.ok(Op::SessionSend, id, json!({ "message_id": waiting[0].message_id, "now": true }));
    assert_eq!(new.puppets.heard(id), ["look at the worktree first", "once"]);
}
