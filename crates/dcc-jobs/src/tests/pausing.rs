//! Pause and resume: at the boundary, by standing still, by cancelling; in place, with a new process, or not at all.

use std::sync::Arc;

use dcc_core::event::EventCode;
use dcc_core::job::{Bindings, JobState};
use dcc_core::op::Op;
use dcc_core::plans::Origin;
use dcc_core::ports::PermissionAnswer;
use dcc_core::ports::sessions::ResumeStyle;
use dcc_core::session::{SessionState, StateReason};
use dcc_core::{Code, SessionId};
use serde_json::json;

use super::rig::Rig;
use crate::context::Limits;

const IDLE: (SessionState, StateReason) = (SessionState::Blocked, StateReason::InputWait);
const RESTS: (SessionState, StateReason) = (SessionState::Paused, StateReason::OperatorPause);

/// Bounds that pass while a test looks on.
fn hasty() -> Limits {
    Limits { pause_bound_ms: 30, freeze_ms: 30, ..Limits::default() }
}

fn pause(rig: &Rig, id: SessionId) -> String {
    rig.ok(Op::SessionPause, id, json!({ "reason": "lunch" })).result["how"].as_str().unwrap().to_owned()
}

#[test]
fn an_idle_session_rests_at_once_and_goes_on_where_it_was() {
    let rig = Rig::new();
    let id = rig.start(None);
    assert!(pause(&rig, id).starts_with("at once"));
    assert_eq!(rig.state(id), RESTS);
    let sent = rig.send(id, "later");
    assert_eq!(sent.result["delivery"], "it waits until the session is resumed");
    assert!(rig.puppets.heard(id).is_empty(), "paused means nothing is dispatched");
    let resumed = rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(resumed.result["in_place"], true);
    assert_eq!(rig.puppets.heard(id), ["later"]);
    assert_eq!(rig.puppets.starts().len(), 1);
}

#[test]
fn a_working_session_rests_at_its_next_request_and_the_answer_is_held() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("go"));
    let pausing = rig.begin(Op::SessionPause, json!({}), Rig::of(id));
    rig.until("the wish", || rig.session(id).pausing.is_some().then_some(()));
    assert_eq!(rig.state(id).0, SessionState::Active, "it works until a boundary");
    let answer = rig.puppets.ask(id, "check");
    assert_eq!(pausing.join().unwrap().result["how"], "at a boundary of its turn");
    assert_eq!(rig.state(id), RESTS);
    let decided = dcc_core::ports::JobFilter { op: Some(Op::CapabilityRequest), states: vec![JobState::Completed], ..Default::default() };
    rig.approve();
    rig.until("the decision", || (!rig.runner.cx.ports.store.jobs(&decided).unwrap().is_empty()).then_some(()));
    assert!(answer.is_open(), "decided, and held back");
    assert!(rig.puppets.has_turn(id));
    rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(answer.get(), PermissionAnswer::AllowOnce);
    assert_eq!(rig.state(id), (SessionState::Active, StateReason::Running));
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.state(id), IDLE);
}

#[test]
fn a_session_that_waits_for_a_decision_rests_at_once_and_waits_on() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    let answer = rig.puppets.ask(id, "check");
    rig.until_state(id, SessionState::Blocked, StateReason::ApprovalWait);
    pause(&rig, id);
    assert_eq!(rig.state(id), RESTS);
    assert_eq!(rig.pending().len(), 1);
    rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::ApprovalWait), "what waited waits");
    rig.approve();
    assert_eq!(answer.get(), PermissionAnswer::AllowOnce);
    rig.until_state(id, SessionState::Active, StateReason::Running);
}

#[test]
fn a_turn_that_ends_first_is_a_boundary_too() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("go"));
    rig.send(id, "next");
    let pausing = rig.begin(Op::SessionPause, json!({}), Rig::of(id));
    rig.until("the wish", || rig.session(id).pausing.is_some().then_some(()));
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(pausing.join().unwrap().state, JobState::Completed);
    assert_eq!(rig.state(id), RESTS);
    assert_eq!(rig.puppets.heard(id), ["go"], "no new prompt");
    rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(rig.puppets.heard(id), ["go", "next"]);
}

#[test]
fn without_a_boundary_the_processes_stand_still_and_then_the_turn_is_cut() {
    let rig = Rig::with(hasty());
    let id = rig.start(Some("go"));
    assert!(pause(&rig, id).contains("stand still"));
    assert_eq!(rig.state(id), RESTS);
    rig.until("the cut", || (!rig.puppets.has_turn(id)).then_some(()));
    rig.until("the words", || rig.steers(id).contains(&"turn_cut".to_owned()).then_some(()));
    rig.until("the thaw, which comes behind the cancelling", || (!rig.puppets.is_frozen(id)).then_some(()));
    assert_eq!(&rig.steers(id)[3..], ["pausing", "frozen", "thawed", "turn_cut"]);
    assert_eq!(rig.state(id), RESTS);
    rig.until("the end of the turn's job", || rig.session(id).cut_turn.filter(|t| rig.job(*t).state == JobState::Cancelled));
    let resumed = rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(resumed.result["in_place"], true);
    let heard = rig.puppets.heard(id);
    assert_eq!(heard.len(), 2);
    assert!(heard[1].contains("go on where you stopped"), "{heard:?}");
    assert!(rig.session(id).cut_turn.is_none());
}

#[test]
fn resumed_while_it_stands_still_it_goes_on_in_its_turn() {
    let rig = Rig::with(Limits { freeze_ms: 60_000, ..hasty() });
    let id = rig.start(Some("go"));
    pause(&rig, id);
    assert!(rig.puppets.is_frozen(id) && rig.session(id).frozen_until.is_some());
    rig.ok(Op::SessionResume, id, json!({}));
    assert!(!rig.puppets.is_frozen(id) && rig.session(id).frozen_until.is_none());
    assert_eq!(rig.state(id), (SessionState::Active, StateReason::Running));
    assert_eq!(rig.puppets.heard(id), ["go"]);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.state(id), IDLE);
}

#[test]
fn what_stands_still_goes_on_also_after_a_resume_that_was_refused() {
    let rig = Rig::with(Limits { freeze_ms: 60_000, ..hasty() });
    let id = rig.start(Some("go"));
    pause(&rig, id);
    rig.link(Some("WP-0001"));
    assert_eq!(rig.refused(Op::SessionResume, id, json!({})).0, Code::Scope);
    assert!(rig.session(id).frozen_until.is_some(), "refused, it stands still as before");
    rig.link(None);
    // It may have been stopped in the midst of git, and then it is the one that holds the lock.
    let lock = rig.place.dir.path().join("repo/.git/worktrees/work/index.lock");
    std::fs::write(&lock, "").unwrap();
    rig.ok(Op::SessionResume, id, json!({}));
    assert!(!rig.puppets.is_frozen(id) && rig.session(id).frozen_until.is_none());
    assert_eq!(rig.state(id), (SessionState::Active, StateReason::Running));
    std::fs::remove_file(&lock).unwrap();
}

#[test]
fn what_cannot_stand_still_is_cut_and_a_deaf_agent_is_ended_to_be_started_again() {
    let rig = Rig::with(hasty());
    rig.puppets.behave(|m| {
        m.can_freeze = false;
        m.heeds_cancel = false;
    });
    let id = rig.start(Some("go"));
    assert!(pause(&rig, id).contains("cancelled"));
    assert_eq!(rig.state(id), RESTS);
    assert!(rig.session(id).process.is_none(), "the agent did not heed and was ended");
    let cut = rig.events(id, EventCode::SessionSteered).into_iter().find(|e| e.payload["steer"] == "turn_cut").unwrap();
    assert!(cut.payload["why"].as_str().unwrap().contains("no cgroup is delegated"), "{}", cut.payload);
    rig.puppets.behave(|m| m.heeds_cancel = true);
    let resumed = rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(resumed.result["in_place"], false);
    assert_eq!(rig.puppets.starts().len(), 2);
    assert!(rig.puppets.heard(id)[1].contains("go on where you stopped"));
}

#[test]
fn of_two_who_pause_or_resume_one_is_told() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("go"));
    let first = rig.begin(Op::SessionPause, json!({}), Rig::of(id));
    rig.until("the wish", || rig.session(id).pausing.is_some().then_some(()));
    let (code, said) = rig.refused(Op::SessionPause, id, json!({}));
    assert_eq!(code, Code::Locked);
    assert!(said.contains("is carrying out session.pause"), "{said}");
    assert_eq!(rig.refused(Op::SessionResume, id, json!({})).0, Code::IllegalTransition);
    rig.puppets.end_turn(id, "end_turn");
    first.join().unwrap();
    let (code, said) = rig.refused(Op::SessionPause, id, json!({}));
    assert_eq!(code, Code::IllegalTransition);
    assert!(said.contains("is PAUSED"), "{said}");
    let paused = rig.events(id, EventCode::SessionStateChange).iter().filter(|e| e.payload["to"] == "PAUSED").count();
    assert_eq!(paused, 1);
    // Two resume at once: one goes on, the other is told.
    let both = [0, 1].map(|_| rig.begin(Op::SessionResume, json!({}), Rig::of(id)));
    let ends = both.map(|b| b.join().unwrap());
    assert_eq!(ends.iter().filter(|j| j.state == JobState::Completed).count(), 1, "{ends:#?}");
    let lost = ends.iter().find_map(|j| j.failure.as_ref()).unwrap();
    assert!(matches!(lost.code, Code::Locked | Code::IllegalTransition), "{lost:?}");
    assert_eq!(rig.steers(id).iter().filter(|s| *s == "resumed").count(), 1);
}

#[test]
fn cancel_waits_for_no_pause() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("go"));
    let pausing = rig.begin(Op::SessionPause, json!({}), Rig::of(id));
    rig.until("the wish", || rig.session(id).pausing.is_some().then_some(()));
    rig.ok(Op::SessionCancel, id, json!({}));
    let ended = pausing.join().unwrap();
    assert_eq!(ended.failure.unwrap().code, Code::IllegalTransition);
    assert_eq!(rig.session(id).state, SessionState::Cancelled);
}

#[test]
fn an_agent_that_dies_while_its_session_rests_is_started_again_by_resuming() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    rig.puppets.end_turn(id, "end_turn");
    pause(&rig, id);
    rig.puppets.crash(id, 9);
    assert_eq!(rig.state(id), RESTS);
    let session = rig.session(id);
    assert!(session.process.is_none() && session.fault.unwrap().contains("exit code 9"));
    assert_eq!(rig.ok(Op::SessionResume, id, json!({})).result["in_place"], false);
    let plan = &rig.puppets.starts()[1];
    assert_eq!((plan.resume.as_deref(), plan.origin), (Some("puppet-1000001"), Origin::Resumed { session_id: id, in_place: false }));
    assert_eq!(rig.state(id), IDLE);
}

#[test]
fn an_agent_that_cannot_take_up_gets_dccs_own_summary() {
    let rig = Rig::new();
    let id = rig.start(Some("write the greeting"));
    rig.puppets.report(id, dcc_core::ports::AgentReport::Message { text: "I began with the greeting.".into() });
    rig.puppets.finish_tool(id, "compile");
    let rig = rig.killed();
    rig.puppets.behave(|m| m.resumes = false);
    let resumed = rig.ok(Op::SessionResume, id, json!({}));
    let notes = resumed.result["notes"].to_string();
    assert!(notes.contains("could not take its conversation up"), "{notes}");
    let told = rig.puppets.told(id).pop().unwrap();
    for part in ["own summary", "write the greeting", "I began with the greeting.", "Do compile (ok)", "go on where you stopped"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(rig.session(id).seed.is_none(), "told once");
    rig.puppets.end_turn(id, "end_turn");
    rig.send(id, "more");
    assert!(!rig.puppets.told(id).pop().unwrap().contains("own summary"));
    // One that says so from the start is not even asked.
    rig.puppets.behave(|m| m.resume = ResumeStyle::None);
    let other = rig.start(None);
    pause(&rig, other);
    rig.puppets.crash(other, 1);
    rig.ok(Op::SessionResume, other, json!({}));
    assert_eq!(rig.puppets.starts().last().unwrap().resume, None);
}

#[test]
fn a_check_that_fails_blocks_with_its_reason() {
    let rig = Rig::new();
    let id = rig.start(None);
    pause(&rig, id);
    rig.place.git(&["checkout", "--quiet", "-b", "elsewhere"]);
    let (code, said) = rig.refused(Op::SessionResume, id, json!({}));
    assert_eq!(code, Code::VcsHeadMoved);
    assert!(said.contains("work@") && said.contains("elsewhere@"), "{said}");
    assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::IsolationMissing));
    rig.place.git(&["checkout", "--quiet", "work"]);
    // A lock of git's own.
    let lock = rig.place.dir.path().join("repo/.git/worktrees/work/index.lock");
    std::fs::write(&lock, "").unwrap();
    let two_hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    std::fs::File::options().write(true).open(&lock).unwrap().set_modified(two_hours_ago).unwrap();
    let (code, said) = rig.refused(Op::SessionResume, id, json!({}));
    assert_eq!(code, Code::Locked);
    assert!(said.contains("is locked") && said.contains(", 72"), "{said}");
    assert_eq!(rig.state(id), (SessionState::Blocked, StateReason::LockConflict));
    std::fs::remove_file(&lock).unwrap();
    // Another packet.
    rig.link(Some("WP-0001"));
    assert_eq!(rig.refused(Op::SessionResume, id, json!({})).0, Code::Scope);
    rig.link(None);
    let resumed = rig.ok(Op::SessionResume, id, json!({}));
    assert_eq!(rig.state(id), IDLE);
    assert_eq!(resumed.result["notes"], json!([]));
}

#[test]
fn a_commit_while_it_rested_is_said() {
    let rig = Rig::new();
    let id = rig.start(None);
    pause(&rig, id);
    std::fs::write(rig.place.worktree().join("b.txt"), "two\n").unwrap();
    rig.place.git(&["add", "b.txt"]);
    rig.place.git(&["commit", "--quiet", "-m", "Second"]);
    let notes = rig.ok(Op::SessionResume, id, json!({})).result["notes"].to_string();
    assert!(notes.contains("HEAD moved while it rested"), "{notes}");
}

#[test]
fn only_what_rests_is_resumed() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    assert_eq!(rig.refused(Op::SessionResume, id, json!({})).0, Code::IllegalTransition);
    rig.puppets.end_turn(id, "end_turn");
    assert_eq!(rig.refused(Op::SessionResume, id, json!({})).0, Code::IllegalTransition);
    rig.ok(Op::SessionCancel, id, json!({}));
    let (code, _) = rig.refused(Op::SessionResume, id, json!({}));
    assert_eq!((code, rig.events(id, EventCode::MoveRefused).len()), (Code::IllegalTransition, 2), "ACTIVE -> ACTIVE and CANCELLED -> ACTIVE");
    assert_eq!(rig.refused(Op::SessionPause, id, json!({})).0, Code::IllegalTransition);
    let other = rig.act(Op::SessionResume, json!({}), Bindings::default());
    assert_eq!(other.failure.unwrap().code, Code::InvalidInput);
}

#[test]
fn records_that_are_lost_end_the_session_instead_of_guessing_what_was_meant() {
    let rig = Rig::new();
    let id = rig.start(None);
    pause(&rig, id);
    rig.send(id, "what waits");
    let text = rig.session(id).waiting[0].text_ref.to_string();
    let path = rig.place.state_dir().join("artifacts/sha256").join(&text[..2]).join(&text[2..]);
    std::fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (code, message) = rig.refused(Op::SessionResume, id, json!({}));
    assert!(code == Code::Integrity && message.contains(&text), "{message}");
    assert_eq!(rig.state(id), (SessionState::Failed, StateReason::CheckpointInvalid));
    assert!(rig.puppets.heard(id).is_empty() && rig.session(id).fault.unwrap().contains(&text));
}
