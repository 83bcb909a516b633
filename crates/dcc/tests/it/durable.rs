//! Sync before acknowledge (P2), as the kernel saw it: write, sync, reply, in this order, for every decision; and a sync or
//! a write that fails is a refusal with a code. By strace; where there is none the tests say that they were skipped.
//!
//! Shown is the order of system calls, not what a disk does at a loss of power.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::observed::settle;
use crate::{DCC, is_long};

/// The tracer, when it may trace here. In continuous integration it has to be there, so that the proof cannot be missing
/// without anybody noticing; a kernel that forbids tracing is said.
fn strace() -> Option<PathBuf> {
    let path = std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join("strace")).find(|p| p.is_file());
    assert!(path.is_some() || std::env::var_os("CI").is_none(), "strace is missing: install it");
    let works = |path: &PathBuf| Command::new(path).args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let found = path.filter(works);
    if found.is_none() {
        println!("SKIP: strace is not here or may not trace");
    }
    found
}

/// The same command under the tracer.
fn traced(strace: &Path, options: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(strace);
    outer.arg("-f").args(options).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?)))).stdin(Stdio::null());
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

/// What a trace says about the decisions in it.
#[derive(Default)]
struct Order {
    /// A decision was read and is not answered yet.
    is_asked: bool,
    wrote: bool,
    is_dirty: bool,
    /// Threads whose sync of the log was interrupted in the trace by another thread's line.
    syncing: HashSet<String>,
    answered: usize,
}

impl Order {
    fn take(&mut self, line: &str) {
        let thread = line.split_whitespace().next().unwrap_or_default().to_owned();
        let is_log = line.contains("recorder.db-wal>");
        if line.contains("recvfrom(") && line.contains("/decision HTTP") || line.contains("recvfrom resumed") && line.contains("/decision HTTP") {
            (self.is_asked, self.wrote) = (true, false);
        } else if line.contains("pwrite64(") && is_log {
            (self.wrote, self.is_dirty) = (true, true);
        } else if (line.contains("fsync(") || line.contains("fdatasync(")) && is_log {
            if line.contains("unfinished") {
                self.syncing.insert(thread);
            } else if line.ends_with("= 0") {
                self.is_dirty = false;
            }
        } else if line.contains("sync resumed") && line.ends_with("= 0") && self.syncing.remove(&thread) {
            self.is_dirty = false;
        } else if self.is_asked && line.contains("\"HTTP/1.1 ") {
            assert!(self.wrote, "answered without a write: {line}");
            assert!(!self.is_dirty, "answered before the sync: {line}");
            self.is_asked = false;
            self.answered += 1;
        }
    }
}

#[test]
fn every_decision_is_written_then_synced_then_answered() {
    let Some(strace) = strace() else { return };
    let decisions = if is_long() { 500 } else { 50 };
    let world = World::new(DCC);
    world.ok(&["init"]);
    let trace = world.path().join("calls");
    let file = trace.to_str().expect("UTF-8").to_owned();
    let options = ["-y", "-s", "120", "--seccomp-bpf", "-e", "trace=recvfrom,sendto,write,writev,pwrite64,fsync,fdatasync", "-o", &file];
    let server = world.serve_with(|command| {
        let mut outer = traced(&strace, &options, command);
        outer.stdout(Stdio::piped()).stderr(Stdio::null());
        *command = outer;
    });
    let server = server.expect("the server starts");
    let http = &server.http;
    let done = |job: &Value| job["state"] == "completed" || job["state"] == "awaiting_user";
    for n in 0..decisions {
        let made = http.submit("locus.create_wp", json!({}), json!({ "title": format!("P {n}"), "acceptance_criteria": ["c"] })).json();
        let wp = json!({ "wp_id": made["wp_id"] });
        assert!(done(&http.submit("locus.update_wp", wp.clone(), json!({ "set": { "status": "ready" } })).json()));
        let parked = http.submit("workspace.create", wp, json!({})).json();
        assert!(done(&parked), "{parked}");
        let path = format!("/api/v1/approvals/{}/decision", parked["approval_id"].as_str().expect("an approval"));
        assert_eq!(http.post(&path, &json!({ "decision": "deny", "scope": "once", "reason": "no" })).status, 200);
    }
    assert_eq!(http.post("/api/v1/stop", &json!({})).status, 202);
    assert!(!server.was_killed());
    let mut order = Order::default();
    std::fs::read_to_string(&trace).expect("the trace").lines().for_each(|line| order.take(line.trim_end()));
    assert_eq!(order.answered, decisions);
    println!("{decisions} decisions: write, sync, reply, in this order");
}

#[test]
fn a_failing_sync_or_write_is_refused_with_a_code() {
    let Some(strace) = strace() else { return };
    let world = World::new(DCC);
    world.ok(&["init"]);
    world.ok(&["wp", "create", "--title", "First", "--criterion", "c"]);
    let before = world.freeze();
    let log = world.state_dir().join("recorder.db-wal");
    let mut refused = 0;
    for (call, error, most) in [("fsync,fdatasync", "EIO", 8), ("pwrite64", "ENOSPC", 30)] {
        for from in (1..=most).step_by(if is_long() { 1 } else { 4 }) {
            world.thaw(&before);
            let what = format!("{error} at {call} {from}");
            let plain = {
                let mut command = world.command();
                command.args(["--json", "wp", "create", "--title", "Second", "--criterion", "c"]);
                command
            };
            let inject = format!("inject={call}:error={error}:when={from}+");
            let options = ["-o", "/dev/null", "-P", log.to_str().expect("UTF-8"), "-e", &inject];
            let ran = traced(&strace, &options, &plain).output().expect("strace starts");
            let said: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
            let code = if said["error"].is_object() { &said["error"]["code"] } else { &said["failure"]["code"] };
            let made = ran.status.code() == Some(0) && said["state"] == "completed";
            assert!(made || code == "HSK-500-RECORDER", "{what}: {said} {}", String::from_utf8_lossy(&ran.stderr));
            refused += usize::from(!made);
            let settled = settle(&world);
            assert!(settled.stuck.is_empty(), "{what}: {:#?}", settled.stuck);
            let packets = world.ok(&["wp", "list"])["items"].as_array().expect("items").len();
            assert!(packets == 2 || !made && packets == 1, "{what}: {packets} packets after {said}");
        }
    }
    assert!(refused > 0, "no fault was met");
    println!("{refused} runs refused with HSK-500-RECORDER, none acknowledged and lost");
}
