//! No secret is persisted (GOVERNANCE 8): secrets of known forms put in wherever a person or an agent can say something,
//! and then every file that DCC keeps, searched for them.

use std::path::Path;

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, pending, scripted, session_state, started_packet, until};

/// One of each form, with what must be found nowhere. None stands here in one piece, for scanners of repositories.
fn forms() -> Vec<(String, String)> {
    let key = "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R";
    let dashes = "-".repeat(5);
    let plain = |text: String| (text.clone(), text);
    vec![
        plain(format!("ghp_{key}")),
        plain(format!("AKIA{}", "IOSFODNN7CANARY1")),
        plain(format!("sk-ant-{key}")),
        (format!("{dashes}BEGIN PRIVATE KEY{dashes}\nMIIc4naryKey{key}\n{dashes}END PRIVATE KEY{dashes}"), "MIIc4naryKey".to_owned()),
        ("postgres://bob:c4naryPass@db/x".to_owned(), "c4naryPass".to_owned()),
        ("Authorization: Bearer c4naryBearer0123456789".to_owned(), "c4naryBearer0123456789".to_owned()),
        ("password=c4naryWord".to_owned(), "c4naryWord".to_owned()),
    ]
}

/// Everything that a surface may say in words, by operation: the text stands in every field that takes one.
fn every_text(wp: &str, ws: &str, session: &str, text: &str) -> Vec<(&'static str, Value, Value)> {
    let (packet, task) = (json!({ "wp_id": wp }), json!({ "wp_id": wp, "mt_id": "MT-001" }));
    let (place, talk) = (json!({ "workspace_id": ws }), json!({ "session_id": session }));
    let mut all = Vec::new();
    for field in ["title", "description", "phase", "assignee"] {
        all.push(("locus.update_wp", packet.clone(), json!({ "set": { field: text } })));
    }
    for field in ["labels", "acceptance_criteria", "in_scope_paths"] {
        all.push(("locus.update_wp", packet.clone(), json!({ "set": { field: ["plain", text] } })));
        all.push(("locus.create_wp", json!({}), json!({ "title": "plain", field: [text] })));
    }
    for field in ["title", "description"] {
        all.push(("locus.create_wp", json!({}), json!({ "title": "plain", field: text })));
    }
    for op in ["locus.block_wp", "locus.hold_wp", "locus.cancel_wp", "locus.delete_wp", "locus.reopen_wp", "locus.gate_wp", "locus.release_wp", "locus.unblock_wp"] {
        all.push((op, packet.clone(), json!({ "reason": text })));
    }
    for field in ["name", "scope"] {
        all.push(("locus.register_mts", packet.clone(), json!({ "micro_tasks": [{ "name": "plain", "done_criteria": ["c"], field: text }] })));
    }
    for op in ["locus.fail_mt", "locus.block_mt", "locus.skip_mt", "locus.reopen_mt"] {
        all.push((op, task.clone(), json!({ "reason": text })));
    }
    all.extend([
        ("locus.register_mts", packet.clone(), json!({ "micro_tasks": [{ "name": "plain", "done_criteria": [text], "files": { "modify": [text] } }] })),
        ("locus.complete_mt", task, json!({ "evidence": { "statement": text } })),
        ("locus.add_note", packet.clone(), json!({ "body": text })),
        ("workspace.create", packet.clone(), json!({ "branch": text })),
        ("session.start", place.clone(), json!({ "agent": "tester", "prompt": text })),
        ("session.start", place.clone(), json!({ "agent": "tester", "purpose": text })),
        ("session.start", place.clone(), json!({ "command": ["sh", "-c", text] })),
        ("session.send", talk.clone(), json!({ "text": text })),
        ("session.spawn", talk.clone(), json!({ "agent": "tester", "prompt": text })),
        ("session.retry", talk.clone(), json!({ "prompt": text })),
        ("session.cancel", talk.clone(), json!({ "reason": text })),
        ("session.pause", talk.clone(), json!({ "reason": text })),
        ("session.close", talk.clone(), json!({ "waive_reason": text })),
        ("session.close", talk.clone(), json!({ "handoff": { "done": [text], "remaining": ["x"] } })),
        ("handoff.write", talk, json!({ "handoff": { "done": ["x"], "remaining": [text] } })),
        ("version.commit", place.clone(), json!({ "paths": ["src/a.txt"], "message": text })),
        ("sandbox.run_command", place.clone(), json!({ "argv": ["echo", text] })),
        ("sandbox.run_command", place.clone(), json!({ "line": format!("echo {text}") })),
        ("sandbox.run_command", place.clone(), json!({ "argv": ["env"], "env": { "CANARY": text } })),
        ("sandbox.waive", place, json!({ "reason": text, "duration_ms": 1000 })),
    ]);
    all
}

/// An agent that says, reports, asks for and writes secrets in every way it has.
fn blabbing(forms: &[(String, String)]) -> String {
    let all = forms.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n");
    let long = format!("{}\n{all}", "word ".repeat(5_000));
    json!({ "turns": [{ "steps": [
        { "say": all }, { "say": long }, { "think": all }, { "plan": [all] },
        { "tool": { "title": all, "kind": "other", "raw_input": { "text": all }, "raw_output": { "text": long }, "status": "completed" } },
        { "mcp": { "tool": "locus_add_note", "args": { "body": all } } },
        { "mcp": { "tool": "handoff_write", "args": { "handoff": { "done": [all], "remaining": [] } } } },
        { "mcp": { "tool": "version_commit", "args": { "paths": ["src/a.txt"], "message": all, "wait_ms": 0 } } },
        { "terminal": { "command": "echo", "args": [all] } },
        { "edit": { "path": "config/asked.txt", "create": all }, "ask": true },
        { "edit": { "path": "config/unasked.txt", "create": format!("{all}\nmore\n") } },
        { "run": { "argv": ["echo", all] }, "ask": true },
        { "say": "that was all" },
    ] }] })
    .to_string()
}

/// No file below holds any of these.
fn held_nowhere(place: &Path, secrets: &[(String, String)], seen: &mut usize) {
    for entry in std::fs::read_dir(place).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            held_nowhere(&entry.path(), secrets, seen);
        } else if kind.is_file() {
            *seen += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            for (_, needle) in secrets {
                assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "{} holds {needle}", entry.path().display());
            }
        }
    }
}

fn refused(reply: &dcc_testkit::Reply, needle: &str, what: &str) {
    let text = reply.text();
    assert!(reply.status == 400 && reply.code_text() == "HSK-400-INVALID-INPUT" && text.contains("looks like a secret"), "{what}: {} {text}", reply.status);
    assert!(!text.contains(needle), "{what}: {text}");
}

/// What the agent asks for is approved until its turn is over; the request to write shows what will stand in the file.
fn approve_all(world: &World, session: &str) {
    until("the end of the turn", || {
        if let Some(approval) = pending(world) {
            world.json(&["approvals", "approve", &approval]);
        }
        (session_state(world, session) == ("BLOCKED".to_owned(), "input_wait".to_owned())).then_some(())
    });
}

#[test]
fn no_secret_is_persisted() {
    let secrets = forms();
    let world = World::new(DCC);
    let (first, needle) = &secrets[0];
    world.configure(&format!("[recipes.told]\nargv = [\"echo\", \"{first}\"]\n[recipes.shown]\nargv = [\"cat\", \"config/asked.txt\"]\n{}", scripted(&world, &blabbing(&secrets))));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    world.write("src/a.txt", "changed\n");
    let server = world.serve();
    let session = world.ok(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned();
    approve_all(&world, &session);
    // The agent's work is done: the files hold what it wrote, and nobody else does.
    for (file, end) in [("config/asked.txt", ""), ("config/unasked.txt", "\nmore\n")] {
        let all = secrets.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n");
        assert_eq!(std::fs::read_to_string(path.join(file)).unwrap(), format!("{all}{end}"), "{file}");
    }
    // What a person says.
    for (text, needle) in &secrets {
        for (op, bindings, params) in every_text(&wp, &ws, &session, text) {
            refused(&server.http.submit(op, bindings, params), needle, op);
        }
    }
    // A denial, a cancellation, a key.
    let asked = world.json(&["run", "--ws", &ws, "--", "true"]).json();
    let (approval, job) = (asked["approval_id"].as_str().unwrap(), asked["job_id"].as_str().unwrap());
    refused(&server.http.decide(approval, "deny", first), needle, "deny");
    refused(&server.http.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({ "reason": first })), needle, "cancel");
    assert_eq!(world.ok(&["approvals", "show", approval])["status"], "pending", "a refused word decides nothing");
    refused(&server.http.post("/api/v1/jobs", &json!({ "op": "locus.sync_task_board", "idempotency_key": first })), needle, "key");
    // The operator's own configuration, and what a recipe prints.
    let told = world.json(&["run", "--ws", &ws, "told"]);
    assert!(told.code_text() == "HSK-400-INVALID-INPUT" && told.stdout.contains("[recipes.told].argv[1]"), "{told:?}");
    world.ok(&["run", "--ws", &ws, "shown"]);
    // Files edited by hand.
    let record = world.state_dir().join(format!("gov/work_packets/{wp}/packet.json"));
    std::fs::write(&record, std::fs::read_to_string(&record).unwrap().replace("Greet people", first)).unwrap();
    let accepted = world.json(&["wp", "accept", &wp]);
    assert!(accepted.code_text() == "HSK-400-INVALID-INPUT" && !accepted.stdout.contains(needle), "{accepted:?}");
    world.ok(&["wp", "restore", &wp]);
    let file = path.join(".handshake/workspace.json");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, format!("{{ \"schema_version\": \"9\", \"x\": \"{first}\" }}")).unwrap();
    assert_eq!(world.json(&["ws", "repair", &ws, "--reinit-json"]).code_text(), "HSK-400-INVALID-INPUT");
    std::fs::write(&file, whole).unwrap();
    world.ok(&["session", "cancel", &session]);
    server.kill();
    world.ok(&["rebuild"]);
    let mut seen = 0;
    for place in [world.state_dir(), path.join(".handshake"), world.path().join("state/dcc")] {
        held_nowhere(&place, &secrets, &mut seen);
    }
    assert!(seen > 30, "{seen} files");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}
