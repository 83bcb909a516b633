//! What an agent says and does, journalled in its order; the end of a turn and of a process.


use serde_json::{Value, json};

use dcc_core::ids::{JobId, SessionId, Sha256Hex};
use dcc_core::ports::sessions::{Observed, ToolStatus};
use dcc_core::ports::{Driver, AgentReport, ToolReport};
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::{Code, Failure, Outcome, limits};

use super::batch::Batch;
use super::moves::{Move, move_if, note};
use super::states::{cancel_answers, cancel_pending, running_turn};
use super::Host;
use super::updates::{LOCATIONS_BYTES_MAX, bounded};
use crate::context::Context;
use crate::{delivery, kinds};

/// Text above this goes by artifact.
const INLINE_TEXT_BYTES: usize = 16 * 1024;

impl Host {
    /// Speech and tool calls are gathered; everything else is taken at once, after what was gathered.
    pub(super) fn take(&self, id: SessionId, report: AgentReport, batch: &mut Batch) -> Outcome<()> {
        let session = &self.cx().journal.session(id)?;
        let before = if batch.is_of_another_turn(session) { self.flush(batch) } else { Ok(()) };
        let gathered = match report {
            AgentReport::Message { text } => self.said(session, "agent", &text, batch),
            AgentReport::Thought { text } => self.said(session, "thought", &text, batch),
            AgentReport::Tool(tool) => self.tool(session, tool, batch),
            other => self.flush(batch).and(self.take_alone(id, other)),
        };
        before.and(gathered)
    }

    fn take_alone(&self, id: SessionId, report: AgentReport) -> Outcome<()> {
        let session = &self.cx().journal.session(id)?;
        crate::budgets::take(&self.runner, session, &report);
        match report {
            AgentReport::TurnEnded { turn, stop_reason } => self.turn_over(session, turn, Ok(stop_reason)),
            AgentReport::TurnFailed { turn, failure } => self.turn_over(session, turn, Err(failure)),
            AgentReport::Exited { exit_code, stderr_head } => self.exited(session, exit_code, &stderr_head),
            other => self.update(session, other),
        }
    }

    fn said(&self, session: &Session, role: &str, text: &str, batch: &mut Batch) -> Outcome<()> {
        batch.said(self, session, text.len(), message_payload(self.cx(), role, text)?);
        Ok(())
    }

    fn tool(&self, session: &Session, mut tool: ToolReport, batch: &mut Batch) -> Outcome<()> {
        let is_over = !matches!(tool.status, ToolStatus::Requested | ToolStatus::Held | ToolStatus::Running);
        for slot in [&mut tool.raw_input, &mut tool.raw_output] {
            *slot = slot.take().map(|value| inline_or_ref(self.cx(), value)).transpose()?;
        }
        tool.content = self.shown(std::mem::take(&mut tool.content))?;
        tool.title = cut_json(&tool.title, limits::LINE_BYTES_MAX).to_owned();
        tool.locations = bounded(tool.locations, LOCATIONS_BYTES_MAX);
        let id = cut_json(&tool.tool_call_id, 200).to_owned();
        tool.tool_call_id.clone_from(&id);
        batch.call(session, id, json!({ "tool": tool, "observed": Observed::Reported }), is_over);
        Ok(())
    }

    fn turn_over(&self, session: &Session, turn: JobId, ended: Result<String, Failure>) -> Outcome<()> {
        let id = session.session_id;
        // Whoever still waits for an answer in this turn waits for nobody.
        cancel_answers(&self.runner, id, "the turn ended")?;
        let fault = ended.as_ref().err().map(|f| f.message.clone());
        crate::observe::at_end(&self.runner, session);
        kinds::end_turn(&self.runner, turn, ended)?;
        crate::observe::forget(self.cx(), id);
        let asked = self.cx().holds.asked(id);
        move_if(self.cx(), id, None, |s| match (s.has_turn(), asked, fault) {
            (false, ..) => None,
            (true, Some(reason), _) => Some(Move::new(SessionState::Paused, reason)),
            (true, None, Some(fault)) => Some(Move::new(SessionState::Blocked, StateReason::ToolError).with(json!({ "fault": fault }))),
            (true, None, None) => Some(Move::new(SessionState::Blocked, StateReason::InputWait)),
        })?;
        if asked.is_some() {
            self.cx().holds.reach(id);
        }
        self.cx().holds.wake();
        crate::budgets::settle(&self.runner, id)?;
        delivery::next(&self.runner, id, delivery::Occasion::TurnOver).map(drop)
    }

    fn exited(&self, session: &Session, exit_code: Option<i32>, stderr_head: &str) -> Outcome<()> {
        let id = session.session_id;
        let (stderr_head, _) = dcc_core::redact::redact_text(&cut_text(stderr_head, 4000));
        super::forget_agent(self.cx(), id);
        let is_attended = self.cx().attachments.end_session(id);
        self.cx().commands.end_session(id);
        let code = exit_code.map_or("a signal".to_owned(), |c| format!("exit code {c}"));
        cancel_pending(&self.runner, id, "the agent is gone")?;
        if let Some(turn) = running_turn(self.cx(), id)? {
            crate::observe::at_end(&self.runner, session);
            kinds::end_turn(&self.runner, turn, Err(Failure::new(Code::AgentFailed, format!("the agent ended with {code} during the turn"))))?;
        }
        crate::observe::forget(self.cx(), id);
        crate::budgets::settle(&self.runner, id)?;
        let expected = super::is_stopping(self.cx(), id);
        let is_command = session.driver() == Driver::Pty;
        // A plain command that came to its end did what it was started for, as far as anybody can tell; one that a person sat at
        // was ended by him, and what stood on its screen is no reason.
        let is_done = is_command && (exit_code == Some(0) || (is_attended && exit_code.is_some()));
        let who = if is_command { "command" } else { "agent" };
        let head = stderr_head.trim_end();
        let fault = if head.is_empty() || is_done { format!("the {who} ended with {code}") } else { format!("the {who} ended with {code}:\n{head}") };
        let now = self.session(id)?;
        if !now.state.is_terminal() {
            note(self.cx(), &now, json!({ "process": null, "fault": (!expected).then_some(&fault) }))?;
        }
        // A session that rests goes on resting: resuming it starts the agent again.
        let failed = |s: &Session| (!s.state.is_terminal() && s.state != SessionState::Paused && !expected).then(|| Move::new(SessionState::Failed, StateReason::AgentExit).with(json!({ "fault": fault })));
        let rests = |s: &Session| (!s.state.is_terminal() && s.state != SessionState::Paused && !expected).then(|| Move::new(SessionState::Blocked, StateReason::ReviewWait));
        if is_done { move_if(self.cx(), id, None, rests)? } else { move_if(self.cx(), id, None, failed)? };
        super::let_go(self.cx(), id);
        // A process less may be a slot more.
        self.runner.dispatch_waiting();
        Ok(())
    }
}

/// A value of a tool call's row; a large one goes by artifact, redacted.
pub(super) fn inline_or_ref(cx: &Context, value: Value) -> Outcome<Value> {
    let text = value.to_string();
    if text.len() <= INLINE_TEXT_BYTES / 2 {
        return Ok(value);
    }
    Ok(json!({ "ref": cx.ports.artifacts.put(dcc_core::redact::redact_text(&text).0.as_bytes())? }))
}

/// A message's payload; large text goes by artifact with its beginning inline.
pub(crate) fn message_payload(cx: &Context, role: &str, text: &str) -> Outcome<Value> {
    if cut_json(text, INLINE_TEXT_BYTES).len() == text.len() {
        return Ok(json!({ "role": role, "text": text, "sha256": Sha256Hex::of(text.as_bytes()) }));
    }
    let sha256 = cx.ports.artifacts.put(dcc_core::redact::redact_text(text).0.as_bytes())?;
    Ok(json!({ "role": role, "text": cut_text(text, 2000), "text_ref": sha256 }))
}

/// The longest beginning that takes at most so many bytes as JSON: an event is measured as it is written, and an agent must
/// not make its own unwritable by signs that are written six times as long.
fn cut_json(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            '\0'..'\u{20}' => 6,
            other => other.len_utf8(),
        };
        used > max
    });
    end.map_or(text, |(at, _)| &text[..at])
}

pub(crate) fn cut_text(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}
