//! session.spawn: a child of a session, in the same worktree and never wider than its parent.

use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::ports::fresh;
use dcc_core::principal::Role;
use dcc_core::session::{Lane, Session};
use dcc_core::{Code, Failure, Outcome, limits};

use super::launch::{self, NewSession, Wishes};
use super::{Planned, params};
use crate::context::Context;

pub(super) struct Spawn;

impl NewSession for Spawn {
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let wishes: Wishes = params::parse(cx, job)?;
        let parent = params::session(cx, job)?;
        wishes.check()?;
        room(cx, &parent)?;
        crate::budgets::require_room(cx, &parent)?;
        let role = wishes.role.unwrap_or(parent.role);
        require_narrower(parent.role, role)?;
        let workspace_id = parent.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the parent has no workspace"))?;
        if job.bindings.workspace_id.is_some_and(|wanted| wanted != workspace_id) {
            return Err(Failure::new(Code::Scope, "a spawned session works in its parent's worktree"));
        }
        let workspace = launch::usable(cx, workspace_id)?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&parent.wp_id);
        bindings.mt_id = bindings.mt_id.or_else(|| parent.mt_id.clone());
        bindings.workspace_id = Some(workspace_id);
        bindings.session_id = Some(fresh::<SessionId>(cx.ports.clock.as_ref()));
        let body = SessionStartPlan {
            prompt: wishes.prompt.clone(),
            purpose: wishes.purpose.clone(),
            paths: wishes.paths.clone(),
            budget: wishes.budget.clone(),
            origin: Origin::Child { of: parent.session_id },
            ..launch::plan_of(wishes.agent(cx)?, &workspace, role, wishes.lane.map_or(Lane::Subagent, |lane| lane.max(parent.lane)))
        };
        let body = crate::waivers::confined(cx, body)?;
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }
}

/// The parent may have one more child.
pub(super) fn room(cx: &Context, parent: &Session) -> Outcome<()> {
    if parent.state.is_terminal() {
        return Err(Failure::new(Code::IllegalTransition, format!("session {} has ended ({})", parent.session_id.short(), parent.state.as_str())));
    }
    if parent.spawn_depth >= limits::SPAWN_DEPTH_MAX {
        return Err(Failure::new(Code::PolicyForbidden, format!("depth_limit_exceeded: session {} is {} levels below the first already", parent.session_id.short(), parent.spawn_depth))
            .hint("start the work as a session of its own"));
    }
    let active = cx.ports.store.open_sessions()?.iter().filter(|s| s.parent_session_id == Some(parent.session_id) && !s.state.is_terminal()).count();
    if active >= limits::CHILDREN_ACTIVE_MAX {
        return Err(Failure::new(Code::RateLimit, format!("children_cap_reached: {active} sessions spawned from {} are open", parent.session_id.short())).hint("close or cancel one first"));
    }
    Ok(())
}

/// A child has its parent's role or a part of it.
fn require_narrower(parent: Role, child: Role) -> Outcome<()> {
    let fits = parent == child || (child == Role::Orchestrator && parent == Role::Coder);
    if fits {
        return Ok(());
    }
    Err(Failure::new(Code::RoleSeparation, format!("a {} cannot spawn a {}", parent.as_str(), child.as_str())).hint("a child has its parent's role or less"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_only_narrow() {
        let all = [Role::Coder, Role::Validator, Role::Human, Role::Orchestrator];
        for parent in all {
            for child in all {
                let want = parent == child || (parent == Role::Coder && child == Role::Orchestrator);
                assert_eq!(require_narrower(parent, child).is_ok(), want, "{parent:?} -> {child:?}");
            }
        }
    }
}
