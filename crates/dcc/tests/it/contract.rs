//! Every operation of a built kind is run for real, and what it wrote is held against the table of `dcc_core::contract`.

use std::collections::BTreeSet;

use dcc_core::contract::{EVERY_JOB, Id, events_of};
use dcc_core::op::Op;
use dcc_testkit::World;
use serde_json::Value;

use crate::attach::{Desk, started_in};
use crate::{DCC, approved_worktree, pending, session_state, started_packet, until};

/// Operations that this test does not bring to completion, each with the reason.
const ELSEWHERE: [(Op, &str); 4] = [
    (Op::SandboxWaive, "needs a person and a machine without a sandbox: waivers.rs holds it against the table"),
    (Op::SandboxRevoke, "needs a waiver: waivers.rs holds it against the table"),
    (Op::ApprovalDecide, "a decision is no job; it has its own endpoint and events"),
    (Op::AgentLogin, "needs a terminal: logins.rs runs it on one and holds it against the table"),
];

fn packets(world: &World) {
    let wp = started_packet(world);
    let other = world.ok(&["wp", "create", "--title", "Other", "--criterion", "c"])["wp_id"].as_str().unwrap().to_owned();
    world.ok(&["wp", "dep", "add", &wp, "related", &other]);
    world.ok(&["wp", "dep", "rm", &wp, "related", &other]);
    world.ok(&["wp", "note", &wp, "a note"]);
    world.ok(&["wp", "set", &wp, "priority=1"]);
    for step in ["block", "unblock", "hold", "release"] {
        world.ok(&["wp", step, &wp, "--reason", "because"]);
    }
    for name in ["Two", "Three"] {
        world.ok(&["mt", "add", &wp, "--name", name, "--criterion", "c"]);
    }
    world.ok(&["mt", "start", &wp, "MT-001"]);
    world.ok(&["mt", "fail", &wp, "MT-001", "--reason", "broke"]);
    world.ok(&["mt", "start", &wp, "MT-001"]);
    world.ok(&["mt", "block", &wp, "MT-001", "--reason", "waits"]);
    world.ok(&["mt", "start", &wp, "MT-001"]);
    world.ok(&["mt", "done", &wp, "MT-001", "--statement", "seen"]);
    world.ok(&["mt", "reopen", &wp, "MT-001"]);
    for task in ["MT-001", "MT-002", "MT-003"] {
        world.ok(&["mt", "skip", &wp, task, "--reason", "not needed"]);
    }
    world.ok(&["wp", "gate", &wp, "post_work", "skip", "--reason", "nothing to check"]);
    world.ok(&["wp", "close", &wp]);
    world.ok(&["wp", "reopen", &wp, "--reason", "once more"]);
    world.ok(&["wp", "cancel", &other, "--reason", "not needed"]);
    let file = world.state_dir().join(format!("gov/work_packets/{wp}/packet.json"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("Greet people", "Greet everybody")).unwrap();
    world.ok(&["wp", "accept", &wp]);
    let parked = world.json(&["wp", "delete", &other, "--reason", "made by mistake"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    world.ok(&["board", "sync"]);
    world.ok(&["rebuild"]);
}

fn attaching(world: &World, ws: &str) {
    let session = started_in(world, ws, "echo ready; read -r line");
    let mut desk = Desk::attach(world, 24, 80, &session);
    desk.sees("ready");
    desk.press(b"x\x1d");
    desk.ends();
    until("the end of the attachment", || {
        let jobs = world.ok(&["job", "list", "--op", "session.attach", "--state", "completed"]);
        (jobs["items"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    world.ok(&["session", "cancel", &session]);
}

fn work(world: &World) {
    let wp = started_packet(world);
    let (ws, path) = approved_worktree(world, &wp);
    for step in ["close", "open"] {
        world.ok(&["ws", step, &ws]);
    }
    world.ok(&["ws", "unlink", &ws]);
    world.ok(&["ws", "link", &ws, &wp]);
    world.ok(&["run", "--ws", &ws, "fine"]);
    let asked = world.json(&["run", "--ws", &ws, "--", "true"]).json()["approval_id"].as_str().unwrap().to_owned();
    world.ok(&["approvals", "approve", &asked]);
    let started = world.ok(&["session", "start", "--ws", &ws, "--agent", "scripted", "--prompt", "go"]);
    let session = started["session_id"].as_str().unwrap().to_owned();
    let first = until("a request", || pending(world));
    world.ok(&["approvals", "approve", &first, "--scope", "session"]);
    until("the end of the turn", || (session_state(world, &session) == ("BLOCKED".into(), "input_wait".into())).then_some(()));
    assert!(path.join("src/greeting.txt").exists());
    world.ok(&["session", "send", &session, "again"]);
    // The demo's agent asks for a commit of its own; this test commits the file itself below.
    let own = until("the agent's own commit", || pending(world));
    world.json(&["approvals", "deny", &own, "--reason", "the person commits"]);
    until("the end of the second turn", || (session_state(world, &session) == ("BLOCKED".into(), "input_wait".into())).then_some(()));
    let grant = world.ok(&["grants", "list"])["items"][0]["grant_id"].as_str().unwrap().to_owned();
    world.ok(&["grants", "revoke", &grant]);
    steering(world, &wp, &session);
    world.ok(&["session", "close", &session, "--waive", "a test hands nothing over"]);
    let second = world.ok(&["session", "start", "--ws", &ws, "--agent", "scripted"])["session_id"].as_str().unwrap().to_owned();
    world.ok(&["session", "cancel", &second]);
    assert_eq!(session_state(world, &second).0, "CANCELLED");
    let third = world.ok(&["session", "retry", &second])["session_id"].as_str().unwrap().to_owned();
    world.ok(&["session", "cancel", &third]);
    attaching(world, &ws);
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Greet", "src/greeting.txt"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    world.git(&["config", "core.hooksPath", "hooks"]);
    let parked = world.json(&["ws", "repair", &ws, "--accept-config"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    std::fs::write(path.join(".handshake/workspace.json"), "{").unwrap();
    world.ok(&["ws", "repair", &ws, "--reinit-json"]);
    world.ok(&["ws", "archive", &ws]);
    world.ok(&["budget", "set", "--max-tokens", "1000000"]);
    world.ok(&["up", "--stop"]);
}

fn steering(world: &World, wp: &str, session: &str) {
    world.ok(&["session", "pause", session]);
    world.ok(&["session", "resume", session]);
    world.ok(&["session", "route", session, wp, "MT-001"]);
    until("the end of the routed turn", || (session_state(world, session) == ("BLOCKED".into(), "input_wait".into())).then_some(()));
    let child = world.ok(&["session", "spawn", session, "--agent", "scripted"])["session_id"].as_str().unwrap().to_owned();
    world.ok(&["session", "cancel", &child]);
    let file = world.path().join("handoff.json");
    std::fs::write(&file, r#"{"done": ["the greeting"], "remaining": ["its test"]}"#).unwrap();
    world.ok(&["handoff", "write", "--session", session, "--file", file.to_str().unwrap()]);
}

/// Every completed job of this operation wrote what the table says; there is one at least.
pub fn assert_table(world: &World, op: Op) {
    let jobs = world.ok(&["job", "list", "--op", op.as_str(), "--state", "completed"]);
    let jobs = jobs["items"].as_array().unwrap();
    assert!(!jobs.is_empty(), "no completed {op}");
    for job in jobs {
        assert_job_wrote_the_table(world, op, job);
    }
}

fn assert_job_wrote_the_table(world: &World, op: Op, job: &Value) {
    let events = world.ok(&["timeline", "--job", job["job_id"].as_str().unwrap()]);
    let events = events["items"].as_array().unwrap();
    for code in EVERY_JOB {
        assert!(events.iter().any(|e| e["code"] == code.as_str()), "{op}: {} is missing", code.as_str());
    }
    for (code, ids) in events_of(op) {
        assert!(events.iter().any(|e| e["code"] == code.as_str() && carries(e, &ids)), "{op}: no {} with {ids:?}: {events:#?}", code.as_str());
    }
}

fn carries(event: &Value, ids: &[Id]) -> bool {
    ids.iter().all(|id| event[id.as_str()].is_string())
}

#[test]
fn every_operation_writes_the_events_of_the_table() {
    let world = World::new(DCC);
    world.configure("[recipes.fine]\nargv = [\"true\"]\n");
    world.ok(&["init"]);
    packets(&world);
    work(&world);
    let mut seen = BTreeSet::new();
    for job in world.ok(&["job", "list"])["items"].as_array().unwrap() {
        if job["state"] == "completed" {
            let op = Op::parse(job["op"].as_str().unwrap()).unwrap();
            assert_job_wrote_the_table(&world, op, job);
            seen.insert(op);
        }
    }
    let missing: Vec<&Op> = Op::ALL.iter().filter(|op| op.is_built() && !seen.contains(op) && !ELSEWHERE.iter().any(|(e, _)| e == *op)).collect();
    assert!(missing.is_empty(), "not run to completion: {missing:?}");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}
