//! Sessions after whatever happened: no agent of another process is left, each session rests where it stood, and what was
//! on its way to an agent is marked as such. Nothing goes on by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::ids::JobId;
use dcc_core::op::Op;
use dcc_core::ports::{Driver, JobFilter};
use dcc_core::job::JobState;
use dcc_core::principal::Actor;
use dcc_core::session::{Delivery, Session, SessionState, StateReason, Steering};
use dcc_core::{Outcome, limits};

use super::RecoveryReport;
use crate::host::{self, Move, checkpoints, move_if, note};
use crate::kinds;
use crate::runner::Runner;
use crate::{delivery, ledger};

impl Runner {
    pub(super) fn recover_sessions(&self, report: &mut RecoveryReport) -> Outcome<()> {
        let live = self.cx.ports.sessions.live();
        for derived in self.cx.ports.store.open_sessions()? {
            let session = ledger::session(self.cx.ports.recorder.as_ref(), derived.session_id)?;
            let is_person = session.capabilities.as_ref().is_some_and(|c| c.driver == Driver::Human);
            if session.state.is_terminal() || live.contains(&session.session_id) || is_person {
                continue;
            }
            self.settle_messages(&session)?;
            if self.waits_to_start(&session)? {
                continue;
            }
            self.bring_to_rest(&session, report)?;
        }
        Ok(())
    }

    /// Ends what is left of its agent and has it rest. One that rested before goes on resting for its own reason.
    fn bring_to_rest(&self, session: &Session, report: &mut RecoveryReport) -> Outcome<()> {
        let id = session.session_id;
        let reaped = session.process.as_ref().is_some_and(|p| self.cx.ports.sessions.reap(p));
        delivery::drop_queued_turns(self, id, "the command center was restarted; the message waits in its session")?;
        if session.state == SessionState::Paused {
            return if session.process.is_some() { note(&self.cx, session, json!({ "process": null, "reaped": reaped })) } else { Ok(()) };
        }
        let cut_turn = host::running_turn(&self.cx, id)?;
        let rests = |s: &Session| (!s.state.is_terminal()).then(|| Move::new(SessionState::Paused, StateReason::CrashRecovery).with(json!({ "reaped": reaped, "cut_turn": cut_turn })));
        move_if(&self.cx, id, cut_turn, rests)?;
        report.paused_sessions += 1;
        Ok(())
    }

    /// A message that was being handed over: whether the agent has it is not known, so it is not sent again by itself.
    fn settle_messages(&self, session: &Session) -> Outcome<()> {
        for message in &session.waiting {
            if let Delivery::Delivering { turn_job_id } = message.delivery {
                let unsure = Steering::Unsure { message_id: message.message_id, turn_job_id };
                self.cx.journal.append(vec![delivery::steering(Actor::SYSTEM, session, &unsure, Some(turn_job_id))])?;
            }
        }
        Ok(())
    }

    /// Created, and its start still waits for a slot: whoever serves begins it.
    fn waits_to_start(&self, session: &Session) -> Outcome<bool> {
        let Some(queued) = session.queued_run.as_ref().filter(|_| matches!(session.state, SessionState::Created | SessionState::Paused)) else { return Ok(false) };
        let job = ledger::job(self.cx.ports.recorder.as_ref(), queued.job_id)?;
        Ok(job.state == JobState::Queued && session.agent_session_id.is_none())
    }

    /// Runs that a closing server leaves: each session is paused with its agent ended, so that nothing runs unseen.
    /// What waits for a slot goes on waiting: the next server begins it.
    pub fn shut_down(&self) -> Outcome<()> {
        self.cx.scheduler.close();
        self.cx.commands.close();
        let rested = self.rest_all();
        let deadline = Instant::now() + Duration::from_millis(limits::RUN_END_WAIT_MS);
        for job_id in self.running_commands()? {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.wait(job_id, Some(left)) {
                Ok(job) if job.state.is_terminal() => {}
                Ok(_) => eprintln!("dcc: job {job_id}: what it runs did not end in time; the next start says so"),
                Err(failure) => eprintln!("dcc: job {job_id}: {failure}"),
            }
        }
        rested
    }

    /// What runs for a person or an agent in this process, also what has only just begun.
    fn running_commands(&self) -> Outcome<Vec<JobId>> {
        let mut found = Vec::new();
        for op in [Op::SandboxRunRecipe, Op::SandboxRunCommand] {
            let running = self.cx.ports.store.jobs(&JobFilter { states: vec![JobState::Running], op: Some(op), ..JobFilter::default() })?;
            found.extend(running.iter().filter(|job| job.instance_id == self.cx.config.instance_id).map(|job| job.job_id));
        }
        Ok(found)
    }

    fn rest_all(&self) -> Outcome<()> {
        for id in self.cx.ports.sessions.live() {
            host::cancel_pending(self, id, "the server stopped")?;
            let turn = host::running_turn(&self.cx, id)?;
            let session = ledger::session(self.cx.ports.recorder.as_ref(), id)?;
            checkpoints::make(&self.cx, &session, checkpoints::Why::Shutdown)?;
            let fault = json!({ "fault": "the server was stopped", "cut_turn": turn });
            move_if(&self.cx, id, turn, |s| (!s.state.is_terminal() && s.state != SessionState::Paused).then(|| Move::new(SessionState::Paused, StateReason::OperatorPause).with(fault)))?;
            if let Some(turn) = turn {
                kinds::end_turn(self, turn, Ok("cancelled".into()))?;
            }
            host::stop_agent(&self.cx, id)?;
            host::let_go(&self.cx, id);
        }
        Ok(())
    }
}
