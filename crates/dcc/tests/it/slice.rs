//! The vertical slice by the CLI, in fewer than twenty commands, with the same evidence a person would look for.

use dcc_testkit::World;
use serde_json::Value;

use crate::{DCC, approved_worktree, started_packet};

/// The codes of a list of events.
pub(crate) fn codes_of(events: &Value) -> Vec<String> {
    events["items"].as_array().expect("items").iter().map(|e| e["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn a_packet_goes_from_creation_to_done_by_commands() {
    let world = World::new(DCC);
    assert_eq!(world.ok(&["init"])["status"], "created");
    assert_eq!(world.ok(&["init"])["status"], "existing");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "initialising writes nothing that git sees");
    let wp = started_packet(&world);
    world.ok(&["mt", "start", &wp, "MT-001"]);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/greeting.txt"), "hello\n").unwrap();
    std::fs::write(path.join("src/other.txt"), "not for this commit\n").unwrap();
    std::fs::write(path.join("src/b.txt"), "staged by hand\n").unwrap();
    world.git_in(&path, &["add", "src/b.txt"]);
    let staged = world.git_in(&path, &["diff", "--cached", "--name-only"]);

    let status = world.ok(&["vcs", "status", "--ws", &ws]);
    assert_eq!(status["entries"].as_array().unwrap().len(), 3);
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Say hello", "src/greeting.txt"]);
    assert_eq!(parked.code, 4, "{parked:?}");
    let approval = parked.json()["approval_id"].as_str().unwrap().to_owned();
    let shown = world.ok(&["approvals", "show", &approval]);
    let tree = shown["preview"]["place"].as_array().unwrap().iter().find(|f| f["label"] == "tree").unwrap()["value"].clone();
    // What is edited after the preview does not reach the commit: approved bytes = committed bytes.
    std::fs::write(path.join("src/greeting.txt"), "changed after the preview\n").unwrap();
    let done = world.ok(&["approvals", "approve", &approval]);
    assert_eq!(done["tree_oid"], tree);
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD^{tree}"]).trim(), tree.as_str().unwrap());
    assert_eq!(world.git_in(&path, &["show", "HEAD:src/greeting.txt"]), "hello\n");
    assert_eq!(world.git_in(&path, &["show", "--name-only", "--format=", "HEAD"]).trim(), "src/greeting.txt");
    assert_eq!(world.git_in(&path, &["diff", "--cached", "--name-only"]), staged, "what was staged by hand is still staged");
    let message = world.git_in(&path, &["log", "-1", "--format=%B%an <%ae>"]);
    for part in ["Say hello", "DCC-Job: ", &format!("DCC-WP: {wp}"), "Test Person <test@example.invalid>"] {
        assert!(message.contains(part), "{part}: {message}");
    }

    let job = done["job_id"].as_str().unwrap().to_owned();
    world.ok(&["mt", "done", &wp, "MT-001", "--job", &job]);
    world.ok(&["wp", "gate", &wp, "post_work", "pass"]);
    assert_eq!(world.ok(&["wp", "close", &wp])["status"], "done");

    let board = std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).unwrap();
    assert!(board.contains(&format!("- **[{wp}]** - [VALIDATED]")), "{board}");
    let seen = codes_of(&world.ok(&["timeline", "--wp", &wp]));
    for code in ["FR-EVT-WP-001", "FR-EVT-MT-001", "FR-EVT-WP-003", "FR-EVT-WS-001", "FR-EVT-APPR-001", "FR-EVT-APPR-003", "FR-EVT-APPR-006", "FR-EVT-VCS-001", "FR-EVT-MT-003", "FR-EVT-WP-004"] {
        assert!(seen.iter().any(|c| c == code), "{code} is missing: {seen:?}");
    }
    assert!(!codes_of(&world.ok(&["timeline", "--job", &job])).is_empty());
    assert!(!codes_of(&world.ok(&["timeline", "--ws", &ws])).is_empty());
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_recipe_runs_in_the_sandbox_and_is_evidence() {
    let world = World::new(DCC);
    world.configure(
        "[recipes.fine]\nargv = [\"sh\", \"-c\", \"echo fine; cat src/a.txt\"]\n[recipes.escape]\nargv = [\"sh\", \"-c\", \"echo x > $HOME/../escaped; echo x > ../../repo/escaped; git commit --allow-empty -m x; exit 3\"]\n",
    );
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let head = world.git_in(&path, &["rev-parse", "HEAD"]);
    let ran = world.ok(&["run", "--ws", &ws, "fine"]);
    assert_eq!((ran["state"].as_str(), ran["exit_code"].as_i64()), (Some("completed"), Some(0)));
    let escaped = world.ok(&["run", "--ws", &ws, "escape"]);
    assert_eq!((escaped["state"].as_str(), escaped["exit_code"].as_i64()), (Some("completed_with_issues"), Some(3)), "{escaped}");
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]), head, "a recipe cannot commit");
    assert!(!world.repo().join("escaped").exists());
    let unknown = world.json(&["run", "--ws", &ws, "nothing"]);
    assert_eq!((unknown.code, unknown.code_text().as_str()), (6, "HSK-404-RECIPE"));
}

#[test]
fn the_demo_plays_the_whole_slice_by_itself() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    let output = world.command().args(["demo", "--headless", "--no-open", "--dir"]).arg(&dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("no person approved"), "{text}");
    assert!(text.contains("approved tree = committed tree"), "{text}");
}

#[test]
fn the_same_key_has_one_effect_and_the_same_plan_waits_once() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let first = world.json(&["ws", "create", "--wp", &wp]).json();
    let second = world.json(&["ws", "create", "--wp", &wp]);
    assert_eq!(second.code, 4);
    assert_eq!(second.json()["approval_id"], first["approval_id"], "the pending one is named");
    world.ok(&["approvals", "approve", first["approval_id"].as_str().unwrap()]);
    // A packet that has its worktree: nobody is asked about what would fail.
    let third = world.json(&["ws", "create", "--wp", &wp]);
    assert_eq!((third.code, third.code_text().as_str()), (5, "HSK-409-WORKTREE-CONFLICT"), "{third:?}");
    assert!(crate::pending(&world).is_none());
}

/// Every event of the packet as (operation of its job, code, outcome), in order.
pub(crate) fn trail(world: &World, wp: &str) -> Vec<(String, String, String)> {
    let jobs = world.ok(&["job", "list"]);
    let op_of = |id: &Value| {
        let found = jobs["items"].as_array().unwrap().iter().find(|j| &j["job_id"] == id);
        found.map_or(String::new(), |j| j["op"].as_str().unwrap().to_owned())
    };
    let events = world.ok(&["timeline", "--wp", wp]);
    let text = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
    events["items"].as_array().unwrap().iter().map(|e| (op_of(&e["job_id"]), text(e, "code"), text(e, "outcome"))).collect()
}

pub(crate) fn short_slice(world: &World) -> Vec<(String, String, String)> {
    let wp = started_packet(world);
    world.ok(&["mt", "start", &wp, "MT-001"]);
    let (ws, path) = approved_worktree(world, &wp);
    std::fs::write(path.join("src/a.txt"), "changed\n").unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Change", "src/a.txt"]).json();
    let done = world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    world.ok(&["mt", "done", &wp, "MT-001", "--job", done["job_id"].as_str().unwrap()]);
    trail(world, &wp)
}

#[test]
fn a_lone_command_and_a_server_leave_the_same_events() {
    let alone = World::new(DCC);
    alone.ok(&["init"]);
    let served = World::new(DCC);
    served.ok(&["up", "--detach"]);
    let (left, right) = (short_slice(&alone), short_slice(&served));
    assert!(left.len() > 100, "{}", left.len());
    assert_eq!(left, right);
}

/// A person commits what a session left: the commit belongs to the micro-task that the session worked on.
#[test]
fn a_commit_is_joined_to_the_micro_task_of_its_session() {
    let world = World::new(DCC);
    world.ok(&["up", "--detach"]);
    let wp = started_packet(&world);
    world.ok(&["mt", "start", &wp, "MT-001"]);
    let (ws, path) = approved_worktree(&world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--human", "--mt", "MT-001"]);
    std::fs::write(path.join("src/a.txt"), "changed\n").unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Change", "src/a.txt"]).json();
    let done = world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    let job = world.ok(&["job", "show", done["job_id"].as_str().unwrap()]);
    assert_eq!((&job["mt_id"], &job["session_id"]), (&Value::from("MT-001"), &started["session_id"]), "{job}");
    let message = world.git_in(&path, &["log", "-1", "--format=%B"]);
    assert!(message.contains("DCC-MT: MT-001"), "{message}");
    let slice = codes_of(&world.ok(&["timeline", "--mt", "MT-001"]));
    assert!(slice.iter().any(|code| code == "FR-EVT-VCS-001"), "{slice:?}");
}
