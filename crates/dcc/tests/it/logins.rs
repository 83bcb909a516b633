//! An agent's own login: on a person's terminal, in its own home, and by nobody else.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use dcc_core::op::Op;
use dcc_engines::sandbox::Terminal;
use dcc_testkit::World;
use serde_json::json;

use crate::attach::Desk;
use crate::contract::assert_table;
use crate::{DCC, until};

/// Says where it is, asks, keeps what it got, and tries what a login has no business with.
const LOGIN: &str = "[agents.mine]\ncommand = [\"sh\"]\nlogin = [\"sh\", \"-c\", 'echo \"home is $HOME\"; test -t 0 && echo on a terminal; cat REPO/README.md; printf \"key: \"; read key; echo \"$key\" > $HOME/kept; echo thanks']\n";

/// A command on a terminal of its own; what it showed and how it ended. `answer` is typed when `question` shows.
fn at_a_terminal(world: &World, arguments: &[&str], question: &str, answer: &str) -> (String, i32) {
    let (mut ours, theirs) = Terminal::open().unwrap();
    let again = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = world.command();
    let mut child = command.args(arguments).stdin(again()).stdout(again()).stderr(again()).spawn().unwrap();
    // The command's own copies are the last: its end is the terminal's.
    drop((command, theirs));
    let mut shown = String::new();
    let mut is_answered = false;
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = ours.read(&mut chunk) {
        shown.push_str(&String::from_utf8_lossy(&chunk[..count]));
        if !is_answered && shown.contains(question) {
            ours.write_all(answer.as_bytes()).unwrap();
            is_answered = true;
        }
    }
    (shown, child.wait().unwrap().code().unwrap_or(-1))
}

fn logs_in(world: &World) {
    let (shown, code) = at_a_terminal(world, &["agent", "login", "mine"], "key: ", "geheim-4711\r");
    let home = world.path().join("state/dcc/agents/mine");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("home is {}", home.display())) && shown.contains("on a terminal") && shown.contains("thanks"), "{shown}");
    assert!(!shown.contains("# repo"), "it sees no repository: {shown}");
    assert_eq!(std::fs::read_to_string(home.join("kept")).unwrap(), "geheim-4711\n");
    let job = world.ok(&["job", "list", "--op", "agent.login"])["items"][0].clone();
    assert_eq!((job["state"].as_str(), job["exit_code"].as_i64()), (Some("completed"), Some(0)), "{job}");
    std::fs::remove_file(home.join("kept")).unwrap();
}

#[test]
fn a_login_runs_on_the_persons_terminal_and_nothing_of_it_is_kept() {
    let world = World::new(DCC);
    world.configure(&LOGIN.replace("REPO", &world.repo().display().to_string()));
    world.ok(&["init"]);
    logs_in(&world);
    let server = world.serve();
    logs_in(&world);
    assert_table(&world, Op::AgentLogin);
    drop(server);
    for found in walk(&world.state_dir()) {
        let bytes = std::fs::read(&found).unwrap();
        assert!(!bytes.windows(11).any(|w| w == b"geheim-4711"), "{} holds what was typed", found.display());
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.into_iter().flat_map(|path| if path.is_dir() { walk(&path) } else if path.is_file() { vec![path] } else { Vec::new() }).collect()
}

#[test]
fn without_a_terminal_nobody_logs_an_agent_in() {
    let world = World::new(DCC);
    world.configure(&LOGIN.replace("REPO", "/nowhere"));
    world.ok(&["init"]);
    let piped = world.json(&["agent", "login", "mine"]);
    assert_eq!((piped.code, piped.code_text().as_str()), (3, "HSK-403-SAME-TURN-CONSENT"), "{piped:?}");
    let server = world.serve();
    let (ours, theirs) = Terminal::open().unwrap();
    let params = json!({ "agent": "mine", "terminal": "/dev/pts/0" });
    for http in [server.http.clone(), server.http.browser()] {
        let refused = http.submit("agent.login", json!({}), params.clone()).json();
        assert_eq!(refused["failure"]["code"], "HSK-403-SAME-TURN-CONSENT", "{refused}");
    }
    drop((ours, theirs));
    assert!(!world.path().join("state/dcc/agents/mine").exists(), "nothing ran");
}

#[test]
fn the_login_state_is_told_where_a_file_tells_it() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let state = |name: &str| world.ok(&["agent", "login", name, "--status"])["login"].as_str().unwrap().to_owned();
    assert_eq!((state("claude").as_str(), state("copilot").as_str(), state("scripted").as_str()), ("none_stored", "unknown", "not_needed"));
    let kept = world.path().join("state/dcc/agents/claude/.claude/.credentials.json");
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::write(&kept, "{\"token\": \"geheim-4711\"}").unwrap();
    assert_eq!(state("claude"), "stored");
    let listed = world.ok(&["agent", "list"]);
    let claude = listed["items"].as_array().unwrap().iter().find(|a| a["name"] == "claude").unwrap().clone();
    assert!(claude["login"] == "stored" && !listed.to_string().contains("geheim"), "{claude}");
    let server = world.serve();
    let health = until("the health page's data", || Some(server.http.get("/api/v1/health")));
    let claude = health["agents"].as_array().unwrap().iter().find(|a| a["name"] == "claude").unwrap().clone();
    assert_eq!(claude["login"], "stored", "{claude}");
    assert_eq!(world.json(&["agent", "login", "nobody", "--status"]).code, 6);
}

#[test]
fn a_login_follows_the_size_of_the_terminal_and_gives_it_back() {
    let world = World::new(DCC);
    world.configure("[agents.mine]\ncommand = [\"sh\"]\nlogin = [\"sh\", \"-c\", 'echo at $(stty size); until [ \"$(stty size)\" = \"40 100\" ]; do sleep 0.05; done; echo followed; read key; echo got $key']\n");
    world.ok(&["init"]);
    let mut desk = Desk::new(&world, 30, 90, &["agent", "login", "mine"]);
    desk.sees("at 30 90");
    desk.resize(40, 100);
    desk.sees("followed");
    desk.press(b"x\r");
    desk.sees("got x");
    assert!(desk.ends().success());

    // Ended from outside while it asks: the terminal is a person's again, and the program has gone with it.
    let mut desk = Desk::new(&world, 40, 100, &["agent", "login", "mine"]);
    desk.sees("followed");
    desk.terminate();
    assert_eq!(desk.ends().code(), Some(143));
    until("no login left", || world.ok(&["job", "list", "--op", "agent.login"])["items"].as_array().unwrap().iter().all(|job| job["state"] != "running").then_some(()));
}
