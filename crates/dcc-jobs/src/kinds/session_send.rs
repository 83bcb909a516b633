//! session.send: a new message, delivered behind the turn, at its next boundary or at once; or an act upon one that waits.
//!
//! Invariant: the text is on disk before anything is cancelled for it. A new message that could be delivered at once and
//! was refused is taken back, and the job says why; one that has to wait stays.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use dcc_core::gate::Cleared;
use dcc_core::ids::{MessageId, SessionId, Sha256Hex};
use dcc_core::job::Job;
use dcc_core::plans::{SendAct, SendPlan};
use dcc_core::ports::sessions::Steer;
use dcc_core::principal::Actor;
use dcc_core::session::{Delivery, Session, SessionState, Source, StateReason, Steering, WaitingMessage, delivery_of};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::delivery::{self, Occasion, Outgoing};
use crate::ledger;
use crate::runner::Runner;

pub(super) struct Send;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// A new message.
    text: Option<String>,
    when: Option<Steer>,
    /// A waiting message, and one thing to do with it.
    message_id: Option<MessageId>,
    edit: Option<String>,
    remove: bool,
    /// Its new place, from 0.
    #[serde(rename = "move")]
    place: Option<usize>,
    now: bool,
}

impl JobKind for Send {
    type Plan = SendPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SendPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let when = match &p.text {
            Some(_) => p.when.unwrap_or(Steer::Queue),
            None if p.now => Steer::Now,
            None => p.when.unwrap_or(Steer::Queue),
        };
        let delivery = delivery_of(&session, when).map_err(|why| {
            let code = if session.state.is_terminal() { Code::IllegalTransition } else { Code::InvalidInput };
            Failure::new(code, format!("session {}: {why}", session.session_id.short()))
        })?;
        let act = match p.message_id {
            Some(id) => changed(&session, id, &p)?,
            None => new(&session, &p, when)?,
        };
        let body = SendPlan { session_id: session.session_id, act, delivery };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SendPlan>) -> Outcome<Done> {
        let runner = cx.require_runner()?;
        let plan = cleared.body();
        let id = plan.session_id;
        let effect = Effect::default().with("delivery", plan.delivery.clone());
        let Some((message_id, revision)) = plan.act.about() else {
            let SendAct::New { text, when, .. } = &plan.act else { return Err(Failure::engine("an act upon no message")) };
            return send(&runner, job, id, text, *when, effect).map(Done::Finished);
        };
        let act = match &plan.act {
            SendAct::Edit { text, when, .. } => {
                let out = Outgoing { text, when: *when, source: Source::Operator, from: job.actor, job_id: job.job_id };
                Steering::Edited { message: WaitingMessage { message_id, ..delivery::compose(cx, &out)? } }
            }
            SendAct::Remove { .. } => Steering::Removed { message_id, why: "removed by the operator".into() },
            SendAct::Move { position, .. } => Steering::Moved { message_id, position: *position },
            SendAct::Now { .. } | SendAct::New { .. } => Steering::Hurried { message_id },
        };
        delivery::act_upon(&runner, id, job.actor, job, &act, revision)?;
        let effect = effect.with("message_id", message_id.to_string());
        if matches!(plan.act, SendAct::Now { .. }) {
            return delivered(&runner, id, message_id, interrupted(&runner, id, message_id)?, effect).map(Done::Finished);
        }
        // A turn that waited with it was dropped; what is first now takes its place.
        delivery::next(&runner, id, Occasion::TurnOver)?;
        Ok(Done::Finished(effect))
    }

    fn runs_long(&self) -> bool {
        // Stop-and-send waits for the end of the turn.
        true
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &SendPlan) -> Outcome<Recovered> {
        // A message is in the queue by its own event or not at all; the session shows it, whatever became of this job.
        Ok(Recovered::Absent)
    }
}

fn new(session: &Session, p: &Params, when: Steer) -> Outcome<SendAct> {
    if p.edit.is_some() || p.remove || p.place.is_some() || p.now {
        return Err(Failure::invalid("name the message_id of the waiting message"));
    }
    let text = text_of(p.text.as_deref())?;
    if session.waiting.len() >= limits::SESSION_QUEUE_MAX {
        return Err(Failure::new(Code::RateLimit, format!("{} messages wait for the session already", session.waiting.len())));
    }
    Ok(SendAct::New { text_sha256: Sha256Hex::of(text.as_bytes()), text, when })
}

fn text_of(text: Option<&str>) -> Outcome<String> {
    let text = text.unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Failure::invalid("the message is empty"));
    }
    params::bounded("text", text, limits::TEXT_BYTES_MAX)?;
    Ok(text.to_owned())
}

fn changed(session: &Session, message_id: MessageId, p: &Params) -> Outcome<SendAct> {
    let message = session.waiting.iter().find(|m| m.message_id == message_id).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("no message {} waits in session {}", message_id.short(), session.session_id.short())).hint("dcc session show S lists what waits")
    })?;
    let revision = message.revision;
    let one = [p.edit.is_some(), p.remove, p.place.is_some(), p.now].iter().filter(|is| **is).count();
    if one != 1 || p.text.is_some() {
        return Err(Failure::invalid("say one thing to do with the waiting message: edit, remove, move or now"));
    }
    Ok(match (&p.edit, p.remove, p.place) {
        (Some(text), ..) => {
            let text = text_of(Some(text))?;
            SendAct::Edit { message_id, revision, text_sha256: Sha256Hex::of(text.as_bytes()), text, when: p.when.unwrap_or(message.when) }
        }
        (None, true, _) => SendAct::Remove { message_id, revision },
        (None, false, Some(position)) => SendAct::Move { message_id, revision, position },
        (None, false, None) => SendAct::Now { message_id, revision },
    })
}

/// Queues the message, then does what its mode says.
fn send(runner: &Arc<Runner>, job: &Job, id: SessionId, text: &str, when: Steer, effect: Effect) -> Outcome<Effect> {
    let cx = &runner.cx;
    let message = delivery::enqueue(cx, id, job, &Outgoing { text, when, source: Source::Operator, from: job.actor, job_id: job.job_id })?;
    let effect = effect.with("message_id", message.message_id.to_string());
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    match when {
        Steer::Now => return delivered(runner, id, message.message_id, interrupted(runner, id, message.message_id)?, effect),
        // A turn that waits for a decision is at a boundary already.
        Steer::Boundary if session.state == SessionState::Blocked && session.state_reason == StateReason::ApprovalWait => {
            delivery::at_boundary(runner, &session, "a request that waits")?;
        }
        Steer::Boundary | Steer::Queue => {}
    }
    let Some(turn) = delivery::next(runner, id, Occasion::Person)? else { return Ok(effect) };
    if let Some(failure) = turn.failure {
        // It could have been delivered and was refused: as if it had not been sent.
        let withdrawn = Steering::Removed { message_id: message.message_id, why: failure.message.clone() };
        let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
        if let Some(now) = session.waiting.iter().find(|m| m.message_id == message.message_id) {
            delivery::act_upon(runner, id, Actor::SYSTEM, job, &withdrawn, now.revision)?;
        }
        return Err(failure);
    }
    Ok(effect.with("turn_job_id", turn.job_id.to_string()))
}

/// Stops the running turn for the message; true when there was none or it has ended.
fn interrupted(runner: &Arc<Runner>, id: SessionId, message_id: MessageId) -> Outcome<bool> {
    let cx = &runner.cx;
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if session.state == SessionState::Paused {
        // It rests: nothing is stopped, and nothing is delivered before it is resumed.
        return Ok(true);
    }
    if !delivery::interrupt(runner, &session, message_id, "stop and send")? {
        return Ok(true);
    }
    let rests = || ledger::session(cx.ports.recorder.as_ref(), id).is_ok_and(|s| !s.has_turn());
    Ok(cx.holds.wait_for(Duration::from_millis(limits::AGENT_CANCEL_GRACE_MS), rests))
}

/// Says what became of a message that was to be delivered at once.
fn delivered(runner: &Arc<Runner>, id: SessionId, message_id: MessageId, is_free: bool, effect: Effect) -> Outcome<Effect> {
    if !is_free {
        return Err(Failure::new(Code::SboxTimeout, "the agent did not end its turn in time; the message waits first in line and is delivered when it ends")
            .hint("dcc session cancel S ends the agent; dcc session retry S takes the message along"));
    }
    delivery::next(runner, id, Occasion::Person)?;
    let session = ledger::session(runner.cx.ports.recorder.as_ref(), id)?;
    let waits = session.waiting.iter().find(|m| m.message_id == message_id);
    Ok(match waits.map(|m| &m.delivery) {
        None => effect.with("delivered", true),
        Some(Delivery::Delivering { turn_job_id }) => effect.with("delivered", true).with("turn_job_id", turn_job_id.to_string()),
        Some(_) => effect.with("delivered", false),
    })
}
