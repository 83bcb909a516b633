//! The parts of a session that stand at its side: the ledger call by call, its tree, checkpoints, the raw events, and
//! what a dialog needs to know before it asks.
//!
//! Authority: derived. Only the part that is looked at is read.

use dcc_core::event::EventCode;
use dcc_core::ports::sessions::ToolStatus;
use dcc_core::ports::store::ToolCall;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::session::{Session, SessionState};
use dcc_core::{SessionId, limits};

use super::super::App;
use super::family;
use super::names::Names;
use super::rows::{event_row, tool_call_row};
use crate::view::{CallsFilter, CallsView, CheckpointView, QuietView, RawRow, RouteView, SessionView, ToolCallRow, WpRef};

/// Calls of the ledger on one page; older ones stand in the record.
const CALLS_SHOWN: usize = 200;
const CHECKPOINTS_SHOWN: usize = 50;
const RAW_SHOWN: usize = 60;
const PAYLOAD_CHARS: usize = 4_000;

impl App {
    pub(super) fn fill_tab(&self, view: &mut SessionView, session: &Session, calls: &[ToolCall], filter: CallsFilter, names: &Names) {
        let id = session.session_id;
        match view.tab.as_str() {
            "ledger" => view.calls = ledger(calls, filter),
            "children" => view.tree = family::tree(session, names),
            "checkpoints" => view.checkpoints = self.checkpoints(id),
            "raw" => view.raw = self.raw(id),
            _ => {}
        }
        if !session.state.is_terminal() {
            view.ends = family::open_below(id, names).into_iter().map(|s| super::rows::session_row(s, names)).collect();
            view.route = self.route(session);
        }
    }

    fn checkpoints(&self, id: SessionId) -> Vec<CheckpointView> {
        let filter = EventFilter { session_id: Some(id), codes: vec![EventCode::SessionCheckpoint], order: Order::Descending, limit: CHECKPOINTS_SHOWN, ..EventFilter::default() };
        let count = self.cx().ports.store.session(id).ok().flatten().and_then(|s| s.checkpoint).map_or(0, |c| c.count);
        let numbered = |(back, event): (usize, &dcc_core::event::Event)| {
            let payload = &event.payload;
            let text = |key: &str| payload[key].as_str().map(|word| word.replace('_', " "));
            let waits = payload["waiting_messages"].as_u64().filter(|n| *n > 0).map(|n| format!("{n} messages wait"));
            let pending = payload["pending_jobs"].as_array().filter(|all| !all.is_empty()).map(|all| format!("{} requests wait", all.len()));
            let parts = [text("why"), text("state").map(|s| s.to_lowercase()), waits, pending, payload["head"].as_str().map(str::to_owned)];
            CheckpointView {
                number: (count as i64).saturating_sub(back as i64),
                seq: event.seq as i64,
                saved_at_ms: event.ts.as_ms(),
                note: Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")),
            }
        };
        self.cx().ports.recorder.read(&filter).unwrap_or_default().iter().enumerate().map(numbered).collect()
    }

    fn raw(&self, id: SessionId) -> Vec<RawRow> {
        let filter = EventFilter { session_id: Some(id), order: Order::Descending, limit: RAW_SHOWN, ..EventFilter::default() };
        let row = |event: &dcc_core::event::Event| {
            let whole = serde_json::to_string_pretty(&event.payload).unwrap_or_default();
            RawRow { event: event_row(event), payload: super::rows::cut(&whole, PAYLOAD_CHARS) }
        };
        self.cx().ports.recorder.read(&filter).unwrap_or_default().iter().map(row).collect()
    }

    /// A session is handed the packet that its worktree is bound to, or one of that packet's micro-tasks.
    fn route(&self, session: &Session) -> Option<RouteView> {
        let locus = &self.cx().ports.locus;
        let wp_id = self.workspace(session.workspace_id?).ok()?.wp_id?;
        let packet = locus.packet(&wp_id).ok().flatten()?.record;
        let tasks = locus.micro_tasks(&wp_id).unwrap_or_default().into_iter().map(|e| e.record);
        Some(RouteView {
            packet: WpRef { wp_id: wp_id.to_string(), title: packet.title, status: packet.status.as_str().to_owned() },
            tasks: tasks.map(|task| (task.mt_id.to_string(), task.name, task.status.as_str().to_owned())).collect(),
        })
    }

    /// A working session that nothing is heard of, with the tool it was at. A terminal's own output is not observed, so
    /// its silence says nothing.
    pub(super) fn quiet(&self, session: &Session) -> Option<QuietView> {
        let for_ms = self.cx().now().as_ms() - session.last_activity_at.as_ms();
        let is_observed = session.capabilities.as_ref().is_none_or(|c| c.driver == dcc_core::ports::Driver::Acp);
        if session.state != SessionState::Active || !is_observed || for_ms < limits::QUIET_MS {
            return None;
        }
        let ports = &self.cx().ports;
        let filter = EventFilter { session_id: Some(session.session_id), codes: vec![EventCode::ToolCallStarted], order: Order::Descending, limit: 1, ..EventFilter::default() };
        let began = ports.recorder.read(&filter).unwrap_or_default().first().map(|e| e.seq.saturating_sub(1));
        let call = began.and_then(|seq| ports.store.tool_calls(Some(session.session_id), seq, 1).ok()?.into_iter().next());
        Some(QuietView {
            for_ms,
            tool_runs: call.as_ref().is_some_and(|c| matches!(c.tool.status, ToolStatus::Requested | ToolStatus::Running)),
            last_tool: call.as_ref().map(tool_call_row).map(|row| format!("{} {}", row.tool, row.target)),
        })
    }
}

fn ledger(calls: &[ToolCall], filter: CallsFilter) -> CallsView {
    let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w.eq_ignore_ascii_case(is));
    let rows: Vec<ToolCallRow> = calls
        .iter()
        .rev()
        .map(tool_call_row)
        .filter(|row| fits(&filter.effect, &row.side_effect) && fits(&filter.status, &row.status) && fits(&filter.known, &row.observed))
        .collect();
    CallsView { total: rows.len() as i64, items: rows.into_iter().take(CALLS_SHOWN).collect(), filter }
}
