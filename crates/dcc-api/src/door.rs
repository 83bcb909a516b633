//! The one door: what every surface may ask of the application, and in which words.
//!
//! Authority: derived for every answer; the jobs behind `submit` and `decide` write canon.
//! Invariants: the actor is what the surface established (credential, cookie, socket), never what the caller says of
//! himself; every call blocks, so an async surface runs it on a thread for blocking work; the same types travel in
//! process and over HTTP, so a command that talks to a server and one that owns the project see the same answers.
//! Failure: one [`Failure`](dcc_core::Failure) with a stable code.

mod live;
mod page;
mod query;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use dcc_core::approval::{Approval, ApprovalStatus, Scope};
use dcc_core::job::{Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::terminal::TerminalSize;
use dcc_core::principal::Actor;
use dcc_core::{ApprovalId, Failure, InstanceId, JobId, Outcome, ProjectId, SessionId, Sha256Hex};

use crate::view::Shell;

pub use live::{EventLine, Hub, StreamItem, Subscription};
pub use page::{Page, PageQuery, event_codes, event_filter, job_filter};
pub use query::{Paging, Query, SearchKind, SessionFilter, artifact_path};

/// What every surface can do. Implemented by the application in process and by the remote door over HTTP.
pub trait Door: Send + Sync {
    /// Accepts a job and drives it as far as it goes without a person; a long one comes back `running`.
    fn submit(&self, actor: Actor, request: JobRequest) -> Outcome<FlatJob>;
    /// Asks a job to end; the answer is the job as it then stands.
    fn cancel(&self, actor: Actor, job: JobId, reason: Option<String>) -> Outcome<FlatJob>;
    /// Renders an approval for a decision, records that, and hands out the rendering's one-time nonce.
    fn present(&self, actor: Actor, approval: ApprovalId) -> Outcome<Presentation>;
    /// Decides; exactly one caller wins.
    fn decide(&self, actor: Actor, approval: ApprovalId, decision: DecisionInput) -> Outcome<Decided>;
    /// What a person does at the terminal that his job `session.attach` holds: the keys of one attachment, in order.
    fn at_terminal(&self, actor: Actor, session: SessionId, input: TerminalInput) -> Outcome<()>;
    /// Reads; changes nothing. A list is `{"items":[...],"next_cursor":...}`.
    fn query(&self, actor: Actor, query: Query) -> Outcome<Value>;
    /// The bytes of an artifact, verified against their name.
    fn artifact(&self, actor: Actor, sha256: Sha256Hex) -> Outcome<Vec<u8>>;
    /// The live stream, after this recorder sequence or from now on. HSK-429-RATE-LIMIT beyond
    /// `limits::STREAM_READERS_MAX` readers.
    fn subscribe(&self, after_seq: Option<u64>) -> Outcome<Subscription>;
    fn project(&self) -> ProjectFacts;
    /// Walks the whole hash chain now and keeps the result for the status line; the record itself is only read.
    fn verify_record(&self, actor: Actor) -> Outcome<Value>;
}

/// The door of a process that also draws screens.
pub trait Screens: Door {
    /// The view model of one screen.
    fn page(&self, actor: Actor, page: PageQuery) -> Outcome<Page>;
    /// The frame of every screen, without token and fragment flag, which the server fills in. Never fails: what could
    /// not be read becomes a notice.
    fn shell(&self) -> Shell;
}

/// Which project a door serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProjectFacts {
    pub name: String,
    pub root_path: String,
    pub project_id: ProjectId,
    /// Changes with each process that owns the project.
    pub instance_id: InstanceId,
    /// Why it is only read; none when it can be changed.
    #[serde(default)]
    pub read_only: Option<String>,
}

/// A job in its flat form: job_id, op, state, approval_id, failure, result ids side by side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FlatJob {
    pub job_id: JobId,
    pub op: Op,
    pub state: JobState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Result ids and values by their product names: wp_id, workspace_id, commit_oid, exit_code, ...
    #[serde(flatten)]
    pub results: Map<String, Value>,
}

impl From<&Job> for FlatJob {
    fn from(job: &Job) -> Self {
        let mut results = match job.flat() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        for typed in ["job_id", "op", "state", "approval_id", "failure"] {
            results.remove(typed);
        }
        Self { job_id: job.job_id, op: job.op, state: job.state, approval_id: job.approval_id, failure: job.failure.clone(), results }
    }
}

/// One rendering of an approval. Whoever decides over a human-only channel echoes nonce and digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Presentation {
    pub approval_id: ApprovalId,
    /// Hex; handed out once, stored nowhere but as a hash.
    pub nonce: String,
    pub preview_digest: Sha256Hex,
    pub approval: Approval,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approve,
    Deny,
}

/// A decision as it arrives. What is missing stays missing: the application decides what a surface may leave out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionInput {
    pub decision: Verdict,
    #[serde(default = "once")]
    pub scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Hex, as the presentation gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_digest: Option<Sha256Hex>,
    /// What the person typed, where the request asks for that (R3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
}

fn once() -> Scope {
    Scope::Once
}

/// Keys, a new size, or the leave of an attached person. Empty, it says that he is still there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalInput {
    /// The running job `session.attach`.
    pub attachment: JobId,
    /// Bytes as the terminal sends them for keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b64: Option<String>,
    /// Rows and columns of the person's own terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave: bool,
}

/// What became of a decision.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decided {
    pub approval_id: ApprovalId,
    pub status: ApprovalStatus,
    pub job_id: JobId,
    /// The released or ended job as it stood when the answer was made.
    pub job: FlatJob,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_job_reads_back_what_it_wrote() {
        let json = serde_json::json!({
            "job_id": "0198c0de-0000-7000-8000-000000000001", "op": "version.commit", "state": "failed",
            "failure": {"code": "VCS_HEAD_MOVED", "message": "moved"}, "wp_id": "WP-0001", "commit_oid": "ab"
        });
        let job: FlatJob = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(job.results["wp_id"], "WP-0001");
        assert!(!job.results.contains_key("state"));
        assert_eq!(serde_json::to_value(&job).unwrap(), json);
    }

    #[test]
    fn a_decision_says_what_it_knows_and_nothing_else() {
        let input: DecisionInput = serde_json::from_str(r#"{"decision":"approve"}"#).unwrap();
        assert_eq!((input.scope, input.nonce), (Scope::Once, None));
        assert!(serde_json::from_str::<DecisionInput>(r#"{"decision":"approve","plan":{}}"#).is_err());
        assert!(serde_json::from_str::<DecisionInput>(r#"{"decision":"yes"}"#).is_err());
    }
}
