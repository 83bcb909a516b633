//! The fix "accept_config": a person accepts the repository's configuration as it is now.

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::job::Job;
use dcc_core::plans::{ConfigAcceptance, Repair, RepairPlan};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Effect, Planned, params};
use crate::context::Context;
use crate::repo_config;
use crate::runner::correlation;

pub(super) fn plan(cx: &Context, job: &Job) -> Outcome<Planned<RepairPlan>> {
    let workspace = params::workspace(cx, job)?;
    let now = cx.ports.version.config_facts(&cx.config.common_dir, Some(&workspace.binding))?;
    let accepted = repo_config::accepted(cx, Some(workspace.workspace_id))?;
    if accepted.digest == now.digest {
        return Err(Failure::new(Code::IllegalTransition, "the configuration is accepted as it is").hint("nothing needs to be done"));
    }
    let is_shared = cx.ports.version.config_facts(&cx.config.common_dir, None)?.digest == now.digest;
    let keys_sha256 = cx.ports.artifacts.put(&dcc_core::canonical::to_vec(&now.keys)?)?;
    let mut changes = repo_config::changes(cx, &accepted, &now)?;
    let change_count = changes.len();
    changes.truncate(limits::OBSERVED_PATHS_LISTED);
    let mut bindings = job.bindings.clone();
    bindings.wp_id.clone_from(&workspace.wp_id);
    let acceptance = ConfigAcceptance { digest: now.digest, accepted_digest: accepted.digest, keys_sha256, is_shared, changes, change_count };
    let body = RepairPlan { workspace_id: workspace.workspace_id, worktree: workspace.binding.worktree_path, repair: Repair::AcceptConfig(acceptance) };
    Ok(Planned { body, engine: "git-cli", inputs: vec![keys_sha256], bindings, claim: None })
}

pub(super) fn apply(job: &Job, acceptance: &ConfigAcceptance) -> Effect {
    let payload = json!({
        "digest": acceptance.digest, "config_keys": acceptance.keys_sha256, "before": acceptance.accepted_digest, "changes": acceptance.change_count,
        "scope": if acceptance.is_shared { repo_config::PROJECT } else { repo_config::WORKSPACE },
    });
    let mut effect = Effect::default().with("config_digest", acceptance.digest.to_string());
    effect.events.push(NewEvent::new(EventCode::ConfigAccepted, job.actor, payload).about(&correlation(job)));
    effect
}
