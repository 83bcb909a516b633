//! An agent's terminals: each is a job that runs one command in the session's own profile.
//!
//! Invariants: a terminal's id is its job's; nothing runs before the job is permitted; a session has at most
//! `limits::SESSION_TERMINALS_MAX` of them that it has not released; an exit is told when it is recorded.

use std::collections::BTreeMap;

use serde_json::json;

use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::sessions::{TerminalExit, TerminalOutput, TerminalSpec};
use dcc_core::session::Session;
use dcc_core::{Code, Failure, Outcome, limits};

use super::Host;
use super::states::wait_decided_or;
use crate::commands::EndedBy;

impl Host {
    /// Returns when the command runs, or has run; until a person decided where one must.
    pub(super) fn create_terminal(&self, session: &Session, spec: TerminalSpec) -> Outcome<String> {
        let open = self.cx().commands.of_session(session.session_id).len();
        if open >= limits::SESSION_TERMINALS_MAX {
            return Err(Failure::new(Code::RateLimit, format!("the session has {open} terminals")).hint("release one that is no longer needed"));
        }
        let mut params = json!({ "cwd": spec.cwd, "env": spec.env.into_iter().collect::<BTreeMap<_, _>>(), "shown_bytes_max": spec.output_bytes_max });
        if spec.args.is_empty() {
            params["line"] = json!(spec.command);
        } else {
            params["argv"] = json!(std::iter::once(spec.command).chain(spec.args).collect::<Vec<_>>());
        }
        let job = self.request(session, Op::SandboxRunCommand, params)?;
        let begun = || self.cx().commands.get(job.job_id).is_some();
        let job = if job.state == JobState::AwaitingUser {
            wait_decided_or(&self.runner, session.session_id, &job, None, || true, begun)?
        } else {
            self.runner.wait_or(job.job_id, None, begun)?
        };
        match (begun(), job.failure) {
            (true, _) => Ok(job.job_id.to_string()),
            (false, Some(failure)) => Err(failure),
            (false, None) => Err(Failure::engine(format!("the command ended as {} before it began", job.state.as_str()))),
        }
    }

    pub(super) fn terminal_shows(&self, session: &Session, terminal_id: &str) -> Outcome<TerminalOutput> {
        let (_, command) = self.cx().commands.require(session.session_id, terminal_id)?;
        Ok(command.output())
    }

    pub(super) fn await_terminal(&self, session: &Session, terminal_id: &str) -> Outcome<TerminalExit> {
        let (job_id, command) = self.cx().commands.require(session.session_id, terminal_id)?;
        let exit = command.wait();
        self.runner.wait(job_id, None)?;
        Ok(exit)
    }

    /// Returns when nothing of it runs any more.
    pub(super) fn kill_terminal(&self, session: &Session, terminal_id: &str) -> Outcome<()> {
        let (_, command) = self.cx().commands.require(session.session_id, terminal_id)?;
        command.end(EndedBy::Agent);
        command.wait();
        Ok(())
    }

    pub(super) fn release_terminal(&self, session: &Session, terminal_id: &str) -> Outcome<()> {
        let (job_id, _) = self.cx().commands.require(session.session_id, terminal_id)?;
        self.cx().commands.release(job_id);
        Ok(())
    }
}
