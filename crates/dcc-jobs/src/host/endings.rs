//! The end of a session's agent, and what goes with it.

use std::sync::PoisonError;

use dcc_core::Outcome;
use dcc_core::ids::SessionId;

use crate::context::Context;

/// The agent's token is void from here on.
pub(crate) fn forget_agent(cx: &Context, id: SessionId) {
    if let Some(door) = cx.agent_door.get() {
        door.revoke(id);
    }
}

/// Ends the agent and its tree; the exit that follows is expected.
pub(crate) fn stop_agent(cx: &Context, id: SessionId) -> Outcome<()> {
    if !cx.ports.sessions.live().contains(&id) {
        cx.commands.end_session(id);
        return Ok(());
    }
    forget_agent(cx, id);
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    let stopped = cx.ports.sessions.stop(id);
    // After the agent: nothing is left that could begin another.
    cx.commands.end_session(id);
    stopped
}

/// Nothing of an ended session is held, counted or waited for any more.
pub(crate) fn let_go(cx: &Context, id: SessionId) {
    cx.holds.release(id);
    cx.requests.forget(id);
    cx.pace.forget(id);
}
