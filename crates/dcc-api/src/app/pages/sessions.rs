//! Sessions as a list.
//!
//! Authority: derived.

use dcc_core::budget::BudgetScope;
use dcc_core::event::EventCode;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::session::Session;
use dcc_core::workspace::WorkspaceStatus;
use dcc_core::{Outcome, limits};
use dcc_jobs::budgets;

use super::super::App;
use super::costs::cost_view;
use super::checkout::{Depth, workspace_row};
use super::family::family_row;
use super::rows::budget_view;
use crate::view::{SessionRow, SessionsFilter, SessionsView};

const SHOWN: usize = 200;

impl App {
    pub(super) fn sessions_view(&self, group: String, filter: SessionsFilter, cursor: Option<&str>) -> Outcome<SessionsView> {
        let all = self.cx().ports.store.sessions(limits::PAGE_MAX)?;
        let names = self.names();
        let shown: Vec<&Session> = all.iter().filter(|s| wanted(s, &filter)).collect();
        let start = cursor.and_then(|c| c.parse::<usize>().ok()).unwrap_or(0);
        let items: Vec<SessionRow> = shown.iter().skip(start).take(SHOWN).map(|s| self.budgeted(self.session_since(family_row(s, &names), s), s)).collect();
        let next = start + items.len();
        let mut open: Vec<_> = names.workspaces.values().filter(|w| w.status == WorkspaceStatus::Active).collect();
        open.sort_by_key(|w| std::cmp::Reverse(w.last_opened_at.unwrap_or(w.created_at)));
        let seen = self.checkouts(&open, Depth::Status);
        let mut backends: Vec<String> = all.iter().map(|s| s.backend.clone()).filter(|b| !b.is_empty()).collect();
        backends.sort();
        backends.dedup();
        Ok(SessionsView {
            costs: self.cost_rows(&all, &items, &names),
            items,
            backends,
            next_cursor: (next < shown.len()).then(|| next.to_string()),
            group,
            filter,
            hidden: (all.len() - shown.len()) as i64,
            ended: all.iter().filter(|s| s.state.is_terminal()).count() as i64,
            workspaces: open.iter().map(|w| workspace_row(w, seen.get(&w.workspace_id), &names)).collect(),
        })
    }

    /// Adds how much of the session's own limits is used.
    pub(super) fn budgeted(&self, mut row: SessionRow, session: &Session) -> SessionRow {
        // What a running turn has used is not in its session yet.
        if let Some(used) = budgets::running(self.cx(), session.session_id) {
            row.cost = row.cost.or_else(|| used.cost.as_ref().map(cost_view));
            if row.tokens_in.is_none() && used.tokens() > 0 {
                (row.tokens_in, row.tokens_out) = (Some(used.tokens_in as i64), Some(used.tokens_out as i64));
            }
        }
        let scope = BudgetScope::Session { session_id: session.session_id };
        let limited = budgets::budget_of(self.cx(), &scope).ok().filter(|budget| !budget.is_unlimited());
        row.budget = limited.and_then(|budget| budget_view(&budget, &budgets::totals_of(self.cx(), &scope).ok()?));
        row
    }

    /// Adds when the present state of an open session began, and when it works and nothing is heard of it.
    pub(super) fn session_since(&self, mut row: SessionRow, session: &Session) -> SessionRow {
        if !session.state.is_terminal() {
            let filter = EventFilter {
                session_id: Some(session.session_id),
                codes: vec![EventCode::SessionCreated, EventCode::SessionStateChange],
                order: Order::Descending,
                limit: 1,
                ..EventFilter::default()
            };
            row.state_since_at_ms = self.cx().ports.recorder.read(&filter).ok().and_then(|events| events.first().map(|e| e.ts.as_ms()));
            row.quiet = self.quiet(session);
        }
        row
    }
}

fn wanted(session: &Session, filter: &SessionsFilter) -> bool {
    let state = match filter.state.as_str() {
        "all" => true,
        "" | "open" => !session.state.is_terminal(),
        "needs" => session.need().is_some(),
        state => session.state.as_str().eq_ignore_ascii_case(state),
    };
    state && filter.role.as_deref().is_none_or(|role| session.role.as_str() == role) && filter.backend.as_deref().is_none_or(|backend| session.backend == backend)
}
