//! The product from outside: the real binary on real repositories, each test in a hermetic world of its own.

#![allow(clippy::disallowed_methods, reason = "tests start processes and write files of their own")]

mod bad_input;
mod browser;
mod contract;
mod denied;
mod recovery;
mod slice;

/// The binary under test.
const DCC: &str = env!("CARGO_BIN_EXE_dcc");

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
