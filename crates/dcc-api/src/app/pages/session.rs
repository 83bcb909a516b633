//! One session, live.
//!
//! Authority: derived. Failure: HSK-404-SESSION when there is no such session; every other part may be missing.

use std::collections::{HashMap, HashSet};

use dcc_core::approval::Approval;
use dcc_core::event::{Event, EventCode};
use dcc_core::job::Job;
use dcc_core::op::Op;
use dcc_core::ports::sessions::{Observed, SideEffect, Steer, ToolStatus};
use dcc_core::ports::store::{Message, ToolCall};
use dcc_core::ports::{Driver, EventFilter, JobFilter, Order};
use dcc_core::session::{Delivery, Session, SessionState, StateReason, WaitingMessage, delivery_of, is_prompt};
use dcc_core::{Code, Failure, JobId, Outcome, SessionId, limits};
use dcc_jobs::ledger;

use super::super::App;
use super::changes::file_rows;
use super::family::family_row;
use super::names::{Names, applies};
use super::packet_parts::action;
use super::rows::{duration_ms, effect_word, event_row, grant_row, job_row, line, session_row, tool_call_row, tool_name, word};
use super::turns::{TURNS_MAX, turns};
use crate::view::{ActionView, ApprovalCard, CallsFilter, CostView, DeliveryView, FailureView, LedgerRow, PlanEntry, QueuedMessage, SessionView, TurnItem};

/// Messages and calls read for one page; older ones stand in the record.
const READ_MAX: usize = 20_000;
const JOBS_SHOWN: usize = 20;
const EVENTS_SHOWN: usize = 20;
const HELD_MAX: usize = 20;

impl App {
    pub(super) fn session_view(&self, id: SessionId, tab: String, filter: CallsFilter) -> Outcome<SessionView> {
        let ports = &self.cx().ports;
        // The derived record carries the counts; canon answers when it lags behind.
        let session = match ports.store.session(id) {
            Ok(Some(session)) => session,
            _ => ledger::session(ports.recorder.as_ref(), id)?,
        };
        let names = self.names();
        let mut view = SessionView { session: self.session_since(family_row(&session, &names), &session), tab, ..SessionView::default() };
        let messages = self.messages(id);
        let mut calls = self.calls(id);
        relative(&mut calls, &names);
        let jobs = ports.store.jobs(&JobFilter { session_id: Some(id), limit: limits::PAGE_MAX, ..JobFilter::default() }).unwrap_or_default();
        view.held = self.held(&session, &names);
        fill_turns(&mut view, &session, &messages, &calls, &jobs);
        view.ledger = sums(&calls);
        view.jobs = jobs.iter().filter(|j| j.op != Op::CapabilityRequest && j.op != Op::FsWrite).take(JOBS_SHOWN).map(job_row).collect();
        view.grants = names.grants.iter().filter(|g| applies(g, &session)).map(|g| grant_row(g, &names)).collect();
        view.children = names.sessions.values().filter(|s| s.parent_session_id == Some(id)).map(|s| session_row(s, &names)).collect();
        self.fill_tab(&mut view, &session, &calls, filter, &names);
        settle_held(&mut view, &names);
        self.fill_updates(&mut view, id);
        self.fill_changes_of(&mut view, &session);
        let last = EventFilter { session_id: Some(id), order: Order::Descending, limit: EVENTS_SHOWN, ..EventFilter::default() };
        view.events = ports.recorder.read(&last).unwrap_or_default().iter().map(event_row).collect();
        view.failure = fault(&session, &jobs);
        view.output = session.fault.as_deref().map(|f| f.lines().skip(1).take(20).map(str::to_owned).collect()).unwrap_or_default();
        view.session = self.budgeted(view.session, &session);
        view.queued = session.waiting.iter().map(|m| self.queued(m)).collect();
        view.deliveries = deliveries(&session);
        view.actions = actions(&session);
        view.handoff_required = session.handoff_required;
        if view.turns.is_empty() && !session.state.is_terminal() && session.driver() == Driver::Acp {
            view.starters = self.starters(&session);
        }
        Ok(view)
    }

    /// All messages up to a bound, the text of large ones from their artifacts.
    fn messages(&self, id: SessionId) -> Vec<Message> {
        let mut all: Vec<Message> = Vec::new();
        while all.len() < READ_MAX {
            let after = all.last().map_or(0, |m| m.seq);
            let page = self.cx().ports.store.messages(id, after, limits::PAGE_MAX).unwrap_or_default();
            let full = page.len() == limits::PAGE_MAX;
            all.extend(page);
            if !full {
                break;
            }
        }
        let recent = all.len().saturating_sub(5 * TURNS_MAX);
        for message in all.iter_mut().skip(recent) {
            if let Some(text) = self.text_of(message.text_ref) {
                message.text = text;
            }
        }
        all
    }

    fn calls(&self, id: SessionId) -> Vec<ToolCall> {
        let mut all: Vec<ToolCall> = Vec::new();
        while all.len() < READ_MAX {
            let after = all.last().map_or(0, |c| c.seq);
            let page = self.cx().ports.store.tool_calls(Some(id), after, limits::PAGE_MAX).unwrap_or_default();
            let full = page.len() == limits::PAGE_MAX;
            all.extend(page);
            if !full {
                break;
            }
        }
        all
    }

    /// Pending requests of this session, oldest first.
    fn held(&self, session: &Session, names: &Names) -> Vec<ApprovalCard> {
        let mut pending: Vec<&Approval> = names.pending_of(session.session_id).collect();
        pending.sort_by_key(|a| a.requested_at);
        pending.into_iter().take(HELD_MAX).map(|a| self.card(a, names)).collect()
    }

    /// Plan and cost from the agent's own updates; the last one counts.
    fn fill_updates(&self, view: &mut SessionView, id: SessionId) {
        let filter = EventFilter { session_id: Some(id), codes: vec![EventCode::SessionUpdate], order: Order::Descending, limit: 200, ..EventFilter::default() };
        let updates = self.cx().ports.recorder.read(&filter).unwrap_or_default();
        let last = |kind: &str| updates.iter().find(|e| e.payload["kind"] == kind);
        view.plan = last("plan").map(plan_entries).unwrap_or_default();
        view.session.cost = last("usage").and_then(|e| e.payload["cost"].as_str()).and_then(cost).or(view.session.cost.take());
    }

    fn fill_changes_of(&self, view: &mut SessionView, session: &Session) {
        let Some(workspace) = session.workspace_id.and_then(|id| self.workspace(id).ok()) else { return };
        let scope = session.wp_id.as_ref().and_then(|wp| self.cx().ports.locus.packet(wp).ok().flatten()).map(|e| e.record.in_scope_paths).unwrap_or_default();
        if let Ok(files) = self.changed_files(&workspace) {
            view.uncommitted_files = Some(files.len() as i64);
            view.changes = file_rows(&files, &scope);
        }
    }

    fn queued(&self, message: &WaitingMessage) -> QueuedMessage {
        let whole = if message.bytes > message.text.len() as u64 { self.text_of(Some(message.text_ref)) } else { None };
        QueuedMessage {
            message_id: message.message_id.to_string(),
            text: whole.unwrap_or_else(|| message.text.clone()),
            when: steer_word(message.when).to_owned(),
            delivery: match message.delivery {
                Delivery::Waiting => "waiting",
                Delivery::Delivering { .. } => "delivering",
                Delivery::Unknown { .. } => "unknown",
            }
            .to_owned(),
            queued_at_ms: message.queued_at.as_ms(),
            job_id: Some(message.job_id.to_string()),
        }
    }

    /// First words to start from: the micro-task's, then the packet's.
    fn starters(&self, session: &Session) -> Vec<String> {
        let Some(wp_id) = &session.wp_id else { return Vec::new() };
        let locus = &self.cx().ports.locus;
        let mut starters = Vec::new();
        if let Some(mt) = session.mt_id.as_ref().and_then(|mt| locus.micro_task(wp_id, mt).ok().flatten()).map(|e| e.record) {
            starters.push(format!("{}. Done when: {}", mt.name, mt.done_criteria.join("; ")));
        }
        if let Some(packet) = locus.packet(wp_id).ok().flatten().map(|e| e.record) {
            let done = if packet.acceptance_criteria.is_empty() { String::new() } else { format!(". Done when: {}", packet.acceptance_criteria.join("; ")) };
            starters.push(format!("{}{done}", packet.title));
        }
        starters
    }

    /// The last five calls of a session and the last message of the operator, for a card.
    pub(super) fn before(&self, session: SessionId, before_seq: Option<u64>, names: &Names) -> (Vec<crate::view::ToolCallRow>, Option<String>) {
        let ports = &self.cx().ports;
        let recent = |code, limit| {
            let filter = EventFilter { session_id: Some(session), before_seq, codes: vec![code], order: Order::Descending, limit, ..EventFilter::default() };
            ports.recorder.read(&filter).unwrap_or_default()
        };
        // The ledger is read from the call that began last but five.
        let from = recent(EventCode::ToolCallStarted, 6).last().map(|e| e.seq.saturating_sub(1));
        let mut calls = from.map(|seq| ports.store.tool_calls(Some(session), seq, limits::PAGE_MAX).unwrap_or_default()).unwrap_or_default();
        relative(&mut calls, names);
        let rows = calls
            .iter()
            .rev()
            .filter(|c| c.tool.status != ToolStatus::Held && before_seq.is_none_or(|seq| c.seq < seq))
            .take(5)
            .map(tool_call_row)
            .collect();
        let said = recent(EventCode::SessionMessage, 200).into_iter().find(|e| e.payload["role"].as_str().is_some_and(is_prompt));
        let text = said.and_then(|e| {
            let kept = serde_json::from_value(e.payload["text_ref"].clone()).ok();
            e.payload["text"].as_str().map(line).filter(|t| !t.is_empty()).or_else(|| self.text_of(kept).map(|t| line(&t)))
        });
        (rows, text)
    }
}

fn fill_turns(view: &mut SessionView, session: &Session, messages: &[Message], calls: &[ToolCall], jobs: &[Job]) {
    let by_id: HashMap<JobId, Job> = jobs.iter().filter(|j| j.op == Op::SessionRun).map(|j| (j.job_id, j.clone())).collect();
    let held: Vec<String> = view.held.iter().map(|c| c.approval.approval_id.clone()).collect();
    let (earlier, shown) = turns(messages, calls, &session.agent, &by_id, &held);
    (view.earlier_turns, view.turns) = (earlier as i64, shown);
    if session.state.is_terminal() {
        for turn in view.turns.iter_mut().filter(|t| t.status == "running") {
            "failed".clone_into(&mut turn.status);
        }
    }
}

/// A request that was allowed is held no more, also where its agent says nothing further of it.
fn settle_held(view: &mut SessionView, names: &Names) {
    let pending: HashSet<String> = names.pending.iter().map(|a| a.approval_id.to_string()).collect();
    let rows = view.turns.iter_mut().flat_map(|turn| &mut turn.items).filter_map(|item| if let TurnItem::Calls { calls } = item { Some(calls) } else { None });
    for row in rows.flatten().chain(&mut view.calls.items).filter(|row| row.status == "held") {
        if row.approval_id.as_ref().is_some_and(|id| !pending.contains(id)) {
            "allowed".clone_into(&mut row.status);
        }
    }
}

/// Places inside the worktree are named from its root, as everywhere else.
fn relative(calls: &mut [ToolCall], names: &Names) {
    for call in calls {
        let Some(workspace) = call.workspace_id.and_then(|id| names.workspaces.get(&id)) else { continue };
        for location in &mut call.tool.locations {
            if let Some(inside) = location.strip_prefix(workspace.binding.worktree_path.as_str()).and_then(|rest| rest.strip_prefix('/')) {
                *location = inside.to_owned();
            }
        }
    }
}

fn plan_entries(event: &Event) -> Vec<PlanEntry> {
    let entries = event.payload["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| PlanEntry { text: entry[0].as_str().unwrap_or("").to_owned(), status: entry[1].as_str().unwrap_or("pending").to_owned() })
        .collect()
}

/// `0.42 USD` or `USD 0.42` as agents report it.
fn cost(text: &str) -> Option<CostView> {
    let mut parts = text.split_whitespace();
    let (a, b) = (parts.next()?, parts.next()?);
    let (amount, currency) = if a.parse::<f64>().is_ok() { (a, b) } else { (b, a) };
    let amount: f64 = amount.parse().ok()?;
    Some(CostView { amount: format!("{amount:.2}"), currency: currency.to_owned(), source: "reported".to_owned() })
}

/// Calls summed by kind, effect and how they are known.
fn sums(calls: &[ToolCall]) -> Vec<LedgerRow> {
    let mut rows: Vec<(&str, SideEffect, Observed, LedgerRow)> = Vec::new();
    for call in calls {
        let (tool, effect, observed) = (tool_name(&call.tool), call.tool.side_effect, call.observed);
        let at = rows.iter().position(|row| (row.0, row.1, row.2) == (tool, effect, observed)).unwrap_or_else(|| {
            rows.push((tool, effect, observed, LedgerRow { tool: tool.to_owned(), side_effect: effect_word(effect).to_owned(), observed: word(&observed), ..LedgerRow::default() }));
            rows.len() - 1
        });
        let row = &mut rows[at].3;
        row.calls += 1;
        row.ok += i64::from(call.tool.status == ToolStatus::Ok);
        row.failed += i64::from(matches!(call.tool.status, ToolStatus::Error | ToolStatus::Denied | ToolStatus::TimedOut));
        row.duration_ms = match (row.duration_ms, duration_ms(call)) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }
    let mut rows: Vec<LedgerRow> = rows.into_iter().map(|row| row.3).collect();
    rows.sort_by_key(|r| std::cmp::Reverse(r.calls));
    rows
}

fn fault(session: &Session, jobs: &[Job]) -> Option<FailureView> {
    let troubled = session.state == SessionState::Failed || matches!(session.state_reason, StateReason::ToolError | StateReason::CrashRecovery);
    if !troubled {
        return None;
    }
    let message = match (&session.fault, session.state_reason) {
        (Some(fault), _) => line(fault),
        (None, StateReason::CrashRecovery) => "the process that ran this session ended; its agent was ended too".to_owned(),
        (None, reason) => format!("the session ended: {}", reason.as_str().replace('_', " ")),
    };
    let code = if session.state_reason == StateReason::CrashRecovery { Code::JobNotResumable } else { Code::AgentFailed };
    // What its start said is nearer to the cause than what holds of every failure.
    let said = jobs.iter().find(|j| j.op == Op::SessionStart).and_then(|j| j.failure.as_ref()).and_then(|f| f.hint.clone());
    let hint = said.unwrap_or_else(|| match session.started_at {
        None => "it ended before it could change a file: mend the cause, then retry it as a successor".to_owned(),
        Some(_) => "its file changes stay in the worktree: review them, then start another session".to_owned(),
    });
    Some(FailureView { code: code.as_str().to_owned(), message, hint: Some(hint) })
}

fn steer_word(when: Steer) -> &'static str {
    match when {
        Steer::Queue => "queue",
        Steer::Boundary => "boundary",
        Steer::Now => "now",
    }
}

/// The same sentence that the plan of a message will carry.
fn deliveries(session: &Session) -> Vec<DeliveryView> {
    let one = |when| match delivery_of(session, when) {
        Ok(sentence) => DeliveryView { when: steer_word(when).to_owned(), sentence, refused: false },
        Err(sentence) => DeliveryView { when: steer_word(when).to_owned(), sentence, refused: true },
    };
    [Steer::Queue, Steer::Boundary, Steer::Now].into_iter().map(one).collect()
}

/// What may be asked of the session now.
fn actions(session: &Session) -> Vec<ActionView> {
    let illegal = |why: String| Failure::new(Code::IllegalTransition, why);
    let ended = session.state.is_terminal().then(|| illegal(format!("the session has ended ({})", session.state.as_str())));
    let open = (!session.state.is_terminal()).then(|| illegal("the session has not ended".to_owned()));
    let active = session.has_turn().then(|| illegal("a turn is running: wait for its end, or stop the session".to_owned()));
    let paused = (session.state == SessionState::Paused).then(|| illegal("it rests already".to_owned()));
    let awake = (session.state != SessionState::Paused).then(|| illegal("it does not rest".to_owned()));
    let unsendable = delivery_of(session, Steer::Queue).err().map(illegal);
    vec![
        action("session.send", unsendable.clone()),
        action("session.route", unsendable),
        action("session.close", ended.clone().or(active)),
        action("session.cancel", ended.clone()),
        action("session.pause", ended.clone().or(paused)),
        action("session.resume", ended.or(awake)),
        action("session.retry", open),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_in_either_order_and_never_guessed() {
        assert_eq!(cost("1.839 USD").unwrap().amount, "1.84");
        assert_eq!(cost("EUR 2").unwrap().currency, "EUR");
        assert!(cost("lots of money").is_none());
        assert!(cost("3").is_none());
    }
}
