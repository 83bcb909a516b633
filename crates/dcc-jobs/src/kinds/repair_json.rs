//! The fixes "reinit_json" and "untrack_json": a worktree's `workspace.json` that is not understood, or that git tracks.
//!
//! Authority: derived for the file, git's for the index. Invariants: what is replaced was kept as an artifact when the plan
//! was made, and stands under another name afterwards; an index entry is removed after approval only, and nothing is ever
//! committed. On failure the file or the entry is as it was.

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{Repair, RepairPlan};
use dcc_core::ports::JsonStanding;
use dcc_core::workspace::{JSON_PATH, Workspace};
use dcc_core::{Code, Failure, Outcome, RepoPath};

use super::{Effect, Planned, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;
use crate::{repairs, repo_config};

pub(super) fn plan_reinit(cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
    let workspace = params::workspace(cx, job)?;
    let JsonStanding::Unknown { bytes, why } = cx.ports.store.look_workspace_json(&workspace)? else {
        return Err(nothing_to_do(&workspace, "workspace.json is as this program writes it, or is not there"));
    };
    if let Some(form) = dcc_core::redact::known_in(&String::from_utf8_lossy(&bytes)) {
        return Err(Failure::invalid(format!("workspace.json holds what looks like a secret: {form}")).hint("take it out, or remove the file: it is then made anew"));
    }
    // Kept before anything can replace them.
    let kept = cx.ports.artifacts.put(&bytes)?;
    let mut planned = planned(job, &workspace, repairs::renewal(&bytes, why), "store");
    planned.inputs.push(kept);
    Ok(planned)
}

pub(super) fn plan_untrack(cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
    let workspace = params::workspace(cx, job)?;
    repo_config::require_accepted(cx, job)?;
    let index_oid = cx.ports.version.index_entry(&workspace.binding, &RepoPath::new(JSON_PATH)?)?;
    let index_oid = index_oid.ok_or_else(|| nothing_to_do(&workspace, "git does not track .handshake/workspace.json here"))?;
    Ok(planned(job, &workspace, Repair::UntrackJson { index_oid }, "git-cli"))
}

fn planned(job: &Job, workspace: &Workspace, repair: Repair, engine: &'static str) -> Planned<RepairPlan> {
    let mut bindings = job.bindings.clone();
    bindings.wp_id.clone_from(&workspace.wp_id);
    let body = RepairPlan { workspace_id: workspace.workspace_id, worktree: workspace.binding.worktree_path.clone(), repair };
    Planned { body, engine, inputs: Vec::new(), bindings, claim: None }
}

fn nothing_to_do(workspace: &Workspace, why: &str) -> Failure {
    Failure::new(Code::IllegalTransition, format!("there is nothing to repair: {why}")).hint(format!("dcc ws repair {} lists what is found", workspace.workspace_id.short()))
}

pub(super) fn apply(cx: &Context, job: &Job, cleared: Cleared<RepairPlan>) -> Outcome<Effect> {
    let plan = cleared.body().clone();
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), plan.workspace_id)?;
    if let Repair::UntrackJson { .. } = plan.repair {
        repo_config::require_accepted(cx, job)?;
    }
    let head = repairs::head_of(cx, &workspace)?;
    cx.journal.append(vec![NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": plan.repair })).about(&correlation(job))])?;
    match &plan.repair {
        Repair::UntrackJson { .. } => cx.ports.version.untrack(&workspace.binding, cleared)?,
        Repair::ReinitJson(_) | Repair::AcceptConfig(_) | Repair::Mend(_) => cx.ports.store.reinit_workspace_json(cleared, &workspace, head.as_ref())?,
    }
    Ok(effect(&plan.repair))
}

/// What the world says; none when nothing was done.
pub(super) fn recover(cx: &Context, job: &Job, body: &RepairPlan) -> Outcome<Option<Effect>> {
    if job.effect.is_none() {
        return Ok(None);
    }
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), body.workspace_id)?;
    let is_done = match &body.repair {
        Repair::UntrackJson { .. } => cx.ports.version.index_entry(&workspace.binding, &RepoPath::new(JSON_PATH)?)?.is_none(),
        Repair::ReinitJson(_) | Repair::AcceptConfig(_) | Repair::Mend(_) => {
            // A file that is gone was kept under its other name already.
            if cx.ports.store.look_workspace_json(&workspace)? == JsonStanding::Absent {
                cx.ports.store.write_workspace_json(&workspace, repairs::head_of(cx, &workspace)?.as_ref())?;
            }
            cx.ports.store.look_workspace_json(&workspace)? == JsonStanding::Known
        }
    };
    Ok(is_done.then(|| effect(&body.repair)))
}

fn effect(repair: &Repair) -> Effect {
    match repair {
        Repair::ReinitJson(renewal) => {
            let kept_as = format!(".handshake/{}", renewal.kept_as);
            let mut effect = Effect::default().with("kept_as", kept_as.clone()).with("kept_sha256", renewal.found_sha256.to_string());
            effect.outputs.push(renewal.found_sha256);
            effect.with("message", format!("workspace.json is made anew; the old one stands at {kept_as}"))
        }
        _ => Effect::default().with("message", "git tracks workspace.json no more; commit the removal when you like"),
    }
}
