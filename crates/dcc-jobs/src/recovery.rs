//! Taking a project up after whatever happened: jobs of another instance, sessions without a process, requests whose
//! plan no longer holds. The world is asked, never memory; nothing resumes by itself that a person should resume.

mod sessions;

use std::sync::Arc;

use serde_json::json;

use dcc_core::approval::ApprovalStatus;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::job::{Job, JobState};
use dcc_core::ports::JobFilter;
use dcc_core::principal::{Actor, Principal};
use dcc_core::{Code, Failure, Outcome};

use crate::kinds::{self, Recovered};
use crate::runner::{Runner, correlation};
use crate::{ledger, preconditions};

/// What taking up found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub finished: usize,
    pub failed: usize,
    pub stalled: usize,
    pub paused_sessions: usize,
    pub stale_approvals: usize,
    /// Jobs that could not be settled; what stood against it is on standard error.
    pub unsettled: usize,
    pub drift: Vec<(String, String)>,
}

impl RecoveryReport {
    pub fn is_quiet(&self) -> bool {
        self.finished + self.failed + self.stalled + self.paused_sessions + self.stale_approvals + self.unsettled == 0
    }
}

impl Runner {
    /// Called by whoever holds the project's lock, before anything else is accepted. `serving` is true for the server,
    /// which also drives jobs that were accepted but never started.
    pub fn recover(self: &Arc<Self>, serving: bool) -> Outcome<RecoveryReport> {
        let mut report = RecoveryReport { drift: self.cx.journal.refresh()?, ..RecoveryReport::default() };
        self.recover_sessions(&mut report)?;
        for job in self.left_by_others(JobState::Running)? {
            // One job that cannot be settled keeps nobody out of the project; it stays as it is, for the next start.
            if let Err(failure) = self.recover_job(&job, &mut report) {
                eprintln!("dcc: job {}: it could not be recovered: {failure}", job.job_id);
                report.unsettled += 1;
            }
        }
        self.check_pending(&mut report)?;
        self.expire_due()?;
        self.end_interrupted(&mut report)?;
        crate::waivers::watch(self);
        self.take_up_queued(serving, &mut report)?;
        self.clear_quarantine()?;
        Ok(report)
    }

    /// Jobs of other instances in a state, oldest first, as canon says.
    fn left_by_others(&self, state: JobState) -> Outcome<Vec<Job>> {
        let mine = self.cx.config.instance_id;
        let mut found = Vec::new();
        let mut filter = JobFilter { states: vec![state], ..JobFilter::default() };
        loop {
            let page = self.cx.ports.store.jobs(&filter)?;
            let Some(last) = page.last() else { break };
            filter.cursor = Some(last.job_id.to_string());
            for derived in page.iter().filter(|j| j.instance_id != mine) {
                let job = ledger::job(self.cx.ports.recorder.as_ref(), derived.job_id)?;
                if job.state == state {
                    found.push(job);
                }
            }
        }
        found.reverse();
        Ok(found)
    }

    /// A person's accepted jobs are acknowledged and are driven by whoever serves; an agent's died with the agent.
    fn take_up_queued(self: &Arc<Self>, serving: bool, report: &mut RecoveryReport) -> Outcome<()> {
        for mut job in self.left_by_others(JobState::Queued)? {
            if !job.actor.is_operator() {
                let failure = Failure::new(Code::Canceled, "the agent that asked is gone; nothing was done");
                self.end_failed(&job, failure, Vec::new())?;
                report.failed += 1;
            } else if serving && job.plan_artifact.is_none() {
                let kind = kinds::kind_of(job.op)?;
                self.start(&mut job, kind)?;
            }
        }
        if serving {
            // Planned and permitted: these waited for a slot.
            self.dispatch_waiting();
        }
        Ok(())
    }

    /// Approved, and the process ended before anything began: nobody was told that it runs, so a person asks again
    /// instead of being surprised by an effect at the next start.
    fn end_interrupted(&self, report: &mut RecoveryReport) -> Outcome<()> {
        for job in self.left_by_others(JobState::AwaitingUser)? {
            let Some(approval_id) = job.approval_id else { continue };
            if ledger::approval(self.cx.ports.recorder.as_ref(), approval_id)?.status != ApprovalStatus::Approved {
                continue;
            }
            let why = "the process ended before what was approved began; nothing was done";
            let stale = self.about_approval(&job, EventCode::ApprovalStale, approval_id, json!({ "status": "stale", "reason": why }));
            self.end_failed(&job, Failure::new(Code::Canceled, why).hint("ask again"), vec![stale])?;
            report.failed += 1;
        }
        Ok(())
    }

    fn recover_job(self: &Arc<Self>, job: &Job, report: &mut RecoveryReport) -> Outcome<()> {
        let about = |code, payload| NewEvent::new(code, Actor::SYSTEM, payload).about(&correlation(job));
        self.cx.journal.append(vec![about(EventCode::RecoveryStarted, json!({ "op": job.op, "effect": job.effect }))])?;
        let kind = kinds::kind_of(job.op)?;
        let found = match self.stored_plan(job) {
            Ok(plan) => kind.recover(&self.cx, job, plan),
            Err(failure) => Err(failure),
        };
        let resolved = |how: &str, why: &str| about(EventCode::RecoveryResolved, json!({ "resolved": how, "evidence": why }));
        match found {
            Ok(Recovered::Finished(mut effect)) => {
                effect.events.insert(0, resolved("finished", "the planned effect is in the world"));
                self.finish(job, effect)?;
                report.finished += 1;
            }
            Ok(Recovered::Absent) => {
                let failure = Failure::new(Code::Canceled, "the process ended before the effect; nothing was done").hint("ask again");
                self.end_failed(job, failure, vec![resolved("failed", "the planned effect is not in the world")])?;
                report.failed += 1;
            }
            Ok(Recovered::Unknown(why)) => self.stall(job, &why, resolved("stalled", &why), report)?,
            Err(failure) => self.stall(job, &failure.message, resolved("stalled", &failure.message), report)?,
        }
        Ok(())
    }

    fn stall(&self, job: &Job, why: &str, resolved: NewEvent, report: &mut RecoveryReport) -> Outcome<()> {
        dcc_core::job::step(job.state, JobState::Stalled)?;
        let failure = Failure::new(Code::JobNotResumable, why.to_owned()).hint("look at the evidence, then cancel the job: dcc job cancel JOB");
        let stalled = self.about(job, EventCode::JobStateChange, json!({ "from": job.state, "to": JobState::Stalled, "failure": failure }));
        self.cx.journal.append(vec![resolved, stalled.once(job.move_key())])?;
        report.stalled += 1;
        Ok(())
    }

    /// Pending requests survive when their plan still holds; an agent's request dies with its agent.
    fn check_pending(&self, report: &mut RecoveryReport) -> Outcome<()> {
        for pending in self.cx.ports.store.pending_approvals()? {
            let approval = ledger::approval(self.cx.ports.recorder.as_ref(), pending.approval_id)?;
            if approval.status != ApprovalStatus::Pending {
                continue;
            }
            let job = ledger::job(self.cx.ports.recorder.as_ref(), approval.job_id)?;
            let why = match job.actor.principal {
                Principal::Agent { session_id } if !self.cx.ports.sessions.live().contains(&session_id) => Some("the agent that asked is gone".to_owned()),
                _ => self.no_longer_holds(&job),
            };
            if let Some(why) = why {
                let failure = Failure::new(Code::StalePreview, why).hint("ask again: the new preview shows the state of now");
                if self.end_pending(approval.approval_id, EventCode::ApprovalStale, "stale", JobState::Failed, failure)? {
                    report.stale_approvals += 1;
                }
            }
        }
        Ok(())
    }

    fn no_longer_holds(&self, job: &Job) -> Option<String> {
        let prepared = kinds::kind_of(job.op).and_then(|kind| self.stored_plan(job).and_then(|plan| kind.reload(plan)));
        match prepared {
            Ok(prepared) => preconditions::check_all(&self.cx, &prepared.preconditions).err().map(|f| f.message),
            Err(failure) => Some(failure.message),
        }
    }

    /// Quarantined objects are gone at the terminal state.
    pub(crate) fn discard_quarantine(&self, job: &Job) {
        let path = self.cx.config.quarantine_path(job.job_id);
        if let Err(e) = std::fs::remove_dir_all(&path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("dcc: {} cannot be removed: {e}", path.display());
        }
    }

    /// Quarantine of jobs that are over; what still waits keeps its objects.
    fn clear_quarantine(&self) -> Outcome<()> {
        let tmp = self.cx.config.state_dir.join("tmp");
        let Ok(entries) = std::fs::read_dir(&tmp) else { return Ok(()) };
        for entry in entries.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<dcc_core::JobId>().ok()) else { continue };
            let over = match ledger::job(self.cx.ports.recorder.as_ref(), id) {
                Ok(job) => job.state.is_terminal(),
                Err(failure) => failure.code == Code::NotFoundJob,
            };
            if over {
                // Only our own directory of unused objects, named by a job's id.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}
