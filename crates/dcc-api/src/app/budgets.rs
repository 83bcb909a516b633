//! Budgets and totals as rows: the project, every packet with sessions or a limit, every session, every provider.
//!
//! Authority: derived, from canon alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use dcc_core::Outcome;
use dcc_core::budget::{Budget, BudgetScope, Totals};
use dcc_core::ids::WpId;
use dcc_jobs::{budgets, ledger};

use super::App;
use super::pages::costs::provider;

impl App {
    /// `{scope, wp_id?, session_id?, provider?, budget, totals, crossings, currencies_mixed}`, the project first.
    pub(super) fn budgets(&self) -> Outcome<Vec<Value>> {
        let cx = self.cx();
        let sessions = ledger::sessions(cx.ports.recorder.as_ref())?;
        let mut packets: BTreeMap<WpId, ()> = sessions.iter().filter_map(|s| s.wp_id.clone()).map(|id| (id, ())).collect();
        packets.extend(cx.ports.locus.packets()?.into_iter().map(|entry| (entry.record.wp_id, ())));
        let mut scopes = vec![BudgetScope::Project];
        scopes.extend(packets.into_keys().map(|wp_id| BudgetScope::Packet { wp_id }));
        scopes.extend(sessions.iter().map(|s| BudgetScope::Session { session_id: s.session_id }));
        let mut rows = Vec::new();
        for scope in scopes {
            let budget = budgets::budget_of(cx, &scope)?;
            let totals = budgets::totals_of(cx, &scope)?;
            if matches!(scope, BudgetScope::Packet { .. }) && budget.is_unlimited() && totals == Totals::default() {
                continue;
            }
            let crossings = budget.crossings(&totals);
            let mut row = serde_json::to_value(&scope).unwrap_or_default();
            row["budget"] = json!(budget);
            row["totals"] = json!(totals);
            row["crossings"] = json!(crossings);
            row["currencies_mixed"] = json!(!totals.elsewhere.is_empty());
            rows.push(row);
        }
        let mut providers: BTreeMap<String, (Totals, bool)> = BTreeMap::new();
        for session in &sessions {
            let (totals, mixed) = providers.entry(provider(session)).or_default();
            *mixed |= totals.add(&session.totals);
        }
        // A provider has no limit of its own; what it was paid is counted all the same.
        rows.extend(providers.into_iter().map(|(name, (totals, mixed))| {
            json!({ "scope": "provider", "provider": name, "budget": Budget::default(), "totals": totals, "crossings": [], "currencies_mixed": mixed })
        }));
        Ok(rows)
    }
}
