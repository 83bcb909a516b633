//! Runs that wait for a slot, and what begins when one is free (SESSIONS 3).
//!
//! Authority: who runs is ephemeral, it is this process's own agents; who waits is canon: a queued job with a stored plan.
//! Invariants: a slot is taken before the run begins and given back when its job ends, and lent to others while its
//! session waits for a person's decision: it goes on after the yes without waiting for a slot, so that what runs may pass
//! a limit by as many as were decided, and nothing begins until it is below; a run that waits is seen in its
//! session and is never lost: another process takes it up from its job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::JobId;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::session::{self, Occupied, Run, SessionState, StateReason};
use dcc_core::{Code, Failure, Outcome};

use crate::context::Context;
use crate::host::{Move, move_if};
use crate::kinds::{self, Kind, Prepared};
use crate::ledger;
use crate::runner::{Runner, correlation};

/// Operations that are runs.
const RUNS: [Op; 5] = [Op::SessionStart, Op::SessionRun, Op::SessionResume, Op::SessionRetry, Op::SessionSpawn];

/// The runs that hold a slot.
#[derive(Default)]
pub(crate) struct Scheduler {
    runs: Mutex<Vec<Run>>,
    /// The server is stopping: nothing begins any more.
    closed: AtomicBool,
    /// One choice at a time, so that two ends do not give one slot away twice.
    choosing: Mutex<()>,
}

impl Scheduler {
    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes a slot, or says which limit stands against it. A run that has one keeps it.
    pub fn claim(&self, cx: &Context, run: &Run) -> Result<(), String> {
        let mut runs = self.runs();
        if runs.iter().any(|r| r.job_id == run.job_id) {
            return Ok(());
        }
        if self.closed.load(Ordering::Acquire) {
            return Err("the server is stopping".to_owned());
        }
        let occupied = occupied(cx, &runs);
        session::fits(run, &occupied, &cx.config.limits.runs)?;
        runs.push(run.clone());
        Ok(())
    }

    /// Gives a slot back; true when the job held one.
    pub fn release(&self, job_id: JobId) -> bool {
        let mut runs = self.runs();
        let before = runs.len();
        runs.retain(|r| r.job_id != job_id);
        runs.len() < before
    }
}

/// What stands against another run: a session that waits for a person's decision keeps its run and its process and counts
/// for neither the sessions that run nor its provider.
fn occupied(cx: &Context, runs: &[Run]) -> Occupied {
    let held = cx.held.lock().unwrap_or_else(PoisonError::into_inner);
    Occupied { live: live(cx, runs), runs: runs.iter().filter(|run| !held.contains_key(&run.session_id)).cloned().collect() }
}

/// Agent processes that live or are about to.
fn live(cx: &Context, runs: &[Run]) -> usize {
    let live = cx.ports.sessions.live();
    live.len() + runs.iter().filter(|r| r.cold && !live.contains(&r.session_id)).count()
}

impl Runner {
    /// Records that a permitted run waits: its plan, its session, and which limit it waits for.
    pub(crate) fn wait_for_slot(self: &Arc<Self>, job: &Job, kind: &dyn Kind, prepared: &Prepared, run: &Run, why: &str, mut events: Vec<NewEvent>) -> Outcome<Job> {
        if job.state != JobState::Queued {
            // Only queued runs are taken up again: one that a person has just approved would wait for ever.
            return self.end_failed(job, Failure::new(Code::RateLimit, why.to_owned()).hint("ask again when a slot is free"), events);
        }
        events.extend(kind.waits(&self.cx, job, &prepared.plan)?);
        let mut queued = self.about(job, EventCode::RunQueued, json!({ "why": why, "lane": run.lane }));
        queued.correlation.session_id = Some(run.session_id);
        events.push(queued);
        self.cx.journal.append(events)?;
        move_if(&self.cx, run.session_id, Some(job.job_id), |s| match (s.state, s.state_reason) {
            (SessionState::Created, _) if !run.cold => Some(Move::new(SessionState::Blocked, StateReason::Dispatching)),
            (SessionState::Blocked, StateReason::InputWait | StateReason::ToolError) => Some(Move::new(SessionState::Blocked, StateReason::Dispatching)),
            _ => None,
        })?;
        // A slot may have come free between the refusal and the record.
        self.dispatch_waiting();
        ledger::job(self.cx.ports.recorder.as_ref(), job.job_id)
    }

    /// Begins what fits now, each on a thread of its own.
    pub(crate) fn dispatch_waiting(self: &Arc<Self>) {
        if let Err(failure) = self.try_dispatch() {
            eprintln!("dcc: runs that wait could not be looked at: {failure}");
        }
    }

    fn try_dispatch(self: &Arc<Self>) -> Outcome<()> {
        let _one = self.cx.scheduler.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self.waiting_runs()?;
        while !waiting.is_empty() {
            let occupied = occupied(&self.cx, &self.cx.scheduler.runs());
            let Some(place) = session::next(&waiting, &occupied, &self.cx.config.limits.runs, self.cx.now()) else { return Ok(()) };
            let run = waiting.remove(place);
            if self.cx.scheduler.claim(&self.cx, &run).is_err() {
                return Ok(());
            }
            let runner = Arc::clone(self);
            let job_id = run.job_id;
            let spawned = std::thread::Builder::new().name(format!("job {}", job_id.short())).spawn(move || {
                if let Err(failure) = runner.dispatch(job_id) {
                    runner.cx.scheduler.release(job_id);
                    eprintln!("dcc: job {job_id}: {failure}");
                }
            });
            if let Err(e) = spawned {
                self.cx.scheduler.release(job_id);
                return Err(Failure::engine(format!("no thread for a waiting run: {e}")));
            }
        }
        Ok(())
    }

    /// Runs that wait, oldest first. What belongs to a session that rests is not among them.
    fn waiting_runs(&self) -> Outcome<Vec<Run>> {
        let mut waiting = Vec::new();
        let held: Vec<JobId> = self.cx.scheduler.runs().iter().map(|r| r.job_id).collect();
        for op in RUNS {
            for found in self.cx.ports.store.jobs(&JobFilter { states: vec![JobState::Queued], op: Some(op), ..JobFilter::default() })? {
                // Without a plan it is being planned by another thread this very moment.
                if found.plan_artifact.is_none() || held.contains(&found.job_id) {
                    continue;
                }
                let job = ledger::job(self.cx.ports.recorder.as_ref(), found.job_id)?;
                if job.state != JobState::Queued {
                    continue;
                }
                let Some(run) = kinds::kind_of(op)?.run(&self.cx, &job, &self.stored_plan(&job)?)? else { continue };
                let rests = ledger::session(self.cx.ports.recorder.as_ref(), run.session_id).is_ok_and(|s| s.state == SessionState::Paused && op != Op::SessionResume);
                if !rests {
                    waiting.push(run);
                }
            }
        }
        waiting.sort_by_key(|run| (run.queued_at, run.job_id));
        Ok(waiting)
    }

    /// Takes a waiting job up from its stored plan: every gate looks at it again.
    fn dispatch(self: &Arc<Self>, job_id: JobId) -> Outcome<()> {
        let job = ledger::job(self.cx.ports.recorder.as_ref(), job_id)?;
        if job.state != JobState::Queued {
            self.cx.scheduler.release(job_id);
            return Ok(());
        }
        let kind = kinds::kind_of(job.op)?;
        let prepared = match self.stored_plan(&job).and_then(|plan| kind.reload(plan)) {
            Ok(prepared) => prepared,
            Err(failure) => return self.end_failed(&job, failure, Vec::new()).map(drop),
        };
        let begun = NewEvent::new(EventCode::RunDispatched, job.actor, json!({})).about(&correlation(&job));
        self.execute(&job, kind, prepared, vec![begun], None).map(drop)
    }
}
