//! Commands in a pseudo-terminal of their own.

use std::io::{Read as _, Write as _};

use dcc_core::ports::Driver;
use dcc_engines::sandbox::{SandboxedChild, Spec};

use crate::world::{World, unique_id};

fn start(world: &World, script: &str) -> SandboxedChild {
    let mut plan = world.agent(script, Vec::new());
    plan.driver = Driver::Pty;
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &unique_id()).unwrap();
    world.sandbox.spawn(spec).unwrap()
}

fn rest(child: &mut SandboxedChild) -> String {
    let mut text = String::new();
    child.terminal.as_mut().unwrap().read_to_string(&mut text).unwrap();
    text.replace("\r\n", "\n")
}

#[test]
fn a_command_has_a_terminal_of_its_own() {
    let world = World::new();
    let mut child = start(&world, "read go; test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size; echo own > /dev/tty; echo $TERM");
    assert!(child.stdin.is_none() && child.stdout.is_none());
    let terminal = child.terminal.as_mut().unwrap();
    terminal.resize(50, 132).unwrap();
    terminal.write_all(b"go\n").unwrap();
    let text = rest(&mut child);
    assert_eq!(text, "go\nterminal\n50 132\nown\nxterm-256color\n");
    assert_eq!(child.wait().unwrap().exit_code, Some(0));
}

#[test]
fn the_interrupt_key_reaches_the_command() {
    let world = World::new();
    let mut child = start(&world, "trap 'echo interrupted; exit 5' INT; echo ready; while :; do read line || exit 9; done");
    let mut seen = String::new();
    let mut byte = [0; 64];
    while !seen.contains("ready") {
        let count = child.terminal.as_mut().unwrap().read(&mut byte).unwrap();
        seen.push_str(&String::from_utf8_lossy(&byte[..count]));
    }
    child.terminal.as_mut().unwrap().write_all(&[3]).unwrap();
    assert!(rest(&mut child).contains("interrupted"));
    assert_eq!(child.wait().unwrap().exit_code, Some(5));
}

#[test]
fn a_terminal_opens_nothing_else() {
    let world = World::new();
    let mut child = start(&world, "cat \"$W/keys/id_ed25519\" \"$W/sibling/a.txt\" 2>/dev/null && echo ESCAPED; for t in /dev/pts/* /dev/tty1 /dev/console; do (: < $t) 2>/dev/null && echo \"ESCAPED $t\"; done; git commit --allow-empty -qm x 2>/dev/null && echo ESCAPED git; echo end");
    assert_eq!(rest(&mut child), "end\n");
}

#[test]
fn what_is_left_in_the_terminal_ends_with_it() {
    let world = World::new();
    let mut child = start(&world, "setsid sleep 300 & (trap '' HUP TERM; sleep 300) & echo begun; sleep 300");
    let mut byte = [0; 16];
    assert!(child.terminal.as_mut().unwrap().read(&mut byte).unwrap() > 0);
    child.kill_tree();
    assert_eq!(child.wait().unwrap().left, 0);
    rest(&mut child);
}

#[test]
fn a_command_that_reads_nothing_holds_nobody() {
    let world = World::new();
    let mut child = start(&world, "stty raw -echo; echo ready; exec sleep 300");
    let mut seen = String::new();
    let mut bytes = [0; 64];
    while !seen.contains("ready") {
        let count = child.terminal.as_mut().unwrap().read(&mut bytes).unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let failed = child.terminal.as_mut().unwrap().write_all(&vec![b'x'; 1024 * 1024]).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::TimedOut);
    child.kill_tree();
    assert_eq!(child.wait().unwrap().left, 0);
}
