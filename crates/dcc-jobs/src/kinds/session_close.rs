//! session.close: the agent is stopped, the handoff or the waiver recorded, the session completed.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::HandoffId;
use dcc_core::job::Job;
use dcc_core::plans::{ClosePlan, Ending};
use dcc_core::ports::fresh;
use dcc_core::session::{Handoff, HandoffText, Session, SessionState, StateReason, handoff};
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::host::steers::Steers;
use crate::host::{self, Move, move_if, require_move};
use crate::ledger;
use crate::runner::correlation;

pub(super) struct Close;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    handoff: Option<serde_json::Value>,
    waive_reason: Option<String>,
    /// A running turn is cancelled first.
    #[serde(default)]
    stop: bool,
}

impl JobKind for Close {
    type Plan = ClosePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<ClosePlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        require_move(cx, &session, SessionState::Completed)?;
        if session.has_turn() && !p.stop {
            return Err(Failure::new(Code::IllegalTransition, "a turn is running").hint("wait for its end, or close with --stop"));
        }
        let children = cx.ports.store.open_sessions()?.iter().filter(|s| s.parent_session_id == Some(session.session_id)).count();
        if children > 0 {
            return Err(Failure::new(Code::IllegalTransition, format!("{children} sessions spawned from it are open")).hint("close or cancel them first; dcc session tree S shows them"));
        }
        let ending = match (p.handoff, p.waive_reason, session.last_handoff_id) {
            (Some(handoff), None, _) => Ending::Handoff { handoff: read_handoff(handoff)? },
            (None, Some(reason), _) => Ending::Waived { reason: params::reason(&reason)? },
            (None, None, Some(handoff_id)) => Ending::Written { handoff_id },
            _ => return Err(Failure::invalid("closing needs a handoff or a waiver's reason").hint(format!("dcc session close S --handoff FILE with {}, or --waive REASON", handoff::SHAPE))),
        };
        let body = ClosePlan { session_id: session.session_id, ending, stop: p.stop };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<ClosePlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let id = plan.session_id;
        let runner = cx.require_runner()?;
        let _steers = Steers::take(cx, id, job)?;
        let (event, closing, effect) = ending(cx, job, &plan.ending)?;
        // The terminal state first: what the agent still says or asks changes nothing, and its exit is expected.
        let completes = |s: &Session| (!s.has_turn() || plan.stop).then(|| Move::new(SessionState::Completed, StateReason::Done).with(json!({ "closing": closing })));
        if let Some(event) = event {
            cx.journal.append(vec![event])?;
        }
        if move_if(cx, id, Some(job.job_id), completes)?.is_none() {
            return Err(Failure::new(Code::IllegalTransition, "a turn has begun meanwhile").hint("wait for its end, or close with --stop"));
        }
        crate::delivery::drop_queued_turns(&runner, id, "the session was closed")?;
        host::cancel_pending(&runner, id, "the session was closed")?;
        host::stop_agent(cx, id)?;
        if let Some(turn) = host::running_turn(cx, id)? {
            super::end_turn(&runner, turn, Ok("cancelled".into()))?;
        }
        crate::budgets::settle(&runner, id)?;
        host::let_go(cx, id);
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, _job: &Job, body: &ClosePlan) -> Outcome<Recovered> {
        let is_over = ledger::session(cx.ports.recorder.as_ref(), body.session_id)?.state == SessionState::Completed;
        Ok(if is_over { Recovered::Finished(Effect::default()) } else { Recovered::Absent })
    }
}

/// Reads a handoff as an object of its lists.
pub(super) fn read_handoff(value: serde_json::Value) -> Outcome<HandoffText> {
    // A file's text comes as a string: the same object, written down.
    let value = match value {
        serde_json::Value::String(text) => serde_json::from_str(&text).map_err(|e| Failure::invalid(format!("the handoff is not JSON: {e}")).hint(handoff::SHAPE))?,
        other => other,
    };
    let text: HandoffText = serde_json::from_value(value).map_err(|e| Failure::invalid(format!("the handoff cannot be read: {e}")).hint(handoff::SHAPE))?;
    text.check()?;
    Ok(text)
}

/// The event of a handoff, with its id.
pub(super) fn written(cx: &Context, job: &Job, text: &HandoffText) -> Outcome<(NewEvent, HandoffId)> {
    let handoff = Handoff { handoff_id: fresh(cx.ports.clock.as_ref()), text: text.clone() };
    let id = handoff.handoff_id;
    let mut said = json!(handoff);
    // Both summaries are artifacts as well, which is how other tools name them.
    for (key, points) in [("done_ref", &text.done), ("remaining_ref", &text.remaining)] {
        if !points.is_empty() {
            said[key] = json!(cx.ports.artifacts.put(points.join("\n").as_bytes())?);
        }
    }
    Ok((NewEvent::new(EventCode::HandoffWritten, job.actor, json!({ "handoff": said })).about(&correlation(job)), id))
}

fn ending(cx: &Context, job: &Job, ending: &Ending) -> Outcome<(Option<NewEvent>, String, Effect)> {
    Ok(match ending {
        Ending::Handoff { handoff } => {
            let (event, id) = written(cx, job, handoff)?;
            let first = handoff.done.first().or(handoff.remaining.first()).map_or("", String::as_str);
            (Some(event), host::cut_text(first, 400), Effect::default().with("handoff_id", id.to_string()))
        }
        Ending::Waived { reason } => {
            let event = NewEvent::new(EventCode::HandoffWaived, job.actor, json!({ "reason": reason })).about(&correlation(job));
            (Some(event), format!("handoff waived: {reason}"), Effect::default())
        }
        Ending::Written { handoff_id } => (None, format!("handoff {handoff_id}"), Effect::default().with("handoff_id", handoff_id.to_string())),
    })
}
