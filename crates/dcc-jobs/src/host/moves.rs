//! Moves of a session, by the machine alone: the state is read, the move judged and its event recorded as one step.
//!
//! Invariants: a move that the table does not know is refused with HSK-409-ILLEGAL-TRANSITION, leaves the state as it was
//! and one event that says so; a reason that does not fit its state is an error of ours and moves nothing; before a
//! session rests (PAUSED, BLOCKED) stands its checkpoint, in the same append.

use std::sync::PoisonError;

use serde_json::{Value, json};

use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::principal::Actor;
use dcc_core::session::{self, Session, SessionState, StateReason};
use dcc_core::{Failure, Outcome};

use super::checkpoints;
use super::states::session_correlation;
use crate::context::Context;
use crate::ledger;

/// Where a session goes, why, and what is recorded beside it.
pub(crate) struct Move {
    pub to: SessionState,
    pub reason: StateReason,
    pub extra: Value,
}

impl Move {
    pub fn new(to: SessionState, reason: StateReason) -> Self {
        Self { to, reason, extra: json!({}) }
    }
    pub fn with(mut self, extra: Value) -> Self {
        self.extra = extra;
        self
    }
}

/// Moves a session, refused when the machine does not know the move.
pub(crate) fn change_state(cx: &Context, id: SessionId, to: SessionState, reason: StateReason, extra: Value) -> Outcome<()> {
    move_if(cx, id, None, |_| Some(Move { to, reason, extra })).map(drop)
}

/// Moves the session as `choose` says of its state now; none leaves it. No other move comes between.
pub(crate) fn move_if(cx: &Context, id: SessionId, run: Option<JobId>, choose: impl FnOnce(&Session) -> Option<Move>) -> Outcome<Option<SessionState>> {
    let _one = cx.moving.lock().unwrap_or_else(PoisonError::into_inner);
    let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
    let Some(Move { to, reason, extra }) = choose(&now) else { return Ok(None) };
    if !reason.fits(to) {
        return Err(Failure::engine(format!("{} is no reason for {}", reason.as_str(), to.as_str())));
    }
    if let Err(failure) = session::step(now.state, to) {
        return Err(refuse(cx, &now, to, failure)?);
    }
    let mut payload = json!({ "from": now.state, "to": to, "reason": reason });
    if let (Value::Object(target), Value::Object(more)) = (&mut payload, extra) {
        target.extend(more);
    }
    let mut correlation = session_correlation(&now);
    if run.is_some() {
        correlation.job_id = run;
        correlation.workflow_run_id = run;
    }
    let code = if to.is_terminal() { EventCode::SessionCompleted } else { EventCode::SessionStateChange };
    let mut events = Vec::new();
    if matches!(to, SessionState::Paused | SessionState::Blocked) {
        events.push(checkpoints::event(cx, &now, checkpoints::Why::Rest));
    }
    events.push(NewEvent::new(code, Actor::SYSTEM, payload).about(&correlation));
    cx.journal.append(events)?;
    if to.is_terminal() && now.parent_session_id.is_some() {
        super::children::announce(cx, &ledger::session(cx.ports.recorder.as_ref(), id)?)?;
    }
    Ok(Some(to))
}

/// Refuses a move before anything is planned for it, with the same one event.
pub(crate) fn require_move(cx: &Context, session: &Session, to: SessionState) -> Outcome<()> {
    match session::step(session.state, to) {
        Ok(_) => Ok(()),
        Err(failure) => Err(refuse(cx, session, to, failure)?),
    }
}

fn refuse(cx: &Context, session: &Session, to: SessionState, failure: Failure) -> Outcome<Failure> {
    let payload = json!({ "from": session.state, "to": to, "code": failure.code, "message": failure.message });
    cx.journal.append(vec![NewEvent::new(EventCode::MoveRefused, Actor::SYSTEM, payload).about(&session_correlation(session)).outcome(EventOutcome::Deny)])?;
    Ok(Failure { message: format!("session {} is {}: {}", session.session_id.short(), session.state.as_str(), failure.message), ..failure })
}

/// Records what became known of a session without a move: its agent, its use.
pub(crate) fn note(cx: &Context, session: &Session, facts: Value) -> Outcome<()> {
    cx.journal.append(vec![NewEvent::new(EventCode::SessionNoted, Actor::SYSTEM, facts).about(&session_correlation(session))]).map(drop)
}
