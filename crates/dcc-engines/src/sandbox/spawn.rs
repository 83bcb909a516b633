//! DCC's half: starts the host, hands it the specification, hears its reports, orders the end.
//!
//! Authority: ephemeral.
//!
//! Invariants: the environment is empty but for what the specification declares; neither the specification nor any part
//! of it stands in argv; dropping a [`SandboxedChild`] ends its tree. When the host itself was killed, the marker
//! variable is used to find what it left.
//!
//! On failure: HSK-503-SANDBOX-UNAVAILABLE with the layer that refused; HSK-500-ENGINE when the program itself cannot
//! be executed.

#![allow(unsafe_code, reason = "one descriptor is kept open across the host's exec, which takes a call between fork and exec")]

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::session::ProcessIdentity;
use rustix::io::FdFlags;
use rustix::process::Signal;

use super::posture::unavailable;
use super::terminal::Terminal;
use super::spec::{Ending, ExitReport, Message, Order, Spec, Stdin};
use super::tree::{descendants, is_still, process, signal, sweep_marker};

/// From the host's start to its first word, on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest line of a report.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// A host whose tree was killed ends by itself within this; longer than its own limit.
const HOST_END: Duration = Duration::from_secs(70);
/// A host without a tree that does not end.
const STRAY_HOST: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A stopped process stands still at once unless it hangs in the kernel.
const FREEZE_WAIT: Duration = Duration::from_secs(5);

/// A confined command that runs. Its stdio pipes go straight to it.
#[derive(Debug)]
pub struct SandboxedChild {
    /// Dropping it is end of input.
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    /// Our end of the command's terminal, in place of the three pipes.
    pub terminal: Option<Terminal>,
    /// The host, which lives exactly as long as the tree; what [`reap`] takes.
    pub identity: ProcessIdentity,
    /// The command's own process.
    pub pid: u32,
    pub landlock_abi: u32,
    marker: String,
    control: UnixStream,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    host: Child,
    bytes: Vec<u8>,
    ended: Option<ExitReport>,
}

/// Starts `spec` below a new host: `host_command` plus two arguments. Returns once every layer is in place and the
/// command was executed.
pub(super) fn spawn(host_command: &[OsString], spec: Spec) -> Outcome<SandboxedChild> {
    let (terminal, theirs) = match spec.stdin {
        Stdin::Terminal => Terminal::open().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        Stdin::Pipe | Stdin::Null => (None, None),
    };
    begin(host_command, spec, terminal, theirs)
}

/// As [`spawn`], on a terminal whose other end somebody else holds.
pub(super) fn spawn_on(host_command: &[OsString], spec: Spec, theirs: OwnedFd) -> Outcome<SandboxedChild> {
    begin(host_command, spec, None, Some(theirs))
}

fn begin(host_command: &[OsString], spec: Spec, terminal: Option<Terminal>, theirs: Option<OwnedFd>) -> Outcome<SandboxedChild> {
    let (control, inner) = UnixStream::pair().map_err(|error| unavailable("socket", &error.to_string()))?;
    let mut host = start_host(host_command, stdio(spec.stdin, theirs)?, inner.into())?;
    let identity = process(host.id()).map(|own| ProcessIdentity { pid: own.pid, start_time: own.start_time });
    let mut bytes = Vec::new();
    let first = send(&control, &spec).and_then(|()| next_message(&control, &mut bytes, Some(Instant::now() + START_TIMEOUT)));
    let refusal = match (first, identity) {
        (Ok(Some(Message::Started { pid, landlock_abi })), Some(identity)) => {
            return Ok(SandboxedChild {
                stdin: host.stdin.take(),
                stdout: host.stdout.take(),
                stderr: host.stderr.take(),
                terminal,
                identity,
                pid,
                landlock_abi,
                marker: spec.marker,
                control,
                heard: Mutex::new(Heard { host, bytes, ended: None }),
            });
        }
        (Ok(Some(Message::Refused { layer, message })), _) if layer == "exec" => Failure::engine(format!("cannot execute {message}")),
        (Ok(Some(Message::Refused { layer, message })), _) => unavailable(&layer, &message),
        (Ok(Some(_)), _) => unavailable("host", "it ended before it said that it started"),
        (Ok(None), _) => unavailable("host", "it did not start in time"),
        (Err(failure), _) => failure,
    };
    drop(control);
    // It may not have started anything; if it did, its child dies with it and the marker finds the rest.
    let _ = host.kill();
    let _ = host.wait();
    sweep_marker(&spec.marker);
    Err(refusal)
}

/// Standard input, output and error of the host, which its command takes over.
fn stdio(stdin: Stdin, terminal: Option<OwnedFd>) -> Outcome<[Stdio; 3]> {
    let Some(terminal) = terminal else {
        let input = if stdin == Stdin::Pipe { Stdio::piped() } else { Stdio::null() };
        return Ok([input, Stdio::piped(), Stdio::piped()]);
    };
    let again = || terminal.try_clone().map_err(|error| unavailable("terminal", &error.to_string()));
    Ok([again()?.into(), again()?.into(), terminal.into()])
}

#[allow(clippy::disallowed_methods, reason = "exec's limits of time and output do not fit a session, and the host needs an inherited descriptor")]
fn start_host(host_command: &[OsString], [stdin, stdout, stderr]: [Stdio; 3], inner: OwnedFd) -> Outcome<Child> {
    let Some((program, arguments)) = host_command.split_first() else {
        return Err(unavailable("host", "no host command is configured"));
    };
    // Above the standard three, so that nothing of the host's own stdio takes its place.
    let inner = rustix::io::fcntl_dupfd_cloexec(&inner, 3).map_err(|error| unavailable("socket", &std::io::Error::from(error).to_string()))?;
    let number = inner.as_raw_fd();
    let mut command = Command::new(program);
    command.args(arguments).arg("--fd").arg(number.to_string()).env_clear().current_dir("/");
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    // SAFETY: one fcntl, which is safe after a fork of a process with threads; `inner` outlives the spawn.
    unsafe {
        command.pre_exec(move || {
            rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(number), FdFlags::empty())?;
            Ok(())
        });
    }
    let spawned = command.spawn();
    drop(inner);
    spawned.map_err(|error| unavailable("host", &format!("{}: {error}", std::path::Path::new(program).display())))
}

fn send(mut control: &UnixStream, spec: &Spec) -> Outcome<()> {
    let bytes = serde_json::to_vec(spec).map_err(|error| Failure::engine(error.to_string()))?;
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= super::spec::SPEC_BYTES_MAX);
    let length = length.ok_or_else(|| Failure::invalid("the command and its environment are too long"))?;
    let lost = |error: std::io::Error| unavailable("host", &error.to_string());
    control.set_write_timeout(Some(START_TIMEOUT)).map_err(lost)?;
    control.write_all(&length.to_le_bytes()).and_then(|()| control.write_all(&bytes)).map_err(lost)
}

/// The next report; none after the deadline. Fails when the host is gone without one.
fn next_message(mut control: &UnixStream, bytes: &mut Vec<u8>, deadline: Option<Instant>) -> Outcome<Option<Message>> {
    loop {
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            return serde_json::from_slice(&line).map(Some).map_err(|error| unavailable("host", &format!("unreadable report: {error}")));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        control.set_read_timeout(left).map_err(|error| unavailable("host", &error.to_string()))?;
        let mut chunk = [0; 4096];
        match control.read(&mut chunk) {
            Ok(count) if count > 0 && bytes.len() < LINE_BYTES_MAX => bytes.extend_from_slice(&chunk[..count]),
            Ok(_) => return Err(unavailable("host", "it was ended from outside")),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(unavailable("host", &error.to_string())),
        }
    }
}

impl SandboxedChild {
    /// Orders the end of the whole tree; returns at once, [`SandboxedChild::wait`] tells when it is done. A second,
    /// sharper order is heard during the first one's grace after end of input.
    pub fn end(&self, ending: Ending) {
        // A host that is gone needs no order.
        let _ = self.order(Order::End(ending));
    }

    fn order(&self, order: Order) -> std::io::Result<()> {
        (&self.control).write_all(&[order.byte()])
    }

    /// Stops every process of the tree where it stands; returns when none of them runs. The host lets them go on after
    /// `limits::FREEZE_MS_MAX`, and before it ends them.
    pub fn freeze(&self) -> Outcome<()> {
        self.order(Order::Freeze).map_err(|error| gone(&error))?;
        let deadline = Instant::now() + FREEZE_WAIT;
        while !is_still(self.identity.pid) {
            if Instant::now() > deadline {
                self.thaw()?;
                return Err(Failure::engine("some process of the tree did not stop in time; it was let go on").hint("cancel the session instead"));
            }
            // tidy, allowed: the kernel has no notification for "a process tree stands still"; the pause is bounded by a deadline.
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Lets a stopped tree go on.
    pub fn thaw(&self) -> Outcome<()> {
        self.order(Order::Thaw).map_err(|error| gone(&error))
    }

    /// End of input (the caller has dropped `stdin`) 2 s, TERM 3 s, KILL.
    pub fn kill_tree(&self) {
        self.end(Ending::Graceful);
    }

    /// Until the tree is gone.
    pub fn wait(&self) -> Outcome<ExitReport> {
        loop {
            if let Some(report) = self.hear(None)? {
                return Ok(report);
            }
        }
    }

    /// None when it still runs after `limit`.
    pub fn wait_timeout(&self, limit: Duration) -> Outcome<Option<ExitReport>> {
        self.hear(Some(Instant::now() + limit))
    }

    fn hear(&self, deadline: Option<Instant>) -> Outcome<Option<ExitReport>> {
        let mut guard = self.lock();
        let heard = &mut *guard;
        if let Some(report) = heard.ended {
            return Ok(Some(report));
        }
        match next_message(&self.control, &mut heard.bytes, deadline) {
            Ok(Some(Message::Ended(report))) => {
                heard.ended = Some(report);
                if report.left == 0 {
                    // It has said its last word and exits. With processes left it stays with them.
                    let _ = heard.host.wait();
                }
                Ok(Some(report))
            }
            Ok(_) => Ok(None),
            Err(failure) => {
                let _ = heard.host.kill();
                let _ = heard.host.wait();
                let swept = sweep_marker(&self.marker);
                // From here on there is nothing to wait for.
                heard.ended = Some(ExitReport { survivors: swept, ..ExitReport::default() });
                Err(Failure { message: format!("{}; {swept} processes were ended by their marker", failure.message), ..failure })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(error: &std::io::Error) -> Failure {
    Failure::engine(format!("the host of the run is gone: {error}"))
}

impl Drop for SandboxedChild {
    fn drop(&mut self) {
        if self.lock().ended.is_none() {
            self.end(Ending::Kill);
            // The host ends within its own limit; a failure is one of a host that is already gone.
            let _ = self.wait_timeout(HOST_END);
        }
    }
}

/// Ends the tree of a host that an earlier DCC started, and the host. True when nothing of it is left; a pid that
/// belongs to another process by now counts as gone.
pub fn reap(identity: &ProcessIdentity) -> bool {
    let begun = Instant::now();
    let live = || process(identity.pid).filter(|host| host.start_time == identity.start_time && !host.zombie);
    while let Some(host) = live() {
        if begun.elapsed() > HOST_END {
            return false;
        }
        let below = descendants(identity.pid);
        for target in &below {
            signal(target, Signal::KILL);
        }
        // It is told nothing: with its tree gone it exits, and with its socket closed it has begun to already. One
        // that has no tree and stays is stuck before its start or after its end.
        if below.is_empty() && begun.elapsed() > STRAY_HOST {
            signal(&host, Signal::KILL);
        }
        // tidy, allowed: the kernel has no notification for "a process tree is empty"; the pause is bounded by a deadline.
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
