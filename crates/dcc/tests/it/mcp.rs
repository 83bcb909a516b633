//! DCC's tools for agents, from outside: the slice as an agent walks it, and what an agent must not get by them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, pending, session_state, started_packet, until};

const HANDOUT: &str = "handout.json";

/// A session of the scripted agent that plays this script.
pub struct Played {
    pub world: World,
    pub wp: String,
    pub ws: String,
    pub path: PathBuf,
    pub session: String,
}

/// A project with agents that play these scripts, by their names.
fn world_with(scripts: &[(&str, &Value)]) -> World {
    let world = World::new(DCC);
    let mut config = "[recipes.fine]\nargv = [\"sh\", \"-c\", \"echo fine\"]\n".to_owned();
    for (name, script) in scripts {
        let file = world.path().join(format!("{name}.json"));
        std::fs::write(&file, script.to_string()).unwrap();
        config.push_str(&format!("[agents.{name}]\ncommand = [{DCC:?}, \"scripted-agent\", {file:?}]\nread_paths = [{file:?}]\nask_mode = \"default\"\n"));
    }
    world.configure(&config);
    world.ok(&["init"]);
    world
}

/// The agent `player` plays this script.
pub fn play(script: &Value) -> Played {
    play_beside(script, &[])
}

/// With other agents in the configuration.
pub fn play_beside(script: &Value, others: &[(&str, &Value)]) -> Played {
    let world = world_with(&[&[("player", script)], others].concat());
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let started = world.ok(&["session", "start", "--ws", &ws, "--agent", "player", "--mt", "MT-001", "--prompt", "Do as the script says."]);
    let session = started["session_id"].as_str().unwrap().to_owned();
    Played { world, wp, ws, path, session }
}

/// An agent that gives away what it was handed, and then waits for further prompts.
pub fn leaking() -> Value {
    json!({ "name": "leaks", "turns": [{ "steps": [{ "leak_handout": HANDOUT }, { "wait_for": "cancel" }] }] })
}

/// What it was handed: port, token, and the whole of it.
pub fn handout(path: &Path) -> (u16, String, Value) {
    let handed: Value = until("the handout", || serde_json::from_str(&std::fs::read_to_string(path.join(HANDOUT)).ok()?).ok());
    let variable = |name: &str| {
        let found = handed[0]["env"].as_array().unwrap().iter().find(|v| v["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {handed}"))["value"].as_str().unwrap().to_owned()
    };
    let port = variable("DCC_MCP_ADDR").rsplit(':').next().unwrap().parse().unwrap();
    (port, variable("DCC_MCP_TOKEN"), handed)
}

/// One request by hand; status and JSON.
pub fn http(port: u16, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap_or_default()).unwrap_or(Value::Null))
}

pub fn call(port: u16, token: &str, tool: &str, arguments: Value) -> (u16, Value) {
    http(port, "POST", &format!("/mcp/v1/tools/{tool}"), token, &arguments.to_string())
}

fn rows(world: &World, session: &str) -> Vec<Value> {
    let timeline = world.ok(&["timeline", "--session", session]);
    timeline["items"].as_array().unwrap().iter().filter(|e| e["payload"]["tool"].is_object()).cloned().collect()
}

#[test]
fn an_agent_walks_the_slice_and_a_person_decides() {
    let script = json!({ "name": "commits by its tools", "turns": [{ "steps": [
        { "mcp": { "tool": "locus_get_wp" } },
        { "mcp": { "tool": "context_search", "args": { "q": "bee" } } },
        { "mcp": { "tool": "locus_start_mt", "args": { "mt_id": "MT-001" } } },
        { "write_unasked": { "path": "src/greeting.txt", "text": "hello\n" } },
        { "mcp": { "tool": "version_diff" } },
        { "mcp": { "tool": "version_commit", "args": { "paths": ["src/greeting.txt"], "message": "Say hello", "wait_ms": 1000 }, "wait": true } },
        { "mcp": { "tool": "locus_add_note", "args": { "body": "The greeting is committed." } } },
        { "say": "Done." },
    ] }] });
    let Played { world, wp, path, session, .. } = play(&script);
    let approval = until("the agent's request", || pending(&world));
    assert_eq!(session_state(&world, &session), ("BLOCKED".to_owned(), "approval_wait".to_owned()));
    let shown = world.ok(&["approvals", "show", &approval]);
    assert_eq!(shown["requester"]["principal"], "agent", "{shown}");
    let done = world.ok(&["approvals", "approve", &approval]);
    let oid = done["commit_oid"].as_str().unwrap_or_else(|| panic!("{done}"));
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]).trim(), oid);
    let message = world.git_in(&path, &["log", "-1", "--format=%B"]);
    assert!(message.contains(&format!("DCC-Session: {session}")), "{message}");
    until("the end of the turn", || (session_state(&world, &session).1 == "input_wait").then_some(()));

    // The commit is a child of the turn, asked for by the agent.
    let job = world.ok(&["job", "show", done["job_id"].as_str().unwrap()]);
    assert_eq!((&job["actor"]["principal"], &job["actor"]["session_id"]), (&json!("agent"), &json!(session)));
    let turn = world.ok(&["job", "show", job["parent_job_id"].as_str().unwrap()]);
    assert_eq!((turn["op"].as_str(), turn["state"].as_str()), (Some("session.run"), Some("completed")));
    // Every call stands in the ledger as gated and ended well.
    let packet = world.ok(&["wp", "show", &wp]);
    assert_eq!(packet["micro_tasks"][0]["status"], "in_progress");
    assert!(packet["notes"].as_array().unwrap().iter().any(|n| n["body"] == "The greeting is committed." && n["author"] == session.as_str()), "{packet}");
    let events = rows(&world, &session);
    for tool in ["locus.get_wp", "context.search", "locus.start_mt", "version.diff", "version.commit", "locus.add_note"] {
        let ended = events.iter().any(|e| e["payload"]["tool"]["title"] == tool && e["payload"]["observed"] == "gated" && e["payload"]["tool"]["status"] == "ok");
        assert!(ended, "{tool} has no ended row: {events:#?}");
    }
    // The person's words stay the person's; DCC's stand before them as DCC's.
    let timeline = world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-SESS-004"]);
    let said: Vec<(&str, &str, &str)> =
        timeline["items"].as_array().unwrap().iter().map(|e| (e["payload"]["role"].as_str().unwrap(), e["actor_kind"].as_str().unwrap(), e["payload"]["text"].as_str().unwrap())).collect();
    assert_eq!((said[0].0, said[0].1), ("system", "system"), "{said:?}");
    assert!(said[0].2.contains("version_commit") && said[0].2.contains(&wp), "{said:?}");
    assert_eq!(said[1], ("user", "human", "Do as the script says."));
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_denied_request_is_told_with_its_reason_and_not_asked_again() {
    let ask = json!({ "mcp": { "tool": "version_commit", "args": { "paths": ["src/greeting.txt"], "message": "Say hello", "wait_ms": 1000 }, "wait": true } });
    let script = json!({ "turns": [{ "steps": [{ "write_unasked": { "path": "src/greeting.txt", "text": "hello\n" } }, ask, ask, { "wait_for": "cancel" }] }] });
    let Played { world, path, session, .. } = play(&script);
    let head = world.git_in(&path, &["rev-parse", "HEAD"]);
    let approval = until("the agent's request", || pending(&world));
    world.json(&["approvals", "deny", &approval, "--reason", "not this greeting"]);
    let denied = until("both answers", || {
        let rows: Vec<Value> = rows(&world, &session).into_iter().filter(|e| e["payload"]["tool"]["title"] == "version.commit" && e["payload"]["tool"]["status"] == "denied").collect();
        (rows.len() == 2).then_some(rows)
    });
    for row in denied {
        assert!(row["payload"]["tool"]["raw_output"].to_string().contains("not this greeting"), "{row}");
    }
    assert_eq!(pending(&world), None, "the same plan is not asked twice");
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]), head);
    world.ok(&["session", "cancel", &session]);
}

#[test]
fn a_request_outlives_the_turn_and_is_withdrawn_with_the_agent() {
    let script = json!({ "turns": [{ "steps": [
        { "write_unasked": { "path": "src/greeting.txt", "text": "hello\n" } },
        { "mcp": { "tool": "version_commit", "args": { "paths": ["src/greeting.txt"], "message": "Say hello", "wait_ms": 0 } } },
    ] }] });
    let Played { world, session, .. } = play(&script);
    until("the end of the turn", || (session_state(&world, &session).1 == "input_wait").then_some(()));
    let approval = pending(&world).expect("a commit stands by itself and goes on waiting");
    world.ok(&["session", "cancel", &session]);
    assert_eq!(pending(&world), None);
    let shown = world.ok(&["approvals", "show", &approval]);
    assert_eq!(shown["status"], "cancelled", "{shown}");
    until("the end of the call's row, with its request", || {
        rows(&world, &session).into_iter().find(|e| e["payload"]["tool"]["title"] == "version.commit" && e["payload"]["tool"]["status"] == "cancelled")
    });
}

#[test]
fn an_agent_decides_nothing_with_its_token() {
    let Played { world, wp, ws, path, session } = play(&leaking());
    let (port, token, _) = handout(&path);
    // The operator has a request of his own pending, which the agent would like to decide.
    std::fs::write(path.join("src/x.txt"), "x\n").unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", &ws, "-m", "x", "src/x.txt"]).json();
    let (approval, job) = (parked["approval_id"].as_str().unwrap(), parked["job_id"].as_str().unwrap());
    for tool in ["approval_decide", "approvals_approve", "grant_revoke", "policy_set", "session_start", "session_send", "session_cancel", "locus_complete_mt", "locus_close_wp", "fs_write"] {
        assert_eq!(call(port, &token, tool, json!({})).0, 404, "{tool}");
    }
    for address in [format!("/api/v1/approvals/{approval}/decision"), format!("/api/v1/approvals/{approval}/presentation"), "/api/v1/jobs".to_owned(), "/board".to_owned()] {
        assert_eq!(http(port, "POST", &address, &token, "{}").0, 404, "{address}");
    }
    // The operator's own door does not know the token, over TCP or over the socket.
    let base = world.ok(&["up", "--detach"])["url"].as_str().unwrap().to_owned();
    let main: u16 = base.trim_start_matches("http://127.0.0.1:").split('/').next().unwrap().parse().unwrap();
    assert_ne!(main, port);
    for (method, address) in [("GET", "/api/v1/approvals"), ("POST", "/api/v1/jobs"), ("GET", "/mcp/v1/tools")] {
        // What is no address of the API leads to the sign-in page.
        let status = http(main, method, address, &token, "{}").0;
        assert!(matches!(status, 401 | 303), "{address}: {status}");
    }
    // Another's job is none; another's packet and workspace cannot even be named.
    assert_eq!(call(port, &token, "job_get", json!({ "job_id": job })).1["code"], "HSK-404-JOB");
    for (tool, arguments) in [
        ("version_status", json!({ "workspace_id": ws })),
        ("locus_get_wp", json!({ "wp_id": wp })),
        ("context_search", json!({ "q": "x", "workspace_id": ws })),
    ] {
        assert_eq!(call(port, &token, tool, arguments).1["code"], "HSK-400-INVALID-INPUT", "{tool}");
    }
    let (_, refused) = call(port, &token, "locus_add_note", json!({ "body": "x", "wp_id": "WP-0002" }));
    assert_eq!(refused["result"]["failure"]["code"], "HSK-400-INVALID-INPUT", "{refused}");
    for outside in ["../repo/README.md", "/etc/passwd", "src/../../x", &format!("{}/.handshake/recorder.db", world.repo().display())] {
        assert_eq!(call(port, &token, "context_open_ref", json!({ "path": outside })).1["code"], "HSK-403-SCOPE", "{outside}");
    }
    std::fs::write(path.join(".env"), "API=needle-in-env\n").unwrap();
    assert_eq!(call(port, &token, "context_open_ref", json!({ "path": ".env" })).1["code"], "HSK-403-SCOPE");
    assert_eq!(call(port, &token, "version_diff", json!({ "path": ".env" })).1["code"], "HSK-403-SCOPE");
    assert_eq!(call(port, &token, "context_search", json!({ "q": "needle-in-env" })).1["result"]["items"], json!([]));
    let (_, not_built) = call(port, &token, "version_restore", json!({}));
    assert_eq!(not_built["code"], "HSK-501-NOT-BUILT");
    // None of it moved the operator's request.
    assert_eq!(world.ok(&["approvals", "show", approval])["status"], "pending");
    // The token ends with the session.
    assert_eq!(call(port, &token, "version_status", json!({})).0, 200);
    world.ok(&["session", "cancel", &session]);
    assert_eq!(call(port, &token, "version_status", json!({})).0, 401);
}

#[test]
fn sessions_do_not_reach_each_other() {
    let Played { world, wp, path, session, .. } = play(&leaking());
    let (port, token, _) = handout(&path);
    let second_wp = started_packet(&world);
    let (second_ws, second_path) = approved_worktree(&world, &second_wp);
    world.ok(&["session", "start", "--ws", &second_ws, "--agent", "player", "--prompt", "go"]);
    let (second_port, second_token, _) = handout(&second_path);
    assert_eq!((port, token == second_token), (second_port, false));
    std::fs::write(path.join("only-here.txt"), "first\n").unwrap();
    let paths = |token: &str| call(port, token, "version_status", json!({})).1["result"]["entries"].to_string();
    assert!(paths(&token).contains("only-here.txt") && !paths(&second_token).contains("only-here.txt"));
    assert_eq!(call(port, &token, "locus_get_wp", json!({})).1["result"]["wp_id"], wp.as_str());
    assert_eq!(call(port, &second_token, "locus_get_wp", json!({})).1["result"]["wp_id"], second_wp.as_str());
    // A job of one is nothing to the other.
    let asked = call(port, &token, "version_commit", json!({ "paths": ["only-here.txt"], "message": "m", "wait_ms": 0 })).1;
    assert_eq!(asked["result"]["state"], "awaiting_user", "{asked}");
    let job = asked["result"]["job_id"].clone();
    assert_eq!(call(port, &second_token, "job_get", json!({ "job_id": job, "wait_ms": 0 })).1["code"], "HSK-404-JOB");
    assert_eq!(call(port, &token, "job_get", json!({ "job_id": job, "wait_ms": 0 })).1["result"]["state"], "awaiting_user");
    // Asked twice, it waits once.
    let again = call(port, &token, "version_commit", json!({ "paths": ["only-here.txt"], "message": "m", "wait_ms": 0 })).1;
    assert_eq!(again["result"]["job_id"], job);
    world.ok(&["session", "cancel", &session]);
    assert_eq!(call(port, &second_token, "version_status", json!({})).0, 200, "the other session goes on");
}

#[test]
fn the_token_is_kept_nowhere() {
    let Played { world, path, session, .. } = play(&leaking());
    let (port, token, handed) = handout(&path);
    assert_eq!(token.len(), 64);
    assert!(!handed[0]["args"].to_string().contains(&token));
    // An agent that tells it: the note is kept, the token is not.
    let told = call(port, &token, "locus_add_note", json!({ "body": format!("my token is {token}") })).1;
    assert_eq!(told["result"]["state"], "completed", "{told}");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&token), "{line:?}");
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains(&token), "the environment of {:?} holds the token", entry.path());
    }
    std::fs::remove_file(path.join(HANDOUT)).unwrap();
    world.ok(&["session", "cancel", &session]);
    world.ok(&["up", "--stop"]);
    let mut seen = 0;
    holds_nowhere(world.path(), token.as_bytes(), &mut seen);
    assert!(seen > 20, "only {seen} files were looked at");
}

fn holds_nowhere(directory: &Path, needle: &[u8], seen: &mut usize) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holds_nowhere(&entry.path(), needle, seen);
        } else if kind.is_file() {
            *seen += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{} holds the token", entry.path().display());
        }
    }
}

#[test]
fn from_inside_the_sandbox_only_the_tools_answer() {
    let attack = |argv: Value| json!({ "run": { "argv": argv } });
    let script = json!({ "turns": [{ "steps": [
        attack(json!([DCC, "--json", "approvals", "list"])),
        attack(json!([DCC, "--json", "-C", ".", "up", "--detach"])),
        attack(json!(["sh", "-c", "git commit --allow-empty -m escaped; echo code $?"])),
        // Any other port of this machine, the operator's among them.
        attack(json!(["bash", "-c", "for f in /proc/net/tcp; do cat $f > /dev/null; done; for port in $(awk 'NR>1 && $4==\"0A\" {split($2,a,\":\"); print a[2]}' /proc/net/tcp); do n=$((16#$port)); (exec 3<>/dev/tcp/127.0.0.1/$n) 2>/dev/null && echo open $n; done; true"])),
        { "mcp": { "tool": "version_status" } },
        { "leak_handout": HANDOUT },
    ] }] });
    let Played { world, path, session, .. } = play(&script);
    let (port, _, _) = handout(&path);
    until("the end of the turn", || (session_state(&world, &session).1 == "input_wait").then_some(()));
    let outputs: Vec<String> = rows(&world, &session).iter().filter(|e| e["payload"]["tool"]["kind"] == "execute" && e["code"] == "FR-EVT-TOOL-003").map(|e| e["payload"]["tool"]["raw_output"].to_string()).collect();
    assert_eq!(outputs.len(), 4, "{outputs:#?}");
    assert!(outputs[0].contains("error") && !outputs[0].contains("items"), "{outputs:#?}");
    assert!(outputs[1].contains("error"), "{outputs:#?}");
    assert!(!outputs[2].contains("code 0"), "{outputs:#?}");
    let open: Vec<&str> = outputs[3].split("open ").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap()).collect();
    assert!(!open.is_empty() && open.iter().all(|n| *n == port.to_string()), "the tools' port and no other is open: {outputs:#?}");
    assert!(rows(&world, &session).iter().any(|e| e["payload"]["tool"]["title"] == "version.status" && e["payload"]["tool"]["status"] == "ok"));
}
