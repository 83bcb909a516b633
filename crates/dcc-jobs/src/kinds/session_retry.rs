//! session.retry: a successor of a session that ended: same agent, worktree and first prompt, and what still waited for it.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::ports::{AgentSpec, EventFilter, fresh};
use dcc_core::session::{Session, Steering, WaitingMessage};
use dcc_core::{Code, Failure, Outcome, limits};

use super::launch::{self, NewSession, Wishes};
use super::{Planned, params};
use crate::context::Context;
use crate::host::session_correlation;
use crate::{delivery, ledger};

pub(super) struct Retry;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// In place of the first prompt.
    prompt: Option<String>,
}

impl NewSession for Retry {
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let p: Params = params::parse(cx, job)?;
        let before = params::session(cx, job)?;
        if !before.state.is_terminal() {
            return Err(Failure::new(Code::IllegalTransition, format!("session {} is {}: only an ended session is retried", before.session_id.short(), before.state.as_str()))
                .hint("dcc session resume S, or dcc session cancel S first"));
        }
        if let Some(by) = before.succeeded_by {
            return Err(Failure::new(Code::IllegalTransition, format!("session {} has its successor already: {by}", before.session_id.short())));
        }
        crate::budgets::require_room(cx, &before)?;
        let workspace_id = before.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session had no workspace"))?;
        let workspace = launch::usable(cx, workspace_id)?;
        if let Some(parent) = before.parent_session_id {
            super::session_spawn::room(cx, &ledger::session(cx.ports.recorder.as_ref(), parent)?)?;
        }
        let first = first_plan(cx, &before)?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&before.wp_id);
        bindings.mt_id.clone_from(&before.mt_id);
        bindings.workspace_id = Some(workspace_id);
        bindings.session_id = Some(fresh::<SessionId>(cx.ports.clock.as_ref()));
        let body = SessionStartPlan {
            prompt: p.prompt.or(first.prompt),
            purpose: before.purpose.clone(),
            paths: before.paths.clone(),
            budget: before.budget.clone(),
            origin: Origin::Successor { of: before.session_id },
            ..launch::plan_of(agent_of(cx, &before)?, &workspace, before.role, before.lane)
        };
        let body = crate::waivers::confined(cx, body)?;
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }
}

/// The plan the session was started with.
pub(super) fn first_plan(cx: &Context, session: &Session) -> Outcome<SessionStartPlan> {
    let recorder = cx.ports.recorder.as_ref();
    let created = EventFilter { session_id: Some(session.session_id), codes: vec![EventCode::SessionCreated], limit: 1, ..EventFilter::default() };
    let job_id = recorder.read(&created)?.first().and_then(|e| e.job_id).ok_or_else(|| Failure::engine("the session was created by no job"))?;
    let plan = cx.require_runner()?.stored_plan(&ledger::job(recorder, job_id)?)?;
    serde_json::from_value(plan["body"].clone()).map_err(|e| Failure::new(Code::Integrity, format!("the first plan of the session cannot be read: {e}")))
}

/// The agent as it is configured now: by its name where it has one, else by its command.
pub(super) fn agent_of(cx: &Context, session: &Session) -> Outcome<AgentSpec> {
    let is_named = cx.ports.agents.list().iter().any(|agent| agent.name == session.agent);
    let wishes = if is_named { Wishes { agent: Some(session.agent.clone()), ..Wishes::default() } } else { Wishes { command: Some(session.command.clone()), ..Wishes::default() } };
    wishes.agent(cx)
}

/// What a successor's birth says of its predecessor: who follows it, and the messages that move over. Of two retries at
/// once one is told who was first.
pub(super) fn succeeds(cx: &Context, job: &Job, of: SessionId, successor: &Session) -> Outcome<Vec<NewEvent>> {
    let before = ledger::session(cx.ports.recorder.as_ref(), of)?;
    let next = successor.session_id;
    let mut events = vec![
        NewEvent::new(EventCode::SessionSucceeded, job.actor, json!({ "succeeded_by": next })).about(&session_correlation(&before)).once(format!("succeeded:{of}")),
    ];
    for message in before.waiting.iter().filter(|m| m.is_waiting()) {
        let moved = Steering::Removed { message_id: message.message_id, why: format!("moved to the successor {next}") };
        events.push(delivery::steering(job.actor, &before, &moved, Some(job.job_id)).once(message.next_key()));
        let message = WaitingMessage { message_id: fresh(cx.ports.clock.as_ref()), job_id: job.job_id, revision: 0, ..message.clone() };
        events.push(delivery::steering(job.actor, successor, &Steering::Queued { message, position: limits::SESSION_QUEUE_MAX }, Some(job.job_id)));
    }
    Ok(events)
}
