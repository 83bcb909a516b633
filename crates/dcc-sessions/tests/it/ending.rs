//! Every way to the end: stopped, crashed, deaf, leaving children.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dcc_core::failure::Code;
use dcc_core::ports::sessions::{AgentReport, SessionBackend};
use dcc_sessions::AcpOptions;
use serde_json::{Value, json};

use crate::support::{ALLOW, Decision, PATIENCE, Rig, lock, marked, options};

fn one_turn(steps: &Value) -> Value {
    json!({"turns": [{"steps": steps}]})
}

#[test]
fn a_stop_cancels_the_turn_first_and_leaves_nothing() {
    let rig = Rig::new(&one_turn(&json!([{"wait_for": "cancel"}])), ALLOW);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(marked(&rig.marker), Vec::<u32>::new());
    assert_eq!(rig.end_of(turn).unwrap(), "cancelled");
    assert_eq!(rig.wait_exit().0, Some(0));
    assert!(rig.backend.live().is_empty());
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(rig.prompt("more").unwrap_err().code, Code::NotFoundSession);
    assert_eq!(rig.backend.cancel_turn(rig.session_id).unwrap_err().code, Code::NotFoundSession);
}

#[test]
fn a_stop_while_a_question_waits_withdraws_it() {
    let rig = Rig::new(&one_turn(&json!([{"edit": {"path": "a", "new": "x"}, "ask": true}])), Decision::Hold);
    rig.start().unwrap();
    rig.prompt("go").unwrap();
    let ask = rig.wait_ask();
    rig.backend.stop(rig.session_id).unwrap();
    assert!(ask.withdrawn.is_set() && rig.read("a").is_none());
    rig.wait_exit();
}

#[test]
fn an_agent_that_heeds_neither_cancel_nor_end_of_input_is_ended() {
    let limits = AcpOptions { cancel_grace: Duration::from_millis(200), ..options() };
    let rig = Rig::with(&one_turn(&json!([{"ignore_eof": true}, {"deaf": true}])), ALLOW, limits);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    rig.host.wait_for("deafness", |heard| heard.reports.iter().any(|r| matches!(r, AgentReport::Other { kind, .. } if kind == "scripted_deaf")).then_some(()));
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(marked(&rig.marker), Vec::<u32>::new());
    let failure = rig.end_of(turn).unwrap_err();
    assert!(failure.code == Code::AgentFailed && failure.message.contains("during a turn"), "{failure}");
    assert_eq!(rig.wait_exit().0, None, "a signal ended it");
}

#[test]
fn a_crash_in_a_turn_fails_the_turn_and_then_ends_the_session() {
    let rig = Rig::new(&one_turn(&json!([{"say_chunks": ["unfin", "ished"]}, {"exit": {"code": 3}}])), ALLOW);
    let failure = rig.play().unwrap_err();
    assert!(failure.code == Code::AgentFailed && failure.message.contains("exit code 3"), "{failure}");
    let (code, stderr) = rig.wait_exit();
    assert!(code == Some(3) && stderr.contains("exit with 3"), "{stderr}");
    let heard = rig.host.heard();
    let kinds: Vec<&str> = heard
        .reports
        .iter()
        .filter_map(|r| match r {
            AgentReport::Message { text } if text == "unfinished" => Some("message"),
            AgentReport::TurnFailed { .. } => Some("failed"),
            AgentReport::Exited { .. } => Some("exited"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["message", "failed", "exited"], "what was said is not lost, and the order holds");
    drop(heard);
    assert!(rig.backend.live().is_empty());
}

#[test]
fn a_crash_at_the_prompt_and_while_a_question_waits() {
    let rig = Rig::new(&json!({"exit_at": "prompt"}), ALLOW);
    assert!(rig.play().unwrap_err().message.contains("exit code 7"));
    rig.wait_exit();
    let rig = Rig::new(&one_turn(&json!([{"ask_and_exit": {"code": 4}}])), Decision::Hold);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    let ask = rig.wait_ask();
    assert!(rig.end_of(turn).unwrap_err().message.contains("exit code 4"));
    rig.wait_exit();
    assert!(ask.withdrawn.is_set(), "nobody waits for that answer any more");
}

#[test]
fn an_idle_agent_that_dies_is_reported_without_a_turn() {
    let rig = Rig::new(&one_turn(&json!([{"leave_child": 600}, {"say": "bye"}])), ALLOW);
    rig.play().unwrap();
    // The kernel shows what a program was started with a moment after its parent goes on.
    let deadline = Instant::now() + PATIENCE;
    while marked(&rig.marker).len() < 2 {
        assert!(Instant::now() < deadline, "the child runs in a session of its own");
        std::thread::yield_now();
    }
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(marked(&rig.marker), Vec::<u32>::new());
    rig.wait_exit();
    assert!(!rig.host.heard().reports.iter().any(|r| matches!(r, AgentReport::TurnFailed { .. })));
}

#[test]
fn a_child_that_holds_the_output_open_does_not_hold_the_session() {
    let rig = Rig::new(&one_turn(&json!([{"leave_child": 600}, {"exit": {"code": 0}}])), ALLOW);
    assert!(rig.play().unwrap_err().message.contains("exit code 0"));
    assert_eq!(rig.wait_exit().0, Some(0));
    assert_eq!(marked(&rig.marker), Vec::<u32>::new(), "Exited means that the tree is empty");
}

#[test]
fn the_host_may_stop_the_session_from_inside_a_report() {
    let rig = Rig::new(&one_turn(&json!([{"say": "stop me"}, {"plan": ["x"]}, {"wait_for": "cancel"}])), ALLOW);
    let stopped = Arc::new(Mutex::new(None));
    let (backend, session_id, result) = (Arc::downgrade(&rig.backend), rig.session_id, Arc::clone(&stopped));
    let hook = move |report: &AgentReport| {
        if matches!(report, AgentReport::Message { .. })
            && let Some(backend) = backend.upgrade()
        {
            *lock(&result) = Some(backend.stop(session_id));
        }
    };
    assert!(rig.host.hook.set(Box::new(hook)).is_ok());
    rig.start().unwrap();
    rig.prompt("go").unwrap();
    rig.wait_exit();
    assert_eq!(*lock(&stopped), Some(Ok(())));
}
