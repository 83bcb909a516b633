//! Honest turns: what is said, read, edited and run, and in which order it is told.

use dcc_core::failure::Code;
use dcc_core::ports::sessions::{AgentReport, SessionBackend, SideEffect, ToolReport, ToolStatus};
use dcc_sessions::AcpOptions;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{ALLOW, REJECT, Rig, options};

fn one_turn(steps: &Value) -> Value {
    json!({"turns": [{"steps": steps}]})
}

fn tools(rig: &Rig) -> Vec<ToolReport> {
    let heard = rig.host.heard();
    heard.reports.iter().filter_map(|r| if let AgentReport::Tool(tool) = r { Some(tool.clone()) } else { None }).collect()
}

#[test]
fn two_turns_and_then_nothing_further() {
    let rig = Rig::new(&json!({"turns": [{"steps": [{"say": "one"}]}, {"steps": [{"say": "two"}]}]}), ALLOW);
    rig.play().unwrap();
    assert_eq!(rig.host.messages(), ["one"]);
    rig.again().unwrap();
    rig.again().unwrap();
    assert_eq!(rig.host.messages(), ["one", "two", "The script has nothing further."]);
}

#[test]
fn chunks_are_joined_and_reports_keep_their_order() {
    let steps = json!([
        {"say_chunks": ["Hel", "lo ", "world"]}, {"think": "hm"}, {"say_chunks": ["Second", " message"]},
        {"plan": ["a", "b"]}, {"say": "third"}, {"usage": {"used": 10, "size": 100}}, {"say": "last"}]);
    let rig = Rig::new(&one_turn(&steps), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    let heard = rig.host.heard();
    let shown: Vec<String> = heard
        .reports
        .iter()
        .filter_map(|report| match report {
            AgentReport::Message { text } => Some(text.clone()),
            AgentReport::Thought { text } => Some(format!("({text})")),
            AgentReport::Plan { entries } => Some(format!("plan {}", entries.len())),
            AgentReport::Usage { used, size, .. } => Some(format!("{used}/{size}")),
            AgentReport::TurnEnded { .. } => Some("end".into()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, ["Hello world", "(hm)", "Second message", "plan 2", "third", "10/100", "last", "end"]);
}

#[test]
fn words_before_a_silence_are_told_in_it() {
    let steps = json!([{"say": "I wait."}, {"wait_for": "cancel"}]);
    let rig = Rig::with(&one_turn(&steps), ALLOW, AcpOptions { silence: Duration::from_millis(20), ..options() });
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    rig.host.wait_for("the words", |heard| heard.reports.iter().any(|r| *r == AgentReport::Message { text: "I wait.".into() }).then_some(()));
    assert!(!rig.host.heard().reports.iter().any(|r| matches!(r, AgentReport::TurnEnded { .. })), "while the turn goes on");
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(rig.end_of(turn).unwrap(), "cancelled");
    assert_eq!(rig.host.messages(), ["I wait."], "once");
}

#[test]
fn an_allowed_edit_is_written_through_the_host() {
    let steps = json!([{"edit": {"path": "src/new.txt", "create": "text\n"}, "ask": true}]);
    let rig = Rig::new(&one_turn(&steps), ALLOW);
    rig.play().unwrap();
    assert_eq!(rig.host.heard().written, [("src/new.txt".to_owned(), "text\n".to_owned())]);
    let ask = rig.wait_ask();
    assert_eq!((ask.kind.as_deref(), ask.title.as_str(), ask.can_allow), (Some("edit"), "Create src/new.txt", true));
    let path = rig.root().join("src/new.txt").to_string_lossy().into_owned();
    assert_eq!((ask.locations, ask.diffs), (vec![path.clone()], vec![(path, None, "text\n".to_owned())]));
    let told: Vec<(SideEffect, ToolStatus)> = tools(&rig).iter().map(|t| (t.side_effect, t.status)).collect();
    let write = SideEffect::Write;
    assert_eq!(told, [(write, ToolStatus::Requested), (write, ToolStatus::Running), (write, ToolStatus::Ok)]);
}

#[test]
fn replacing_and_appending_keep_the_rest() {
    let steps = json!([
        {"edit": {"path": "a.txt", "old": "two", "new": "zwei"}, "ask": true}, {"edit": {"path": "a.txt", "append": "four\n"}, "ask": true},
        {"edit": {"path": "a.txt", "old": "nowhere", "new": "x"}, "ask": true}]);
    let rig = Rig::new(&one_turn(&steps), ALLOW);
    #[allow(clippy::disallowed_methods, reason = "a test's fixture")]
    std::fs::write(rig.root().join("a.txt"), "one\ntwo\nthree").unwrap();
    rig.play().unwrap();
    assert_eq!(rig.read("a.txt").unwrap(), "one\nzwei\nthree\nfour\n");
    assert!(rig.host.messages().last().unwrap().contains("does not contain"));
}

#[test]
fn a_rejected_edit_is_left_and_said() {
    let steps = json!([{"edit": {"path": "a", "new": "x"}, "ask": true}, {"say": "going on"}, {"edit": {"path": "b", "new": "x"}, "ask": true, "on_reject": "stop"}, {"say": "never"}]);
    let rig = Rig::new(&one_turn(&steps), REJECT);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert!(rig.host.heard().written.is_empty() && rig.read("a").is_none());
    let said = rig.host.messages().join("\n");
    assert!(said.contains("Create a was not allowed") && said.contains("going on") && !said.contains("never"), "{said}");
    assert!(tools(&rig).iter().any(|t| t.status == ToolStatus::Error));
}

#[test]
fn commands_ask_run_and_report() {
    let steps = json!([{"run": {"argv": ["sh", "-c", "echo out; exit 3"]}, "ask": true}, {"tool": {"title": "Look", "kind": "search", "raw_output": {"hits": 2}}}]);
    let rig = Rig::new(&one_turn(&steps), ALLOW);
    rig.play().unwrap();
    let ask = rig.wait_ask();
    assert_eq!((ask.kind.as_deref(), ask.command.as_deref()), (Some("execute"), Some("sh -c 'echo out; exit 3'")));
    let tools = tools(&rig);
    let ran = tools.iter().find(|t| t.status == ToolStatus::Error).unwrap();
    assert_eq!((ran.side_effect, ran.raw_output.clone()), (SideEffect::Execute, Some(json!({"exit_code": 3, "output": "out\n"}))));
    let looked = tools.last().unwrap();
    assert_eq!((looked.side_effect, looked.status, looked.raw_output.clone()), (SideEffect::Read, ToolStatus::Ok, Some(json!({"hits": 2}))));
}

#[test]
fn reading_what_is_missing_or_outside_is_answered_with_an_error() {
    let rig = Rig::new(&one_turn(&json!([{"read": "missing.txt"}, {"read": "/etc/hostname"}])), ALLOW);
    rig.play().unwrap();
    let said = rig.host.messages().join("\n");
    assert!(said.contains("There is no missing.txt") && said.contains("HSK-403-SCOPE: outside the worktree"), "{said}");
}

#[test]
fn an_error_ends_the_turn_and_not_the_session() {
    let rig = Rig::new(&json!({"turns": [{"steps": [{"error": "overloaded"}]}, {"steps": [{"say": "again"}]}]}), ALLOW);
    let failure = rig.play().unwrap_err();
    assert!(failure.code == Code::AgentFailed && failure.message.contains("overloaded"));
    assert_eq!(rig.again().unwrap(), "end_turn");
}

#[test]
fn one_turn_at_a_time() {
    let rig = Rig::new(&one_turn(&json!([{"wait_for": "cancel"}])), ALLOW);
    rig.start().unwrap();
    let turn = rig.prompt("first").unwrap();
    assert_eq!(rig.prompt("second").unwrap_err().code, Code::IllegalTransition);
    rig.backend.cancel_turn(rig.session_id).unwrap();
    assert_eq!(rig.end_of(turn).unwrap(), "cancelled");
    assert_eq!(rig.again().unwrap(), "end_turn");
}

#[test]
fn the_demo_plays_on_any_repository() {
    let demo: Value = serde_json::from_str(include_str!("../../scripts/demo.json")).unwrap();
    for readme in [Some("# Title\n\nText without an end"), None] {
        let rig = Rig::new(&demo, ALLOW);
        if let Some(text) = readme {
            #[allow(clippy::disallowed_methods, reason = "a test's fixture")]
            std::fs::write(rig.root().join("README.md"), text).unwrap();
        }
        assert_eq!(rig.play().unwrap(), "end_turn");
        assert_eq!(rig.host.heard().asks.len(), 2);
        let after = rig.read("README.md").unwrap();
        assert!(after.starts_with(readme.unwrap_or("")) && after.ends_with("`src/greeting.txt`.\n"));
        assert!(rig.read("src/greeting.txt").unwrap().starts_with("Hello"));
        assert!(rig.host.messages().last().unwrap().contains("review"));
    }
}
