//! Names of things that rows mention beside an id, read once a page.
//!
//! Authority: derived. Failure: what cannot be read has no name; the row then shows the id alone.

use std::collections::HashMap;

use dcc_core::approval::{Approval, ApprovalStatus, Grant};
use dcc_core::event::EventCode;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::principal::Principal;
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{SessionId, Timestamp, WorkspaceId, WpId, limits};

use super::super::App;
use super::super::records::grant_status;
use crate::view::MarkView;

/// Lookup by id for one page.
#[derive(Default)]
pub(super) struct Names {
    pub now: Timestamp,
    pub sessions: HashMap<SessionId, Session>,
    pub workspaces: HashMap<WorkspaceId, Workspace>,
    pub titles: HashMap<WpId, String>,
    pub pending: Vec<Approval>,
    pub grants: Vec<Grant>,
    /// What was recorded as ungoverned, by workspace and code.
    pub marks: HashMap<(WorkspaceId, EventCode), MarkView>,
}

impl App {
    pub(super) fn names(&self) -> Names {
        let ports = &self.cx().ports;
        let store = &ports.store;
        Names {
            now: self.cx().now(),
            sessions: store.sessions(limits::PAGE_MAX).unwrap_or_default().into_iter().map(|s| (s.session_id, s)).collect(),
            workspaces: store.workspaces().unwrap_or_default().into_iter().map(|w| (w.workspace_id, w)).collect(),
            titles: ports.locus.packets().unwrap_or_default().into_iter().map(|e| (e.record.wp_id, e.record.title)).collect(),
            pending: store.approvals(Some(ApprovalStatus::Pending), limits::PAGE_MAX).unwrap_or_default(),
            grants: store.grants(limits::PAGE_MAX).unwrap_or_default(),
            marks: self.marks(),
        }
    }

    fn marks(&self) -> HashMap<(WorkspaceId, EventCode), MarkView> {
        let filter = EventFilter { codes: vec![EventCode::OutOfBandChange, EventCode::UngatedEffect], order: Order::Descending, ..EventFilter::default() };
        let mut marks: HashMap<_, MarkView> = HashMap::new();
        for event in self.cx().ports.recorder.read(&filter).unwrap_or_default() {
            let Some(id) = event.workspace_id else { continue };
            // Newest first: the first one seen is the last that happened.
            let mark = marks.entry((id, event.code)).or_insert_with(|| MarkView {
                message: event.payload["message"].as_str().unwrap_or_default().to_owned(),
                last_at_ms: event.ts.as_ms(),
                ..MarkView::default()
            });
            mark.count += 1;
        }
        marks
    }
}

impl Names {
    pub fn agent(&self, session: Option<SessionId>) -> Option<String> {
        session.and_then(|id| self.sessions.get(&id)).map(|s| s.agent.clone())
    }
    pub fn title(&self, wp_id: Option<&WpId>) -> Option<String> {
        wp_id.and_then(|id| self.titles.get(id)).cloned()
    }
    pub fn branch(&self, workspace: Option<WorkspaceId>) -> Option<String> {
        workspace.and_then(|id| self.workspaces.get(&id)).and_then(|w| w.branch.clone())
    }
    /// Requests that wait and that this session made itself.
    pub fn pending_of(&self, session: SessionId) -> impl Iterator<Item = &Approval> {
        self.pending.iter().filter(move |a| a.requester.principal == Principal::Agent { session_id: session })
    }
    /// Live grants that a session may use.
    pub fn grants_of<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(|g| self.grant_status(g) == "active" && applies(g, session))
    }
    pub fn grant_status(&self, grant: &Grant) -> &'static str {
        grant_status(grant, grant.binding.session_id.and_then(|id| self.sessions.get(&id)), self.now)
    }
}

/// True when the grant is bound to this session, or to its workspace for agents.
pub(super) fn applies(grant: &Grant, session: &Session) -> bool {
    let binding = &grant.binding;
    binding.by_agent && binding.session_id.map_or_else(|| binding.workspace_id.is_some() && binding.workspace_id == session.workspace_id, |id| id == session.session_id)
}
