//! Two that move one thing at the same time: one wins, the other goes on with what then stands, and nothing is left between.

use std::sync::{Arc, Barrier};

use dcc_core::approval::{DecisionRequest, Scope};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::job::{Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::ports::sessions::PermissionAnswer;
use dcc_core::session::{RunLimits, SessionState, StateReason};
use dcc_core::{Code, Failure};
use serde_json::json;

use super::rig::Rig;
use crate::context::Limits;
use crate::kinds;
use crate::runner::correlation;

/// A rig with one slot, a session that holds it, and the queued start of another.
fn one_waits() -> (Rig, Job) {
    let rig = Rig::with(Limits { runs: RunLimits { running: 1, ..RunLimits::default() }, ..Limits::default() });
    rig.start(Some("one"));
    let waiting = rig.start_job(json!({ "agent": "puppet", "prompt": "two" }));
    assert_eq!(waiting.state, JobState::Queued);
    (rig, waiting)
}

fn canceled() -> Failure {
    Failure::new(Code::Canceled, "cancelled by the operator")
}

fn take_up(rig: &Rig, queued: &Job) -> Job {
    let kind = kinds::kind_of(queued.op).unwrap();
    let prepared = kind.reload(rig.runner.stored_plan(queued).unwrap()).unwrap();
    rig.runner.cx.scheduler.release(queued.job_id);
    rig.runner.execute(queued, kind, prepared, Vec::new(), None).unwrap()
}

#[test]
fn a_run_that_was_cancelled_while_it_was_taken_up_does_not_begin() {
    let (rig, queued) = one_waits();
    let holder = rig.runner.cx.ports.sessions.live()[0];
    assert!(rig.runner.try_end(&queued, JobState::Cancelled, canceled(), Vec::new()).unwrap());
    rig.puppets.end_turn(holder, "end_turn");
    rig.until_state(holder, SessionState::Blocked, StateReason::InputWait);
    // The thread that takes it up read the job before: its beginning is refused by the recorder.
    let stands = take_up(&rig, &queued);
    assert_eq!(stands.state, JobState::Cancelled);
    assert_eq!(rig.puppets.starts().len(), 1, "no agent was started for it");
    // The slot it had asked for is free.
    rig.start(Some("three"));
}

#[test]
fn a_run_that_began_is_not_cancelled_from_an_older_look() {
    let (rig, queued) = one_waits();
    let holder = rig.runner.cx.ports.sessions.live()[0];
    rig.puppets.end_turn(holder, "end_turn");
    let id = queued.bindings.session_id.unwrap();
    rig.until_state(id, SessionState::Active, StateReason::Running);
    assert!(!rig.runner.try_end(&queued, JobState::Cancelled, canceled(), Vec::new()).unwrap());
    // Its turn runs before the start is recorded as over.
    rig.until("the end of the start", || (rig.job(queued.job_id).state == JobState::Completed).then_some(()));
    assert_eq!(rig.runner.end(&queued, JobState::Cancelled, canceled(), Vec::new()).unwrap().state, JobState::Completed);
    rig.ok(Op::SessionCancel, id, json!({}));
}

#[test]
fn a_log_that_holds_an_end_and_then_a_beginning_opens_and_the_end_holds() {
    let (rig, queued) = one_waits();
    assert!(rig.runner.try_end(&queued, JobState::Cancelled, canceled(), Vec::new()).unwrap());
    let other = dcc_core::ids::InstanceId::from(rig.runner.cx.ports.clock.fresh_id());
    let began = NewEvent::new(EventCode::JobStateChange, queued.actor, json!({ "from": "queued", "to": "running", "instance_id": other })).about(&correlation(&queued));
    rig.runner.cx.journal.append(vec![began]).unwrap();
    assert_eq!(rig.job(queued.job_id).state, JobState::Cancelled);
    let rig = rig.killed();
    assert_eq!(rig.job(queued.job_id).state, JobState::Cancelled);
    assert_eq!(rig.runner.cx.ports.store.job(queued.job_id).unwrap().unwrap().state, JobState::Cancelled, "the store says the same");
}

#[test]
fn requests_under_one_grant_at_the_same_time_are_all_allowed() {
    let rig = Rig::new();
    let id = rig.start(Some("work"));
    let first = rig.puppets.ask_edit(id, "first", &["a.txt"]);
    let pending = rig.until("a request", || rig.pending().first().copied());
    let session = DecisionRequest { approve: true, scope: Scope::Session, reason: None, decider: Rig::operator(), nonce_sha256: None, preview_digest: None, typed: None };
    rig.runner.decide(pending, session).unwrap();
    assert!(matches!(first.get(), PermissionAnswer::AllowOnce));
    let answers: Vec<_> = (0..16).map(|n| rig.puppets.ask_edit(id, &format!("c{n}"), &[&format!("f{n}.txt")])).collect();
    for answer in answers {
        assert!(matches!(answer.get(), PermissionAnswer::AllowOnce));
    }
    let open = JobFilter { states: vec![JobState::Queued, JobState::AwaitingUser], ..JobFilter::default() };
    assert!(rig.runner.cx.ports.store.jobs(&open).unwrap().is_empty());
    let uses = rig.events(id, EventCode::GrantUsed);
    let mut numbers: Vec<u64> = uses.iter().filter_map(|e| e.payload["use"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<u64>>(), "each use is counted once");
}

#[test]
fn a_request_that_was_decided_meanwhile_is_not_ended_a_second_time() {
    let rig = Rig::new();
    let id = rig.start(Some("work"));
    let asked = rig.puppets.ask(id, "call");
    let pending = rig.until("a request", || rig.pending().first().copied());
    let job_id = rig.runner.cx.ports.store.approval(pending).unwrap().unwrap().job_id;
    let parked = rig.job(job_id);
    rig.approve();
    assert!(matches!(asked.get(), PermissionAnswer::AllowOnce));
    // Whoever read the request as pending before finds it taken, and nothing of his is recorded.
    let late = rig.runner.about_approval(&parked, EventCode::ApprovalStale, pending, json!({ "status": "cancelled", "reason": "late" })).once(format!("decided:{pending}"));
    assert!(!rig.runner.try_end(&parked, JobState::Cancelled, canceled(), vec![late]).unwrap());
    assert!(rig.events(id, EventCode::ApprovalStale).is_empty());
    assert!(!rig.runner.end_pending(pending, EventCode::ApprovalStale, "cancelled", JobState::Cancelled, canceled()).unwrap());
}

/// Both at once, as near as threads come to it.
fn together(rig: &Arc<Rig>, requests: [JobRequest; 2]) -> Vec<Job> {
    let barrier = Arc::new(Barrier::new(2));
    let threads = requests.map(|request| {
        let (rig, barrier) = (Arc::clone(rig), Arc::clone(&barrier));
        std::thread::spawn(move || {
            barrier.wait();
            rig.runner.submit(Rig::operator(), request).unwrap()
        })
    });
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

#[test]
fn a_grant_revoked_twice_at_once_leaves_no_job_running() {
    let rig = Arc::new(Rig::new());
    for round in 0..8 {
        let id = rig.start(Some("work"));
        let asked = rig.puppets.ask_edit(id, "first", &[&format!("r{round}.txt")]);
        let pending = rig.until("a request", || rig.pending().first().copied());
        let session = DecisionRequest { approve: true, scope: Scope::Session, reason: None, decider: Rig::operator(), nonce_sha256: None, preview_digest: None, typed: None };
        rig.runner.decide(pending, session).unwrap();
        assert!(matches!(asked.get(), PermissionAnswer::AllowOnce));
        let grant = rig.events(id, EventCode::GrantIssued)[0].payload["grant"]["grant_id"].clone();
        let request = || JobRequest { op: Op::GrantRevoke, params: json!({ "grant_id": grant }), bindings: Rig::of(id), idempotency_key: None };
        let jobs = together(&rig, [request(), request()]);
        let mut states: Vec<JobState> = jobs.iter().map(|job| rig.job(job.job_id).state).collect();
        states.sort_by_key(|s| s.as_str());
        assert_eq!(states, [JobState::Completed, JobState::Failed]);
        rig.ok(Op::SessionCancel, id, json!({}));
    }
}
