//! session.start: an agent process in a worktree, sandboxed, then its first turn when a prompt was given.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::SessionId;
use dcc_core::job::{Bindings, Job, JobRequest};
use dcc_core::op::Op;
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::{StartExtras, fresh};
use dcc_core::principal::Role;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::workspace::{WorkspaceHealth, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::host::{self, Host, change_state};
use crate::runner::correlation;

pub(super) struct StartSession;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    agent: Option<String>,
    command: Option<Vec<String>>,
    prompt: Option<String>,
    role: Option<Role>,
}

impl JobKind for StartSession {
    type Plan = SessionStartPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let p: Params = params::parse(cx, job)?;
        let workspace = params::workspace(cx, job)?;
        if workspace.kind == WorkspaceKind::Root {
            return Err(Failure::new(Code::Scope, "agents do not run in the main worktree: its git directory would be writable").hint("dcc ws create --wp WP makes a worktree"));
        }
        if workspace.status != WorkspaceStatus::Active {
            return Err(Failure::new(Code::IllegalTransition, format!("the workspace is {}", workspace.status.as_str())).hint("dcc ws open WS"));
        }
        let probe = cx.ports.version.probe(&workspace.binding)?;
        if !matches!(probe.health, WorkspaceHealth::Ok | WorkspaceHealth::Locked) {
            return Err(Failure::new(Code::VcsRepoInvalid, probe.message));
        }
        let spec = match (&p.agent, &p.command) {
            (Some(name), None) => cx.ports.agents.resolve(name)?,
            (None, Some(command)) if !command.is_empty() => cx.ports.agents.resolve_command(command)?,
            _ => return Err(Failure::invalid("name an agent, or give a command").hint("dcc session start --ws WS --agent NAME, or -- COMMAND")),
        };
        if let Some(prompt) = &p.prompt {
            params::bounded("prompt", prompt, limits::TEXT_BYTES_MAX)?;
        }
        let running = cx.ports.sessions.live().len();
        if running >= limits::SESSIONS_RUNNING_MAX {
            return Err(Failure::new(Code::RateLimit, format!("{running} sessions run already")).hint("close or cancel one first; a queue of waiting starts is not built yet"));
        }
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&workspace.wp_id);
        bindings.mt_id = bindings.mt_id.or_else(|| workspace.mt_id.clone());
        bindings.session_id = Some(fresh::<SessionId>(cx.ports.clock.as_ref()));
        let body = SessionStartPlan {
            workspace_id: workspace.workspace_id,
            agent: spec.name,
            command: spec.command,
            executable: spec.executable,
            env: spec.env,
            cwd: workspace.binding.worktree_path.clone(),
            git_dir: workspace.binding.git_dir.clone(),
            common_dir: workspace.binding.common_dir.clone(),
            read_paths: spec.read_paths,
            connect_ports: spec.connect_ports,
            role: p.role.unwrap_or(Role::Coder),
            prompt: p.prompt,
            driver: dcc_core::ports::Driver::Acp,
            resume: None,
        };
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings, claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SessionStartPlan>) -> Outcome<Done> {
        let session_id = params::session_id(job)?;
        let plan = cleared.body().clone();
        let session = new_session(cx, job, session_id, &plan);
        let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
        cx.journal.append(vec![
            about(EventCode::EffectPlanned, json!({ "effect": { "session_id": session_id, "agent": plan.agent } })),
            about(EventCode::SessionCreated, json!({ "session": session })),
        ])?;
        let runner = cx.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| Failure::engine("no runner"))?;
        let host = std::sync::Arc::new(Host::new(runner.clone()));
        let begun = extras(cx, session_id).and_then(|extras| {
            let is_handed = extras.mcp.is_some();
            cx.ports.sessions.start(session_id, cleared, extras, host).map(|started| (started, is_handed))
        });
        let (started, is_handed) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                host::forget_agent(cx, session_id);
                change_state(cx, session_id, SessionState::Failed, StateReason::AgentExit, json!({ "fault": failure.message }))?;
                return Err(failure);
            }
        };
        change_state(
            cx,
            session_id,
            SessionState::Blocked,
            StateReason::InputWait,
            json!({
                "agent_session_id": started.agent_session_id, "process": started.process, "posture": started.posture,
                "model_id": started.model_id, "agent_info": started.agent_info, "capabilities": started.capabilities,
                "tools": is_handed && started.capabilities.mcp,
            }),
        )?;
        if let Some(prompt) = plan.prompt {
            let request = JobRequest {
                op: Op::SessionRun,
                params: json!({ "prompt": prompt }),
                bindings: Bindings { session_id: Some(session_id), ..job.bindings.clone() },
                idempotency_key: None,
            };
            runner.submit_under(job.actor, request, None)?;
        }
        Ok(Done::Finished(Effect::default().with("session_id", session_id.to_string())))
    }

    fn recover(&self, _cx: &Context, job: &Job, _body: &SessionStartPlan) -> Outcome<Recovered> {
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        Ok(Recovered::Unknown("the agent was being started; its process has been ended".to_owned()))
    }
}

/// The agent's way to DCC's tools, when this process serves them.
fn extras(cx: &Context, session_id: SessionId) -> Outcome<StartExtras> {
    cx.agent_door.get().map_or_else(|| Ok(StartExtras::default()), |door| door.hand_out(session_id))
}

fn new_session(cx: &Context, job: &Job, session_id: SessionId, plan: &SessionStartPlan) -> Session {
    Session {
        command: plan.command.clone(),
        wp_id: job.bindings.wp_id.clone(),
        mt_id: job.bindings.mt_id.clone(),
        workspace_id: Some(plan.workspace_id),
        ..Session::new(session_id, &plan.agent, plan.role, cx.now())
    }
}
