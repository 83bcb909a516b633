//! Limits and lanes: what is over a limit waits in sight, is never lost, and begins by itself.

use dcc_core::event::EventCode;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::session::{Lane, RunLimits, SessionState, StateReason};
use dcc_core::{Code, SessionId};
use serde_json::json;

use super::rig::Rig;
use crate::context::Limits;

fn with(runs: RunLimits) -> Rig {
    Rig::with(Limits { runs, ..Limits::default() })
}

fn id_of(job: &Job) -> SessionId {
    job.bindings.session_id.expect("a session")
}

fn start_as(rig: &Rig, agent: &str, lane: Lane, prompt: &str) -> Job {
    rig.start_job(json!({ "agent": agent, "prompt": prompt, "lane": lane }))
}

#[test]
fn a_start_over_the_limit_waits_and_begins_when_a_slot_is_free() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let first = rig.start(Some("one"));
    let waiting = start_as(&rig, "claude", Lane::Primary, "two");
    assert_eq!(waiting.state, JobState::Queued);
    let second = id_of(&waiting);
    let session = rig.session(second);
    assert_eq!((session.state, session.state_reason, session.is_queued()), (SessionState::Created, StateReason::Dispatching, true));
    assert_eq!(session.queued_run.unwrap().why, "1 of 1 sessions run");
    assert_eq!(session.waiting[0].text, "two", "its prompt waits with it");
    rig.puppets.end_turn(first, "end_turn");
    rig.until_state(second, SessionState::Active, StateReason::Running);
    rig.until_heard(second, &["two"]);
    assert_eq!(rig.session(second).queued_run, None);
    assert_eq!(rig.events(second, EventCode::RunQueued).len() + rig.events(second, EventCode::RunDispatched).len(), 2);
    // A turn waits too, and is seen in its session.
    let sent = rig.send(first, "three");
    let turn: dcc_core::JobId = sent.result["turn_job_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(rig.job(turn).state, JobState::Queued);
    assert_eq!((rig.state(first), rig.session(first).is_queued()), ((SessionState::Blocked, StateReason::Dispatching), true));
    rig.puppets.end_turn(second, "end_turn");
    rig.until_state(first, SessionState::Active, StateReason::Running);
    rig.until_heard(first, &["one", "three"]);
}

#[test]
fn a_session_that_waits_for_a_decision_lends_its_slot_and_goes_on_after_it() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let first = rig.start(Some("one"));
    let second = id_of(&start_as(&rig, "puppet", Lane::Primary, "two"));
    let third = id_of(&start_as(&rig, "puppet", Lane::Primary, "three"));
    assert_eq!([rig.state(second).0, rig.state(third).0], [SessionState::Created; 2]);
    let answer = rig.puppets.ask(first, "call-1");
    rig.until_state(first, SessionState::Blocked, StateReason::ApprovalWait);
    rig.until_state(second, SessionState::Active, StateReason::Running);
    assert_eq!(rig.state(third).0, SessionState::Created, "one slot is lent once");
    rig.until("the request", || (!rig.pending().is_empty()).then_some(()));
    rig.approve();
    assert_eq!(answer.get(), dcc_core::ports::PermissionAnswer::AllowOnce);
    rig.until_state(first, SessionState::Active, StateReason::Running);
    // Two run where one may: nothing begins until it is below again.
    rig.puppets.end_turn(second, "end_turn");
    assert_eq!(rig.state(third).0, SessionState::Created);
    rig.puppets.end_turn(first, "end_turn");
    rig.until_state(third, SessionState::Active, StateReason::Running);
}

#[test]
fn each_limit_counts_for_itself_and_holds_up_nobody_else() {
    let rig = with(RunLimits { provider: 1, model: 1, ..RunLimits::default() });
    rig.puppets.behave(|m| m.model = Some("m1"));
    let first = id_of(&start_as(&rig, "claude", Lane::Primary, "a"));
    let same_provider = start_as(&rig, "claude", Lane::Primary, "b");
    assert_eq!(rig.session(id_of(&same_provider)).queued_run.unwrap().why, "1 of 1 sessions of the provider anthropic run");
    // Another provider starts; its turn waits for the model.
    let other = start_as(&rig, "codex", Lane::Primary, "c");
    assert_eq!(other.state, JobState::Completed);
    assert_eq!(rig.session(id_of(&other)).queued_run.unwrap().why, "1 of 1 sessions of the model m1 run");
    rig.puppets.behave(|m| m.model = Some("m2"));
    let free = start_as(&rig, "puppet", Lane::Primary, "d");
    assert_eq!(rig.state(id_of(&free)).0, SessionState::Active);
    rig.puppets.behave(|m| m.model = None);
    rig.puppets.end_turn(first, "end_turn");
    rig.until("both", || [&same_provider, &other].iter().all(|j| rig.session(id_of(j)).queued_run.is_none()).then_some(()));
}

#[test]
fn lanes_go_by_urgency() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let first = rig.start(Some("one"));
    let [background, primary] = [Lane::Background, Lane::Primary].map(|lane| id_of(&start_as(&rig, "puppet", lane, "go")));
    rig.puppets.end_turn(first, "end_turn");
    rig.until_state(primary, SessionState::Active, StateReason::Running);
    assert_eq!(rig.state(background).0, SessionState::Created);
    rig.puppets.end_turn(primary, "end_turn");
    rig.until_state(background, SessionState::Active, StateReason::Running);
}

#[test]
fn cold_starts_are_few_at_once() {
    let rig = std::sync::Arc::new(with(RunLimits { cold_starts: 1, ..RunLimits::default() }));
    rig.puppets.behave(|m| m.holds_starts = true);
    let bindings = dcc_core::job::Bindings { workspace_id: Some(rig.place.workspace_id), ..Default::default() };
    let first = rig.begin(Op::SessionStart, json!({ "agent": "puppet" }), bindings);
    rig.until("the first start", || (rig.puppets.starts().len() == 1).then_some(()));
    let second = rig.start_job(json!({ "agent": "claude" }));
    assert_eq!((second.state, rig.session(id_of(&second)).queued_run.unwrap().why.as_str()), (JobState::Queued, "1 of 1 agents are being started"));
    rig.puppets.behave(|m| m.holds_starts = false);
    first.join().unwrap();
    rig.until_state(id_of(&second), SessionState::Blocked, StateReason::InputWait);
}

#[test]
fn what_waits_survives_a_kill_and_can_be_cancelled() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let first = rig.start(Some("one"));
    let waiting: Vec<SessionId> = (0..3).map(|n| id_of(&start_as(&rig, "puppet", Lane::Primary, &format!("w{n}")))).collect();
    rig.ok(Op::SessionCancel, waiting[0], json!({}));
    assert_eq!(rig.state(waiting[0]), (SessionState::Cancelled, StateReason::CancelledByOperator));
    let rig = rig.killed();
    assert_eq!(rig.state(first), (SessionState::Paused, StateReason::CrashRecovery));
    rig.until_state(waiting[1], SessionState::Active, StateReason::Running);
    assert_eq!(rig.state(waiting[2]).0, SessionState::Created);
    rig.until_heard(waiting[1], &["w1"]);
    assert_eq!(rig.puppets.starts().len(), 1);
    // Cancelling the job ends its session as well.
    let job = rig.session(waiting[2]).queued_run.unwrap().job_id;
    rig.runner.cancel(Rig::operator(), job, None).unwrap();
    assert_eq!(rig.session(waiting[2]).state, SessionState::Cancelled);
}

#[test]
fn a_paused_start_waits_and_a_message_changed_while_its_turn_waits_is_delivered_changed() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let first = rig.start(Some("one"));
    let second = id_of(&start_as(&rig, "puppet", Lane::Primary, "two"));
    rig.ok(Op::SessionPause, second, json!({}));
    let other = {
        rig.puppets.end_turn(first, "end_turn");
        assert_eq!(rig.state(second).0, SessionState::Paused, "a resting session is not begun");
        rig.start(Some("three"))
    };
    rig.ok(Op::SessionResume, second, json!({}));
    assert_eq!(rig.state(second), (SessionState::Blocked, StateReason::Dispatching));
    rig.send(first, "draft");
    let message = rig.session(first).waiting[0].message_id;
    rig.ok(Op::SessionSend, first, json!({ "message_id": message, "edit": "final" }));
    rig.puppets.end_turn(other, "end_turn");
    rig.until_state(second, SessionState::Active, StateReason::Running);
    rig.puppets.end_turn(second, "end_turn");
    rig.until_state(first, SessionState::Active, StateReason::Running);
    rig.until_heard(first, &["one", "final"]);
}

#[test]
fn a_closing_server_begins_nothing() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    let idle = rig.start(None);
    let first = rig.start(Some("one"));
    let second = id_of(&start_as(&rig, "puppet", Lane::Primary, "two"));
    rig.runner.shut_down().unwrap();
    assert_eq!([rig.state(first), rig.state(idle)], [(SessionState::Paused, StateReason::OperatorPause); 2]);
    assert_eq!(rig.events(idle, EventCode::SessionCheckpoint).last().unwrap().payload["state"], "BLOCKED");
    assert_eq!((rig.state(second).0, rig.puppets.starts().len()), (SessionState::Created, 2));
    assert_eq!(rig.events(first, EventCode::SessionCheckpoint).iter().filter(|e| e.payload["why"] == "shutdown").count(), 1);
}

#[test]
fn a_start_that_fails_says_why_and_gives_its_slot_back() {
    let rig = with(RunLimits { running: 1, ..RunLimits::default() });
    rig.puppets.behave(|m| m.start_fails = Some("login needed"));
    let failed = start_as(&rig, "puppet", Lane::Primary, "go");
    assert_eq!(failed.failure.as_ref().unwrap().code, Code::AgentFailed);
    assert_eq!(rig.state(id_of(&failed)), (SessionState::Failed, StateReason::AgentExit));
    assert_eq!(rig.session(id_of(&failed)).fault.as_deref(), Some("login needed"));
    rig.puppets.behave(|m| m.start_fails = None);
    rig.start(Some("go"));
    // The prompt of the failed one is not lost: its successor takes it along.
    let retried = rig.act(Op::SessionRetry, json!({}), Rig::of(id_of(&failed)));
    assert_eq!(rig.session(id_of(&retried)).waiting.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["go", "go"]);
}
