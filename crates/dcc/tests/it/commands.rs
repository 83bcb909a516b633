//! Commands word for word: a person's by `dcc run --`, and an agent's in its terminals, each a governed job in the sandbox.

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, pending, scripted, session_state, started_packet, until};

struct Scene {
    world: World,
    ws: String,
    path: std::path::PathBuf,
}

/// A worktree, and a scripted agent that plays these turns.
fn scene(turns: &Value) -> Scene {
    let world = World::new(DCC);
    let script = json!({"name": "terminals", "turns": turns.as_array().unwrap().iter().map(|steps| json!({"steps": steps})).collect::<Vec<_>>()});
    world.configure(&scripted(&world, &script.to_string()));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    Scene { world, ws, path }
}

impl Scene {
    fn start(&self) -> String {
        self.world.ok(&["session", "start", "--ws", &self.ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned()
    }
    fn rests(&self, session: &str) {
        until("the end of the turn", || (session_state(&self.world, session) == ("BLOCKED".into(), "input_wait".into())).then_some(()));
    }
    fn commands(&self) -> Vec<Value> {
        let jobs = self.world.ok(&["job", "list", "--op", "sandbox.run_command"]);
        jobs["items"].as_array().unwrap().clone()
    }
    fn said(&self, session: &str) -> String {
        let events = self.world.ok(&["timeline", "--session", session]);
        let said = events["items"].as_array().unwrap().iter().filter(|e| e["code"] == "FR-EVT-SESS-004").map(|e| e["payload"]["text"].as_str().unwrap_or_default().to_owned());
        said.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_persons_command_runs_in_the_sandbox_and_leaves_its_trail() {
    let scene = scene(&json!([]));
    let words = ["run", "--ws", &scene.ws, "--", "sh", "-c", "echo out; echo err >&2; echo w > w.txt; cat ../repo/.handshake/recorder.db || echo closed; exit 3"];
    let asked = scene.world.json(&words);
    assert_eq!((asked.code, asked.json()["state"].as_str()), (4, Some("awaiting_user")), "{asked:?}");
    assert!(!scene.path.join("w.txt").exists(), "nothing ran before the decision");
    let approval = asked.json()["approval_id"].as_str().unwrap().to_owned();
    let card = scene.world.ok(&["approvals", "show", &approval]);
    assert_eq!((&card["tier"], &card["capabilities"]), (&json!("R1"), &json!(["dev.shell.sandboxed"])), "{card}");
    assert_eq!(card["offered"], json!(["once", "job", "workspace"]), "{card}");
    // Asked for by other words it is another request; permitted for the worktree, it runs.
    scene.world.ok(&["approvals", "deny", &approval, "--reason", "not now"]);
    assert!(!scene.path.join("w.txt").exists());
    let again = scene.world.json(&words).json()["approval_id"].as_str().unwrap().to_owned();
    scene.world.ok(&["approvals", "approve", &again, "--scope", "workspace"]);
    let ran = scene.world.dcc(&words);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(scene.path.join("w.txt").exists());
    let job = &scene.commands()[0];
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("completed_with_issues"), &json!(3)), "{job}");
    let text = format!("{}{}", ran.stdout, ran.stderr);
    assert!(text.contains("out") && text.contains("err") && text.contains("closed"), "{text}");
    let missing = scene.world.json(&["run", "--ws", &scene.ws, "--", "no-such-program-here"]);
    assert_eq!(missing.code_text(), "HSK-404-NOT-FOUND", "{missing:?}");
    assert_eq!(scene.world.json(&["run", "--ws", &scene.ws]).code, 2);
    assert_eq!(scene.world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn an_agents_command_asks_once_and_shows_what_came_of_it() {
    let line = "echo ran > made.txt && cat made.txt && echo home=$HOME && exit 4";
    let scene = scene(&json!([[{"terminal": {"command": line}}, {"terminal": {"command": "pwd", "cwd": "src"}}]]));
    let session = scene.start();
    let first = until("a request", || pending(&scene.world));
    assert!(!scene.path.join("made.txt").exists(), "nothing ran before the decision");
    let shown = scene.world.ok(&["approvals", "show", &first]).to_string();
    assert!(shown.contains("made.txt") && shown.contains("variable SCRIPTED") && shown.contains("dev.shell.sandboxed"), "{shown}");
    scene.world.ok(&["approvals", "approve", &first, "--scope", "session"]);
    scene.rests(&session);
    let said = scene.said(&session);
    assert!(said.contains("\"exitCode\":4") && said.contains("ran\\nhome=") && said.contains("agents/tester"), "{said}");
    assert!(said.contains("pwd ended with {\"exitCode\":0") && said.contains("/src"), "the grant covers the second: {said}");
    let jobs = scene.commands();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    let rows = scene.world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-TOOL-003"]);
    let gated: Vec<&Value> = rows["items"].as_array().unwrap().iter().filter(|e| e["payload"]["observed"] == "gated").collect();
    assert_eq!(gated.len(), 2, "{rows:#}");
}

#[test]
fn a_command_that_was_allowed_is_not_asked_for_twice() {
    let scene = scene(&json!([[{"terminal": {"command": "echo one > one.txt"}, "ask": true}, {"terminal": {"command": "echo two > two.txt"}}]]));
    let session = scene.start();
    let first = until("a request", || pending(&scene.world));
    scene.world.ok(&["approvals", "approve", &first]);
    // The run of that very command needs no second yes; another command does.
    let second = until("the second request", || pending(&scene.world).filter(|id| *id != first));
    assert!(scene.path.join("one.txt").exists());
    let shown = scene.world.ok(&["approvals", "show", &second]).to_string();
    assert!(shown.contains("two.txt"), "{shown}");
    scene.world.ok(&["approvals", "deny", &second, "--reason", "not that"]);
    scene.rests(&session);
    assert!(!scene.path.join("two.txt").exists() && scene.said(&session).contains("did not run"), "{}", scene.said(&session));
}

#[test]
fn a_killed_terminal_and_one_left_behind_leave_no_process() {
    let nap = "while :; do echo nap; sleep 0.05; done";
    let scene = scene(&json!([[{"terminal": {"command": nap, "kill_at": "nap"}}, {"terminal": {"command": "(setsid sh -c 'while :; do sleep 1; done' &) ; echo up; while :; do sleep 1; done", "leave": true}}]]));
    let session = scene.start();
    let first = until("a request", || pending(&scene.world));
    scene.world.ok(&["approvals", "approve", &first, "--scope", "session"]);
    scene.rests(&session);
    assert!(scene.said(&session).contains("SIG"), "{}", scene.said(&session));
    assert!(scene.commands().iter().any(|job| job["state"] == "running"), "the second goes on: {:?}", scene.commands());
    scene.world.ok(&["session", "cancel", &session]);
    until("the end of its job", || scene.commands().iter().all(|job| job["state"] != "running").then_some(()));
    for job in scene.commands() {
        let marker = format!("DCC_SESSION=job-{}", job["job_id"].as_str().unwrap());
        assert_eq!(marked(&marker), 0, "{marker}");
    }
}

#[test]
fn a_running_command_of_a_session_can_be_ended_by_a_person() {
    let scene = scene(&json!([[{"terminal": {"command": "while :; do sleep 1; done"}}]]));
    let session = scene.start();
    let first = until("a request", || pending(&scene.world));
    scene.world.ok(&["approvals", "approve", &first, "--no-wait"]);
    let job = until("the command", || scene.commands().into_iter().find(|job| job["state"] == "running"));
    let id = job["job_id"].as_str().unwrap().to_owned();
    until("its end", || (scene.world.json(&["job", "cancel", &id]).code == 0).then_some(()));
    scene.rests(&session);
    let ended = scene.world.ok(&["job", "show", &id]);
    assert_eq!(ended["failure"]["code"], "HSK-499-CANCELED", "{ended}");
}

#[test]
fn what_a_person_runs_ends_by_cancel_and_with_the_server_and_its_end_is_recorded() {
    let world = World::new(DCC);
    world.configure("[recipes.slow]\nargv = [\"sleep\", \"300\"]\n");
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let server = world.serve();
    let bindings = json!({ "workspace_id": server.http.get("/api/v1/workspaces")["items"].as_array().unwrap().iter().find(|w| w["workspace_id"].as_str().unwrap().starts_with(&ws) || ws.starts_with(w["workspace_id"].as_str().unwrap())).expect("the worktree")["workspace_id"] });
    let begin = |op: &str, params: Value| {
        let job = server.http.submit(op, bindings.clone(), params).json()["job_id"].as_str().unwrap().to_owned();
        if let Some(approval) = world.ok(&["job", "show", &job])["approval_id"].as_str() {
            world.ok(&["approvals", "approve", approval, "--no-wait"]);
        }
        until("its process", || world.ok(&["timeline", "--job", &job, "--code", "FR-EVT-TOOL-001"])["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(()));
        job
    };
    let cancelled = begin("sandbox.run_recipe", json!({ "recipe": "slow" }));
    until("its end", || (world.json(&["job", "cancel", &cancelled]).code == 0).then_some(()));
    let left = [begin("sandbox.run_recipe", json!({ "recipe": "slow" })), begin("sandbox.run_command", json!({ "argv": ["sleep", "300"] }))];
    world.ok(&["up", "--stop"]);
    for job in left.iter().chain([&cancelled]) {
        let shown = world.ok(&["job", "show", job]);
        assert_eq!((shown["state"].as_str(), shown["failure"]["code"].as_str()), (Some("failed"), Some("HSK-499-CANCELED")), "{shown}");
    }
}

/// Processes that carry this in their environment.
fn marked(variable: &str) -> usize {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|b| *b == 0).any(|pair| pair == variable.as_bytes()))).count()
}
