//! From nothing to a session that takes prompts, and every way to fail on it.

use std::time::Duration;

use dcc_core::failure::{Code, Failure};
use dcc_core::op::Op;
use dcc_core::ports::sessions::{AgentReport, SessionBackend};
use dcc_sessions::{AcpOptions, AgentTraits};
use serde_json::{Value, json};

use crate::fake::Fake;
use crate::support::{ALLOW, Rig, cleared, options};

fn refused(script: &Value) -> Failure {
    let rig = Rig::new(script, ALLOW);
    let failure = rig.start().unwrap_err();
    assert!(rig.backend.live().is_empty(), "a failed start leaves no session");
    assert!(!rig.host.heard().reports.iter().any(|r| matches!(r, AgentReport::Exited { .. })), "there was no session that could end");
    failure
}

#[test]
fn it_starts_and_names_itself_scripted() {
    let rig = Rig::new(&json!({"turns": []}), ALLOW);
    let started = rig.start().unwrap();
    assert!(started.agent_info.unwrap().starts_with("scripted"));
    assert!(started.agent_session_id.starts_with("scripted-"));
    assert_eq!((started.posture.layers.as_slice(), rig.backend.live()), (&["none".to_owned()][..], vec![rig.session_id]));
    assert!(rig.backend.reap(&started.process), "the identity names the process");
    assert_eq!(rig.start().unwrap_err().code, Code::IllegalTransition);
}

#[test]
fn modes_as_configuration_option_and_no_modes_at_all() {
    for modes in ["config_option", "none", "modes"] {
        let rig = Rig::new(&json!({"modes": modes, "turns": [{"steps": [{"say": "here"}]}]}), ALLOW);
        assert_eq!(rig.play().unwrap(), "end_turn", "{modes}");
    }
}

#[test]
fn an_agent_in_another_mode_than_asked_for_is_refused() {
    for modes in ["modes", "config_option"] {
        let failure = refused(&json!({"bad_mode": true, "modes": modes}));
        assert_eq!(failure.code, Code::AgentFailed);
        assert!(failure.message.contains("set_mode") && failure.message.contains("unattended"), "{failure}");
    }
}

#[test]
fn an_agent_without_an_asking_mode_is_refused() {
    let failure = refused(&json!({"modes": "unsafe"}));
    assert!(failure.message.contains("unattended") && failure.hint.unwrap().contains("ask_mode"));
}

#[test]
fn a_configured_mode_is_asked_for_by_name() {
    let traits = AgentTraits { ask_mode: Some("ask before each step".into()), ask_mode_required: true, ..AgentTraits::default() };
    let with = |traits: AgentTraits| AcpOptions { agents: [("scripted".to_owned(), traits)].into(), ..options() };
    assert!(Rig::with(&json!({}), ALLOW, with(traits.clone())).start().is_ok());
    let failure = Rig::with(&json!({"modes": "none"}), ALLOW, with(traits)).start().unwrap_err();
    assert!(failure.message.contains("no modes"), "{failure}");
}

#[test]
fn a_crash_at_each_step_names_the_step_and_standard_error() {
    for (at, step) in [("initialize", "initialize"), ("new", "session/new"), ("mode", "session/set_mode")] {
        let noise = (1..=40).map(|n| format!("line {n} of trouble")).collect::<Vec<_>>().join("\n");
        let failure = refused(&json!({"exit_at": at, "stderr": noise}));
        assert_eq!(failure.code, Code::AgentFailed);
        for part in [step, "exit code 7", "line 1 of trouble", "line 20 of trouble"] {
            assert!(failure.message.contains(part), "{at}: {part} is missing in {failure}");
        }
        assert!(!failure.message.contains("line 21 of trouble"), "only the first lines");
    }
}

#[test]
fn a_silent_agent_runs_out_of_time() {
    for at in ["initialize", "new", "mode"] {
        let limits = AcpOptions { start_timeout: Duration::from_secs(2), ..options() };
        let rig = Rig::with(&json!({"silent_at": at}), ALLOW, limits);
        let failure = rig.start().unwrap_err();
        assert_eq!(failure.code, Code::SboxTimeout, "{failure}");
    }
}

#[test]
fn a_login_is_asked_for_by_hint() {
    let failure = refused(&json!({"auth_required": true}));
    assert_eq!(failure.code, Code::AgentFailed);
    assert!(failure.hint.unwrap().contains("dcc agent login scripted"));
}

#[test]
fn another_protocol_version_is_refused() {
    let failure = refused(&json!({"protocol_version": 2}));
    assert!(failure.message.contains("version 2"), "{failure}");
}

#[test]
fn an_unplayable_script_and_a_missing_program_are_told() {
    let failure = refused(&json!({"turns": [{"steps": [{"sing": "la"}]}]}));
    assert!(failure.message.contains("initialize") && failure.message.contains("cannot play"), "{failure}");
    let rig = Rig::new(&json!({}), ALLOW);
    let mut plan = rig.plan();
    plan.executable = "/nowhere/agent".into();
    let failure = rig.backend.start(rig.session_id, cleared(Op::SessionStart, plan), dcc_core::ports::StartExtras::default(), rig.host.clone()).unwrap_err();
    assert_eq!(failure.code, Code::NotFoundAgent);
}

/// What an agent says that is no message is named with its first line, and at once where it cannot get better.
#[test]
fn an_agent_that_speaks_something_else_is_named_by_its_first_line() {
    let begun = std::time::Instant::now();
    let fake = Fake::new(|_| vec!["{not json, token ghp_0123456789abcdefghijklmnopqrstuvwxyz".to_owned(), "more".to_owned()]);
    let failure = fake.start().unwrap_err();
    assert_eq!(failure.code, Code::AgentFailed, "{failure}");
    assert!(failure.message.contains("not JSON: {not json") && !failure.message.contains("ghp_0123"), "{failure}");
    assert!(failure.hint.unwrap().contains("Agent Client Protocol"));
    assert!(begun.elapsed() < options().start_timeout, "nobody waits for its time to run out");
    let limits = AcpOptions { start_timeout: Duration::from_secs(2), ..options() };
    let chatty = Fake::with(|_| vec!["Welcome to my agent".to_owned()], AgentTraits::default(), limits, "", ALLOW);
    let failure = chatty.start().unwrap_err();
    assert_eq!(failure.code, Code::SboxTimeout);
    assert!(failure.message.contains("not JSON: Welcome to my agent") && failure.hint.is_some(), "{failure}");
}
