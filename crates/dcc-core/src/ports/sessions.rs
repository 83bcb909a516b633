//! Agents: the backend drives the process, the host is DCC's side of the conversation (SESSIONS 5).

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::failure::{Failure, Outcome};
use crate::gate::Cleared;
use crate::ids::{JobId, SessionId, Sha256Hex};
use crate::path::RepoPath;
use crate::plans::{SessionStartPlan, TurnPlan};
use crate::session::{Posture, ProcessIdentity};

/// How a message is to be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steer {
    Queue,
    Boundary,
    Now,
}

/// A started agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StartedAgent {
    pub process: ProcessIdentity,
    pub agent_session_id: String,
    /// The agent's own name and version, a claim.
    pub agent_info: Option<String>,
    pub model_id: Option<String>,
    pub posture: Posture,
}

/// How a tool call was known (SESSIONS 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    Gated,
    Reported,
    Inferred,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SideEffect {
    Read,
    Write,
    Execute,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    Requested,
    Held,
    Running,
    Ok,
    Error,
    Denied,
    Cancelled,
    TimedOut,
    Unknown,
}

/// A tool call as the agent reports it; started, progress or finished by status.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToolReport {
    pub tool_call_id: String,
    pub title: String,
    /// ACP tool kind: read, edit, delete, move, search, execute, think, fetch, other.
    pub kind: String,
    pub side_effect: SideEffect,
    pub status: ToolStatus,
    /// Locations as given.
    pub locations: Vec<String>,
    /// Raw input and output as JSON, cut by the host.
    pub raw_input: Option<serde_json::Value>,
    pub raw_output: Option<serde_json::Value>,
}

/// What an agent says or does, in order. The host journals each before it returns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum AgentReport {
    /// A whole message; chunks are joined by the backend at the next boundary.
    Message { text: String },
    /// The agent's reasoning, when it shows any.
    Thought { text: String },
    Plan { entries: Vec<(String, String)> },
    Tool(ToolReport),
    /// Context fill in tokens; never summed (fact 8).
    Usage { used: u64, size: u64, cost: Option<String> },
    /// Anything else, counted and kept: its kind.
    Other { kind: String },
    /// A line that is not the protocol; the session goes on.
    Noise { sample: String },
    /// The turn ended: ACP stop reason.
    TurnEnded { turn: JobId, stop_reason: String },
    /// The turn failed: the agent answered with an error.
    TurnFailed { turn: JobId, failure: Failure },
    /// The process is gone and its tree is empty.
    Exited { exit_code: Option<i32>, stderr_head: String },
}

/// A permission request, before DCC judges it.
#[derive(Clone, PartialEq, Debug)]
pub struct PermissionAsk {
    pub tool_call_id: String,
    pub title: String,
    /// ACP tool kind; none when the request carried an id only and no earlier update explains it.
    pub kind: Option<String>,
    pub locations: Vec<String>,
    pub command: Option<String>,
    /// (path, old text, new text) of the diffs it shows.
    pub diffs: Vec<(String, Option<String>, String)>,
    pub raw_sha256: Sha256Hex,
    /// False when the request offers no allow_once.
    pub can_allow: bool,
    /// Removed when the agent or the session withdrew it meanwhile.
    pub withdrawn: Withdrawn,
}

/// Set once by the backend when nobody waits for the answer any more.
#[derive(Clone, Debug, Default)]
pub struct Withdrawn(Arc<std::sync::atomic::AtomicBool>);

impl Withdrawn {
    pub fn set(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Release);
    }
    pub fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Acquire)
    }
}
impl PartialEq for Withdrawn {
    fn eq(&self, other: &Self) -> bool {
        self.is_set() == other.is_set()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PermissionAnswer {
    AllowOnce,
    RejectOnce,
    Cancelled,
}

/// DCC's side: every call is made from a backend thread, may block, and is durable when it returns.
pub trait SessionHost: Send + Sync {
    fn report(&self, session_id: SessionId, report: AgentReport);
    /// Blocks until decided, expired or withdrawn; may stay open for days.
    fn ask(&self, session_id: SessionId, ask: PermissionAsk) -> PermissionAnswer;
    /// ACP fs/read_text_file: inside the worktree, no secrets; line from 1.
    fn read_file(&self, session_id: SessionId, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String>;
    /// ACP fs/write_text_file: a governed operation.
    fn write_file(&self, session_id: SessionId, path: &str, content: &str) -> Outcome<()>;
}

/// Drives agent processes. One backend for each protocol; ACP version 1 is the first.
pub trait SessionBackend: Send + Sync {
    /// Starts the process in its sandbox, initialises, opens a session, sets the asking mode. Returns when it can take a
    /// prompt; HSK-404-AGENT, HSK-502-AGENT, SBOX_TIMEOUT say why not, with the first lines of its standard error.
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent>;
    /// Sends a prompt and returns at once; the end comes as `AgentReport::TurnEnded` with this job's id.
    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()>;
    /// Answers pending requests `cancelled`, then session/cancel, then the process tree after the grace time. Returns
    /// when the tree is empty.
    fn stop(&self, session_id: SessionId) -> Outcome<()>;
    /// Ends the turn only: pending requests answered `cancelled`, then session/cancel.
    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()>;
    fn live(&self) -> Vec<SessionId>;
    /// Ends a process left by another instance, if pid and start time still name it; true when something was ended.
    fn reap(&self, process: &ProcessIdentity) -> bool;
}

/// Writing a file for an agent, kept with the file system's guards in the engine crate.
pub trait WorktreeFiles: Send + Sync {
    /// Bytes of a regular file inside the worktree, never through a symbolic link; none when absent.
    fn read(&self, worktree: &crate::workspace::WorktreeBinding, path: &RepoPath, max: u64) -> Outcome<Option<Vec<u8>>>;
    /// Writes atomically (temporary file and rename in the same directory), creating directories, mode kept; never
    /// through a symbolic link.
    fn write(&self, worktree: &crate::workspace::WorktreeBinding, cleared: Cleared<crate::plans::FileWritePlan>, content: &[u8]) -> Outcome<()>;
}

/// An agent ready to be started, resolved from a preset or the operator's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AgentSpec {
    pub name: String,
    /// argv without secrets; argv[0] as configured.
    pub command: Vec<String>,
    /// Absolute path of the program.
    pub executable: String,
    pub env: std::collections::BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    pub connect_ports: Vec<u16>,
}

/// Which agents there are.
pub trait AgentCatalogue: Send + Sync {
    /// HSK-404-AGENT when there is no such name or its program is not installed.
    fn resolve(&self, name: &str) -> Outcome<AgentSpec>;
    /// A command given word for word.
    fn resolve_command(&self, command: &[String]) -> Outcome<AgentSpec>;
    /// (name, installed, what it is), for the doctor and the start form.
    fn list(&self) -> Vec<(String, bool, String)>;
}
