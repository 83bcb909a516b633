//! What a spawned session leaves to its parent: its result, as an artifact and one event about the parent.

use serde_json::json;

use dcc_core::Outcome;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::principal::Actor;
use dcc_core::session::Session;

use super::reports::cut_text;
use super::states::session_correlation;
use crate::context::Context;
use crate::ledger;

/// Announces the end of a session to its parent, once.
pub(super) fn announce(cx: &Context, child: &Session) -> Outcome<()> {
    let Some(parent) = child.parent_session_id else { return Ok(()) };
    let parent = ledger::session(cx.ports.recorder.as_ref(), parent)?;
    let words = EventFilter { session_id: Some(child.session_id), codes: vec![EventCode::SessionMessage], order: Order::Descending, limit: 50, ..EventFilter::default() };
    let words = cx.ports.recorder.read(&words)?;
    let last = words.iter().find(|e| e.payload["role"] == "agent").and_then(|e| e.payload["text"].as_str());
    let counted = cx.ports.store.session(child.session_id)?;
    let result = json!({
        "session_id": child.session_id, "agent": child.agent, "role": child.role, "purpose": child.purpose,
        "state": child.state, "reason": child.state_reason, "closing": child.closing, "fault": child.fault, "handoff_id": child.last_handoff_id,
        "turns": counted.as_ref().map(|s| s.turns), "tool_calls": counted.as_ref().map(|s| s.tool_calls), "totals": child.totals,
        // An agent's words: a claim.
        "last_words": last,
    });
    let result_ref = cx.ports.artifacts.put(result.to_string().as_bytes())?;
    let payload = json!({ "child_session_id": child.session_id, "state": child.state, "reason": child.state_reason, "result_ref": result_ref, "last_words": last.map(|w| cut_text(w, 400)) });
    let event = NewEvent::new(EventCode::ChildEnded, Actor::SYSTEM, payload).about(&session_correlation(&parent)).once(format!("child_ended:{}", child.session_id));
    cx.journal.try_append(vec![event]).map(drop)
}
