//! What an agent says and does, as its backend reports it and the host journals it (SESSIONS 5 and 6).
//!
//! Every report is a claim of the agent's; how a tool call was known stands beside it in the event (`Observed`).

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{JobId, Sha256Hex};
use crate::path::RepoPath;

use super::sessions::BackendCapabilities;

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
    /// Raw input and output as JSON, cut by the host. Without a raw output of its own, the text that the agent shows.
    pub raw_input: Option<serde_json::Value>,
    pub raw_output: Option<serde_json::Value>,
    /// What else it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<ToolContent>,
}

/// A write by which DCC did what a tool call of an agent asks for (ACP fs/write_text_file).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FulfilledWrite {
    /// The id that the write has where it stands in a row of its own: `write-<job>`.
    pub write_id: String,
    pub job_id: JobId,
    pub path: RepoPath,
    /// Running, ok or error.
    pub status: ToolStatus,
    pub sha256: Sha256Hex,
    pub bytes: u64,
    /// What stood there before; none when the file was made.
    pub before: Option<Sha256Hex>,
}

/// A part of what a tool call shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum ToolContent {
    Text { text: String },
    /// Lines taken away and added, made by us from the agent's old and new text.
    Diff { path: String, text: String, cut: bool },
    /// A terminal of ours: the id is that of the job that runs its command.
    Terminal { terminal_id: String },
    Attachment(Attachment),
}

/// What an attachment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentSort {
    Picture,
    Audio,
    /// Content with an address.
    Resource,
    /// An address only; DCC never follows it.
    Link,
}

/// Something other than text in what an agent says or shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub sort: AttachmentSort,
    /// A claim of the agent's.
    pub mime: Option<String>,
    pub name: Option<String>,
    pub uri: Option<String>,
    /// On its way to the artifact store; never in an event.
    #[serde(skip)]
    pub data: Option<Vec<u8>>,
    /// Where its bytes are, and how many; set by the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A command that an agent offers in its prompt (`/name`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentCommand {
    pub name: String,
    pub description: String,
    /// What to write behind it, when it takes something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A setting of a session that an agent offers: model, mode, effort.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentOption {
    pub id: String,
    pub name: String,
    /// `mode`, `model`, `thought_level`, or the agent's own word.
    pub category: Option<String>,
    pub current: String,
    /// (value, name)
    pub choices: Vec<(String, String)>,
}

/// Tokens as an agent counts them at the end of a turn. Agents differ in whether they count the turn or the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    pub total: u64,
    /// Without those read from or written to a cache.
    pub input: u64,
    /// Without those of thought.
    pub output: u64,
    pub thought: u64,
    pub cached_read: u64,
    pub cached_write: u64,
    /// True: the counts are those of the whole conversation so far, not of this turn.
    #[serde(default)]
    pub over_conversation: bool,
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
    /// Context fill in tokens; never summed (fact 8). The cost is cumulative: `0.25 USD`.
    Usage { used: u64, size: u64, cost: Option<String> },
    /// Tokens that the answer to a prompt names.
    Tokens { turn: JobId, tokens: TokenUsage },
    /// The whole list, each time it changes.
    Commands { commands: Vec<AgentCommand> },
    /// The mode it is in now.
    Mode { mode_id: String },
    /// The whole list, each time it changes.
    Options { options: Vec<AgentOption> },
    /// The model it uses now.
    Model { model_id: String },
    /// The agent's own title for the conversation: a claim.
    Title { title: String },
    Attachment(Attachment),
    /// What is known of the agent now, when it differs from what was known at its start.
    Capabilities(BackendCapabilities),
    /// An earlier conversation was told again: so many updates were dropped, because they are recorded already.
    Replayed { updates: u64 },
    /// Anything else, counted and kept: its kind, and its text where that is small.
    Other { kind: String, raw: Option<String> },
    /// A line that is not the protocol; the session goes on.
    Noise { sample: String },
    /// The turn ended: ACP stop reason.
    TurnEnded { turn: JobId, stop_reason: String },
    /// The turn failed: the agent answered with an error.
    TurnFailed { turn: JobId, failure: Failure },
    /// The process is gone and its tree is empty.
    Exited { exit_code: Option<i32>, stderr_head: String },
}
