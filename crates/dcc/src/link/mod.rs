//! How a command reaches the application: over the running server's socket, or in process under the project's lock.
//!
//! Invariant: both answer with the same types, so a command cannot tell them apart.

pub mod http;
mod local;
mod remote;

use serde_json::Value;

use dcc_api::door::{Decided, DecisionInput, FlatJob, Presentation, Query, TerminalInput};
use dcc_core::job::JobRequest;
use dcc_core::{ApprovalId, Failure, JobId, Outcome, SessionId, Sha256Hex};

use crate::wire::project::Found;

pub use local::Local;
pub use remote::Remote;

/// The door as a command sees it.
pub trait Link {
    /// Accepts and drives; a long job comes back running when a server owns it.
    fn submit(&self, request: &JobRequest) -> Outcome<FlatJob>;
    fn cancel(&self, job: JobId, reason: Option<&str>) -> Outcome<FlatJob>;
    fn present(&self, approval: ApprovalId) -> Outcome<Presentation>;
    fn decide(&self, approval: ApprovalId, decision: &DecisionInput) -> Outcome<Decided>;
    /// Keys for the terminal that an attachment holds.
    fn at_terminal(&self, session: SessionId, input: &TerminalInput) -> Outcome<()>;
    /// Each event's line from this sequence on, as it is recorded, until `each` answers false.
    fn events(&self, after: u64, each: &mut dyn FnMut(&Value) -> Outcome<bool>) -> Outcome<()>;
    fn query(&self, query: &Query) -> Outcome<Value>;
    fn artifact(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>>;
    /// Blocks until the job is terminal or stalled; with `decided` also through a wait for a person.
    fn wait(&self, job: JobId, decided: bool) -> Outcome<Value>;
    /// Why the project is only read; none when it can be changed.
    fn read_only(&self) -> Outcome<Option<String>>;
    /// True when a long-lived process owns the project.
    fn is_served(&self) -> bool;
}

/// Over the socket when it answers, else in process.
pub fn connect(found: Found, attended: bool) -> Outcome<Box<dyn Link>> {
    if let Some(remote) = Remote::connect(&found, attended)? {
        return Ok(Box::new(remote));
    }
    Ok(Box::new(Local::new(found, attended)))
}

/// True for a state in which nothing more happens by itself; `decided` looks through a parked job.
fn is_settled(state: &str, decided: bool) -> bool {
    match state {
        "completed" | "completed_with_issues" | "failed" | "cancelled" | "poisoned" | "stalled" => true,
        "awaiting_user" | "awaiting_validation" => !decided,
        _ => false,
    }
}

fn state_of(job: &Value) -> Outcome<&str> {
    job["state"].as_str().ok_or_else(|| Failure::engine("the answer has no job state"))
}
