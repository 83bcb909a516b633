//! No record, no action (P3): with a recorder that cannot write, every operation of a surface refuses before any effect,
//! and reads go on; with one that stops in the middle of a job, nothing is done that is not on record.
//!
//! The recorder is made to fail from outside, by a trigger in its database that refuses events from a sequence on. A full
//! disk and a read-only mount are real in `read_only`.

use std::path::PathBuf;

use dcc_core::op::Op;
use dcc_testkit::{Http, World};
use serde_json::{Value, json};

use crate::observed::settle;
use crate::{DCC, approved_worktree, is_long, started_packet, until};

/// Refuses every event from this sequence on.
fn break_recorder(world: &World, from_seq: i64) {
    on_recorder(world, &format!("CREATE TRIGGER no_more BEFORE INSERT ON events WHEN NEW.seq >= {from_seq} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"));
}

fn mend_recorder(world: &World) {
    on_recorder(world, "DROP TRIGGER no_more");
}

fn on_recorder(world: &World, sql: &str) {
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).expect("the log");
    database.busy_timeout(std::time::Duration::from_secs(30)).expect("a timeout");
    database.execute_batch(sql).expect("the statement");
}

fn last_seq(world: &World) -> i64 {
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).expect("the log");
    database.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0)).expect("a number")
}

/// A request of each operation that a surface may send. Only the envelope counts: nothing is planned without a record.
fn request(op: Op, wp: &str, ws: &str) -> Value {
    let bindings = json!({ "wp_id": wp, "mt_id": "MT-001", "workspace_id": ws, "session_id": "0199a0b2-7c31-7d2f-8a5b-0242ac120002" });
    json!({ "op": op.as_str(), "bindings": bindings, "params": {} })
}

fn refuses_everything(http: &Http, world: &World, wp: &str, ws: &str) -> usize {
    let before = world.snapshot();
    let mut refused = 0;
    for op in Op::ALL.iter().filter(|op| op.is_built()) {
        let reply = http.post("/api/v1/jobs", &request(*op, wp, ws));
        // What only DCC itself asks for, and a decision, are no requests of a surface.
        if reply.code_text() == "HSK-400-INVALID-INPUT" || reply.code_text() == "HSK-403-SAME-TURN-CONSENT" {
            continue;
        }
        assert_eq!(reply.code_text(), "HSK-500-RECORDER", "{op}: {}", reply.text());
        refused += 1;
    }
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new());
    refused
}

fn reads_go_on(http: &Http, ws: &str) {
    for path in ["wps", "jobs", "approvals", "grants", "sessions", "workspaces", "board", "events?limit=10", "health", "search?q=bee"] {
        http.get(&format!("/api/v1/{path}"));
    }
    http.get(&format!("/api/v1/workspaces/{ws}/status"));
}

#[test]
fn every_operation_refuses_and_reads_go_on() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/a.txt"), "changed\n").expect("a file");
    let server = world.serve();
    let parked = server.http.submit("version.commit", json!({ "workspace_id": ws }), json!({ "paths": ["src/a.txt"], "message": "Change" })).json();
    let approval = parked["approval_id"].as_str().expect("an approval").to_owned();
    break_recorder(&world, 0);
    let refused = refuses_everything(&server.http, &world, &wp, &ws);
    assert!(refused >= 30, "{refused}");
    let before = world.snapshot();
    for verdict in ["approve", "deny"] {
        let body = json!({ "decision": verdict, "scope": "once", "reason": "r" });
        let reply = server.http.post(&format!("/api/v1/approvals/{approval}/decision"), &body);
        assert_eq!(reply.code_text(), "HSK-500-RECORDER", "{verdict}: {}", reply.text());
    }
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new());
    reads_go_on(&server.http, &ws);
    // The log is gone altogether: the same, and it is not made anew.
    mend_recorder(&world);
    let (log, aside) = (world.state_dir().join("recorder.db"), world.state_dir().join("aside"));
    std::fs::rename(&log, &aside).expect("a rename");
    let reply = server.http.post("/api/v1/jobs", &json!({ "op": "locus.sync_task_board" }));
    assert_eq!(reply.code_text(), "HSK-500-RECORDER", "{}", reply.text());
    assert!(!log.exists());
    std::fs::rename(&aside, &log).expect("a rename");
    assert_eq!(server.http.decide(&approval, "approve", "now").json()["job"]["state"], "completed");
    println!("{refused} operations refused");
}

#[test]
fn an_agent_gets_nothing_that_cannot_be_recorded() {
    let world = World::new(DCC);
    let script = json!({ "turns": [{ "steps": [{ "edit": { "path": "src/greeting.txt", "create": "hello\n" }, "ask": true }] }] });
    world.configure(&crate::scripted(&world, &script.to_string()));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let server = world.serve();
    server.http.submit("session.start", json!({ "workspace_id": ws }), json!({ "agent": "tester", "prompt": "go" }));
    let approval = until("a request", || server.http.get("/api/v1/approvals?status=pending")["items"][0]["approval_id"].as_str().map(str::to_owned));
    let before = world.snapshot();
    // The decision comes through; consuming it, which is what would let the agent go on, does not.
    break_recorder(&world, last_seq(&world) + 2);
    let reply = server.http.post(&format!("/api/v1/approvals/{approval}/decision"), &json!({ "decision": "approve", "scope": "once", "reason": "r" }));
    assert_eq!(reply.code_text(), "HSK-500-RECORDER", "{}", reply.text());
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new());
    server.kill();
    mend_recorder(&world);
    let settled = settle(&world);
    assert!(settled.stuck.is_empty(), "{:#?}", settled.stuck);
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new());
}

/// The command with a recorder that stops at each event of its run in turn.
fn starve(world: &World, arguments: &[&str], exit: i32, again: &dyn Fn(&World)) -> usize {
    let before = world.freeze();
    let first = last_seq(world) + 1;
    assert_eq!(world.json(arguments).code, exit, "{arguments:?}");
    let last = last_seq(world);
    let calm = settle(world);
    let mut cells = 0;
    for from_seq in (first..=last).step_by(if is_long() { 1 } else { 3 }) {
        let what = format!("{arguments:?} with no event after {}", from_seq - 1);
        world.thaw(&before);
        break_recorder(world, from_seq);
        let ran = world.json(arguments);
        assert_ne!(ran.code, exit, "{what}: {ran:?}");
        mend_recorder(world);
        let first_look = settle(world);
        assert!(first_look.stuck.is_empty(), "{what}: {:#?}", first_look.stuck);
        cells += 1;
        if first_look.again.is_empty() && first_look.end == calm.end {
            continue;
        }
        again(world);
        let end = settle(world);
        assert!(end.stuck.is_empty(), "{what}, asked again: {:#?}", end.stuck);
        assert_eq!(end.end.difference(&calm.end), Vec::<String>::new(), "{what}, asked again");
    }
    world.thaw(&before);
    assert_eq!(world.json(arguments).code, exit, "{arguments:?}");
    cells
}

#[test]
fn a_recorder_that_stops_in_the_middle_of_a_job_leaves_nothing_unrecorded() {
    let world = World::new(DCC);
    world.configure("[recipes.fine]\nargv = [\"sh\", \"-c\", \"echo fine\"]\n");
    world.ok(&["init"]);
    let same = |arguments: Vec<String>, exit: i32| move |world: &World| assert_eq!(world.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).code, exit);
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<String>>();
    let create = ["wp", "create", "--title", "T", "--criterion", "c"];
    let mut cells = starve(&world, &create, 0, &same(owned(&create), 0));
    let wp = started_packet(&world);
    let tree = ["ws", "create", "--wp", wp.as_str()];
    cells += starve(&world, &tree, 4, &same(owned(&tree), 4));
    let approval = crate::pending(&world).expect("an approval");
    cells += starve(&world, &["approvals", "approve", &approval], 0, &|world| crate::crash::approve_or_ask(world, &["ws", "create", "--wp", &wp], "once"));
    let ws = world.ok(&["ws", "list"])["items"].as_array().expect("items").iter().find(|w| w["kind"] == "worktree").expect("a worktree").clone();
    std::fs::write(PathBuf::from(ws["path"].as_str().expect("a path")).join("src/a.txt"), "changed\n").expect("a file");
    let ws = ws["workspace_id"].as_str().expect("an id").to_owned();
    let commit = ["vcs", "commit", "--ws", &ws, "-m", "Change", "src/a.txt"];
    assert_eq!(world.json(&commit).code, 4);
    let approval = crate::pending(&world).expect("an approval");
    cells += starve(&world, &["approvals", "approve", &approval], 0, &|world| crate::crash::approve_or_ask(world, &commit, "once"));
    let recipe = ["run", "--ws", &ws, "fine"];
    cells += starve(&world, &recipe, 0, &same(owned(&recipe), 0));
    println!("{cells} cells: nothing done that is not on record, nothing stuck");
}
