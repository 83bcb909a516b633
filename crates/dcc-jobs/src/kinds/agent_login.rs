//! agent.login: runs an agent's own login on the terminal of the person who asked.
//!
//! Invariants: only a person at a terminal asks for it; what passes over the terminal is not read here, so nothing of it
//! can be recorded.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::LoginPlan;
use dcc_core::principal::Surface;
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::runner::correlation;

pub(super) struct Login;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    agent: String,
    terminal: String,
}

impl JobKind for Login {
    type Plan = LoginPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<LoginPlan>> {
        if job.actor.surface != Surface::Terminal {
            return Err(Failure::new(Code::SameTurnConsent, "a login needs a terminal of its own, with a person at it")
                .hint("in a terminal: dcc agent login NAME; a browser or a script has none to hand over"));
        }
        let p: Params = params::parse(cx, job)?;
        params::bounded("terminal", &p.terminal, limits::LINE_BYTES_MAX)?;
        let spec = cx.ports.agents.login(&p.agent)?;
        let body = LoginPlan {
            agent: spec.agent,
            command: spec.command,
            executable: spec.executable,
            env: spec.env,
            read_paths: spec.read_paths,
            connect_ports: spec.connect_ports,
            callback: spec.callback,
            terminal: p.terminal,
            timeout_ms: limits::LOGIN_TIMEOUT_MS,
        };
        Ok(Planned { body, engine: "sandbox", inputs: Vec::new(), bindings: job.bindings.clone(), claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<LoginPlan>) -> Outcome<Done> {
        let agent = cleared.body().agent.clone();
        let callback = cleared.body().callback;
        cx.journal.append(vec![NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": { "agent": agent, "callback": callback } })).about(&correlation(job))])?;
        let report = cx.ports.sessions.login(job.job_id, cleared)?;
        if report.timed_out {
            return Err(Failure::new(Code::SboxTimeout, format!("the login of {agent} did not end in {} minutes and was ended", limits::LOGIN_TIMEOUT_MS / 60_000)));
        }
        let mut effect = Effect::default().with("agent", agent.clone()).with("exit_code", json!(report.exit_code)).with("sandbox", report.posture.layers.join("+"));
        if let Some(now) = cx.ports.agents.list().into_iter().find(|listed| listed.name == agent) {
            effect = effect.with("login", now.login.as_str()).with("login_evidence", now.login_evidence);
        }
        effect.with_issues = report.exit_code != Some(0);
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &LoginPlan) -> Outcome<Recovered> {
        cx.ports.sandbox.end_run(job.job_id);
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        // What a half-done login left is the agent's own to find; there is nothing that a person could settle here.
        let effect = Effect { with_issues: true, ..Effect::default().with("agent", body.agent.clone()).with("interrupted", true) };
        Ok(Recovered::Finished(effect))
    }
}
