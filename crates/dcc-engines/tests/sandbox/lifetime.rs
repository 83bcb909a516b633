//! Ends: everything a run started is gone, whatever it tries, and nothing grows without a bound.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::time::{Duration, Instant};

use dcc_core::limits;
use dcc_core::session::ProcessIdentity;
use dcc_engines::sandbox::{EndReason, SandboxedChild, Spec, reap, sweep_marker};

use crate::world::{World, host, unique_id};

/// An agent that says "ready" once its script came that far.
fn start(world: &World, script: &str) -> (SandboxedChild, String) {
    let marker = unique_id();
    let plan = world.agent(&format!("{script}\necho ready; while :; do sleep 1000; done"), Vec::new());
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &marker).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child.stdout = Some(stdout.into_inner());
    (child, marker)
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const DAEMONS: &str = "(setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &) ; (sh -c 'sleep 1000' &) ; env -u DCC_SESSION setsid sleep 1000 &";

#[test]
fn daemons_of_a_recipe_are_ended_with_it() {
    let world = World::new();
    let plan = world.recipe(&format!("{DAEMONS} sleep 0.2; exit 7"));
    let report = world.run_plan(plan).unwrap();
    assert_eq!(report.exit_code, Some(7));
    assert!(report.survivors >= 3, "{report:?}");
    assert!(!report.timed_out);
}

#[test]
fn an_exit_by_signal_is_told() {
    let world = World::new();
    let (_, report) = world.run("kill -9 $$");
    assert_eq!((report.exit_code, report.signal, report.survivors), (None, Some(9), 0));
}

#[test]
fn a_timeout_ends_what_ignores_it() {
    let world = World::new();
    let mut plan = world.recipe(&format!("trap '' TERM INT HUP; {DAEMONS} echo begun; while :; do sleep 1000; done"));
    plan.timeout_ms = 500;
    let begun = Instant::now();
    let report = world.run_plan(plan).unwrap();
    assert!(report.timed_out && report.signal == Some(9), "{report:?}");
    assert_eq!(report.stdout, b"begun\n");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_flood_is_cut_and_counted() {
    let world = World::new();
    let (_, report) = world.run("head -c 20000000 /dev/zero; head -c 17000000 /dev/zero >&2");
    assert_eq!(report.exit_code, Some(0));
    assert_eq!((report.stdout.len(), report.stdout_cut), (limits::OUTPUT_BYTES_MAX, 20_000_000 - limits::OUTPUT_BYTES_MAX as u64));
    assert_eq!((report.stderr.len(), report.stderr_cut), (limits::OUTPUT_BYTES_MAX, 17_000_000 - limits::OUTPUT_BYTES_MAX as u64));
}

#[test]
fn a_fork_bomb_is_ended_by_the_watchdog() {
    let world = World::new();
    let mut plan = world.recipe("i=0; while [ $i -lt 900 ]; do sleep 1000 & i=$((i+1)); done; wait");
    plan.timeout_ms = 30_000;
    let report = world.run_plan(plan).unwrap();
    assert!(!report.timed_out, "{report:?}");
    assert_eq!(report.signal, Some(9));
    assert!(report.posture.notes.iter().any(|note| note.contains("too many processes")), "{report:?}");
}

#[test]
fn an_agent_talks_over_its_pipes_and_ends_with_its_input() {
    let world = World::new();
    let marker = unique_id();
    let plan = world.agent("exec cat", Vec::new());
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &marker).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    assert!(child.landlock_abi >= 3);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    drop(stdin);
    let report = child.wait().unwrap();
    assert_eq!((report.exit_code, report.survivors, report.left, report.ended_by), (Some(0), 0, 0, None));
    // A second question has the same answer.
    assert_eq!(child.wait().unwrap(), report);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn a_cancelled_agent_is_gone_within_its_grace() {
    let world = World::new();
    let (mut child, marker) = start(&world, &format!("trap '' TERM INT HUP; {DAEMONS}"));
    drop(child.stdin.take());
    let begun = Instant::now();
    child.kill_tree();
    let report = child.wait().unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2_700), "the grace was cut short: {took:?}");
    // The graces are 3 s here; what asks for the turn's end before has 1.5 s of the 5 s that a cancel may take.
    assert!(took < Duration::from_millis(4_500), "a grace is longer than a cancel has: {took:?}");
    assert_eq!((report.signal, report.left, report.ended_by), (Some(9), 0, Some(EndReason::Asked)));
    assert_eq!(sweep_marker(&marker), 0, "something was left");
}

#[test]
fn dropping_the_handle_ends_the_tree() {
    let world = World::new();
    let (child, marker) = start(&world, DAEMONS);
    let (host, main) = (child.identity.pid, child.pid);
    drop(child);
    assert!(!alive(host) && !alive(main));
    assert_eq!(sweep_marker(&marker), 0);
}

#[test]
fn a_killed_host_takes_the_command_along_and_the_marker_finds_the_rest() {
    let world = World::new();
    let (child, marker) = start(&world, "(setsid sh -c 'while :; do sleep 1000; done' &)");
    let host = rustix::process::Pid::from_raw(child.identity.pid as i32).unwrap();
    rustix::process::kill_process(host, rustix::process::Signal::KILL).unwrap();
    let failure = child.wait().unwrap_err();
    assert!(failure.message.contains("ended by their marker"), "{failure:?}");
    assert_eq!(sweep_marker(&marker), 0);
    assert!(!alive(child.pid));
}

#[test]
fn a_later_dcc_reaps_by_identity() {
    let world = World::new();
    let (child, marker) = start(&world, DAEMONS);
    let wrong = ProcessIdentity { start_time: child.identity.start_time + 1, ..child.identity.clone() };
    assert!(reap(&wrong), "another process of that pid counts as gone");
    assert!(alive(child.pid), "and is not touched");
    // The handle keeps the host's zombie until it is asked.
    assert!(reap(&child.identity));
    assert_eq!(sweep_marker(&marker), 0);
    assert_eq!(child.wait().unwrap().left, 0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a process that plays DCC and is killed")]
fn when_dcc_is_killed_the_tree_ends() {
    let world = World::new();
    let marker = unique_id();
    let mut parent = std::process::Command::new(host())
        .args(["parent", &world.text("tmp"), &marker])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| alive(*pid)), "{line:?}");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let host = rustix::process::pidfd_open(rustix::process::Pid::from_raw(pids[0] as i32).unwrap(), rustix::process::PidfdFlags::empty());
    if let Ok(host) = host {
        // Readable when the host has ended, and it ends only after its tree.
        let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let mut waiting = [rustix::event::PollFd::new(&host, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut waiting, Some(&limit)).unwrap(), 1, "the host outlived DCC");
    }
    assert_eq!(sweep_marker(&marker), 0);
    assert!(!alive(pids[1]));
}
