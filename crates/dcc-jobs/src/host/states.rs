//! What belongs to a session now: its running turn, its open requests, the wait for a decision in its name.

use std::sync::PoisonError;
use std::time::Duration;

use dcc_core::event::{Correlation, EventCode};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, Outcome};

use super::moves::{Move, move_if};
use crate::context::Context;
use crate::ledger;
use crate::runner::Runner;

pub(crate) fn workspace_of(cx: &Context, session: &Session) -> Outcome<Workspace> {
    let id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
    ledger::workspace(cx.ports.recorder.as_ref(), id)
}

pub(crate) fn session_correlation(session: &Session) -> Correlation {
    Correlation {
        wp_id: session.wp_id.clone(),
        mt_id: session.mt_id.clone(),
        session_id: Some(session.session_id),
        workspace_id: session.workspace_id,
        job_id: session.running_job_id,
        workflow_run_id: session.running_job_id,
        approval_id: None,
        tool_call_id: None,
    }
}

/// The turn that runs in the session, by canon.
pub(crate) fn running_turn(cx: &Context, id: SessionId) -> Outcome<Option<JobId>> {
    let filter = JobFilter { states: vec![JobState::Running], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    Ok(cx.ports.store.jobs(&filter)?.first().map(|j| j.job_id))
}

/// Waits for a decision in the session's name. The session shows as blocked until the last such wait is over; then it is
/// at work again, when somebody still wants the answer. `limit` none waits until the job is over.
pub(super) fn wait_decided(runner: &Runner, id: SessionId, job: &Job, limit: Option<Duration>, is_wanted: impl Fn() -> bool) -> Outcome<Job> {
    wait_decided_or(runner, id, job, limit, is_wanted, || false)
}

/// As [`wait_decided`], also until `done`: for a job that is of use before it is over.
pub(super) fn wait_decided_or(
    runner: &Runner,
    id: SessionId,
    job: &Job,
    limit: Option<Duration>,
    is_wanted: impl Fn() -> bool,
    done: impl Fn() -> bool,
) -> Outcome<Job> {
    let cx = &runner.cx;
    if running_turn(cx, id)?.is_none() {
        // Nothing of the session runs that could show as blocked.
        return runner.wait_or(job.job_id, limit, done);
    }
    let waits = |change: fn(u32) -> u32| {
        let mut held = cx.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(id).or_default();
        *count = change(*count);
        let left = *count;
        held.retain(|_, count| *count > 0);
        left
    };
    let is_first = waits(|count| count + 1) == 1;
    let waited = show_waiting(cx, id, job).and_then(|()| {
        if is_first {
            runner.lend_slot();
        }
        runner.wait_or(job.job_id, limit, done)
    });
    let left = waits(|count| count.saturating_sub(1));
    let job = waited?;
    if left == 0 && running_turn(cx, id)?.is_some() && is_wanted() {
        let goes_on = |s: &Session| (s.state == SessionState::Blocked && s.state_reason == StateReason::ApprovalWait).then(|| Move::new(SessionState::Active, StateReason::Running));
        move_if(cx, id, Some(job.root_job_id), goes_on)?;
    }
    Ok(job)
}

/// A request that waits is a boundary: a session that is to rest rests here, any other shows as blocked. One that rests
/// shows that it rests, whatever it waits for besides.
fn show_waiting(cx: &Context, id: SessionId, job: &Job) -> Outcome<()> {
    let moved = move_if(cx, id, Some(job.root_job_id), |s| match cx.holds.asked(id) {
        Some(reason) => s.has_turn().then(|| Move::new(SessionState::Paused, reason)),
        None => (s.state == SessionState::Active).then(|| Move::new(SessionState::Blocked, StateReason::ApprovalWait)),
    })?;
    if moved == Some(SessionState::Paused) {
        cx.holds.reach(id);
    }
    Ok(())
}

/// Cancels the requests of a session that are of no use without its agent, which is gone.
pub(crate) fn cancel_pending(runner: &Runner, id: SessionId, why: &str) -> Outcome<()> {
    cancel_those(runner, id, why, |_| true)
}

/// Cancels the requests whose effect is an answer that nobody in the turn waits for any more. What stands by itself, as a
/// commit does, goes on waiting for its decision while the agent lives.
pub(crate) fn cancel_answers(runner: &Runner, id: SessionId, why: &str) -> Outcome<()> {
    cancel_those(runner, id, why, |op| matches!(op, Op::CapabilityRequest | Op::FsWrite | Op::SandboxRunCommand))
}

fn cancel_those(runner: &Runner, id: SessionId, why: &str, is_meant: impl Fn(Op) -> bool) -> Outcome<()> {
    let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
    for job in runner.cx.ports.store.jobs(&filter)? {
        // A person's own request that names the session (a commit) is not the agent's and stays.
        if job.actor.is_operator() || !is_meant(job.op) {
            continue;
        }
        if let Some(approval_id) = job.approval_id {
            let failure = Failure::new(Code::Canceled, why.to_owned());
            runner.end_pending(approval_id, EventCode::ApprovalStale, "cancelled", JobState::Cancelled, failure)?;
        }
    }
    Ok(())
}
