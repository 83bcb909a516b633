//! Bad input ends in a clear message with a stable code, and nothing is lost.

use dcc_testkit::World;

use crate::{DCC, approved_worktree, started_packet};

#[test]
fn places_that_are_no_project_say_so() {
    let world = World::empty(DCC);
    let ran = world.json(&["status"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (1, "VCS_REPO_INVALID"), "{ran:?}");
    world.git(&["init", "--quiet", "--initial-branch=main"]);
    let ran = world.json(&["status"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (6, "HSK-404-NOT-FOUND"), "{ran:?}");
    world.git_in(world.path(), &["init", "--quiet", "--bare", "bare.git"]);
    let bare = world.json(&["-C", world.path().join("bare.git").to_str().unwrap(), "init"]);
    assert_eq!((bare.code, bare.code_text().as_str()), (1, "VCS_REPO_INVALID"), "{bare:?}");
    assert!(!world.path().join("bare.git/.handshake").exists());
}

#[test]
fn an_unborn_branch_can_be_a_project_but_gives_no_worktree() {
    let world = World::empty(DCC);
    world.git(&["init", "--quiet", "--initial-branch=main"]);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let ran = world.json(&["ws", "create", "--wp", &wp]);
    assert_ne!(ran.code, 0);
    assert_eq!(ran.code_text(), "VCS_REPO_INVALID", "{ran:?}");
    assert!(ran.stdout.contains("the repository has no commit yet"), "{ran:?}");
}

#[test]
fn misuse_is_exit_two_and_unknown_things_are_exit_six() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    assert_eq!(world.json(&["wp", "create"]).code, 2);
    assert_eq!(world.json(&["frobnicate"]).code, 2);
    let ran = world.json(&["wp", "show", "WP-9999"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (6, "HSK-404-WP"));
    let ran = world.json(&["wp", "show", "nonsense"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (2, "HSK-400-INVALID-INPUT"));
    world.ok(&["wp", "create", "--title", "First"]);
    for short in ["1", "wp-1", "WP-0001", "wp-0001"] {
        assert_eq!(world.ok(&["wp", "show", short])["wp_id"], "WP-0001", "{short}");
    }
    let ran = world.json(&["anchor", "list"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (1, "HSK-501-NOT-BUILT"));
    // Planned verbs say so by their name, wherever --json stands.
    for words in [&["vcs", "stash", "--ws", "x"][..], &["ws", "prune"], &["board", "import", "f"], &["wp", "import", "f"], &["backup", "d"], &["policy", "show"]] {
        let mut behind = words.to_vec();
        behind.push("--json");
        for ran in [world.json(words), world.dcc(&behind)] {
            assert_eq!((ran.code, ran.code_text().as_str()), (1, "HSK-501-NOT-BUILT"), "{words:?}: {ran:?}");
            assert!(ran.stdout.contains(&format!("dcc {}", words[0])), "{ran:?}");
        }
        assert!(world.dcc(words).stderr.contains("HSK-501-NOT-BUILT"), "{words:?}");
    }
    let wp = world.ok(&["wp", "create", "--title", "T"])["wp_id"].as_str().unwrap().to_owned();
    let ran = world.json(&["wp", "start", &wp]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{ran:?}");
    let again = world.json(&["wp", "create", "--title", "T", "--id", &wp.to_lowercase().replace("wp-", "WP-")]);
    assert_ne!(again.code, 0, "{again:?}");
}

/// What is missing is named with every alternative, to a person and to a machine.
#[test]
fn misuse_names_every_alternative() {
    let world = World::empty(DCC);
    let cases: [(&[&str], &[&str]); 15] = [
        (&["mt", "done", "WP-1", "MT-001"], &["--job", "--statement"]),
        (&["session", "start", "--ws", "w"], &["--agent", "--human", "COMMAND"]),
        (&["session", "spawn", "s"], &["--agent", "--human", "COMMAND"]),
        (&["session", "send", "s"], &["TEXT", "--message"]),
        (&["session", "send", "s", "--message", "m"], &["--edit", "--remove", "--move", "--now"]),
        (&["session", "send", "s", "--edit", "x"], &["TEXT", "--message"]),
        (&["session", "close", "s", "--handoff", "f", "--waive", "r"], &["--handoff", "--waive"]),
        (&["handoff", "write", "--file", "f"], &["--session", "--wp"]),
        (&["vcs", "commit", "--ws", "w", "a.txt"], &["--message", "--file"]),
        (&["vcs", "commit", "--ws", "w", "-m", "m"], &["PATHS", "--paths-from0"]),
        (&["run", "--ws", "w"], &["RECIPE", "COMMAND"]),
        (&["budget", "set"], &["--max-tokens", "--max-cost", "--max-wall", "--clear"]),
        (&["approvals", "approve", "a", "--scope", "ever"], &["once", "job", "session", "workspace"]),
        (&["wp", "gate", "WP-1", "lunch", "pass"], &["pre_work", "post_work"]),
        (&["session"], &["start", "close", "route"]),
    ];
    for (words, names) in cases {
        let person = world.dcc(words);
        let machine = world.json(words);
        assert_eq!((person.code, machine.code), (2, 2), "{words:?}: {person:?}");
        assert_eq!(machine.code_text(), "HSK-400-INVALID-INPUT", "{words:?}");
        let failure = &machine.json()["error"];
        let said = format!("{} {}", failure["message"], failure["hint"]);
        for name in names {
            assert!(person.stderr.contains(name), "{words:?} names no {name}: {}", person.stderr);
            assert!(said.contains(name), "{words:?} --json names no {name}: {said}");
        }
        assert!(failure["hint"].as_str().is_some_and(|hint| hint.contains("dcc ")), "{words:?}: {failure}");
    }
}

#[test]
fn odd_names_survive_the_whole_way() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let names = ["-rf", ":(glob)*", "with space", "new\nline", "üñí"];
    for name in names {
        std::fs::write(path.join(name), "x\n").unwrap();
    }
    let mut arguments = vec!["vcs", "commit", "--ws", &ws, "-m", "Odd names", "--"];
    arguments.extend(names);
    let parked = world.json(&arguments).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().expect("parked")]);
    let listed = world.git_in(&path, &["show", "--name-only", "--format=", "-z", "HEAD"]);
    let mut got: Vec<&str> = listed.split('\0').filter(|n| !n.is_empty()).collect();
    got.sort_unstable();
    let mut want = names.to_vec();
    want.sort_unstable();
    assert_eq!(got, want);
    // A name that is no text is shown as one on a terminal and whole to a machine.
    std::fs::write(path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"n\xff")), "x\n").unwrap();
    let shown = world.dcc(&["vcs", "status", "--ws", &ws]).stdout;
    assert!(shown.contains("?? n") && !shown.contains("b64"), "{shown}");
    assert_eq!(world.ok(&["vcs", "status", "--ws", &ws])["entries"][0]["path"]["b64"], "bv8=");
    for bad in ["../x", "/etc/passwd", ".git/config"] {
        let ran = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Bad", "--", bad]);
        assert_eq!((ran.code, ran.code_text().as_str()), (2, "VCS_PATH_DENIED"), "{bad}: {ran:?}");
    }
}

#[test]
fn a_worktree_that_went_away_is_named_and_left_alone() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let aside = world.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let before = world.snapshot();
    assert_eq!(world.ok(&["ws", "show", &ws])["health"], "missing");
    let ran = world.json(&["vcs", "status", "--ws", &ws]);
    assert_ne!(ran.code, 0);
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
    std::fs::rename(&aside, &path).unwrap();
    // The registration is lost while edits are uncommitted: touch nothing.
    std::fs::write(path.join("src/a.txt"), "precious\n").unwrap();
    let name = std::fs::read_dir(world.repo().join(".git/worktrees")).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&name, world.path().join("registration")).unwrap();
    assert_eq!(world.ok(&["ws", "show", &ws])["health"], "registration_lost");
    assert_eq!(std::fs::read_to_string(path.join("src/a.txt")).unwrap(), "precious\n");
}

#[test]
fn a_packet_edited_by_hand_is_drift_and_not_swallowed() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = world.state_dir().join(format!("gov/work_packets/{wp}/packet.json"));
    std::fs::write(&file, "{ half").unwrap();
    let shown = world.ok(&["wp", "show", &wp]);
    assert_eq!(shown["status"], "in_progress", "gates go on with the last accepted version");
    assert!(shown["drift"].is_string(), "{shown}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ half", "a read does not overwrite it");
}

#[test]
fn a_misspelt_configuration_is_refused_with_its_line() {
    let world = World::new(DCC);
    world.configure("[recipes.x]\nargv = [\"true\"]\nwrties = true\n");
    let ran = world.json(&["init"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (2, "HSK-400-INVALID-INPUT"), "{ran:?}");
}

#[test]
fn a_server_that_runs_says_that_it_read_its_configuration_before() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let _server = world.serve();
    world.configure("[agents.mine]\ncommand = [\"true\"]\n[recipes.mine]\nargv = [\"true\"]\n");
    for words in [&["session", "start", "--ws", &ws, "--agent", "mine"][..], &["run", "--ws", &ws, "mine"]] {
        let ran = world.json(words);
        assert!(ran.code == 6 && ran.stdout.contains("a server that runs read"), "{words:?}: {ran:?}");
    }
}

#[test]
fn a_micro_task_is_shown_in_lines() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let shown = world.dcc(&["mt", "show", &wp, "MT-001"]).stdout;
    assert!(shown.starts_with("mt  ") && shown.contains("Write it"), "{shown}");
    let parked = world.json(&["ws", "create", "--wp", &wp]).json();
    let approval = parked["approval_id"].as_str().unwrap();
    world.ok(&["approvals", "approve", approval]);
    let again = world.json(&["approvals", "approve", approval]);
    assert!(again.code_text() == "HSK-409-APPROVAL-CONSUMED" && again.stdout.contains("over the credential at"), "{again:?}");
}

#[test]
fn a_tracked_workspace_file_is_named_by_the_doctor() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let named = |status: &str| world.json(&["doctor"]).json()["items"].as_array().unwrap().iter().any(|c| c["name"] == "workspace.json" && c["status"] == status);
    assert!(named("ok"));
    let file = world.state_dir().join("workspace.json");
    let ours = std::fs::read_to_string(&file).unwrap();
    for odd in [ours.replace("@1.0", "@9.0"), "{".to_owned()] {
        std::fs::write(&file, &odd).unwrap();
        assert!(named("needs"), "{odd}");
        world.ok(&["status"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), odd, "what is not understood is not overwritten");
    }
    std::fs::write(&file, ours).unwrap();
    world.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{},.handshake/workspace.json", world.git(&["rev-parse", "HEAD:README.md"]).trim())]);
    assert!(named("needs"));
}

#[test]
fn a_merge_or_a_lock_in_the_way_is_named_and_left_alone() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/a.txt"), "mine\n").unwrap();
    let git_dir = std::fs::read_dir(world.repo().join(".git/worktrees")).unwrap().next().unwrap().unwrap().path();
    let commit = ["vcs", "commit", "--ws", ws.as_str(), "-m", "Mine", "src/a.txt"];
    std::fs::write(git_dir.join("MERGE_HEAD"), world.git(&["rev-parse", "HEAD"])).unwrap();
    let ran = world.json(&commit);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "VCS_CONFLICT"), "{ran:?}");
    std::fs::remove_file(git_dir.join("MERGE_HEAD")).unwrap();
    world.git_in(&path, &["checkout", "--quiet", "--detach"]);
    let ran = world.json(&commit);
    assert_ne!(ran.code, 0);
    assert_eq!(ran.code_text(), "VCS_REPO_INVALID", "{ran:?}");
    world.git_in(&path, &["checkout", "--quiet", "-"]);
    let parked = world.json(&commit).json();
    std::fs::write(git_dir.join("index.lock"), "").unwrap();
    let head = world.git_in(&path, &["rev-parse", "HEAD"]);
    let ran = world.json(&["approvals", "approve", parked["approval_id"].as_str().expect("parked")]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-423-LOCKED"), "{ran:?}");
    assert!(git_dir.join("index.lock").exists(), "a foreign lock is never removed");
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]), head);
}

#[test]
fn a_recorder_that_cannot_write_refuses_before_any_effect() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    started_packet(&world);
    let before = world.snapshot();
    // A newer schema is read, never written.
    let database = rusqlite::Connection::open(world.state_dir().join("recorder.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    let ran = world.json(&["wp", "create", "--title", "No"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (7, "HSK-500-RECORDER"), "{ran:?}");
    assert_eq!(before.difference(&world.snapshot()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_packet_file_that_nobody_accepted_is_not_covered_by_a_new_packet() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let file = world.state_dir().join("gov/work_packets/WP-0001/packet.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "somebody's only copy").unwrap();
    assert_eq!(world.ok(&["wp", "create", "--title", "New"])["wp_id"], "WP-0002");
    let ran = world.json(&["wp", "create", "--title", "New", "--id", "WP-0001"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-DRIFT"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's only copy");
    assert_eq!(world.ok(&["wp", "list"])["items"].as_array().unwrap().len(), 1);
}
