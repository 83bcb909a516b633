//! Commands word for word: in the profile of a session, in a profile of their own, seen while they run, ended by order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dcc_core::failure::Code;
use dcc_core::limits;
use dcc_core::op::Op;
use dcc_core::plans::CommandPlan;
use dcc_core::ports::sandbox::{RunReport, RunningCommand, Sandbox as _};
use dcc_core::ports::sessions::SessionPlace;

use crate::world::{World, cleared_as};

fn plan(world: &World, script: &str) -> CommandPlan {
    let recipe = world.recipe(script);
    CommandPlan {
        workspace_id: recipe.workspace_id,
        session_id: None,
        command: script.into(),
        argv: recipe.argv,
        executable: recipe.executable,
        executable_sha256: recipe.executable_sha256,
        cwd: recipe.cwd.clone(),
        worktree: recipe.cwd,
        env: BTreeMap::from([("W".into(), world.text(""))]),
        writes: true,
        place: None,
        timeout_ms: 60_000,
        output_bytes_max: 1024 * 1024,
        git_dir: recipe.git_dir,
        common_dir: recipe.common_dir,
    }
}

fn of_session(world: &World, script: &str) -> CommandPlan {
    let place = SessionPlace { home: world.text("home"), tmp: world.text("tmp"), read_paths: Vec::new(), program: "/bin/sh".into(), path: "/opt/agent/bin:/usr/bin:/bin".into() };
    CommandPlan { place: Some(place), ..plan(world, script) }
}

fn start(world: &World, plan: CommandPlan) -> Box<dyn RunningCommand> {
    world.sandbox.start(cleared_as(Op::SandboxRunCommand, plan)).unwrap()
}

fn run(world: &World, plan: CommandPlan) -> (String, RunReport) {
    let report = start(world, plan).finish().unwrap();
    (format!("{}{}", String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr)), report)
}

/// Waits until the command has printed this.
fn shows(command: &dyn RunningCommand, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !String::from_utf8_lossy(&command.recent().bytes).contains(text) {
        assert!(Instant::now() < deadline, "{text:?} is not shown");
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_command_of_a_session_lives_where_the_session_lives() {
    let world = World::new();
    let script = "echo home=$HOME tmp=$TMPDIR path=$PATH; echo h > $HOME/h; echo t > $TMPDIR/t; echo w > w.txt; git status --short; \
        cat $W/repo/.handshake/state || echo no state; echo x > $W/repo/.git/x || echo no git; cat $W/sibling/a.txt || echo no sibling; (: 3<>/dev/tcp/127.0.0.1/1) 2>&1 | grep -qi permi && echo no network";
    let mut plan = of_session(&world, script);
    (plan.executable, plan.executable_sha256) = world.sandbox.resolve("bash").unwrap();
    let (text, report) = run(&world, plan);
    assert_eq!(report.survivors, 0);
    for part in [&format!("home={}", world.text("home")), &format!("tmp={}", world.text("tmp")), "path=/opt/agent/bin:/usr/bin:/bin", "?? w.txt", "no state", "no git", "no sibling", "no network"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for path in ["home/h", "tmp/t", "wt/w.txt"] {
        assert!(world.path(path).exists(), "{path}");
    }
}

#[test]
fn a_program_that_the_session_cannot_reach_does_not_open_itself() {
    let world = World::new();
    let tool = world.path("keys/tool");
    std::fs::copy("/bin/cat", &tool).unwrap();
    let (executable, executable_sha256) = world.sandbox.resolve(tool.to_str().unwrap()).unwrap();
    let key = world.text("keys/id_ed25519");
    let plan = CommandPlan { executable, executable_sha256, argv: vec!["tool".into(), key], ..of_session(&world, "") };
    let failure = world.sandbox.start(cleared_as(Op::SandboxRunCommand, plan)).err().unwrap();
    assert!(failure.message.contains("ermission denied"), "{failure}");
}

#[test]
fn a_persons_command_has_a_profile_of_its_own() {
    let world = World::new();
    let (text, report) = run(&world, plan(&world, "echo home=$HOME; echo k > $TMPDIR/k; echo w > w.txt; ls $W/home || echo no homes; ls $TMPDIR/.. || echo nothing above"));
    assert_eq!(report.exit_code, Some(0), "{text}");
    assert!(world.path("wt/w.txt").exists() && text.contains("no homes") && text.contains("nothing above"), "{text}");
    assert!(!text.contains(&world.text("home")));
    let left: Vec<_> = std::fs::read_dir(world.path("run")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let (text, _) = run(&world, CommandPlan { writes: false, ..plan(&world, "echo w > v.txt || echo read only") });
    assert!(text.contains("read only") && !world.path("wt/v.txt").exists());
}

#[test]
fn the_directory_lies_in_the_worktree_also_behind_a_link() {
    let world = World::new();
    std::fs::create_dir(world.path("wt/sub")).unwrap();
    let (text, _) = run(&world, CommandPlan { cwd: world.text("wt/sub"), ..of_session(&world, "pwd") });
    assert_eq!(text.trim(), world.text("wt/sub"));
    std::os::unix::fs::symlink(world.path("sibling"), world.path("wt/out")).unwrap();
    for cwd in ["wt/out", "sibling", "wt/missing"] {
        let failure = world.sandbox.start(cleared_as(Op::SandboxRunCommand, CommandPlan { cwd: world.text(cwd), ..of_session(&world, "pwd") })).err().unwrap();
        assert_eq!(failure.code, Code::Scope, "{cwd}: {failure}");
    }
}

#[test]
fn output_shows_while_it_runs_and_the_end_takes_everything_along() {
    let world = World::new();
    let command = start(&world, of_session(&world, "(setsid sh -c 'while :; do sleep 1000; done' &); echo out; echo err >&2; while :; do sleep 1000; done"));
    shows(command.as_ref(), "out");
    shows(command.as_ref(), "err");
    command.end();
    let report = command.finish().unwrap();
    assert_eq!((report.exit_code, report.timed_out, report.stdout.as_slice(), report.stderr.as_slice()), (None, false, &b"out\n"[..], &b"err\n"[..]));
    assert!(report.survivors >= 1, "{report:?}");
}

#[test]
fn a_command_can_stand_still_and_go_on() {
    let world = World::new();
    let command = start(&world, of_session(&world, "while :; do echo tick; sleep 0.01; done"));
    shows(command.as_ref(), "tick");
    command.freeze().unwrap();
    let before = command.recent().bytes.len();
    let until = Instant::now() + Duration::from_millis(150);
    while Instant::now() < until {
        // What was written before is still read; two lines at most.
        assert!(command.recent().bytes.len() <= before + 10);
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(5));
    }
    command.thaw().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while command.recent().bytes.len() <= before + 10 {
        assert!(Instant::now() < deadline);
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(5));
    }
    command.end();
    command.finish().unwrap();
}

#[test]
fn a_flood_is_bounded_in_memory_and_on_disk() {
    let world = World::new();
    let plan = CommandPlan { output_bytes_max: 1_000, ..of_session(&world, "head -c 8000000 /dev/zero | tr '\\0' x; echo; echo the end") };
    let command = start(&world, plan);
    let report = command.finish().unwrap();
    let recent = command.recent();
    assert!(recent.cut && recent.bytes.len() == limits::COMMAND_RECENT_BYTES_MAX && recent.bytes.ends_with(b"the end\n"));
    assert_eq!((report.stdout.len(), report.stdout_cut), (1_000, 8_000_009 - 1_000));
}

#[test]
fn a_timeout_and_a_changed_program_are_told() {
    let world = World::new();
    let (_, report) = run(&world, CommandPlan { timeout_ms: 200, ..of_session(&world, "while :; do sleep 1000; done") });
    assert!(report.timed_out);
    let other = CommandPlan { executable_sha256: dcc_core::Sha256Hex::of(b"other"), ..of_session(&world, "true") };
    assert_eq!(world.sandbox.start(cleared_as(Op::SandboxRunCommand, other)).err().unwrap().code, Code::StalePreview);
}
