//! What breaks the protocol costs a report and nothing more.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::sync::{Arc, Condvar, Mutex};

use dcc_core::failure::Outcome;
use dcc_core::ids::SessionId;
use dcc_core::op::Op;
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::sessions::{AgentReport, SessionBackend, SessionPlace, StartExtras};
use dcc_core::session::{Posture, ProcessIdentity};
use dcc_sessions::{AcpBackend, AcpOptions, AgentExit, AgentProcess, Launched, Launcher};
use serde_json::{Value, json};

use crate::support::{ALLOW, REJECT, Rig, cleared, lock, options, turn_plan, uuid_text};

fn one_turn(steps: &Value) -> Value {
    json!({"turns": [{"steps": steps}, {"steps": [{"say": "still here"}]}]})
}

/// Plays the steps and shows that the session goes on; the noise that was reported.
fn survives(steps: &Value) -> (Rig, Vec<String>) {
    let rig = Rig::new(&one_turn(steps), ALLOW);
    assert_eq!(rig.play().unwrap(), "end_turn");
    assert_eq!(rig.again().unwrap(), "end_turn");
    assert_eq!(rig.host.messages().last().map(String::as_str), Some("still here"));
    let noise = {
        let heard = rig.host.heard();
        heard.reports.iter().filter_map(|r| if let AgentReport::Noise { sample } = r { Some(sample.clone()) } else { None }).collect()
    };
    (rig, noise)
}

#[test]
fn junk_and_invalid_text_are_noise() {
    let (_rig, noise) = survives(&json!([
        {"junk": "npm WARN deprecated"}, {"junk": "{\"jsonrpc\":"}, {"junk": "[]"}, {"junk": "42"}, {"junk": "{}"}, {"junk": "  "}, {"invalid_utf8": true}, {"say": "on"}]));
    assert_eq!(noise.len(), 6, "{noise:?}");
    assert!(noise[0].contains("npm WARN") && noise[5].starts_with("not UTF-8"));
}

#[test]
fn broken_requests_are_answered_and_noted() {
    let (_rig, noise) = survives(&json!([
        {"junk": "{\"id\":1,\"method\":\"session/request_permission\",\"params\":{\"sessionId\":3}}"},
        {"junk": "{\"id\":2,\"method\":\"fs/write_text_file\"}"}, {"junk": "{\"id\":null,\"method\":\"x\"}"}, {"junk": "{\"id\":\"?\",\"result\":1}"}]));
    assert_eq!(noise.len(), 2, "{noise:?}");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn an_endless_line_is_skipped_in_bounded_memory() {
    let before = resident_bytes();
    let (_rig, noise) = survives(&json!([{"long_line": {"bytes": 134_217_728}}]));
    assert!(noise[0].contains("134217728 bytes was skipped"), "{noise:?}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 96 * 1024 * 1024, "{grown} bytes more than before");
}

#[test]
fn a_flood_of_junk_is_counted_not_recorded() {
    let (_rig, noise) = survives(&json!([{"flood": {"bytes": 67_108_864}}]));
    assert!((32..60).contains(&noise.len()), "{} reports for 8192 lines", noise.len());
    assert!(noise.last().unwrap().contains("so far"));
}

#[test]
fn unknown_things_are_kept_by_kind() {
    let (rig, _) = survives(&json!([{"unknown_method": true}, {"unknown_update": true}, {"foreign_session": true}, {"answer_twice": true}]));
    let said = rig.host.messages().join("\n");
    assert!(said.contains("-32601") && !said.contains("not mine"), "{said}");
    let others = rig.host.others();
    for kind in ["request:scripted/unknown", "scripted_novelty", "session/update:other_session", "answer_nobody_waits_for"] {
        assert!(others.iter().any(|o| o == kind), "{kind} is missing in {others:?}");
    }
}

#[test]
fn a_flood_of_requests_from_an_agent_that_reads_is_answered() {
    let (rig, _) = survives(&json!([{"flood_requests": 500}]));
    assert!(rig.host.others().len() < 60);
}

#[test]
fn an_agent_that_leaves_its_mode_gets_no_prompt() {
    let rig = Rig::new(&one_turn(&json!([{"leave_mode": "unattended"}])), ALLOW);
    rig.play().unwrap();
    let failure = rig.prompt("again").unwrap_err();
    assert!(failure.message.contains("unattended") && failure.hint.is_some(), "{failure}");
}

#[test]
fn a_write_behind_our_back_is_not_hidden_by_us() {
    let rig = Rig::new(&one_turn(&json!([{"write_unasked": {"path": "sneaky.txt", "text": "x"}}])), REJECT);
    rig.play().unwrap();
    let heard = rig.host.heard();
    // Nothing was asked and nothing reported: only the comparison of the worktree can find it.
    assert!(heard.asks.is_empty() && heard.written.is_empty());
    drop(heard);
    assert_eq!(rig.read("sneaky.txt").as_deref(), Some("x"));
}

// An agent inside this process, which can refuse to read.

#[derive(Default)]
struct End {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl End {
    fn wait(&self) {
        drop(self.changed.wait_while(lock(&self.ended), |ended| !*ended));
    }
}

struct Inside(Arc<End>);

impl AgentProcess for Inside {
    fn identity(&self) -> ProcessIdentity {
        ProcessIdentity { pid: 1, start_time: 1 }
    }
    fn posture(&self) -> Posture {
        Posture::default()
    }
    fn wait(&self) -> AgentExit {
        self.0.wait();
        AgentExit::default()
    }
    fn kill_tree(&self) -> Outcome<()> {
        *lock(&self.0.ended) = true;
        self.0.changed.notify_all();
        Ok(())
    }
    fn freeze(&self) -> Outcome<()> {
        Ok(())
    }
    fn thaw(&self) -> Outcome<()> {
        Ok(())
    }
    fn place(&self) -> Option<SessionPlace> {
        None
    }
}

struct InsideLauncher;

impl Launcher for InsideLauncher {
    fn launch(&self, _: &SessionStartPlan, _: &StartExtras, _: SessionId) -> Outcome<Launched> {
        let (agent_in, stdin) = std::io::pipe().unwrap();
        let (stdout, agent_out) = std::io::pipe().unwrap();
        let end = Arc::new(End::default());
        let own = Arc::clone(&end);
        std::thread::spawn(move || never_reads_again(agent_in, agent_out, &own));
        Ok(Launched { process: Box::new(Inside(end)), stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(std::io::empty()) })
    }
    fn reap(&self, _: &ProcessIdentity) -> bool {
        false
    }
}

/// Opens a session, and from the first prompt on asks without ever reading an answer.
fn never_reads_again(input: PipeReader, mut output: PipeWriter, end: &End) {
    let mut lines = BufReader::new(input).lines();
    while let Some(Ok(line)) = lines.next() {
        let message: Value = serde_json::from_str(&line).unwrap();
        let result = match message["method"].as_str().unwrap() {
            "initialize" => json!({"protocolVersion": 1}),
            "session/new" => json!({"sessionId": "inside"}),
            _ => break,
        };
        writeln!(output, "{}", json!({"id": message["id"], "result": result})).unwrap();
    }
    for id in 0..100_000 {
        if writeln!(output, "{}", json!({"id": id, "method": "nothing", "params": {}})).is_err() {
            break;
        }
    }
    end.wait();
    drop(lines);
}

#[test]
fn an_agent_that_does_not_read_is_ended() {
    let rig = Rig::new(&json!({}), ALLOW);
    let backend = AcpBackend::new(Arc::new(InsideLauncher), AcpOptions { agents: std::collections::BTreeMap::new(), ..options() });
    let session_id: SessionId = uuid_text().parse().unwrap();
    backend.start(session_id, cleared(Op::SessionStart, rig.plan()), dcc_core::ports::StartExtras::default(), rig.host.clone()).unwrap();
    let turn = uuid_text().parse().unwrap();
    backend.prompt(turn, turn_plan(session_id, "go")).unwrap();
    let failure = rig.end_of(turn).unwrap_err();
    assert!(failure.message.contains("does not read its input"), "{failure}");
    rig.wait_exit();
    assert!(backend.live().is_empty());
}
