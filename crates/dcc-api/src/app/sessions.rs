//! Sessions as the API's JSON: the record with what is derived from it, the recovery queue, handoffs.
//!
//! Authority: derived. Invariant: the queue of recovery is what rests without an agent; nothing here changes anything.

use serde_json::{Value, json};

use dcc_core::event::EventCode;
use dcc_core::ports::sessions::{Steer, ToolStatus};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::session::{Session, SessionState, delivery_of};
use dcc_core::{Code, Failure, HandoffId, Outcome, SessionId, limits};

use super::App;
use super::records::object;
use crate::door::SessionFilter;

/// Calls without an end that are shown of one session.
const PENDING_CALLS_SHOWN: usize = 20;

impl App {
    /// Sessions that fit, newest first.
    pub(super) fn session_rows(&self, filter: &SessionFilter) -> Outcome<Vec<Value>> {
        let live = self.cx().ports.sessions.live();
        let fits = |s: &Session| {
            (filter.states.is_empty() || filter.states.contains(&s.state))
                && filter.role.is_none_or(|role| s.role == role)
                && filter.backend.as_ref().is_none_or(|backend| s.backend == *backend)
                && filter.wp_id.as_ref().is_none_or(|wp| s.wp_id.as_ref() == Some(wp))
                && filter.parent_session_id.is_none_or(|parent| s.parent_session_id == Some(parent))
                && (!filter.recovery || needs_recovery(s, &live))
        };
        let all = self.cx().ports.store.sessions(limits::PAGE_MAX)?;
        all.iter().filter(|s| fits(s)).map(|s| if filter.recovery { self.recovery_row(s) } else { Ok(row(s, &live)) }).collect()
    }

    /// One session with what a person asks before he acts: what becomes of a message, what would end with it.
    pub(super) fn session_json(&self, id: SessionId) -> Outcome<Value> {
        let store = &self.cx().ports.store;
        let session = store.session(id)?.ok_or_else(|| Failure::new(Code::NotFoundSession, format!("no session {id}")))?;
        let live = self.cx().ports.sessions.live();
        let mut value = row(&session, &live);
        let becomes = |when| match delivery_of(&session, when) {
            Ok(words) => json!({ "possible": true, "what": words }),
            Err(why) => json!({ "possible": false, "what": why }),
        };
        value["delivery"] = json!({ "queue": becomes(Steer::Queue), "boundary": becomes(Steer::Boundary), "now": becomes(Steer::Now) });
        let children = store.sessions(limits::PAGE_MAX)?;
        value["children"] = children.iter().filter(|s| s.parent_session_id == Some(id)).map(|s| json!({ "session_id": s.session_id, "agent": s.agent, "state": s.state })).collect();
        let now = self.cx().now();
        let grants = store.grants(limits::PAGE_MAX)?;
        value["grants"] = grants.iter().filter(|g| g.binding.session_id == Some(id)).map(|g| super::records::grant_json(g, Some(&session), now)).collect();
        if !session.state.is_terminal() {
            let ends = self.runner.what_ends(id)?;
            value["ends_with_it"] = json!({ "descendants": ends.descendants, "uncommitted": ends.uncommitted });
        }
        if needs_recovery(&session, &live) {
            value["recovery"] = self.recovery_row(&session)?;
        }
        Ok(value)
    }

    /// What a person needs to know to resume, retry or cancel.
    fn recovery_row(&self, session: &Session) -> Outcome<Value> {
        let ports = &self.cx().ports;
        let now = self.cx().now().as_ms();
        let age = |at: Option<dcc_core::Timestamp>| at.map(|at| (now - at.as_ms()).max(0));
        let open = |status: ToolStatus| matches!(status, ToolStatus::Requested | ToolStatus::Held | ToolStatus::Running | ToolStatus::Unknown);
        let calls = ports.store.tool_calls(Some(session.session_id), 0, limits::PAGE_MAX)?;
        let calls: Vec<Value> = calls
            .iter()
            .filter(|c| open(c.tool.status))
            .rev()
            .take(PENDING_CALLS_SHOWN)
            .map(|c| json!({ "tool_call_id": c.tool.tool_call_id, "title": c.tool.title, "status": c.tool.status, "side_effect": c.tool.side_effect, "observed": c.observed, "started_at": c.started_at }))
            .collect();
        let status = session.workspace_id.map(|id| self.workspace(id).and_then(|w| ports.version.status(&w.binding)));
        // A worktree that cannot be read is said, not counted as clean.
        let (dirty, dirty_unknown) = match status {
            Some(Ok(status)) => (Some(status.entries.len()), None),
            Some(Err(failure)) => (None, Some(failure.message)),
            None => (None, Some("the session has no workspace".to_owned())),
        };
        Ok(json!({
            "session_id": session.session_id, "agent": session.agent, "role": session.role, "state": session.state, "state_reason": session.state_reason,
            "wp_id": session.wp_id, "mt_id": session.mt_id, "workspace_id": session.workspace_id, "fault": session.fault,
            "checkpoint": session.checkpoint, "checkpoint_age_ms": age(session.checkpoint.map(|c| c.at)), "heartbeat_age_ms": age(session.last_heartbeat_at),
            "last_activity_at": session.last_activity_at, "cut_turn": session.cut_turn, "waiting_messages": session.waiting.len(),
            "pending_calls": calls, "dirty_files": dirty, "dirty_unknown": dirty_unknown,
        }))
    }

    /// Handoffs, newest first; waivers stand among them and say so.
    pub(super) fn handoff_rows(&self) -> Outcome<Vec<Value>> {
        let filter = EventFilter { codes: vec![EventCode::HandoffWritten, EventCode::HandoffWaived], order: Order::Descending, ..EventFilter::default() };
        Ok(dcc_jobs::ledger::read_all(self.cx().ports.recorder.as_ref(), filter)?.iter().map(handoff).collect())
    }

    pub(super) fn handoff_json(&self, id: HandoffId) -> Outcome<Value> {
        let wanted = json!(id);
        self.handoff_rows()?.into_iter().find(|h| h["handoff_id"] == wanted).ok_or_else(|| Failure::new(Code::NotFound, format!("no handoff {id}")).hint("dcc handoff list"))
    }
}

/// It rests, and no agent of this process holds its place.
fn needs_recovery(session: &Session, live: &[SessionId]) -> bool {
    session.state == SessionState::Paused && !live.contains(&session.session_id)
}

fn row(session: &Session, live: &[SessionId]) -> Value {
    let mut map = object(session);
    map.insert("live".into(), json!(live.contains(&session.session_id)));
    map.insert("queued".into(), json!(session.is_queued()));
    Value::Object(map)
}

fn handoff(event: &dcc_core::event::Event) -> Value {
    let mut value = if event.payload["handoff"].is_object() { event.payload["handoff"].clone() } else { json!({}) };
    if value["handoff_id"].is_null() {
        // Of an earlier form, or a waiver: the event's own id names it.
        value["handoff_id"] = json!(event.event_id);
    }
    value["status"] = json!(if event.code == EventCode::HandoffWaived { "waived" } else { "written" });
    for (key, said) in [("reason", &event.payload["reason"]), ("text", &event.payload["text"])] {
        if said.is_string() {
            value[key] = said.clone();
        }
    }
    value["session_id"] = json!(event.session_id);
    value["wp_id"] = json!(event.wp_id);
    value["mt_id"] = json!(event.mt_id);
    value["workspace_id"] = json!(event.workspace_id);
    value["job_id"] = json!(event.job_id);
    value["author"] = json!(event.actor_id);
    value["created_at"] = json!(event.ts);
    value["advisory"] = json!(true);
    value
}
