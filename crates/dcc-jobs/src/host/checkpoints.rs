//! Checkpoints of a session (SESSIONS 7): where it stood, so that a person can judge what a crash took.
//!
//! Authority: canon, by the recorder; the record itself is rebuilt from the session's events, a checkpoint says how far
//! they were complete. Invariant: after tool calls and in a stream at most one in `limits::CHECKPOINT_MS_MIN` for each
//! session; before it rests, on steering and at shutdown always.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::SessionId;
use dcc_core::job::JobState;
use dcc_core::ports::JobFilter;
use dcc_core::ports::version::HeadState;
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::{Outcome, limits};

use super::states::{session_correlation, workspace_of};
use crate::context::Context;

/// What a checkpoint was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    ToolCall,
    Stream,
    Approval,
    Steering,
    Rest,
    Shutdown,
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::ToolCall => "tool_call",
            Self::Stream => "stream",
            Self::Approval => "approval",
            Self::Steering => "steering",
            Self::Rest => "before_rest",
            Self::Shutdown => "shutdown",
        }
    }
    /// It comes with the agent's own pace and is thinned out.
    fn is_bounded(self) -> bool {
        matches!(self, Self::ToolCall | Self::Stream | Self::Approval)
    }
}

/// How far each live session's stream has come since its last checkpoint.
#[derive(Default)]
pub(crate) struct Pace(Mutex<HashMap<SessionId, Since>>);

#[derive(Default)]
struct Since {
    at: Option<Instant>,
    messages: u32,
    bytes: usize,
}

impl Pace {
    /// Counts a message of the stream; true when a checkpoint is due.
    pub(crate) fn count(&self, id: SessionId, bytes: usize) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.entry(id).or_default();
        since.messages += 1;
        since.bytes += bytes;
        since.messages >= limits::CHECKPOINT_MESSAGES || since.bytes >= limits::CHECKPOINT_STREAM_BYTES
    }
    fn admits(&self, id: SessionId, why: Why) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.entry(id).or_default();
        let is_due = !why.is_bounded() || since.at.is_none_or(|at| at.elapsed() >= Duration::from_millis(limits::CHECKPOINT_MS_MIN));
        if is_due {
            *since = Since { at: Some(Instant::now()), ..Since::default() };
        }
        is_due
    }
    /// The session is over or its agent gone.
    pub(crate) fn forget(&self, id: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// The checkpoint as an event, to be recorded with what it comes before. Its pace starts anew.
pub(super) fn event(cx: &Context, session: &Session, why: Why) -> NewEvent {
    cx.pace.admits(session.session_id, why);
    let pending = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(session.session_id), ..JobFilter::default() };
    // What cannot be read now is left out; a checkpoint never stands in the way of what it is made for.
    let pending: Vec<_> = cx.ports.store.jobs(&pending).unwrap_or_default().into_iter().map(|j| j.job_id).collect();
    // Where it stood when it came to rest; what changes while it rests is for resuming to find.
    let works = session.has_turn() || session.state == SessionState::Created || session.state_reason == StateReason::InputWait;
    let head = if works && matches!(why, Why::Rest | Why::Shutdown) { head(cx, session) } else { None };
    let payload = json!({
        "why": why.as_str(), "state": session.state, "turn_job_id": session.running_job_id, "pending_jobs": pending,
        "waiting_messages": session.waiting.len(), "head": head,
    });
    NewEvent::new(EventCode::SessionCheckpoint, Actor::SYSTEM, payload).about(&session_correlation(session))
}

/// Records a checkpoint, unless one was made just now and this one may wait.
pub(crate) fn make(cx: &Context, session: &Session, why: Why) -> Outcome<()> {
    if session.state.is_terminal() || (why.is_bounded() && !cx.pace.admits(session.session_id, why)) {
        return Ok(());
    }
    cx.journal.append(vec![event(cx, session, why)]).map(drop)
}

/// Branch and object id of the worktree, for resuming: `refs/heads/x@oid`.
pub(crate) fn head(cx: &Context, session: &Session) -> Option<String> {
    let workspace = workspace_of(cx, session).ok()?;
    match cx.ports.version.probe(&workspace.binding).ok()?.head? {
        HeadState::Branch { name, oid } => Some(format!("{name}@{oid}")),
        HeadState::Unborn { name } => Some(format!("{name}@")),
        HeadState::Detached { oid } => Some(format!("@{oid}")),
    }
}
