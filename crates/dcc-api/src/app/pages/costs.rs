//! What was used, by project, packet, provider and session, beside the limits of each.
//!
//! Authority: derived, up to each session's last recorded turn or checkpoint. Amounts of different currencies are never
//! added: a sum that leaves one out says so.

use std::collections::BTreeMap;

use dcc_core::budget::{BudgetScope, Cost, Totals};
use dcc_core::session::{Session, provider_of};
use dcc_jobs::budgets;

use super::super::App;
use super::names::Names;
use super::rows::budget_view;
use crate::view::{CostRow, CostView, SessionRow};

/// Sessions of the panel: those that used most.
const SESSIONS_SHOWN: usize = 12;

#[derive(Default)]
struct Sum {
    totals: Totals,
    mixed: bool,
    sessions: i64,
}

impl Sum {
    fn add(&mut self, session: &Session) {
        self.mixed |= self.totals.add(&session.totals);
        self.sessions += 1;
    }
    fn row(&self, scope: &str, name: String) -> CostRow {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        CostRow {
            scope: scope.to_owned(),
            name,
            sessions: self.sessions,
            tokens_in: signed(self.totals.tokens_in),
            tokens_out: signed(self.totals.tokens_out),
            cost: self.totals.cost.as_ref().map(cost_view),
            mixed: self.mixed,
            wall_ms: signed(self.totals.wall_ms),
            ..CostRow::default()
        }
    }
}

/// Whose service a session uses.
pub(in crate::app) fn provider(session: &Session) -> String {
    if session.provider.is_empty() { provider_of(&session.agent) } else { session.provider.clone() }
}

pub(super) fn cost_view(cost: &Cost) -> CostView {
    CostView { amount: cost.amount.to_string(), currency: cost.currency.clone(), source: cost.source.as_str().to_owned() }
}

impl App {
    /// The project, packets, providers, then the sessions that used most; `shown` lends its budgets.
    pub(super) fn cost_rows(&self, all: &[Session], shown: &[SessionRow], names: &Names) -> Vec<CostRow> {
        let mut project = Sum::default();
        let (mut packets, mut providers) = (BTreeMap::new(), BTreeMap::new());
        for session in all {
            project.add(session);
            providers.entry(provider(session)).or_insert_with(Sum::default).add(session);
            if let Some(wp_id) = &session.wp_id {
                packets.entry(wp_id.clone()).or_insert_with(Sum::default).add(session);
            }
        }
        let mut rows = vec![self.limited(project.row("project", "The project".to_owned()), &BudgetScope::Project, &project.totals)];
        for (wp_id, sum) in packets {
            let title = names.titles.get(&wp_id).map_or_else(String::new, |title| format!(" {title}"));
            let row = CostRow { href: Some(format!("/wp/{wp_id}")), ..sum.row("packet", format!("{wp_id}{title}")) };
            rows.push(self.limited(row, &BudgetScope::Packet { wp_id }, &sum.totals));
        }
        rows.extend(providers.into_iter().map(|(name, sum)| sum.row("provider", name)));
        let mut most: Vec<&Session> = all.iter().filter(|s| s.totals != Totals::default()).collect();
        most.sort_by_key(|s| std::cmp::Reverse((s.totals.tokens(), s.totals.wall_ms)));
        for session in most.into_iter().take(SESSIONS_SHOWN) {
            let id = session.session_id.to_string();
            let mut sum = Sum::default();
            sum.add(session);
            let budget = shown.iter().find(|row| row.session_id == id).and_then(|row| row.budget.clone());
            rows.push(CostRow { href: Some(format!("/session/{id}")), budget, ..sum.row("session", format!("{} {}", session.agent, session.session_id.short())) });
        }
        rows
    }

    fn limited(&self, mut row: CostRow, scope: &BudgetScope, totals: &Totals) -> CostRow {
        if let Ok(budget) = budgets::budget_of(self.cx(), scope) {
            row.soft_percent = (!budget.is_unlimited()).then_some(i64::from(budget.soft_percent));
            row.budget = budget_view(&budget, totals);
        }
        row
    }
}
