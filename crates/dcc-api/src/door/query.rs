//! Reads by name, and the documented address of each.
//!
//! Authority: derived. Invariants: the enum is closed and holds every read of the HTTP API; `to_path` gives the very
//! address whose route builds the same value again (the server's tests compare the two), so a remote door needs no
//! second table. Failure: none here.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use dcc_core::approval::ApprovalStatus;
use dcc_core::locus::WpStatus;
use dcc_core::path::base64;
use dcc_core::ports::store::JobFilter;
use dcc_core::ports::terminal::TerminalSize;
use dcc_core::ports::version::DiffSource;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::principal::Role;
use dcc_core::session::SessionState;
use dcc_core::{ApprovalId, EventId, HandoffId, JobId, RepoPath, SessionId, Sha256Hex, WorkspaceId, WpId};

/// Where a page of a list starts and how long it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Paging {
    /// Opaque: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// 0 means `limits::PAGE_MAX`.
    pub limit: usize,
}

/// What a search looks through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    #[default]
    Objects,
    Code,
    Events,
    Transcripts,
}

impl SearchKind {
    pub const ALL: [Self; 4] = [Self::Objects, Self::Code, Self::Events, Self::Transcripts];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Code => "code",
            Self::Events => "events",
            Self::Transcripts => "transcripts",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Filter over sessions; all given parts must match.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFilter {
    pub states: Vec<SessionState>,
    pub role: Option<Role>,
    /// `local` or `cloud`.
    pub backend: Option<String>,
    pub wp_id: Option<WpId>,
    pub parent_session_id: Option<SessionId>,
    /// The recovery queue: what rests without an agent, with what a person needs to decide.
    pub recovery: bool,
}

/// Every read. Lists hold closed things too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "read", rename_all = "snake_case")]
pub enum Query {
    Jobs { filter: JobFilter },
    Job { job_id: JobId },
    /// With `all` deleted packets too.
    Wps { status: Option<WpStatus>, ready: bool, all: bool, paging: Paging },
    /// The packet with its micro-tasks.
    Wp { wp_id: WpId },
    Workspaces { paging: Paging },
    Workspace { workspace_id: WorkspaceId },
    /// `git status` of the worktree.
    Status { workspace_id: WorkspaceId },
    /// Files with counts; the lines of one file when `path` names it.
    Diff { workspace_id: WorkspaceId, source: DiffSource, path: Option<RepoPath> },
    Log { workspace_id: WorkspaceId, path: Option<RepoPath>, limit: usize },
    /// What is wrong with the workspace, and the repair for each.
    Repairs { workspace_id: WorkspaceId },
    Sessions { filter: SessionFilter, paging: Paging },
    Session { session_id: SessionId },
    /// What the session's terminal showed from a place on, `{from, b64, next, ended}`; waits a while for more when there is none.
    /// Another size than the one given is not waited for.
    Terminal { session_id: SessionId, from: u64, size: Option<TerminalSize> },
    /// What draws the terminal's screen anew, `{rows, columns, b64, next, ended}`; output from `next` on follows.
    TerminalState { session_id: SessionId },
    ToolCalls { session_id: SessionId, after_seq: Option<u64>, limit: usize },
    Board,
    Approvals { status: Option<ApprovalStatus>, paging: Paging },
    Approval { approval_id: ApprovalId },
    Grants { paging: Paging },
    /// Limits and totals of the project, each packet and each session that has either.
    Budgets { paging: Paging },
    Events { filter: EventFilter },
    Event { event_id: EventId },
    Search { q: String, scope: SearchKind, workspace_id: Option<WorkspaceId>, regex: bool, limit: usize },
    Anchors { paging: Paging },
    Handoffs { paging: Paging },
    Handoff { handoff_id: HandoffId },
    Health,
    /// Short ids: `{"items":[{"kind","id"}]}`, all that match.
    Resolve { short: String },
}

/// Address of an artifact's bytes; not a [`Query`], because the answer is not JSON.
pub fn artifact_path(sha256: Sha256Hex) -> String {
    format!("{API}/artifacts/{sha256}")
}

const API: &str = "/api/v1";

impl Query {
    /// The documented address: path and query string, relative to the server.
    pub fn to_path(&self) -> String {
        let mut a = Address::default();
        match self {
            Self::Jobs { filter } => jobs(&mut a, filter),
            Self::Job { job_id } => a.path(format_args!("/jobs/{job_id}")),
            Self::Wps { status, ready, all, paging } => packets(&mut a, *status, *ready, *all, paging),
            Self::Wp { wp_id } => a.path(format_args!("/wps/{wp_id}")),
            Self::Workspaces { paging } => a.list("/workspaces", paging),
            Self::Workspace { workspace_id } => a.path(format_args!("/workspaces/{workspace_id}")),
            Self::Status { workspace_id } => a.path(format_args!("/workspaces/{workspace_id}/status")),
            Self::Diff { workspace_id, source, path } => {
                a.path(format_args!("/workspaces/{workspace_id}/diff"));
                a.source(source);
                a.repo_path(path.as_ref());
            }
            Self::Log { workspace_id, path, limit } => {
                a.path(format_args!("/workspaces/{workspace_id}/log"));
                a.repo_path(path.as_ref());
                a.limit(*limit);
            }
            Self::Repairs { workspace_id } => a.path(format_args!("/workspaces/{workspace_id}/repairs")),
            Self::Sessions { filter, paging } => sessions(&mut a, filter, paging),
            Self::Terminal { session_id, from, size } => {
                a.path(format_args!("/sessions/{session_id}/terminal"));
                a.opt("from", Some(from));
                a.opt("rows", size.map(|s| s.rows));
                a.opt("columns", size.map(|s| s.columns));
            }
            Self::TerminalState { session_id } => a.path(format_args!("/sessions/{session_id}/terminal/state")),
            Self::Session { session_id } => a.path(format_args!("/sessions/{session_id}")),
            Self::ToolCalls { session_id, after_seq, limit } => {
                a.path(format_args!("/sessions/{session_id}/tool-calls"));
                a.opt("after_seq", after_seq.as_ref());
                a.limit(*limit);
            }
            Self::Board => a.path(format_args!("/board")),
            Self::Approvals { status, paging } => {
                a.path(format_args!("/approvals"));
                a.word("status", status.as_ref());
                a.paging(paging);
            }
            Self::Approval { approval_id } => a.path(format_args!("/approvals/{approval_id}")),
            Self::Grants { paging } => a.list("/grants", paging),
            Self::Budgets { paging } => a.list("/budgets", paging),
            Self::Events { filter } => events(&mut a, filter),
            Self::Event { event_id } => a.path(format_args!("/events/{event_id}")),
            Self::Search { q, scope, workspace_id, regex, limit } => {
                a.path(format_args!("/search"));
                a.opt("q", Some(q));
                a.opt("scope", Some(scope.as_str()));
                a.opt("workspace_id", workspace_id.as_ref());
                a.opt("regex", regex.then_some("true"));
                a.limit(*limit);
            }
            Self::Anchors { paging } => a.list("/anchors", paging),
            Self::Handoffs { paging } => a.list("/handoffs", paging),
            Self::Handoff { handoff_id } => a.path(format_args!("/handoffs/{handoff_id}")),
            Self::Health => a.path(format_args!("/health")),
            Self::Resolve { short } => {
                a.path(format_args!("/resolve"));
                a.opt("short", Some(short));
            }
        }
        a.0
    }
}

fn packets(a: &mut Address, status: Option<WpStatus>, ready: bool, all: bool, paging: &Paging) {
    a.path(format_args!("/wps"));
    a.opt("status", status.map(WpStatus::as_str));
    a.opt("ready", ready.then_some("true"));
    a.opt("all", all.then_some("true"));
    a.paging(paging);
}

fn sessions(a: &mut Address, filter: &SessionFilter, paging: &Paging) {
    a.path(format_args!("/sessions"));
    a.joined("state", filter.states.iter().map(|state| state.as_str()));
    a.word("role", filter.role.as_ref());
    a.opt("backend", filter.backend.as_ref());
    a.opt("wp_id", filter.wp_id.as_ref());
    a.opt("parent_session_id", filter.parent_session_id.as_ref());
    a.opt("recovery", filter.recovery.then_some("true"));
    a.paging(paging);
}

fn jobs(a: &mut Address, filter: &JobFilter) {
    a.path(format_args!("/jobs"));
    a.joined("state", filter.states.iter().map(|state| state.as_str()));
    a.opt("op", filter.op.as_ref());
    a.opt("wp_id", filter.wp_id.as_ref());
    a.opt("mt_id", filter.mt_id.as_ref());
    a.opt("session_id", filter.session_id.as_ref());
    a.opt("workspace_id", filter.workspace_id.as_ref());
    a.opt("root_job_id", filter.root_job_id.as_ref());
    a.opt("cursor", filter.cursor.as_ref());
    a.limit(filter.limit);
}

fn events(a: &mut Address, filter: &EventFilter) {
    a.path(format_args!("/events"));
    a.opt("after_seq", filter.after_seq.as_ref());
    a.opt("before_seq", filter.before_seq.as_ref());
    a.opt("wp_id", filter.wp_id.as_ref());
    a.opt("mt_id", filter.mt_id.as_ref());
    a.opt("session_id", filter.session_id.as_ref());
    a.opt("workspace_id", filter.workspace_id.as_ref());
    a.opt("job_id", filter.job_id.as_ref());
    a.opt("workflow_run_id", filter.workflow_run_id.as_ref());
    a.opt("approval_id", filter.approval_id.as_ref());
    a.opt("tool_call_id", filter.tool_call_id.as_ref());
    a.joined("code", filter.codes.iter().map(|code| code.as_str()));
    a.word("actor_kind", filter.actor_kind.as_ref());
    a.opt("actor_id", filter.actor_id.as_ref());
    a.opt("principal", filter.principal.as_ref());
    a.opt("trace_id", filter.trace_id.as_ref());
    a.opt("span_id", filter.span_id.as_ref());
    a.opt("parent_span_id", filter.parent_span_id.as_ref());
    a.opt("project_id", filter.project_id.as_ref());
    a.opt("policy_digest", filter.policy_digest.as_ref());
    a.opt("outcome", filter.outcome.map(dcc_core::event::EventOutcome::as_str));
    a.opt("capability_id", filter.capability_id.as_ref());
    a.opt("text", filter.text.as_ref());
    a.opt("since", filter.since.as_ref());
    a.opt("until", filter.until.as_ref());
    a.opt("order", (filter.order == Order::Descending).then_some("descending"));
    a.limit(filter.limit);
}

/// An address under construction.
#[derive(Default)]
struct Address(String);

impl Address {
    /// Ids hold letters, digits and dashes only, so a path needs no encoding.
    fn path(&mut self, path: fmt::Arguments<'_>) {
        let _ = write!(self.0, "{API}{path}");
    }
    fn list(&mut self, path: &str, paging: &Paging) {
        self.path(format_args!("{path}"));
        self.paging(paging);
    }
    fn paging(&mut self, paging: &Paging) {
        self.opt("cursor", paging.cursor.as_ref());
        self.limit(paging.limit);
    }
    fn limit(&mut self, limit: usize) {
        self.opt("limit", (limit > 0).then_some(limit));
    }
    fn opt(&mut self, name: &str, value: Option<impl fmt::Display>) {
        let Some(value) = value else { return };
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.to_string().bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~/,:".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
    }
    fn joined<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        let all = values.collect::<Vec<_>>().join(",");
        self.opt(name, (!all.is_empty()).then_some(all));
    }
    /// The wire word of a unit enum.
    fn word(&mut self, name: &str, value: Option<&impl Serialize>) {
        let word = value.and_then(|v| serde_json::to_value(v).ok()).and_then(|v| v.as_str().map(str::to_owned));
        self.opt(name, word);
    }
    fn source(&mut self, source: &DiffSource) {
        match source {
            DiffSource::Uncommitted => self.opt("source", Some("uncommitted")),
            DiffSource::Branch { base } => {
                self.opt("source", Some("branch"));
                self.opt("base", Some(base));
            }
            DiffSource::Commit { oid } => {
                self.opt("source", Some("commit"));
                self.opt("oid", Some(oid));
            }
        }
    }
    /// `path` when it is UTF-8, else `b64`.
    fn repo_path(&mut self, path: Option<&RepoPath>) {
        let Some(path) = path else { return };
        match std::str::from_utf8(path.as_bytes()) {
            Ok(text) => self.opt("path", Some(text)),
            Err(_) => self.opt("b64", Some(base64(path.as_bytes()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_documented_ones() {
        let ws = "0198c0de-0000-7000-8000-00000000000a".parse().unwrap();
        let path = RepoPath::new(b"src/\xff a.rs".to_vec()).unwrap();
        assert_eq!(Query::Board.to_path(), "/api/v1/board");
        assert_eq!(
            Query::Wps { status: Some(WpStatus::Ready), ready: true, all: false, paging: Paging { cursor: Some("a b".into()), limit: 5 } }.to_path(),
            "/api/v1/wps?status=ready&ready=true&cursor=a%20b&limit=5"
        );
        assert_eq!(
            Query::Diff { workspace_id: ws, source: DiffSource::Branch { base: "main&x".into() }, path: Some(path) }.to_path(),
            format!("/api/v1/workspaces/{ws}/diff?source=branch&base=main%26x&b64=c3JjL/8gYS5ycw%3D%3D")
        );
        assert_eq!(Query::Approvals { status: Some(ApprovalStatus::Pending), paging: Paging::default() }.to_path(), "/api/v1/approvals?status=pending");
    }
}
