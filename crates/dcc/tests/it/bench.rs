//! Measurements, which print figures and judge none: `cargo xtask bench sessions` builds what is shipped and runs them.
//!
//! `DCC_BENCH_PROGRAM` names the program to be measured; without it the test's own build is, and the print says so.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dcc_core::Timestamp;
use dcc_testkit::{Server, World};
use serde_json::{Value, json};

use crate::browser::browse;
use crate::{DCC, until};

const SESSIONS: u64 = 8;
/// Updates a second of one session: 1,000 together.
const PER_SECOND: u64 = 125;
const SECONDS: u64 = 30;
const STARTS: usize = 20;

/// Tells of each call that comes into the page how old it was when it had been painted. What stands there already does
/// not count.
const WATCH: &str = "
    window.__late = [];
    const seen = new Set();
    const look = (count) => {
        const rows = document.querySelectorAll('#main ol.calls li[id]');
        for (let n = rows.length - 1; n >= 0 && !seen.has(rows[n].id); n -= 1) {
            seen.add(rows[n].id);
            const at = /at (\\d{13})/.exec(rows[n].textContent);
            if (at && count) requestAnimationFrame(() => setTimeout(() => window.__late.push(Date.now() - Number(at[1]))));
        }
    };
    look(false);
    new MutationObserver(() => look(true)).observe(document.getElementById('main').parentElement, { subtree: true, childList: true });
";

struct Bench {
    world: World,
    program: String,
}

impl Bench {
    /// Agents: one that waits, one that heeds nothing, one that speaks and works, one that does nothing but calls.
    fn new() -> Self {
        let program = std::env::var("DCC_BENCH_PROGRAM").unwrap_or_else(|_| DCC.to_owned());
        let world = World::new(&program);
        let bench = Self { world, program };
        let pace = |call_every| json!([{ "pace": { "updates": PER_SECOND * SECONDS, "per_second": PER_SECOND, "call_every": call_every } }, { "wait_for": "cancel" }]);
        let agents = [
            ("waits", json!([{ "wait_for": "cancel" }])),
            ("deaf", json!([{ "leave_child": 600 }, { "ignore_eof": true }, { "deaf": true }])),
            ("mixed", pace(10)),
            ("calls", pace(2)),
        ];
        let mut config = "[limits]\nsessions_per_provider = 8\ncold_starts = 8\n".to_owned();
        for (name, steps) in agents {
            let file = bench.script(name);
            std::fs::write(&file, json!({ "turns": [{ "steps": steps }] }).to_string()).expect("a script");
            writeln!(config, "[agents.{name}]\ncommand = [\"{}\", \"scripted-agent\", \"{file}\"]\nread_paths = [\"{file}\"]\nask_mode = \"default\"", bench.program).expect("text");
        }
        bench.world.configure(&config);
        bench.world.ok(&["init"]);
        bench
    }

    fn script(&self, name: &str) -> String {
        self.world.path().join(format!("{name}.json")).display().to_string()
    }

    /// The conversation up to a session that is ready, without DCC and without a sandbox.
    fn agent_alone(&self) -> Duration {
        let begun = Instant::now();
        let mut agent = Command::new(&self.program).args(["scripted-agent", &self.script("waits")]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut input = agent.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(agent.stdout.take().expect("a pipe")).lines();
        let messages = [
            ("initialize", json!({ "protocolVersion": 1, "clientCapabilities": {} })),
            ("session/new", json!({ "cwd": "/", "mcpServers": [] })),
            ("session/set_mode", json!({ "sessionId": "x", "modeId": "default" })),
        ];
        for (id, (method, params)) in messages.into_iter().enumerate() {
            writeln!(input, "{}", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).expect("sent");
            let is_answer = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|m| m["id"] == id && m.get("method").is_none());
            lines.by_ref().map_while(Result::ok).find(|line| is_answer(line)).expect("an answer");
        }
        let took = begun.elapsed();
        drop(input);
        agent.wait().expect("its end");
        took
    }

    /// A worktree of a packet of its own.
    fn worktree(&self, server: &Server, number: u64) -> String {
        let http = &server.http;
        let made = http.submit("locus.create_wp", json!({}), json!({ "title": format!("Packet {number}"), "acceptance_criteria": ["seen"] })).json();
        let about = json!({ "wp_id": made["wp_id"] });
        http.submit("locus.update_wp", about.clone(), json!({ "set": { "status": "ready" } }));
        http.submit("locus.gate_wp", about.clone(), json!({ "gate": "pre_work", "result": "pass" }));
        http.submit("locus.start_wp", about.clone(), json!({}));
        let parked = http.submit("workspace.create", about, json!({})).json();
        let decided = http.decide(parked["approval_id"].as_str().expect("an approval"), "approve", "to measure").json();
        let job = job_over(server, decided["job_id"].as_str().expect("a job"));
        job["workspace_id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
    }

    fn start(&self, server: &Server, ws: &str, agent: &str) -> (String, Value) {
        let asked = server.http.submit("session.start", json!({ "workspace_id": ws }), json!({ "agent": agent, "prompt": "go" })).json();
        let job = job_over(server, asked["job_id"].as_str().unwrap_or_else(|| panic!("{asked}")));
        assert_eq!(job["state"], "completed", "{job}");
        let session = job["session_id"].as_str().expect("a session").to_owned();
        until("its turn", || (server.http.get(&format!("/api/v1/sessions/{session}"))["state"] == "ACTIVE").then_some(()));
        (session, job)
    }

    /// From the request to the moment at which no process of the agent is left.
    fn cancel(&self, server: &Server, session: &str, agent: &str) -> Duration {
        let script = self.script(agent);
        let begun = Instant::now();
        server.http.submit("session.cancel", json!({ "session_id": session }), json!({}));
        until("no process", || (processes(&script) == 0).then_some(()));
        begun.elapsed()
    }
}

/// Processes with this word in their arguments.
fn processes(word: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("processes");
    all.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok()).filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}

fn job_over(server: &Server, id: &str) -> Value {
    until("the job's end", || {
        let job = server.http.get(&format!("/api/v1/jobs/{id}"));
        (!["queued", "running", "awaiting_user"].contains(&job["state"].as_str().expect("a state"))).then_some(job)
    })
}

/// Between two moments of a job, as it was recorded, milliseconds.
fn job_ms(job: &Value) -> f64 {
    let at = |name: &str| job[name].as_str().and_then(Timestamp::parse).unwrap_or_else(|| panic!("{name}: {job}")).as_ms() as f64;
    at("updated_at") - at("created_at")
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The middle, the 95th of a hundred, the greatest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values.get(((values.len() as f64 * part).ceil() as usize).saturating_sub(1)).copied().unwrap_or(f64::NAN);
    (at(0.5), at(0.95), at(1.0))
}

fn line(what: &str, unit: &str, values: Vec<f64>) {
    let count = values.len();
    let (middle, p95, most) = spread(values);
    println!("{what}: p50 {middle:.0} {unit}, p95 {p95:.0} {unit}, at most {most:.0} {unit} ({count} values; load {})", load());
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

#[test]
#[ignore = "a measurement: cargo xtask bench sessions"]
fn bench_sessions() {
    let bench = Bench::new();
    println!("program: {} ({} bytes); load {}", if bench.program == DCC { "the test's own build" } else { &bench.program }, std::fs::metadata(&bench.program).expect("a program").len(), load());
    let server = bench.world.serve();
    let places: Vec<String> = (0..SESSIONS).map(|n| bench.worktree(&server, n)).collect();
    starts_and_cancels(&bench, &server, &places[0]);
    for agent in ["mixed", "calls"] {
        flood(&bench, &server, &places, agent);
    }
    assert_eq!(bench.world.ok(&["recorder", "verify"])["ok"], true);
}

fn starts_and_cancels(bench: &Bench, server: &Server, ws: &str) {
    let (mut ours, mut alone, mut differences, mut cancels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let reference = ms(bench.agent_alone());
        let (session, job) = bench.start(server, ws, "waits");
        ours.push(job_ms(&job));
        differences.push(job_ms(&job) - reference);
        alone.push(reference);
        cancels.push(ms(bench.cancel(server, &session, "waits")));
    }
    println!("start: ratio {:.1}", spread(ours.clone()).0 / spread(alone.clone()).0);
    line("start of a session, request to ready", "ms", ours);
    line("the same agent by itself (reference)", "ms", alone);
    line("start without the agent's own time (goal 150)", "ms", differences);
    line("cancel to no process, an agent that heeds (goal 5000)", "ms", cancels);
    let deaf = (0..2).map(|_| {
        let (session, _) = bench.start(server, ws, "deaf");
        ms(bench.cancel(server, &session, "deaf"))
    });
    line("cancel to no process, an agent that heeds nothing", "ms", deaf.collect());
}

fn flood(bench: &Bench, server: &Server, places: &[String], agent: &str) {
    let events = |server: &Server| server.http.get("/api/v1/health")["recorder"]["head"]["seq"].as_u64().unwrap_or(0);
    let (before, seq) = (server.resident_kib().0, events(server));
    let begun = Instant::now();
    let sessions: Vec<String> = places.iter().map(|ws| bench.start(server, ws, agent).0).collect();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let page = format!("/session/{}", sessions[3]);
    browse(&bench.world, bench.world.command().args(["up", "--detach"]), |walk| async move {
        walk.visit(&page).await;
        walk.js(WATCH).await;
        // tidy, allowed: what happens in this time is what is measured
        tokio::time::sleep(Duration::from_secs(SECONDS * 2 / 3)).await;
        let late = walk.js("return window.__late").await;
        *heard.lock().expect("no panic") = late.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    });
    let script = bench.script(agent);
    println!("{agent}: {SESSIONS} sessions, {} updates a second together, {:.0} s after the first start", SESSIONS * PER_SECOND, begun.elapsed().as_secs_f64());
    line(&format!("{agent}: from the agent to the painted row (goal 150)"), "ms", told.lock().expect("no panic").clone());
    until("the end of the flood", || sessions.iter().all(|s| calls_of(server, s) >= PER_SECOND * SECONDS / if agent == "calls" { 2 } else { 10 }).then_some(()));
    let took = begun.elapsed().as_secs_f64();
    let (now, most) = server.resident_kib();
    println!("{agent}: all of it recorded after {took:.0} s, {} events; server {} MiB before, {} MiB now, {} MiB at most (goal 150); load {}", events(server) - seq, before / 1024, now / 1024, most / 1024, load());
    for session in &sessions {
        server.http.submit("session.cancel", json!({ "session_id": session }), json!({}));
    }
    until("no process", || (processes(&script) == 0).then_some(()));
}

fn calls_of(server: &Server, session: &str) -> u64 {
    server.http.get(&format!("/api/v1/sessions/{session}"))["tool_calls"].as_u64().unwrap_or(0)
}
