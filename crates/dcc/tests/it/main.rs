//! The product from outside: the real binary on real repositories, each test in a hermetic world of its own.

#![allow(clippy::disallowed_methods, reason = "tests start processes and write files of their own")]

mod attach;
mod bad_input;
mod bench;
mod bounds;
mod browser;
mod budget;
mod commands;
mod contract;
mod crash;
mod decisions;
mod denied;
mod durable;
mod faults;
mod grants;
mod kills;
mod logins;
mod mcp;
mod mcp_client;
mod mend;
mod observed;
mod outside;
mod pages;
mod ports;
mod promises;
mod read_only;
mod reads;
mod recovery;
mod refusals;
mod repairs;
mod said;
mod secrets;
mod slice;
mod spawned;
mod steering;
mod terminal;
mod ungated;
mod waivers;
mod watch;

/// The binary under test.
const DCC: &str = env!("CARGO_BIN_EXE_dcc");

/// True for the long lane: the counts as they are promised.
fn is_long() -> bool {
    std::env::var_os("DCC_TEST_LONG").is_some()
}

/// The operator's configuration of an agent `tester` that plays this script.
fn scripted(world: &dcc_testkit::World, script: &str) -> String {
    let file = world.path().join("script.json");
    std::fs::write(&file, script).expect("a script");
    let file = file.display();
    format!("[agents.tester]\ncommand = [\"{DCC}\", \"scripted-agent\", \"{file}\"]\nread_paths = [\"{file}\"]\nask_mode = \"default\"\n")
}

/// A started packet with one micro-task; its id.
fn started_packet(world: &dcc_testkit::World) -> String {
    let made = world.ok(&["wp", "create", "--title", "Greet people", "--criterion", "a greeting exists"]);
    let wp = made["wp_id"].as_str().expect("an id").to_owned();
    world.ok(&["mt", "add", &wp, "--name", "Write it", "--criterion", "seen"]);
    world.ok(&["wp", "ready", &wp]);
    world.ok(&["wp", "gate", &wp, "pre_work", "pass"]);
    world.ok(&["wp", "start", &wp]);
    wp
}

/// Its worktree, approved; (workspace id, path).
fn approved_worktree(world: &dcc_testkit::World, wp: &str) -> (String, std::path::PathBuf) {
    let parked = world.json(&["ws", "create", "--wp", wp]);
    assert_eq!(parked.code, 4, "{parked:?}");
    let approval = parked.json()["approval_id"].as_str().expect("an approval").to_owned();
    let made = world.ok(&["approvals", "approve", &approval]);
    (made["workspace_id"].as_str().expect("an id").to_owned(), made["path"].as_str().expect("a path").into())
}

/// Asks again until the answer is there; a deadline, never a fixed pause. In the long lane the counts
/// are larger, and so is what one wait may be for.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(if is_long() { 600 } else { 60 });
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// The oldest pending approval's id.
fn pending(world: &dcc_testkit::World) -> Option<String> {
    world.ok(&["approvals", "list"])["items"][0]["approval_id"].as_str().map(str::to_owned)
}

/// State and reason of a session.
fn session_state(world: &dcc_testkit::World, session: &str) -> (String, String) {
    let shown = world.ok(&["session", "show", session]);
    (shown["state"].as_str().expect("a state").to_owned(), shown["state_reason"].as_str().expect("a reason").to_owned())
}

/// A session of the scripted agent that asks for its first edit; (session id, worktree).
fn asking_session(world: &dcc_testkit::World) -> (String, std::path::PathBuf) {
    let wp = started_packet(world);
    let (ws, path) = approved_worktree(world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--agent", "scripted", "--prompt", "go"]);
    until("a request", || pending(world));
    (started["session_id"].as_str().expect("an id").to_owned(), path)
}
