//! Timeline: the Flight Recorder as a list and one event with its neighbours.
//!
//! Authority: derived from the recorder; the view says how far the chain was verified.

use serde::{Deserialize, Serialize};

use super::{EventRow, FactView};

/// The timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineView {
    pub filter: TimelineFilter,
    /// Newest first.
    pub items: Vec<EventRow>,
    /// Cursor to older events.
    pub next_cursor: Option<String>,
    /// Events that match, where counting was cheap.
    pub total: Option<i64>,
    pub verified_seq: Option<i64>,
    pub verified_at_ms: Option<i64>,
    pub broken: Option<ChainBreak>,
    /// list or lanes; empty is list.
    pub layout: String,
    /// Filled for the lanes layout.
    pub lanes: Vec<TimelineLane>,
    pub from_at_ms: Option<i64>,
    pub to_at_ms: Option<i64>,
}

/// Filters as they stand in the address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineFilter {
    pub wp: Option<String>,
    pub mt: Option<String>,
    pub session: Option<String>,
    pub ws: Option<String>,
    pub job: Option<String>,
    pub approval: Option<String>,
    pub code: Option<String>,
    pub q: Option<String>,
}

/// Where verification stopped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChainBreak {
    pub seq: i64,
    pub message: String,
}

/// One lane of the graphic: a session, the operator, or the system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineLane {
    pub name: String,
    pub session_id: Option<String>,
    pub note: String,
    pub spans: Vec<TimelineSpan>,
    pub marks: Vec<TimelineMark>,
}

/// A span of time in a lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineSpan {
    /// run, wait, pause, blocked.
    pub kind: String,
    pub label: String,
    pub from_at_ms: i64,
    /// `None` is still going on.
    pub to_at_ms: Option<i64>,
}

/// A moment in a lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineMark {
    /// call, ask, decision, error.
    pub kind: String,
    pub label: String,
    pub at_ms: i64,
    pub event_id: String,
}

/// One event, opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventView {
    pub event: EventRow,
    /// Every header column that is set, in the order of the record.
    pub header: Vec<FactView>,
    /// Payload as formatted JSON.
    pub payload_json: Option<String>,
    /// Said where the payload is gone or lies in an artifact.
    pub payload_note: Option<String>,
    pub payload_sha256: String,
    pub prev_hash: String,
    pub hash: String,
    /// Neighbours, oldest first; the event itself is among them.
    pub context: Vec<EventRow>,
}
