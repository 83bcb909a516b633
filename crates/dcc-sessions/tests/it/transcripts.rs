//! Turns written down by hand as agents of the protocol send them, and what is heard of each.

use dcc_core::ports::sessions::{AgentReport, AttachmentSort, PermissionAnswer, SessionBackend as _, SideEffect, ToolContent, ToolStatus};
use dcc_sessions::AgentTraits;
use serde_json::{Value, json};

use crate::fake::{Fake, asks, plain, result, says, update};
use crate::support::{ALLOW, Decision, options};

/// An agent whose turn is these lines and then its end.
fn turn_of(lines: Vec<String>) -> impl Fn(&Value) -> Vec<String> + Send + Sync + 'static {
    move |message| match message["method"].as_str() {
        Some("session/prompt") => lines.iter().cloned().chain([result(message, json!({"stopReason": "end_turn"}))]).collect(),
        _ => plain(message, &json!({})),
    }
}

/// An agent whose turn is these lines, and whose turn ends when its request `last` is answered.
fn turn_until(lines: Vec<String>, last: &'static str) -> impl Fn(&Value) -> Vec<String> + Send + Sync + 'static {
    let prompt = std::sync::Mutex::new(Value::Null);
    move |message| match message["method"].as_str() {
        Some("session/prompt") => {
            *prompt.lock().unwrap() = message.clone();
            lines.clone()
        }
        None if message["id"] == last => vec![result(&prompt.lock().unwrap(), json!({"stopReason": "end_turn"}))],
        _ => plain(message, &json!({})),
    }
}

fn played(lines: Vec<String>) -> (Fake, Vec<AgentReport>) {
    let fake = Fake::new(turn_of(lines));
    fake.start().unwrap();
    assert_eq!(fake.turn().unwrap(), "end_turn");
    let reports = fake.reports();
    (fake, reports)
}

/// A report in a word or two.
fn word(report: &AgentReport) -> String {
    match report {
        AgentReport::Message { text } => format!("says {text}"),
        AgentReport::Thought { text } => format!("thinks {text}"),
        AgentReport::Plan { entries } => format!("plan {}", entries.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>().join(",")),
        AgentReport::Tool(tool) => format!("tool {} {:?}", tool.title, tool.status),
        AgentReport::Usage { used, size, .. } => format!("{used}/{size}"),
        AgentReport::Commands { commands } => format!("commands {}", commands.len()),
        AgentReport::Mode { mode_id } => format!("mode {mode_id}"),
        AgentReport::Title { title } => format!("title {title}"),
        AgentReport::Attachment(attachment) => format!("{:?}", attachment.sort),
        AgentReport::Other { kind, raw } => format!("other {kind} {}", raw.is_some()),
        AgentReport::Noise { .. } => "noise".into(),
        AgentReport::TurnEnded { .. } => "end".into(),
        other => format!("{other:?}"),
    }
}

fn words(reports: &[AgentReport]) -> Vec<String> {
    reports.iter().map(word).collect()
}

#[test]
fn a_whole_turn_of_an_older_agent() {
    let (_fake, reports) = played(vec![
        update(json!({"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "init", "description": "Sets up"}]})),
        update(json!({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "Let me see"}})),
        says("s-new", "I will "), says("s-new", "edit it."),
        update(json!({"sessionUpdate": "plan", "entries": [{"content": "Edit", "priority": "high", "status": "in_progress"}, {"content": "Test", "priority": "low", "status": "pending"}]})),
        update(json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Edit a", "kind": "edit", "status": "pending", "locations": [{"path": "/w/a", "line": 3}],
            "content": [{"type": "diff", "path": "/w/a", "oldText": "a\n", "newText": "b\n"}], "rawInput": {"file_path": "/w/a"}})),
        update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed", "content": [{"type": "content", "content": {"type": "text", "text": "done"}}]})),
        update(json!({"sessionUpdate": "plan", "entries": [{"content": "Edit", "priority": "high", "status": "completed"}, {"content": "Test", "priority": "low", "status": "pending"}]})),
        says("s-new", "Done."),
    ]);
    assert_eq!(words(&reports), ["commands 1", "thinks Let me see", "says I will edit it.", "plan in_progress,pending", "tool Edit a Requested", "tool Edit a Ok",
        "plan completed,pending", "says Done.", "end"]);
    let AgentReport::Tool(first) = &reports[4] else { panic!() };
    assert_eq!((first.side_effect, first.locations.as_slice()), (SideEffect::Write, &["/w/a".to_owned()][..]));
    assert_eq!(first.content, [ToolContent::Diff { path: "/w/a".into(), text: "@@ -1,1 +1,1 @@\n-a\n+b\n".into(), cut: false }]);
    let AgentReport::Tool(last) = &reports[5] else { panic!() };
    assert_eq!((last.status, last.raw_output.clone()), (ToolStatus::Ok, Some(json!(["done"]))));
}

#[test]
fn a_whole_turn_of_a_newer_agent() {
    let (_fake, reports) = played(vec![
        update(json!({"sessionUpdate": "session_info_update", "title": "Greeting", "updatedAt": "2026-01-01T00:00:00Z"})),
        update(json!({"sessionUpdate": "agent_message_chunk", "messageId": "m1", "content": {"type": "text", "text": "See"}})),
        update(json!({"sessionUpdate": "agent_message_chunk", "messageId": "m1", "content": {"type": "image", "data": "AQID", "mimeType": "image/png"}})),
        update(json!({"sessionUpdate": "agent_message_chunk", "messageId": "m2", "content": {"type": "resource_link", "uri": "file:///w/a", "name": "a"}})),
        update(json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "npm test", "kind": "execute", "status": "in_progress", "content": [{"type": "terminal", "terminalId": "term-1"}]})),
        update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "failed", "rawOutput": {"exitCode": 1}})),
        update(json!({"sessionUpdate": "usage_update", "used": 900, "size": 1000})),
        update(json!({"sessionUpdate": "usage_update", "used": 900, "size": 1000})),
        update(json!({"sessionUpdate": "usage_update", "used": 100, "size": 1000})),
        update(json!({"sessionUpdate": "compaction_update", "compactionId": "x", "status": "completed"})),
        json!({"jsonrpc": "2.0", "method": "_vendor/telemetry", "params": {"a": 1}}).to_string(),
        update(json!({"sessionUpdate": "user_message_chunk", "content": {"type": "text", "text": "go"}})),
        update(json!({"sessionUpdate": "current_mode_update", "currentModeId": "default"})),
    ]);
    assert_eq!(words(&reports), ["title Greeting", "says See", "Picture", "Link", "tool npm test Running", "tool npm test Error", "900/1000", "100/1000",
        "other compaction_update true", "other _vendor/telemetry true", "other user_message_chunk true", "mode default", "end"]);
    let AgentReport::Attachment(picture) = &reports[2] else { panic!() };
    assert_eq!((picture.sort, picture.data.as_deref(), picture.mime.as_deref()), (AttachmentSort::Picture, Some(&[1, 2, 3][..]), Some("image/png")));
    let AgentReport::Tool(tool) = &reports[4] else { panic!() };
    assert_eq!(tool.content, [ToolContent::Terminal { terminal_id: "term-1".into() }]);
}

#[test]
fn what_is_broken_costs_a_report_each() {
    let (fake, reports) = played(vec![
        update(json!({"sessionUpdate": "tool_call", "title": "no id"})),
        update(json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": 3, "kind": "unheard-of", "locations": "x", "content": [{"type": "novelty"}], "status": "odd"})),
        update(json!(null)), "[]".into(), "\u{feff}{}".into(),
        json!([{"jsonrpc": "2.0", "method": "session/update"}]).to_string(),
        json!({"jsonrpc": "2.0", "id": 99, "result": {}}).to_string(),
        json!({"jsonrpc": "2.0", "id": "1", "result": {}}).to_string(),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": "x"}}).to_string(),
        says("s-new", "still here"),
    ]);
    let words = words(&reports);
    assert!(words.contains(&"says still here".to_owned()) && words.last().unwrap() == "end", "{words:?}");
    assert_eq!(words.iter().filter(|w| w.starts_with("other answer_nobody_waits_for")).count(), 2, "{words:?}");
    assert_eq!(fake.turn().unwrap(), "end_turn");
}

#[test]
fn calls_that_never_end_end_with_their_turn() {
    let begun = |id: &str| update(json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": id, "kind": "edit", "status": "in_progress"}));
    let (_fake, reports) = played(vec![begun("c1"), begun("c2"), update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "c2", "status": "completed"}))]);
    assert_eq!(words(&reports), ["tool c1 Running", "tool c2 Running", "tool c2 Ok", "tool c1 Unknown", "end"]);
    // Said no to, and then never mentioned again: our own no has ended it.
    let prompt = std::sync::Mutex::new(Value::Null);
    let lines = [begun("c1"), begun("c2"), permission("p1", json!({"toolCallId": "c1"}))];
    let rejected = move |message: &Value| match message["method"].as_str() {
        Some("session/prompt") => {
            *prompt.lock().unwrap() = message.clone();
            lines.to_vec()
        }
        None if message["id"] == "p1" => vec![result(&prompt.lock().unwrap(), json!({"stopReason": "cancelled"}))],
        _ => plain(message, &json!({})),
    };
    let fake = Fake::with(rejected, AgentTraits::default(), options(), "", crate::support::REJECT);
    fake.start().unwrap();
    assert_eq!(fake.turn().unwrap(), "cancelled");
    assert_eq!(words(&fake.reports()), ["tool c1 Running", "tool c2 Running", "tool c2 Cancelled", "end"]);
}

#[test]
fn tokens_told_with_the_messages_count_for_the_turn() {
    let silent = |input: u64| update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ""}, "_meta": {"usage": {"inputTokens": input, "outputTokens": 1}}}));
    let (fake, _) = played(vec![says("s-new", "a"), silent(10), says("s-new", "b"), silent(20)]);
    let told = |fake: &Fake| -> Vec<u64> { fake.reports().iter().filter_map(|r| if let AgentReport::Tokens { tokens, .. } = r { Some(tokens.input) } else { None }).collect() };
    assert_eq!((told(&fake), fake.rig.host.messages().concat()), (vec![30], "ab".to_owned()));
    fake.turn().unwrap();
    assert_eq!(told(&fake), [30, 30], "each turn counts for itself");
}

fn terminal(id: &str, method: &str, extra: Value) -> String {
    let mut params = json!({"sessionId": "s-new"});
    for (key, value) in extra.as_object().unwrap() {
        params[key] = value.clone();
    }
    asks(id, method, params)
}

#[test]
fn terminals_are_offered_and_served() {
    let fake = Fake::new(turn_until(
        vec![
            terminal("a", "terminal/create", json!({"command": "npm", "args": ["test"], "env": [{"name": "CI", "value": "1"}], "cwd": "/w", "outputByteLimit": 100})),
            terminal("b", "terminal/output", json!({"terminalId": "term-1"})),
            terminal("c", "terminal/wait_for_exit", json!({"terminalId": "term-1"})),
            terminal("d", "terminal/kill", json!({"terminalId": "term-1"})),
            terminal("e", "terminal/release", json!({"terminalId": "term-1"})),
            terminal("f", "terminal/create", json!({"command": "forbidden"})),
            terminal("g", "terminal/release", json!({"terminalId": "other"})),
            asks("h", "terminal/output", json!({"sessionId": "s-other", "terminalId": "term-1"})),
            terminal("i", "terminal/create", json!({})),
            terminal("last", "terminal/create", json!({"command": "ls"})),
        ],
        "last",
    ));
    fake.start().unwrap();
    assert_eq!(fake.heard("initialize")[0]["params"]["clientCapabilities"]["terminal"], true);
    fake.turn().unwrap();
    assert_eq!(fake.answered("a")["result"], json!({"terminalId": "term-1"}));
    assert_eq!(fake.answered("b")["result"], json!({"output": "so far\n", "truncated": true, "exitStatus": null}));
    assert_eq!(fake.answered("c")["result"], json!({"exitCode": 3, "signal": null}));
    assert_eq!((&fake.answered("d")["result"], &fake.answered("e")["result"]), (&json!({}), &json!({})));
    assert!(fake.answered("f")["error"]["message"].as_str().unwrap().contains("a person said no"));
    assert_eq!((&fake.answered("g")["error"]["code"], &fake.answered("h")["error"]["code"], &fake.answered("i")["error"]["code"]), (&json!(-32_002), &json!(-32_602), &json!(-32_602)));
    let asked = fake.rig.host.heard().terminals.join("\n");
    for part in ["\"npm\"", "[\"test\"]", "(\"CI\", \"1\")", "Some(\"/w\")", "Some(100)", "wait term-1", "kill term-1", "release term-1"] {
        assert!(asked.contains(part), "{part} is missing in {asked}");
    }
    assert!(!asked.contains("s-other"));
}

#[test]
fn what_was_not_offered_is_not_served() {
    let traits = AgentTraits { read_files: false, write_files: true, terminals: false, ..AgentTraits::default() };
    let file = json!({"sessionId": "s-new", "path": "/etc/hostname"});
    let fake = Fake::of(traits, turn_until(vec![terminal("a", "terminal/create", json!({"command": "ls"})), asks("b", "fs/read_text_file", file.clone()), asks("last", "session/fork", json!({}))], "last"));
    fake.start().unwrap();
    let offered = &fake.heard("initialize")[0]["params"]["clientCapabilities"];
    assert_eq!((&offered["terminal"], &offered["fs"]["readTextFile"], &offered["fs"]["writeTextFile"]), (&json!(false), &json!(false), &json!(true)));
    fake.turn().unwrap();
    for id in ["a", "b", "last"] {
        assert_eq!(fake.answered(id)["error"]["code"], -32_601, "{id}");
    }
    assert!(fake.rig.host.heard().terminals.is_empty());
}

fn permission(id: &str, call: Value) -> String {
    let options = json!([{"optionId": "always", "name": "Always", "kind": "allow_always"}, {"optionId": "no", "name": "No", "kind": "reject_once"}, {"optionId": "yes", "name": "Yes", "kind": "allow_once"}]);
    asks(id, "session/request_permission", json!({"sessionId": "s-new", "toolCall": call, "options": options}))
}

#[test]
fn answers_go_to_their_questions_in_any_order_and_an_answered_id_may_ask_again() {
    let calls = vec![permission("p1", json!({"toolCallId": "c1", "title": "One", "kind": "execute"})), permission("p2", json!({"toolCallId": "c2", "title": "Two", "kind": "execute"}))];
    let fake = Fake::with(turn_until(calls, "p1"), AgentTraits::default(), options(), "", Decision::Hold);
    fake.start().unwrap();
    let turn = fake.prompt().unwrap();
    fake.rig.host.wait_for("both questions", |heard| (heard.asks.len() == 2).then_some(()));
    fake.rig.host.release("c2", PermissionAnswer::RejectOnce);
    assert_eq!(fake.answered("p2")["result"]["outcome"]["optionId"], "no");
    fake.rig.host.release("c1", PermissionAnswer::AllowOnce);
    assert_eq!(fake.answered("p1")["result"]["outcome"]["optionId"], "yes");
    fake.rig.end_of(turn).unwrap();
    // The same ids once more: they are questions of a later turn.
    assert_eq!(fake.turn().unwrap(), "end_turn");
    fake.rig.host.wait_for("both once more", |heard| (heard.asks.len() == 4).then_some(()));
}

#[test]
fn a_question_while_cancelling_or_between_turns_is_answered_cancelled() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let prompt = std::sync::Mutex::new(Value::Null);
    let fake = Fake::with(
        move |message: &Value| match message["method"].as_str() {
            Some("session/prompt") if first.swap(false, std::sync::atomic::Ordering::Relaxed) => {
                *prompt.lock().unwrap() = message.clone();
                vec![says("s-new", "working"), update(json!({"sessionUpdate": "plan", "entries": []}))]
            }
            Some("session/cancel") => vec![permission("late", json!({"toolCallId": "c1"})), result(&prompt.lock().unwrap(), json!({"stopReason": "cancelled"}))],
            _ => plain(message, &json!({})),
        },
        AgentTraits::default(),
        options(),
        "",
        ALLOW,
    );
    fake.start().unwrap();
    let turn = fake.prompt().unwrap();
    fake.rig.host.wait_for("the beginning", |heard| heard.reports.iter().any(|r| matches!(r, AgentReport::Plan { .. })).then_some(()));
    fake.backend.cancel_turn(fake.session_id).unwrap();
    assert_eq!(fake.rig.end_of(turn).unwrap(), "cancelled");
    assert_eq!(fake.answered("late")["result"], json!({"outcome": {"outcome": "cancelled"}}));
    assert!(fake.rig.host.heard().asks.is_empty() && fake.rig.host.others().contains(&"permission:not_now".to_owned()));
    assert_eq!(fake.turn().unwrap(), "end_turn", "the session goes on");
}

#[test]
fn a_request_shows_what_the_agent_shows() {
    let call = json!({"toolCallId": "c1", "title": "Edit", "kind": "edit", "rawInput": {"file_path": "/w/a", "note": "n"}, "content": [
        {"type": "diff", "path": "/w/a", "oldText": "a", "newText": "b"}, {"type": "content", "content": {"type": "text", "text": "because"}}]});
    let fake = Fake::new(turn_until(vec![update(json!({"sessionUpdate": "tool_call", "toolCallId": "c2", "title": "Run", "kind": "execute", "rawInput": {"command": "ls"}})), permission("p1", call), permission("p2", json!({"toolCallId": "c2"}))], "p2"));
    fake.start().unwrap();
    fake.turn().unwrap();
    let mut asks = fake.rig.host.wait_for("both questions", |heard| (heard.asks.len() == 2).then(|| heard.asks.clone()));
    asks.sort_by(|a, b| a.tool_call_id.cmp(&b.tool_call_id));
    assert_eq!((asks[0].locations.as_slice(), asks[0].diffs.len(), asks[0].texts.as_slice()), (&["/w/a".to_owned()][..], 1, &["because".to_owned()][..]));
    assert_eq!(asks[0].input.as_deref(), Some(r#"{"file_path":"/w/a","note":"n"}"#));
    assert_eq!((asks[1].kind.as_deref(), asks[1].command.as_deref()), (Some("execute"), Some("ls")), "a bare request is joined with what was announced");
}

#[test]
fn a_frozen_session_takes_no_prompt_and_is_thawed_before_it_is_cancelled() {
    let fake = Fake::new(|message| plain(message, &json!({})));
    fake.start().unwrap();
    fake.backend.freeze(fake.session_id).unwrap();
    assert!(fake.prompt().unwrap_err().message.contains("stopped"));
    fake.backend.thaw(fake.session_id).unwrap();
    // A second thaw does nothing.
    fake.backend.thaw(fake.session_id).unwrap();
    assert_eq!(fake.turn().unwrap(), "end_turn");
    fake.backend.freeze(fake.session_id).unwrap();
    fake.backend.cancel_turn(fake.session_id).unwrap();
    fake.backend.freeze(fake.session_id).unwrap();
    fake.backend.stop(fake.session_id).unwrap();
    assert_eq!(fake.stops(), ["freeze", "thaw", "freeze", "thaw", "freeze", "thaw"]);
    assert!(fake.backend.freeze(fake.session_id).is_err(), "a session that is gone");
}
