//! workspace.repair: one file for each fix; here is only which one is meant, and the event that all have in common.

use serde::Deserialize;
use serde_json::json;

use dcc_core::Outcome;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{Repair, RepairPlan};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, accept_config, params, repair_json};
use crate::context::Context;
use crate::runner::correlation;

pub(super) struct RepairWorkspace;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    fix: Fix,
}

/// The words of [`Repair`], as a request names them.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fix {
    AcceptConfig,
    ReinitJson,
    UntrackJson,
}

impl JobKind for RepairWorkspace {
    type Plan = RepairPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
        let p: Params = params::parse(cx, job)?;
        match p.fix {
            Fix::AcceptConfig => accept_config::plan(cx, job),
            Fix::ReinitJson => repair_json::plan_reinit(cx, job),
            Fix::UntrackJson => repair_json::plan_untrack(cx, job),
        }
    }

    fn lock(&self) -> Lock {
        Lock::Git
    }

    /// One fix accepts the configuration, one writes no git; the third asks for it itself.
    fn needs_accepted_config(&self) -> bool {
        false
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<RepairPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let done = match &plan.repair {
            Repair::AcceptConfig(acceptance) => accept_config::apply(job, acceptance),
            Repair::ReinitJson(_) | Repair::UntrackJson { .. } => Done::Finished(repair_json::apply(cx, job, cleared)?),
        };
        Ok(match done {
            Done::Finished(effect) => Done::Finished(repaired(job, &plan, effect)),
            Done::Continues => Done::Continues,
        })
    }

    fn recover(&self, cx: &Context, job: &Job, body: &RepairPlan) -> Outcome<Recovered> {
        match &body.repair {
            // The event is written together with the job's end: no end means no change.
            Repair::AcceptConfig(_) => Ok(Recovered::Absent),
            Repair::ReinitJson(_) | Repair::UntrackJson { .. } => Ok(match repair_json::recover(cx, job, body)? {
                Some(effect) => Recovered::Finished(repaired(job, body, effect)),
                None => Recovered::Absent,
            }),
        }
    }
}

fn repaired(job: &Job, plan: &RepairPlan, mut effect: Effect) -> Effect {
    effect = effect.with("workspace_id", plan.workspace_id.to_string()).with("fix", plan.repair.word());
    effect.events.push(NewEvent::new(EventCode::WorkspaceRepaired, job.actor, json!({ "fix": plan.repair.word() })).about(&correlation(job)));
    effect
}
