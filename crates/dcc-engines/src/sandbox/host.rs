//! The host: DCC's own binary re-executed, one per run, between DCC and the confined command.
//!
//! Authority: ephemeral. Single-threaded from start to end, which is what makes work between fork and exec sound.
//!
//! It has no death signal of its own: that signal follows the thread that started it, not DCC, and a killed host could
//! not end its tree. The socket to DCC does that work instead: when it closes, the tree is ended in order.
//!
//! On failure: a refusal with its layer before the command runs; afterwards always an ending.

#![allow(unsafe_code, reason = "an inherited descriptor is taken by its number, and restrictions go on between fork and exec")]

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::confine::{Confinement, Refusal};
use super::probe;
use super::spec::{EndReason, Ending, ExitReport, Message, Order, SPEC_BYTES_MAX, Spec};
use super::tree::{Tree, forks};

/// How often the watchdog looks; zombies are taken in as often.
const WATCH_MS: i64 = 200;
/// The command ended by itself and left others: they get this long after TERM.
const LEFTOVER_MS: u64 = 1_000;

/// The hidden subcommand: the last two arguments are `--fd N` (run what the specification on that socket says) or
/// `--probe JSON` (the self-test's inner half). Its exit code is 0 when a report went out.
pub fn host_main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let value = arguments.pop().and_then(|value| value.into_string().ok()).unwrap_or_default();
    match arguments.pop().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("--probe") => probe::inner(&value),
        Some("--fd") => match value.parse::<i32>() {
            Ok(fd) if fd > 2 => run(fd),
            _ => refuse_call(),
        },
        _ => refuse_call(),
    }
}

fn refuse_call() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "this command is started by dcc itself");
    ExitCode::from(2)
}

fn run(fd: i32) -> ExitCode {
    // A number that is not open must not become an owned descriptor.
    if std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err() {
        return refuse_call();
    }
    // SAFETY: the descriptor is open, was made for this process by its starter, and nothing else here knows its number.
    let mut control = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let outcome = receive(&mut control).and_then(|spec| start(&spec).map(|(tree, abi)| (spec, tree, abi)));
    // Only the command may hold the other ends of its pipes.
    let detached = detach_stdio();
    match outcome.and_then(|started| detached.map(|()| started)) {
        Ok((spec, mut tree, landlock_abi)) => {
            say(&mut control, &Message::Started { pid: tree.1.as_raw_nonzero().get() as u32, landlock_abi });
            let report = supervise(&mut control, &spec, &mut tree.0, tree.1);
            say(&mut control, &Message::Ended(report));
            if report.left > 0 {
                // Told, but not let go: a host that leaves would free what it could not end.
                while tree.0.end(Duration::ZERO) > 0 {}
            }
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            say(&mut control, &Message::Refused { layer: refusal.layer.to_owned(), message: refusal.error });
            ExitCode::FAILURE
        }
    }
}

fn say(control: &mut UnixStream, message: &Message) {
    let mut line = serde_json::to_vec(message).expect("messages are plain data");
    line.push(b'\n');
    // With nobody listening there is nothing left to tell.
    let _ = control.write_all(&line);
}

fn receive(control: &mut UnixStream) -> Result<Spec, Refusal> {
    let broken = |error: String| Refusal { layer: "specification", error };
    let mut length = [0; 4];
    control.read_exact(&mut length).map_err(|error| broken(error.to_string()))?;
    let length = u32::from_le_bytes(length);
    if length > SPEC_BYTES_MAX {
        return Err(broken("too long".into()));
    }
    let mut bytes = vec![0; length as usize];
    control.read_exact(&mut bytes).map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

/// Becomes the reaper and starts the confined command.
fn start(spec: &Spec) -> Result<((Tree, Pid), u32), Refusal> {
    let step = |layer: &'static str| move |error: rustix::io::Errno| Refusal { layer, error: std::io::Error::from(error).to_string() };
    // Fails only for a process that already leads its group.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(step("subreaper"))?;
    close_on_exec()?;
    let confinement = Confinement::prepare(spec).map_err(|failure| Refusal { layer: "profile", error: failure.message })?;
    let (landlock_abi, child) = start_child(spec, confinement)?;
    // Ahead of a tree that must be ended while it multiplies; only root may.
    let _ = rustix::process::nice(-10);
    Ok(((Tree::new(child), child), landlock_abi))
}

/// Every descriptor but the standard three stays with the host.
fn close_on_exec() -> Result<(), Refusal> {
    let unreadable = |error: std::io::Error| Refusal { layer: "descriptors", error: error.to_string() };
    let entries = std::fs::read_dir("/proc/self/fd").map_err(unreadable)?;
    let open: Vec<i32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // SAFETY: borrowed for one call; a number that was closed meanwhile (the directory's own) gives EBADF.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        match fcntl_setfd(fd, FdFlags::CLOEXEC) {
            Ok(()) | Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(Refusal { layer: "descriptors", error: std::io::Error::from(error).to_string() }),
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the one spawn inside the host: exec's time and output limits do not fit a process that lives for days")]
fn start_child(spec: &Spec, mut confinement: Confinement) -> Result<(u32, Pid), Refusal> {
    let plain = |layer: &'static str| move |error: std::io::Error| Refusal { layer, error: error.to_string() };
    let (mut from_child, mut to_host) = std::io::pipe().map_err(plain("pipe"))?;
    let Some(name) = spec.argv.first() else {
        return Err(Refusal { layer: "specification", error: "the command is empty".into() });
    };
    let mut command = Command::new(&spec.executable);
    command.arg0(name).args(&spec.argv[1..]).current_dir(&spec.cwd).env_clear().envs(&spec.env);
    // SAFETY: this process has one thread, so the child's copy of the allocator and its locks is in a sound state.
    unsafe {
        command.pre_exec(move || match confinement.apply() {
            Ok(confined) => to_host.write_all(&confined.landlock_abi.to_le_bytes()),
            Err(refusal) => {
                to_host.write_all(&u32::MAX.to_le_bytes())?;
                to_host.write_all(format!("{}\n{}", refusal.layer, refusal.error).as_bytes())?;
                Err(std::io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error()))
            }
        });
    }
    let spawned = command.spawn();
    // Closes our copy of the pipe's writing end, which the command owns.
    drop(command);
    let mut told = Vec::new();
    from_child.read_to_end(&mut told).map_err(plain("pipe"))?;
    let number = told.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    match (spawned, number) {
        (Ok(child), Some(landlock_abi)) if landlock_abi != u32::MAX => {
            let pid = Pid::from_raw(child.id() as i32).expect("a child's pid is positive");
            Ok((landlock_abi, pid))
        }
        (_, Some(u32::MAX)) => {
            let text = String::from_utf8_lossy(&told[4..]).into_owned();
            let (layer, error) = text.split_once('\n').unwrap_or(("confinement", &text));
            Err(Refusal { layer: known_layer(layer), error: error.to_owned() })
        }
        (Err(error), _) => Err(Refusal { layer: "exec", error: format!("{}: {error}", spec.executable.display()) }),
        (Ok(_), _) => Err(Refusal { layer: "confinement", error: "the child did not say that it is confined".into() }),
    }
}

fn known_layer(name: &str) -> &'static str {
    ["session", "terminal", "namespaces", "death signal", "limits", "capabilities", "no new privileges", "landlock", "seccomp"]
        .into_iter()
        .find(|layer| *layer == name)
        .unwrap_or("confinement")
}

fn detach_stdio() -> Result<(), Refusal> {
    let refusal = |error: String| Refusal { layer: "descriptors", error };
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|error| refusal(error.to_string()))?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .map_err(|error| refusal(std::io::Error::from(error).to_string()))
}

/// Until the command ends, DCC asks, DCC is gone, or a watchdog strikes; then the whole tree ends.
fn supervise(control: &mut UnixStream, spec: &Spec, tree: &mut Tree, main: Pid) -> ExitReport {
    let pidfd = pidfd_open(main, PidfdFlags::empty()).ok();
    let mut watch = Watch::new(spec);
    let mut frozen_at: Option<Instant> = None;
    let (ended_by, ending) = loop {
        tree.reap();
        if tree.main_status().is_some() {
            break (None, None);
        }
        if let Some(reason) = watch.strike(tree) {
            break (Some(reason), Some(Ending::Kill));
        }
        // Whoever froze it may have forgotten it: a tree that stands still for ever holds locks and connections.
        if frozen_at.is_some_and(|at| at.elapsed() >= Duration::from_millis(dcc_core::limits::FREEZE_MS_MAX)) {
            tree.continue_all();
            frozen_at = None;
        }
        if wait_for(control, pidfd.as_ref()) {
            let mut byte = [0; 1];
            match control.read(&mut byte) {
                Ok(1) => match Order::from_byte(byte[0]) {
                    Some(Order::End(ending)) => break (Some(EndReason::Asked), Some(ending)),
                    Some(Order::Freeze) => {
                        tree.stop_all();
                        frozen_at = Some(Instant::now());
                    }
                    Some(Order::Thaw) => {
                        tree.continue_all();
                        frozen_at = None;
                    }
                    None => {}
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break (Some(EndReason::ParentGone), Some(Ending::Graceful)),
            }
        }
    };
    if frozen_at.is_some() {
        // What stands still heeds neither the end of its input nor TERM.
        tree.continue_all();
    }
    let (input_ms, term_ms) = ending.map_or((0, LEFTOVER_MS), Ending::grace_ms);
    if input_ms > 0 {
        await_main_or_order(control, tree, input_ms);
    }
    let left = tree.end(Duration::from_millis(term_ms));
    let status = tree.main_status();
    ExitReport {
        exit_code: status.and_then(rustix::process::WaitStatus::exit_status),
        signal: status.and_then(rustix::process::WaitStatus::terminating_signal),
        survivors: tree.survivors(),
        left,
        ended_by,
    }
}

/// The grace after end of input; an order to end at once cuts it short.
fn await_main_or_order(control: &mut UnixStream, tree: &mut Tree, input_ms: u64) {
    let _ = control.set_nonblocking(true);
    let steps = input_ms / 20;
    for _ in 0..steps {
        let mut byte = [0; 1];
        let cut_short = matches!(control.read(&mut byte), Ok(1)) && matches!(Order::from_byte(byte[0]), Some(Order::End(Ending::Kill | Ending::Terminate)));
        if cut_short || tree.await_main(Duration::from_millis(20)) {
            break;
        }
    }
    let _ = control.set_nonblocking(false);
}

/// True when the socket has something to say. Returns when the command ends too, and after the watchdog's interval.
fn wait_for(control: &UnixStream, pidfd: Option<&OwnedFd>) -> bool {
    let interval = Timespec { tv_sec: 0, tv_nsec: WATCH_MS * 1_000_000 };
    let mut waiting = vec![PollFd::new(control, PollFlags::IN)];
    if let Some(pidfd) = pidfd {
        waiting.push(PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN));
    }
    match poll(&mut waiting, Some(&interval)) {
        Ok(_) => !waiting[0].revents().is_empty(),
        Err(_) => false,
    }
}

/// Limits that the kernel does not hold for us.
struct Watch<'a> {
    spec: &'a Spec,
    /// Processes ever made on this machine at the last count, and the count.
    counted: Option<(u64, u64)>,
    disk: bool,
}

impl<'a> Watch<'a> {
    fn new(spec: &'a Spec) -> Self {
        let mut watch = Self { spec, counted: None, disk: true };
        watch.disk = watch.free_bytes().is_some_and(|free| free > spec.free_bytes_min);
        watch
    }

    fn strike(&mut self, tree: &Tree) -> Option<EndReason> {
        if self.disk && self.free_bytes().is_some_and(|free| free < self.spec.free_bytes_min) {
            return Some(EndReason::Disk);
        }
        // The tree cannot have grown by more than the machine has made: most looks cost one small read.
        let made = forks();
        if let (Some(made), Some((made_then, count))) = (made, self.counted)
            && made.saturating_sub(made_then) + count <= u64::from(self.spec.processes_max)
        {
            return None;
        }
        let count = tree.count() as u64;
        self.counted = made.map(|made| (made, count));
        (count > u64::from(self.spec.processes_max)).then_some(EndReason::Processes)
    }

    /// Of the fullest file system that the command writes to.
    fn free_bytes(&self) -> Option<u64> {
        let free = |path: &std::path::PathBuf| rustix::fs::statvfs(path).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        self.spec.profile.writable.iter().filter_map(free).min()
    }
}
