//! session.run: one turn, from prompt to the agent's end of turn. The job stays running until the agent ends it.
//!
//! Invariants: a message is marked as being delivered before it is sent and as delivered after; one turn of a session at a
//! time; a session that rests takes none.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, MessageId};
use dcc_core::job::{Job, JobState};
use dcc_core::plans::TurnPlan;
use dcc_core::principal::Actor;
use dcc_core::session::{Run, Session, SessionState, Source, StateReason, Steering, provider_of};
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params, preamble};
use crate::context::Context;
use crate::host::{self, Move, move_if};
use crate::runner::{Runner, correlation};
use crate::{delivery, ledger};

pub(super) struct RunTurn;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    message_id: MessageId,
}

impl JobKind for RunTurn {
    type Plan = TurnPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<TurnPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
        let message = session.waiting.iter().find(|m| m.message_id == p.message_id && m.is_waiting());
        let message = message.ok_or_else(|| Failure::new(Code::VersionConflict, format!("message {} does not wait any more", p.message_id.short())))?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&session.wp_id);
        bindings.mt_id.clone_from(&session.mt_id);
        bindings.workspace_id = Some(workspace_id);
        let body = TurnPlan {
            session_id: session.session_id,
            workspace_id,
            preamble: said_before(cx, &session)?,
            prompt: delivery::text_of(cx, message.text_ref)?,
            message: Some((message.message_id, message.revision)),
        };
        Ok(Planned { body, engine: "acp-v1", inputs: vec![message.text_ref], bindings, claim: None })
    }

    fn run(&self, cx: &Context, job: &Job, body: &TurnPlan) -> Outcome<Option<Run>> {
        let session = ledger::session(cx.ports.recorder.as_ref(), body.session_id)?;
        let provider = if session.provider.is_empty() { provider_of(&session.agent) } else { session.provider };
        Ok(Some(Run { job_id: job.job_id, session_id: body.session_id, lane: session.lane, provider, model: session.model_id, cold: false, queued_at: job.created_at }))
    }

    fn gave_up(&self, cx: &Context, job: &Job, _failure: &Failure) -> Outcome<()> {
        let Some(id) = job.bindings.session_id else { return Ok(()) };
        super::drop_run(cx, job, id)?;
        let idle = |s: &Session| (s.state == SessionState::Blocked && s.state_reason == StateReason::Dispatching).then(|| Move::new(SessionState::Blocked, StateReason::InputWait));
        move_if(cx, id, None, idle).map(drop)
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<TurnPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let session = params::session(cx, job)?;
        begin(cx, job, &session, &plan)?;
        let briefed = if plan.preamble.is_some() { json!({ "briefed": preamble::conversation(&session) }) } else { json!({}) };
        // A pause may have come between; a session that rests takes no turn, whatever the table allows.
        let begins = |s: &Session| (matches!(s.state, SessionState::Created | SessionState::Blocked) && !host::is_stopping(cx, s.session_id)).then(|| Move::new(SessionState::Active, StateReason::Running).with(briefed));
        if move_if(cx, plan.session_id, Some(job.job_id), begins)?.is_none() {
            returned(cx, job, &session, &plan, "the session rests")?;
            return Err(Failure::new(Code::IllegalTransition, "the session rests").hint("dcc session resume S; the message waits"));
        }
        crate::budgets::begin_turn(cx, &params::session(cx, job)?, job.job_id)?;
        crate::observe::begin(cx, &session, job.job_id);
        if let Err(failure) = cx.ports.sessions.prompt(job.job_id, cleared) {
            crate::budgets::drop_turn(cx, plan.session_id);
            returned(cx, job, &session, &plan, &failure.message)?;
            let fault = json!({ "fault": failure.message, "briefed": "" });
            move_if(cx, plan.session_id, None, |s| s.has_turn().then(|| Move::new(SessionState::Blocked, StateReason::ToolError).with(fault)))?;
            return Err(failure);
        }
        if let Some((message_id, _)) = plan.message {
            let delivered = Steering::Delivered { message_id, turn_job_id: job.job_id };
            cx.journal.append(vec![delivery::steering(Actor::SYSTEM, &session, &delivered, Some(job.job_id))])?;
        }
        Ok(Done::Continues)
    }

    fn recover(&self, _cx: &Context, job: &Job, _body: &TurnPlan) -> Outcome<Recovered> {
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        Ok(Recovered::Unknown("the turn was running; its agent has been ended and what it left shows in the review".to_owned()))
    }
}

/// DCC's own words before the prompt: where the agent is, and what went before when it could not take that up itself.
fn said_before(cx: &Context, session: &Session) -> Outcome<Option<String>> {
    let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
    let place = preamble::of(cx, session, workspace_id)?;
    let before = session.seed.map(|seed| delivery::text_of(cx, seed)).transpose()?;
    Ok(match (place, before) {
        (None, None) => None,
        (one, None) | (None, one) => one,
        (Some(place), Some(before)) => Some(format!("{place}\n\n{before}")),
    })
}

/// Recorded before anything is sent: the turn, what is said, and that the message is on its way.
fn begin(cx: &Context, job: &Job, session: &Session, plan: &TurnPlan) -> Outcome<()> {
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
    let mut events = Vec::new();
    if let Some((message_id, revision)) = plan.message {
        let delivering = Steering::Delivering { message_id, turn_job_id: job.job_id };
        events.push(delivery::steering(Actor::SYSTEM, session, &delivering, Some(job.job_id)).once(format!("message:{message_id}:{}", revision + 1)));
    }
    events.push(about(EventCode::EffectPlanned, json!({ "effect": { "turn": job.job_id } })));
    if let Some(preamble) = &plan.preamble {
        let mut said = about(EventCode::SessionMessage, host::message_payload(cx, "system", preamble)?);
        // Only DCC writes these words, whoever asked for the turn.
        said.actor = Actor::SYSTEM;
        events.push(said);
    }
    let source = plan.message.and_then(|(id, _)| session.waiting.iter().find(|m| m.message_id == id)).map_or(Source::Operator, |m| m.source);
    let mut said = host::message_payload(cx, source.role(), &plan.prompt)?;
    said["message_id"] = json!(plan.message.map(|(id, _)| id));
    events.push(about(EventCode::SessionMessage, said));
    cx.journal.append(events).map(drop)
}

/// Nothing was sent: the message waits again.
fn returned(cx: &Context, job: &Job, session: &Session, plan: &TurnPlan, why: &str) -> Outcome<()> {
    let Some((message_id, _)) = plan.message else { return Ok(()) };
    let act = Steering::Returned { message_id, why: why.to_owned() };
    cx.journal.append(vec![delivery::steering(Actor::SYSTEM, session, &act, Some(job.job_id))]).map(drop)
}

/// Ends a turn's job by what the agent said; the session then waits for a person.
pub fn end_turn(runner: &Runner, turn: JobId, ended: Result<String, Failure>) -> Outcome<()> {
    let cx = &runner.cx;
    let job = ledger::job(cx.ports.recorder.as_ref(), turn)?;
    if job.state != JobState::Running {
        return Ok(());
    }
    let recorded = match ended {
        Ok(stop_reason) => {
            let mut effect = Effect::default().with("stop_reason", stop_reason.clone());
            // A refusal or a limit is an end, not a success; only checks say that work is done (SESSIONS 5, fact 7).
            effect.with_issues = !matches!(stop_reason.as_str(), "end_turn" | "cancelled" | "typed");
            if stop_reason == "cancelled" {
                let why = job.bindings.session_id.and_then(|id| crate::budgets::stopped_for(cx, id).or_else(|| crate::observe::stopped_for(cx, id)));
                runner.end(&job, JobState::Cancelled, why.unwrap_or_else(|| Failure::new(Code::Canceled, "the turn was cancelled")), Vec::new())
            } else {
                runner.finish(&job, effect)
            }
        }
        Err(failure) => runner.end_failed(&job, failure, Vec::new()),
    };
    recorded.map(drop)
}
