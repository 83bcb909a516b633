//! Agents: the backend drives the process, the host is DCC's side of the conversation (SESSIONS 5).

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::failure::{Failure, Outcome};
use crate::gate::Cleared;
use crate::ids::{JobId, SessionId, Sha256Hex};
use crate::path::RepoPath;
use crate::plans::{LoginPlan, SessionStartPlan, TurnPlan};
use crate::session::{Posture, ProcessIdentity};

pub use super::terminal::{ScreenListener, TerminalChunk, TerminalLink, TerminalScreen, TerminalSize, TerminalState};
pub use super::reports::{
    AgentCommand, AgentOption, AgentReport, Attachment, AttachmentSort, FulfilledWrite, Observed, SideEffect, TokenUsage, ToolContent, ToolReport, ToolStatus,
};

/// How a message is to be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steer {
    Queue,
    Boundary,
    Now,
}

/// What stands between DCC and whoever works in a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The Agent Client Protocol, version 1.
    #[default]
    Acp,
    /// A plain command in a pseudo-terminal; what it does is unobserved.
    Pty,
    /// A person; no process of ours.
    Human,
}

/// Who can be asked before an agent acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStyle {
    /// Each act, while it runs.
    Interactive,
    /// The whole run at once.
    WholeRun,
    #[default]
    None,
}

/// How an agent takes an earlier conversation up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeStyle {
    /// It repeats the history to us (session/load).
    Replay,
    /// It goes on without repeating (session/resume).
    Silent,
    #[default]
    None,
}

/// What an agent tells of its consumption.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageStyle {
    Cost,
    Tokens,
    #[default]
    None,
}

/// What a running agent can do, by what it offered itself; shown, never pretended (SESSIONS 5).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendCapabilities {
    pub driver: Driver,
    pub approvals: ApprovalStyle,
    pub resume: ResumeStyle,
    pub usage: UsageStyle,
    /// It takes MCP servers over standard input and output.
    pub mcp: bool,
    /// It takes pictures in a prompt.
    pub images: bool,
    /// (id, name) of the modes it offers, and the one it is in.
    pub modes: Vec<(String, String)>,
    pub current_mode: Option<String>,
}

/// An MCP server that is handed to the agent when its session opens. The environment may hold a token: it is never part
/// of a plan, an event or an artifact.
#[derive(Clone, PartialEq, Eq)]
pub struct McpHandout {
    pub name: String,
    pub command: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl std::fmt::Debug for McpHandout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpHandout").field("name", &self.name).field("command", &self.command).field("args", &self.args).finish_non_exhaustive()
    }
}

/// What a start needs besides its plan: nothing that a person would approve, and nothing that may be recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StartExtras {
    pub mcp: Option<McpHandout>,
    /// Loopback ports of DCC's own listeners that the sandbox lets the agent connect to.
    pub connect_ports: Vec<u16>,
    /// Files of DCC's own that the sandbox lets the agent read and run.
    pub read_paths: Vec<String>,
}

/// How a session's processes are confined, for commands that run beside them in the same profile.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SessionPlace {
    /// HOME, escaped like every path of a plan.
    pub home: String,
    /// The session's own temporary directory.
    pub tmp: String,
    /// What it may read and run besides the system.
    pub read_paths: Vec<String>,
    /// The session's own program, whose install tree it reads, and its PATH.
    pub program: String,
    pub path: String,
}

/// A command that an agent asks to run in a terminal (ACP terminal/create).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalSpec {
    pub command: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Absolute; the worktree when none.
    pub cwd: Option<String>,
    /// Bytes of output that the agent wants kept; ours is the smaller bound of both.
    pub output_bytes_max: Option<u64>,
}

/// How a terminal's command ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TerminalExit {
    pub exit_code: Option<u32>,
    pub signal: Option<String>,
}

/// What a terminal shows now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TerminalOutput {
    pub output: String,
    pub truncated: bool,
    /// None while it runs.
    pub exit: Option<TerminalExit>,
}

/// How a login ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoginReport {
    /// None when a signal ended it.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    pub posture: Posture,
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
    pub capabilities: BackendCapabilities,
    /// True when an earlier conversation was taken up; false when it was asked for and a new one was opened instead.
    pub resumed: bool,
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
    /// The command is the request's title: the agent shows it nowhere else.
    pub command_is_title: bool,
    /// (path, old text, new text) of the diffs it shows.
    pub diffs: Vec<(String, Option<String>, String)>,
    /// The input as the agent gave it, as JSON.
    pub input: Option<String>,
    /// Text that it shows: a claim.
    pub texts: Vec<String>,
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
    /// What came together, in its order.
    fn reports(&self, session_id: SessionId, reports: Vec<AgentReport>);
    fn report(&self, session_id: SessionId, report: AgentReport) {
        self.reports(session_id, vec![report]);
    }
    /// Blocks until decided, expired or withdrawn; may stay open for days.
    fn ask(&self, session_id: SessionId, ask: PermissionAsk) -> PermissionAnswer;
    /// ACP fs/read_text_file: inside the worktree, no secrets; line from 1.
    fn read_file(&self, session_id: SessionId, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String>;
    /// ACP fs/write_text_file: a governed operation.
    fn write_file(&self, session_id: SessionId, path: &str, content: &str) -> Outcome<()>;
    /// ACP terminal/create: a governed run inside the session's own sandbox profile; answers the terminal's id.
    fn terminal_create(&self, _session_id: SessionId, _spec: TerminalSpec) -> Outcome<String> {
        Err(no_terminals())
    }
    /// ACP terminal/output: what it shows now.
    fn terminal_output(&self, _session_id: SessionId, _terminal_id: &str) -> Outcome<TerminalOutput> {
        Err(no_terminals())
    }
    /// ACP terminal/wait_for_exit: blocks until the command is over and its processes are gone.
    fn terminal_wait(&self, _session_id: SessionId, _terminal_id: &str) -> Outcome<TerminalExit> {
        Err(no_terminals())
    }
    /// ACP terminal/kill: ends the command, keeps the output.
    fn terminal_kill(&self, _session_id: SessionId, _terminal_id: &str) -> Outcome<()> {
        Err(no_terminals())
    }
    /// ACP terminal/release: ends the command when it still runs and forgets the terminal.
    fn terminal_release(&self, _session_id: SessionId, _terminal_id: &str) -> Outcome<()> {
        Err(no_terminals())
    }
}

fn no_terminals() -> Failure {
    Failure::new(crate::failure::Code::NotBuilt, "terminals are not offered here")
}

/// The way back to DCC that a server gives to the agents of its sessions. Without a server there is none, and agents
/// start without it.
pub trait AgentDoor: Send + Sync {
    /// A fresh token for this session, in the environment of an MCP server that the agent starts; an earlier token of the
    /// session is void from here on.
    fn hand_out(&self, session_id: SessionId) -> Outcome<StartExtras>;
    /// The session's token is void; nothing happens when it has none.
    fn revoke(&self, session_id: SessionId);
}

/// Drives agent processes. One backend for each protocol; ACP version 1 is the first.
pub trait SessionBackend: Send + Sync {
    /// Starts the process in its sandbox, initialises, opens a session, sets the asking mode. Returns when it can take a
    /// prompt; HSK-404-AGENT, HSK-502-AGENT, SBOX_TIMEOUT say why not, with the first lines of its standard error.
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, extras: StartExtras, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent>;
    /// Sends a prompt and returns at once; the end comes as `AgentReport::TurnEnded` with this job's id.
    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()>;
    /// Answers pending requests `cancelled`, then session/cancel, then the process tree after the grace time. Returns
    /// when the tree is empty.
    fn stop(&self, session_id: SessionId) -> Outcome<()>;
    /// Ends the turn only: pending requests answered `cancelled`, then session/cancel.
    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()>;
    fn live(&self) -> Vec<SessionId>;
    /// The terminal of a live session that has one.
    fn terminal(&self, _session_id: SessionId) -> Option<Arc<dyn TerminalLink>> {
        None
    }
    /// Who wants to know of changed screens; the first who asks is told.
    fn on_screen(&self, _listener: ScreenListener) {}
    /// How the processes of a live session are confined; none when it has none.
    fn place(&self, _session_id: SessionId) -> Option<SessionPlace> {
        None
    }
    /// Stops every process of the session's tree where it stands (at most `limits::FREEZE_MS_MAX`; the caller thaws).
    fn freeze(&self, session_id: SessionId) -> Outcome<()>;
    /// Lets a frozen tree run again.
    fn thaw(&self, session_id: SessionId) -> Outcome<()>;
    /// Runs an agent's own login in its home, on the terminal that the plan names, until it ends or its time is over; all
    /// its processes are gone on return. What passes over the terminal is seen by nobody here.
    fn login(&self, _job: JobId, _cleared: Cleared<LoginPlan>) -> Outcome<LoginReport> {
        Err(Failure::new(crate::failure::Code::NotBuilt, "no login can be run here"))
    }
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
    /// It listens on one port, which is chosen when it starts.
    #[serde(default)]
    pub listens: bool,
    #[serde(default)]
    pub driver: Driver,
}

/// Which agents there are.
pub trait AgentCatalogue: Send + Sync {
    /// HSK-404-AGENT when there is no such name or its program is not installed.
    fn resolve(&self, name: &str) -> Outcome<AgentSpec>;
    /// A command given word for word; it runs in a pseudo-terminal, unobserved.
    fn resolve_command(&self, command: &[String]) -> Outcome<AgentSpec>;
    /// The agent's own login; HSK-501-NOT-BUILT when it has no command for it that we know.
    fn login(&self, name: &str) -> Outcome<LoginSpec>;
    /// Every agent that is known or configured, for the doctor and the start form.
    fn list(&self) -> Vec<AgentListing>;
}

/// An agent's own login command, resolved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoginSpec {
    pub agent: String,
    /// argv; `{port}` in it or in the environment stands for the callback's port.
    pub command: Vec<String>,
    /// Absolute path of the program.
    pub executable: String,
    pub env: std::collections::BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    pub connect_ports: Vec<u16>,
    pub callback: Callback,
}

/// Where a login waits for the browser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Callback {
    #[default]
    Nowhere,
    Port(u16),
}

/// One agent as lists show it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AgentListing {
    pub name: String,
    pub installed: bool,
    /// Where its program is and what should be mended, or how to get it.
    pub what: String,
    pub login: LoginState,
    /// What the word before rests on.
    pub login_evidence: String,
}

/// What can be told of an agent's login without asking its service; never a guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginState {
    /// It keeps credentials in its home; whether the service still takes them only the service knows.
    Stored,
    /// Nothing stands where it keeps them.
    NoneStored,
    /// It needs none.
    NotNeeded,
    #[default]
    Unknown,
}

impl LoginState {
    /// For a line of a list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "credentials stored",
            Self::NoneStored => "no credentials stored",
            Self::NotNeeded => "not needed",
            Self::Unknown => "unknown",
        }
    }
}
