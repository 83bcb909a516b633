//! Approval Inbox: what waits for a decision, the card, what was decided, standing grants.
//!
//! Authority: derived from approval records. Every line of a card is rendered from the plan; the
//! requester's own words stand apart in `ApprovalCard::claim`.

use serde::{Deserialize, Serialize};

use super::{ApprovalRow, FailureView, FileDiff, GrantRow, JobRow, PathView, ToolCallRow};

/// The inbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboxView {
    /// open, decided, grants.
    pub tab: String,
    /// Oldest first: those that stand alone, then one group for each kind that many ask for.
    pub groups: Vec<InboxGroup>,
    pub decided: Vec<ApprovalRow>,
    pub grants: Vec<GrantRow>,
    pub open_count: i64,
    pub decided_count: i64,
    pub grants_count: i64,
    pub selected: Option<ApprovalCard>,
    /// True when the address named the card; a phone then shows the card, else the list.
    pub selected_by_address: bool,
    /// `last grant released 2 calls`.
    pub last_result: Option<String>,
    pub sessions_running: i64,
}

/// A group of waiting approvals.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboxGroup {
    /// `decision`, or `batch:…` for requests of one kind that are shown as one row.
    pub key: String,
    pub title: String,
    /// What a batch has in common, in words: `12 sessions, R1`.
    pub note: String,
    pub items: Vec<ApprovalRow>,
}

/// Everything a person needs to decide, in the fixed order of the card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApprovalCard {
    pub approval: ApprovalRow,
    pub plan_digest: String,
    pub preview_digest: String,
    /// True while a decision can be taken here and now.
    pub decidable: bool,
    /// Why not.
    pub refusal: Option<FailureView>,
    // 1 what exactly
    /// Argument vector of a command.
    pub command: Vec<String>,
    /// Commit message or other text that would be written.
    pub message: Option<String>,
    pub paths: Vec<PathEffect>,
    /// Further facts of the plan as name and value, in order.
    pub facts: Vec<FactView>,
    /// First changed lines, shortened; the whole stands under `diff_href`.
    pub diff: Option<FileDiff>,
    pub diff_href: Option<String>,
    // 2 where
    pub workspace_path: Option<String>,
    pub branch: Option<String>,
    pub parent_oid: Option<String>,
    pub tree_oid: Option<String>,
    pub network: Vec<String>,
    // 3 who and why
    /// Principal that asked: `operator`, `session`.
    pub requester: String,
    pub role: Option<String>,
    pub model_id: Option<String>,
    pub wp_title: Option<String>,
    pub mt_name: Option<String>,
    pub last_instruction: Option<String>,
    /// The requester's own words.
    pub claim: Option<String>,
    // 4 before this
    /// The last five, newest first.
    pub before: Vec<ToolCallRow>,
    // 5 risk
    /// What it does, in a sentence.
    pub risk: String,
    pub reversible: bool,
    /// How to take it back, or that it cannot be.
    pub undo: String,
    pub risk_notes: Vec<String>,
    // 6 rule
    pub capability_id: String,
    /// `coder: ask`.
    pub rule: String,
    pub rule_source: String,
    /// Why no grant covered it.
    pub grant_miss: Option<String>,
    // 7 decide
    pub scopes: Vec<ScopeView>,
    /// R3: the text a person must type before Once works.
    pub confirm_text: Option<String>,
    /// Calls and jobs that ran after the decision.
    pub released: Vec<JobRow>,
}

/// One path the plan touches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathEffect {
    pub path: PathView,
    /// modified, added, deleted, read, created.
    pub kind: String,
    pub additions: Option<i64>,
    pub deletions: Option<i64>,
    pub blob_oid: Option<String>,
}

/// A name with a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FactView {
    pub name: String,
    pub value: String,
}

/// One way to say yes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScopeView {
    /// once, job, session, workspace.
    pub scope: String,
    pub offered: bool,
    /// What it covers and how often: `These 3 paths in job 7d03, max 25 times`.
    pub covers: String,
    /// When it ends; `None` for a yes to this request alone.
    pub until_at_ms: Option<i64>,
    /// Waiting calls it would also release.
    pub releases: i64,
    /// Why it is not offered.
    pub refusal: Option<String>,
}
