//! Promises over every way in and every kind: what a denied, expired or stale request leaves (P5), what may be deleted
//! (P7), and that all surfaces leave the same trail.

use std::path::{Path, PathBuf};

use dcc_testkit::{Http, Server, World};
use serde_json::{Value, json};

use crate::slice::{codes_of, trail};
use crate::{DCC, approved_worktree, is_long, started_packet, until};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

/// How a request ends without its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Denied,
    Expired,
    /// Somebody changes what the plan was made from.
    Stale,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Worktree,
    Commit,
    /// The scripted agent asks for an edit.
    Edit,
    /// It asks to run a command.
    Execute,
    /// It asks about something without details.
    Unknown,
    /// It writes without having asked; DCC asks.
    Write,
}

impl Asked {
    const ALL: [Self; 6] = [Self::Worktree, Self::Commit, Self::Edit, Self::Execute, Self::Unknown, Self::Write];

    /// The step of the agent that leads to the request; none for what a person asks.
    fn step(self) -> Option<Value> {
        let edit = json!({ "path": "src/a.txt", "new": "by the agent\n" });
        match self {
            Self::Worktree | Self::Commit => None,
            Self::Edit => Some(json!({ "edit": edit, "ask": true })),
            Self::Execute => Some(json!({ "run": { "argv": ["touch", "made-by-the-agent"] }, "ask": true })),
            Self::Unknown => Some(json!({ "bare_permission": true })),
            Self::Write => Some(json!({ "edit": edit })),
        }
    }
}

/// A served project whose clock can be set.
struct Place {
    world: World,
    server: Server,
    wp: String,
    /// Workspace and directory; none while the worktree is what is asked for.
    tree: Option<(String, PathBuf)>,
}

impl Place {
    fn new(asked: Asked) -> Self {
        let world = World::new(DCC);
        if let Some(step) = asked.step() {
            world.configure(&crate::scripted(&world, &json!({ "turns": [{ "steps": [step] }] }).to_string()));
        }
        world.ok(&["init"]);
        let wp = started_packet(&world);
        let tree = (asked != Asked::Worktree).then(|| approved_worktree(&world, &wp));
        let clock = world.path().join("clock");
        let server = world.serve_with(|command| _ = command.env("DCC_CLOCK_FILE", clock)).expect("the server starts");
        Self { world, server, wp, tree }
    }

    fn http(&self) -> &Http {
        &self.server.http
    }

    /// Asks; the approval that waits.
    fn ask(&self, asked: Asked) -> String {
        let submit = |op: &str, bindings: Value, params: Value| {
            let job = self.http().submit(op, bindings, params).json();
            assert!(job["failure"].is_null(), "{job}");
        };
        match (asked, &self.tree) {
            (Asked::Worktree, _) => submit("workspace.create", json!({ "wp_id": self.wp }), json!({})),
            (Asked::Commit, Some((ws, _))) => submit("version.commit", json!({ "workspace_id": ws }), json!({ "paths": ["src/a.txt"], "message": "Change" })),
            (_, Some((ws, _))) => submit("session.start", json!({ "workspace_id": ws }), json!({ "agent": "tester", "prompt": "go" })),
            (_, None) => unreachable!("everything else has a worktree"),
        }
        until("a request", || self.http().get("/api/v1/approvals?status=pending")["items"][0]["approval_id"].as_str().map(str::to_owned))
    }

    /// Changes what the plan was made from, as somebody else would.
    fn disturb(&self, asked: Asked) {
        match (asked, &self.tree) {
            (Asked::Worktree, _) => _ = self.world.git(&["branch", &format!("dcc/{}-greet-people", self.wp)]),
            (Asked::Commit, Some((_, path))) => _ = self.world.git_in(path, &["commit", "--quiet", "--allow-empty", "-m", "Behind our back"]),
            (_, Some((_, path))) => std::fs::write(path.join("src/a.txt"), "by somebody else\n").expect("a file"),
            (_, None) => unreachable!("everything else has a worktree"),
        }
    }
}

/// Requests that no change of the worktree makes stale: what they allow is a command, judged anew by the sandbox.
fn can_be_stale(asked: Asked) -> bool {
    !matches!(asked, Asked::Execute | Asked::Unknown | Asked::Edit)
}

fn end(asked: Asked, ending: Ending) {
    let place = Place::new(asked);
    if let (Asked::Commit, Some((_, path))) = (asked, &place.tree) {
        std::fs::write(path.join("src/a.txt"), "mine\n").expect("a file");
    }
    let mut before = place.world.snapshot();
    let approval = place.ask(asked);
    let (status, code) = match ending {
        Ending::Denied => (place.http().decide(&approval, "deny", "not now"), "HSK-403-APPROVAL-DENIED"),
        Ending::Expired => {
            std::fs::write(place.world.path().join("clock"), (DAY_MS + 1).to_string()).expect("a file");
            (place.http().decide(&approval, "approve", "late"), "HSK-408-APPROVAL-EXPIRED")
        }
        Ending::Stale => {
            place.disturb(asked);
            before = place.world.snapshot();
            (place.http().decide(&approval, "approve", "fine"), "")
        }
    };
    assert!(status.status < 500, "{asked:?} {ending:?}: {}", status.text());
    let shown = place.http().get(&format!("/api/v1/approvals/{approval}"));
    let job = until("the end of the job", || {
        let job = place.http().get(&format!("/api/v1/jobs/{}", text(&shown, "job_id")));
        (job["state"] == "failed" || job["state"] == "cancelled").then_some(job)
    });
    if code.is_empty() {
        let refusal = job["failure"]["code"].as_str().unwrap_or_default();
        assert!(["HSK-409-STALE-PREVIEW", "HSK-409-WORKTREE-CONFLICT", "VCS_HEAD_MOVED"].contains(&refusal), "{asked:?} {ending:?}: {job}");
    } else {
        assert_eq!(job["failure"]["code"], code, "{asked:?} {ending:?}: {job}");
    }
    if asked.step().is_some() {
        until("the end of the turn", || (place.http().get("/api/v1/sessions")["items"][0]["state_reason"] == "input_wait").then_some(()));
    }
    assert_eq!(before.difference(&place.world.snapshot()), Vec::<PathBuf>::new(), "{asked:?} {ending:?}");
}

#[test]
fn what_is_denied_leaves_nothing() {
    for asked in Asked::ALL {
        end(asked, Ending::Denied);
    }
}

#[test]
fn what_expires_leaves_nothing() {
    for asked in Asked::ALL {
        end(asked, Ending::Expired);
    }
}

#[test]
fn what_went_stale_leaves_nothing() {
    for asked in Asked::ALL.into_iter().filter(|asked| can_be_stale(*asked)) {
        end(asked, Ending::Stale);
    }
}

/// One walk through the slice by requests; the packet.
fn walk(http: &Http) -> String {
    let job = |op: &str, bindings: Value, params: Value| {
        let job = http.submit(op, bindings, params).json();
        assert!(job["state"] == "completed" || job["state"] == "awaiting_user", "{op}: {job}");
        job
    };
    let approve = |job: &Value| {
        let decided = http.decide(&text(job, "approval_id"), "approve", "fine");
        assert_eq!(decided.json()["job"]["state"], "completed", "{}", decided.text());
        decided.json()["job"].clone()
    };
    let wp = text(&job("locus.create_wp", json!({}), json!({ "title": "Greet people", "acceptance_criteria": ["a greeting exists"] })), "wp_id");
    let about = json!({ "wp_id": wp });
    job("locus.register_mts", about.clone(), json!({ "micro_tasks": [{ "name": "Write it", "done_criteria": ["seen"] }] }));
    job("locus.update_wp", about.clone(), json!({ "set": { "status": "ready" } }));
    job("locus.gate_wp", about.clone(), json!({ "gate": "pre_work", "result": "pass" }));
    job("locus.start_wp", about.clone(), json!({}));
    let task = json!({ "wp_id": wp, "mt_id": "MT-001" });
    job("locus.start_mt", task.clone(), json!({}));
    let made = approve(&job("workspace.create", about, json!({})));
    std::fs::write(Path::new(&text(&made, "path")).join("src/a.txt"), "changed\n").expect("a file");
    let commit = job("version.commit", json!({ "workspace_id": made["workspace_id"] }), json!({ "paths": ["src/a.txt"], "message": "Change" }));
    let commit = approve(&commit);
    job("locus.complete_mt", task, json!({ "evidence": { "job_id": commit["job_id"] } }));
    wp
}

#[test]
fn requests_by_script_and_by_browser_leave_the_trail_of_the_commands() {
    let by_command = {
        let world = World::new(DCC);
        world.ok(&["init"]);
        crate::slice::short_slice(&world)
    };
    assert!(by_command.len() > 100, "{}", by_command.len());
    for is_browser in [false, true] {
        let world = World::new(DCC);
        world.ok(&["init"]);
        let server = world.serve();
        let http = if is_browser { server.http.browser() } else { server.http.clone() };
        let wp = walk(&http);
        assert_eq!(trail(&world, &wp), by_command, "browser: {is_browser}");
        let surfaces = world.ok(&["timeline", "--wp", &wp]);
        assert!(codes_of(&surfaces).contains(&"FR-EVT-APPR-003".to_owned()));
        let decided = http.get("/api/v1/events?code=FR-EVT-APPR-003");
        let surface = if is_browser { "browser" } else { "bearer" };
        for event in decided["items"].as_array().expect("items") {
            assert_eq!(event["actor"]["surface"], surface, "{event}");
        }
    }
}

/// The lists a person looks at, without what differs from one reading to the next.
fn views(http: &Http, ws: &str) -> Vec<Value> {
    let mut all: Vec<Value> = ["wps", "jobs", "approvals", "grants", "sessions", "workspaces", "board", "events?limit=1000"].iter().map(|name| http.get(&format!("/api/v1/{name}"))).collect();
    all.push(http.get(&format!("/api/v1/workspaces/{ws}")));
    all.iter_mut().for_each(forget_ages);
    all
}

fn forget_ages(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("age_"));
            map.values_mut().for_each(forget_ages);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_ages),
        _ => {}
    }
}

/// Removes everything that is derived.
fn lose_what_is_derived(world: &World, tree: &Path) {
    for name in ["devcc.db", "devcc.db-wal", "devcc.db-shm", "workspace.json"] {
        let _ = std::fs::remove_file(world.state_dir().join(name));
    }
    let _ = std::fs::remove_file(tree.join(".handshake/workspace.json"));
}

/// Git, Locus, artifacts and the log's own words.
fn canon(world: &World) -> (dcc_testkit::Snapshot, String) {
    let exported = world.dcc(&["recorder", "export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    (world.snapshot(), exported.stdout)
}

#[test]
fn what_is_derived_may_be_lost_again_and_again_also_while_in_use() {
    let rounds = if is_long() { 50 } else { 5 };
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, tree) = approved_worktree(&world, &wp);
    let mut server = world.serve();
    for round in 0..rounds {
        let (before, canon_before) = (views(&server.http, &ws), canon(&world));
        lose_what_is_derived(&world, &tree);
        if round % 2 == 1 {
            server.kill();
            server = world.serve();
        }
        assert_eq!(views(&server.http, &ws), before, "round {round}");
        let canon_after = canon(&world);
        let changed: Vec<PathBuf> = canon_before.0.difference(&canon_after.0).into_iter().filter(|p| !p.ends_with(".handshake/workspace.json")).collect();
        assert_eq!(changed, Vec::<PathBuf>::new(), "round {round}");
        assert!(canon_before.1 == canon_after.1, "round {round}: the log changed");
    }
    under_load(&world, &server, &wp, &tree, rounds);
}

/// Deletions while two clients write: every act comes through and is seen.
fn under_load(world: &World, server: &Server, wp: &str, tree: &Path, rounds: usize) {
    let notes = rounds * 4;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let http = server.http.clone();
                scope.spawn(move || {
                    for n in 0..notes {
                        let job = http.submit("locus.add_note", json!({ "wp_id": wp }), json!({ "body": format!("note {client} {n}") })).json();
                        assert_eq!(job["state"], "completed", "{job}");
                    }
                })
            })
            .collect();
        while clients.iter().any(|c| !c.is_finished()) {
            lose_what_is_derived(world, tree);
            server.http.get("/api/v1/wps");
        }
    });
    let shown = server.http.get(&format!("/api/v1/wps/{wp}"));
    assert_eq!(shown["notes"].as_array().expect("notes").len(), 2 * notes, "every note is on the packet");
    let kept = views_of_packets(&server.http);
    lose_what_is_derived(world, tree);
    assert_eq!(views_of_packets(&server.http), kept);
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

fn views_of_packets(http: &Http) -> Vec<Value> {
    ["wps", "jobs", "board"].iter().map(|name| http.get(&format!("/api/v1/{name}"))).collect()
}
