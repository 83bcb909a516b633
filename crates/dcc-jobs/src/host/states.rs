//! A session's state, moved by the machine only; its running turn and its open requests.

use serde_json::{Value, json};

use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::principal::Actor;
use dcc_core::session::{self, Session, SessionState, StateReason};
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, Outcome};

use crate::context::Context;
use crate::ledger;
use crate::runner::Runner;

pub(super) fn workspace_of(cx: &Context, session: &Session) -> Outcome<Workspace> {
    let id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
    ledger::workspace(cx.ports.recorder.as_ref(), id)
}

pub(super) fn session_correlation(session: &Session) -> Correlation {
    Correlation {
        wp_id: session.wp_id.clone(),
        mt_id: session.mt_id.clone(),
        session_id: Some(session.session_id),
        workspace_id: session.workspace_id,
        job_id: session.running_job_id,
        workflow_run_id: session.running_job_id,
        approval_id: None,
        tool_call_id: None,
    }
}

/// Moves a session, refused when the machine does not know the move.
pub(crate) fn change_state(cx: &Context, id: SessionId, to: SessionState, reason: StateReason, extra: Value) -> Outcome<()> {
    change_state_for(cx, id, to, reason, extra, None)
}

/// As [`change_state`], naming the run that it happens for.
pub(crate) fn change_state_for(cx: &Context, id: SessionId, to: SessionState, reason: StateReason, extra: Value, run: Option<JobId>) -> Outcome<()> {
    let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
    session::step(now.state, to).or_else(|f| if now.state == to { Ok(to) } else { Err(f) })?;
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
    cx.journal.append(vec![NewEvent::new(code, Actor::SYSTEM, payload).about(&correlation)]).map(|_| ())
}

/// The turn that runs in the session, by canon.
pub(crate) fn running_turn(cx: &Context, id: SessionId) -> Outcome<Option<JobId>> {
    let filter = JobFilter { states: vec![JobState::Running], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    Ok(cx.ports.store.jobs(&filter)?.first().map(|j| j.job_id))
}

pub(super) fn has_pending(cx: &Context, id: SessionId) -> Outcome<bool> {
    let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
    Ok(!cx.ports.store.jobs(&filter)?.is_empty())
}

/// Cancels the requests of a session that nobody will answer any more.
pub(crate) fn cancel_pending(runner: &Runner, id: SessionId, why: &str) -> Outcome<()> {
    let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
    for job in runner.cx.ports.store.jobs(&filter)? {
        // A person's own request that names the session (a commit) is not the agent's and stays.
        if job.actor.is_operator() {
            continue;
        }
        if let Some(approval_id) = job.approval_id {
            let failure = Failure::new(Code::Canceled, why.to_owned());
            runner.end_pending(approval_id, EventCode::ApprovalStale, "cancelled", JobState::Cancelled, failure)?;
        }
    }
    Ok(())
}
