//! A person at a session's terminal: the real command on a pseudo-terminal of the test, whose screen is drawn as he sees it.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use dcc_core::op::Op;
use dcc_core::ports::terminal::TerminalSize;
use dcc_engines::sandbox::Terminal;
use dcc_sessions::pty::Emulator;
use dcc_testkit::World;
use rustix::termios::{Termios, tcgetattr};

use crate::contract::assert_table;
use crate::{DCC, approved_worktree, asking_session, session_state, started_packet, until};

/// A person's terminal with a command in it.
pub struct Desk {
    keys: Terminal,
    command_end: OwnedFd,
    shows: Arc<Mutex<Emulator>>,
    child: Child,
    before: Termios,
}

impl Desk {
    pub fn new(world: &World, rows: u16, columns: u16, arguments: &[&str]) -> Self {
        let (keys, theirs) = Terminal::open().unwrap();
        let size = TerminalSize::new(rows, columns).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        keys.resize(size.rows, size.columns).unwrap();
        // A session of its own with this as its controlling terminal, so that a change of size is told.
        let like = world.command();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", DCC]).args(arguments).current_dir(world.repo()).env_clear();
        for (name, value) in like.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let shows = Arc::new(Mutex::new(Emulator::new(size)));
        let (mut output, drawn) = (keys.try_clone().unwrap(), Arc::clone(&shows));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                drawn.lock().unwrap().feed(&chunk[..count]);
            }
        });
        Self { keys, command_end: theirs, shows, child, before }
    }

    pub fn attach(world: &World, rows: u16, columns: u16, session: &str) -> Self {
        Self::new(world, rows, columns, &["session", "attach", session])
    }

    pub fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = TerminalSize::new(rows, columns).unwrap();
        self.shows.lock().unwrap().resize(size);
        self.keys.resize(size.rows, size.columns).unwrap();
    }

    fn text(&self) -> String {
        let shows = self.shows.lock().unwrap();
        let lines = shows.history(1_000).into_iter().chain(shows.lines());
        lines.map(|line| line.iter().map(|run| run.text.as_str()).collect::<String>() + "\n").collect()
    }

    pub fn sees(&self, what: &str) {
        self.sees_again(what, 1);
    }

    /// Until it stands there so often.
    pub fn sees_again(&self, what: &str, times: usize) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.text().matches(what).count() < times {
            assert!(std::time::Instant::now() < deadline, "{what:?} did not come, but: {}", self.text());
            // tidy, allowed: the pause between two looks; the wait has a deadline
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    fn is_full_screen(&self) -> bool {
        self.shows.lock().unwrap().is_full_screen()
    }

    /// Somebody wants the command to end.
    pub fn terminate(&self) {
        // Where setsid had to make a process for it, it is that one.
        let pid = children_of(self.child.id()).first().copied().unwrap_or_else(|| i32::try_from(self.child.id()).unwrap());
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the command, and holds the terminal against what it was.
    pub fn ends(&mut self) -> ExitStatus {
        let status = until("the end of the command", || self.child.try_wait().unwrap());
        let after = tcgetattr(&self.command_end).unwrap();
        assert_eq!(
            (after.input_modes, after.output_modes, after.local_modes, after.control_modes),
            (self.before.input_modes, self.before.output_modes, self.before.local_modes, self.before.control_modes),
            "the terminal is as it was"
        );
        until("the first screen, without modes", || {
            let shows = self.shows.lock().unwrap();
            (!shows.is_full_screen() && shows.key_modes().is_empty() && shows.cursor().is_some()).then_some(())
        });
        status
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A world with a shell command in a terminal; the session's id.
fn running(script: &str) -> (World, String) {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let session = started(&world, script);
    (world, session)
}

pub fn started(world: &World, script: &str) -> String {
    let wp = started_packet(world);
    let (ws, _) = approved_worktree(world, &wp);
    started_in(world, &ws, script)
}

pub fn started_in(world: &World, ws: &str, script: &str) -> String {
    let started = world.ok(&["session", "start", "--ws", ws, "--", "sh", "-c", script]);
    started["session_id"].as_str().unwrap().to_owned()
}

pub fn attachments(world: &World) -> Vec<serde_json::Value> {
    world.ok(&["job", "list", "--op", "session.attach"])["items"].as_array().unwrap().clone()
}

const ECHOES: &str = "trap 'echo got-int' INT; echo ready; while :; do read -r x || continue; echo \"<$x>\"; stty size; done";

#[test]
fn every_key_goes_to_the_program_and_one_leaves_it() {
    let (world, session) = running(ECHOES);
    let mut desk = Desk::attach(&world, 20, 70, &session);
    desk.sees("Ctrl ] leaves");
    desk.sees("ready");
    desk.press(b"ab");
    desk.sees("ab");
    desk.press(b"\x7fc\r");
    desk.sees("<ac>");
    desk.sees("20 70");
    desk.press(&[3]);
    desk.sees("got-int");
    desk.resize(31, 99);
    until("the new size", || {
        desk.press(b"s\r");
        desk.text().contains("31 99").then_some(())
    });
    desk.press(&[0x1d]);
    assert!(desk.ends().success());
    desk.sees("left; the command goes on");
    let text = desk.text();
    assert!(text.rfind("left; the command") > text.rfind("31 99"), "what is said stands below what was shown: {text}");
    assert_eq!(world.ok(&["session", "show", &session])["live"], true);
    let job = until("the record of the attachment", || attachments(&world).into_iter().find(|job| job["state"] == "completed"));
    assert_eq!(attachments(&world).len(), 1, "one job, whatever was typed");
    assert_table(&world, Op::SessionAttach);
    assert_eq!(job["left"], "detached");
    assert!(job["typed_bytes"].as_u64().unwrap() >= 7, "{job}");
    let sha256 = job["transcript_sha256"].as_str().unwrap();
    let transcript = std::fs::read_to_string(world.state_dir().join(format!("artifacts/sha256/{}/{}", &sha256[..2], &sha256[2..]))).unwrap();
    assert!(transcript.contains("<ac>") && transcript.contains("got-int"), "{transcript:?}");
}

#[test]
fn who_leaves_does_not_wait_behind_keys_that_nobody_reads() {
    let (world, session) = running("stty raw -echo; echo ready; exec sleep 1000");
    let mut desk = Desk::attach(&world, 20, 70, &session);
    desk.sees("ready");
    desk.press(&vec![b'x'; 200_000]);
    desk.press(&[0x1d]);
    let pressed = std::time::Instant::now();
    assert!(desk.ends().success());
    // Far below the time that one piece after the other would take, each until nobody has taken it.
    assert!(pressed.elapsed() < std::time::Duration::from_secs(20), "{:?}", pressed.elapsed());
    desk.sees("left; the command goes on");
    assert_eq!(world.ok(&["session", "show", &session])["live"], true);
}

#[test]
fn a_full_screen_program_is_drawn_and_gone_when_the_person_leaves() {
    let script = "seq 1 60; printf 'shell'; read -r x; printf '\\033[?1049h\\033[2J\\033[5;7H\\033[1;31min vi\\033[0m\\033[?2004h\\033[?25l'; read -r x; printf '\\033[?1049l'; echo back; read -r x";
    let (world, session) = running(script);
    let mut desk = Desk::attach(&world, 24, 80, &session);
    desk.sees("60\nshell");
    assert!(desk.text().contains("\n1\n2\n3\n"), "what was shown before is replayed: {}", desk.text());
    desk.press(b"\r");
    until("the second screen", || desk.is_full_screen().then_some(()));
    until("what it shows, where it shows it", || {
        let shows = desk.shows.lock().unwrap();
        (shows.lines()[4].last()?.text == "in vi" && shows.cursor().is_none()).then_some(())
    });
    // Another one comes while it is up, with a smaller terminal.
    let mut other = Desk::attach(&world, 12, 40, &session);
    until("the program for him too", || other.is_full_screen().then_some(()));
    until("the smaller size for both", || (session_size(&world, &session) == (12, 40)).then_some(()));
    other.press(&[0x1d]);
    assert!(other.ends().success());
    until("the larger size again", || (session_size(&world, &session) == (24, 80)).then_some(()));
    desk.press(&[0x1d]);
    assert!(desk.ends().success());
    let mut again = Desk::attach(&world, 24, 80, &session);
    until("the program, as it was left", || again.is_full_screen().then_some(()));
    again.press(b"\r");
    again.sees("back");
    assert!(!again.is_full_screen());
    again.press(b"\r");
    assert!(again.ends().success());
    again.sees("the command ended");
}

fn session_size(world: &World, session: &str) -> (u64, u64) {
    let shown = world.ok(&["session", "attach", session]);
    (shown["rows"].as_u64().unwrap(), shown["columns"].as_u64().unwrap())
}

#[test]
fn what_is_typed_unseen_is_recorded_nowhere() {
    let secret = "correct-horse-battery";
    let (world, session) = running("stty -echo; printf 'password: '; read -r p; stty echo; echo; echo thanks; read -r x");
    let mut desk = Desk::attach(&world, 24, 80, &session);
    desk.sees("password:");
    desk.press(format!("{secret}\r").as_bytes());
    desk.sees("thanks");
    desk.press(b"bye\r");
    desk.ends();
    until("the end of the session's command", || (session_state(&world, &session).1 == "review_wait").then_some(()));
    until("the record of the attachment", || attachments(&world).into_iter().find(|job| job["state"] == "completed"));
    let mut seen = 0;
    each_file(world.path(), &mut |bytes| {
        seen += usize::from(contains(bytes, b"thanks"));
        assert!(!contains(bytes, secret.as_bytes()), "the secret is kept");
    });
    assert!(seen > 0, "the transcript is kept");
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn each_file(directory: &std::path::Path, look: &mut impl FnMut(&[u8])) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            each_file(&entry.path(), look);
        } else if kind.is_file() {
            look(&std::fs::read(entry.path()).unwrap_or_default());
        }
    }
}

#[test]
fn the_terminal_comes_back_when_the_server_is_killed_or_the_command_is() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let server = world.serve();
    let session = started(&world, ECHOES);
    let mut ended = Desk::attach(&world, 24, 80, &session);
    ended.sees("ready");
    ended.terminate();
    ended.ends();
    let mut desk = Desk::attach(&world, 24, 80, &session);
    desk.sees("ready");
    desk.press(b"x\r");
    desk.sees("<x>");
    server.kill();
    assert!(!desk.ends().success());
    desk.sees("the server does not answer");
    // Taken up again, the attachment is over.
    until("the end of the attachments", || attachments(&world).iter().all(|job| job["state"] == "completed").then_some(()));
}

/// Processes that this one started and that live.
fn children_of(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn without_a_terminal_of_ones_own_it_is_read_line_by_line() {
    let (world, session) = running("printf '\\033[31mred\\033[0m line\\n'; read -r x");
    let reads = std::thread::scope(|scope| {
        let lines = scope.spawn(|| world.command().args(["session", "attach", &session, "--lines"]).stdin(std::process::Stdio::null()).output().unwrap());
        until("its prompt", || (session_size(&world, &session) == (24, 80)).then_some(()));
        world.ok(&["session", "send", &session, "go"]);
        lines.join().unwrap()
    });
    let text = String::from_utf8(reads.stdout).unwrap();
    assert!(text.starts_with("red line\n") && !text.contains('\u{1b}'), "{text:?}");
    until("the end of the session's command", || (session_state(&world, &session).1 == "review_wait").then_some(()));
    until("no terminal any more", || (world.ok(&["session", "show", &session])["live"] == false).then_some(()));
    let gone = Desk::attach(&world, 24, 80, &session);
    gone.sees("has no terminal open");
}

#[test]
fn a_session_that_speaks_a_protocol_is_followed_decided_and_steered() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let (session, path) = asking_session(&world);
    let mut desk = Desk::attach(&world, 60, 150, &session);
    desk.sees("Approve? y = once, j = job, s = session");
    desk.press(b"do it\n");
    desk.sees("not sent: answer the request first");
    desk.press(b"s\n");
    until("the file that was asked for", || path.join("src/greeting.txt").exists().then_some(()));
    desk.sees("BLOCKED, input_wait");
    desk.press(b"and once more\n");
    desk.sees("you: and once more");
    desk.press(&[3]);
    desk.sees("Ctrl C: p = pause the session");
    desk.press(b"\n");
    assert_eq!(world.ok(&["session", "show", &session])["live"], true, "the key asked and ended nothing");
    desk.press(&[4]);
    assert!(desk.ends().success());
}

/// Another request in the session's name; its id.
fn requested_too(world: &World, http: &dcc_testkit::Http, session: &str) -> String {
    let made = world.ok(&["wp", "create", "--title", "Another", "--criterion", "c"]);
    let wp = made["wp_id"].as_str().unwrap();
    world.ok(&["wp", "ready", wp]);
    let parked = http.submit("workspace.create", serde_json::json!({ "wp_id": wp, "session_id": session }), serde_json::json!({})).json();
    parked["approval_id"].as_str().unwrap_or_else(|| panic!("{parked}")).to_owned()
}

fn request(world: &World, approval: &str) -> serde_json::Value {
    world.ok(&["approvals", "show", approval])
}

#[test]
fn an_answer_at_a_feed_is_about_the_request_that_was_shown() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let server = world.serve();
    let (session, path) = asking_session(&world);
    let mut desk = Desk::attach(&world, 200, 150, &session);
    desk.sees("Approve? y = once, j = job, s = session");
    // For the session, so that the agent asks for no more edits.
    desk.press(b"s");
    let second = requested_too(&world, &server.http, &session);
    desk.sees("another request waits behind it");
    assert_eq!(desk.text().matches("Approve?").count(), 1, "it is not shown over the first: {}", desk.text());
    desk.press(b"\n");
    until("the file that was asked for", || path.join("src/greeting.txt").exists().then_some(()));
    desk.sees("Approve? y = once, n REASON = deny, Enter");
    assert_eq!(request(&world, &second)["status"], "pending");
    // Decided elsewhere while its answer is typed: the answer is for nobody, the agent least of all.
    let said = || world.ok(&["timeline", "--session", &session, "--code", "FR-EVT-SESS-004"])["items"].as_array().unwrap().iter().filter(|e| e["payload"]["role"] == "user").count();
    let before = said();
    desk.press(b"n too broad");
    let third = requested_too(&world, &server.http, &session);
    world.ok(&["approvals", "deny", &second, "--reason", "elsewhere"]);
    desk.sees_again("Approve?", 3);
    desk.press(b"\n");
    desk.sees(&format!("left waiting: dcc approvals approve {}", third.parse::<dcc_core::ApprovalId>().unwrap().short()));
    assert_eq!((request(&world, &third)["status"].as_str(), said()), (Some("pending"), before));
    desk.press(&[4]);
    assert!(desk.ends().success());
    // Attached again, what waits is asked for; a scope that is not offered is no answer, and a denial wants its reason.
    let mut desk = Desk::attach(&world, 200, 150, &session);
    desk.sees("Approve? y = once, n REASON");
    desk.press(b"s\n");
    desk.sees("not sent: answer the request first");
    desk.press(b"n\n");
    desk.sees("Reason (sent to the requester):");
    desk.press(&[3]);
    desk.sees("Ctrl C: p = pause");
    desk.press(b"\n");
    desk.sees_again("Reason (sent", 2);
    desk.press(b"not now\n");
    until("the denial", || (request(&world, &third)["status"] == "denied").then_some(()));
    assert_eq!((request(&world, &third)["decision"]["reason"].as_str(), said()), (Some("not now"), before));
    desk.sees("was decided");
}
