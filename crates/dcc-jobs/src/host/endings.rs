//! The end of a session's agent, and what goes with it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use dcc_core::ids::{JobId, SessionId};
use dcc_core::{Failure, Outcome, limits};

use crate::context::Context;
use crate::kinds;
use crate::runner::Runner;

/// The agent's token is void from here on.
pub(crate) fn forget_agent(cx: &Context, id: SessionId) {
    if let Some(door) = cx.agent_door.get() {
        door.revoke(id);
    }
}

/// From here until an agent is started for it again, nothing is delivered to the session, and its agent's exit is expected.
pub(crate) fn mark_stopping(cx: &Context, id: SessionId) {
    // Whoever is delivering now is through when this returns, and its turn is there to be dropped or ended.
    let _one = cx.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
}

pub(crate) fn is_stopping(cx: &Context, id: SessionId) -> bool {
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
}

/// Ends the agent and its tree; the exit that follows is expected.
pub(crate) fn stop_agent(cx: &Context, id: SessionId) -> Outcome<()> {
    if !cx.ports.sessions.live().contains(&id) {
        cx.attachments.end_session(id);
        cx.commands.end_session(id);
        return Ok(());
    }
    forget_agent(cx, id);
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    let stopped = cx.ports.sessions.stop(id);
    // After the agent: nothing is left that could begin another.
    cx.attachments.end_session(id);
    cx.commands.end_session(id);
    stopped
}

/// Cancels a running turn on a thread of its own, because whoever finds the reason may be the reader of the agent's lines
/// and has to go on reading for the turn to end. An agent that does not end it in the grace time is ended with all its
/// processes; then `afterwards` does what the end of a turn would have done.
pub(crate) fn cut_turn(runner: &Arc<Runner>, id: SessionId, turn: JobId, afterwards: fn(&Runner, SessionId) -> Outcome<()>) -> Outcome<()> {
    let runner = Arc::clone(runner);
    let work = move || {
        let cx = &runner.cx;
        let grace = Duration::from_millis(limits::AGENT_CANCEL_GRACE_MS);
        let ended = match cx.ports.sessions.cancel_turn(id).and_then(|()| runner.wait(turn, Some(grace))) {
            Ok(job) if job.state.is_terminal() => Ok(()),
            _ => stop_agent(cx, id).and_then(|()| kinds::end_turn(&runner, turn, Ok("cancelled".into()))).and_then(|()| afterwards(&runner, id)),
        };
        if let Err(failure) = ended {
            eprintln!("dcc: the turn of session {} was to be stopped and could not be: {failure}", id.short());
        }
    };
    let spawned = std::thread::Builder::new().name("turn-cut".to_owned()).spawn(work);
    spawned.map(drop).map_err(|e| Failure::engine(format!("no thread could be started to stop the turn: {e}")))
}

/// Nothing of an ended session is held, counted or waited for any more.
pub(crate) fn let_go(cx: &Context, id: SessionId) {
    cx.holds.release(id);
    cx.requests.forget(id);
    cx.pace.forget(id);
}
