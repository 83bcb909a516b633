//! workspace.create: a branch and a worktree for a packet, journalled before and after.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::WorkspaceId;
use dcc_core::job::Job;
use dcc_core::locus::record::WpStatus;
use dcc_core::plan::Precondition;
use dcc_core::plans::WorktreePlan;
use dcc_core::ports::fresh;
use dcc_core::principal::Role;
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus, WorktreeBinding, escape_path};
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::preconditions;
use crate::runner::correlation;

pub(super) struct CreateWorktree;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    branch: Option<String>,
    base: Option<String>,
    role: Option<Role>,
}

impl JobKind for CreateWorktree {
    type Plan = WorktreePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<WorktreePlan>> {
        let p: Params = params::parse(cx, job)?;
        let wp_id = params::wp_id(job)?;
        let packet = cx.ports.locus.packet(&wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")).hint("dcc wp list shows them"))?.record;
        if !matches!(packet.status, WpStatus::Ready | WpStatus::InProgress | WpStatus::Blocked | WpStatus::Gated) {
            let hint = if packet.status == WpStatus::Stub { "make it ready first: dcc wp ready WP" } else { "reopen it first: dcc wp reopen WP" };
            return Err(Failure::new(Code::IllegalTransition, format!("{wp_id} is {}; a worktree is made for open packets", packet.status.as_str())).hint(hint));
        }
        // People are not asked about what would fail anyway.
        preconditions::check_all(cx, &[Precondition::PacketUnbound { wp_id: packet.wp_id.clone() }])?;
        let slug = slug(&packet.title);
        let branch = p.branch.unwrap_or_else(|| format!("dcc/{}-{slug}", packet.wp_id));
        if !cx.ports.version.is_branch_name(&branch) {
            return Err(Failure::invalid(format!("{branch:?} is not a valid branch name")).hint("git check-ref-format --branch tells the rules"));
        }
        if cx.config.protected_branches.contains(&branch) {
            return Err(Failure::new(Code::VcsProtected, format!("{branch} is protected")));
        }
        let base = p.base.unwrap_or_else(|| "HEAD".to_owned());
        let base_oid = cx.ports.version.resolve(&cx.config.common_dir, &base)?;
        let base = if base == "HEAD" { head_branch(cx)?.unwrap_or(base) } else { base };
        let path = cx.config.worktrees_path.join(format!("{}-{slug}", packet.wp_id));
        let mut bindings = job.bindings.clone();
        bindings.wp_id = Some(packet.wp_id.clone());
        // The id is the job's, not the plan's: two plans that would do the same have the same digest.
        bindings.workspace_id = Some(fresh::<WorkspaceId>(cx.ports.clock.as_ref()));
        let body = WorktreePlan {
            wp_id: packet.wp_id,
            common_dir: cx.config.common_dir.clone(),
            path: escape_path(path.as_os_str().as_encoded_bytes()),
            branch,
            base,
            base_oid,
            role: p.role.unwrap_or(Role::Coder),
        };
        Ok(Planned { body, engine: "git-cli", inputs: Vec::new(), bindings, claim: None })
    }

    fn lock(&self) -> Lock {
        Lock::Git
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<WorktreePlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        cx.journal.append(vec![
            NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": { "path": plan.path, "branch": plan.branch, "base_oid": plan.base_oid } }))
                .about(&correlation(job)),
        ])?;
        let binding = cx.ports.version.create_worktree(cleared, None)?;
        Ok(Done::Finished(registered(cx, job, &plan, binding)?))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &WorktreePlan) -> Outcome<Recovered> {
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        match cx.ports.version.find_worktree(body)? {
            Some(binding) => Ok(Recovered::Finished(registered(cx, job, body, binding)?)),
            None if cx.ports.version.ref_oid(&body.common_dir, &format!("refs/heads/{}", body.branch))?.is_none() => Ok(Recovered::Absent),
            None => Ok(Recovered::Unknown(format!("the branch {} exists but its worktree at {} is not whole", body.branch, body.path))),
        }
    }
}

/// The workspace's record, its event, and the derived file in the worktree.
fn registered(cx: &Context, job: &Job, plan: &WorktreePlan, binding: WorktreeBinding) -> Outcome<Effect> {
    let now = cx.now();
    let workspace_id = params::workspace_id(job)?;
    let workspace = Workspace {
        workspace_id,
        project_id: cx.config.project_id,
        kind: WorkspaceKind::Worktree,
        role: plan.role,
        status: WorkspaceStatus::Active,
        binding,
        branch: Some(plan.branch.clone()),
        base_branch: Some(plan.base.clone()),
        base_oid: Some(plan.base_oid.clone()),
        wp_id: Some(plan.wp_id.clone()),
        mt_id: job.bindings.mt_id.clone(),
        created_at: now,
        updated_at: now,
        last_opened_at: None,
        hinted_wp_id: None,
    };
    let mut effect = Effect::default()
        .with("workspace_id", workspace_id.to_string())
        .with("wp_id", plan.wp_id.to_string())
        .with("path", plan.path.clone())
        .with("branch", plan.branch.clone())
        .with("base_oid", plan.base_oid.to_string());
    if let Some(message) = cx.ports.store.write_workspace_json(&workspace, Some(&plan.base_oid))? {
        effect = effect.with("message", message);
    }
    effect.events.push(NewEvent::new(EventCode::WorkspaceCreated, job.actor, json!({ "workspace": workspace })).about(&correlation(job)));
    Ok(effect)
}

fn head_branch(cx: &Context) -> Outcome<Option<String>> {
    use dcc_core::ports::version::HeadState;
    let facts = cx.ports.version.inspect(&cx.config.root_path)?;
    Ok(match facts.head {
        HeadState::Branch { name, .. } => Some(name),
        _ => None,
    })
}

/// Lower-case words of the title joined by dashes, at most 40 bytes; `work` when nothing is left.
fn slug(title: &str) -> String {
    let mut out = String::new();
    for c in title.chars() {
        if out.len() >= 40 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "work".to_owned() } else { out.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn slugs_are_safe_in_branches_and_paths() {
        assert_eq!(slug("Make POST /v1/usage idempotent"), "make-post-v1-usage-idempotent");
        assert_eq!(slug("../../etc"), "etc");
        assert_eq!(slug("ééé"), "work");
        assert!(slug(&"long ".repeat(40)).len() <= 41);
    }
}
