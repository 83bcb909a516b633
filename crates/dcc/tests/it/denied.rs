//! Denied at each approval: the stable code, the job terminal, and nothing changed that a person would miss.

use dcc_testkit::World;

use crate::{DCC, approved_worktree, asking_session, pending, session_state, started_packet, until};

fn deny(world: &World, approval: &str) {
    let denied = world.ok(&["approvals", "deny", approval, "--reason", "not now"]);
    assert_eq!(denied["state"], "failed");
    assert_eq!(denied["failure"]["code"], "HSK-403-APPROVAL-DENIED");
    let again = world.json(&["approvals", "approve", approval]);
    assert_eq!((again.code, again.code_text().as_str()), (5, "HSK-409-APPROVAL-CONSUMED"), "{again:?}");
}

#[test]
fn a_denied_worktree_leaves_everything_as_it_was() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let before = world.snapshot();
    let parked = world.json(&["ws", "create", "--wp", &wp]).json();
    deny(&world, parked["approval_id"].as_str().unwrap());
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
    let job = world.json(&["job", "wait", parked["job_id"].as_str().unwrap()]);
    assert_eq!(job.code, 3, "{job:?}");
}

#[test]
fn a_denied_commit_leaves_everything_as_it_was() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/a.txt"), "one\nTWO\nthree\n").unwrap();
    let before = world.snapshot();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "No", "src/a.txt"]).json();
    deny(&world, parked["approval_id"].as_str().unwrap());
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_commit_whose_branch_moved_is_stale_and_does_nothing() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/a.txt"), "mine\n").unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Mine", "src/a.txt"]).json();
    world.git_in(&path, &["commit", "--quiet", "--allow-empty", "-m", "Behind our back"]);
    let head = world.git_in(&path, &["rev-parse", "HEAD"]);
    let tried = world.json(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    assert_eq!(tried.code, 5, "{tried:?}");
    assert_eq!(tried.code_text(), "HSK-409-STALE-PREVIEW");
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]), head);
}

#[test]
fn a_denial_needs_a_reason_and_agents_do_not_decide() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let parked = world.json(&["ws", "create", "--wp", &wp]).json();
    let blank = world.json(&["approvals", "deny", parked["approval_id"].as_str().unwrap(), "--reason", " "]);
    assert_eq!((blank.code, blank.code_text().as_str()), (2, "HSK-400-INVALID-INPUT"));
}

#[test]
fn a_denied_agent_writes_nothing_and_goes_on() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let (session, _) = asking_session(&world);
    let before = world.snapshot();
    for _ in 0..2 {
        let approval = until("a request", || pending(&world));
        deny(&world, &approval);
    }
    until("the end of the turn", || (session_state(&world, &session).1 == "input_wait").then_some(()));
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
    let jobs = world.ok(&["job", "list", "--op", "capability.request"]);
    for job in jobs["items"].as_array().unwrap() {
        assert_eq!((job["state"].as_str(), job["failure"]["code"].as_str()), (Some("failed"), Some("HSK-403-APPROVAL-DENIED")));
    }
}
