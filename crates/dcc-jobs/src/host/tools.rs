//! DCC's own tools for the agent of a session: reads of its own workspace, and a closed list of operations it may ask for.
//!
//! Authority: none of its own; jobs write canon. Invariants: whose call it is was established by the caller (a token),
//! never by the agent's words; workspace, packet and session of a job are the session's own, by canon; every call leaves
//! a row in the ledger that says `gated`; what an agent may not ask for is refused before a job exists.
//! Failure: the failure is the row's result and the answer.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::{MtId, SessionId};
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::sessions::{Observed, SideEffect, ToolStatus};
use dcc_core::ports::{JobFilter, ToolReport};
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState};
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, JobId, Outcome, limits};

use super::files::{inside};
use super::reports::inline_or_ref;
use super::states::{running_turn, session_correlation, wait_decided, workspace_of};
use super::Host;
use crate::ledger;

/// One call as the ledger shows it.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// The tool's operation: `version.commit`.
    pub name: &'static str,
    pub side_effect: SideEffect,
    /// The agent's own words.
    pub arguments: Value,
}

/// An operation that an agent asks for.
#[derive(Clone, Debug)]
pub struct Intent {
    pub op: Op,
    pub params: Value,
    /// Another micro-task of the session's own packet than the one it is bound to.
    pub mt_id: Option<MtId>,
}

/// What an agent may ask for by a tool. Closed: everything else is refused, whatever the policy says of it.
const ASKABLE: [Op; 8] = [
    Op::VersionCommit,
    Op::SandboxRunRecipe,
    Op::CapabilityRequest,
    Op::HandoffWrite,
    Op::LocusAddNote,
    Op::LocusStartMt,
    Op::LocusBlockMt,
    Op::SessionSpawn,
];

impl Host {
    /// A read of the session's own: `work` gets the session and its workspace. `size` of the answer is what the row keeps.
    pub fn reading(&self, id: SessionId, tool: &ToolUse, work: impl FnOnce(&Session, &Workspace) -> Outcome<Value>) -> Outcome<Value> {
        let session = self.open_session(id)?;
        let row = self.begin_row(&session, tool)?;
        let answer = workspace_of(self.cx(), &session).and_then(|workspace| work(&session, &workspace));
        let (status, output) = match &answer {
            Ok(value) => (ToolStatus::Ok, json!({ "bytes": value.to_string().len() })),
            Err(failure) => (refusal(failure), failure_json(failure)),
        };
        self.row(&session, tool, &row, status, None, Some(output))?;
        answer
    }

    /// The text of a file of the session's own worktree; secrets and everything outside are refused.
    pub fn file_text(&self, session: &Session, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String> {
        self.read(session, path, line, limit)
    }

    /// True for a path that is not shown to agents.
    pub fn is_hidden(path: &dcc_core::RepoPath) -> bool {
        path.usually_holds_secrets()
    }

    /// The path that the text names, when it lies in the workspace.
    pub fn own_path(workspace: &Workspace, path: &str) -> Option<dcc_core::RepoPath> {
        inside(workspace, path)
    }

    /// Asks for an operation and waits at most `limit` for its end. A job that still waits then goes on without the
    /// call: its row is ended when it is decided.
    pub fn asking(&self, id: SessionId, tool: &ToolUse, intent: Intent, limit: Duration) -> Outcome<Job> {
        let session = self.open_session(id)?;
        let row = self.begin_row(&session, tool)?;
        let job = match self.ask_for(&session, intent) {
            Ok(job) => job,
            Err(failure) => {
                self.row(&session, tool, &row, refusal(&failure), None, Some(failure_json(&failure)))?;
                return Err(failure);
            }
        };
        let job = match job.state {
            JobState::AwaitingUser => {
                self.row(&session, tool, &row, ToolStatus::Held, Some(&job), None)?;
                wait_decided(&self.runner, id, &job, Some(limit), || true)?
            }
            state if state.is_terminal() => job,
            _ => self.runner.wait(job.job_id, Some(limit))?,
        };
        if job.state.is_terminal() {
            self.end_row(&session, tool, &row, &job)?;
        } else {
            self.end_row_later(session, tool.clone(), row, job.job_id)?;
        }
        Ok(job)
    }

    /// A job of this session's agent, after waiting at most `limit` for its end.
    pub fn own_job(&self, id: SessionId, tool: &ToolUse, job_id: JobId, limit: Duration) -> Outcome<Job> {
        let session = self.open_session(id)?;
        let row = self.begin_row(&session, tool)?;
        let found = ledger::job(self.cx().ports.recorder.as_ref(), job_id).and_then(|job| {
            // Another's job is as good as none: an agent learns nothing about it.
            if job.actor != Actor::agent(id) {
                return Err(Failure::new(Code::NotFoundJob, format!("no job {job_id} of this session")));
            }
            match job.state {
                JobState::AwaitingUser if !limit.is_zero() => wait_decided(&self.runner, id, &job, Some(limit), || true),
                state if state.is_terminal() || limit.is_zero() => Ok(job),
                _ => self.runner.wait(job_id, Some(limit)),
            }
        });
        let (status, output) = match &found {
            Ok(job) => (ToolStatus::Ok, json!({ "state": job.state })),
            Err(failure) => (refusal(failure), failure_json(failure)),
        };
        self.row(&session, tool, &row, status, found.as_ref().ok(), Some(output))?;
        found
    }

    /// The session of a call; one that is over has no tools.
    fn open_session(&self, id: SessionId) -> Outcome<Session> {
        let session = self.session(id)?;
        if session.state.is_terminal() {
            return Err(Failure::new(Code::IllegalTransition, "the session is over"));
        }
        Ok(session)
    }

    fn ask_for(&self, session: &Session, intent: Intent) -> Outcome<Job> {
        if !ASKABLE.contains(&intent.op) {
            return Err(Failure::new(Code::Capability, format!("an agent does not ask for {}", intent.op)));
        }
        if session.state == SessionState::Paused {
            return Err(Failure::new(Code::IllegalTransition, "the session is paused").hint("ask again after the operator has resumed it"));
        }
        let _one = self.cx().asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.require_room(session.session_id)?;
        let parent = match running_turn(self.cx(), session.session_id)? {
            Some(turn) => Some(ledger::job(self.cx().ports.recorder.as_ref(), turn)?),
            None => None,
        };
        let request = JobRequest {
            op: intent.op,
            params: intent.params,
            bindings: Bindings {
                wp_id: session.wp_id.clone(),
                mt_id: intent.mt_id.or_else(|| session.mt_id.clone()),
                session_id: Some(session.session_id),
                workspace_id: session.workspace_id,
            },
            idempotency_key: None,
        };
        self.runner.submit_under(Actor::agent(session.session_id), request, parent.as_ref())
    }

    /// A person is not buried under one session's requests.
    fn require_room(&self, id: SessionId) -> Outcome<()> {
        let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
        let pending = self.cx().ports.store.jobs(&filter)?.iter().filter(|job| !job.actor.is_operator()).count();
        if pending >= limits::SESSION_PENDING_MAX {
            return Err(Failure::new(Code::RateLimit, format!("{pending} requests of this session wait for a decision already")).hint("wait for them: job.get says how they stand"));
        }
        Ok(())
    }

    /// Its id. Fresh, and not told to the agent: no report of its own can name this row.
    fn begin_row(&self, session: &Session, tool: &ToolUse) -> Outcome<String> {
        let row = format!("mcp-{}", self.cx().ports.clock.fresh_id());
        self.row(session, tool, &row, ToolStatus::Running, None, None)?;
        Ok(row)
    }

    fn end_row(&self, session: &Session, tool: &ToolUse, row: &str, job: &Job) -> Outcome<()> {
        let status = match (job.state, &job.failure) {
            (JobState::Completed, _) => ToolStatus::Ok,
            (JobState::Cancelled, _) => ToolStatus::Cancelled,
            (_, Some(failure)) => refusal(failure),
            _ => ToolStatus::Error,
        };
        self.row(session, tool, row, status, Some(job), Some(job.flat()))
    }

    /// Ends the row when the job is over, on a thread of its own: there are at most as many as requests may wait.
    fn end_row_later(&self, session: Session, tool: ToolUse, row: String, job_id: JobId) -> Outcome<()> {
        let host = Self::new(Arc::clone(&self.runner));
        let later = move || {
            let ended = host.runner.wait(job_id, None).and_then(|job| host.end_row(&session, &tool, &row, &job));
            if let Err(failure) = ended {
                eprintln!("dcc: session {}: {failure}", session.session_id.short());
            }
        };
        let spawned = std::thread::Builder::new().name("agent-call".to_owned()).spawn(later);
        spawned.map(drop).map_err(|e| Failure::engine(format!("no thread for the call: {e}")))
    }

    fn row(&self, session: &Session, tool: &ToolUse, row: &str, status: ToolStatus, job: Option<&Job>, output: Option<Value>) -> Outcome<()> {
        let code = match status {
            ToolStatus::Running => EventCode::ToolCallStarted,
            ToolStatus::Held => EventCode::ToolCallProgress,
            _ => EventCode::ToolCallFinished,
        };
        let report = ToolReport {
            tool_call_id: row.to_owned(),
            title: tool.name.to_owned(),
            kind: "dcc".to_owned(),
            side_effect: tool.side_effect,
            status,
            locations: Vec::new(),
            raw_input: (status == ToolStatus::Running).then(|| inline_or_ref(self.cx(), tool.arguments.clone())).transpose()?,
            raw_output: output.map(|value| inline_or_ref(self.cx(), value)).transpose()?,
            content: Vec::new(),
        };
        let mut correlation = session_correlation(session);
        correlation.job_id = job.map(|job| job.job_id);
        correlation.workflow_run_id = job.map(|job| job.root_job_id).or(correlation.workflow_run_id);
        correlation.approval_id = job.and_then(|job| job.approval_id);
        correlation.tool_call_id = Some(row.to_owned());
        let event = NewEvent::new(code, Actor::agent(session.session_id), json!({ "tool": report, "observed": Observed::Gated })).about(&correlation);
        self.cx().journal.append(vec![event]).map(drop)
    }
}

fn refusal(failure: &Failure) -> ToolStatus {
    use dcc_core::failure::Kind;
    match failure.kind() {
        Kind::Policy | Kind::Capability | Kind::Auth => ToolStatus::Denied,
        Kind::Canceled => ToolStatus::Cancelled,
        Kind::Timeout => ToolStatus::TimedOut,
        _ => ToolStatus::Error,
    }
}

fn failure_json(failure: &Failure) -> Value {
    json!({ "code": failure.code, "message": failure.message })
}
