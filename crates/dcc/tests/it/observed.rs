//! What a project looks like after everything has settled: for comparing two runs of the same acts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dcc_testkit::{Http, World, mask_text, masked};
use serde_json::{Value, json};

/// What a restart drives comes to its end within this.
const DRAIN: Duration = Duration::from_secs(30);

/// The domain's state without what differs from run to run.
#[derive(PartialEq, Debug)]
pub struct End(BTreeMap<String, String>);

impl End {
    /// The names of what differs, with both values.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter()
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|key| format!("{key}:\n  this: {}\n  that: {}", self.0.get(key).map_or("-", |v| v), other.0.get(key).map_or("-", |v| v)))
            .collect()
    }
}

/// A world after a restart and a drain.
#[derive(Debug)]
pub struct Settled {
    pub end: End,
    /// What would stay for ever: jobs that nobody can bring to an end, requests that nobody can decide.
    pub stuck: Vec<String>,
    /// Jobs that failed or stalled and ask for a person.
    pub again: Vec<String>,
}

/// Restarts as the server does, waits until nothing moves any more, looks, and ends the server.
pub fn settle(world: &World) -> Settled {
    let server = world.serve();
    let http = &server.http;
    let mut stuck = Vec::new();
    let deadline = Instant::now() + DRAIN;
    while let Some(job) = moving(http).first() {
        if Instant::now() > deadline {
            stuck.push(format!("still moving after {} s: {job}", DRAIN.as_secs()));
            break;
        }
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut again = Vec::new();
    for job in http.get("/api/v1/jobs")["items"].as_array().expect("items") {
        judge(http, job, &mut stuck, &mut again);
    }
    let verified = world.json(&["recorder", "verify"]);
    if verified.code != 0 {
        stuck.push(format!("the recorder does not verify: {verified:?}"));
    }
    let fsck = world.git(&["fsck", "--full", "--strict", "--no-dangling"]);
    if !fsck.trim().is_empty() {
        stuck.push(format!("git fsck says: {fsck}"));
    }
    let end = observe(world, http);
    server.kill();
    Settled { end, stuck, again }
}

/// Jobs that go on by themselves. A turn whose agent waits for a person's answer goes on when the person answers.
fn moving(http: &Http) -> Vec<Value> {
    let items = |state: &str| http.get(&format!("/api/v1/jobs?state={state}"))["items"].as_array().expect("items").clone();
    let waiting = items("awaiting_user");
    let mut moving = items("queued,running");
    moving.retain(|job| job["op"] != "session.run" || !waiting.iter().any(|w| w["session_id"] == job["session_id"]));
    moving
}

/// A job that is over, one that a person can decide, or one that stalled and is cancelled here as a person would.
fn judge(http: &Http, job: &Value, stuck: &mut Vec<String>, again: &mut Vec<String>) {
    let name = format!("{} {}", job["op"], job["job_id"]);
    match job["state"].as_str().unwrap_or_default() {
        "completed" | "completed_with_issues" => {}
        "failed" | "cancelled" => again.push(format!("{name}: {}", job["failure"])),
        "stalled" => {
            if job["failure"]["message"].as_str().is_none_or(str::is_empty) {
                stuck.push(format!("{name} stalled without evidence"));
            }
            let id = job["job_id"].as_str().unwrap_or_default();
            let cancelled = http.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({ "reason": "looked at" }));
            if cancelled.json()["state"] != "cancelled" {
                stuck.push(format!("{name} stalled and cannot be cancelled: {}", cancelled.json()));
            }
            again.push(format!("{name}: {}", job["failure"]));
        }
        "awaiting_user" => {
            let id = job["approval_id"].as_str().unwrap_or_default();
            let status = http.get(&format!("/api/v1/approvals/{id}"))["status"].clone();
            if status != "pending" {
                stuck.push(format!("{name} waits for an approval that is {status}"));
            }
        }
        // Nothing moves any more, so its agent waits for the person.
        "running" if job["op"] == "session.run" => again.push(format!("{name}: its agent asks")),
        other => stuck.push(format!("{name} is {other}")),
    }
}

/// Packets, board, workspaces, sessions, grants, requests, git and files, and how often each domain event stands.
fn observe(world: &World, http: &Http) -> End {
    let mut all = BTreeMap::new();
    let mut put = |key: String, value: &Value| {
        all.insert(key, serde_json::to_string_pretty(&masked(value)).expect("JSON"));
    };
    for wp in http.get("/api/v1/wps")["items"].as_array().expect("items") {
        let id = wp["wp_id"].as_str().expect("an id");
        put(format!("packet {id}"), &http.get(&format!("/api/v1/wps/{id}")));
    }
    for (name, path) in [("board", "/api/v1/board"), ("workspaces", "/api/v1/workspaces")] {
        put(name.to_owned(), &http.get(path));
    }
    let mut grants = http.get("/api/v1/grants");
    for grant in grants["items"].as_array_mut().expect("items") {
        // A use that was spent on an act that the kill cut off stays spent: fewer remain, never more.
        grant["used"] = Value::Null;
    }
    put("grants".to_owned(), &grants);
    put("waivers".to_owned(), &http.get("/api/v1/health")["waivers"]);
    let pending = http.get("/api/v1/approvals?status=pending");
    put("pending".to_owned(), &pending["items"].as_array().expect("items").iter().map(|a| a["preview"].clone()).collect());
    for (code, count) in domain_events(http) {
        all.insert(format!("events {code}"), count.to_string());
    }
    all.insert("board file".to_owned(), std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).unwrap_or_default());
    all.insert("branches".to_owned(), world.git(&["log", "--branches", "--format=%T %s %an %d"]));
    let (repo, worktrees) = (world.repo(), world.path().join("repo.wt"));
    for tree in std::iter::once(repo.clone()).chain(directories(&worktrees)) {
        // A worktree that a repair is about may be none of git's.
        let status = world.try_git_in(&tree, &["status", "--porcelain=v2", "--untracked-files=all"]).unwrap_or_else(|words| words);
        all.insert(format!("status {}", tree.display()), status);
    }
    let mut files = Vec::new();
    for root in [&repo, &worktrees] {
        names(root, &mut files);
    }
    files.sort();
    all.insert("files".to_owned(), files.join("\n"));
    End(all)
}

/// Codes that say that something was done, with how often; requests and decisions may rightly come twice.
fn domain_events(http: &Http) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = http.get(&format!("/api/v1/events?limit=1000{cursor}"));
        for event in page["items"].as_array().expect("items") {
            let code = event["code"].as_str().expect("a code");
            let is_domain = ["FR-EVT-WP-", "FR-EVT-MT-", "FR-EVT-DEP-", "FR-EVT-TB-", "FR-EVT-WS-", "FR-EVT-VCS-"].iter().any(|p| code.starts_with(p));
            // Where a head stands is looked at, as often as anybody looks.
            if is_domain && code != "FR-EVT-VCS-006" {
                *counts.entry(code.to_owned()).or_insert(0) += 1;
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return counts,
        }
    }
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    all.sort();
    all
}

/// Every file's name, ids masked; objects, artifacts and databases have no names of their own to compare.
fn names(root: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let text = path.to_string_lossy().into_owned();
        if text.ends_with("/.git/objects") || text.ends_with("/.handshake/artifacts") || text.contains("/.handshake/devcc.db") || text.contains("/.handshake/recorder.db") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            names(&path, out);
        } else {
            out.push(mask_text(&text));
        }
    }
}
