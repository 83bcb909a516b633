//! session.cancel: the session and all that descends from it, one event for all; `CANCELLED` is said of each only when its
//! process tree is empty. Waits for nobody who steers.

use serde::Deserialize;

use dcc_core::gate::Cleared;
use dcc_core::ids::SessionId;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::plans::{CancelPlan, Descendant, Uncommitted};
use dcc_core::ports::JobFilter;
use dcc_core::session::{self, Session, SessionState, StateReason, Steering};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::host::{self, Move, move_if, require_move};
use crate::runner::Runner;
use crate::{delivery, ledger};

/// Uncommitted paths shown of one worktree; the count says how many there are.
const PATHS_SHOWN: usize = 20;

pub(super) struct Cancel;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    reason: Option<String>,
}

impl JobKind for Cancel {
    type Plan = CancelPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<CancelPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        require_move(cx, &session, SessionState::Cancelled)?;
        if let Some(reason) = &p.reason {
            params::bounded("reason", reason, limits::LINE_BYTES_MAX)?;
        }
        let body = CancelPlan { reason: p.reason, ..what_ends(cx, &session)? };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    fn runs_long(&self) -> bool {
        // Ending a process tree takes up to its grace time.
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<CancelPlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let runner = cx.require_runner()?;
        let root = ledger::session(cx.ports.recorder.as_ref(), plan.session_id)?;
        // Looked up again: a child spawned since the plan ends too, and the event lists it.
        let descendants = descendants(cx, plan.session_id)?;
        let act = Steering::Cancel {
            reason: plan.reason.clone(),
            descendants: descendants.iter().map(|s| s.session_id).collect(),
            uncommitted: plan.uncommitted.iter().map(|u| (u.worktree.clone(), u.count)).collect(),
        };
        cx.journal.append(vec![delivery::steering(job.actor, &root, &act, Some(job.job_id))])?;
        let mut left = Vec::new();
        let all = std::iter::once((&root, StateReason::CancelledByOperator)).chain(descendants.iter().map(|s| (s, StateReason::CancelledByParent)));
        for (session, reason) in all {
            if let Err(failure) = end(&runner, session.session_id, reason, plan.reason.as_deref()) {
                left.push(format!("session {}: {}", session.session_id.short(), failure.message));
            }
        }
        if left.is_empty() {
            let cancelled: Vec<String> = std::iter::once(&root).chain(&descendants).map(|s| s.session_id.to_string()).collect();
            return Ok(Done::Finished(Effect::default().with("cancelled", cancelled)));
        }
        Err(Failure::new(Code::AgentFailed, format!("not everything could be ended: {}", left.join("; "))).hint("ask again; what is left is not shown as cancelled"))
    }

    fn recover(&self, cx: &Context, _job: &Job, body: &CancelPlan) -> Outcome<Recovered> {
        let is_over = ledger::session(cx.ports.recorder.as_ref(), body.session_id)?.state.is_terminal();
        Ok(if is_over { Recovered::Finished(Effect::default()) } else { Recovered::Unknown("the session was being cancelled; its processes ended with the server".to_owned()) })
    }
}

impl Runner {
    /// What would end with a session and what would stay uncommitted: for a dialog before anybody cancels.
    pub fn what_ends(&self, id: SessionId) -> Outcome<CancelPlan> {
        what_ends(&self.cx, &ledger::session(self.cx.ports.recorder.as_ref(), id)?)
    }
}

fn what_ends(cx: &Context, session: &Session) -> Outcome<CancelPlan> {
    let descendants = descendants(cx, session.session_id)?;
    let mut workspaces: Vec<_> = std::iter::once(session).chain(&descendants).filter_map(|s| s.workspace_id).collect();
    workspaces.sort();
    workspaces.dedup();
    let mut uncommitted = Vec::new();
    for workspace_id in workspaces {
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
        // A worktree that cannot be read now holds back no cancelling.
        let Ok(status) = cx.ports.version.status(&workspace.binding) else { continue };
        if !status.entries.is_empty() {
            let paths = status.entries.iter().take(PATHS_SHOWN).map(|e| e.path.display()).collect();
            uncommitted.push(Uncommitted { workspace_id, worktree: workspace.binding.worktree_path, count: status.entries.len(), paths });
        }
    }
    let descendants = descendants.iter().map(|s| Descendant { session_id: s.session_id, agent: s.agent.clone(), state: s.state.as_str().to_owned() }).collect();
    Ok(CancelPlan { session_id: session.session_id, reason: None, descendants, uncommitted })
}

/// Every open session below this one, nearest first.
fn descendants(cx: &Context, id: SessionId) -> Outcome<Vec<Session>> {
    let open = cx.ports.store.open_sessions()?;
    // One between may have ended, and is not among them.
    let parent_of = |above| ledger::session(cx.ports.recorder.as_ref(), above).ok()?.parent_session_id;
    Ok(session::open_below(id, &open, parent_of).into_iter().cloned().collect())
}

/// Ends one session: what waits and what is asked first, then the agent and its tree, then the word.
fn end(runner: &Runner, id: SessionId, reason: StateReason, why: Option<&str>) -> Outcome<()> {
    let cx = &runner.cx;
    cx.holds.forgo(id);
    host::mark_stopping(cx, id);
    drop_queued_starts(runner, id)?;
    delivery::drop_queued_turns(runner, id, "the session was cancelled")?;
    host::cancel_pending(runner, id, "the session was cancelled")?;
    host::stop_agent(cx, id)?;
    if let Some(turn) = host::running_turn(cx, id)? {
        super::end_turn(runner, turn, Ok("cancelled".into()))?;
    }
    crate::budgets::settle(runner, id)?;
    let extra = serde_json::json!({ "closing": why });
    move_if(cx, id, None, |s| (!s.state.is_terminal()).then(|| Move::new(SessionState::Cancelled, reason).with(extra)))?;
    host::let_go(cx, id);
    Ok(())
}

/// Starts of the session that wait for a slot.
fn drop_queued_starts(runner: &Runner, id: SessionId) -> Outcome<()> {
    for op in [Op::SessionStart, Op::SessionRetry, Op::SessionSpawn, Op::SessionResume] {
        let filter = JobFilter { states: vec![JobState::Queued], op: Some(op), session_id: Some(id), ..JobFilter::default() };
        for found in runner.cx.ports.store.jobs(&filter)? {
            let job = ledger::job(runner.cx.ports.recorder.as_ref(), found.job_id)?;
            if job.state == JobState::Queued && job.plan_artifact.is_some() {
                runner.end(&job, JobState::Cancelled, Failure::new(Code::Canceled, "the session was cancelled"), Vec::new())?;
            }
        }
    }
    Ok(())
}
