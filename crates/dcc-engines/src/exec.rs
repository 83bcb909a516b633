//! The one place that starts a process. Authority: ephemeral (nothing here is remembered).
//!
//! Invariants: the environment is always cleared and rebuilt from what the caller lists; the program is an absolute path,
//! never searched at run time; every child leads its own process group, has a time limit and an output limit; input and
//! output flow on threads of their own, so no size of either can deadlock. Every child of `run` and its group are gone when it returns; only a process
//! that left the group (set-sid) can outlive it, and containing those is the sandbox's work.
//!
//! On failure: a program that cannot be started is HSK-500-ENGINE; an exit code, a signal, a cut or a time-out is not a
//! failure here but a fact in [`Finished`] for the caller to judge.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// After the group was killed, how long output may still trickle in from a process that left the group.
const DRAIN_MS: u64 = 2_000;

/// One child to run: everything about it, nothing inherited.
#[derive(Clone, Debug)]
pub struct Exec {
    /// Absolute path.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// Bytes for standard input; none is an empty input.
    pub stdin: Option<Vec<u8>>,
    /// A file for standard input instead of bytes, for input that should not be held in memory.
    pub stdin_file: Option<Arc<std::fs::File>>,
    pub timeout_ms: u64,
    /// Bytes kept of each stream; the rest is read, counted and dropped.
    pub stdout_max: usize,
    pub stderr_max: usize,
    /// Ends the child early from another thread.
    pub cancel: Option<Cancel>,
}

/// How a child ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Bytes produced beyond the limit.
    pub stdout_cut: u64,
    pub stderr_cut: u64,
    pub timed_out: bool,
    pub cancelled: bool,
    pub duration_ms: u64,
}

impl Finished {
    pub fn is_success(&self) -> bool {
        self.code == Some(0) && !self.timed_out && !self.cancelled
    }
    /// Standard error as one line of text for a message, cut.
    pub fn stderr_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let joined = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
        joined.chars().take(600).collect()
    }
}

/// Ends a running child from another thread; may be set before the child starts.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Mutex<CancelState>>);

#[derive(Debug, Default)]
struct CancelState {
    set: bool,
    /// The group to kill; present only while its leader is not yet reaped, so the id cannot name another process.
    group: Option<Pid>,
}

impl Cancel {
    pub fn cancel(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.set = true;
        if let Some(group) = state.group {
            kill_group(group);
        }
    }
    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set
    }
    fn attach(&self, group: Pid) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.group = Some(group);
        if state.set {
            kill_group(group);
        }
    }
    fn detach(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).group = None;
    }
}

/// A child that lives on: an agent. Its owner reads, writes, and ends it.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

impl Running {
    /// Kills the whole process group. The leader stays to be reaped by `child.wait()`.
    pub fn kill_group(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_group(pid);
        }
    }
}

impl Exec {
    /// A child with no environment, no input, and limits that suit a short tool.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: cwd.into(),
            stdin: None,
            stdin_file: None,
            timeout_ms: 30_000,
            stdout_max: dcc_core::limits::OUTPUT_BYTES_MAX,
            stderr_max: 64 * 1024,
            cancel: None,
        }
    }
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Runs to the end, the time limit or the cancellation; the child and its process group are gone on return.
    pub fn run(self) -> Outcome<Finished> {
        let started = Instant::now();
        let stdin = match (&self.stdin, &self.stdin_file) {
            (Some(_), _) => Stdio::piped(),
            (None, Some(file)) => Stdio::from(file.try_clone().map_err(|e| Failure::engine(format!("standard input: {e}")))?),
            (None, None) => Stdio::null(),
        };
        let mut child = self.spawn_child(stdin)?;
        let pid = Pid::from_raw(child.id() as i32).expect("a spawned child has a positive process id");
        if let Some(cancel) = &self.cancel {
            cancel.attach(pid);
        }
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A child that stops reading closes the pipe; that is its affair, and its exit code says so.
            std::thread::spawn(move || {
                let _ = pipe.write_all(&bytes);
            });
        }
        let stdout = Capture::start(child.stdout.take().expect("standard output is piped"), self.stdout_max);
        let stderr = Capture::start(child.stderr.take().expect("standard error is piped"), self.stderr_max);
        let deadline = started + Duration::from_millis(self.timeout_ms);
        let timed_out = !wait_exited(pid, deadline);
        // The leader is not reaped yet, so its id still names this group: what it left behind ends here.
        kill_group(pid);
        if let Some(cancel) = &self.cancel {
            cancel.detach();
        }
        let status = child.wait().map_err(|e| Failure::engine(format!("{}: wait: {e}", self.program.display())))?;
        let until = Instant::now() + Duration::from_millis(DRAIN_MS);
        let (stdout, stdout_cut) = stdout.finish(until);
        let (stderr, stderr_cut) = stderr.finish(until);
        Ok(Finished {
            code: status.code(),
            signal: signal_of(status),
            stdout,
            stderr,
            stdout_cut,
            stderr_cut,
            timed_out,
            cancelled: self.cancel.is_some_and(|c| c.is_set()),
            duration_ms: started.elapsed().as_millis() as u64,
        })
    }

    /// Starts a child that lives on, with pipes on all three streams. `stdin`, the limits and `cancel` are not used.
    pub fn spawn(self) -> Outcome<Running> {
        let mut child = self.spawn_child(Stdio::piped())?;
        let stdin = child.stdin.take().expect("standard input is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        Ok(Running { child, stdin, stdout, stderr })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    fn spawn_child(&self, stdin: Stdio) -> Outcome<Child> {
        if !self.program.is_absolute() {
            return Err(Failure::engine(format!("{} is not an absolute path", self.program.display())));
        }
        Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .current_dir(&self.cwd)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::new(Code::Engine, format!("{} cannot be started in {}: {e}", self.program.display(), self.cwd.display())))
    }
}

fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

fn kill_group(pid: Pid) {
    // ESRCH means that it is already gone.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
}

/// True when the child exited before the deadline. The child is left unreaped.
fn wait_exited(pid: Pid, deadline: Instant) -> bool {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
        let _ = send.send(());
    });
    receive.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
}

/// A stream being read on its own thread.
struct Capture {
    kept: Arc<Mutex<(Vec<u8>, u64)>>,
    done: mpsc::Receiver<()>,
}

impl Capture {
    fn start(mut pipe: impl Read + Send + 'static, max: usize) -> Self {
        let kept = Arc::new(Mutex::new((Vec::new(), 0u64)));
        let (send, done) = mpsc::channel();
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut buffer = vec![0u8; 64 * 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        let room = max.saturating_sub(kept.0.len()).min(n);
                        kept.0.extend_from_slice(&buffer[..room]);
                        kept.1 += (n - room) as u64;
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            let _ = send.send(());
        });
        Self { kept, done }
    }
    /// The bytes kept and the count dropped; waits for the end of the stream until the given time.
    fn finish(self, until: Instant) -> (Vec<u8>, u64) {
        let _ = self.done.recv_timeout(until.saturating_duration_since(Instant::now()));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.0), kept.1)
    }
}

/// The operator's PATH as it was when first asked for: absolute directories only.
pub fn operator_path() -> &'static [PathBuf] {
    static DIRS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    DIRS.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
        std::env::split_paths(&path).filter(|d| d.is_absolute()).collect()
    })
}

/// Finds a program by its bare name on the operator's PATH; remembered, so that one name stays one file for the whole
/// run of the process. A name with a slash is not searched.
pub fn find_program(name: &str) -> Option<PathBuf> {
    static FOUND: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let mut found = FOUND.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.get(name) {
        return Some(path.clone());
    }
    let path = operator_path().iter().map(|dir| dir.join(name)).find(|p| is_executable(p))?;
    found.insert(name.to_owned(), path.clone());
    Some(path)
}

/// True for a regular file, possibly behind a link, that this user may execute.
pub fn is_executable(path: &Path) -> bool {
    path.is_absolute() && path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The operator's PATH as a value for a child's environment.
pub fn operator_path_value() -> OsString {
    std::env::join_paths(operator_path()).unwrap_or_else(|_| OsStr::new("/usr/bin:/bin").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Exec {
        Exec::new("/bin/sh", "/").arg("-c").arg(script)
    }

    #[test]
    fn large_input_and_output_do_not_deadlock() {
        let bytes = vec![b'x'; 8 * 1024 * 1024];
        let mut exec = Exec::new("/bin/cat", "/");
        exec.stdin = Some(bytes.clone());
        let done = exec.run().unwrap();
        assert!(done.is_success());
        assert_eq!(done.stdout, bytes);
    }

    #[test]
    fn output_beyond_the_limit_is_counted() {
        let mut exec = sh("head -c 100000 /dev/zero; head -c 50 /dev/zero >&2");
        exec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        exec.stdout_max = 1000;
        exec.stderr_max = 20;
        let done = exec.run().unwrap();
        assert_eq!((done.stdout.len(), done.stdout_cut, done.stderr.len(), done.stderr_cut), (1000, 99_000, 20, 30));
    }

    #[test]
    fn the_time_limit_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut exec = sh("sleep 600 & echo $!; wait");
        exec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        exec.cwd = dir.path().to_owned();
        exec.timeout_ms = 300;
        let done = exec.run().unwrap();
        assert!(done.timed_out && !done.is_success());
        let pid: i32 = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
        // Killed on return; the kernel may need a moment more to take it off the list.
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(Instant::now() < deadline, "the grandchild survived");
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_is_inherited_from_the_environment() {
        let done = Exec::new("/usr/bin/env", "/").env("ONLY", "this").run().unwrap();
        assert_eq!(done.stdout, b"ONLY=this\n");
    }

    #[test]
    fn a_background_survivor_does_not_hold_the_caller() {
        let mut exec = sh("sleep 600 & exit 3");
        exec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let done = exec.run().unwrap();
        assert_eq!(done.code, Some(3));
        assert!(done.duration_ms < 10_000);
    }

    #[test]
    fn cancelling_ends_the_child() {
        let cancel = Cancel::default();
        cancel.cancel();
        let mut exec = sh("sleep 600");
        exec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        exec.cancel = Some(cancel);
        let done = exec.run().unwrap();
        assert!(done.cancelled && done.signal == Some(9));
    }

    #[test]
    fn a_program_is_an_absolute_path() {
        assert_eq!(Exec::new("true", "/").run().unwrap_err().code, Code::Engine);
        assert!(find_program("sh").unwrap().is_absolute());
        assert!(find_program("./sh").is_none());
    }
}
