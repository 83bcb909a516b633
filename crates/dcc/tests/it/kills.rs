//! An acknowledged decision or job acceptance is never lost (P1): clients post over HTTP while the server is killed at
//! random moments. 20 kills, 200 with `DCC_TEST_LONG`; the seed is printed and `DCC_TEST_SEED` repeats it.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use dcc_testkit::{Http, Random, Reply, Server, World};
use serde_json::{Value, json};

use crate::{DCC, is_long, until};

const CLIENTS: u64 = 3;

/// What a client was told.
#[derive(Clone, Debug)]
enum Acknowledged {
    Job { key: String, job: Value },
    Decision { decision: String, reason: String, decided: Value },
}

/// Posts until the server is gone; every whole answer of success is told.
struct Client<'a> {
    http: &'a Http,
    told: &'a Sender<Acknowledged>,
    name: String,
}

impl Client<'_> {
    /// None: the server is gone.
    fn work(&self) -> Option<()> {
        for n in 0.. {
            let name = format!("{}-{n}", self.name);
            let made = self.job(&name, "locus.create_wp", json!({}), json!({ "title": name, "acceptance_criteria": ["seen"] }))?;
            let wp = json!({ "wp_id": made["wp_id"] });
            self.job(&format!("{name}-ready"), "locus.update_wp", wp.clone(), json!({ "set": { "status": "ready" } }))?;
            let parked = self.job(&format!("{name}-tree"), "workspace.create", wp, json!({}))?;
            let approval = parked["approval_id"].as_str().expect("a worktree is asked about").to_owned();
            // Mostly denials: a worktree takes git a while, and kills should fall everywhere.
            let decision = if n % 4 == 0 { "approve" } else { "deny" };
            let reason = format!("because of {name}");
            let body = json!({ "decision": decision, "scope": "once", "reason": reason });
            let reply = self.http.try_call("POST", &format!("/api/v1/approvals/{approval}/decision"), Some(&body))?;
            self.tell(&reply, |decided| Acknowledged::Decision { decision: decision.to_owned(), reason, decided });
        }
        None
    }

    fn job(&self, key: &str, op: &str, bindings: Value, params: Value) -> Option<Value> {
        let body = json!({ "op": op, "bindings": bindings, "params": params, "idempotency_key": key });
        let reply = self.http.try_call("POST", "/api/v1/jobs", Some(&body))?;
        self.tell(&reply, |job| Acknowledged::Job { key: key.to_owned(), job });
        let job = reply.json();
        // Nothing is wrong with these requests, also when others come at the same time.
        assert!(job["state"] == "completed" || job["state"] == "awaiting_user", "{key}: {job}");
        Some(job)
    }

    fn tell(&self, reply: &Reply, as_told: impl FnOnce(Value) -> Acknowledged) {
        assert!(reply.status < 300, "{}: {}", self.name, String::from_utf8_lossy(&reply.body));
        // The listener is gone once the kill was made; what came after it counts as not acknowledged.
        let _ = self.told.send(as_told(reply.json()));
    }
}

/// Lets the clients work and kills the server at a random moment; everything that was acknowledged.
fn round(server: Server, number: u64, random: &mut Random) -> Vec<Acknowledged> {
    let (told, heard) = channel();
    let http = server.http.clone();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (told, http) = (told.clone(), &http);
            scope.spawn(move || Client { http, told: &told, name: format!("r{number}c{client}") }.work());
        }
        drop(told);
        let mut acknowledged = Vec::new();
        for _ in 0..=random.below(40) {
            acknowledged.push(heard.recv_timeout(Duration::from_secs(60)).expect("an answer in time"));
        }
        let kill_at = Instant::now() + Duration::from_micros(random.below(30_000));
        loop {
            match heard.recv_timeout(kill_at.saturating_duration_since(Instant::now())) {
                Ok(one) => acknowledged.push(one),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the clients stopped by themselves"),
            }
        }
        server.kill();
        // An answer that was read before the connection broke was given.
        acknowledged.extend(heard.iter());
        acknowledged
    })
}

/// Everything that was acknowledged stands as it was said.
fn hold(http: &Http, acknowledged: &[Acknowledged]) {
    for one in acknowledged {
        match one {
            Acknowledged::Job { key, job } => {
                let now = http.get(&format!("/api/v1/jobs/{}", job["job_id"].as_str().expect("an id")));
                assert_eq!(now["op"], job["op"], "{key}");
                let is_over = job["state"] == "completed" || job["state"] == "failed";
                if is_over {
                    assert_eq!(now["state"], job["state"], "{key}");
                }
                if job["op"] == "locus.create_wp" {
                    let wp = http.get(&format!("/api/v1/wps/{}", job["wp_id"].as_str().expect("an id")));
                    assert_eq!(wp["title"], json!(key), "{key}");
                }
            }
            Acknowledged::Decision { decision, reason, decided } => {
                let now = http.get(&format!("/api/v1/approvals/{}", decided["approval_id"].as_str().expect("an id")));
                assert_eq!((now["decision"]["approve"] == true, &now["decision"]["reason"]), (decision == "approve", &json!(reason)), "{now}");
                assert_eq!(now["status"], decided["status"], "{now}");
                let job = http.get(&format!("/api/v1/jobs/{}", decided["job_id"].as_str().expect("an id")));
                assert_eq!(job["state"], decided["job"]["state"], "{job}");
            }
        }
    }
}

/// Nobody waits for something that cannot come.
fn nothing_is_stuck(http: &Http) {
    until("the drain", || http.get("/api/v1/jobs?state=queued,running")["items"].as_array().expect("items").is_empty().then_some(()));
    for job in http.get("/api/v1/jobs?state=awaiting_user")["items"].as_array().expect("items") {
        let approval = http.get(&format!("/api/v1/approvals/{}", job["approval_id"].as_str().expect("an id")));
        assert_eq!(approval["status"], "pending", "{job}");
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let kills = if is_long() { 200 } else { 20 };
    let mut random = Random::from_env();
    println!("seed {}: DCC_TEST_SEED={0} repeats it", random.seed());
    let world = World::new(DCC);
    world.ok(&["init"]);
    let mut all = Vec::new();
    let mut server = world.serve();
    for number in 0..kills {
        let acknowledged = round(server, number, &mut random);
        server = world.serve();
        nothing_is_stuck(&server.http);
        hold(&server.http, &acknowledged);
        all.extend(acknowledged);
    }
    hold(&server.http, &all);
    one_effect_each(&world, &server.http, &all);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
    let decisions = all.iter().filter(|a| matches!(a, Acknowledged::Decision { .. })).count();
    println!("{kills} kills, {} jobs and {decisions} decisions acknowledged: 0 lost, 0 altered", all.len() - decisions);
}

/// A key asked again gives the job that it gave, and a title stands on one packet.
fn one_effect_each(world: &World, http: &Http, all: &[Acknowledged]) {
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for wp in world.ok(&["wp", "list"])["items"].as_array().expect("items") {
        *titles.entry(wp["title"].as_str().expect("a title").to_owned()).or_default() += 1;
    }
    assert!(titles.values().all(|n| *n == 1), "{titles:?}");
    let made = all.iter().filter_map(|a| match a {
        Acknowledged::Job { key, job } if job["op"] == "locus.create_wp" => Some((key, job)),
        _ => None,
    });
    for (key, job) in made.take(50) {
        let body = json!({ "op": "locus.create_wp", "params": { "title": key, "acceptance_criteria": ["seen"] }, "idempotency_key": key });
        assert_eq!(http.post("/api/v1/jobs", &body).json()["job_id"], job["job_id"], "{key}");
    }
}
