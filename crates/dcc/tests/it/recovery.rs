//! Pulling the plug, and losing what may be lost.

use dcc_testkit::World;

use crate::{DCC, approved_worktree, asking_session, session_state, started_packet, until};

#[test]
fn derived_data_may_be_deleted_and_every_view_is_equal_afterwards() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let views = || {
        ["wp list", "job list", "approvals list --all", "grants list", "session list"]
            .map(|words| world.ok(&words.split(' ').collect::<Vec<_>>()))
            .to_vec()
    };
    let before = views();
    let shown = world.ok(&["ws", "show", &ws]);
    for name in ["devcc.db", "devcc.db-wal", "devcc.db-shm"] {
        let _ = std::fs::remove_file(world.state_dir().join(name));
    }
    std::fs::remove_file(path.join(".handshake/workspace.json")).unwrap();
    assert_eq!(views(), before);
    assert_eq!(world.ok(&["ws", "show", &ws]), shown);
    std::fs::write(world.state_dir().join("devcc.db"), "this is no database, and long enough to be looked at as one".repeat(40)).unwrap();
    for name in ["devcc.db-wal", "devcc.db-shm"] {
        let _ = std::fs::remove_file(world.state_dir().join(name));
    }
    assert_eq!(views(), before);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn an_edited_recorder_is_found_and_named() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    started_packet(&world);
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).unwrap();
    database.execute_batch("DROP TRIGGER events_no_update").ok();
    let triggers: Vec<String> = database
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        database.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    assert_eq!(database.execute("UPDATE events SET outcome = 'deny' WHERE seq = 5", []).unwrap(), 1);
    drop(database);
    let ran = world.json(&["recorder", "verify"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(ran.json()["first_bad_seq"], 5);
}

#[test]
fn a_pending_approval_survives_a_killed_server() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let up = world.ok(&["up", "--detach"]);
    assert!(up["url"].as_str().unwrap().contains("/login?token="));
    let parked = world.json(&["ws", "create", "--wp", &wp]);
    assert_eq!(parked.code, 4);
    let second = world.json(&["up"]);
    assert_eq!((second.code, second.code_text().as_str()), (5, "HSK-423-LOCKED"), "{second:?}");
    let note = std::fs::read_to_string(world.state_dir().join("project.lock")).unwrap();
    let pid = note.split(' ').next().unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    let approval = parked.json()["approval_id"].as_str().unwrap().to_owned();
    let made = world.ok(&["approvals", "approve", &approval]);
    assert_eq!(made["state"], "completed");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
    assert_eq!(world.ok(&["ws", "list"])["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_killed_server_leaves_no_agent_and_resumes_nothing_by_itself() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let (session, path) = asking_session(&world);
    let shown = world.ok(&["session", "show", &session]);
    let agent = shown["process"]["pid"].as_u64().expect("a process");
    let note = std::fs::read_to_string(world.state_dir().join("project.lock")).unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", note.split(' ').next().unwrap()]).status().unwrap().success());
    until("the end of the agent", || (!std::path::Path::new(&format!("/proc/{agent}")).exists()).then_some(()));
    assert_eq!(session_state(&world, &session), ("PAUSED".to_owned(), "crash_recovery".to_owned()));
    let approvals = world.ok(&["approvals", "list", "--all"]);
    let asked = approvals["items"].as_array().unwrap().iter().find(|a| a["op"] == "capability.request").unwrap();
    assert_eq!(asked["status"], "stale", "a request is never executed after its agent is gone");
    let late = world.json(&["approvals", "approve", asked["approval_id"].as_str().unwrap()]);
    assert_eq!((late.code, late.code_text().as_str()), (5, "HSK-409-STALE-PREVIEW"), "{late:?}");
    assert!(!path.join("src/greeting.txt").exists());
    let turns = world.ok(&["job", "list", "--op", "session.run"]);
    assert_eq!(turns["items"][0]["state"], "stalled");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_cut_tail_and_a_lost_log_are_damage_and_never_a_new_project() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    started_packet(&world);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
    let log = world.state_dir().join("recorder.db");
    let database = rusqlite::Connection::open(&log).unwrap();
    let triggers: Vec<(String, String)> = database
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, _) in &triggers {
        database.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    let last: i64 = database.query_row("SELECT max(seq) FROM events", [], |r| r.get(0)).unwrap();
    let kept = last - 12;
    for table in ["payloads", "checkpoints", "events"] {
        database.execute(&format!("DELETE FROM {table} WHERE seq > {kept}"), []).unwrap();
    }
    for (_, sql) in &triggers {
        database.execute_batch(sql).unwrap();
    }
    drop(database);
    let ran = world.json(&["recorder", "verify"]);
    assert_eq!((ran.code, ran.json()["first_bad_seq"].as_i64()), (7, Some(kept + 1)), "{ran:?}");
    let ran = world.json(&["wp", "create", "--title", "No"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-INTEGRITY"), "{ran:?}");
    for name in ["recorder.db", "recorder.db-wal", "recorder.db-shm"] {
        let _ = std::fs::remove_file(world.state_dir().join(name));
    }
    for command in [vec!["wp", "list"], vec!["init"]] {
        let ran = world.json(&command);
        assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-INTEGRITY"), "{command:?}: {ran:?}");
    }
    assert!(!log.exists(), "no new log is begun over old records");
}
