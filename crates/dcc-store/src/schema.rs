//! The numbered migrations of `devcc.db` (DATA 6), up and down.
//!
//! Authority: derived. Invariant: a published migration's text never changes; a new need is a new number. Version 1 is
//! exactly the tables and columns of DATA 6; whatever the product needs beyond stands in tables of version 2, so the
//! version 1 columns keep their meaning.

/// One numbered step.
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

/// The schema this program writes.
pub const SCHEMA_VERSION: u32 = 2;

/// Raised whenever a projection's meaning changes without a change of tables: rows of another number are dropped on
/// open and fed again.
pub(crate) const PROJECTION_VERSION: u32 = 3;

/// `DCC1`, in the database header: tells our file from somebody else's.
pub(crate) const APPLICATION_ID: i64 = 0x4443_4331;

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "workspaces, sessions, approvals, anchors, handoffs, conversations", up: include_str!("schema/v1_up.sql"), down: include_str!("schema/v1_down.sql") },
    Migration { version: 2, name: "jobs, ledger, packets, richer records, cursor", up: include_str!("schema/v2_up.sql"), down: include_str!("schema/v2_down.sql") },
];

/// Every table with rows, children before parents.
pub(crate) const TABLES: &[&str] = &[
    "handoff_evidence",
    "handoffs",
    "anchor_mt_links",
    "anchor_dependencies",
    "anchor_links",
    "anchor_notes",
    "objective_anchors",
    "session_conversations",
    "conversation_sessions",
    "session_capability_grants",
    "approval_tokens",
    "pending_approvals",
    "execution_sessions",
    "workspaces",
    "projects",
    "gates",
    "attempts",
    "jobs",
    "approvals",
    "grants",
    "session_records",
    "workspace_records",
    "tool_calls",
    "messages",
    "work_packets",
    "micro_tasks",
    "board_state",
    "projection_cursor",
    "store_meta",
];
