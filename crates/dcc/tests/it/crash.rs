//! One decision, at most one effect (P4): the process is ended before and after every durable write and effect of every
//! kind of job, restarted and drained. Nothing is done twice, nothing is stuck, and the end is the calm run's end: by
//! recovery, or when the person asks again.
//!
//! A cell is one place of one act. Without `DCC_TEST_LONG` the places after each write stand for those before the next
//! one, which differ by nothing that is durable; the first place of each act and those between a temporary file and its
//! rename are run as well. Recovery itself is killed too: at each of its places, after the act's effect was made and
//! before its end was recorded (in the long lane after every place of the act).

use std::os::unix::process::ExitStatusExt as _;

use dcc_core::ApprovalId;
use dcc_testkit::{Http, World};
use serde_json::{Value, json};

use crate::observed::{End, Settled, settle};
use crate::{DCC, is_long, started_packet};

/// Places of a whole session that are run without the long lane: each starts an agent.
const SESSION_CELLS: usize = 16;

/// What a person does when an act did not come through.
type Again<'a> = &'a dyn Fn(&World);

/// A world that walks through the acts of a story, each under fire before it is done calmly.
struct Story {
    world: World,
    cells: usize,
    finished: usize,
    asked_again: usize,
}

impl Story {
    fn new() -> Self {
        let world = World::new(DCC);
        world.configure("[recipes.fine]\nargv = [\"sh\", \"-c\", \"echo fine\"]\n");
        world.ok(&["init"]);
        Self { world, cells: 0, finished: 0, asked_again: 0 }
    }

    /// The command under fire, then calmly; `exit` is its calm exit code. Asking again is the same command.
    fn fire(&mut self, arguments: &[&str], exit: i32) -> Value {
        self.fire_with(arguments, exit, &|world| {
            let ran = world.json(arguments);
            assert_eq!(ran.code, exit, "{arguments:?} asked again: {ran:?}");
        })
    }

    fn fire_with(&mut self, arguments: &[&str], exit: i32, again: Again) -> Value {
        let before = self.world.freeze();
        let trace = self.world.path().join("trace");
        let ran = self.world.command().arg("--json").args(arguments).env("DCC_FAILPOINT_TRACE", &trace).output().expect("dcc starts");
        assert_eq!(ran.status.code(), Some(exit), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stdout));
        let places = load_places(&trace);
        let calm = settle(&self.world);
        assert!(calm.stuck.is_empty() && calm.again.is_empty(), "{arguments:?} calmly: {calm:?}");
        let before_end = places.iter().rposition(|name| name == "before append").map(|n| n + 1);
        for at in chosen(&places) {
            let what = format!("{} killed at {at} ({})", arguments.join(" "), places[at - 1]);
            let kill = |world: &World| {
                world.thaw(&before);
                let killed = world.command().arg("--json").args(arguments).env("DCC_FAILPOINT", at.to_string()).output().expect("dcc starts");
                assert_eq!(killed.status.signal(), Some(9), "{what}: {}", String::from_utf8_lossy(&killed.stdout));
            };
            kill(&self.world);
            self.judge(&what, &calm.end, again);
            if is_long() || Some(at) == before_end {
                kill(&self.world);
                self.fire_at_recovery(&what, &calm.end, again);
            }
        }
        // Once more calmly: a worktree that is put back as files would be another directory than the registered one.
        self.world.thaw(&before);
        let ran = self.world.json(arguments);
        assert_eq!(ran.code, exit, "{arguments:?}: {ran:?}");
        ran.json()
    }

    /// From the state that a kill left: a restart that is killed at each of its places in turn.
    fn fire_at_recovery(&mut self, what: &str, calm: &End, again: Again) {
        let left = self.world.freeze();
        for at in 1.. {
            self.world.thaw(&left);
            let Some(server) = self.world.serve_with(|command| _ = command.env("DCC_FAILPOINT", at.to_string())) else {
                self.judge(&format!("{what}, its recovery killed at {at}"), calm, again);
                continue;
            };
            server.kill();
            break;
        }
    }

    /// A killed process is followed by a restart; then the calm end stands, or it does when the person asks again.
    fn judge(&mut self, what: &str, calm: &End, again: Again) {
        self.cells += 1;
        let first = settle(&self.world);
        assert!(first.stuck.is_empty(), "{what}: {:#?}", first.stuck);
        if first.again.is_empty() && first.end == *calm {
            self.finished += 1;
            return;
        }
        again(&self.world);
        self.asked_again += 1;
        let Settled { end, stuck, .. } = settle(&self.world);
        assert!(stuck.is_empty(), "{what}, asked again: {stuck:#?}");
        assert_eq!(end.difference(calm), Vec::<String>::new(), "{what}, asked again");
    }

    fn told(&self, name: &str) {
        println!("{name}: {} cells, {} ended by recovery, {} asked again: 0 double, 0 stuck", self.cells, self.finished, self.asked_again);
    }
}

fn load_places(trace: &std::path::Path) -> Vec<String> {
    let places = std::fs::read_to_string(trace).expect("a trace").lines().map(str::to_owned).collect();
    std::fs::remove_file(trace).expect("the trace");
    places
}

/// The places to try, counted from 1.
fn chosen(places: &[String]) -> Vec<usize> {
    let is_chosen = |n: &usize| {
        let name = &places[n - 1];
        is_long() || *n == 1 || name.starts_with("after") || (name.starts_with("before") && name.ends_with("file"))
    };
    (1..=places.len()).filter(is_chosen).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

/// Approves what waits; when nothing does, the request is made anew first. A grant that the kill left in force lets it
/// pass without a question.
pub(crate) fn approve_or_ask(world: &World, ask: &[&str], scope: &str) {
    let waiting = crate::pending(world).or_else(|| {
        let asked = world.json(ask);
        assert!(asked.code == 4 || asked.code == 0 && scope != "once", "{ask:?} asked again: {asked:?}");
        (asked.code == 4).then(|| text(&asked.json(), "approval_id"))
    });
    if let Some(waiting) = waiting {
        world.ok(&["approvals", "approve", &waiting, "--scope", scope]);
    }
}

#[test]
fn packets_and_their_gates() {
    let mut story = Story::new();
    let wp = text(&story.fire(&["wp", "create", "--title", "Greet people", "--criterion", "a greeting exists"], 0), "wp_id");
    story.fire(&["mt", "add", &wp, "--name", "Write it", "--criterion", "seen"], 0);
    story.fire(&["wp", "ready", &wp], 0);
    story.fire(&["wp", "gate", &wp, "pre_work", "pass"], 0);
    story.fire(&["wp", "start", &wp], 0);
    story.told("packets");
}

#[test]
fn micro_tasks_closing_and_what_is_derived() {
    let mut story = Story::new();
    let wp = started_packet(&story.world);
    story.fire(&["mt", "start", &wp, "MT-001"], 0);
    story.fire(&["mt", "done", &wp, "MT-001", "--statement", "seen"], 0);
    story.world.ok(&["wp", "gate", &wp, "post_work", "pass"]);
    story.fire(&["wp", "close", &wp], 0);
    std::fs::remove_file(story.world.state_dir().join("gov/TASK_BOARD.md")).expect("the board");
    story.fire(&["board", "sync"], 0);
    story.fire(&["rebuild"], 0);
    story.told("closing, board, rebuild");
}

#[test]
fn worktrees_commits_and_grants() {
    let mut story = Story::new();
    let wp = started_packet(&story.world);
    let create = ["ws", "create", "--wp", &wp];
    let approval = text(&story.fire(&create, 4), "approval_id");
    let made = story.fire_with(&["approvals", "approve", &approval], 0, &|world| approve_or_ask(world, &create, "once"));
    let (ws, path) = (text(&made, "workspace_id"), text(&made, "path"));
    std::fs::write(std::path::Path::new(&path).join("src/a.txt"), "changed\n").expect("a file");
    let commit = ["vcs", "commit", "--ws", &ws, "-m", "Change", "src/a.txt"];
    let approval = text(&story.fire(&commit, 4), "approval_id");
    let approve = ["approvals", "approve", &approval, "--scope", "workspace"];
    story.fire_with(&approve, 0, &|world| approve_or_ask(world, &commit, "workspace"));
    story.told("worktrees, commits");
}

#[test]
fn recipes_grants_and_workspaces() {
    let mut story = Story::new();
    let wp = started_packet(&story.world);
    let (ws, path) = crate::approved_worktree(&story.world, &wp);
    story.fire(&["run", "--ws", &ws, "fine"], 0);
    std::fs::write(path.join("src/a.txt"), "changed\n").expect("a file");
    let parked = story.world.json(&["vcs", "commit", "--ws", &ws, "-m", "Change", "src/a.txt"]).json();
    story.world.ok(&["approvals", "approve", &text(&parked, "approval_id"), "--scope", "workspace"]);
    let grant = story.world.ok(&["grants", "list"])["items"][0]["grant_id"].as_str().expect("a grant").to_owned();
    // Under the grant the commit asks nobody.
    std::fs::write(path.join("src/a.txt"), "changed again\n").expect("a file");
    story.fire(&["vcs", "commit", "--ws", &ws, "-m", "Again", "src/a.txt"], 0);
    story.fire(&["grants", "revoke", &grant], 0);
    story.fire(&["ws", "unlink", &ws], 0);
    story.told("recipes, grants, workspaces");
}

/// The request for a repair is parked calmly; what is killed is the decision with its effect.
fn repair(story: &mut Story, ask: &[&str]) {
    let parked = story.world.json(ask);
    assert_eq!(parked.code, 4, "{ask:?}: {parked:?}");
    let approval = text(&parked.json(), "approval_id");
    story.fire_with(&["approvals", "approve", &approval], 0, &|world| approve_or_ask(world, ask, "once"));
}

/// A story with a worktree in which a file was changed; workspace and path.
fn with_work() -> (Story, String, std::path::PathBuf) {
    let story = Story::new();
    let wp = started_packet(&story.world);
    let (ws, path) = crate::approved_worktree(&story.world, &wp);
    std::fs::write(path.join("src/a.txt"), "precious\n").expect("a file");
    (story, ws, path)
}

#[test]
fn a_worktree_that_git_forgot_is_registered_again() {
    let (mut story, ws, path) = with_work();
    std::fs::remove_dir_all(story.world.repo().join(".git/worktrees")).expect("git's entries");
    repair(&mut story, &["ws", "repair", &ws, "--reregister"]);
    assert_eq!(std::fs::read_to_string(path.join("src/a.txt")).expect("the work"), "precious\n");
    story.told("registering again");
}

#[test]
fn a_worktree_that_moved_or_lost_its_pointer_is_followed() {
    let (mut story, ws, path) = with_work();
    let moved = path.with_file_name("elsewhere");
    std::fs::rename(&path, &moved).expect("moved");
    // Both sides are to be written.
    std::fs::remove_file(moved.join(".git")).expect("its pointer");
    repair(&mut story, &["ws", "repair", &ws, "--relocate", "--path", moved.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(moved.join("src/a.txt")).expect("the work"), "precious\n");
    story.told("following");
}

#[test]
fn a_directory_that_is_gone_is_checked_out_again() {
    let (mut story, ws, path) = with_work();
    std::fs::remove_dir_all(&path).expect("the directory");
    repair(&mut story, &["ws", "repair", &ws, "--recreate"]);
    assert!(path.join("src/a.txt").is_file());
    story.told("checking out again");
}

/// A person waives the sandbox in the browser, for one worktree, unless it is waived. None: the server is gone.
fn waive(http: &Http, ws: &str) -> Option<()> {
    let browser = http.try_browser()?;
    let items = |path: &str, key: &str| Some(browser.try_call("GET", path, None)?.json()[key].as_array().cloned().unwrap_or_default());
    if !items("/api/v1/health", "waivers")?.is_empty() {
        return Some(());
    }
    let waiting = if let Some(waiting) = items("/api/v1/approvals?status=pending", "items")?.first() { waiting.clone() } else {
        let body = json!({ "op": "sandbox.waive", "bindings": { "workspace_id": ws }, "params": { "for_ms": 1_800_000, "reason": "no kernel for it here" } });
        browser.try_call("POST", "/api/v1/jobs", Some(&body))?.json()
    };
    let approval = text(&waiting, "approval_id");
    let shown = browser.try_call("POST", &format!("/api/v1/approvals/{approval}/presentation"), Some(&json!({})))?.json();
    let typed = approval.parse::<ApprovalId>().expect("an id").short();
    let body = json!({ "decision": "approve", "scope": "once", "typed": typed, "nonce": shown["nonce"], "preview_digest": shown["preview_digest"] });
    let decided = browser.try_call("POST", &format!("/api/v1/approvals/{approval}/decision"), Some(&body))?.json();
    assert_eq!(decided["job"]["state"], "completed", "{decided}");
    Some(())
}

#[test]
fn waivers_of_the_sandbox_and_their_end() {
    let (mut story, ws, _) = with_work();
    let serve = |world: &World, name: &str, value: &str| world.serve_with(|command| _ = command.env("DCC_SANDBOX_ABSENT", "1").env(name, value));
    let before = story.world.freeze();
    let trace = story.world.path().join("trace");
    let server = serve(&story.world, "DCC_FAILPOINT_TRACE", trace.to_str().expect("UTF-8")).expect("the server starts");
    waive(&server.http, &ws).expect("a calm waiver");
    server.kill();
    let places = load_places(&trace);
    let calm = settle(&story.world);
    assert!(calm.stuck.is_empty() && calm.again.is_empty(), "{calm:?}");
    let waived = |world: &World| {
        let server = serve(world, "DCC_FAILPOINT", "0").expect("the server starts");
        waive(&server.http, &ws).expect("the server lives");
        server.kill();
    };
    for at in chosen(&places) {
        let what = format!("a waiver killed at {at} ({})", places[at - 1]);
        story.world.thaw(&before);
        if let Some(server) = serve(&story.world, "DCC_FAILPOINT", &at.to_string()) {
            assert!(waive(&server.http, &ws).is_none(), "{what}: it came through");
            assert!(server.was_killed(), "{what}");
        }
        story.judge(&what, &calm.end, &waived);
        let count = story.world.ok(&["timeline", "--code", "FR-EVT-SEC-008"])["items"].as_array().map(Vec::len);
        assert_eq!(count, Some(1), "{what}: waived once");
    }
    story.world.thaw(&before);
    waived(&story.world);
    story.fire(&["sandbox", "revoke"], 0);
    story.told("waivers");
}

/// What one session does in every run: asks for one edit, and writes it.
const SCRIPT: &str = r#"{"turns":[{"steps":[{"say":"I begin."},{"edit":{"path":"src/greeting.txt","create":"hello\n"},"ask":true},{"say":"Done."}]}]}"#;

/// Starts a session, allows its edit, waits for the end of its turn. None: the server is gone.
fn session(http: &Http, ws: &str) -> Option<()> {
    let body = json!({ "op": "session.start", "bindings": { "workspace_id": ws }, "params": { "agent": "tester", "prompt": "go" } });
    http.try_call("POST", "/api/v1/jobs", Some(&body))?;
    let items = |path: &str| Some(http.try_call("GET", path, None)?.json()["items"].as_array().cloned().unwrap_or_default());
    let mut decided = false;
    crate::until("the end of the turn", || {
        let (Some(waiting), Some(sessions)) = (items("/api/v1/approvals?status=pending"), items("/api/v1/sessions")) else { return Some(None) };
        if let Some(approval) = waiting.first().filter(|_| !decided) {
            decided = true;
            let path = format!("/api/v1/approvals/{}/decision", text(approval, "approval_id"));
            if http.try_call("POST", &path, Some(&json!({ "decision": "approve", "scope": "once", "reason": "fine" }))).is_none() {
                return Some(None);
            }
        }
        let over = sessions.first().is_some_and(|s| s["state_reason"] == "input_wait" && s["turns"].as_u64() >= Some(1));
        (over && decided).then_some(Some(()))
    })
}

#[test]
fn sessions_their_requests_and_writes() {
    let mut story = Story::new();
    let wp = started_packet(&story.world);
    let (ws, path) = crate::approved_worktree(&story.world, &wp);
    story.world.configure(&crate::scripted(&story.world, SCRIPT));
    let before = story.world.freeze();
    let trace = story.world.path().join("trace");
    let server = story.world.serve_with(|command| _ = command.env("DCC_FAILPOINT_TRACE", &trace)).expect("the server starts");
    session(&server.http, &ws).expect("a calm session");
    server.kill();
    let places = load_places(&trace);
    let greeting = path.join("src/greeting.txt");
    assert_eq!(std::fs::read_to_string(&greeting).ok().as_deref(), Some("hello\n"));
    let all: Vec<usize> = if is_long() { (1..=places.len()).collect() } else { (1..=places.len()).step_by((places.len() / SESSION_CELLS).max(1)).collect() };
    let mut missed = 0;
    for at in all {
        let what = format!("a session killed at {at} of {} ({})", places.len(), places[at - 1]);
        story.world.thaw(&before);
        let server = story.world.serve_with(|command| _ = command.env("DCC_FAILPOINT", at.to_string()));
        // Threads take turns: now and then a run reaches fewer places than the one that was counted.
        let came_through = server.is_some_and(|server| session(&server.http, &ws).is_some());
        missed += usize::from(came_through);
        story.cells += 1;
        let first = settle(&story.world);
        assert!(first.stuck.is_empty(), "{what}: {:#?}", first.stuck);
        let written = std::fs::read_to_string(&greeting).ok();
        assert!(written.is_none() || written.as_deref() == Some("hello\n"), "{what}: {written:?}");
        if written.is_some() {
            story.finished += 1;
        }
        one_session_more(&story.world, &ws, &what);
        assert_eq!(std::fs::read_to_string(&greeting).ok().as_deref(), Some("hello\n"), "{what}, asked again");
        story.asked_again += 1;
    }
    assert!(missed * 4 <= story.cells, "{missed} of {} cells were not reached", story.cells);
    println!("{missed} cells came through without reaching their place");
    story.told("sessions");
}

/// A person cancels what is left of the session and starts another one, which comes through.
fn one_session_more(world: &World, ws: &str, what: &str) {
    let server = world.serve();
    for old in server.http.get("/api/v1/sessions")["items"].as_array().expect("items") {
        if !["COMPLETED", "FAILED", "CANCELLED"].iter().any(|over| old["state"] == *over) {
            let cancel = server.http.submit("session.cancel", json!({ "session_id": old["session_id"] }), json!({})).json();
            let cancelled = crate::until("the cancellation", || {
                let job = server.http.get(&format!("/api/v1/jobs/{}", text(&cancel, "job_id")));
                (job["state"] != "queued" && job["state"] != "running").then_some(job)
            });
            assert_eq!(cancelled["state"], "completed", "{what}: {cancelled}");
        }
    }
    session(&server.http, ws).unwrap_or_else(|| panic!("{what}, asked again: the server is gone"));
    server.kill();
    let settled = settle(world);
    assert!(settled.stuck.is_empty(), "{what}, asked again: {:#?}", settled.stuck);
}
