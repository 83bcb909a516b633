//! workspace.repair: one file for each fix; here is only which one is meant, and the event that all have in common.

use serde::Deserialize;
use serde_json::json;

use dcc_core::Outcome;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{Mending, Repair, RepairPlan};
use dcc_core::workspace::WorktreeBinding;

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, accept_config, mend, params, repair_json};
use crate::context::Context;
use crate::runner::correlation;

pub(super) struct RepairWorkspace;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    fix: Fix,
    /// Relocate only: where the worktree stands now, absolute, escaped as in `workspace::escape_path`; none looks for it.
    path: Option<String>,
}

/// The words of [`Repair`], as a request names them.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fix {
    AcceptConfig,
    ReinitJson,
    UntrackJson,
    Relocate,
    Reregister,
    Recreate,
}

impl JobKind for RepairWorkspace {
    type Plan = RepairPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
        let p: Params = params::parse(cx, job)?;
        match p.fix {
            Fix::AcceptConfig => accept_config::plan(cx, job),
            Fix::ReinitJson => repair_json::plan_reinit(cx, job),
            Fix::UntrackJson => repair_json::plan_untrack(cx, job),
            Fix::Relocate => mend::plan(cx, job, Mending::Relocate, p.path.as_deref()),
            Fix::Reregister => mend::plan(cx, job, Mending::Reregister, p.path.as_deref()),
            Fix::Recreate => mend::plan(cx, job, Mending::Recreate, p.path.as_deref()),
        }
    }

    fn lock(&self) -> Lock {
        Lock::Git
    }

    /// One fix accepts the configuration, one writes no git; the others ask for it themselves.
    fn needs_accepted_config(&self) -> bool {
        false
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<RepairPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let (effect, binding) = match &plan.repair {
            Repair::AcceptConfig(acceptance) => (accept_config::apply(job, acceptance), None),
            Repair::ReinitJson(_) | Repair::UntrackJson { .. } => (repair_json::apply(cx, job, cleared)?, None),
            Repair::Mend(_) => mend::apply(cx, job, cleared).map(|(effect, binding)| (effect, Some(binding)))?,
        };
        Ok(Done::Finished(repaired(job, &plan, effect, binding)))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &RepairPlan) -> Outcome<Recovered> {
        match &body.repair {
            // The event is written together with the job's end: no end means no change.
            Repair::AcceptConfig(_) => Ok(Recovered::Absent),
            Repair::ReinitJson(_) | Repair::UntrackJson { .. } => Ok(match repair_json::recover(cx, job, body)? {
                Some(effect) => Recovered::Finished(repaired(job, body, effect, None)),
                None => Recovered::Absent,
            }),
            Repair::Mend(mend) => Ok(match mend::recover(cx, job, body, mend)? {
                Some((effect, binding)) => Recovered::Finished(repaired(job, body, effect, Some(binding))),
                // What stands half-made is looked at again by the next repair, and taken up from there.
                None => Recovered::Absent,
            }),
        }
    }
}

fn repaired(job: &Job, plan: &RepairPlan, mut effect: Effect, binding: Option<WorktreeBinding>) -> Effect {
    effect = effect.with("workspace_id", plan.workspace_id.to_string()).with("fix", plan.repair.word());
    let mut payload = json!({ "fix": plan.repair.word() });
    if let Some(binding) = binding {
        payload["binding"] = json!(binding);
    }
    effect.events.push(NewEvent::new(EventCode::WorkspaceRepaired, job.actor, payload).about(&correlation(job)));
    effect
}
