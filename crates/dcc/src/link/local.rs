//! In process: the lock is held for one step and given back while a person decides.

use std::time::Duration;

use serde_json::Value;

use dcc_api::App;
use dcc_api::door::{Decided, DecisionInput, Door as _, FlatJob, Presentation, Query, TerminalInput};
use dcc_core::job::{JobRequest, JobState};
use dcc_core::principal::{Actor, Surface};
use dcc_core::{ApprovalId, Code, Failure, JobId, Outcome, SessionId, Sha256Hex, limits};

use super::{Link, is_settled, state_of};
use crate::wire::open::{self, OpenOptions};
use crate::wire::project::Found;

const STEP: OpenOptions = OpenOptions { what: "command", wait: Duration::from_millis(limits::PROJECT_LOCK_WAIT_MS), serving: false };

pub struct Local {
    found: Found,
    actor: Actor,
}

impl Local {
    pub fn new(found: Found, attended: bool) -> Self {
        let actor = Actor::operator(if attended { Surface::Terminal } else { Surface::Bearer });
        Self { found, actor }
    }

    /// One step under the lock.
    fn step<T>(&self, act: impl FnOnce(&App) -> Outcome<T>) -> Outcome<T> {
        self.found.require_project_id()?;
        let project = open::open(&self.found, &STEP)?;
        act(&project.app)
    }

    /// A step that only reads: also where nothing can be written.
    fn look<T>(&self, act: impl FnOnce(&App) -> Outcome<T>) -> Outcome<T> {
        self.found.require_project_id()?;
        let project = open::open_or_read(&self.found, &STEP)?;
        act(&project.app)
    }
}

/// A job of this process must end before the lock is given back.
fn to_the_end(app: &App, job: FlatJob) -> Outcome<FlatJob> {
    if job.state != JobState::Running {
        return Ok(job);
    }
    app.runner.wait(job.job_id, None).map(|job| FlatJob::from(&job))
}

impl Link for Local {
    fn submit(&self, request: &JobRequest) -> Outcome<FlatJob> {
        self.step(|app| app.submit(self.actor, request.clone()).and_then(|job| to_the_end(app, job)))
    }
    fn cancel(&self, job: JobId, reason: Option<&str>) -> Outcome<FlatJob> {
        self.step(|app| app.cancel(self.actor, job, reason.map(str::to_owned)))
    }
    fn present(&self, approval: ApprovalId) -> Outcome<Presentation> {
        self.step(|app| app.present(self.actor, approval))
    }
    fn decide(&self, approval: ApprovalId, decision: &DecisionInput) -> Outcome<Decided> {
        self.step(|app| {
            let mut decided = app.decide(self.actor, approval, decision.clone())?;
            decided.job = to_the_end(app, decided.job)?;
            Ok(decided)
        })
    }
    fn at_terminal(&self, session: SessionId, input: &TerminalInput) -> Outcome<()> {
        self.step(|app| app.at_terminal(self.actor, session, input.clone()))
    }
    fn events(&self, _after: u64, _each: &mut dyn FnMut(&Value) -> Outcome<bool>) -> Outcome<()> {
        Err(Failure::new(Code::IllegalTransition, "no server runs, so nothing happens that could be followed").hint("dcc up starts one"))
    }
    fn query(&self, query: &Query) -> Outcome<Value> {
        self.look(|app| app.query(self.actor, query.clone()))
    }
    fn artifact(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        self.look(|app| app.artifact(self.actor, sha256))
    }
    fn wait(&self, job: JobId, decided: bool) -> Outcome<Value> {
        loop {
            let now = self.query(&Query::Job { job_id: job })?;
            if is_settled(state_of(&now)?, decided) {
                return Ok(now);
            }
            // tidy, allowed: nobody owns the project while a person decides; another process will write the decision
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }
    fn read_only(&self) -> Outcome<Option<String>> {
        self.look(|app| Ok(app.project().read_only))
    }
    fn is_served(&self) -> bool {
        false
    }
}
