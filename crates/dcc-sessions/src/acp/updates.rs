//! `session/update` as reports: chunks joined into messages, tool calls, plans, usage, and everything else counted.
//!
//! Authority: ephemeral. Invariants: reports keep the order of the lines; a message is held for at most
//! [`MESSAGE_CHARS_MAX`] characters, and a paragraph of it for [`HELD_MAX`]; noise and unknown updates are reported at
//! first one by one, later at each doubling,
//! so that a flood cannot fill the record; what says how things stand (plan, commands, mode, settings, usage, title) is
//! reported when it changes.

use agent_client_protocol_schema::v1::{AvailableCommand, AvailableCommandsUpdate, CurrentModeUpdate, Plan, ToolCallUpdate};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use dcc_core::ports::sessions::{AgentCommand, AgentReport, TokenUsage, ToolStatus};

use super::content::{self, Block};
use super::offers;
use super::tools::Tools;
use super::wire::shown;

/// A message is reported at the latest when it has this many characters.
pub const MESSAGE_CHARS_MAX: usize = 4_096;
/// And its paragraphs when they have been held for so long, so that an answer can be read while it is written.
pub const HELD_MAX: Duration = Duration::from_secs(2);
/// Reports of one sort that pass before only doublings are told.
const PLAIN_REPORTS_MAX: u64 = 32;
const PLAN_ENTRIES_MAX: usize = 200;
const COMMANDS_MAX: usize = 200;
/// Attachments of one session: each is an artifact on the disk.
const ATTACHMENTS_MAX: usize = 1_000;
/// The text of something that is not understood.
const RAW_BYTES_MAX: usize = 16 * 1024;

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
    /// Since when the text is held.
    since: Option<Instant>,
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
        self.since = None;
        if let Some(voice) = self.voice.take()
            && !text.trim().is_empty()
        {
            out.push(spoken(voice, text));
        }
        self.message_id = None;
    }

    /// Whole paragraphs that are held for long are told while the rest is still being said.
    fn ripen(&mut self, now: Instant, out: &mut Vec<AgentReport>) {
        let Some(voice) = self.voice.filter(|_| !self.text.is_empty()) else { return };
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < HELD_MAX {
            return;
        }
        let Some(end) = self.text.rfind("\n\n").map(|at| at + 2) else { return };
        let rest = self.text.split_off(end);
        let told = std::mem::replace(&mut self.text, rest);
        self.since = Some(now);
        if !told.trim().is_empty() {
            out.push(spoken(voice, told));
        }
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
    attachments: usize,
    /// Tokens told with the messages of this turn, for agents whose answer to the prompt tells none.
    tokens: Option<TokenUsage>,
    /// The last report of each sort that says how things stand: told again only when it differs.
    told: HashMap<&'static str, AgentReport>,
}

/// What an update means beside its reports.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Meaning {
    /// The agent is in this mode now.
    pub mode: Option<String>,
    /// It uses this model now.
    pub model: Option<String>,
    /// It tells what it costs.
    pub tells_cost: bool,
    /// Its settings were told, and this is what they let it do without asking.
    pub settings: Option<Option<String>>,
}

impl Updates {
    /// Reads one update of the own session; `bytes` is the size of its line.
    pub fn read(&mut self, update: Value, bytes: usize, out: &mut Vec<AgentReport>) -> Meaning {
        let tag = update["sessionUpdate"].as_str().unwrap_or("without_name").to_owned();
        let mut meaning = Meaning::default();
        match tag.as_str() {
            "agent_message_chunk" => self.chunk(Voice::Message, &update, &tag, out),
            "agent_thought_chunk" => self.chunk(Voice::Thought, &update, &tag, out),
            "tool_call" | "tool_call_update" => {
                // A tool_call is a tool_call_update with more fields present; read so, a missing kind stays missing.
                if let Some(update) = self.typed::<ToolCallUpdate>(update, &tag, out) {
                    let report = self.tools.update(update, bytes);
                    out.push(AgentReport::Tool(report));
                }
            }
            "plan" => {
                if let Some(plan) = self.typed::<Plan>(update, &tag, out) {
                    self.standing("plan", AgentReport::Plan { entries: entries(&plan) }, out);
                }
            }
            "usage_update" => self.usage(&update, &tag, &mut meaning, out),
            "available_commands_update" => {
                if let Some(list) = self.typed::<AvailableCommandsUpdate>(update, &tag, out) {
                    self.standing("commands", AgentReport::Commands { commands: commands(&list) }, out);
                }
            }
            "current_mode_update" => {
                if let Some(mode) = self.typed::<CurrentModeUpdate>(update, &tag, out) {
                    let mode_id = mode.current_mode_id.0.to_string();
                    self.standing("mode", AgentReport::Mode { mode_id: shown(&mode_id, 120) }, out);
                    meaning.mode = Some(mode_id);
                }
            }
            "config_option_update" => self.settings(&update["configOptions"], &mut meaning, out),
            "session_info_update" => {
                self.joiner.flush(out);
                if let Some(title) = update["title"].as_str() {
                    self.standing("title", AgentReport::Title { title: shown(title, 300) }, out);
                }
            }
            _ => self.kept(&tag, &update, out),
        }
        meaning
    }

    /// Context fill and cost. Agents leave out the size, or the cost, or give either as another sort of number.
    fn usage(&mut self, update: &Value, tag: &str, meaning: &mut Meaning, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
        let Some(used) = offers::whole(&update["used"]) else {
            return self.kept(&format!("{tag}:unreadable"), update, out);
        };
        let cost = &update["cost"];
        let amount = cost["amount"].as_f64().filter(|amount| amount.is_finite() && *amount >= 0.0);
        let cost = amount.map(|amount| format!("{} {}", decimal(amount), shown(cost["currency"].as_str().unwrap_or("USD"), 16)));
        meaning.tells_cost = cost.is_some();
        self.standing("usage", AgentReport::Usage { used, size: offers::whole(&update["size"]).unwrap_or_default(), cost }, out);
    }

    fn settings(&mut self, list: &Value, meaning: &mut Meaning, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
        let options = offers::options(list);
        meaning.mode = super::modes::mode_option(list).map(|option| option.current);
        meaning.model = offers::model_of(&options);
        meaning.settings = Some(super::modes::switches(list).into_iter().find(|switch| !switch.asks).map(|switch| switch.id));
        if let Some(mode_id) = meaning.mode.clone() {
            self.standing("mode", AgentReport::Mode { mode_id: shown(&mode_id, 120) }, out);
        }
        self.standing("options", AgentReport::Options { options }, out);
    }

    /// Tells how things stand, when they stand differently.
    fn standing(&mut self, sort: &'static str, report: AgentReport, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
        if self.told.get(sort) != Some(&report) {
            self.told.insert(sort, report.clone());
            out.push(report);
        }
    }

    /// Ends the message that is being joined.
    pub fn boundary(&mut self, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
    }

    /// Something was said that is not told yet.
    pub fn is_speaking(&self) -> bool {
        !self.joiner.text.is_empty()
    }

    /// Tells what is held for long, as far as it can stand by itself.
    pub fn ripen(&mut self, now: Instant, out: &mut Vec<AgentReport>) {
        self.joiner.ripen(now, out);
    }

    /// The turn is over: its tokens, and what became of the calls that were begun and never ended. An agent that was told
    /// no may say nothing more of the call; that one was ended by us.
    pub fn turn_over(&mut self, result: &Value, refused: &HashSet<String>, out: &mut Vec<AgentReport>) -> Option<TokenUsage> {
        self.joiner.flush(out);
        let cancelled = result["stopReason"].as_str() == Some("cancelled");
        let status = if cancelled { ToolStatus::Cancelled } else { ToolStatus::Unknown };
        let open = self.tools.end_open(status);
        out.extend(open.into_iter().filter(|call| !refused.contains(&call.tool_call_id)).map(AgentReport::Tool));
        let told = self.tokens.take();
        offers::turn_tokens(result).or(told)
    }

    /// Something counted by its kind only.
    pub fn other(&mut self, kind: &str, out: &mut Vec<AgentReport>) {
        self.note(kind, || None, out);
    }

    /// Something that is not understood: counted by its kind, its text kept where it is small.
    pub fn kept(&mut self, kind: &str, value: &Value, out: &mut Vec<AgentReport>) {
        self.note(kind, || Some(value.to_string()), out);
    }

    fn note(&mut self, kind: &str, raw: impl FnOnce() -> Option<String>, out: &mut Vec<AgentReport>) {
        self.joiner.flush(out);
        if let Some(seen) = self.other.admit() {
            let kind = word(kind);
            let raw = raw().filter(|raw| raw.len() <= RAW_BYTES_MAX);
            out.push(AgentReport::Other { kind: if seen > PLAIN_REPORTS_MAX { format!("{kind} ({seen} such so far)") } else { kind }, raw });
        }
    }

    /// A line that is not the protocol.
    pub fn noise(&mut self, sample: &str, out: &mut Vec<AgentReport>) {
        if let Some(seen) = self.noise.admit() {
            let sample = shown(sample, 200);
            out.push(AgentReport::Noise { sample: if seen > PLAIN_REPORTS_MAX { format!("{sample} ({seen} such lines so far)") } else { sample } });
        }
    }

    fn chunk(&mut self, voice: Voice, update: &Value, tag: &str, out: &mut Vec<AgentReport>) {
        if let Some(told) = offers::tokens(&update["_meta"]["usage"]) {
            self.tokens = Some(self.tokens.map_or(told, |sum| offers::sum(sum, told)));
        }
        // The other voice, or no text, ends the message; so does an update that cannot be read.
        match content::block(&update["content"]) {
            Block::Text(text) => self.joiner.push(voice, update["messageId"].as_str().map(str::to_owned), &text, out),
            Block::Attachment(attachment) if self.attachments < ATTACHMENTS_MAX => {
                self.attachments += 1;
                self.joiner.flush(out);
                out.push(AgentReport::Attachment(attachment));
            }
            Block::Attachment(_) => self.other(&format!("{tag}:too_many_attachments"), out),
            Block::Unknown(kind) => self.kept(&format!("{tag}:{kind}"), update, out),
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, update: Value, tag: &str, out: &mut Vec<AgentReport>) -> Option<T> {
        self.joiner.flush(out);
        if let Ok(read) = T::deserialize(&update) { Some(read) } else {
            self.kept(&format!("{tag}:unreadable"), &update, out);
            None
        }
    }
}

/// An amount without the noise of its last digits.
fn decimal(amount: f64) -> String {
    let text = format!("{amount:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn commands(list: &AvailableCommandsUpdate) -> Vec<AgentCommand> {
    let hint = |command: &AvailableCommand| serde_json::to_value(&command.input).ok()?["hint"].as_str().map(|hint| shown(hint, 120));
    let one = |command: &AvailableCommand| AgentCommand { name: shown(&command.name, 64), description: shown(&command.description, 300), hint: hint(command) };
    list.available_commands.iter().take(COMMANDS_MAX).map(one).collect()
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
    fn paragraphs_that_are_held_for_long_are_told_while_the_rest_is_said() {
        let mut updates = Updates::default();
        let start = Instant::now();
        assert!(read(&mut updates, chunk("agent_message_chunk", "First.\n\nSec")).is_empty() && updates.is_speaking());
        let mut out = Vec::new();
        updates.ripen(start, &mut out);
        updates.ripen(start + HELD_MAX / 2, &mut out);
        assert!(out.is_empty(), "not yet");
        updates.ripen(start + HELD_MAX, &mut out);
        assert_eq!(std::mem::take(&mut out), [message("First.\n\n")]);
        assert!(read(&mut updates, chunk("agent_message_chunk", "ond, without a break")).is_empty());
        updates.ripen(start + HELD_MAX * 3, &mut out);
        assert!(out.is_empty(), "a sentence is not cut");
        updates.boundary(&mut out);
        assert_eq!(out, [message("Second, without a break")]);
        assert!(!updates.is_speaking());
    }

    #[test]
    fn unknown_and_broken_updates_are_counted_not_fatal() {
        let mut updates = Updates::default();
        let novelty = json!({"sessionUpdate": "new <thing>", "x": [1]});
        assert_eq!(read(&mut updates, novelty.clone()), [AgentReport::Other { kind: "newthing".into(), raw: Some(novelty.to_string()) }]);
        let large = json!({"sessionUpdate": "large", "x": "x".repeat(RAW_BYTES_MAX)});
        assert_eq!(read(&mut updates, large), [AgentReport::Other { kind: "large".into(), raw: None }]);
        assert_eq!(read(&mut updates, json!({"sessionUpdate": "plan", "entries": 3})).len(), 1);
        assert!(matches!(&read(&mut updates, json!([1]))[..], [AgentReport::Other { kind, .. }] if kind == "without_name"));
        let told: usize = (0..100_000).map(|_| read(&mut updates, json!({"sessionUpdate": "x"})).len()).sum();
        assert!(told < 60, "{told}");
    }

    #[test]
    fn modes_settings_and_models_are_read() {
        let mut updates = Updates::default();
        let mut out = Vec::new();
        let meaning = updates.read(json!({"sessionUpdate": "current_mode_update", "currentModeId": "yolo"}), 1, &mut out);
        assert_eq!((meaning.mode.as_deref(), out.pop()), (Some("yolo"), Some(AgentReport::Mode { mode_id: "yolo".into() })));
        let options = json!([
            {"id": "mode", "name": "Mode", "category": "mode", "type": "select", "currentValue": "ask", "options": [{"value": "ask", "name": "Ask"}]},
            {"id": "model", "name": "Model", "category": "model", "type": "select", "currentValue": "m-1", "options": [{"value": "m-1", "name": "One"}]}]);
        let meaning = updates.read(json!({"sessionUpdate": "config_option_update", "configOptions": options}), 1, &mut out);
        assert_eq!((meaning.mode.as_deref(), meaning.model.as_deref()), (Some("ask"), Some("m-1")));
        assert!(matches!(&out[..], [AgentReport::Mode { .. }, AgentReport::Options { options }] if options.len() == 2), "{out:?}");
    }

    #[test]
    fn usage_of_every_spelling_is_read() {
        let mut updates = Updates::default();
        let usage = |used: Value, size: Value, cost: Value| json!({"sessionUpdate": "usage_update", "used": used, "size": size, "cost": cost});
        let told = |used, size, cost: Option<&str>| vec![AgentReport::Usage { used, size, cost: cost.map(str::to_owned) }];
        assert_eq!(read(&mut updates, usage(json!(5), json!(10), json!({"amount": 0.25, "currency": "USD"}))), told(5, 10, Some("0.25 USD")));
        assert_eq!(read(&mut updates, usage(json!(3), json!(10), Value::Null)), told(3, 10, None), "the fill may fall");
        assert_eq!(read(&mut updates, usage(json!(4.0), Value::Null, json!({"amount": 1, "currency": "EUR"}))), told(4, 0, Some("1 EUR")));
        assert_eq!(read(&mut updates, usage(json!(4), json!(9), json!({"amount": 0.1 + 0.2, "currency": "USD"}))), told(4, 9, Some("0.3 USD")));
        assert_eq!(read(&mut updates, usage(json!(5), json!(9), json!({"amount": -1, "currency": "USD"}))), told(5, 9, None));
        assert!(matches!(&read(&mut updates, usage(json!("many"), json!(1), Value::Null))[..], [AgentReport::Other { raw: Some(_), .. }]));
    }

    #[test]
    fn commands_titles_and_pictures_are_told() {
        let mut updates = Updates::default();
        let list = json!({"sessionUpdate": "available_commands_update", "availableCommands": [
            {"name": "plan", "description": "Makes a plan", "input": {"hint": "what for"}}, {"name": "bad"}, {"name": "go", "description": "Goes", "input": null}]});
        let [AgentReport::Commands { commands }] = &read(&mut updates, list.clone())[..] else { panic!() };
        assert_eq!((commands.len(), commands[0].hint.as_deref(), commands[1].hint.as_deref()), (2, Some("what for"), None));
        assert!(read(&mut updates, list).is_empty(), "the same again is no news");
        assert_eq!(read(&mut updates, json!({"sessionUpdate": "session_info_update", "title": "T"})), [AgentReport::Title { title: "T".into() }]);
        assert!(read(&mut updates, chunk("agent_message_chunk", "see ")).is_empty());
        let picture = json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": "AQID", "mimeType": "image/png"}});
        let out = read(&mut updates, picture);
        assert!(matches!(&out[..], [AgentReport::Message { text }, AgentReport::Attachment(_)] if text == "see "), "{out:?}");
        let odd = read(&mut updates, json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "hologram"}}));
        assert!(matches!(&odd[..], [AgentReport::Other { kind, .. }] if kind == "agent_message_chunk:hologram"));
    }
}
