//! How questions are put and answered.

use dcc_core::ports::sessions::{PermissionAnswer, SessionBackend};
use serde_json::{Value, json};

use crate::support::{ALLOW, Decision, REJECT, Rig};

fn one_turn(steps: &Value) -> Value {
    json!({"turns": [{"steps": steps}]})
}

fn edits(count: usize) -> Value {
    (0..count).map(|n| json!({"edit": {"path": format!("file-{n}"), "new": "x"}, "ask": true})).collect()
}

#[test]
fn the_answer_is_chosen_by_kind_in_whatever_order_the_options_come() {
    let rig = Rig::new(&one_turn(&edits(12)), ALLOW);
    rig.play().unwrap();
    assert_eq!(rig.host.heard().written.len(), 12);
    assert!(!rig.host.messages().join(" ").contains("always"), "{:?}", rig.host.messages());
    let rig = Rig::new(&one_turn(&edits(12)), REJECT);
    rig.play().unwrap();
    assert!(rig.host.heard().written.is_empty());
    assert!(!rig.host.messages().join(" ").contains("always"), "{:?}", rig.host.messages());
}

#[test]
fn a_bare_request_is_joined_with_what_was_announced() {
    let rig = Rig::new(&one_turn(&json!([{"bare_permission": true}])), ALLOW);
    rig.play().unwrap();
    let ask = rig.wait_ask();
    assert_eq!((ask.kind.as_deref(), ask.command.as_deref(), ask.title.as_str()), (Some("execute"), Some("make check"), "make check"));
    assert_eq!(rig.host.messages(), ["The special request was allowed."]);
}

#[test]
fn a_bare_request_without_an_announcement_is_unexplained() {
    let rig = Rig::new(&one_turn(&json!([{"edit": {"path": "a", "new": "x"}, "asking": "bare_unknown"}])), REJECT);
    rig.play().unwrap();
    let ask = rig.wait_ask();
    assert_eq!((ask.kind, ask.title.as_str(), ask.locations.len(), ask.diffs.len()), (None, "", 0, 0));
}

#[test]
fn without_allow_once_nothing_is_allowed() {
    let rig = Rig::new(&one_turn(&json!([{"no_allow_once": true}, {"say": "on"}])), ALLOW);
    // The host says yes; the only yes on offer is for always, so the agent hears `cancelled`.
    assert_eq!(rig.play().unwrap(), "cancelled");
    assert!(!rig.wait_ask().can_allow);
    assert!(rig.host.messages().is_empty());
}

#[test]
fn many_questions_wait_up_to_the_bound_and_are_answered_in_any_order() {
    let rig = Rig::new(&one_turn(&json!([{"ask_many": 40}])), Decision::Hold);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    let asks = rig.host.wait_for("32 questions", |heard| (heard.asks.len() == 32).then(|| heard.asks.clone()));
    rig.host.wait_for("the overflow", |heard| {
        let over = heard.reports.iter().filter(|r| format!("{r:?}").contains("too_many_waiting")).count();
        (over == 8).then_some(())
    });
    for (n, ask) in asks.iter().rev().enumerate() {
        rig.host.release(&ask.tool_call_id, if n < 20 { PermissionAnswer::AllowOnce } else { PermissionAnswer::RejectOnce });
    }
    assert_eq!(rig.end_of(turn).unwrap(), "end_turn");
    assert_eq!(rig.host.messages(), ["20 allowed, 12 rejected, 8 cancelled"]);
    assert_eq!(rig.host.heard().asks.len(), 32);
}

#[test]
fn a_request_taken_back_is_withdrawn_and_its_late_answer_dropped() {
    let rig = Rig::new(&one_turn(&json!([{"edit": {"path": "a", "new": "x"}, "asking": "withdraw"}])), Decision::Hold);
    assert_eq!(rig.play().unwrap(), "cancelled");
    let ask = rig.wait_ask();
    rig.host.wait_for("the late answer", |heard| (!heard.answered.is_empty()).then_some(()));
    assert!(ask.withdrawn.is_set() && rig.read("a").is_none());
    assert_eq!(rig.again().unwrap(), "end_turn");
}

#[test]
fn one_id_is_asked_once() {
    let rig = Rig::new(&one_turn(&json!([{"edit": {"path": "a", "new": "x"}, "asking": "twice"}])), Decision::Hold);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    let ask = rig.wait_ask();
    rig.host.wait_for("the second request", |heard| heard.reports.iter().any(|r| format!("{r:?}").contains("request_id_used_twice")).then_some(()));
    rig.host.release(&ask.tool_call_id, PermissionAnswer::AllowOnce);
    assert_eq!(rig.end_of(turn).unwrap(), "end_turn");
    assert_eq!((rig.host.heard().asks.len(), rig.read("a").as_deref()), (1, Some("x")));
}

#[test]
fn cancelling_answers_first_and_drops_what_comes_later() {
    // A hanging agent pays no heed to session/cancel: only the answer `cancelled` can end its turn.
    let rig = Rig::new(&one_turn(&json!([{"hang_on_permission": true}, {"say": "never"}])), Decision::Hold);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    let ask = rig.wait_ask();
    rig.backend.cancel_turn(rig.session_id).unwrap();
    assert!(ask.withdrawn.is_set());
    assert_eq!(rig.end_of(turn).unwrap(), "cancelled");
    rig.host.wait_for("the late answer", |heard| (!heard.answered.is_empty()).then_some(()));
    assert!(rig.host.messages().is_empty());
    assert_eq!(rig.again().unwrap(), "end_turn", "the session goes on");
}

#[test]
fn a_host_that_fails_has_allowed_nothing() {
    let rig = Rig::new(&one_turn(&edits(1)), Decision::Panic);
    assert_eq!(rig.play().unwrap(), "cancelled");
    assert!(rig.read("file-0").is_none());
    assert_eq!(rig.again().unwrap(), "end_turn", "the session goes on");
}

#[test]
fn the_digest_is_over_the_raw_request() {
    let first = Rig::new(&one_turn(&edits(1)), ALLOW);
    let second = Rig::new(&one_turn(&edits(1)), ALLOW);
    first.play().unwrap();
    second.play().unwrap();
    assert_ne!(first.wait_ask().raw_sha256, second.wait_ask().raw_sha256, "other worktree, other bytes");
}
