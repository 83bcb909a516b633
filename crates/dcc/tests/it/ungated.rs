//! What an agent changes without asking is recorded as what it is, seen from files, and ends the turn where the policy says so.

use std::path::PathBuf;

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, pending, scripted, session_state, started_packet, until};

const UNGATED: &str = "FR-EVT-SEC-004";

fn events(world: &World, session: &str, code: &str) -> Vec<Value> {
    world.ok(&["timeline", "--session", session, "--code", code])["items"].as_array().unwrap().clone()
}

/// A world whose scripted agent plays these steps; (world, workspace, path).
fn agent_with(config: &str, steps: &Value) -> (World, String, PathBuf) {
    let world = World::new(DCC);
    let script = json!({ "name": "unasked", "turns": [{ "steps": steps }, { "steps": [{ "say": "on" }] }] });
    let agent = scripted(&world, &script.to_string());
    world.configure(&format!("{config}{agent}"));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    (world, ws, path)
}

fn start(world: &World, ws: &str) -> String {
    world.ok(&["session", "start", "--ws", ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned()
}

fn until_state(world: &World, session: &str, state: &str, reason: &str) {
    until(&format!("{state} {reason}"), || (session_state(world, session) == (state.to_owned(), reason.to_owned())).then_some(()));
}

#[test]
fn what_an_agent_writes_without_asking_is_recorded_at_the_next_decision_and_at_the_end() {
    let steps = json!([
        { "write_unasked": { "path": "src/early.txt", "text": "x" } },
        { "edit": { "path": "src/asked.txt", "create": "asked\n" }, "ask": true },
        { "write_unasked": { "path": "src/late.txt", "text": "x" } },
        { "write_unasked": { "path": "src/a.txt", "text": "x" } },
        { "say": "done" }
    ]);
    let (world, ws, path) = agent_with("", &steps);
    let session = start(&world, &ws);
    let asked = until("a request", || pending(&world));
    let early = events(&world, &session, UNGATED);
    assert_eq!(early.len(), 1, "{early:?}");
    assert_eq!((&early[0]["payload"]["paths"], &early[0]["payload"]["moment"]), (&json!(["src/early.txt"]), &json!("decision")));
    world.ok(&["approvals", "approve", &asked]);
    until_state(&world, &session, "BLOCKED", "input_wait");
    assert!(path.join("src/asked.txt").exists());
    let all = events(&world, &session, UNGATED);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((&all[1]["payload"]["paths"], &all[1]["payload"]["moment"]), (&json!(["src/a.txt", "src/late.txt"]), &json!("turn_end")));
    let turn = &world.ok(&["job", "list", "--op", "session.run"])["items"][0];
    for event in &all {
        assert_eq!((&event["job_id"], &event["workspace_id"], event["actor_kind"].as_str()), (&turn["job_id"], &json!(ws), Some("system")));
        assert!(event["wp_id"].is_string() && event["outcome"] == "unknown", "{event}");
    }
    // The ledger shows it as seen from files, and nothing else as that.
    let rows = events(&world, &session, "FR-EVT-TOOL-003");
    let inferred: Vec<&Value> = rows.iter().filter(|r| r["payload"]["observed"] == "inferred").collect();
    assert_eq!(inferred.len(), 2);
    assert_eq!(inferred[1]["payload"]["tool"]["locations"], json!(["src/a.txt", "src/late.txt"]));
    assert_eq!(turn["state"], "completed");
}

#[test]
fn an_honest_agent_and_an_approved_command_are_not_accused() {
    let steps = json!([
        { "edit": { "path": "src/asked.txt", "create": "asked\n" }, "ask": true },
        { "run": { "argv": ["sh", "-c", "echo made > src/made.txt; rm src/b.txt"] }, "ask": true },
        { "say": "done" }
    ]);
    let (world, ws, path) = agent_with("", &steps);
    let session = start(&world, &ws);
    for _ in 0..2 {
        let asked = until("a request", || pending(&world));
        world.ok(&["approvals", "approve", &asked]);
    }
    until_state(&world, &session, "BLOCKED", "input_wait");
    assert!(path.join("src/made.txt").exists() && !path.join("src/b.txt").exists());
    assert_eq!(events(&world, &session, UNGATED), Vec::<Value>::new());
}

#[test]
fn by_policy_an_unasked_write_ends_the_turn() {
    let steps = json!([
        { "write_unasked": { "path": "src/early.txt", "text": "x" } },
        { "edit": { "path": "src/asked.txt", "create": "asked\n" }, "ask": true },
        { "write_unasked": { "path": "src/late.txt", "text": "x" } },
        { "wait_for": "cancel" }
    ]);
    let (world, ws, path) = agent_with("[policy]\nungated = \"stop\"\n", &steps);
    let session = start(&world, &ws);
    until_state(&world, &session, "PAUSED", "policy_pause");
    assert_eq!(pending(&world), None, "nobody is asked in a turn that is ended");
    assert!(!path.join("src/asked.txt").exists());
    let turn = &world.ok(&["job", "list", "--op", "session.run"])["items"][0];
    assert_eq!((turn["state"].as_str(), turn["failure"]["code"].as_str()), (Some("cancelled"), Some("HSK-403-POLICY-FORBIDDEN")), "{turn}");
    let found = events(&world, &session, UNGATED);
    assert_eq!(found[0]["payload"]["policy"], "stop");
    assert!(turn["failure"]["message"].as_str().unwrap().contains("src/early.txt"), "{turn}");
}
