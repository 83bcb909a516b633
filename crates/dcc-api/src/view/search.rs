//! Search over code, objects, events and transcripts.
//!
//! Authority: derived; a hit is a reference with a snippet, never a copy to work on.

use serde::{Deserialize, Serialize};

use super::FailureView;

/// One search and its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchView {
    pub q: String,
    /// objects, code, events, transcripts.
    pub scope: String,
    pub scopes: Vec<SearchScope>,
    pub groups: Vec<SearchGroup>,
    pub total: i64,
    /// True when the search stopped at its limit.
    pub truncated: bool,
    pub took_ms: Option<i64>,
    pub failure: Option<FailureView>,
}

/// A scope with its count; a scope that is not built says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchScope {
    pub scope: String,
    pub title: String,
    pub count: Option<i64>,
    pub built: bool,
}

/// Hits of one workspace or kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchGroup {
    pub title: String,
    pub workspace_id: Option<String>,
    pub items: Vec<SearchHit>,
}

/// One hit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchHit {
    /// wp, mt, session, approval, job, workspace, event, code, message.
    pub kind: String,
    /// Name: an id, or path and line.
    pub title: String,
    /// What stands beside it.
    pub detail: String,
    pub href: String,
    pub status: Option<String>,
    pub snippet: Vec<SnippetLine>,
    /// Other workspaces that hold the same hit.
    pub also_in: i64,
}

/// A line of a snippet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnippetLine {
    pub number: Option<i64>,
    pub text: String,
    /// Byte ranges that matched.
    pub marks: Vec<(usize, usize)>,
}
