//! Attacks on a decision, at the process level over HTTP (GOVERNANCE 9): the same approval redeemed many times at once,
//! one approval's answer for another, replays, and a clock that is set.

use dcc_testkit::{Http, Server, World};
use serde_json::{Value, json};

use crate::{DCC, started_packet};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A served project whose clock can be set, with one packet that is ready for a worktree.
struct Bench {
    world: World,
    server: Server,
    wp: String,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(DCC);
        world.ok(&["init"]);
        let wp = started_packet(&world);
        let server = Self::serve(&world);
        Self { world, server, wp }
    }

    fn serve(world: &World) -> Server {
        let file = world.path().join("clock");
        world.serve_with(|command| _ = command.env("DCC_CLOCK_FILE", file)).expect("the server starts")
    }

    /// Sets the clock to so much after the machine's.
    fn set_clock(&self, offset_ms: i64) {
        let file = self.world.path().join("clock");
        std::fs::write(file.with_extension("new"), offset_ms.to_string()).expect("a file");
        std::fs::rename(file.with_extension("new"), file).expect("a rename");
    }

    fn http(&self) -> &Http {
        &self.server.http
    }

    /// A worktree asked for; the approval's id.
    fn park(&self, wp: &str) -> String {
        let parked = self.http().submit("workspace.create", json!({ "wp_id": wp }), json!({})).json();
        assert_eq!(parked["state"], "awaiting_user", "{parked}");
        parked["approval_id"].as_str().expect("an approval").to_owned()
    }

    fn another_packet(&self) -> String {
        let made = self.http().submit("locus.create_wp", json!({}), json!({ "title": "Another", "acceptance_criteria": ["c"] })).json();
        let wp = made["wp_id"].as_str().expect("an id").to_owned();
        let ready = self.http().submit("locus.update_wp", json!({ "wp_id": wp }), json!({ "set": { "status": "ready" } })).json();
        assert_eq!(ready["state"], "completed", "{ready}");
        wp
    }

    /// Worktrees of git besides the main one.
    fn worktrees(&self) -> usize {
        self.world.git(&["worktree", "list", "--porcelain"]).lines().filter(|l| l.starts_with("worktree ")).count() - 1
    }
}

fn decision(approval: &str, body: &Value, http: &Http) -> (u16, String) {
    let reply = http.post(&format!("/api/v1/approvals/{approval}/decision"), body);
    (reply.status, if reply.status == 200 { String::new() } else { reply.code_text() })
}

fn present(approval: &str, http: &Http) -> Value {
    http.post(&format!("/api/v1/approvals/{approval}/presentation"), &json!({})).json()
}

#[test]
fn fifty_redeems_at_once_have_one_effect() {
    let bench = Bench::new();
    let approval = bench.park(&bench.wp);
    let gate = std::sync::Barrier::new(50);
    let outcomes: Vec<(u16, String)> = std::thread::scope(|scope| {
        let redeem = |n: usize| {
            let (gate, approval, http) = (&gate, &approval, bench.http());
            let verdict = if n.is_multiple_of(5) { "deny" } else { "approve" };
            scope.spawn(move || {
                gate.wait();
                decision(approval, &json!({ "decision": verdict, "scope": "once", "reason": "race" }), http)
            })
        };
        let handles: Vec<_> = (0..50).map(redeem).collect();
        handles.into_iter().map(|h| h.join().expect("a client")).collect()
    });
    let won = outcomes.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(won, 1, "{outcomes:?}");
    assert!(outcomes.iter().filter(|(status, _)| *status != 200).all(|(status, code)| *status == 409 && code == "HSK-409-APPROVAL-CONSUMED"), "{outcomes:?}");
    let shown = bench.http().get(&format!("/api/v1/approvals/{approval}"));
    assert_eq!(bench.worktrees(), usize::from(shown["decision"]["approve"] == true), "{shown}");
    let decided = bench.http().get("/api/v1/events?code=FR-EVT-APPR-003&limit=1000");
    assert_eq!(decided["items"].as_array().expect("items").len(), 1);
}

#[test]
fn an_answer_to_one_request_is_no_answer_to_another() {
    let bench = Bench::new();
    let (first, second) = (bench.park(&bench.wp), bench.park(&bench.another_packet()));
    let (a, b) = (present(&first, bench.http()), present(&second, bench.http()));
    assert_ne!(a["preview_digest"], b["preview_digest"]);
    let mixed = json!({ "decision": "approve", "scope": "once", "nonce": b["nonce"], "preview_digest": b["preview_digest"] });
    assert_eq!(decision(&first, &mixed, bench.http()), (403, "HSK-403-SAME-TURN-CONSENT".to_owned()));
    // Parameters, a plan or another packet cannot ride along.
    for extra in [json!({ "params": { "branch": "evil" } }), json!({ "plan_digest": b["preview_digest"] }), json!({ "bindings": { "wp_id": "WP-0002" } }), json!({ "job_id": b["approval_id"] })] {
        let mut body = json!({ "decision": "approve", "scope": "once" });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        assert_eq!(decision(&first, &body, bench.http()), (400, "HSK-400-INVALID-INPUT".to_owned()), "{body}");
    }
    assert_eq!(bench.worktrees(), 0);
    assert_eq!(bench.http().get(&format!("/api/v1/approvals/{first}"))["status"], "pending");
    // In a browser the nonce of the very rendering counts: another's, an older one, none.
    let browser = bench.http().browser();
    let old = present(&first, &browser);
    present(&first, bench.http());
    let new = present(&first, &browser);
    for nonce in [&b["nonce"], &old["nonce"], &Value::Null] {
        let body = json!({ "decision": "approve", "scope": "once", "nonce": nonce, "preview_digest": new["preview_digest"] });
        assert_eq!(decision(&first, &body, &browser), (403, "HSK-403-SAME-TURN-CONSENT".to_owned()), "{nonce}");
    }
    let body = json!({ "decision": "approve", "scope": "once", "nonce": new["nonce"], "preview_digest": new["preview_digest"] });
    assert_eq!(decision(&first, &body, &browser).0, 200);
    assert_eq!(bench.worktrees(), 1);
}

#[test]
fn a_card_that_is_loaded_again_is_the_same_rendering_until_its_nonce_runs_out() {
    let bench = Bench::new();
    let approval = bench.park(&bench.wp);
    let (browser, http) = (bench.http().browser(), bench.http());
    let shown = || bench.http().get("/api/v1/events?code=FR-EVT-APPR-002&limit=1000")["items"].as_array().expect("items").len();
    let first = present(&approval, &browser);
    for _ in 0..5 {
        assert_eq!(present(&approval, &browser), first);
    }
    assert_eq!(shown(), 1);
    // Over another surface it is another one, and it ends the one before.
    let terminal = present(&approval, http);
    let second = present(&approval, &browser);
    assert!(first["nonce"] != terminal["nonce"] && first["nonce"] != second["nonce"]);
    assert_eq!(shown(), 3);
    bench.set_clock(110_000);
    assert_eq!(present(&approval, &browser)["nonce"], second["nonce"]);
    bench.set_clock(122_000);
    let body = |nonce: &Value| json!({ "decision": "approve", "scope": "once", "nonce": nonce, "preview_digest": first["preview_digest"] });
    assert_eq!(decision(&approval, &body(&second["nonce"]), &browser), (408, "HSK-408-APPROVAL-EXPIRED".to_owned()));
    let third = present(&approval, &browser);
    assert_ne!(second["nonce"], third["nonce"]);
    // A clock that was set back says nothing about a rendering's age.
    bench.set_clock(60_000);
    let fourth = present(&approval, &browser);
    assert_ne!(third["nonce"], fourth["nonce"]);
    assert_eq!((present(&approval, &browser)["nonce"].clone(), shown()), (fourth["nonce"].clone(), 5));
    assert_eq!(decision(&approval, &body(&fourth["nonce"]), &browser).0, 200);
    assert_eq!(bench.worktrees(), 1);
}

#[test]
fn a_replay_has_no_second_effect() {
    let bench = Bench::new();
    let request = json!({ "op": "workspace.create", "bindings": { "wp_id": bench.wp }, "params": {}, "idempotency_key": "one-tree" });
    let parked = bench.http().post("/api/v1/jobs", &request).json();
    let approval = parked["approval_id"].as_str().expect("an approval").to_owned();
    let shown = present(&approval, bench.http());
    let body = json!({ "decision": "approve", "scope": "once", "nonce": shown["nonce"], "preview_digest": shown["preview_digest"] });
    assert_eq!(decision(&approval, &body, bench.http()).0, 200);
    let after = bench.world.snapshot();
    for _ in 0..3 {
        assert_eq!(decision(&approval, &body, bench.http()), (409, "HSK-409-APPROVAL-CONSUMED".to_owned()));
        let again = bench.http().post("/api/v1/jobs", &request).json();
        assert_eq!((&again["job_id"], &again["state"]), (&parked["job_id"], &json!("completed")));
    }
    let mut other = request.clone();
    other["params"] = json!({ "branch": "other" });
    assert_eq!(bench.http().post("/api/v1/jobs", &other).code_text(), "HSK-409-IDEMPOTENCY");
    assert_eq!(after.difference(&bench.world.snapshot()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_ran_out_stays_so_when_the_clock_is_set_back() {
    let bench = Bench::new();
    let before = bench.world.snapshot();
    let approval = bench.park(&bench.wp);
    let approve = json!({ "decision": "approve", "scope": "once" });
    bench.set_clock(DAY_MS + 1);
    assert_eq!(decision(&approval, &approve, bench.http()), (408, "HSK-408-APPROVAL-EXPIRED".to_owned()));
    bench.set_clock(0);
    assert_eq!(decision(&approval, &approve, bench.http()), (408, "HSK-408-APPROVAL-EXPIRED".to_owned()));
    assert_eq!(before.difference(&bench.world.snapshot()), Vec::<std::path::PathBuf>::new());
    // A rendering that was too old stays too old.
    let (approval, unrelated) = (bench.park(&bench.wp), bench.park(&bench.another_packet()));
    let browser = bench.http().browser();
    let shown = present(&approval, &browser);
    let body = json!({ "decision": "approve", "scope": "once", "nonce": shown["nonce"], "preview_digest": shown["preview_digest"] });
    for (offset, refusal) in [(600_000, (408, "HSK-408-APPROVAL-EXPIRED")), (0, (403, "HSK-403-SAME-TURN-CONSENT"))] {
        bench.set_clock(offset);
        // Something is recorded meanwhile, so that the log knows of the step.
        present(&unrelated, &browser);
        let (status, code) = decision(&approval, &body, &browser);
        assert_eq!((status, code.as_str()), refusal, "{offset}");
    }
    // So does a grant, also over a restart.
    assert_eq!(decision(&approval, &approve, bench.http()).0, 200);
    let workspace = bench.http().get("/api/v1/workspaces")["items"].as_array().expect("items").iter().find(|w| w["kind"] == "worktree").expect("a worktree").clone();
    let path = std::path::PathBuf::from(workspace["path"].as_str().expect("a path"));
    let commit = |http: &Http, text: &str| {
        std::fs::write(path.join("src/a.txt"), text).expect("a file");
        let params = json!({ "paths": ["src/a.txt"], "message": text });
        http.submit("version.commit", json!({ "workspace_id": workspace["workspace_id"] }), params).json()
    };
    let parked = commit(bench.http(), "first");
    let granted = json!({ "decision": "approve", "scope": "workspace" });
    assert_eq!(decision(parked["approval_id"].as_str().expect("an approval"), &granted, bench.http()).0, 200);
    assert_eq!(commit(bench.http(), "second")["state"], "completed", "the grant covers it");
    bench.set_clock(3 * DAY_MS);
    let asked = commit(bench.http(), "third");
    assert_eq!(asked["state"], "awaiting_user", "the grant has run out: {asked}");
    bench.set_clock(0);
    let asked = commit(bench.http(), "fourth");
    assert_eq!(asked["state"], "awaiting_user", "the grant does not come back: {asked}");
    let Bench { world, server, .. } = bench;
    server.kill();
    let server = Bench::serve(&world);
    let asked = commit(&server.http, "fifth");
    assert_eq!(asked["state"], "awaiting_user", "nor after a restart: {asked}");
}
