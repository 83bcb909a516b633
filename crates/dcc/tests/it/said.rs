//! What a person is told on standard error when something behind the command is not as it should be: a database of a newer
//! program, one that was damaged, a chain that is known to be broken, a clock that went back.

use dcc_testkit::World;

use crate::DCC;

fn in_database(world: &World, name: &str, sql: &str) {
    let database = rusqlite::Connection::open(world.state_dir().join(name)).unwrap();
    database.execute_batch(sql).unwrap();
    database.close().unwrap();
}

/// Gives the third event another outcome, as somebody with the file could; answers the one it had.
fn altered(world: &World, outcome: &str) -> String {
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).unwrap();
    let triggers: Vec<(String, String)> = {
        let mut statement = database.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    for (name, _) in &triggers {
        database.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    let before = database.query_row("SELECT outcome FROM events WHERE seq = 3", [], |row| row.get(0)).unwrap();
    database.execute("UPDATE events SET outcome = ?1 WHERE seq = 3", [outcome]).unwrap();
    for (_, sql) in &triggers {
        database.execute_batch(sql).unwrap();
    }
    before
}

#[test]
fn a_newer_devcc_db_is_read_only_from_the_first_command_on() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    world.ok(&["wp", "create", "--title", "A", "--criterion", "c"]);
    in_database(&world, "devcc.db", "PRAGMA user_version = 92");
    let before = world.snapshot();
    let refused = world.json(&["wp", "create", "--title", "B", "--criterion", "c"]);
    assert_eq!((refused.code, refused.code_text().as_str()), (1, "HSK-500-ENGINE"), "{refused:?}");
    assert!(refused.stdout.contains("schema 92"), "{refused:?}");
    let listed = world.json(&["wp", "list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1, "{listed:?}");
    assert!(listed.stderr.contains("read only: devcc.db has schema 92"), "{listed:?}");
    for words in [&["rebuild"][..], &["rebuild", "--dry-run"]] {
        let ran = world.json(words);
        assert_eq!((ran.code, ran.code_text().as_str()), (1, "HSK-500-ENGINE"), "what is promised is what is done: {ran:?}");
    }
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_damaged_devcc_db_is_named_once() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    world.ok(&["wp", "create", "--title", "A", "--criterion", "c"]);
    let before = world.ok(&["wp", "list"]);
    let path = world.state_dir().join("devcc.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..4096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let told = world.json(&["wp", "list"]);
    assert_eq!((told.code, told.json()), (0, before), "{told:?}");
    assert!(told.stderr.contains("devcc.db was corrupt; it was moved to") && told.stderr.contains("devcc.db.corrupt-1"), "{told:?}");
    assert_eq!(world.json(&["wp", "list"]).stderr, "");
}

#[test]
fn a_chain_that_is_known_to_be_broken_is_said_by_every_command() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    world.ok(&["wp", "create", "--title", "A", "--criterion", "c"]);
    assert_eq!(world.json(&["recorder", "verify"]).code, 0);
    let outcome = altered(&world, "denied");
    assert_eq!(world.json(&["recorder", "verify"]).code, 7);
    for words in [&["wp", "list"][..], &["wp", "create", "--title", "B", "--criterion", "c"], &["status"]] {
        let ran = world.json(words);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains("WARNING: the chain is broken at event 3"), "{words:?}: {ran:?}");
    }
    assert!(world.ok(&["status"])["integrity"].as_str().unwrap().contains("event 3"));
    // A command of several steps, the first of which already says it.
    let refused = world.json(&["ws", "close", "00000000"]);
    assert_eq!((refused.code_text().as_str(), refused.stderr.matches("WARNING").count()), ("HSK-404-WORKSPACE", 1), "{refused:?}");
    // Mended, and seen by a whole walk, it is not said any more.
    altered(&world, &outcome);
    assert_eq!(world.json(&["recorder", "verify"]).code, 0);
    assert_eq!(world.json(&["wp", "list"]).stderr, "");
}

#[test]
fn a_clock_that_went_back_is_said_in_one_line() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let file = world.path().join("clock");
    std::fs::write(&file, (2 * 86_400_000i64).to_string()).unwrap();
    let ahead = world.command().env("DCC_CLOCK_FILE", &file).args(["wp", "create", "--title", "A", "--criterion", "c"]).output().unwrap();
    assert!(ahead.status.success(), "{ahead:?}");
    let behind = world.json(&["doctor"]).json();
    let clock = |doctor: &serde_json::Value| doctor["items"].as_array().unwrap().iter().find(|c| c["name"] == "clock").unwrap().clone();
    assert_eq!(clock(&behind)["status"], "needs", "{behind}");
    let told = world.json(&["wp", "create", "--title", "B", "--criterion", "c"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(told.stderr.matches("the clock went back").count(), 1, "{told:?}");
    assert_eq!(world.json(&["wp", "create", "--title", "C", "--criterion", "c"]).stderr, "", "once for an episode");
    let evidence = clock(&world.json(&["doctor"]).json())["evidence"].clone();
    assert!(evidence.as_str().unwrap().contains("it went back by 17"), "{evidence}");
}
