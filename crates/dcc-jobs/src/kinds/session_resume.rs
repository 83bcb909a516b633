//! session.resume: a resting session goes on, where its agent lives, or with a new process of it.
//!
//! Invariants: before anything goes on, its workspace, HEAD, locks, packet and grants are looked at again; a check that
//! fails leaves the session BLOCKED with its reason, and records that are lost or changed end it; an agent that cannot take its conversation up is told DCC's own
//! summary, and the events say so. Nothing calls this but a person.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::EventCode;
use dcc_core::gate::Cleared;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::ports::sessions::{ResumeStyle, Steer};
use dcc_core::ports::version::index_locked;
use dcc_core::ports::{EventFilter, JobFilter, Order};
use dcc_core::principal::Actor;
use dcc_core::session::{Run, Session, SessionState, Source, StateReason, Steering, is_prompt};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, launch, params, session_retry};
use crate::context::Context;
use crate::delivery::{self, Occasion, Outgoing};
use crate::host::steers::Steers;
use crate::host::{self, Move, checkpoints, move_if, note};
use crate::ledger;
use crate::runner::Runner;

/// Told to an agent whose turn was ended, when nothing else waits for it.
const GO_ON: &str = "Your last turn was ended before you had finished it, because the session was paused or the command center stopped. \
                     Look at the state of the worktree, then go on where you stopped.";

pub(super) struct Resume;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// What the agent is told first, in place of the request to go on.
    prompt: Option<String>,
}

impl JobKind for Resume {
    type Plan = SessionStartPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SessionStartPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        require_resting(cx, &session)?;
        // It would only rest again, with its messages.
        crate::budgets::require_room(cx, &session)?;
        if let Some(prompt) = &p.prompt {
            params::bounded("prompt", prompt, limits::TEXT_BYTES_MAX)?;
        }
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
        let in_place = cx.ports.sessions.live().contains(&session.session_id) || waits_to_start(cx, &session)?;
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
        let takes_up = session.capabilities.as_ref().is_none_or(|c| c.resume != ResumeStyle::None);
        let body = SessionStartPlan {
            prompt: p.prompt,
            purpose: session.purpose.clone(),
            paths: session.paths.clone(),
            budget: session.budget.clone(),
            resume: session.agent_session_id.clone().filter(|_| takes_up && !in_place),
            origin: Origin::Resumed { session_id: session.session_id, in_place },
            ..launch::plan_of(session_retry::agent_of(cx, &session)?, &workspace, session.role, session.lane)
        };
        let body = crate::waivers::confined(cx, body)?;
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }
    fn run(&self, _cx: &Context, job: &Job, body: &SessionStartPlan) -> Outcome<Option<Run>> {
        launch::run_of(job, body)
    }
    fn gave_up(&self, cx: &Context, job: &Job, _failure: &Failure) -> Outcome<()> {
        // The session rests as it did.
        job.bindings.session_id.map_or(Ok(()), |id| super::drop_run(cx, job, id))
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SessionStartPlan>) -> Outcome<Done> {
        let runner = cx.require_runner()?;
        let id = params::session_of(job, cleared.body())?;
        let _steers = Steers::take(cx, id, job)?;
        let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
        if let Err(failure) = readable(cx, &session) {
            let fails = |s: &Session| (!s.state.is_terminal()).then(|| Move::new(SessionState::Failed, StateReason::CheckpointInvalid).with(json!({ "fault": failure.message })));
            move_if(cx, id, Some(job.job_id), fails)?;
            // Nobody is left to hand the rest over to.
            host::stop_agent(cx, id)?;
            host::let_go(cx, id);
            return Err(failure.hint("dcc session retry S begins anew in the same worktree"));
        }
        let mut notes = match check(cx, &session) {
            Ok(notes) => notes,
            Err((reason, failure)) => {
                let fault = json!({ "fault": failure.message });
                move_if(cx, id, Some(job.job_id), |s| (!s.state.is_terminal()).then(|| Move::new(SessionState::Blocked, reason).with(fault)))?;
                return Err(failure);
            }
        };
        let plan = cleared.body().clone();
        if !plan.is_in_place() {
            restart(cx, job, &session, cleared, &mut notes)?;
        }
        let effect = go_on(&runner, job, &session, &plan, notes)?;
        Ok(Done::Finished(effect))
    }

    fn recover(&self, _cx: &Context, job: &Job, body: &SessionStartPlan) -> Outcome<Recovered> {
        if body.is_in_place() || job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        Ok(launch::recovered(job))
    }
}

/// Only what rests is resumed: paused, or blocked for a reason that a person clears.
fn require_resting(cx: &Context, session: &Session) -> Outcome<()> {
    match (session.state, session.state_reason) {
        (SessionState::Paused, _) => Ok(()),
        (SessionState::Blocked, StateReason::InputWait | StateReason::ApprovalWait | StateReason::ReviewWait | StateReason::Dispatching) => {
            Err(Failure::new(Code::IllegalTransition, format!("session {} does not rest: it is BLOCKED, {}", session.session_id.short(), session.state_reason.as_str()))
                .hint("send it a message, or decide what it waits for"))
        }
        (SessionState::Blocked, _) => Ok(()),
        _ => {
            host::require_move(cx, session, SessionState::Active)?;
            Err(Failure::new(Code::IllegalTransition, format!("session {} is {}: only a resting session is resumed", session.session_id.short(), session.state.as_str())))
        }
    }
}

/// Its start waits for a slot: there is nothing to take up yet.
fn waits_to_start(cx: &Context, session: &Session) -> Outcome<bool> {
    let Some(queued) = &session.queued_run else { return Ok(false) };
    Ok(ledger::job(cx.ports.recorder.as_ref(), queued.job_id)?.state == JobState::Queued)
}

/// What the session is to go on from is there, word for word: what waits to be told, and the summary of what went before.
/// A recorder that cannot be read now says nothing about the session.
fn readable(cx: &Context, session: &Session) -> Outcome<()> {
    let texts = session.waiting.iter().filter(|m| m.is_waiting()).map(|m| m.text_ref).chain(session.seed);
    for text in texts {
        match delivery::text_of(cx, text) {
            Err(failure) if matches!(failure.code, Code::NotFoundArtifact | Code::Integrity) => {
                return Err(Failure::new(Code::Integrity, format!("the session cannot be taken up from its records: {}", failure.message)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Looks at the world again. Notes are what changed and does not stand against going on.
fn check(cx: &Context, session: &Session) -> Result<Vec<String>, (StateReason, Failure)> {
    let blocked = |reason| move |failure| (reason, failure);
    let workspace_id = session.workspace_id.ok_or_else(|| (StateReason::IsolationMissing, Failure::new(Code::Scope, "the session has no workspace")))?;
    let workspace = launch::usable(cx, workspace_id).map_err(blocked(StateReason::IsolationMissing))?;
    if workspace.wp_id != session.wp_id {
        let failure = Failure::new(Code::Scope, "the worktree is bound to another packet than the session").hint("link it back (dcc ws link), or route the packet to the session");
        return Err((StateReason::IsolationMissing, failure));
    }
    // What stands still in the midst of its own work with git cannot let go of it before it goes on.
    let is_own = session.frozen_until.is_some();
    match cx.ports.version.operation_in_progress(&workspace.binding) {
        Ok(None) => {}
        Ok(Some(_)) if is_own => {}
        Ok(Some(what)) => return Err((StateReason::MergeConflict, Failure::new(Code::VcsConflict, format!("a {what} is in progress in the worktree")).hint(format!("finish or abort the {what} first")))),
        Err(failure) => return Err((StateReason::LockConflict, failure)),
    }
    match cx.ports.version.index_lock(&workspace.binding) {
        Ok(None) => {}
        Ok(Some(_)) if is_own => {}
        Ok(Some((path, age))) => return Err((StateReason::LockConflict, index_locked(&path, age))),
        Err(failure) => return Err((StateReason::LockConflict, failure)),
    }
    let mut notes = Vec::new();
    if let (Some(then), Some(now)) = (head_at_rest(cx, session), checkpoints::head(cx, session)) {
        let branch = |head: &str| head.split('@').next().unwrap_or_default().to_owned();
        if branch(&then) != branch(&now) {
            let failure = Failure::new(Code::VcsHeadMoved, format!("HEAD was {then} when the session came to rest, it is {now}")).hint("check the branch out again, or close the session");
            return Err((StateReason::IsolationMissing, failure));
        }
        if then != now {
            notes.push(format!("HEAD moved while it rested: {then} -> {now}"));
        }
    }
    let grants = ledger::grants(cx.ports.recorder.as_ref(), Some(workspace_id), cx.now()).map_err(blocked(StateReason::CapabilityMissing))?;
    let (live, gone): (Vec<_>, Vec<_>) = grants.iter().filter(|g| g.binding.session_id == Some(session.session_id)).partition(|g| !g.revoked && g.used < g.max_uses && cx.now() < g.expires_at);
    if !gone.is_empty() {
        notes.push(format!("{} grants of it are over, {} hold", gone.len(), live.len()));
    }
    Ok(notes)
}

/// HEAD by the last checkpoint that names one.
fn head_at_rest(cx: &Context, session: &Session) -> Option<String> {
    let filter = EventFilter { session_id: Some(session.session_id), codes: vec![EventCode::SessionCheckpoint], order: Order::Descending, limit: 50, ..EventFilter::default() };
    cx.ports.recorder.read(&filter).ok()?.iter().find_map(|e| e.payload["head"].as_str().map(str::to_owned))
}

/// Starts the agent anew and says whether it took its conversation up.
fn restart(cx: &Context, job: &Job, session: &Session, cleared: Cleared<SessionStartPlan>, notes: &mut Vec<String>) -> Outcome<()> {
    let effect = json!({ "effect": { "session_id": session.session_id, "agent": session.agent } });
    cx.journal.append(vec![dcc_core::event::NewEvent::new(EventCode::EffectPlanned, job.actor, effect).about(&crate::runner::correlation(job))])?;
    let asked = cleared.body().resume.is_some();
    // What its old process was asked is over with it; it shows as stale and is never answered.
    let started = launch::begin_process(cx, session.session_id, cleared)?;
    if started.resumed {
        notes.push("the agent took its conversation up".to_owned());
        return Ok(());
    }
    let why = if asked { "the agent could not take its conversation up" } else { "the agent cannot take a conversation up" };
    notes.push(format!("{why}: a new one begins with DCC's summary of what went before"));
    let seed = cx.ports.artifacts.put(summary(cx, session)?.as_bytes())?;
    note(cx, session, json!({ "seed": seed }))
}

/// What went before, from the records: what was asked, what the agent said last, what it did.
fn summary(cx: &Context, session: &Session) -> Outcome<String> {
    let recorder = cx.ports.recorder.as_ref();
    let said = EventFilter { session_id: Some(session.session_id), codes: vec![EventCode::SessionMessage], order: Order::Descending, limit: 200, ..EventFilter::default() };
    let said = recorder.read(&said)?;
    let of = |role: fn(&str) -> bool, max: usize| {
        let mut lines: Vec<String> = said.iter().filter(|e| e.payload["role"].as_str().is_some_and(role)).filter_map(|e| e.payload["text"].as_str()).take(max).map(|t| format!("- {}", host::cut_text(t, 1_500))).collect();
        lines.reverse();
        if lines.is_empty() { "- nothing".to_owned() } else { lines.join("\n") }
    };
    let calls = cx.ports.store.tool_calls(Some(session.session_id), 0, limits::PAGE_MAX)?;
    let calls: Vec<String> = calls.iter().rev().take(30).rev().map(|c| format!("- {} ({})", host::cut_text(&c.tool.title, 200), json!(c.tool.status).as_str().unwrap_or_default())).collect();
    Ok(format!(
        "An earlier conversation about this work ended and could not be taken up. This is the command center's own summary of it, from its records; the worktree holds what was done.\n\
         What was asked, oldest first:\n{}\nThe agent said last:\n{}\nIt did last:\n{}",
        of(is_prompt, 10),
        of(|role| role == "agent", 5),
        if calls.is_empty() { "- nothing".to_owned() } else { calls.join("\n") },
    ))
}

/// Moves the session on, lets held answers go, and delivers what waits.
fn go_on(runner: &Arc<Runner>, job: &Job, session: &Session, plan: &SessionStartPlan, notes: Vec<String>) -> Outcome<Effect> {
    let cx = &runner.cx;
    let id = session.session_id;
    let turn = host::running_turn(cx, id)?;
    let waits = cx.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains_key(&id);
    let queued = session.queued_run.is_some();
    let goes = |s: &Session| {
        let to = match turn {
            _ if s.state.is_terminal() => return None,
            Some(_) if waits => Move::new(SessionState::Blocked, StateReason::ApprovalWait),
            Some(_) => Move::new(SessionState::Active, StateReason::Running),
            None if queued => Move::new(SessionState::Blocked, StateReason::Dispatching),
            None => Move::new(SessionState::Blocked, StateReason::InputWait),
        };
        Some(to)
    };
    if move_if(cx, id, turn.or(Some(job.job_id)), goes)?.is_none() {
        return Err(Failure::new(Code::Canceled, "the session ended meanwhile"));
    }
    let mut events = Vec::new();
    if session.frozen_until.is_some() {
        events.push(delivery::steering(Actor::SYSTEM, session, &Steering::Thawed { why: "resumed".into() }, Some(job.job_id)));
    }
    events.push(delivery::steering(job.actor, session, &Steering::Resumed { in_place: plan.is_in_place(), notes: notes.clone() }, Some(job.job_id)));
    cx.journal.append(events)?;
    cx.requests.forget(id);
    if session.frozen_until.is_some() {
        cx.ports.sessions.thaw(id)?;
        cx.commands.thaw(id)?;
    }
    cx.holds.release(id);
    end_stalled(runner, id)?;
    let words = plan.prompt.as_deref().map(|prompt| (prompt, Source::Operator)).or_else(|| {
        let is_cut = session.cut_turn.is_some() && turn.is_none() && session.next_message().is_none();
        is_cut.then_some((GO_ON, Source::Dcc))
    });
    if let Some((text, source)) = words {
        delivery::enqueue(cx, id, job, &Outgoing { text, when: Steer::Queue, source, from: job.actor, job_id: job.job_id })?;
    }
    let mut effect = Effect::default().with("in_place", plan.is_in_place()).with("notes", json!(notes));
    if let Some(turn) = delivery::next(runner, id, Occasion::Person)? {
        effect = effect.with("turn_job_id", turn.job_id.to_string());
    }
    runner.dispatch_waiting();
    Ok(effect)
}

/// A turn that a crash left without an end is over now: the session goes on in another.
fn end_stalled(runner: &Runner, id: dcc_core::SessionId) -> Outcome<()> {
    let filter = JobFilter { states: vec![JobState::Stalled], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    for found in runner.cx.ports.store.jobs(&filter)? {
        let job = ledger::job(runner.cx.ports.recorder.as_ref(), found.job_id)?;
        if job.state == JobState::Stalled {
            runner.end(&job, JobState::Cancelled, Failure::new(Code::Canceled, "its agent ended with the crash; the session was resumed"), Vec::new())?;
        }
    }
    Ok(())
}
