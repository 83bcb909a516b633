//! Steering a real agent process through the real binary.

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::pages::Reader;
use crate::{DCC, approved_worktree, session_state, started_packet, until};

/// A world whose scripted agent plays these turns; (world, packet, workspace).
fn world_with(turns: &Value, more: &str) -> (World, String, String) {
    let world = World::new(DCC);
    world.configure(&format!("{}{more}", crate::scripted(&world, &json!({ "turns": turns }).to_string())));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    (world, wp, ws)
}

fn start(world: &World, ws: &str) -> String {
    world.ok(&["session", "start", "--ws", ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned()
}

fn until_state(world: &World, session: &str, state: &str, reason: &str) {
    until(&format!("{state} {reason}"), || (session_state(world, session) == (state.to_owned(), reason.to_owned())).then_some(()));
}

fn waits() -> Value {
    json!({ "steps": [{ "say": "at work" }, { "wait_for": "cancel" }] })
}

fn says(text: &str) -> Value {
    json!({ "steps": [{ "say": text }] })
}

/// What the person said, in order.
fn said(world: &World, session: &str) -> Vec<String> {
    let events = world.ok(&["timeline", "--session", session, "--code", "FR-EVT-SESS-004"]);
    let items = events["items"].as_array().unwrap().clone();
    items.iter().filter(|e| e["payload"]["role"] == "user").map(|e| e["payload"]["text"].as_str().unwrap().to_owned()).collect()
}

fn steers(world: &World, session: &str) -> Vec<String> {
    let events = world.ok(&["timeline", "--session", session, "--code", "FR-EVT-SESS-STEER-001"]);
    events["items"].as_array().unwrap().iter().map(|e| e["payload"]["steer"].as_str().unwrap().to_owned()).collect()
}

fn kill_server(world: &World) {
    let note = std::fs::read_to_string(world.state_dir().join("project.lock")).unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", note.split(' ').next().unwrap()]).status().unwrap().success());
}

/// Processes of the world's agents: their script's path stands in their arguments.
fn agents_alive(world: &World) -> usize {
    let script = world.path().to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("scripted-agent") && words.contains(&script)
    })
    .count()
}

/// An agent that hangs is never drawn as working: the page says for how long nothing was heard, and of what it was at.
#[test]
fn silence_is_said_with_the_tool_that_still_runs() {
    let tool = json!({ "title": "npm test", "kind": "execute", "raw_input": { "command": "npm test" }, "status": "in_progress" });
    let (world, _, ws) = world_with(&json!([{ "steps": [{ "say": "at work" }, { "tool": tool }, { "wait_for": "cancel" }] }]), "");
    let clock = world.path().join("clock");
    let server = world.serve_with(|command| _ = command.env("DCC_CLOCK_FILE", &clock)).expect("it serves");
    let session = start(&world, &ws);
    let calls = || world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-TOOL"])["items"].to_string();
    until("its tool", || calls().contains("npm test").then_some(()));
    let reader = Reader::sign_in(&server.http);
    let page = |path: &str| reader.page(path);
    let home = format!("/session/{session}");
    assert!(page(&home).contains("working") && !page(&home).contains("no activity"), "it works");
    // A few minutes without a word of it.
    std::fs::write(&clock, "240000").unwrap();
    for path in [home.as_str(), "/sessions"] {
        assert!(page(path).contains("no activity for 4 m, last tool still runs"), "{path}: {}", page(path));
    }
    assert!(page(&home).contains("Its last tool still runs: ") && page(&home).contains("npm test"));
    assert!(!page(&home).contains(">working<"));
}

#[test]
fn messages_queue_interrupt_and_stop() {
    let (world, _, ws) = world_with(&json!([waits(), says("two"), waits(), says("four")]), "");
    let session = start(&world, &ws);
    until_state(&world, &session, "ACTIVE", "running");
    let queued = world.ok(&["session", "send", &session, "later"]);
    assert_eq!(queued["delivery"], "it is delivered when the running turn ends");
    let now = world.ok(&["session", "send", &session, "stop that", "--when", "now"]);
    assert_eq!(now["delivered"], true, "{now}");
    // The stopped turn's successor ends by itself, then the patient message gets its turn.
    until("the third turn", || (said(&world, &session) == ["go", "stop that", "later"]).then_some(()));
    until_state(&world, &session, "ACTIVE", "running");
    world.ok(&["session", "send", &session, "x"]);
    let shown = world.ok(&["session", "show", &session]);
    let id = shown["waiting"][0]["message_id"].as_str().unwrap().to_owned();
    assert_eq!(shown["delivery"]["now"]["possible"], true);
    world.ok(&["session", "send", &session, "--message", &id[28..], "--edit", "y"]);
    world.ok(&["session", "send", &session, "--message", &id, "--now"]);
    until("the fourth turn", || (said(&world, &session).last().map(String::as_str) == Some("y")).then_some(()));
    until_state(&world, &session, "BLOCKED", "input_wait");
    world.ok(&["up", "--stop"]);
    assert_eq!(agents_alive(&world), 0);
}

#[test]
fn a_pause_stands_still_then_cuts_and_resuming_goes_on() {
    let (world, _, ws) = world_with(&json!([waits(), says("on again")]), "[limits]\npause_bound_ms = 200\nfreeze_ms = 300\n");
    let session = start(&world, &ws);
    until_state(&world, &session, "ACTIVE", "running");
    let paused = world.ok(&["session", "pause", &session, "--reason", "lunch"]);
    assert_eq!(paused["state"], "completed", "{paused}");
    assert_eq!(session_state(&world, &session), ("PAUSED".to_owned(), "operator_pause".to_owned()));
    until("the cut", || steers(&world, &session).contains(&"turn_cut".to_owned()).then_some(()));
    until("the end of the turn", || (world.ok(&["job", "list", "--op", "session.run"])["items"][0]["state"] == "cancelled").then_some(()));
    let second = world.json(&["session", "pause", &session]);
    assert_eq!((second.code, second.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{second:?}");
    world.ok(&["session", "resume", &session]);
    until("the next turn", || (said(&world, &session).len() == 2).then_some(()));
    until_state(&world, &session, "BLOCKED", "input_wait");
}

#[test]
fn what_is_over_a_limit_waits_in_sight_also_through_a_restart() {
    let (world, _, ws) = world_with(&json!([waits(), says("two")]), "[limits]\nsessions_running = 1\n");
    let first = start(&world, &ws);
    until_state(&world, &first, "ACTIVE", "running");
    let second = world.json(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "second"]);
    assert_eq!((second.code, second.json()["state"].as_str()), (0, Some("queued")), "{second:?}");
    let second = second.json()["session_id"].as_str().unwrap().to_owned();
    let shown = world.ok(&["session", "show", &second]);
    assert_eq!((shown["state"].as_str(), shown["queued"].as_bool(), shown["queued_run"]["why"].as_str()), (Some("CREATED"), Some(true), Some("1 of 1 sessions run")), "{shown}");
    assert_eq!(agents_alive(&world), 1);
    kill_server(&world);
    until("the end of the agent", || (agents_alive(&world) == 0).then_some(()));
    world.ok(&["up", "--detach"]);
    until_state(&world, &second, "ACTIVE", "running");
    assert_eq!(session_state(&world, &first), ("PAUSED".to_owned(), "crash_recovery".to_owned()));
    // A third waits until the second's turn is over.
    let third = world.json(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "third"]).json();
    assert_eq!(third["state"], "queued");
    world.ok(&["session", "cancel", &second]);
    until_state(&world, third["session_id"].as_str().unwrap(), "ACTIVE", "running");
}

#[test]
fn three_agents_and_a_killed_server() {
    let (world, wp, ws) = world_with(&json!([waits(), says("again")]), "");
    let sessions: Vec<String> = (0..3).map(|_| start(&world, &ws)).collect();
    for session in &sessions {
        until_state(&world, session, "ACTIVE", "running");
    }
    world.ok(&["session", "send", &sessions[0], "next"]);
    assert_eq!(agents_alive(&world), 3);
    kill_server(&world);
    until("no agent", || (agents_alive(&world) == 0).then_some(()));
    world.ok(&["up", "--detach"]);
    let queue = world.ok(&["session", "list", "--recovery"]);
    let rows = queue["items"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{queue}");
    for row in rows {
        assert_eq!((row["state"].as_str(), row["state_reason"].as_str(), row["wp_id"].as_str()), (Some("PAUSED"), Some("crash_recovery"), Some(wp.as_str())));
        assert!(row["checkpoint_age_ms"].is_i64() && row["heartbeat_age_ms"].is_i64() && row["dirty_files"].is_u64() && row["pending_calls"].is_array(), "{row}");
    }
    assert_eq!(world.ok(&["status"])["sessions_to_recover"], 3);
    let of_backend = |backend: &str| world.ok(&["session", "list", "--backend", backend])["items"].as_array().unwrap().len();
    let backend = world.ok(&["session", "show", &sessions[0]])["backend"].as_str().unwrap().to_owned();
    assert_eq!((of_backend(&backend), of_backend("another")), (3, 0));
    assert_eq!(agents_alive(&world), 0, "nothing is resumed by itself");
    // Resume delivers what waited, retry makes a successor, cancel ends.
    world.ok(&["session", "resume", &sessions[0]]);
    until("the waiting message", || (said(&world, &sessions[0]) == ["go", "next"]).then_some(()));
    world.ok(&["session", "cancel", &sessions[1]]);
    let successor = world.ok(&["session", "retry", &sessions[1]])["session_id"].as_str().unwrap().to_owned();
    until_state(&world, &successor, "ACTIVE", "running");
    assert_eq!(world.ok(&["session", "show", &successor])["successor_of"], sessions[1].as_str());
    let again = world.json(&["session", "retry", &sessions[1]]);
    assert_eq!((again.code, again.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"));
    assert_eq!(said(&world, &sessions[2]), ["go"], "nothing ran twice");
    assert_eq!(world.ok(&["session", "list", "--recovery"])["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn cancelling_ends_the_whole_tree_and_its_stray_processes() {
    let turn = json!({ "steps": [{ "leave_child": 600 }, { "say": "left one" }, { "wait_for": "cancel" }] });
    let (world, _, ws) = world_with(&json!([turn]), "");
    let root = start(&world, &ws);
    until_state(&world, &root, "ACTIVE", "running");
    let spawn = |parent: &str| world.ok(&["session", "spawn", parent, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned();
    let child = spawn(&root);
    let grandchild = spawn(&child);
    let deepest = spawn(&grandchild);
    for session in [&child, &grandchild, &deepest] {
        until_state(&world, session, "ACTIVE", "running");
    }
    let too_deep = world.json(&["session", "spawn", &deepest, "--agent", "tester"]);
    assert_eq!(too_deep.code, 3, "{too_deep:?}");
    assert!(too_deep.json()["failure"]["message"].as_str().unwrap().starts_with("depth_limit_exceeded"));
    std::fs::write(std::path::Path::new(world.ok(&["ws", "show", &ws])["path"].as_str().unwrap()).join("unsaved.txt"), "x").unwrap();
    let shown = world.ok(&["session", "show", &root]);
    assert_eq!(shown["ends_with_it"]["descendants"].as_array().unwrap().len(), 3, "{shown}");
    assert_eq!(shown["ends_with_it"]["uncommitted"][0]["paths"], json!(["unsaved.txt"]));
    let tree = world.ok(&["session", "tree", &deepest]);
    assert_eq!((tree["session_id"].as_str(), tree["children"][0]["children"][0]["children"][0]["session_id"].as_str()), (Some(root.as_str()), Some(deepest.as_str())));
    world.ok(&["session", "cancel", &root]);
    assert_eq!(agents_alive(&world), 0);
    assert_eq!(session_state(&world, &root), ("CANCELLED".to_owned(), "cancelled_by_operator".to_owned()));
    for session in [&child, &grandchild, &deepest] {
        assert_eq!(session_state(&world, session), ("CANCELLED".to_owned(), "cancelled_by_parent".to_owned()));
    }
    let ends = world.ok(&["timeline", "--session", &root, "--code", "FR-EVT-SESS-SPAWN-002"]);
    assert_eq!(ends["items"].as_array().unwrap().len(), 1, "its own child's result");
    assert_eq!(steers(&world, &root).iter().filter(|s| *s == "cancel").count(), 1);
}

#[test]
fn a_flood_of_requests_pauses_the_session_once() {
    let (world, _, ws) = world_with(&json!([{ "steps": [{ "ask_many": 60 }, { "say": "done" }] }]), "");
    let session = start(&world, &ws);
    until_state(&world, &session, "PAUSED", "rate_limited");
    let moves = world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-SESS-002"]);
    let paused = moves["items"].as_array().unwrap().iter().filter(|e| e["payload"]["to"] == "PAUSED").count();
    assert_eq!(paused, 1);
    let pending = || world.ok(&["approvals", "list"])["items"].as_array().unwrap().len();
    let waiting = pending();
    assert!((1..=32).contains(&waiting), "{waiting}");
    kill_server(&world);
    until("the end of the agent", || (agents_alive(&world) == 0).then_some(()));
    world.ok(&["up", "--detach"]);
    assert_eq!(pending(), 0);
    // Some may have come between the look and the kill: all that there are were kept, and none was executed.
    let all = world.ok(&["approvals", "list", "--all"]);
    let asked: Vec<&Value> = all["items"].as_array().unwrap().iter().filter(|a| a["op"] == "capability.request").map(|a| &a["status"]).collect();
    assert!((waiting..=32).contains(&asked.len()), "{waiting}: {asked:?}");
    assert!(asked.iter().all(|status| *status == "stale"), "{asked:?}");
}
