//! What a spawned session leaves to its parent: its result, as an artifact and one event about the parent.

use serde_json::{Value, json};

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::principal::Actor;
use dcc_core::session::Session;
use dcc_core::{Code, Failure, Outcome, SessionId};

use super::Host;
use super::reports::cut_text;
use super::states::session_correlation;
use crate::context::Context;
use crate::ledger;

/// Of a child's last words, so much is told to its parent's agent.
const LAST_WORDS_BYTES: usize = 4000;

/// Announces the end of a session to its parent, once.
pub(super) fn announce(cx: &Context, child: &Session) -> Outcome<()> {
    let Some(parent) = child.parent_session_id else { return Ok(()) };
    let parent = ledger::session(cx.ports.recorder.as_ref(), parent)?;
    let last = last_words(cx, child.session_id)?;
    let counted = cx.ports.store.session(child.session_id)?;
    let result = json!({
        "session_id": child.session_id, "agent": child.agent, "role": child.role, "purpose": child.purpose,
        "state": child.state, "reason": child.state_reason, "closing": child.closing, "fault": child.fault, "handoff_id": child.last_handoff_id,
        "turns": counted.as_ref().map(|s| s.turns), "tool_calls": counted.as_ref().map(|s| s.tool_calls), "totals": child.totals,
        // An agent's words: a claim.
        "last_words": last,
    });
    let result_ref = cx.ports.artifacts.put(result.to_string().as_bytes())?;
    let payload = json!({ "child_session_id": child.session_id, "state": child.state, "reason": child.state_reason, "result_ref": result_ref, "last_words": last.as_deref().map(|w| cut_text(w, 400)) });
    let event = NewEvent::new(EventCode::ChildEnded, Actor::SYSTEM, payload).about(&session_correlation(&parent)).once(format!("child_ended:{}", child.session_id));
    cx.journal.try_append(vec![event]).map(drop)
}

/// What the session's agent said last; nobody has checked it.
fn last_words(cx: &Context, id: SessionId) -> Outcome<Option<String>> {
    let words = EventFilter { session_id: Some(id), codes: vec![EventCode::SessionMessage], order: Order::Descending, limit: 50, ..EventFilter::default() };
    let words = cx.ports.recorder.read(&words)?;
    Ok(words.iter().find(|e| e.payload["role"] == "agent").and_then(|e| e.payload["text"].as_str()).map(str::to_owned))
}

impl Host {
    /// How a child stands, for the agent that asked for it: state, turns and its last words.
    pub fn child_for_its_parent(&self, parent: SessionId, child: SessionId) -> Outcome<Value> {
        let session = ledger::session(self.cx().ports.recorder.as_ref(), child)?;
        if session.parent_session_id != Some(parent) {
            return Err(Failure::new(Code::NotFoundSession, format!("session {child} is no child of this one")));
        }
        let last = last_words(self.cx(), child)?;
        Ok(json!({ "session_id": child, "state": session.state, "reason": session.state_reason, "fault": session.fault, "last_words": last.as_deref().map(|words| cut_text(words, LAST_WORDS_BYTES)) }))
    }
}
