//! session.spawn: a child of a session, in the same worktree and never wider than its parent. The operator's own, or asked for
//! by the session's agent and decided by a person.
//!
//! Invariants: an agent asks for a child of its own session, by an agent's name and words; program, profile, lane and limits are
//! the operator's to say. While a person decides, the job is bound to the session that asks, so that the request is shown,
//! counted and ended with it; the child's id follows from the job's.

use std::borrow::Cow;

use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::ports::{AgentSpec, Driver, fresh};
use dcc_core::principal::{Actor, Principal, Role};
use dcc_core::session::{Lane, Session, Source};
use dcc_core::{Code, Failure, Outcome, limits};

use super::launch::{self, NewSession, Wishes};
use super::{Planned, params};
use crate::context::Context;
use crate::ledger;

pub(super) struct Spawn;

impl NewSession for Spawn {
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let wishes: Wishes = params::parse(cx, job)?;
        let parent = params::session(cx, job)?;
        let is_asked = matches!(job.actor.principal, Principal::Agent { .. });
        if is_asked {
            require_modest(&wishes)?;
        }
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
        if let (Some(wp_id), Some(mt_id)) = (&bindings.wp_id, &bindings.mt_id) {
            cx.ports.locus.micro_task(wp_id, mt_id)?.ok_or_else(|| Failure::new(Code::NotFoundMt, format!("no micro-task {mt_id} in {wp_id}")))?;
        }
        bindings.workspace_id = Some(workspace_id);
        let agent = wishes.agent(cx)?;
        if is_asked {
            require_no_wider(cx, &parent, &agent)?;
        } else {
            bindings.session_id = Some(fresh::<SessionId>(cx.ports.clock.as_ref()));
        }
        let body = SessionStartPlan {
            prompt: wishes.prompt.clone(),
            purpose: wishes.purpose.clone(),
            paths: wishes.paths.clone(),
            budget: wishes.budget.clone(),
            origin: Origin::Child { of: parent.session_id },
            ..launch::plan_of(agent, &workspace, role, wishes.lane.map_or(Lane::Subagent, |lane| lane.max(parent.lane)))
        };
        let body = crate::waivers::confined(cx, body)?;
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }
}

/// What an agent may wish of a child: whom, and what for.
fn require_modest(wishes: &Wishes) -> Outcome<()> {
    let is_more = wishes.agent.is_none() || wishes.command.is_some() || wishes.human || wishes.lane.is_some() || wishes.budget.is_some();
    if is_more {
        return Err(Failure::new(Code::Capability, "an agent asks for another by its name; a command, a lane, limits and a person's claim are the operator's to give"));
    }
    if wishes.prompt.as_deref().is_none_or(|prompt| prompt.trim().is_empty()) {
        return Err(Failure::invalid("a child needs a prompt: nobody else tells it what to do"));
    }
    Ok(())
}

/// The agent that is asked for reaches nothing that the asking session's own program may not.
fn require_no_wider(cx: &Context, parent: &Session, agent: &AgentSpec) -> Outcome<()> {
    let own = super::session_retry::first_plan(cx, parent)?;
    let more: Vec<u16> = agent.connect_ports.iter().filter(|port| !own.connect_ports.contains(port)).copied().collect();
    let wider = match agent.driver {
        Driver::Pty | Driver::Human => Some("what it does is not observed".to_owned()),
        Driver::Acp if !more.is_empty() => Some(format!("it connects to TCP ports {more:?}, which the session that asks does not")),
        Driver::Acp if agent.listens && !own.listens => Some("it listens on a port, which the session that asks does not".to_owned()),
        Driver::Acp => None,
    };
    match wider {
        Some(why) => Err(Failure::new(Code::Scope, format!("{} would be wider than its parent: {why}", agent.name)).hint("a person can start it: dcc session spawn S --agent NAME --prompt T")),
        None => Ok(()),
    }
}

/// The job as it is about the new session: one that an agent asked for is bound to the asking session, and its child's id
/// follows from the job, so that a plan that is taken up again makes no second child.
pub(super) fn born<'a>(job: &'a Job, plan: &SessionStartPlan) -> Cow<'a, Job> {
    match plan.origin {
        Origin::Child { of } if job.bindings.session_id == Some(of) => {
            let mut own = job.clone();
            own.bindings.session_id = Some(SessionId::born_of(job.job_id));
            Cow::Owned(own)
        }
        _ => Cow::Borrowed(job),
    }
}

/// Whose the first prompt is, and in whose name it is sent: an agent's words go out in the name of the person who read and
/// approved them.
pub(super) fn speaker(cx: &Context, job: &Job) -> Outcome<(Source, Actor)> {
    if job.actor.is_operator() {
        return Ok((Source::Operator, job.actor));
    }
    let undecided = || Failure::new(Code::Capability, "nobody has approved this child");
    let approval = ledger::approval(cx.ports.recorder.as_ref(), job.approval_id.ok_or_else(undecided)?)?;
    let decision = approval.decision.filter(|decision| decision.approve).ok_or_else(undecided)?;
    Ok((Source::Session, decision.decider))
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
    let active = cx.ports.store.open_sessions()?.iter().filter(|s| s.parent_session_id == Some(parent.session_id)).count();
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
