//! session.run: one turn, from prompt to the agent's end of turn. The job stays running until the agent ends it.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::JobId;
use dcc_core::job::{Job, JobState};
use dcc_core::plans::TurnPlan;
use dcc_core::session::{SessionState, StateReason};
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::host::change_state_for;
use crate::ledger;
use crate::runner::{Runner, correlation};

pub(super) struct RunTurn;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    prompt: String,
}

impl JobKind for RunTurn {
    type Plan = TurnPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<TurnPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id = session.wp_id;
        bindings.mt_id = session.mt_id;
        bindings.workspace_id = Some(workspace_id);
        let body = TurnPlan { session_id: session.session_id, workspace_id, prompt: p.prompt };
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<TurnPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
        cx.journal.append(vec![
            about(EventCode::EffectPlanned, json!({ "effect": { "turn": job.job_id } })),
            about(EventCode::SessionMessage, crate::host::message_payload(cx, "user", &plan.prompt)?),
        ])?;
        change_state_for(cx, plan.session_id, SessionState::Active, StateReason::Running, json!({}), Some(job.job_id))?;
        if let Err(failure) = cx.ports.sessions.prompt(job.job_id, cleared) {
            change_state_for(cx, plan.session_id, SessionState::Blocked, StateReason::ToolError, json!({ "fault": failure.message }), None)?;
            return Err(failure);
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

/// Ends a turn's job by what the agent said; the session then waits for a person.
pub fn end_turn(runner: &Runner, turn: JobId, ended: Result<String, Failure>) -> Outcome<()> {
    let cx = &runner.cx;
    let job = ledger::job(cx.ports.recorder.as_ref(), turn)?;
    if job.state != JobState::Running {
        return Ok(());
    }
    match ended {
        Ok(stop_reason) => {
            let mut effect = Effect::default().with("stop_reason", stop_reason.clone());
            // A refusal or a limit is an end, not a success; only checks say that work is done (SESSIONS 5, fact 7).
            effect.with_issues = !matches!(stop_reason.as_str(), "end_turn" | "cancelled");
            if stop_reason == "cancelled" {
                runner.end(&job, JobState::Cancelled, Failure::new(Code::Canceled, "the turn was cancelled"), Vec::new())?;
            } else {
                runner.finish(&job, effect)?;
            }
        }
        Err(failure) => {
            runner.end_failed(&job, failure, Vec::new())?;
        }
    }
    Ok(())
}
