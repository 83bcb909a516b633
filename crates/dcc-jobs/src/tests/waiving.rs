//! The end of a waiver of the sandbox against what is just beginning under it.

use std::sync::Arc;

use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::job::{Bindings, JobState};
use dcc_core::op::Op;
use dcc_core::ports::SessionBackend as _;
use dcc_core::principal::Actor;
use dcc_core::session::{RunLimits, SessionState, StateReason};
use dcc_core::waiver::Waiver;
use dcc_core::Code;
use serde_json::json;

use super::rig::Rig;
use crate::context::Limits;
use crate::waivers;

/// A project without a sandbox whose worktree has a waiver for an hour.
fn waived(limits: Limits) -> Arc<Rig> {
    let rig = Rig::unconfined(limits);
    let (now, workspace_id) = (rig.runner.cx.now(), rig.place.workspace_id);
    let waiver = Waiver { waiver_id: uuid::Uuid::nil().into(), workspace_id, reason: "no kernel for it".into(), issued_at: now, expires_at: now.plus_ms(3_600_000) };
    let about = Correlation { workspace_id: Some(workspace_id), ..Correlation::default() };
    rig.runner.cx.journal.append(vec![NewEvent::new(EventCode::SandboxWaived, Actor::SYSTEM, json!({ "waiver": waiver })).about(&about)]).expect("recorded");
    Arc::new(rig)
}

#[test]
fn a_revocation_is_over_when_a_start_under_way_is_gone() {
    let rig = waived(Limits::default());
    rig.puppets.behave(|m| m.holds_starts = true);
    let here = Bindings { workspace_id: Some(rig.place.workspace_id), ..Bindings::default() };
    let start = rig.begin(Op::SessionStart, json!({ "agent": "puppet", "prompt": "go" }), here);
    rig.until("a start under way", || (!rig.puppets.starts().is_empty()).then_some(()));
    let revocation = rig.begin(Op::SandboxRevoke, json!({}), Bindings::default());
    rig.until("the waiver's end", || waivers::in_force(rig.runner.cx.ports.recorder.as_ref(), rig.runner.cx.now()).unwrap().is_empty().then_some(()));
    let before = rig.puppets.looks();
    rig.until("the revocation, at the start", || (revocation.is_finished() || rig.puppets.looks() > before + 2).then_some(()));
    assert!(!revocation.is_finished(), "an agent is still being started");
    rig.puppets.behave(|m| m.holds_starts = false);
    let revoked = revocation.join().expect("an end");
    assert_eq!(revoked.state, JobState::Completed, "{:?}", revoked.failure);
    assert!(rig.puppets.live().is_empty());
    let started = start.join().expect("an end");
    assert_eq!(started.failure.map(|f| f.code), Some(Code::SandboxUnavailable));
    assert_eq!(rig.state(started.bindings.session_id.expect("a session")), (SessionState::Failed, StateReason::IsolationMissing));
    assert_eq!(rig.start_job(json!({ "agent": "puppet" })).failure.map(|f| f.code), Some(Code::SandboxUnavailable));
}

#[test]
fn what_waits_for_a_turn_does_not_begin_it_after_the_waiver() {
    let rig = waived(Limits { runs: RunLimits { running: 1, ..RunLimits::default() }, ..Limits::default() });
    let waits = rig.start(None);
    let runs = rig.start(Some("go"));
    let sent = rig.send(waits, "then you");
    let turn = sent.result["turn_job_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(rig.job(turn).state, JobState::Queued);
    let revoked = rig.act(Op::SandboxRevoke, json!({}), Bindings::default());
    assert_eq!((revoked.state, revoked.result["agents_ended"].as_u64()), (JobState::Completed, Some(2)), "{:?}", revoked.failure);
    for id in [waits, runs] {
        assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::IsolationMissing));
    }
    assert_eq!(rig.job(turn).state, JobState::Cancelled);
    assert_eq!(rig.session(waits).waiting[0].text, "then you", "it waits for a resume");
    assert!(rig.puppets.heard(waits).is_empty());
}
