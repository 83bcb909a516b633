//! What goes wrong with real processes: they die at every step, say nothing, say far too much, lose their ground.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use dcc_core::ports::sessions::{AgentReport, SessionBackend};
use dcc_sessions::AcpOptions;
use serde_json::{Value, json};

use crate::support::{ALLOW, Decision, Rig, marked, options};

fn one_turn(steps: &Value) -> Value {
    json!({"turns": [{"steps": steps}, {"steps": [{"say": "still here"}]}]})
}

/// The highest resident size of this process so far; the test runs in a process of its own.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The count as promised in the long lane, a tenth else.
fn promised(whole: u64) -> u64 {
    if std::env::var_os("DCC_TEST_LONG").is_some() { whole } else { whole / 10 }
}

#[test]
fn an_agent_that_dies_before_it_reads_anything_is_told() {
    let rig = Rig::new(&json!({"exit_at": "spawned", "stderr": "no such module"}), ALLOW);
    let failure = rig.start().unwrap_err();
    assert!(failure.message.contains("initialize") && failure.message.contains("exit code 7") && failure.message.contains("no such module"), "{failure}");
    assert!(rig.backend.live().is_empty());
}

#[test]
fn an_agent_that_dies_between_turns_ends_its_session_without_a_failed_turn() {
    let rig = Rig::new(&json!({"exit_at": "turn_over", "turns": [{"steps": [{"say": "done"}]}]}), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert_eq!(rig.wait_exit().0, Some(7));
    assert!(!rig.host.heard().reports.iter().any(|r| matches!(r, AgentReport::TurnFailed { .. })));
    assert!(rig.backend.live().is_empty());
}

#[test]
fn an_agent_that_hangs_says_nothing_and_nothing_is_said_for_it() {
    let limits = AcpOptions { cancel_grace: Duration::from_millis(200), ..options() };
    let rig = Rig::with(&one_turn(&json!([{"deaf": true}])), ALLOW, limits);
    rig.start().unwrap();
    rig.prompt("go").unwrap();
    rig.host.wait_for("deafness", |heard| heard.reports.iter().any(|r| matches!(r, AgentReport::Other { kind, .. } if kind == "scripted_deaf")).then_some(()));
    let told = rig.host.heard().reports.len();
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert_eq!(rig.host.heard().reports.len(), told, "no report, so nothing that could count as activity");
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(rig.backend.live(), [rig.session_id], "it lives, and that is all that is known of it");
    rig.backend.stop(rig.session_id).unwrap();
}

#[test]
fn a_gibibyte_of_output_stays_within_bounded_memory() {
    let bytes = promised(1 << 30);
    let rig = Rig::new(&one_turn(&json!([{"flood": {"bytes": bytes}}])), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert_eq!(rig.again().unwrap(), "end_turn");
    let reports = rig.host.heard().reports.len();
    assert!(peak_bytes() < 128 * 1024 * 1024 && reports < 100, "{} bytes at most, {reports} reports", peak_bytes());
}

#[test]
fn a_line_of_a_hundred_megabytes_is_skipped_whole() {
    let rig = Rig::new(&one_turn(&json!([{"long_line": {"bytes": promised(1_000_000_000).max(100_000_000)}}])), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert_eq!(rig.again().unwrap(), "end_turn");
    assert!(peak_bytes() < 128 * 1024 * 1024, "{} bytes at most", peak_bytes());
}

#[test]
fn a_worktree_that_goes_away_is_an_answer_and_no_end() {
    let rig = Rig::new(&json!({"turns": [{"steps": [{"say": "begun"}]}, {"steps": [{"read": "a.txt"}, {"edit": {"path": "b.txt", "new": "x"}, "ask": true}, {"say": "still here"}]}]}), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    std::fs::remove_dir_all(rig.root()).unwrap();
    assert_eq!(rig.again().unwrap(), "end_turn");
    let said = rig.host.messages().join("\n");
    assert!(said.contains("There is no a.txt") && said.contains("still here"), "{said}");
}

#[test]
fn children_in_sessions_of_their_own_go_with_the_tree() {
    let rig = Rig::new(&one_turn(&json!([{"leave_child": 600}, {"leave_child": 600}, {"ignore_eof": true}])), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert!(marked(&rig.marker).len() >= 3, "two children and the agent");
    rig.backend.stop(rig.session_id).unwrap();
    assert_eq!(marked(&rig.marker), Vec::<u32>::new());
}

#[test]
fn a_death_while_a_question_waits_withdraws_it_and_ends_its_call() {
    let rig = Rig::new(&one_turn(&json!([{"tool": {"title": "Before", "kind": "read"}}, {"ask_and_exit": {"code": 4}}])), Decision::Hold);
    rig.start().unwrap();
    let turn = rig.prompt("go").unwrap();
    let ask = rig.wait_ask();
    assert!(rig.end_of(turn).unwrap_err().message.contains("exit code 4"));
    rig.wait_exit();
    assert!(ask.withdrawn.is_set());
}

/// Prints figures and judges none: `cargo test -p dcc-sessions --test it latency -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn latency_of_start_and_stop() {
    let mut out = std::io::stderr();
    let mut load = String::new();
    std::fs::File::open("/proc/loadavg").unwrap().read_to_string(&mut load).unwrap();
    writeln!(out, "load {}", load.trim()).unwrap();
    for _ in 0..5 {
        let rig = Rig::new(&one_turn(&json!([{"wait_for": "cancel"}])), ALLOW);
        let begun = Instant::now();
        rig.start().unwrap();
        let ready = begun.elapsed();
        rig.prompt("go").unwrap();
        let begun = Instant::now();
        rig.backend.stop(rig.session_id).unwrap();
        writeln!(out, "process to ready {ready:?}, cancel to empty tree {:?}", begun.elapsed()).unwrap();
    }
}
