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
    let left = || -> Vec<String> { std::fs::read_dir(world.path().join("state/dcc/sandbox")).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect() };
    assert!(left().iter().any(|name| name.starts_with("session-")), "{:?}", left());
    let agent = shown["process"]["pid"].as_u64().expect("a process");
    let note = std::fs::read_to_string(world.state_dir().join("project.lock")).unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", note.split(' ').next().unwrap()]).status().unwrap().success());
    until("the end of the agent", || (!std::path::Path::new(&format!("/proc/{agent}")).exists()).then_some(()));
    // A directory of a process that lives, and one that nobody's name stands on, are left alone.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", std::process::id())).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let namespace = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/pid").unwrap());
    let mut kept = [format!("recipe-{}-{started}-{namespace}-0", std::process::id()), "of-somebody".to_owned()];
    kept.sort();
    for name in &kept {
        std::fs::create_dir(world.path().join("state/dcc/sandbox").join(name)).unwrap();
    }
    assert_eq!(session_state(&world, &session), ("PAUSED".to_owned(), "crash_recovery".to_owned()));
    let mut names = left();
    names.sort();
    assert_eq!(names, kept, "what the killed server left is swept, and nothing else");
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
    let kept = cut(&world, |last| last - 12);
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

/// Cuts the log's tail without a trace in the file; the last event that stays.
fn cut(world: &World, keep: impl FnOnce(i64) -> i64) -> i64 {
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).unwrap();
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
    let kept = keep(database.query_row("SELECT max(seq) FROM events", [], |r| r.get(0)).unwrap());
    for table in ["payloads", "checkpoints", "events"] {
        database.execute(&format!("DELETE FROM {table} WHERE seq > {kept}"), []).unwrap();
    }
    for (_, sql) in &triggers {
        database.execute_batch(sql).unwrap();
    }
    kept
}

/// The one checkpoint that the operator's state directory holds.
fn outside(world: &World) -> (std::path::PathBuf, serde_json::Value) {
    let path = std::fs::read_dir(world.path().join("state/dcc/checkpoints")).unwrap().flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "json")).unwrap();
    let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    (path, value)
}

#[test]
fn a_tail_cut_after_a_kill_is_found_back_to_the_last_checkpoint() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let server = world.serve();
    let before = outside(&world).1["checkpoint"]["seq"].as_i64().unwrap();
    for n in 0..40 {
        server.http.submit("locus.create_wp", serde_json::json!({}), serde_json::json!({ "title": format!("packet {n}") }));
    }
    server.kill();
    let seq = outside(&world).1["checkpoint"]["seq"].as_i64().unwrap();
    assert!(seq >= before + 100, "{before} {seq}");
    assert_eq!(world.ok(&["recorder", "verify"])["checkpoint"]["seq"], seq, "the process that was killed kept it");
    let kept = cut(&world, |_| seq - 1);
    let ran = world.json(&["recorder", "verify"]);
    assert_eq!((ran.code, ran.json()["first_bad_seq"].as_i64()), (7, Some(kept + 1)), "{ran:?}");
    let ran = world.json(&["wp", "create", "--title", "No"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-INTEGRITY"), "{ran:?}");
    assert_eq!(outside(&world).1["checkpoint"]["seq"], seq, "nothing was written over it");
}

/// Who can write both places but has not read the key forges nothing: not by taking the key away either.
#[test]
fn an_unsigned_checkpoint_beside_no_key_does_not_cover_a_cut_tail() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    started_packet(&world);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
    let (path, mut value) = outside(&world);
    let kept = cut(&world, |last| last - 5);
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).unwrap();
    let hash: String = database.query_row("SELECT hash FROM events WHERE seq = ?1", [kept], |r| r.get(0)).unwrap();
    drop(database);
    let mut bare = value["checkpoint"].take();
    bare["seq"] = serde_json::json!(kept);
    bare["hash"] = serde_json::json!(hash);
    std::fs::write(&path, bare.to_string()).unwrap();
    let key = world.path().join("state/dcc/checkpoint.key");
    std::fs::remove_file(&key).unwrap();
    for command in [vec!["wp", "create", "--title", "No"], vec!["wp", "list"], vec!["ws", "list"]] {
        let ran = world.json(&command);
        assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-INTEGRITY"), "{command:?}: {ran:?}");
    }
    let ran = world.json(&["recorder", "verify"]);
    assert!(ran.code == 7 && ran.json()["problem"].as_str().unwrap().contains("not signed"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), bare.to_string(), "evidence is not written over");
    assert!(!key.exists(), "and no new key signs it");
}

#[test]
fn a_checkpoint_that_was_altered_is_named_and_left_as_it_is() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    started_packet(&world);
    let key = world.path().join("state/dcc/checkpoint.key");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&key).unwrap()) & 0o777, 0o600);
    let server = world.serve();
    let verify = || server.http.post("/api/v1/recorder/verify", &serde_json::json!({})).json();
    let told = verify();
    assert!(told["ok"] == true && told["checkpoint"]["seq"].is_u64(), "Health holds the log against it too: {told}");
    let (path, mut value) = outside(&world);
    value["checkpoint"]["seq"] = serde_json::json!(1);
    let altered = value.to_string();
    std::fs::write(&path, &altered).unwrap();
    let told = verify();
    assert!(told["ok"] == false && told["problem"].as_str().unwrap().contains("was altered"), "{told}");
    for n in 0..40 {
        server.http.submit("locus.create_wp", serde_json::json!({}), serde_json::json!({ "title": format!("packet {n}") }));
    }
    drop(server);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), altered, "evidence is not written over");
    let ran = world.json(&["recorder", "verify"]);
    assert!(ran.code == 7 && ran.json()["problem"].as_str().unwrap().contains("was altered"), "{ran:?}");
    for command in [vec!["wp", "create", "--title", "No"], vec!["wp", "list"]] {
        let ran = world.json(&command);
        assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-INTEGRITY"), "{command:?}: {ran:?}");
    }
    // The way out is the person's own: with the file away, the log is held against nothing, which verify says.
    std::fs::remove_file(&path).unwrap();
    assert!(world.ok(&["recorder", "verify"])["checkpoint"].is_null());
    world.ok(&["wp", "create", "--title", "Yes"]);
    assert!(world.ok(&["recorder", "verify"])["checkpoint"]["seq"].is_u64());
}
