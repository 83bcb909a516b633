//! Plain commands in a pseudo-terminal, and sessions of a person.

use dcc_testkit::World;

use crate::{DCC, approved_worktree, session_state, started_packet, until};

#[test]
fn a_plain_command_is_typed_into_watched_and_rests_when_it_ends() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--", "sh", "-c", "printf '\\033[31mready\\033[0m\\n'; read line; echo \"$line\" > typed.txt; git commit --allow-empty -qm x; printf 'API_TOKEN=hunter2\\033[0mhunter2hunter2 \\377\n'; echo over"]);
    let session = started["session_id"].as_str().unwrap().to_owned();
    assert_eq!(world.ok(&["session", "show", &session])["capabilities"]["driver"], "pty");
    let shown = until("its first line", || {
        let shown = world.ok(&["session", "attach", &session]);
        let text = String::from_utf8(dcc_core::path::unbase64(shown["b64"].as_str().unwrap()).unwrap()).unwrap();
        text.contains("ready").then_some(text)
    });
    assert!(shown.contains('\u{1b}'), "the bytes are the terminal's own: {shown:?}");
    world.ok(&["session", "send", &session, "hello there"]);
    until("its end", || (session_state(&world, &session) == ("BLOCKED".to_owned(), "review_wait".to_owned())).then_some(()));
    assert_eq!(std::fs::read_to_string(path.join("typed.txt")).unwrap(), "hello there\n");
    assert_eq!(world.git_in(&path, &["log", "-1", "--format=%s"]).trim(), world.git(&["log", "-1", "--format=%s"]).trim(), "it cannot commit");
    let gone = world.json(&["session", "attach", &session]);
    assert_eq!((gone.code, gone.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{gone:?}");
    let updates = world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-SESS-006"]);
    let transcript = updates["items"].as_array().unwrap().iter().find(|e| e["payload"]["kind"] == "attachment").expect("a transcript");
    assert_eq!(transcript["payload"]["attachment"]["name"], "terminal output");
    let sha256 = transcript["payload"]["attachment"]["sha256"].as_str().unwrap();
    let kept = std::fs::read_to_string(world.state_dir().join(format!("artifacts/sha256/{}/{}", &sha256[..2], &sha256[2..]))).unwrap();
    assert!(kept.contains("ready") && !kept.contains('\u{1b}'), "{kept:?}");
    assert!(!kept.contains("hunter2hunter2hunter2"), "a secret is found in spite of a colour and a stray byte: {kept:?}");
    assert_eq!(world.ok(&["session", "close", &session, "--waive", "a trial"])["state"], "completed");
    assert_eq!(session_state(&world, &session).0, "COMPLETED");
}

#[test]
fn a_command_that_fails_says_how() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--", "sh", "-c", "echo no such model; exit 4"]);
    let session = started["session_id"].as_str().unwrap().to_owned();
    until("its end", || (session_state(&world, &session) == ("FAILED".to_owned(), "agent_exit".to_owned())).then_some(()));
    let fault = world.ok(&["session", "show", &session])["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("exit code 4") && fault.contains("no such model"), "{fault}");
}

#[test]
fn a_shell_that_its_person_leaves_rests_whatever_its_last_command_said() {
    let world = World::new(DCC);
    world.ok(&["up", "--detach"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let session = world.ok(&["session", "start", "--ws", &ws, "--", "sh"])["session_id"].as_str().unwrap().to_owned();
    until("an open terminal", || (session_state(&world, &session) == ("BLOCKED".to_owned(), "input_wait".to_owned())).then_some(()));
    let mut desk = crate::attach::Desk::attach(&world, 24, 80, &session);
    desk.press(b"echo re''ady; (exit 130)\r");
    desk.sees("ready");
    desk.press(b"exit\r");
    until("its end", || (session_state(&world, &session).1 != "input_wait").then_some(()));
    assert_eq!(session_state(&world, &session), ("BLOCKED".to_owned(), "review_wait".to_owned()));
    assert_eq!(world.ok(&["session", "show", &session])["fault"], "the command ended with exit code 130");
}

#[test]
fn a_person_claims_a_worktree_without_a_process() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--human"]);
    let session = started["session_id"].as_str().unwrap().to_owned();
    let shown = world.ok(&["session", "show", &session]);
    assert_eq!((shown["role"].as_str(), shown["process"].is_null(), shown["capabilities"]["driver"].as_str()), (Some("human"), true, Some("human")));
    // Another process takes the project up: a person's session has nothing that could have crashed.
    assert_eq!(session_state(&world, &session), ("BLOCKED".to_owned(), "input_wait".to_owned()));
    let closing = world.json(&["ws", "archive", &ws]);
    assert_eq!(closing.code, 5, "the worktree is taken: {closing:?}");
    std::fs::write(path.join("src/a.txt"), "by hand\n").unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "By hand", "src/a.txt"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    let governed = |at: usize| world.ok(&["vcs", "log", "--ws", &ws])["items"][at]["governed"].clone();
    assert_eq!(governed(0), true);
    world.git_in(&path, &["commit", "--allow-empty", "-qm", "past DCC"]);
    assert_eq!((governed(0), governed(1)), (false.into(), true.into()), "what he commits without DCC shows as that");
    assert_eq!(world.json(&["session", "attach", &session]).code, 5, "there is no process to attach to");
    world.ok(&["session", "close", &session, "--waive", "done by hand"]);
    assert_eq!(session_state(&world, &session).0, "COMPLETED");
}
