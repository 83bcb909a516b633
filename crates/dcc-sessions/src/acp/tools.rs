//! What is known of an agent's tool calls, joined over its updates, and permission requests read with it.
//!
//! Authority: ephemeral. Invariants: the memory holds at most [`KNOWN_CALLS_MAX`] calls and [`KNOWN_BYTES_MAX`] bytes, the
//! oldest goes first, and a call that is forgotten counts as unexplained, which is the highest class; an option is chosen
//! by its kind alone, and an id that stands for two kinds is not chosen at all.

use agent_client_protocol_schema::v1::{
    PermissionOption, PermissionOptionKind, ToolCallContent, ToolCallStatus, ToolCallUpdate, ToolCallUpdateFields, ToolKind,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

use dcc_core::ids::Sha256Hex;
use dcc_core::limits::LINE_BYTES_MAX;
use dcc_core::ports::sessions::{PermissionAsk, SideEffect, ToolReport, ToolStatus, Withdrawn};

use super::content;
use super::wire::shown;

/// Open tool calls an agent can have; real ones have a few.
const KNOWN_CALLS_MAX: usize = 512;
const KNOWN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Locations and diffs of one call that are passed on.
const NAMED_PATHS_MAX: usize = 200;
/// Fields of a raw input in which agents name a path.
const PATH_FIELDS: [&str; 9] = ["path", "file_path", "filePath", "abs_path", "absolute_path", "target_file", "notebook_path", "filepath", "fileName"];
const COMMAND_FIELDS: [&str; 4] = ["command", "cmd", "argv", "shell_command"];
/// An input and a text that a request shows.
const SHOWN_CHARS_MAX: usize = 4_000;
const SHOWN_TEXTS_MAX: usize = 8;

struct Known {
    fields: ToolCallUpdateFields,
    bytes: usize,
}

/// Tool calls that have begun and not ended.
#[derive(Default)]
pub struct Tools {
    known: HashMap<String, Known>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Tools {
    /// Joins one `tool_call` or `tool_call_update` and says what is now known of the call. `bytes` is the size of its line.
    pub fn update(&mut self, update: ToolCallUpdate, bytes: usize) -> ToolReport {
        let id = update.tool_call_id.0.to_string();
        let known = self.forget(&id);
        let size = bytes + known.as_ref().map_or(0, |k| k.bytes);
        let fresh = serde_json::to_value(&update.fields.content).unwrap_or_default();
        let fields = joined(known.map(|k| k.fields), update.fields);
        let report = ToolReport { content: content::parts(&fresh, fields.raw_output.is_some()), ..report(&id, &fields) };
        if !matches!(fields.status, Some(ToolCallStatus::Completed | ToolCallStatus::Failed)) {
            self.keep(id, fields, size);
        }
        report
    }

    /// Ends every call that is still open, oldest first.
    pub fn end_open(&mut self, status: ToolStatus) -> Vec<ToolReport> {
        let order = std::mem::take(&mut self.order);
        self.bytes = 0;
        let known = &mut self.known;
        order.iter().filter_map(|id| known.remove(id).map(|call| ToolReport { status, ..report(id, &call.fields) })).collect()
    }

    fn keep(&mut self, id: String, fields: ToolCallUpdateFields, bytes: usize) {
        self.bytes += bytes;
        self.order.push_back(id.clone());
        self.known.insert(id, Known { fields, bytes });
        while self.known.len() > KNOWN_CALLS_MAX || self.bytes > KNOWN_BYTES_MAX {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, id: &str) -> Option<Known> {
        let known = self.known.remove(id)?;
        self.bytes -= known.bytes;
        self.order.retain(|other| other != id);
        Some(known)
    }
}

/// Later fields win; what an update leaves out stays.
fn joined(known: Option<ToolCallUpdateFields>, update: ToolCallUpdateFields) -> ToolCallUpdateFields {
    let Some(mut all) = known else { return update };
    all.kind = update.kind.or(all.kind);
    all.status = update.status.or(all.status);
    all.title = update.title.or(all.title);
    all.name = update.name.or(all.name);
    all.content = update.content.or(all.content);
    all.locations = update.locations.or(all.locations);
    all.raw_input = update.raw_input.or(all.raw_input);
    all.raw_output = update.raw_output.or(all.raw_output);
    all
}

fn report(id: &str, fields: &ToolCallUpdateFields) -> ToolReport {
    let kind = fields.kind.unwrap_or_default();
    ToolReport {
        tool_call_id: shown(id, 256),
        title: title(fields),
        kind: kind_name(kind).to_owned(),
        side_effect: side_effect(kind),
        status: match fields.status {
            Some(ToolCallStatus::InProgress) => ToolStatus::Running,
            Some(ToolCallStatus::Completed) => ToolStatus::Ok,
            Some(ToolCallStatus::Failed) => ToolStatus::Error,
            Some(ToolCallStatus::Pending) | None => ToolStatus::Requested,
            Some(_) => ToolStatus::Unknown,
        },
        locations: locations(fields),
        raw_input: fields.raw_input.clone(),
        raw_output: fields.raw_output.clone().or_else(|| text_output(fields)),
        content: Vec::new(),
    }
}

fn title(fields: &ToolCallUpdateFields) -> String {
    shown(fields.title.as_deref().unwrap_or_default(), LINE_BYTES_MAX / 4)
}

/// Agents that give no raw output show it as content.
fn text_output(fields: &ToolCallUpdateFields) -> Option<Value> {
    let texts = texts(fields);
    (!texts.is_empty()).then(|| Value::Array(texts.into_iter().map(Value::String).collect()))
}

fn texts(fields: &ToolCallUpdateFields) -> Vec<String> {
    content::texts(&serde_json::to_value(&fields.content).unwrap_or_default())
}

/// The protocol's word for a kind.
pub fn kind_name(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Read => "read",
        ToolKind::Edit => "edit",
        ToolKind::Delete => "delete",
        ToolKind::Move => "move",
        ToolKind::Search => "search",
        ToolKind::Execute => "execute",
        ToolKind::Think => "think",
        ToolKind::Fetch => "fetch",
        ToolKind::SwitchMode => "switch_mode",
        _ => "other",
    }
}

/// What a kind can do; anything unexplained counts as the worst.
fn side_effect(kind: ToolKind) -> SideEffect {
    match kind {
        ToolKind::Read | ToolKind::Search | ToolKind::Think | ToolKind::Fetch => SideEffect::Read,
        ToolKind::Edit | ToolKind::Delete | ToolKind::Move => SideEffect::Write,
        _ => SideEffect::Execute,
    }
}

/// Every path the call names: its locations, and those its raw input and its diffs name beside them.
fn locations(fields: &ToolCallUpdateFields) -> Vec<String> {
    let mut paths: Vec<String> = fields.locations.iter().flatten().map(|l| l.path.to_string_lossy().into_owned()).collect();
    let given = PATH_FIELDS.iter().filter_map(|field| fields.raw_input.as_ref()?[*field].as_str().map(str::to_owned));
    for path in given.chain(diffs(fields).into_iter().map(|(path, ..)| path)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.truncate(NAMED_PATHS_MAX);
    paths
}

/// The command a raw input shows, as given; words are shown one by one, quoted where a word needs it.
fn command(fields: &ToolCallUpdateFields) -> Option<String> {
    let input = fields.raw_input.as_ref()?;
    let found = COMMAND_FIELDS.iter().map(|field| &input[*field]).find(|value| value.is_string() || value.is_array())?;
    let words = |list: &[Value]| -> Vec<String> { list.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), quoted)).collect() };
    match found {
        Value::String(text) => match input["args"].as_array() {
            Some(args) if !args.is_empty() => Some(std::iter::once(quoted(text)).chain(words(args)).collect::<Vec<_>>().join(" ")),
            _ => Some(text.clone()),
        },
        Value::Array(list) => Some(words(list).join(" ")),
        _ => None,
    }
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn diffs(fields: &ToolCallUpdateFields) -> Vec<(String, Option<String>, String)> {
    fields
        .content
        .iter()
        .flatten()
        .filter_map(|content| match content {
            ToolCallContent::Diff(diff) => Some((diff.path.to_string_lossy().into_owned(), diff.old_text.clone(), diff.new_text.clone())),
            _ => None,
        })
        .take(NAMED_PATHS_MAX)
        .collect()
}

/// A permission request with the ids of the two answers that may be given.
#[derive(Debug)]
pub struct Permission {
    pub ask: PermissionAsk,
    pub allow: Option<String>,
    pub reject: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PermissionParams {
    session_id: String,
    tool_call: ToolCallUpdate,
    /// Read one by one: an option of a kind that came later must not spoil the others.
    #[serde(default)]
    options: Vec<Value>,
}

/// Reads `session/request_permission`. An error is one sentence for the agent.
pub fn permission(raw: &str, own_session: Option<&str>, tools: &Tools, withdrawn: Withdrawn) -> Result<Permission, String> {
    let params: PermissionParams = serde_json::from_str(raw).map_err(|e| format!("session/request_permission: {e}"))?;
    if own_session != Some(params.session_id.as_str()) {
        return Err("session/request_permission names another session".to_owned());
    }
    let id = params.tool_call.tool_call_id.0.to_string();
    let known = tools.known.get(&id).map(|k| k.fields.clone());
    let fields = joined(known, params.tool_call.fields);
    let options: Vec<PermissionOption> = params.options.into_iter().filter_map(|o| serde_json::from_value(o).ok()).collect();
    let allow = by_kind(&options, PermissionOptionKind::AllowOnce);
    let reject = by_kind(&options, PermissionOptionKind::RejectOnce);
    let given = command(&fields);
    // Some agents show a command in the title and nowhere else.
    let titled = (given.is_none() && fields.kind == Some(ToolKind::Execute) && fields.raw_input.is_none()).then(|| title(&fields)).filter(|title| !title.trim().is_empty());
    let ask = PermissionAsk {
        tool_call_id: shown(&id, 256),
        title: title(&fields),
        kind: fields.kind.map(|kind| kind_name(kind).to_owned()),
        locations: locations(&fields),
        command_is_title: titled.is_some(),
        command: given.or(titled),
        diffs: diffs(&fields),
        input: fields.raw_input.as_ref().map(|input| shown(&input.to_string(), SHOWN_CHARS_MAX)),
        texts: texts(&fields).iter().take(SHOWN_TEXTS_MAX).map(|text| shown(text, SHOWN_CHARS_MAX)).collect(),
        raw_sha256: Sha256Hex::of(raw.as_bytes()),
        can_allow: allow.is_some(),
        withdrawn,
    };
    Ok(Permission { ask, allow, reject })
}

/// The option of this kind. An id that also stands for another kind would leave the meaning to the agent.
fn by_kind(options: &[PermissionOption], kind: PermissionOptionKind) -> Option<String> {
    let option = options.iter().find(|o| o.kind == kind)?;
    let ambiguous = options.iter().any(|o| o.option_id == option.option_id && o.kind != kind);
    (!ambiguous).then(|| option.option_id.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn update(value: &Value) -> ToolCallUpdate {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn request(options: &Value) -> String {
        json!({"sessionId": "s", "toolCall": {"toolCallId": "t"}, "options": options}).to_string()
    }

    #[test]
    fn updates_join_and_end() {
        let mut tools = Tools::default();
        let first = tools.update(update(&json!({"toolCallId": "t", "title": "Edit a", "kind": "edit", "locations": [{"path": "/w/a"}]})), 10);
        assert_eq!((first.status, first.side_effect), (ToolStatus::Requested, SideEffect::Write));
        let second = tools.update(update(&json!({"toolCallId": "t", "status": "completed", "rawOutput": {"ok": true}})), 10);
        assert_eq!((second.title.as_str(), second.status, second.locations.len()), ("Edit a", ToolStatus::Ok, 1));
        assert!(tools.known.is_empty() && tools.bytes == 0 && tools.order.is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut tools = Tools::default();
        for n in 0..2 * KNOWN_CALLS_MAX {
            tools.update(update(&json!({"toolCallId": n.to_string(), "title": "x"})), 1024);
        }
        assert_eq!((tools.known.len(), tools.order.len()), (KNOWN_CALLS_MAX, KNOWN_CALLS_MAX));
        tools.update(update(&json!({"toolCallId": "big"})), KNOWN_BYTES_MAX + 1);
        assert_eq!(tools.bytes, 0);
    }

    #[test]
    fn a_bare_request_is_joined_or_unknown() {
        let mut tools = Tools::default();
        let options = json!([{"optionId": "y", "name": "Yes", "kind": "allow_once"}]);
        let unknown = permission(&request(&options), Some("s"), &tools, Withdrawn::default()).unwrap();
        assert_eq!(unknown.ask.kind, None);
        tools.update(update(&json!({"toolCallId": "t", "title": "Run", "kind": "execute", "rawInput": {"command": ["bash", "-lc", "a b"]}})), 10);
        let known = permission(&request(&options), Some("s"), &tools, Withdrawn::default()).unwrap();
        assert_eq!(known.ask.kind.as_deref(), Some("execute"));
        assert_eq!(known.ask.command.as_deref(), Some("bash -lc 'a b'"));
        assert_eq!(known.ask.input.as_deref(), Some(r#"{"command":["bash","-lc","a b"]}"#));
        assert_eq!(known.ask.raw_sha256, Sha256Hex::of(request(&options).as_bytes()));
    }

    #[test]
    fn options_go_by_kind_and_never_to_always() {
        let tools = Tools::default();
        let take = |options: Value| permission(&request(&options), Some("s"), &tools, Withdrawn::default()).unwrap();
        let shuffled = take(json!([
            {"optionId": "a", "name": "Always", "kind": "allow_always"}, {"optionId": "new", "name": "?", "kind": "allow_twice"},
            {"optionId": "n", "name": "No", "kind": "reject_once"}, {"optionId": "y", "name": "Yes", "kind": "allow_once"}]));
        assert_eq!((shuffled.allow.as_deref(), shuffled.reject.as_deref()), (Some("y"), Some("n")));
        let always = take(json!([{"optionId": "a", "name": "Always", "kind": "allow_always"}, {"optionId": "b", "name": "Never", "kind": "reject_always"}]));
        assert_eq!((always.allow, always.reject, always.ask.can_allow), (None, None, false));
        let double = take(json!([{"optionId": "a", "name": "Once", "kind": "allow_once"}, {"optionId": "a", "name": "Always", "kind": "allow_always"}]));
        assert!(!double.ask.can_allow);
        assert!(permission(&request(&json!([])), Some("other"), &tools, Withdrawn::default()).is_err());
    }

    #[test]
    fn a_request_shows_what_the_agent_shows() {
        let tools = Tools::default();
        let asked = |call: Value| permission(&json!({"sessionId": "s", "toolCall": call}).to_string(), Some("s"), &tools, Withdrawn::default()).unwrap().ask;
        let fetch = asked(json!({"toolCallId": "t", "kind": "fetch", "rawInput": {"url": "https://a.invalid"}, "content": [{"type": "content", "content": {"type": "text", "text": "why"}}]}));
        assert_eq!((fetch.input.as_deref(), fetch.texts), (Some(r#"{"url":"https://a.invalid"}"#), vec!["why".to_owned()]));
        let split = asked(json!({"toolCallId": "t", "kind": "execute", "rawInput": {"command": "git", "args": ["log", "-n 1"]}}));
        assert_eq!(split.command.as_deref(), Some("git log '-n 1'"));
    }

    #[test]
    fn a_command_in_the_title_is_marked_as_such() {
        let tools = Tools::default();
        let asked = |call: Value| permission(&json!({"sessionId": "s", "toolCall": call}).to_string(), Some("s"), &tools, Withdrawn::default()).unwrap().ask;
        let titled = asked(json!({"toolCallId": "t", "kind": "execute", "title": "echo ran > made.txt"}));
        assert_eq!((titled.command.as_deref(), titled.command_is_title), (Some("echo ran > made.txt"), true));
        let given = asked(json!({"toolCallId": "t", "kind": "execute", "title": "Run it", "rawInput": {"command": "ls"}}));
        assert_eq!((given.command.as_deref(), given.command_is_title), (Some("ls"), false));
        for other in [json!({"toolCallId": "t", "kind": "execute", "title": "Run", "rawInput": {"x": 1}}), json!({"toolCallId": "t", "kind": "edit", "title": "ls"}), json!({"toolCallId": "t", "kind": "execute"})] {
            assert_eq!(asked(other).command, None);
        }
    }

    #[test]
    fn what_is_open_at_the_end_is_ended() {
        let mut tools = Tools::default();
        for id in ["a", "b", "c"] {
            tools.update(update(&json!({"toolCallId": id, "title": id, "kind": "edit", "status": "in_progress"})), 10);
        }
        tools.update(update(&json!({"toolCallId": "b", "status": "completed"})), 10);
        let ended: Vec<(String, ToolStatus)> = tools.end_open(ToolStatus::Cancelled).into_iter().map(|call| (call.title, call.status)).collect();
        assert_eq!(ended, [("a".to_owned(), ToolStatus::Cancelled), ("c".to_owned(), ToolStatus::Cancelled)]);
        assert!(tools.known.is_empty() && tools.order.is_empty() && tools.bytes == 0);
    }

    #[test]
    fn only_the_content_of_this_update_is_told() {
        let mut tools = Tools::default();
        let diff = json!([{"type": "diff", "path": "/w/a", "newText": "x"}, {"type": "content", "content": {"type": "text", "text": "seen"}}]);
        let first = tools.update(update(&json!({"toolCallId": "t", "kind": "edit", "content": diff})), 1);
        assert_eq!((first.content.len(), first.raw_output), (1, Some(json!(["seen"]))));
        let second = tools.update(update(&json!({"toolCallId": "t", "status": "in_progress"})), 1);
        assert!(second.content.is_empty());
        let last = tools.update(update(&json!({"toolCallId": "t", "status": "completed", "rawOutput": {"ok": 1}, "content": diff})), 1);
        assert_eq!((last.content.len(), last.raw_output), (2, Some(json!({"ok": 1}))));
    }

    #[test]
    fn hidden_paths_of_the_raw_input_are_named() {
        let mut tools = Tools::default();
        let report = tools.update(update(&json!({"toolCallId": "t", "kind": "edit", "locations": [{"path": "a"}], "rawInput": {"file_path": "/etc/passwd"}})), 1);
        assert_eq!(report.locations, ["a", "/etc/passwd"]);
    }
}
