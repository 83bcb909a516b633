//! workspace.repair: one file for each fix; here is only which one is meant.

use serde::Deserialize;

use dcc_core::Outcome;
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{Repair, RepairPlan};

use super::{Done, JobKind, Planned, Recovered, accept_config, params};
use crate::context::Context;

pub(super) struct RepairWorkspace;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    fix: Fix,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fix {
    AcceptConfig,
}

impl JobKind for RepairWorkspace {
    type Plan = RepairPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
        let p: Params = params::parse(cx, job)?;
        match p.fix {
            Fix::AcceptConfig => accept_config::plan(cx, job),
        }
    }

    fn apply(&self, _cx: &Context, job: &Job, cleared: Cleared<RepairPlan>) -> Outcome<Done> {
        match &cleared.body().repair {
            Repair::AcceptConfig(acceptance) => Ok(accept_config::apply(job, acceptance)),
        }
    }

    fn recover(&self, _cx: &Context, _job: &Job, body: &RepairPlan) -> Outcome<Recovered> {
        match &body.repair {
            // The event is written together with the job's end: no end means no change.
            Repair::AcceptConfig(_) => Ok(Recovered::Absent),
        }
    }
}
