//! The table of SESSIONS 2 through the one function that moves sessions.

use dcc_core::event::EventCode;
use dcc_core::session::{Session, SessionState, StateReason, step};
use dcc_core::{Code, SessionId};
use dcc_core::event::{Correlation, NewEvent};
use dcc_core::principal::{Actor, Role};
use serde_json::json;

use super::rig::{RealClock, Rig};
use crate::host::change_state;
use dcc_core::ports::{Clock as _, fresh};

fn fits(state: SessionState) -> StateReason {
    StateReason::ALL.into_iter().find(|r| r.fits(state)).expect("a reason")
}

/// A session that is in this state, by moves of the table.
fn session_in(rig: &Rig, state: SessionState) -> SessionId {
    let id: SessionId = fresh(&RealClock);
    let session = Session::new(id, "puppet", Role::Coder, RealClock.now());
    let about = Correlation { session_id: Some(id), ..Correlation::default() };
    rig.runner.cx.journal.append(vec![NewEvent::new(EventCode::SessionCreated, Actor::SYSTEM, json!({ "session": session })).about(&about)]).unwrap();
    if state == SessionState::Completed {
        change_state(&rig.runner.cx, id, SessionState::Active, StateReason::Running, json!({})).unwrap();
    }
    if state != SessionState::Created {
        change_state(&rig.runner.cx, id, state, fits(state), json!({})).unwrap();
    }
    id
}

#[test]
fn every_pair_is_moved_or_refused_as_the_table_says() {
    let rig = Rig::new();
    for from in SessionState::ALL {
        for to in SessionState::ALL {
            let id = session_in(&rig, from);
            let before = rig.session(id);
            let moves = rig.events(id, EventCode::SessionStateChange).len() + rig.events(id, EventCode::SessionCompleted).len();
            let outcome = change_state(&rig.runner.cx, id, to, fits(to), json!({}));
            let after = rig.session(id);
            let moved = rig.events(id, EventCode::SessionStateChange).len() + rig.events(id, EventCode::SessionCompleted).len() - moves;
            let refused = rig.events(id, EventCode::MoveRefused);
            if step(from, to).is_ok() {
                outcome.unwrap();
                assert_eq!((after.state, after.state_reason, moved, refused.len()), (to, fits(to), 1, 0), "{from:?} -> {to:?}");
            } else {
                assert_eq!(outcome.unwrap_err().code, Code::IllegalTransition, "{from:?} -> {to:?}");
                assert_eq!((after, moved, refused.len()), (before, 0, 1), "{from:?} -> {to:?}: unchanged, one event");
                assert_eq!((&refused[0].payload["from"], &refused[0].payload["to"]), (&json!(from), &json!(to)));
            }
        }
    }
}

#[test]
fn a_reason_that_does_not_fit_its_state_moves_nothing() {
    let rig = Rig::new();
    let id = session_in(&rig, SessionState::Active);
    let failure = change_state(&rig.runner.cx, id, SessionState::Blocked, StateReason::Done, json!({})).unwrap_err();
    assert_eq!(failure.code, Code::Engine);
    assert_eq!(rig.session(id).state, SessionState::Active);
}

#[test]
fn rest_comes_with_its_checkpoint() {
    let rig = Rig::new();
    let id = session_in(&rig, SessionState::Paused);
    let checkpoints = rig.events(id, EventCode::SessionCheckpoint);
    assert_eq!(checkpoints.len(), 1);
    let paused = rig.events(id, EventCode::SessionStateChange);
    assert_eq!(checkpoints[0].seq + 1, paused[0].seq, "just before it");
    let mark = rig.shown(id).checkpoint.unwrap();
    assert_eq!((mark.seq, mark.count), (checkpoints[0].seq, 1));
}
