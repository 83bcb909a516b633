//! `session/update` as reports: chunks joined into messages, tool calls, plans, usage, and everything else counted.
//!
//! Authority: ephemeral. Invariants: reports keep the order of the lines; a message is held for at most
//! [`MESSAGE_CHARS_MAX`] characters; noise and unknown updates are reported at first one by one, later at each doubling,
//! so that a flood cannot fill the record.

use agent_client_protocol_schema::v1::{ContentBlock, ContentChunk, CurrentModeUpdate, Plan, ToolCallUpdate, UsageUpdate};
use serde::de::DeserializeOwned;
use serde_json::Value;

use dcc_core::ports::sessions::AgentReport;

use super::tools::Tools;
use super::wire::shown;

/// A message is reported at the latest when it has this many characters.
pub const MESSAGE_CHARS_MAX: usize = 4_096;
/// Reports of one sort that pass before only doublings are told.
const PLAIN_REPORTS_MAX: u64 = 32;
const PLAN_ENTRIES_MAX: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Voice {
    Message,
    Thought,
}

/// Joins chunks of one voice and one message id.
#[derive(Default)]
struct Joiner {
    voice: Option<Voice>,
    message_id: Option<String>,
    text: String,
}

impl Joiner {
    fn push(&mut self, voice: Voice, message_id: Option<String>, text: &str, out: &mut Vec<AgentReport>) {
        let other_message = message_id.is_some() && self.message_id.is_some() && message_id != self.message_id;
        if self.voice != Some(voice) || other_message {
            self.flush(out);
        }
        self.voice = Some(voice);
        self.message_id = message_id.or(self.message_id.take());
        self.text.push_str(text);
        while let Some((end, _)) = self.text.char_indices().nth(MESSAGE_CHARS_MAX) {
            let rest = self.text.split_off(breakable(&self.text[..end]));
            let piece = std::mem::replace(&mut self.text, rest);
            out.push(spoken(voice, piece));
        }
    }

    fn flush(&mut self, out: &mut Vec<AgentReport>) {
        let text = std::mem::take(&mut self.text);
        if let Some(voice) = self.voice.take()
            && !text.trim().is_empty()
        {
            out.push(spoken(voice, text));
        }
        self.message_id = None;
    }
}

/// Where to cut: after the last line break or blank in the second half, else at the end.
fn breakable(text: &str) -> usize {
    let at = text.rfind('\n').or_else(|| text.rfind(' ')).map_or(0, |at| at + 1);
    if at > text.len() / 2 { at } else { text.len() }
}

fn spoken(voice: Voice, text: String) -> AgentReport {
    match voice {
        Voice::Message => AgentReport::Message { text },
        Voice::Thought => AgentReport::Thought { text },
    }
}

/// Lets the first reports pass, then one at each doubling.
#[derive(Default)]
struct Limiter {
    seen: u64,
}

impl Limiter {
    /// How many there were so far, when this one is to be told.
    fn admit(&mut self) -> Option<u64> {
        self.seen += 1;
        (self.seen <= PLAIN_REPORTS_MAX || self.seen.is_power_of_two()).then_some(self.seen)
    }
}

/// Turns an agent's lines into reports; one for each session, used by its reader alone.
#[derive(Default)]
pub struct Updates {
    joiner: Joiner,
    pub tools: Tools,
    noise: Limiter,
    other: Limiter,
}

/// What an update means beside its reports.
#[derive(PartialEq, Eq, Debug)]
pub enum Meaning {
    Plain,
    /// The agent is in this mode now.
    Mode(String),
}

impl Updates {
    /// Reads one update of the own session; `bytes` is the size of its line.
    pub fn read(&mut self, update: Value, bytes: usize, out: &mut Vec<AgentReport>) -> Meaning {
        let tag = update["sessionUpdate"].as_str().unwrap_or("without_name").to_owned();
        match tag.as_str() {
            "agent_message_chunk" => self.chunk(Voice::Message, update, &tag, out),
            "agent_thought_chunk" => self.chunk(Voice::Thought, update, &tag, out),
            "tool_call" | "tool_call_update" => {
                // A tool_call is a tool_call_update with more fields present; read so, a missing kind stays missing.
                if let Some(update) = self.typed::<ToolCallUpdate>(update, &tag, out) {
                    let report = self.tools.update(update, bytes);
                    out.push(AgentReport::Tool(report));
                }
            }
            "plan" => {
                if let Some(plan) = self.typed::<Plan>(update, &tag, out) {
                    out.push(AgentReport::Plan { entries: entries(&plan) });
                }
            }
            "usage_update" => {
                if let Some(usage) = self.typed::<UsageUpdate>(update, &tag, out) {
                    let cost = usage.cost.as_ref().map(|c| format!("{} {}", c.amount, shown(&c.currency, 16)));
                    out.push(AgentReport::Usage { used: usage.used, size: usage.size, cost });
                }
            }
            "current_mode_update" => {
                if let Some(mode) = self.typed::<CurrentModeUpdate>(update, &tag, out) {
                    self.other(&tag, out);
                    return Meaning::Mode(mode.current_mode_id.0.to_string());
                }
            }
            "config_option_update" => {
                let mode = super::modes::mode_option(&update["configOptions"]).map(|option| option.current);
                self.other(&tag, out);
                return mode.map_or(Meaning::Plain, Meaning::Mode);
            }
            _ => self.other(&tag, out),
        }
        Meaning::Plain
    }

    /// Ends the message that is being joined.
    pub fn boundary(&mut self, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
    }

    /// Something kept by its kind only.
    pub fn other(&mut self, kind: &str, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
        if let Some(seen) = self.other.admit() {
            let kind = word(kind);
            out.push(AgentReport::Other { kind: if seen > PLAIN_REPORTS_MAX { format!("{kind} ({seen} such so far)") } else { kind } });
        }
    }

    /// A line that is not the protocol.
    pub fn noise(&mut self, sample: &str, out: &mut Vec<AgentReport>) {
        if let Some(seen) = self.noise.admit() {
            let sample = shown(sample, 200);
            out.push(AgentReport::Noise { sample: if seen > PLAIN_REPORTS_MAX { format!("{sample} ({seen} such lines so far)") } else { sample } });
        }
    }

    fn chunk(&mut self, voice: Voice, update: Value, tag: &str, out: &mut Vec<AgentReport>) {
        // The other voice, or no text, ends the message; so does an update that cannot be read.
        let Ok(chunk) = serde_json::from_value::<ContentChunk>(update) else {
            return self.other(&format!("{tag}:unreadable"), out);
        };
        match &chunk.content {
            ContentBlock::Text(text) => self.joiner.push(voice, chunk.message_id.map(|id| id.0.to_string()), &text.text, out),
            _ => self.other(&format!("{tag}:not_text"), out),
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, update: Value, tag: &str, out: &mut Vec<AgentReport>) -> Option<T> {
        self.joiner.flush(out);
        let read = serde_json::from_value(update).ok();
        if read.is_none() {
            self.other(&format!("{tag}:unreadable"), out);
        }
        read
    }
}

fn entries(plan: &Plan) -> Vec<(String, String)> {
    let status = |value: &agent_client_protocol_schema::v1::PlanEntryStatus| {
        serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_else(|| "pending".to_owned())
    };
    plan.entries.iter().take(PLAN_ENTRIES_MAX).map(|entry| (shown(&entry.content, 500), status(&entry.status))).collect()
}

/// An agent's word for a kind, made harmless.
fn word(kind: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || "_-/.:$".contains(*c);
    kind.chars().filter(fit).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(updates: &mut Updates, value: Value) -> Vec<AgentReport> {
        let mut out = Vec::new();
        updates.read(value, 100, &mut out);
        out
    }
    fn chunk(kind: &str, text: &str) -> Value {
        json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}})
    }
    fn message(text: &str) -> AgentReport {
        AgentReport::Message { text: text.to_owned() }
    }

    #[test]
    fn chunks_become_whole_messages_at_boundaries() {
        let mut updates = Updates::default();
        assert!(read(&mut updates, chunk("agent_message_chunk", "Hello ")).is_empty());
        assert!(read(&mut updates, chunk("agent_message_chunk", "world")).is_empty());
        assert_eq!(read(&mut updates, chunk("agent_thought_chunk", "hm")), [message("Hello world")]);
        let plan = json!({"sessionUpdate": "plan", "entries": [{"content": "a", "priority": "high", "status": "in_progress"}]});
        assert_eq!(
            read(&mut updates, plan),
            [AgentReport::Thought { text: "hm".into() }, AgentReport::Plan { entries: vec![("a".into(), "in_progress".into())] }]
        );
    }

    #[test]
    fn another_message_id_is_a_boundary() {
        let mut updates = Updates::default();
        let mut first = chunk("agent_message_chunk", "one");
        first["messageId"] = json!("1");
        let mut second = chunk("agent_message_chunk", "two");
        second["messageId"] = json!("2");
        assert!(read(&mut updates, first).is_empty());
        assert_eq!(read(&mut updates, second), [message("one")]);
    }

    #[test]
    fn long_messages_are_cut_without_loss() {
        let mut updates = Updates::default();
        let text = "wörter und ".repeat(2_000);
        let mut out = read(&mut updates, chunk("agent_message_chunk", &text));
        updates.boundary(&mut out);
        let pieces: Vec<&str> = out.iter().map(|r| if let AgentReport::Message { text } = r { text.as_str() } else { panic!("{r:?}") }).collect();
        assert!(pieces.len() > 4 && pieces.iter().all(|p| p.chars().count() <= MESSAGE_CHARS_MAX));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn unknown_and_broken_updates_are_counted_not_fatal() {
        let mut updates = Updates::default();
        assert_eq!(read(&mut updates, json!({"sessionUpdate": "new <thing>"})), [AgentReport::Other { kind: "newthing".into() }]);
        assert_eq!(read(&mut updates, json!({"sessionUpdate": "plan", "entries": 3})).len(), 1);
        assert_eq!(read(&mut updates, json!([1])), [AgentReport::Other { kind: "without_name".into() }]);
        let told: usize = (0..100_000).map(|_| read(&mut updates, json!({"sessionUpdate": "x"})).len()).sum();
        assert!(told < 60, "{told}");
    }

    #[test]
    fn modes_and_usage_are_read() {
        let mut updates = Updates::default();
        let mut out = Vec::new();
        let meaning = updates.read(json!({"sessionUpdate": "current_mode_update", "currentModeId": "yolo"}), 1, &mut out);
        assert_eq!(meaning, Meaning::Mode("yolo".into()));
        let usage = json!({"sessionUpdate": "usage_update", "used": 5, "size": 10, "cost": {"amount": 0.25, "currency": "USD"}});
        assert_eq!(read(&mut updates, usage), [AgentReport::Usage { used: 5, size: 10, cost: Some("0.25 USD".into()) }]);
    }
}
