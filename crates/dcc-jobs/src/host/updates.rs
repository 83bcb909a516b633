//! What an agent says of itself, journalled as session updates by kind.
//!
//! Authority: canon, by the recorder. The kinds and their fields are what readers fold: `plan` {entries}, `usage` {used,
//! size, cost}, `tokens` {turn, tokens}, `commands` {commands}, `mode` {mode_id}, `options` {options}, `model` {model_id},
//! `title` {title}, `attachment` {attachment}, `capabilities` {capabilities}, `replayed` {updates}, `other` {what, ref},
//! `noise` {sample}. For each but `tokens`, `attachment`, `other` and `noise` the latest one holds.

use serde_json::json;

use dcc_core::event::EventCode;
use dcc_core::ports::AgentReport;
use dcc_core::ports::sessions::{Attachment, ToolContent};
use dcc_core::session::Session;
use dcc_core::{Outcome, limits, redact};

use super::Host;
use super::reports::cut_text;
use super::moves::note;

/// How a backend tells that it answered a request as cancelled because too many wait.
const TOO_MANY_WAIT: &str = "permission:too_many_waiting";
/// A list of an agent's own words has to fit an event with room for its envelope.
const LIST_BYTES_MAX: usize = 24 * 1024;
/// Parts of a tool call that stand beside its input and output in one event.
pub(super) const CONTENT_BYTES_MAX: usize = 8 * 1024;
pub(super) const LOCATIONS_BYTES_MAX: usize = 4 * 1024;

impl Host {
    /// Journals a report that is neither speech nor a tool call nor an end.
    pub(super) fn update(&self, session: &Session, report: AgentReport) -> Outcome<()> {
        let payload = match report {
            AgentReport::Plan { entries } => json!({ "kind": "plan", "entries": bounded(entries, LIST_BYTES_MAX) }),
            AgentReport::Usage { used, size, cost } => json!({ "kind": "usage", "used": used, "size": size, "cost": cost }),
            AgentReport::Tokens { turn, tokens } => json!({ "kind": "tokens", "turn": turn, "tokens": tokens }),
            AgentReport::Commands { commands } => json!({ "kind": "commands", "commands": bounded(commands, LIST_BYTES_MAX) }),
            AgentReport::Mode { mode_id } => json!({ "kind": "mode", "mode_id": mode_id }),
            AgentReport::Options { options } => json!({ "kind": "options", "options": bounded(options, LIST_BYTES_MAX) }),
            AgentReport::Model { model_id } => {
                // A grant dies with a change of model, so it belongs to the record of the session and not to its telemetry.
                if session.model_id.as_deref() == Some(model_id.as_str()) || session.state.is_terminal() {
                    return Ok(());
                }
                return note(self.cx(), session, json!({ "model_id": model_id }));
            }
            AgentReport::Title { title } => json!({ "kind": "title", "title": cut_text(&title, limits::LINE_BYTES_MAX) }),
            AgentReport::Attachment(attachment) => json!({ "kind": "attachment", "attachment": self.stored(attachment)? }),
            AgentReport::Capabilities(capabilities) => json!({ "kind": "capabilities", "capabilities": capabilities }),
            AgentReport::Replayed { updates } => json!({ "kind": "replayed", "updates": updates }),
            AgentReport::Other { kind, raw } => {
                if kind.starts_with(TOO_MANY_WAIT) {
                    super::flood::pause(self.cx(), session.session_id, &format!("more than {} permission requests wait at once", limits::SESSION_PENDING_MAX))?;
                }
                let kept = raw.map(|raw| self.cx().ports.artifacts.put(redact::redact_text(&raw).0.as_bytes())).transpose()?;
                json!({ "kind": "other", "what": cut_text(&kind, 200), "ref": kept })
            }
            AgentReport::Noise { sample } => json!({ "kind": "noise", "sample": cut_text(&sample, 400) }),
            // Speech, tool calls and ends are taken before this is asked.
            AgentReport::Message { .. } | AgentReport::Thought { .. } | AgentReport::Tool(_) | AgentReport::TurnEnded { .. } | AgentReport::TurnFailed { .. } | AgentReport::Exited { .. } => {
                return Ok(());
            }
        };
        self.record(session, EventCode::SessionUpdate, payload, None)
    }

    /// The bytes of an attachment become an artifact; the event names it.
    pub(super) fn stored(&self, mut attachment: Attachment) -> Outcome<Attachment> {
        if let Some(data) = attachment.data.take() {
            attachment.bytes = Some(data.len() as u64);
            // Text may hold a secret; a picture's bytes are kept as they are.
            let kept = match String::from_utf8(data) {
                Ok(text) => self.cx().ports.artifacts.put(redact::redact_text(&text).0.as_bytes())?,
                Err(other) => self.cx().ports.artifacts.put(other.as_bytes())?,
            };
            attachment.sha256 = Some(kept);
        }
        for text in [&mut attachment.mime, &mut attachment.name, &mut attachment.uri].into_iter().flatten() {
            *text = cut_text(text, limits::LINE_BYTES_MAX / 2);
        }
        Ok(attachment)
    }

    /// What a tool call shows, with the bytes of its attachments stored.
    pub(super) fn shown(&self, content: Vec<ToolContent>) -> Outcome<Vec<ToolContent>> {
        let kept: Outcome<Vec<ToolContent>> = content
            .into_iter()
            .map(|part| match part {
                ToolContent::Attachment(attachment) => Ok(ToolContent::Attachment(self.stored(attachment)?)),
                other => Ok(other),
            })
            .collect();
        Ok(bounded(kept?, CONTENT_BYTES_MAX))
    }
}

/// The longest beginning of a list that fits into so many bytes of JSON.
pub(super) fn bounded<T: serde::Serialize>(items: Vec<T>, bytes_max: usize) -> Vec<T> {
    let mut used = 0;
    items
        .into_iter()
        .take_while(|item| {
            used += serde_json::to_string(item).map_or(bytes_max, |text| text.len()) + 1;
            used <= bytes_max
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn a_list_is_cut_where_an_event_ends() {
        assert_eq!(bounded(vec!["x".repeat(97); 100], 1_000).len(), 10);
        assert_eq!(bounded(vec![1, 2], 4), [1, 2]);
    }
}
