//! The fixes "relocate", "reregister" and "recreate": a worktree and git's registration that lost each other.
//!
//! Authority: canon is git's registration; the workspace follows it by an event. Invariant: what is mended is what the
//! probe says is broken; asking for another fix than the one that fits is refused with the one that does. While a session
//! lives in the workspace nothing is mended: its sandbox holds the old directory, and what its agent writes there would be
//! seen by nobody.

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{Mending, Repair, RepairPlan, WorktreeMend};
use dcc_core::workspace::{Workspace, WorktreeBinding, unescape_path};
use dcc_core::{Code, Failure, Outcome};

use super::{Effect, Planned, params, simple};
use crate::context::Context;
use crate::runner::correlation;
use crate::{ledger, repairs, repo_config};

pub(super) fn plan(cx: &Context, job: &Job, how: Mending, path: Option<&str>) -> Outcome<Planned<RepairPlan>> {
    use std::os::unix::ffi::OsStringExt as _;
    let workspace = params::workspace(cx, job)?;
    simple::require_no_session(cx, workspace.workspace_id)?;
    let named = path.map(|text| std::path::PathBuf::from(std::ffi::OsString::from_vec(unescape_path(text))));
    if let Some(named) = named.as_deref().filter(|p| !p.is_absolute()) {
        return Err(Failure::invalid(format!("{} is not an absolute path", named.display())).hint("name the directory from the root on"));
    }
    if named.is_some() && how != Mending::Relocate {
        return Err(Failure::invalid("only relocate takes a path").hint(format!("dcc ws repair {} --relocate --path DIR", workspace.workspace_id.short())));
    }
    let mend = cx.ports.version.plan_mend(&workspace.binding, workspace.branch.as_deref(), named.as_deref())?;
    if mend.how != how {
        return Err(Failure::new(Code::IllegalTransition, format!("{} does not fit: {}", how.word(), mend.found)).hint(format!("dcc ws repair {} --{}", workspace.workspace_id, mend.how.word())));
    }
    require_own(cx, &workspace, &mend)?;
    repo_config::require_shared_accepted(cx)?;
    let mut bindings = job.bindings.clone();
    bindings.wp_id.clone_from(&workspace.wp_id);
    let body = RepairPlan { workspace_id: workspace.workspace_id, worktree: workspace.binding.worktree_path, repair: Repair::Mend(mend) };
    Ok(Planned { body, engine: "git-cli", inputs: Vec::new(), bindings, claim: None })
}

/// The directory is not another workspace's, by its recorded place or by what it is.
fn require_own(cx: &Context, workspace: &Workspace, mend: &WorktreeMend) -> Outcome<()> {
    let is_there = |other: &Workspace| other.binding.worktree_path == mend.path || mend.directory == Some((other.binding.device, other.binding.inode));
    let others = ledger::workspaces(cx.ports.recorder.as_ref())?;
    match others.iter().find(|other| other.workspace_id != workspace.workspace_id && is_there(other)) {
        None => Ok(()),
        Some(other) => {
            let whose = other.wp_id.as_ref().map_or_else(|| format!("workspace {}", other.workspace_id.short()), ToString::to_string);
            Err(Failure::new(Code::WorktreeConflict, format!("{} is the worktree of {whose}", mend.path)).hint("name this worktree's own directory; dcc ws list shows the others"))
        }
    }
}

pub(super) fn apply(cx: &Context, job: &Job, cleared: Cleared<RepairPlan>) -> Outcome<(Effect, WorktreeBinding)> {
    let plan = cleared.body().clone();
    repo_config::require_shared_accepted(cx)?;
    simple::require_no_session(cx, plan.workspace_id)?;
    cx.journal.append(vec![NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": plan.repair })).about(&correlation(job))])?;
    let binding = cx.ports.version.mend(cleared)?;
    mended(cx, &plan, binding)
}

/// What the world says; none when the worktree is not whole.
pub(super) fn recover(cx: &Context, job: &Job, plan: &RepairPlan, mend: &WorktreeMend) -> Outcome<Option<(Effect, WorktreeBinding)>> {
    if job.effect.is_none() {
        return Ok(None);
    }
    cx.ports.version.find_mended(mend)?.map(|binding| mended(cx, plan, binding)).transpose()
}

/// The derived file follows; the event that names the new place is written by `repair`.
fn mended(cx: &Context, plan: &RepairPlan, binding: WorktreeBinding) -> Outcome<(Effect, WorktreeBinding)> {
    let before = ledger::workspace(cx.ports.recorder.as_ref(), plan.workspace_id)?;
    let workspace = Workspace { binding, ..before };
    let mut effect = Effect::default().with("path", workspace.binding.worktree_path.clone());
    let head = repairs::head_of(cx, &workspace)?;
    if let Some(message) = cx.ports.store.write_workspace_json(&workspace, head.as_ref())? {
        effect = effect.with("message", message);
    }
    Ok((effect, workspace.binding))
}
