//! sandbox.waive and sandbox.revoke. A waiver is one event, written with the end of its job.
//!
//! Invariants: only a person at a terminal or in the browser asks for one; it is for one worktree, and only where the
//! self-test sees no sandbox; the agents that ran under it are gone when a revocation is over.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{WaivePlan, WaiverEndPlan};
use dcc_core::waiver::Waiver;
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::runner::correlation;
use crate::waivers;

pub(super) struct Waive;
pub(super) struct Revoke;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    for_ms: i64,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl JobKind for Waive {
    type Plan = WaivePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<WaivePlan>> {
        if !job.actor.is_operator() || !job.actor.attended {
            return Err(Failure::new(Code::SameTurnConsent, "a waiver of the sandbox is asked for by a person at a terminal or in the browser")
                .hint("run it yourself in a terminal: dcc sandbox waive --ws WS --for 30m --reason R"));
        }
        let p: Asked = params::parse(cx, job)?;
        let reason = params::reason(&p.reason)?;
        if !(limits::WAIVER_MS_MIN..=limits::WAIVER_MS_MAX).contains(&p.for_ms) {
            return Err(Failure::invalid(format!("a waiver is for {} second to {} hours (--for, for_ms)", limits::WAIVER_MS_MIN / 1_000, limits::WAIVER_MS_MAX / 3_600_000)));
        }
        let workspace = super::launch::usable(cx, params::workspace_id(job)?)?;
        if waivers::has_sandbox(cx) {
            return Err(Failure::new(Code::IllegalTransition, "the sandbox works here: there is nothing to waive").hint("start the agent: dcc session start --ws WS --agent A"));
        }
        let missing = cx.ports.sandbox.posture().notes.first().cloned().unwrap_or_else(|| "the self-test did not see it enforced".to_owned());
        let body = WaivePlan { workspace_id: workspace.workspace_id, worktree: workspace.binding.worktree_path.clone(), for_ms: p.for_ms, reason, missing };
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&workspace.wp_id);
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings, claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<WaivePlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let now = cx.now();
        let waiver = Waiver { waiver_id: job.job_id, workspace_id: plan.workspace_id, reason: plan.reason.clone(), issued_at: now, expires_at: now.plus_ms(plan.for_ms) };
        let mut waived = NewEvent::new(EventCode::SandboxWaived, job.actor, json!({ "waiver": waiver, "missing": plan.missing })).about(&correlation(job));
        waived.correlation.workspace_id = Some(plan.workspace_id);
        let effect = Effect { events: vec![waived], ..Effect::default() }.with("waiver_id", job.job_id.to_string()).with("expires_at", waiver.expires_at.to_string());
        Ok(Done::Finished(effect))
    }

    /// Its end is waited for from now on.
    fn finished(&self, cx: &Context) {
        if let Ok(runner) = cx.require_runner() {
            waivers::watch(&runner);
        }
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &WaivePlan) -> Outcome<Recovered> {
        // The event is written together with the job's end: no end means no waiver.
        Ok(Recovered::Absent)
    }
}

impl JobKind for Revoke {
    type Plan = WaiverEndPlan;

    /// Those of one worktree when it is named, else all.
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<WaiverEndPlan>> {
        let _: Nothing = params::parse(cx, job)?;
        let named = job.bindings.workspace_id;
        let holding = waivers::in_force(cx.ports.recorder.as_ref(), cx.now())?;
        let chosen: Vec<_> = holding.iter().filter(|w| named.is_none_or(|id| id == w.workspace_id)).map(|w| (w.waiver_id, w.workspace_id)).collect();
        if chosen.is_empty() {
            return Err(Failure::new(Code::NotFoundGrant, "no waiver of the sandbox is in force").hint("dcc sandbox show lists them with their ends"));
        }
        Ok(Planned { body: WaiverEndPlan { waivers: chosen }, engine: "dcc", inputs: Vec::new(), bindings: job.bindings.clone(), claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<WaiverEndPlan>) -> Outcome<Done> {
        let runner = cx.require_runner()?;
        let mut agents = 0;
        for (waiver, workspace) in &cleared.body().waivers {
            let mut over = waivers::ended(job.actor, *waiver, *workspace, "revoked");
            over.correlation.job_id = Some(job.job_id);
            // One that ran out meanwhile has its event.
            cx.journal.try_append(vec![over])?;
            agents += waivers::end_agents(&runner, *workspace, "the waiver of the sandbox was revoked")?;
        }
        Ok(Done::Finished(Effect::default().with("agents_ended", agents as u64)))
    }

    fn recover(&self, cx: &Context, _job: &Job, body: &WaiverEndPlan) -> Outcome<Recovered> {
        // Whatever was not ended yet is still there to be revoked; agents died with their process.
        let holding = waivers::in_force(cx.ports.recorder.as_ref(), cx.now())?;
        let is_over = !holding.iter().any(|waiver| body.waivers.iter().any(|(id, _)| *id == waiver.waiver_id));
        Ok(if is_over { Recovered::Finished(Effect::default().with("agents_ended", 0)) } else { Recovered::Absent })
    }
}
