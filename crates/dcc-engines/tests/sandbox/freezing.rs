//! A tree that stands still, and what becomes of it: it goes on, or it is ended in order.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use dcc_engines::sandbox::{EndReason, SandboxedChild, Spec, sweep_marker};

use crate::world::{World, unique_id};

/// An agent with two daemons that ends with its input; each of its processes writes a file for as long as it runs.
fn start(world: &World) -> (SandboxedChild, String) {
    let busy = |name: &str| format!("while :; do echo x >> {name}; sleep 0.01; done");
    let script = format!("(setsid sh -c '{}' &); (env -u DCC_SESSION sh -c '{}' &); {} & echo ready; read line; exit 4", busy("one"), busy("two"), busy("three"));
    let marker = unique_id();
    let plan = world.agent(&script, Vec::new());
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &marker).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, marker)
}

fn sizes(world: &World) -> Vec<u64> {
    ["wt/one", "wt/two", "wt/three"].iter().map(|name| std::fs::metadata(world.path(name)).map_or(0, |found| found.len())).collect()
}

/// Waits until every file is larger than it was.
fn grows(world: &World, before: &[u64]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while sizes(world).iter().zip(before).any(|(now, then)| now <= then) {
        assert!(Instant::now() < deadline, "{:?} does not grow from {before:?}", sizes(world));
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Looks for as long as each process would have written several times.
fn stands_still(world: &World) {
    let before = sizes(world);
    let until = Instant::now() + Duration::from_millis(150);
    while Instant::now() < until {
        assert_eq!(sizes(world), before);
        // tidy, allowed: the pause between two looks; the wait has a deadline
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_frozen_tree_stands_still_and_goes_on() {
    let world = World::new();
    let (child, marker) = start(&world);
    grows(&world, &[0, 0, 0]);
    child.freeze().unwrap();
    stands_still(&world);
    // Twice is once.
    child.freeze().unwrap();
    stands_still(&world);
    let before = sizes(&world);
    child.thaw().unwrap();
    grows(&world, &before);
    child.kill_tree();
    assert_eq!(child.wait().unwrap().left, 0);
    assert_eq!(sweep_marker(&marker), 0);
}

#[test]
fn a_tree_that_makes_processes_all_the_time_stands_still_each_time() {
    let world = World::new();
    let marker = unique_id();
    let busy = "while :; do /bin/true; done";
    let plan = world.agent(&format!("({busy}) & ({busy}) & echo ready; {busy}"), Vec::new());
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &marker).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Some of these find a process between vfork and exec, whose parent cannot take its stop.
    for _ in 0..25 {
        child.freeze().unwrap();
        child.thaw().unwrap();
    }
    child.end(dcc_engines::sandbox::Ending::Kill);
    assert_eq!(child.wait().unwrap().left, 0);
}

#[test]
fn a_frozen_tree_is_thawed_before_it_is_ended() {
    let world = World::new();
    let (mut child, marker) = start(&world);
    grows(&world, &[0, 0, 0]);
    child.freeze().unwrap();
    drop(child.stdin.take());
    child.kill_tree();
    let report = child.wait().unwrap();
    // Its own exit code: it saw the end of its input, which a stopped process does not.
    assert_eq!((report.exit_code, report.left, report.ended_by), (Some(4), 0, Some(EndReason::Asked)), "{report:?}");
    assert!(report.survivors >= 3, "{report:?}");
    assert_eq!(sweep_marker(&marker), 0);
}

#[test]
fn a_frozen_tree_ends_when_nobody_holds_it_any_more() {
    let world = World::new();
    let (child, marker) = start(&world);
    grows(&world, &[0, 0, 0]);
    child.freeze().unwrap();
    drop(child);
    assert_eq!(sweep_marker(&marker), 0);
    stands_still(&world);
}
