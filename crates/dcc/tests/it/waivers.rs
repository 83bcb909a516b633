//! The waiver of the sandbox: a person's, in the same turn, for one worktree and a time, and only where there is none.

use std::path::PathBuf;

use dcc_core::ApprovalId;
use dcc_core::op::Op;
use dcc_testkit::{Http, Reply, Server, World};
use serde_json::{Value, json};

use crate::contract::assert_table;
use crate::{DCC, approved_worktree, session_state, started_packet, until};

struct Bench {
    world: World,
    ws: String,
    clock: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(DCC);
        world.ok(&["init"]);
        let wp = started_packet(&world);
        let (ws, _) = approved_worktree(&world, &wp);
        let clock = world.path().join("clock");
        std::fs::write(&clock, "0").unwrap();
        Self { world, ws, clock }
    }
    /// A server on a machine where nothing can be enforced.
    fn serve(&self) -> Server {
        let change = |command: &mut std::process::Command| _ = command.env("DCC_SANDBOX_ABSENT", "1").env("DCC_CLOCK_FILE", &self.clock);
        self.world.serve_with(change).expect("the server starts")
    }
    fn set_clock(&self, minutes: i64) {
        self.set_clock_ms(minutes * 60_000);
    }
    fn set_clock_ms(&self, ms: i64) {
        let next = self.world.path().join("clock.next");
        std::fs::write(&next, ms.to_string()).unwrap();
        std::fs::rename(next, &self.clock).unwrap();
    }
    fn ask(&self, http: &Http) -> Value {
        self.ask_for(http, 1_800_000)
    }
    fn ask_for(&self, http: &Http, for_ms: i64) -> Value {
        http.submit("sandbox.waive", json!({ "workspace_id": self.ws }), json!({ "for_ms": for_ms, "reason": "no kernel for it here" })).json()
    }
    fn waive(&self, browser: &Http) {
        self.waive_for(browser, 1_800_000);
    }
    fn waive_for(&self, browser: &Http, for_ms: i64) {
        let asked = self.ask_for(browser, for_ms);
        let decided = approve(browser, asked["approval_id"].as_str().unwrap_or_else(|| panic!("{asked}")), true);
        assert_eq!(decided.json()["job"]["state"], "completed", "{}", decided.text());
    }
    fn start(&self) -> dcc_testkit::Ran {
        self.world.json(&["session", "start", "--ws", &self.ws, "--agent", "scripted"])
    }
    fn waivers(&self, http: &Http) -> usize {
        http.get("/api/v1/health")["waivers"].as_array().unwrap().len()
    }
}

fn decision(http: &Http, approval: &str, body: &mut Value) -> Reply {
    let shown = http.post(&format!("/api/v1/approvals/{approval}/presentation"), &json!({})).json();
    body["nonce"] = shown["nonce"].clone();
    body["preview_digest"] = shown["preview_digest"].clone();
    http.post(&format!("/api/v1/approvals/{approval}/decision"), body)
}

fn approve(http: &Http, approval: &str, with_word: bool) -> Reply {
    let word = approval.parse::<ApprovalId>().unwrap().short();
    let mut body = json!({ "decision": "approve", "scope": "once" });
    if with_word {
        body["typed"] = json!(word);
    }
    decision(http, approval, &mut body)
}

#[test]
fn only_a_person_waives_and_only_where_there_is_no_sandbox() {
    let bench = Bench::new();
    let with_sandbox = bench.world.serve();
    let refused = bench.ask(&with_sandbox.http.browser());
    assert_eq!(refused["failure"]["code"], "HSK-409-ILLEGAL-TRANSITION", "{refused}");
    assert!(refused["failure"]["hint"].as_str().is_some_and(|hint| hint.contains("dcc session start")), "{refused}");
    bench.world.ok(&["up", "--stop"]);
    drop(with_sandbox);
    let server = bench.serve();
    let (http, browser) = (server.http.clone(), server.http.browser());
    assert_eq!(bench.start().code_text(), "HSK-503-SANDBOX-UNAVAILABLE");
    assert_eq!(bench.ask(&http)["failure"]["code"], "HSK-403-SAME-TURN-CONSENT", "a script asks for none");
    assert_eq!(bench.world.json(&["sandbox", "waive", "--ws", &bench.ws, "--for", "30m", "--reason", "r"]).code, 3);
    let asked = bench.ask(&browser);
    assert_eq!(asked["state"], "awaiting_user", "{asked}");
    let approval = asked["approval_id"].as_str().unwrap();
    assert_eq!(approve(&http, approval, true).code_text(), "HSK-403-SAME-TURN-CONSENT", "a script decides none");
    assert_eq!(approve(&browser, approval, false).code_text(), "HSK-403-SAME-TURN-CONSENT", "without the typed word");
    let wider = decision(&browser, approval, &mut json!({ "decision": "approve", "scope": "workspace", "typed": approval.parse::<ApprovalId>().unwrap().short() }));
    assert_eq!(wider.code_text(), "HSK-400-INVALID-INPUT");
    // A rendering that is three minutes old, whose nonce is right.
    let shown = browser.post(&format!("/api/v1/approvals/{approval}/presentation"), &json!({})).json();
    bench.set_clock(3);
    let late = json!({ "decision": "approve", "nonce": shown["nonce"], "preview_digest": shown["preview_digest"], "typed": approval.parse::<ApprovalId>().unwrap().short() });
    assert_eq!(browser.post(&format!("/api/v1/approvals/{approval}/decision"), &late).code_text(), "HSK-408-APPROVAL-EXPIRED");
    assert_eq!((bench.waivers(&http), bench.start().code_text().as_str()), (0, "HSK-503-SANDBOX-UNAVAILABLE"));
    let decided = approve(&browser, approval, true);
    assert_eq!(decided.json()["job"]["state"], "completed", "{}", decided.text());
    assert_eq!(approve(&browser, approval, true).code_text(), "HSK-409-APPROVAL-CONSUMED", "once");
    assert_eq!(bench.waivers(&http), 1);
}

#[test]
fn while_it_holds_everything_says_unenforced_and_its_end_ends_the_agents() {
    let bench = Bench::new();
    let server = bench.serve();
    let browser = server.http.browser();
    bench.waive(&browser);
    let started = bench.start();
    let session = started.json()["session_id"].as_str().unwrap_or_else(|| panic!("{started:?}")).to_owned();
    let shown = bench.world.ok(&["session", "show", &session]);
    assert_eq!((shown["posture"]["layers"][0].as_str(), shown["posture"]["filesystem"].as_bool()), (Some("none"), Some(false)), "{shown}");
    let events = bench.world.ok(&["timeline", "--session", &session]);
    let events = events["items"].as_array().unwrap();
    assert!(!events.is_empty() && events.iter().all(|e| e["payload"]["sandbox"] == "unenforced"), "{events:#?}");
    for page in ["/sessions", "/board", "/health"] {
        let text = browser.call("GET", page, None).text();
        assert!(text.contains("unenforced"), "{page}");
        assert!(text.contains("sessions in other worktrees") && !text.contains("Sessions and recipes are refused"), "{page}");
    }
    assert!(bench.world.dcc(&["doctor"]).stdout.contains("UNENFORCED"));
    assert!(bench.world.dcc(&["session", "show", &session]).stdout.contains("UNENFORCED"));
    let other = bench.world.dcc(&["sandbox", "show"]);
    assert!(other.stdout.contains("UNENFORCED in"), "{other:?}");
    let pid = shown["process"]["pid"].as_u64().unwrap();
    let revoked = bench.world.ok(&["sandbox", "revoke"]);
    assert_eq!(revoked["agents_ended"], 1, "{revoked}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "its host is gone");
    assert_eq!(session_state(&bench.world, &session), ("BLOCKED".into(), "isolation_missing".into()));
    assert_eq!(bench.start().code_text(), "HSK-503-SANDBOX-UNAVAILABLE");
    let none = bench.world.json(&["sandbox", "revoke"]);
    assert!(none.code_text() == "HSK-404-GRANT" && none.stdout.contains("dcc sandbox show"), "{none:?}");
    for op in [Op::SandboxWaive, Op::SandboxRevoke] {
        assert_table(&bench.world, op);
    }
    assert_eq!(bench.world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn it_survives_a_restart_and_neither_its_time_nor_a_clock_set_back() {
    let bench = Bench::new();
    let server = bench.serve();
    bench.waive(&server.http.browser());
    bench.world.ok(&["up", "--stop"]);
    drop(server);
    let server = bench.serve();
    assert_eq!(bench.waivers(&server.http), 1, "it stands in canon");
    let started = bench.start().json();
    let session = started["session_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    bench.set_clock(31);
    until("the end of the agent", || (session_state(&bench.world, &session) == ("BLOCKED".into(), "isolation_missing".into())).then_some(()));
    assert_eq!((bench.waivers(&server.http), bench.start().code_text().as_str()), (0, "HSK-503-SANDBOX-UNAVAILABLE"));
    let browser = server.http.browser();
    bench.waive(&browser);
    assert_eq!(bench.waivers(&server.http), 1);
    // Back by a quarter of an hour, it would hold for longer than a person allowed.
    bench.set_clock(16);
    assert_eq!(bench.start().code_text(), "HSK-503-SANDBOX-UNAVAILABLE");
    assert_eq!(bench.waivers(&server.http), 0);
    bench.set_clock(32);
    assert_eq!((bench.waivers(&server.http), bench.start().code_text().as_str()), (0, "HSK-503-SANDBOX-UNAVAILABLE"), "it does not come back");
    let ended = || bench.world.ok(&["timeline", "--code", "FR-EVT-SEC-009"])["items"].as_array().unwrap().len();
    until("the end of the second on record", || (ended() == 2).then_some(()));
}

/// A clock that is set back again and again, a little each time, makes no time stand still.
#[test]
fn its_time_goes_on_while_the_clock_stands_still() {
    let bench = Bench::new();
    let server = bench.serve();
    bench.waive_for(&server.http.browser(), 3_000);
    let since = std::time::Instant::now();
    let ended = until("the end of the waiver", || {
        bench.set_clock_ms(-i64::try_from(since.elapsed().as_millis()).unwrap());
        bench.world.ok(&["timeline", "--code", "FR-EVT-SEC-009"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!(ended["payload"]["why"], "its time is over", "{ended}");
    assert_eq!((bench.waivers(&server.http), bench.start().code_text().as_str()), (0, "HSK-503-SANDBOX-UNAVAILABLE"));
}

#[test]
fn a_word_that_does_not_fit_leaves_the_request_where_it_was() {
    let bench = Bench::new();
    let server = bench.serve();
    let browser = server.http.browser();
    bench.waive(&browser);
    let started = bench.world.ok(&["session", "start", "--ws", &bench.ws, "--agent", "scripted", "--prompt", "go"]);
    let session = started["session_id"].as_str().unwrap();
    let mut desk = crate::attach::Desk::attach(&bench.world, 200, 150, session);
    desk.sees("Approve? y = once, j = job");
    let asked = browser.submit("sandbox.waive", json!({ "workspace_id": bench.ws, "session_id": session }), json!({ "for_ms": 3_600_000, "reason": "longer" })).json();
    let approval = asked["approval_id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let word = approval.parse::<ApprovalId>().unwrap().short();
    desk.sees("another request waits behind it");
    desk.press(b"\n");
    desk.sees("Approve? y = once, n REASON = deny");
    desk.press(b"y wrong\n");
    desk.sees("what was typed is not what the request asks to be typed");
    desk.sees_again("Approve? y = once, n REASON = deny", 2);
    assert_eq!(bench.world.ok(&["approvals", "show", &approval])["status"], "pending");
    desk.press(b"y\n");
    desk.sees(&format!("Type {word} to approve"));
    desk.press(format!("{word}\n").as_bytes());
    until("the decision", || (bench.world.ok(&["approvals", "show", &approval])["status"] == "consumed").then_some(()));
}
