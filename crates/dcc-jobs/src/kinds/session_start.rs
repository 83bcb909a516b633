//! session.start: an agent process in a worktree, sandboxed, then its first turn when a prompt was given.

use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::fresh;
use dcc_core::principal::Role;
use dcc_core::session::Lane;
use dcc_core::{Failure, Outcome};

use super::launch::{self, NewSession, Wishes};
use super::{Planned, params};
use crate::context::Context;

pub(super) struct StartSession;

impl NewSession for StartSession {
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let wishes: Wishes = params::parse(cx, job)?;
        let workspace = launch::usable(cx, params::workspace_id(job)?)?;
        wishes.check()?;
        let role = wishes.role.unwrap_or(if wishes.human { Role::Human } else { Role::Coder });
        if wishes.human && wishes.prompt.is_some() {
            return Err(Failure::invalid("a person is not prompted").hint("say what the session is for: purpose"));
        }
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&workspace.wp_id);
        bindings.mt_id = bindings.mt_id.or_else(|| workspace.mt_id.clone());
        bindings.session_id = Some(fresh::<SessionId>(cx.ports.clock.as_ref()));
        let body = SessionStartPlan {
            prompt: wishes.prompt.clone(),
            purpose: wishes.purpose.clone(),
            paths: wishes.paths.clone(),
            budget: wishes.budget.clone(),
            ..launch::plan_of(wishes.agent(cx)?, &workspace, role, wishes.lane.unwrap_or_else(|| Lane::usual(role, false)))
        };
        let body = crate::waivers::confined(cx, body)?;
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }
}
