//! One session, live: turns with their tool calls, held requests, ledger, plan, grants.
//!
//! Authority: derived from messages, tool-call events and approvals. What an agent said is carried as
//! its claim; what we saw carries how it was known.

use serde::{Deserialize, Serialize};

use super::{ActionView, ApprovalCard, CostView, EventRow, FailureView, FileRow, GrantRow, JobRow, SessionRow, ToolCallRow, WpRef};

/// The session screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionView {
    pub session: SessionRow,
    /// Which part stands at the side: empty for the overview, ledger, children, checkpoints, grants, raw.
    pub tab: String,
    /// Oldest first.
    pub turns: Vec<TurnView>,
    /// Turns before the first one shown.
    pub earlier_turns: i64,
    /// Messages that wait for delivery, in order.
    pub queued: Vec<QueuedMessage>,
    /// What would become of a message now, by mode.
    pub deliveries: Vec<DeliveryView>,
    /// Pending requests of this session; each also stands in a turn as `TurnItem::Held`.
    pub held: Vec<ApprovalCard>,
    pub plan: Vec<PlanEntry>,
    pub ledger: Vec<LedgerRow>,
    pub grants: Vec<GrantRow>,
    pub changes: Vec<FileRow>,
    pub checkpoints: Vec<CheckpointView>,
    pub children: Vec<SessionRow>,
    /// The whole tree it belongs to, parents first; filled for its tab.
    pub tree: Vec<SessionRow>,
    /// Calls one by one, newest first; filled for its tab.
    pub calls: CallsView,
    /// Events as they were recorded, newest first; filled for its tab.
    pub raw: Vec<RawRow>,
    /// Open sessions that end when it is stopped.
    pub ends: Vec<SessionRow>,
    /// What it can be handed.
    pub route: Option<RouteView>,
    pub jobs: Vec<JobRow>,
    pub events: Vec<EventRow>,
    /// Files a stop would leave uncommitted; `None` is unknown.
    pub uncommitted_files: Option<i64>,
    /// Start or run failure; `output` holds the first lines of standard error.
    pub failure: Option<FailureView>,
    pub output: Vec<String>,
    pub actions: Vec<ActionView>,
    pub handoff_required: bool,
    /// Commands or prompts to start from, shown while there is no turn.
    pub starters: Vec<String>,
}

/// One turn or message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnView {
    /// Stable within the session.
    pub turn_id: String,
    pub number: Option<i64>,
    /// operator, session (another one), agent, system.
    pub who: String,
    pub name: String,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// running, done, failed, cancelled, denied.
    pub status: String,
    /// In words: `delivered 10:21:52 after call 17`.
    pub note: Option<String>,
    pub tokens: Option<i64>,
    pub cost: Option<CostView>,
    pub job_id: Option<String>,
    pub items: Vec<TurnItem>,
    /// Messages and calls before the items; they stand in the record.
    pub earlier_parts: i64,
    pub failure: Option<FailureView>,
}

/// A part of a turn, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TurnItem {
    /// Words of the agent or of the person.
    Text { text: String },
    /// Reasoning the agent chose to show; folded.
    Thought { text: String },
    /// A run of calls.
    Calls { calls: Vec<ToolCallRow> },
    /// A held request; the card stands in `SessionView::held`.
    Held { approval_id: String },
}

/// A message that is not delivered yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuedMessage {
    pub message_id: String,
    /// Whole, so that it can be changed.
    pub text: String,
    pub when: String,
    /// waiting, delivering; unknown when DCC ended while it was handed over.
    pub delivery: String,
    pub queued_at_ms: i64,
    pub job_id: Option<String>,
}

/// A way to send and what will happen, said before it is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveryView {
    /// queue, boundary, now.
    pub when: String,
    pub sentence: String,
    /// It cannot be sent this way; `sentence` says why.
    pub refused: bool,
}

/// One line of the agent's own plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanEntry {
    pub text: String,
    /// pending, in_progress, completed.
    pub status: String,
}

/// Calls of one kind, summed up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerRow {
    pub tool: String,
    pub side_effect: String,
    pub observed: String,
    pub calls: i64,
    pub ok: i64,
    pub failed: i64,
    pub duration_ms: Option<i64>,
}

/// A checkpoint the session can resume from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointView {
    pub number: i64,
    pub seq: i64,
    pub saved_at_ms: i64,
    pub note: Option<String>,
}

/// Which calls of the ledger are shown; none of a kind = all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsFilter {
    /// READ, WRITE, EXECUTE.
    pub effect: Option<String>,
    /// A status of a call: ok, error, running.
    pub status: Option<String>,
    /// gated, reported, inferred.
    pub known: Option<String>,
}

/// The ledger, call by call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsView {
    pub filter: CallsFilter,
    pub items: Vec<ToolCallRow>,
    /// How many fit the filter.
    pub total: i64,
}

/// One event, whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawRow {
    pub event: EventRow,
    /// Its payload as JSON, cut where it is long.
    pub payload: String,
}

/// The packet of the session's worktree and its micro-tasks: what may be routed to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteView {
    pub packet: WpRef,
    /// (id, name, status).
    pub tasks: Vec<(String, String, String)>,
}
