//! The inbox: what waits, what was decided today, standing grants.
//!
//! Authority: derived; requests past their end are marked before they are listed, which is the recorder's to keep.

use dcc_core::approval::{Approval, ApprovalStatus};
use dcc_core::principal::Principal;
use dcc_core::session::SessionState;
use dcc_core::{ApprovalId, Outcome, limits};
use dcc_jobs::ledger;

use super::super::App;
use super::names::Names;
use super::rows::{approval_row, counted, grant_row, word};
use crate::view::{ApprovalRow, InboxGroup, InboxView};

/// Decided rows on one page.
const DECIDED_MAX: usize = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl App {
    pub(super) fn inbox_view(&self, tab: String, selected: Option<ApprovalId>) -> Outcome<InboxView> {
        // A read-only record cannot take the expiry; the requests then show as they stand, undecidable.
        let _ = self.runner.expire_due();
        let store = &self.cx().ports.store;
        let names = self.names();
        let all = store.approvals(None, limits::PAGE_MAX)?;
        let mut open: Vec<&Approval> = all.iter().filter(|a| a.status == ApprovalStatus::Pending).collect();
        open.sort_by_key(|a| (a.requested_at, a.approval_id));
        let mut decided: Vec<&Approval> = all.iter().filter(|a| ended_today(a, names.now.as_ms())).collect();
        decided.sort_by_key(|a| std::cmp::Reverse(ended_at(a)));
        let mut grants: Vec<_> = names.grants.iter().collect();
        grants.sort_by_key(|g| (names.grant_status(g) != "active", std::cmp::Reverse(g.issued_at)));
        let mut view = InboxView {
            groups: group(&open, &names),
            open_count: open.len() as i64,
            decided_count: decided.len() as i64,
            grants_count: grants.iter().filter(|g| names.grant_status(g) == "active").count() as i64,
            decided: decided.iter().take(DECIDED_MAX).map(|a| self.decided_row(a, &names)).collect(),
            grants: grants.into_iter().map(|g| grant_row(g, &names)).collect(),
            selected_by_address: selected.is_some(),
            last_result: decided.first().map(|a| last_result(&self.decided_row(a, &names))),
            sessions_running: names.sessions.values().filter(|s| s.state == SessionState::Active).count() as i64,
            ..InboxView::default()
        };
        view.selected = match (selected, tab.as_str()) {
            (Some(id), _) => Some(self.card(&ledger::approval(self.cx().ports.recorder.as_ref(), id)?, &names)),
            (None, "decided" | "grants") => None,
            (None, _) => open.first().map(|a| self.card(a, &names)),
        };
        view.tab = tab;
        Ok(view)
    }

    fn decided_row(&self, approval: &Approval, names: &Names) -> ApprovalRow {
        let job = self.cx().ports.store.job(approval.job_id).ok().flatten();
        let mut row = approval_row(approval, names, job.as_ref());
        row.decided_at_ms = row.decided_at_ms.or_else(|| Some(ended_at(approval)));
        row
    }
}

/// When it was decided, or ran out.
fn ended_at(approval: &Approval) -> i64 {
    match (&approval.decision, approval.status) {
        (Some(decision), _) => decision.decided_at.as_ms(),
        (None, ApprovalStatus::Expired) => approval.expires_at.as_ms(),
        (None, _) => approval.requested_at.as_ms(),
    }
}

fn ended_today(approval: &Approval, now_ms: i64) -> bool {
    approval.status != ApprovalStatus::Pending && now_ms - ended_at(approval) < DAY_MS
}

/// Requests alike that are worth one row: fewer are quicker read one by one.
const BATCH_MIN: usize = 4;

/// What makes requests of agents one kind: the operation, what is asked for, the class of its risk, the first word of its
/// sentence. Paths and sessions differ within a batch; each is still decided by itself.
fn kind_of(approval: &Approval) -> Option<String> {
    matches!(approval.requester.principal, Principal::Agent { .. })
        .then(|| format!("{}:{}:{}:{}", approval.op, word(&approval.intent), approval.tier.as_str(), approval.preview.title.split(' ').next().unwrap_or("")))
}

/// Those that stand alone first, oldest first; then one group for each kind that many ask for.
fn group(open: &[&Approval], names: &Names) -> Vec<InboxGroup> {
    let count = |kind: &str| open.iter().filter(|a| kind_of(a).as_deref() == Some(kind)).count();
    let mut alone = InboxGroup { key: "decision".to_owned(), title: "Needs your decision".to_owned(), ..InboxGroup::default() };
    let mut batches: Vec<(String, Vec<&Approval>)> = Vec::new();
    for approval in open {
        match kind_of(approval).filter(|kind| count(kind) >= BATCH_MIN) {
            None => alone.items.push(approval_row(approval, names, None)),
            Some(kind) => match batches.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, members)) => members.push(approval),
                None => batches.push((kind, vec![approval])),
            },
        }
    }
    let mut groups: Vec<InboxGroup> = Vec::new();
    if !alone.items.is_empty() {
        groups.push(alone);
    }
    groups.extend(batches.into_iter().map(|(kind, members)| batch(&kind, &members, names)));
    groups
}

fn batch(kind: &str, members: &[&Approval], names: &Names) -> InboxGroup {
    let sessions: std::collections::BTreeSet<_> = members.iter().filter_map(|a| a.session_id).collect();
    let first = members[0];
    let mut title = first.intent.phrase();
    if let Some(front) = title.get(..1).map(str::to_uppercase) {
        title.replace_range(..1, &front);
    }
    InboxGroup {
        key: format!("batch:{kind}"),
        title,
        note: format!("{} of {}, {} each", counted(members.len(), "request"), counted(sessions.len(), "session"), first.tier.as_str()),
        items: members.iter().map(|a| approval_row(a, names, None)).collect(),
    }
}

fn last_result(row: &ApprovalRow) -> String {
    let outcome = row.outcome.as_ref().map_or_else(String::new, |o| format!(", {o}"));
    // An approval that its job has used is, for a person, one that he gave.
    format!("last: {} {}{outcome}", row.title, if row.status == "consumed" { "approved" } else { &row.status })
}
