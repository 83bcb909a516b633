//! No read changes anything (P13): every GET route and every reading command over a repository whose worktrees are whole,
//! missing, moved, half registered and locked; afterwards every byte of the repository and its worktrees is the same.

use std::path::PathBuf;

use dcc_testkit::{Frozen, Http, World};
use serde_json::Value;

use crate::{DCC, approved_worktree, started_packet};

/// The table of the server, as it is written.
const ROUTES: &str = include_str!("../../../dcc-web/src/server/routes.rs");

/// Files that a running SQLite keeps beside its databases, the lock's note and the server's own log.
fn is_ours(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with("-shm") || name == "project.lock" || name == "server.log"
}

/// What differs in the repository and the worktrees.
fn changed(world: &World, before: &Frozen, also: impl Fn(&std::path::Path) -> bool) -> Vec<PathBuf> {
    let state = world.path().join("state");
    before.difference(&world.freeze()).into_iter().filter(|p| !is_ours(p) && !p.starts_with(&state) && !also(p)).collect()
}

/// A project with a worktree in each condition; the workspaces' ids and one whole worktree's packet.
fn damaged(world: &World) -> Vec<String> {
    world.ok(&["init"]);
    let mut all = Vec::new();
    for name in ["whole", "missing", "moved", "unregistered", "half", "locked", "dirty"] {
        let wp = started_packet(world);
        let (ws, path) = approved_worktree(world, &wp);
        let admin = world.repo().join(".git/worktrees").join(path.file_name().expect("a name"));
        match name {
            "missing" => std::fs::remove_dir_all(&path).expect("the worktree"),
            "moved" => std::fs::rename(&path, path.with_extension("elsewhere")).expect("a rename"),
            "unregistered" => std::fs::remove_dir_all(&admin).expect("the registration"),
            "half" => std::fs::remove_file(admin.join("HEAD")).expect("a part of the registration"),
            "locked" => _ = world.git(&["worktree", "lock", "--reason", "mine", path.to_str().expect("UTF-8")]),
            "dirty" => {
                std::fs::write(path.join("src/a.txt"), "changed\n").expect("a file");
                std::fs::write(path.join("new.txt"), "new\n").expect("a file");
                world.git_in(&path, &["add", "src/a.txt"]);
            }
            _ => {}
        }
        all.push(ws);
    }
    all
}

/// Everything that an `{id}` may stand for, by the path it stands in.
struct Ids {
    workspaces: Vec<String>,
    job: String,
    event: String,
    approval: String,
    session: String,
    artifact: String,
}

impl Ids {
    fn collect(http: &Http, workspaces: Vec<String>) -> Self {
        let first = |path: &str, key: &str| http.get(path)["items"][0][key].as_str().unwrap_or_default().to_owned();
        let planned = http.get("/api/v1/events?code=FR-EVT-JOB-003&limit=1");
        let artifact = find_sha256(&planned).unwrap_or_else(|| "a".repeat(64));
        Self {
            workspaces,
            job: first("/api/v1/jobs", "job_id"),
            event: first("/api/v1/events", "event_id"),
            approval: first("/api/v1/approvals", "approval_id"),
            session: "0199a0b2-7c31-7d2f-8a5b-0242ac120002".to_owned(),
            artifact,
        }
    }

    /// The addresses that a row of the table stands for.
    fn addresses(&self, route: &str) -> Vec<String> {
        let one = |id: &str| vec![route.replace("{id}", id)];
        match route {
            _ if route.contains("/wps/{id}") || route.contains("/wp/{id}") => one("WP-0001"),
            _ if route.contains("/workspaces/{id}") || route.contains("/ws/{id}") => self.workspaces.iter().flat_map(|ws| with_queries(&route.replace("{id}", ws))).collect(),
            _ if route.contains("/job") && route.contains("{id}") => one(&self.job),
            _ if route.contains("/event") && route.contains("{id}") => one(&self.event),
            _ if route.contains("/approval") && route.contains("{id}") => one(&self.approval),
            _ if route.contains("/session") && route.contains("{id}") => one(&self.session),
            _ => with_queries(&route.replace("{sha256}", &self.artifact).replace("{name}", "app.css")),
        }
    }
}

fn find_sha256(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => Some(text.clone()),
        Value::Object(map) => map.iter().filter(|(key, _)| key.contains("artifact")).find_map(|(_, v)| find_sha256(v)).or_else(|| map.values().find_map(find_sha256)),
        Value::Array(all) => all.iter().find_map(find_sha256),
        _ => None,
    }
}

/// The address, with what it asks for where it asks for something.
fn with_queries(path: &str) -> Vec<String> {
    if path.ends_with("/search") {
        return vec![format!("{path}?q=bee")];
    }
    if path.ends_with("/resolve") {
        return vec![format!("{path}?short=ab12cd34")];
    }
    if path.ends_with("/diff") || path.ends_with("/file") {
        return vec![path.to_owned(), format!("{path}?path=src/a.txt")];
    }
    vec![path.to_owned()]
}

/// The GET rows of the table: path, and whether it is a screen.
fn rows() -> Vec<(String, bool)> {
    let path_of = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let lines = ROUTES.lines().map(str::trim).filter(|l| (l.starts_with("Route::read(\"") || l.starts_with("Route::page(\"")) && !l.contains("post("));
    lines.filter_map(|l| Some((path_of(l)?, l.starts_with("Route::page(")))).collect()
}

#[test]
fn every_get_leaves_every_byte() {
    let world = World::new(DCC);
    let workspaces = damaged(&world);
    let server = world.serve();
    let (http, browser) = (&server.http, server.http.browser());
    // What a start owes is done by the first readers; then nothing may move any more.
    for path in ["/api/v1/workspaces", "/api/v1/board", "/api/v1/health"] {
        http.get(path);
    }
    let ids = Ids::collect(http, workspaces);
    let events = http.get("/api/v1/events?order=descending&limit=1")["items"][0]["seq"].clone();
    let before = world.freeze();
    let rows = rows();
    assert!(rows.len() > 40, "the table is read as it is written: {rows:?}");
    let mut asked = 0;
    for (route, is_page) in &rows {
        if route.ends_with("/stream") {
            continue;
        }
        for address in ids.addresses(route) {
            let reply = if *is_page { browser.call("GET", &address, None) } else { http.call("GET", &address, None) };
            asked += 1;
            assert!(reply.status != 500 || reply.text().contains("VCS_") || reply.text().contains("HSK-500-ENGINE"), "{address}: {}", reply.text());
            assert_eq!(changed(&world, &before, |_| false), Vec::<PathBuf>::new(), "GET {address} ({})", reply.status);
        }
    }
    assert_eq!(http.get("/api/v1/events?order=descending&limit=1")["items"][0]["seq"], events, "nothing was recorded");
    println!("{asked} addresses of {} GET routes read: nothing changed", rows.len());
}

#[test]
fn every_reading_command_leaves_every_byte() {
    let world = World::new(DCC);
    let workspaces = damaged(&world);
    let job = world.ok(&["job", "list"])["items"][0]["job_id"].as_str().expect("a job").to_owned();
    let approval = world.ok(&["approvals", "list", "--all"])["items"][0]["approval_id"].as_str().expect("an approval").to_owned();
    let before = world.freeze();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let mut commands: Vec<Vec<String>> = [
        "status", "doctor", "agent list", "wp list", "wp list --ready", "wp show WP-0001", "mt list WP-0001", "mt show WP-0001 MT-001", "board render", "ws list", "session list",
        "approvals list", "approvals list --all", "grants list", "budget show", "job list", "search bee", "timeline --wp WP-0001", "recorder verify", "recorder tail", "recorder export",
        "rebuild --dry-run", "--help", "--version",
    ]
    .iter()
    .map(|text| words(text))
    .collect();
    commands.push(words(&format!("job show {job}")));
    commands.push(words(&format!("approvals show {approval}")));
    for ws in &workspaces {
        for read in ["ws show {}", "vcs status --ws {}", "vcs diff --ws {}", "vcs log --ws {}"] {
            commands.push(words(&read.replace("{}", ws)));
        }
    }
    for command in &commands {
        let ran = world.dcc(command);
        assert!(ran.code != 2, "{command:?} is no command: {ran:?}");
        // The databases' logs come and go with the process.
        assert_eq!(changed(&world, &before, |p| p.to_string_lossy().ends_with("-wal")), Vec::<PathBuf>::new(), "{command:?} ({})", ran.code);
    }
    println!("{} commands read: nothing changed", commands.len());
}
