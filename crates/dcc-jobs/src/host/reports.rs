//! What an agent says and does, journalled in its order; the end of a turn and of a process.

use std::sync::PoisonError;

use serde_json::{Value, json};

use dcc_core::event::EventCode;
use dcc_core::ids::{JobId, Sha256Hex};
use dcc_core::ports::sessions::{Observed, ToolStatus};
use dcc_core::ports::{AgentReport, ToolReport};
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::{Code, Failure, Outcome, limits};

use super::states::{cancel_pending, change_state, running_turn};
use super::Host;
use crate::context::Context;
use crate::{kinds, ledger};

/// Text above this goes by artifact.
const INLINE_TEXT_BYTES: usize = 16 * 1024;

impl Host {
    pub(super) fn take(&self, session: &Session, report: AgentReport) -> Outcome<()> {
        match report {
            AgentReport::Message { text } => self.record(session, EventCode::SessionMessage, message_payload(self.cx(), "agent", &text)?, None),
            AgentReport::Thought { text } => self.record(session, EventCode::SessionMessage, message_payload(self.cx(), "thought", &text)?, None),
            AgentReport::Tool(tool) => self.tool(session, tool),
            AgentReport::Plan { entries } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "plan", "entries": entries }), None),
            AgentReport::Usage { used, size, cost } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "usage", "used": used, "size": size, "cost": cost }), None),
            AgentReport::Other { kind } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "other", "what": cut_text(&kind, 200) }), None),
            AgentReport::Noise { sample } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "noise", "sample": cut_text(&sample, 400) }), None),
            AgentReport::TurnEnded { turn, stop_reason } => self.turn_over(session, turn, Ok(stop_reason)),
            AgentReport::TurnFailed { turn, failure } => self.turn_over(session, turn, Err(failure)),
            AgentReport::Exited { exit_code, stderr_head } => self.exited(session, exit_code, &stderr_head),
        }
    }

    fn tool(&self, session: &Session, mut tool: ToolReport) -> Outcome<()> {
        let code = match tool.status {
            ToolStatus::Requested | ToolStatus::Held => EventCode::ToolCallStarted,
            ToolStatus::Running => EventCode::ToolCallProgress,
            _ => EventCode::ToolCallFinished,
        };
        for slot in [&mut tool.raw_input, &mut tool.raw_output] {
            if slot.as_ref().is_some_and(|v| v.to_string().len() > INLINE_TEXT_BYTES / 2) {
                let bytes = slot.as_ref().map(ToString::to_string).unwrap_or_default();
                *slot = Some(json!({ "ref": self.cx().ports.artifacts.put(dcc_core::redact::redact_text(&bytes).0.as_bytes())? }));
            }
        }
        tool.title = cut_text(&tool.title, limits::LINE_BYTES_MAX);
        tool.locations.truncate(100);
        let id = cut_text(&tool.tool_call_id, 200);
        self.record(session, code, json!({ "tool": tool, "observed": Observed::Reported }), Some(&id))
    }

    fn turn_over(&self, session: &Session, turn: JobId, ended: Result<String, Failure>) -> Outcome<()> {
        // Whoever still waits for an answer in this turn waits for nobody.
        cancel_pending(&self.runner, session.session_id, "the turn ended")?;
        kinds::end_turn(&self.runner, turn, ended)?;
        let now = ledger::session(self.cx().ports.recorder.as_ref(), session.session_id)?;
        if now.state == SessionState::Active || now.state_reason == StateReason::ApprovalWait {
            change_state(self.cx(), session.session_id, SessionState::Blocked, StateReason::InputWait, json!({}))?;
        }
        Ok(())
    }

    fn exited(&self, session: &Session, exit_code: Option<i32>, stderr_head: &str) -> Outcome<()> {
        let (stderr_head, _) = dcc_core::redact::redact_text(&cut_text(stderr_head, 4000));
        let code = exit_code.map_or("a signal".to_owned(), |c| format!("exit code {c}"));
        cancel_pending(&self.runner, session.session_id, "the agent is gone")?;
        if let Some(turn) = running_turn(self.cx(), session.session_id)? {
            kinds::end_turn(&self.runner, turn, Err(Failure::new(Code::AgentFailed, format!("the agent ended with {code} during the turn"))))?;
        }
        let now = ledger::session(self.cx().ports.recorder.as_ref(), session.session_id)?;
        let expected = self.cx().stopping.lock().unwrap_or_else(PoisonError::into_inner).contains(&session.session_id);
        if !now.state.is_terminal() && !expected {
            let fault = if stderr_head.is_empty() { format!("the agent ended with {code}") } else { format!("the agent ended with {code}:\n{stderr_head}") };
            change_state(self.cx(), session.session_id, SessionState::Failed, StateReason::AgentExit, json!({ "fault": fault }))?;
        }
        Ok(())
    }
}

/// A message's payload; large text goes by artifact with its beginning inline.
pub(crate) fn message_payload(cx: &Context, role: &str, text: &str) -> Outcome<Value> {
    if text.len() <= INLINE_TEXT_BYTES {
        return Ok(json!({ "role": role, "text": text, "sha256": Sha256Hex::of(text.as_bytes()) }));
    }
    let sha256 = cx.ports.artifacts.put(dcc_core::redact::redact_text(text).0.as_bytes())?;
    Ok(json!({ "role": role, "text": cut_text(text, 2000), "text_ref": sha256 }))
}

pub(super) fn cut_text(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}
