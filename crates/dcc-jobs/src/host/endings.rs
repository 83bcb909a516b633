//! How a session ends by a person's act: cancelled with its tree, or closed with a handoff.

use std::sync::PoisonError;

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::session::{SessionState, StateReason};
use dcc_core::{Failure, Outcome};

use super::reports::cut_text;
use super::states::{cancel_pending, change_state, running_turn};
use crate::context::Context;
use crate::{kinds, ledger};

/// session.cancel: pending requests first, then the agent and its process tree; said only when the tree is empty.
pub(crate) fn cancel_session(cx: &Context, job: &Job, id: SessionId, reason: StateReason, text: Option<String>) -> Outcome<()> {
    let runner = cx.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| Failure::engine("no runner"))?;
    cx.journal.append(vec![
        NewEvent::new(EventCode::SessionSteered, job.actor, json!({ "steer": "cancel", "reason": text })).about(&crate::runner::correlation(job)),
    ])?;
    cancel_pending(&runner, id, "the session was cancelled")?;
    stop_agent(cx, id)?;
    if let Some(turn) = running_turn(cx, id)? {
        kinds::end_turn(&runner, turn, Ok("cancelled".into()))?;
    }
    let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if !now.state.is_terminal() {
        change_state(cx, id, SessionState::Cancelled, reason, json!({ "closing": text }))?;
    }
    Ok(())
}

/// session.close: the agent is stopped, the handoff or the waiver recorded, the session completed.
pub(crate) fn close_session(cx: &Context, job: &Job, id: SessionId, waived: bool, text: &str) -> Outcome<()> {
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&crate::runner::correlation(job));
    let closing = if waived {
        cx.journal.append(vec![about(EventCode::HandoffWaived, json!({ "reason": text }))])?;
        format!("handoff waived: {text}")
    } else {
        let sha256 = cx.ports.artifacts.put(text.as_bytes())?;
        cx.journal.append(vec![about(EventCode::HandoffWritten, json!({ "sha256": sha256, "text": cut_text(text, 4000) }))])?;
        cut_text(text, 4000)
    };
    // The terminal state first: the exit that follows is then expected, not a fault.
    change_state(cx, id, SessionState::Completed, StateReason::Done, json!({ "closing": closing }))?;
    stop_agent(cx, id)
}

/// Ends the agent and its tree; the exit that follows is expected.
pub(crate) fn stop_agent(cx: &Context, id: SessionId) -> Outcome<()> {
    if !cx.ports.sessions.live().contains(&id) {
        return Ok(());
    }
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    cx.ports.sessions.stop(id)
}
