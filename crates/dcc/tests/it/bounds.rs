//! Everything is bounded (P8): floods of an agent and of a recipe, a line without end, many changed files, many packets.
//! The server's greatest resident memory, as the kernel counts it, stays below 200 MiB, and what was cut is marked.
//!
//! A tenth of the promised figures without `DCC_TEST_LONG`.

use dcc_testkit::{Server, World};
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, is_long, started_packet, until};

const RESIDENT_KIB_MAX: u64 = 200 * 1024;

/// The promised figure, or a tenth of it.
fn figure(long: u64) -> u64 {
    if is_long() { long } else { long / 10 }
}

fn assert_bounded(server: &Server, what: &str) {
    let (now, most) = server.resident_kib();
    println!("{what}: {} MiB at most, {} MiB now", most / 1024, now / 1024);
    assert!(most > 0 && most <= RESIDENT_KIB_MAX, "{what}: {most} KiB");
}

/// A served project whose agent does this in its first turn; the workspace.
fn with_agent(steps: &Value) -> (World, Server, String) {
    let world = World::new(DCC);
    world.configure(&crate::scripted(&world, &json!({ "turns": [{ "steps": steps }] }).to_string()));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let server = world.serve();
    server.http.submit("session.start", json!({ "workspace_id": ws }), json!({ "agent": "tester", "prompt": "go" }));
    (world, server, ws)
}

/// Waits for the end of the turn, however it ends; the session.
fn turn_over(server: &Server) -> Value {
    until("the end of the turn", || {
        let session = server.http.get("/api/v1/sessions")["items"][0].clone();
        let is_over = session["state_reason"] == "input_wait" || ["FAILED", "PAUSED", "CANCELLED"].iter().any(|s| session["state"] == *s);
        let turns = server.http.get("/api/v1/jobs?op=session.run");
        let is_begun = turns["items"].as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|j| j["state"] != "queued" && j["state"] != "running"));
        (is_over && is_begun).then_some(session)
    })
}

#[test]
fn a_flood_of_an_agent_is_noise_and_not_memory() {
    let bytes = figure(1 << 30);
    let (world, server, _) = with_agent(&json!([{ "flood": { "bytes": bytes } }, { "say": "Done." }]));
    let session = turn_over(&server);
    assert_bounded(&server, &format!("{} MiB of rubbish from an agent", bytes >> 20));
    println!("the session is {} ({})", session["state"], session["state_reason"]);
    let log = std::fs::metadata(world.state_dir().join("recorder.db")).expect("the log").len();
    assert!(log < 64 << 20, "the log took {log} bytes of it");
    let noise = server.http.get("/api/v1/events?text=noise&limit=1000");
    assert!(!noise["items"].as_array().expect("items").is_empty(), "it is marked");
}

#[test]
fn a_line_without_end_costs_its_session_and_not_memory() {
    let bytes = figure(100 << 20);
    let (_world, server, _) = with_agent(&json!([{ "long_line": { "bytes": bytes } }, { "say": "Done." }]));
    let session = turn_over(&server);
    assert_bounded(&server, &format!("a line of {} MiB", bytes >> 20));
    println!("the session is {} ({}): {}", session["state"], session["state_reason"], session["fault"]);
    assert!(server.http.call("GET", "/api/v1/health", None).status == 200);
}

#[test]
fn the_output_of_a_recipe_is_cut_marked_and_kept() {
    let bytes = figure(1 << 30);
    let world = World::new(DCC);
    world.configure(&format!("[recipes.loud]\nargv = [\"sh\", \"-c\", \"head -c {bytes} /dev/zero | tr '\\\\0' x\"]\n"));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let server = world.serve();
    let job = server.http.submit("sandbox.run_recipe", json!({ "workspace_id": ws }), json!({ "recipe": "loud" })).json();
    let done = until("the recipe", || {
        let job = server.http.get(&format!("/api/v1/jobs/{}", job["job_id"].as_str().expect("an id")));
        (job["state"] != "queued" && job["state"] != "running").then_some(job)
    });
    assert_eq!(done["state"], "completed", "{done}");
    assert_bounded(&server, &format!("{} MiB of output of a recipe", bytes >> 20));
    let finished = server.http.get("/api/v1/events?text=stdout_cut&limit=10");
    let payload = finished["items"].as_array().expect("items").iter().find_map(|e| e["payload"]["stdout_cut"].as_u64()).expect("the event says how much was cut");
    let kept = world.ok(&["job", "show", done["job_id"].as_str().expect("an id")]);
    let sha256 = kept["stdout_sha256"].as_str().expect("an artifact");
    let artifact = server.http.call("GET", &format!("/api/v1/artifacts/{sha256}"), None);
    assert_eq!(artifact.body.len() as u64 + payload, bytes, "kept and cut are the whole");
}

#[test]
fn many_changed_files_are_listed_within_bounds() {
    let count = figure(50_000);
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    for n in 0..count {
        let folder = path.join(format!("many/{}", n / 500));
        if n % 500 == 0 {
            std::fs::create_dir_all(&folder).expect("a directory");
        }
        std::fs::write(folder.join(format!("file-{n}.txt")), "x\n").expect("a file");
    }
    let server = world.serve();
    let status = server.http.get(&format!("/api/v1/workspaces/{ws}/status"));
    assert_eq!(status["entries"].as_array().expect("entries").len() as u64, count);
    let page = server.http.browser().call("GET", &format!("/ws/{ws}"), None);
    assert_eq!(page.status, 200);
    println!("the review's page has {} KiB", page.body.len() / 1024);
    assert!(page.body.len() < 8 << 20, "{} bytes of a page", page.body.len());
    assert!(page.text().contains("more files are not listed here"), "the cut is marked");
    assert_bounded(&server, &format!("{count} changed files"));
}

#[test]
fn many_packets_are_shown_within_bounds() {
    // Less than a tenth: making packets through the corridor one by one is what takes the time here.
    let count = if is_long() { 10_000 } else { 400 };
    let world = World::new(DCC);
    world.ok(&["init"]);
    let server = world.serve();
    std::thread::scope(|scope| {
        for client in 0..2 {
            let http = server.http.clone();
            scope.spawn(move || {
                for n in 0..count / 2 {
                    let title = format!("Packet {client} {n}");
                    let made = http.submit("locus.create_wp", json!({}), json!({ "title": title, "acceptance_criteria": ["c"] })).json();
                    assert_eq!(made["state"], "completed", "{made}");
                }
            });
        }
    });
    let board = server.http.browser().call("GET", "/board", None);
    assert_eq!(board.status, 200);
    let mut listed = 0;
    let mut cursor = String::new();
    loop {
        let page = server.http.get(&format!("/api/v1/wps?limit=1000{cursor}"));
        listed += page["items"].as_array().expect("items").len() as u64;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, count);
    println!("the board's page has {} KiB", board.body.len() / 1024);
    assert_bounded(&server, &format!("{count} packets"));
}
