//! The screens: one builder of a view model each, over the ports of this process.
//!
//! Authority: derived. Invariants: nothing here changes anything, except that requests past their end are marked as
//! such before the inbox is read; an unknown value stays `None`. Failure: what cannot be read becomes a failure or a
//! notice of that part and the page still renders; only an object that is not there fails the page.

mod board;
mod card;
mod card_parts;
mod changed;
mod changes;
mod checkout;
pub(super) mod costs;
mod drift;
mod family;
mod health;
mod health_outside;
mod inbox;
mod jobs;
mod names;
mod packet;
mod packet_parts;
mod review;
mod rows;
mod search;
mod sentence;
mod session;
mod session_tabs;
mod sessions;
mod shell;
mod terminal;
mod timeline;
mod turns;
mod workspaces;
mod write_diff;

use dcc_core::principal::{Actor, Principal};
use dcc_core::{Code, Failure, Outcome, WorkspaceId};

use super::App;
use crate::door::{Page, PageQuery, Screens};
use crate::view::Shell;

/// What is remembered of these worktrees is old now.
pub(super) fn moved(workspaces: &[WorkspaceId]) {
    checkout::moved(workspaces);
    changed::forget(workspaces);
}

impl Screens for App {
    fn page(&self, actor: Actor, page: PageQuery) -> Outcome<Page> {
        if let Principal::Agent { .. } = actor.principal {
            return Err(Failure::new(Code::Capability, "an agent reads through its session's own tools"));
        }
        Ok(match page {
            PageQuery::Board { layout, filter, q } => Page::Board(Box::new(self.board_view(layout, filter, q))),
            PageQuery::Packet { wp_id } => Page::Packet(Box::new(self.packet_view(&wp_id)?)),
            PageQuery::Workspaces { archived } => Page::Workspaces(Box::new(self.workspaces_view(archived)?)),
            PageQuery::Review { workspace_id, source, file } => Page::Review(Box::new(self.review_view(workspace_id, &source, file)?)),
            PageQuery::ReviewFile { workspace_id, source, path } => Page::ReviewFile(Box::new(self.review_file(workspace_id, &source, &path)?)),
            PageQuery::Sessions { group, filter, cursor } => Page::Sessions(Box::new(self.sessions_view(group, filter, cursor.as_deref())?)),
            PageQuery::Session { session_id, tab, calls } => Page::Session(Box::new(self.session_view(session_id, tab, calls)?)),
            PageQuery::Terminal { session_id } => Page::Terminal(Box::new(self.terminal_view(session_id)?)),
            PageQuery::Inbox { tab, selected } => Page::Inbox(Box::new(self.inbox_view(tab, selected)?)),
            PageQuery::Approval { approval_id } => Page::Approval(Box::new(self.approval_card(approval_id)?)),
            PageQuery::Jobs { filter, cursor } => Page::Jobs(Box::new(self.jobs_view(filter, cursor.as_deref())?)),
            PageQuery::Job { job_id } => Page::Job(Box::new(self.job_view(job_id)?)),
            PageQuery::Timeline { filter, layout, cursor } => Page::Timeline(Box::new(self.timeline_view(filter, layout, cursor.as_deref())?)),
            PageQuery::Event { event_id } => Page::Event(Box::new(self.event_view(event_id)?)),
            PageQuery::Search { q, scope, workspace_id, regex } => Page::Search(Box::new(self.search_view(q, scope, workspace_id, regex))),
            PageQuery::Health => Page::Health(Box::new(self.health_view())),
        })
    }

    fn shell(&self) -> Shell {
        self.shell_view()
    }
}
