//! What start, retry, spawn and resume have in common: where an agent may run, the new session's record, its process.
//!
//! Invariants: the session exists, with its first prompt waiting in it, before its agent does; a start that fails leaves a
//! FAILED session that says why; an agent that was cancelled while it started is ended.

use std::sync::{Arc, PoisonError};

use serde::Deserialize;
use serde_json::json;

use dcc_core::budget::Budget;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::{SessionId, WorkspaceId};
use dcc_core::job::Job;
use dcc_core::locus::scope;
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::ports::sessions::{BackendCapabilities, StartedAgent, Steer};
use dcc_core::ports::{AgentSpec, EventFilter, Driver, StartExtras};
use dcc_core::principal::Role;
use dcc_core::session::{Lane, Run, Session, SessionState, StateReason, provider_of};
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome, limits};

use super::session_spawn::{born, speaker};
use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::delivery::{self, Occasion, Outgoing};
use crate::host::{self, Host, Move, move_if, note};
use crate::{ledger, repairs};
use crate::runner::correlation;

/// A kind that makes a session and starts its agent: it says with what plan, and nothing else differs.
pub(super) trait NewSession: Send + Sync {
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>>;
}

impl<S: NewSession> JobKind for S {
    type Plan = SessionStartPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        NewSession::plan(self, cx, job)
    }
    fn runs_long(&self) -> bool {
        true
    }
    fn run(&self, _cx: &Context, job: &Job, body: &SessionStartPlan) -> Outcome<Option<Run>> {
        run_of(&born(job, body), body)
    }
    fn waits(&self, cx: &Context, job: &Job, body: &SessionStartPlan) -> Outcome<Vec<NewEvent>> {
        birth(cx, &born(job, body), body)
    }
    fn gave_up(&self, cx: &Context, job: &Job, failure: &Failure) -> Outcome<()> {
        gave_up(cx, job, failure)
    }
    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SessionStartPlan>) -> Outcome<Done> {
        launch(cx, &born(job, cleared.body()), cleared)
    }
    fn recover(&self, _cx: &Context, job: &Job, _body: &SessionStartPlan) -> Outcome<Recovered> {
        Ok(recovered(job))
    }
}

/// A start that was under way when its process ended: the agent died with it.
pub(super) fn recovered(job: &Job) -> Recovered {
    if job.effect.is_none() {
        return Recovered::Absent;
    }
    Recovered::Unknown("the agent was being started; its process has been ended".to_owned())
}

/// What a person says of a session to be.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wishes {
    pub agent: Option<String>,
    pub command: Option<Vec<String>>,
    pub prompt: Option<String>,
    pub role: Option<Role>,
    pub purpose: Option<String>,
    pub lane: Option<Lane>,
    pub paths: Vec<String>,
    pub budget: Option<Budget>,
    /// A person claims the worktree; no process is started.
    pub human: bool,
}

impl Wishes {
    pub(super) fn check(&self) -> Outcome<()> {
        if let Some(prompt) = &self.prompt {
            params::bounded("prompt", prompt, limits::TEXT_BYTES_MAX)?;
        }
        if let Some(purpose) = &self.purpose {
            params::bounded("purpose", purpose, limits::LINE_BYTES_MAX)?;
        }
        if let Some(budget) = &self.budget {
            budget.check()?;
        }
        scope::compile(&self.paths).map(drop)
    }
    pub(super) fn agent(&self, cx: &Context) -> Outcome<AgentSpec> {
        match (&self.agent, &self.command) {
            (Some(name), None) => cx.ports.agents.resolve(name),
            (None, None) if self.human => Ok(AgentSpec { name: "human".to_owned(), driver: Driver::Human, ..AgentSpec::default() }),
            (None, Some(command)) if !command.is_empty() => cx.ports.agents.resolve_command(command),
            _ => Err(Failure::invalid("name an agent, or give a command, or say that a person works").hint("dcc session start --ws WS --agent NAME, or --human, or -- COMMAND")),
        }
    }
}

/// A worktree in which an agent may run now.
pub(super) fn usable(cx: &Context, id: WorkspaceId) -> Outcome<Workspace> {
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), id)?;
    if workspace.kind == WorkspaceKind::Root {
        return Err(Failure::new(Code::Scope, "agents do not run in the main worktree: its git directory would be writable").hint("dcc ws create --wp WP makes a worktree"));
    }
    if workspace.status != WorkspaceStatus::Active {
        return Err(Failure::new(Code::IllegalTransition, format!("the workspace is {}", workspace.status.as_str())).hint(format!("dcc ws open {}", id.short())));
    }
    repairs::require_whole(cx, &workspace)?;
    Ok(workspace)
}

/// The plan of an agent in a worktree; origin and what belongs to it are the caller's.
pub(super) fn plan_of(spec: AgentSpec, workspace: &Workspace, role: Role, lane: Lane) -> SessionStartPlan {
    SessionStartPlan {
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
        listens: spec.listens,
        waiver: None,
        role,
        prompt: None,
        driver: spec.driver,
        resume: None,
        origin: Origin::Fresh,
        lane,
        purpose: None,
        paths: Vec::new(),
        budget: None,
    }
}

/// What a start takes of the limits.
pub(super) fn run_of(job: &Job, plan: &SessionStartPlan) -> Outcome<Option<Run>> {
    let session_id = params::session_of(job, plan)?;
    let model = None;
    Ok((!plan.is_in_place()).then(|| Run { job_id: job.job_id, session_id, lane: plan.lane, provider: provider_of(&plan.agent), model, cold: true, queued_at: job.created_at }))
}

/// The session's first events: its record, its first prompt, and what other sessions learn of it.
pub(super) fn birth(cx: &Context, job: &Job, plan: &SessionStartPlan) -> Outcome<Vec<NewEvent>> {
    let id = params::session_id(job)?;
    if ledger::session(cx.ports.recorder.as_ref(), id).is_ok() {
        // It has waited for a slot since.
        return Ok(Vec::new());
    }
    let session = record(cx, job, id, plan)?;
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
    let mut events = vec![about(EventCode::SessionCreated, json!({ "session": session }))];
    if let Some(prompt) = &plan.prompt {
        let (source, from) = speaker(cx, job)?;
        let out = Outgoing { text: prompt, when: Steer::Queue, source, from, job_id: job.job_id };
        events.push(delivery::queued(job.actor, &session, delivery::compose(cx, &out)?, job));
    }
    match plan.origin {
        Origin::Successor { of } => events.extend(super::session_retry::succeeds(cx, job, of, &session)?),
        Origin::Child { of } => {
            let parent = ledger::session(cx.ports.recorder.as_ref(), of)?;
            super::session_spawn::room(cx, &parent)?;
            let before = cx.ports.store.sessions(limits::PAGE_MAX)?.iter().filter(|s| s.parent_session_id == Some(of)).count();
            let payload = json!({ "child_session_id": id, "agent": plan.agent, "role": plan.role, "depth": session.spawn_depth });
            // Of two spawned at once one counts first; the other has to look for room again.
            events.push(NewEvent::new(EventCode::ChildSpawned, job.actor, payload).about(&host::session_correlation(&parent)).once(format!("child:{of}:{before}")));
        }
        Origin::Fresh | Origin::Resumed { .. } => {}
    }
    Ok(events)
}

fn record(cx: &Context, job: &Job, id: SessionId, plan: &SessionStartPlan) -> Outcome<Session> {
    let recorder = cx.ports.recorder.as_ref();
    let (parent_session_id, spawn_depth, successor_of) = match plan.origin {
        Origin::Child { of } => (Some(of), ledger::session(recorder, of)?.spawn_depth + 1, None),
        Origin::Successor { of } => {
            let before = ledger::session(recorder, of)?;
            (before.parent_session_id, before.spawn_depth, Some(of))
        }
        Origin::Fresh | Origin::Resumed { .. } => (None, 0, None),
    };
    Ok(Session {
        parent_session_id,
        spawn_depth,
        successor_of,
        purpose: plan.purpose.clone(),
        lane: plan.lane,
        command: plan.command.clone(),
        wp_id: job.bindings.wp_id.clone(),
        mt_id: job.bindings.mt_id.clone(),
        workspace_id: Some(plan.workspace_id),
        paths: plan.paths.clone(),
        budget: plan.budget.clone(),
        ..Session::new(id, &plan.agent, plan.role, cx.now())
    })
}

/// Starts the agent of a new session, then its first turn when a prompt waits.
pub(super) fn launch(cx: &Context, job: &Job, cleared: Cleared<SessionStartPlan>) -> Outcome<Done> {
    let session_id = params::session_id(job)?;
    let plan = cleared.body().clone();
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
    let mut events = vec![about(EventCode::EffectPlanned, json!({ "effect": { "session_id": session_id, "agent": plan.agent } }))];
    events.extend(birth(cx, job, &plan)?);
    cx.journal.append(events)?;
    let failed = |s: &Session, failure: &Failure| (!s.state.is_terminal()).then(|| Move::new(SessionState::Failed, reason_of(failure)).with(json!({ "fault": failure.message })));
    let begun = if plan.driver == Driver::Human { claim(cx, session_id) } else { begin_process(cx, session_id, cleared).map(drop) };
    if let Err(failure) = begun {
        move_if(cx, session_id, None, |s| failed(s, &failure))?;
        return Err(failure);
    }
    let runner = cx.require_runner()?;
    delivery::next(&runner, session_id, Occasion::TurnOver)?;
    // No turn has begun and none waits for a slot: it waits for a person.
    let idle = |s: &Session| s.state == SessionState::Created || (s.state == SessionState::Blocked && s.state_reason == StateReason::Dispatching && s.queued_run.is_none());
    move_if(cx, session_id, None, |s| idle(s).then(|| Move::new(SessionState::Blocked, StateReason::InputWait)))?;
    Ok(Done::Finished(Effect::default().with("session_id", session_id.to_string())))
}

/// Why a session is FAILED whose agent could not be started.
fn reason_of(failure: &Failure) -> StateReason {
    match failure.code {
        Code::SboxTimeout => StateReason::Timeout,
        Code::SandboxUnavailable => StateReason::IsolationMissing,
        _ => StateReason::AgentExit,
    }
}

/// A person takes the worktree; there is no process to start.
fn claim(cx: &Context, session_id: SessionId) -> Outcome<()> {
    let capabilities = BackendCapabilities { driver: Driver::Human, ..BackendCapabilities::default() };
    note(cx, &ledger::session(cx.ports.recorder.as_ref(), session_id)?, json!({ "capabilities": capabilities }))
}

/// Starts the process and records what became known of it. The session's state is the caller's.
pub(super) fn begin_process(cx: &Context, session_id: SessionId, cleared: Cleared<SessionStartPlan>) -> Outcome<StartedAgent> {
    let runner = cx.require_runner()?;
    let host = Arc::new(Host::new(Arc::clone(&runner)));
    let waived = cleared.body().waiver.map(|waiver_id| (cleared.body().workspace_id, waiver_id));
    // An earlier agent of the session was ended by us; this one's exit is news again.
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).remove(&session_id);
    let waiver_is_over = || Failure::new(Code::SandboxUnavailable, "the waiver of the sandbox ended while the agent started");
    let _under_way = match waived {
        Some((workspace_id, waiver_id)) => Some(cx.unconfined_starts.begin(cx, session_id, workspace_id, waiver_id)?.ok_or_else(waiver_is_over)?),
        None => None,
    };
    let still_waived = || waived.map_or(Ok(true), |(workspace_id, waiver_id)| crate::waivers::holds(cx, workspace_id, waiver_id));
    let begun = extras(cx, session_id).and_then(|extras| {
        let is_handed = extras.mcp.is_some();
        cx.ports.sessions.start(session_id, cleared, extras, host).map(|started| (started, is_handed))
    });
    let (started, is_handed) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            host::forget_agent(cx, session_id);
            // Then it was ended with its waiver, whatever it said about that.
            return Err(if still_waived()? { failure } else { waiver_is_over() });
        }
    };
    let session = ledger::session(cx.ports.recorder.as_ref(), session_id)?;
    if session.state.is_terminal() {
        // Cancelled while it started.
        host::stop_agent(cx, session_id)?;
        return Err(Failure::new(Code::Canceled, "the session was cancelled while its agent started"));
    }
    note(
        cx,
        &session,
        json!({
            "agent_session_id": started.agent_session_id, "process": started.process, "posture": started.posture,
            "model_id": started.model_id, "agent_info": started.agent_info, "capabilities": started.capabilities,
            "resumed": started.resumed, "tools": is_handed && started.capabilities.mcp,
        }),
    )?;
    if !still_waived()? {
        host::stop_agent(cx, session_id)?;
        return Err(waiver_is_over());
    }
    host::beats::tend(&runner);
    Ok(started)
}

/// The agent's way to DCC's tools, when this process serves them.
fn extras(cx: &Context, session_id: SessionId) -> Outcome<StartExtras> {
    cx.agent_door.get().map_or_else(|| Ok(StartExtras::default()), |door| door.hand_out(session_id))
}

/// A start that waited and was refused or withdrawn: its session ends with it.
pub(super) fn gave_up(cx: &Context, job: &Job, failure: &Failure) -> Outcome<()> {
    // The binding may be the parent's or the predecessor's, which a refusal does not touch.
    let birth = EventFilter { job_id: Some(job.job_id), codes: vec![EventCode::SessionCreated], limit: 1, ..EventFilter::default() };
    let Some(id) = cx.ports.recorder.read(&birth)?.first().and_then(|event| event.session_id) else { return Ok(()) };
    super::drop_run(cx, job, id)?;
    let ends = match failure.code {
        Code::Canceled => Move::new(SessionState::Cancelled, StateReason::CancelledByOperator),
        _ => Move::new(SessionState::Failed, StateReason::CapabilityMissing),
    };
    let ends = ends.with(json!({ "fault": failure.message }));
    move_if(cx, id, None, |s| matches!(s.state, SessionState::Created | SessionState::Paused).then_some(ends)).map(drop)
}
