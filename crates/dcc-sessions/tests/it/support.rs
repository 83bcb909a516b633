//! A recording host, a launcher that starts the scripted agent directly, and the rig that joins both with the backend.

#![allow(clippy::disallowed_methods, reason = "tests start the scripted agent without a sandbox and write its script")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::{Cleared, Facts, clear, evaluate};
use dcc_core::ids::{JobId, SessionId, WorkspaceId};
use dcc_core::op::Op;
use dcc_core::plan::{Frozen, PlanBody};
use dcc_core::plans::{SessionStartPlan, TurnPlan};
use dcc_core::policy::Policy;
use dcc_core::ports::sessions::{
    AgentReport, PermissionAnswer, PermissionAsk, SessionBackend, SessionHost, SessionPlace, StartExtras, StartedAgent, TerminalExit,
    TerminalOutput, TerminalSpec,
};
use dcc_core::principal::{Actor, Role, Surface};
use dcc_core::session::{Posture, ProcessIdentity};
use dcc_core::time::Timestamp;
use dcc_sessions::{AcpBackend, AcpOptions, AgentExit, AgentProcess, Launched, Launcher};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Every wait of these tests ends here; a loaded machine stays far below.
pub const PATIENCE: Duration = Duration::from_secs(60);
const MARKER: &str = "DCC_TEST_SESSION";

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn uuid_text() -> String {
    format!("00000000-0000-7000-8000-{:012x}", number())
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// The host.

/// What the host does with a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    Answer(PermissionAnswer),
    /// Waits until the test releases it or it is withdrawn; a withdrawn one still answers with `AllowOnce`, to show that
    /// the answer is dropped.
    Hold,
    /// Fails while it decides.
    Panic,
}

pub const ALLOW: Decision = Decision::Answer(PermissionAnswer::AllowOnce);
pub const REJECT: Decision = Decision::Answer(PermissionAnswer::RejectOnce);

#[derive(Default)]
pub struct Heard {
    pub reports: Vec<AgentReport>,
    pub asks: Vec<PermissionAsk>,
    /// Answered asks, by tool call id.
    pub answered: Vec<String>,
    pub written: Vec<(String, String)>,
    /// What was asked of terminals, in order.
    pub terminals: Vec<String>,
    released: HashMap<String, PermissionAnswer>,
}

type Hook = Box<dyn Fn(&AgentReport) + Send + Sync>;

pub struct FakeHost {
    root: PathBuf,
    decision: Decision,
    pub hook: OnceLock<Hook>,
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl FakeHost {
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    /// Waits until the condition gives something; shows what was heard when it never does.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&Heard) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        loop {
            if let Some(found) = find(&heard) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; heard {:#?}", heard.reports);
            heard = self.changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn release(&self, tool_call_id: &str, answer: PermissionAnswer) {
        self.heard().released.insert(tool_call_id.to_owned(), answer);
        self.changed.notify_all();
    }

    pub fn messages(&self) -> Vec<String> {
        let heard = self.heard();
        heard.reports.iter().filter_map(|r| if let AgentReport::Message { text } = r { Some(text.clone()) } else { None }).collect()
    }

    pub fn others(&self) -> Vec<String> {
        let heard = self.heard();
        heard.reports.iter().filter_map(|r| if let AgentReport::Other { kind, .. } = r { Some(kind.clone()) } else { None }).collect()
    }

    fn inside(&self, path: &str) -> Outcome<PathBuf> {
        let path = PathBuf::from(path);
        if path.starts_with(&self.root) { Ok(path) } else { Err(Failure::new(Code::Scope, "outside the worktree")) }
    }

    fn held(&self, ask: &PermissionAsk) -> PermissionAnswer {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        loop {
            if let Some(answer) = heard.released.get(&ask.tool_call_id) {
                return *answer;
            }
            if ask.withdrawn.is_set() || Instant::now() > deadline {
                return PermissionAnswer::AllowOnce;
            }
            // The flag has no bell: look at it now and then.
            heard = self.changed.wait_timeout(heard, Duration::from_millis(10)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl SessionHost for FakeHost {
    fn reports(&self, _: SessionId, reports: Vec<AgentReport>) {
        for report in reports {
            if let Some(hook) = self.hook.get() {
                hook(&report);
            }
            self.heard().reports.push(report);
            self.changed.notify_all();
        }
    }

    fn ask(&self, _: SessionId, ask: PermissionAsk) -> PermissionAnswer {
        self.heard().asks.push(ask.clone());
        self.changed.notify_all();
        let answer = match self.decision {
            Decision::Answer(answer) => answer,
            Decision::Hold => self.held(&ask),
            Decision::Panic => panic!("the host fails, as this test wants it"),
        };
        self.heard().answered.push(ask.tool_call_id);
        self.changed.notify_all();
        answer
    }

    fn read_file(&self, _: SessionId, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String> {
        let text = std::fs::read_to_string(self.inside(path)?).map_err(|e| Failure::new(Code::NotFound, e.to_string()))?;
        let lines = text.split_inclusive('\n').skip(line.unwrap_or(1) as usize - 1);
        Ok(lines.take(limit.map_or(usize::MAX, |l| l as usize)).collect())
    }

    fn write_file(&self, _: SessionId, path: &str, content: &str) -> Outcome<()> {
        let path = self.inside(path)?;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).map_err(|e| Failure::engine(e.to_string()))?;
        self.heard().written.push((path.strip_prefix(&self.root).unwrap().to_string_lossy().into_owned(), content.to_owned()));
        self.changed.notify_all();
        Ok(())
    }

    fn terminal_create(&self, _: SessionId, spec: TerminalSpec) -> Outcome<String> {
        self.terminal(format!("create {spec:?}"));
        if spec.command == "forbidden" {
            return Err(Failure::new(Code::ApprovalDenied, "a person said no"));
        }
        Ok("term-1".to_owned())
    }
    fn terminal_output(&self, _: SessionId, terminal_id: &str) -> Outcome<TerminalOutput> {
        self.terminal(format!("output {terminal_id}"));
        Ok(TerminalOutput { output: "so far\n".into(), truncated: true, exit: None })
    }
    fn terminal_wait(&self, _: SessionId, terminal_id: &str) -> Outcome<TerminalExit> {
        self.terminal(format!("wait {terminal_id}"));
        Ok(TerminalExit { exit_code: Some(3), signal: None })
    }
    fn terminal_kill(&self, _: SessionId, terminal_id: &str) -> Outcome<()> {
        self.terminal(format!("kill {terminal_id}"));
        Ok(())
    }
    fn terminal_release(&self, _: SessionId, terminal_id: &str) -> Outcome<()> {
        self.terminal(format!("release {terminal_id}"));
        if terminal_id == "term-1" { Ok(()) } else { Err(Failure::new(Code::NotFound, "no such terminal")) }
    }
}

impl FakeHost {
    fn terminal(&self, call: String) {
        self.heard().terminals.push(call);
        self.changed.notify_all();
    }
}

// The launcher.

pub struct Direct {
    marker: String,
}

struct DirectProcess {
    identity: ProcessIdentity,
    child: Mutex<Child>,
    exit: Mutex<Option<AgentExit>>,
    changed: Condvar,
    marker: String,
}

/// Live processes that carry the marker.
pub fn marked(marker: &str) -> Vec<u32> {
    let wanted = format!("{MARKER}={marker}\0");
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(wanted.len()).any(|part| part == wanted.as_bytes())
    })
    .collect()
}

fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok()).unwrap_or_default()
}

/// The example program beside this test.
pub fn scripted_agent() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("examples/scripted_agent");
    assert!(path.is_file(), "{} is missing: run the whole test of this package, which builds its examples", path.display());
    path
}

impl Launcher for Direct {
    fn launch(&self, plan: &SessionStartPlan, _: &StartExtras, _: SessionId) -> Outcome<Launched> {
        let mut command = Command::new(&plan.executable);
        command.args(&plan.command[1..]).current_dir(&plan.cwd).env_clear().env(MARKER, &self.marker).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Failure::new(Code::NotFoundAgent, format!("{}: {e}", plan.executable)))?;
        let (stdin, stdout, stderr) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let process = DirectProcess {
            identity: ProcessIdentity { pid: child.id(), start_time: start_time(child.id()) },
            child: Mutex::new(child),
            exit: Mutex::default(),
            changed: Condvar::new(),
            marker: self.marker.clone(),
        };
        Ok(Launched { process: Box::new(process), stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) })
    }
    fn reap(&self, process: &ProcessIdentity) -> bool {
        start_time(process.pid) == process.start_time
    }
}

impl AgentProcess for DirectProcess {
    fn identity(&self) -> ProcessIdentity {
        self.identity.clone()
    }
    fn posture(&self) -> Posture {
        Posture { layers: vec!["none".into()], ..Posture::default() }
    }
    fn wait(&self) -> AgentExit {
        let status = lock(&self.child).wait().unwrap();
        let exit = AgentExit { exit_code: status.code() };
        *lock(&self.exit) = Some(exit);
        self.changed.notify_all();
        exit
    }
    fn kill_tree(&self) -> Outcome<()> {
        // End of input has been given; one that heeds it is left the time.
        let heeded = self.changed.wait_timeout_while(lock(&self.exit), Duration::from_millis(500), |exit| exit.is_none());
        drop(heeded);
        self.thaw()?;
        let deadline = Instant::now() + PATIENCE;
        while let pids = marked(&self.marker)
            && !pids.is_empty()
        {
            for pid in pids {
                // It may have ended since it was listed.
                let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
            }
            assert!(Instant::now() < deadline, "the tree does not end");
            std::thread::yield_now();
        }
        Ok(())
    }
    fn freeze(&self) -> Outcome<()> {
        signal_all(&self.marker, Signal::STOP);
        Ok(())
    }
    fn thaw(&self) -> Outcome<()> {
        signal_all(&self.marker, Signal::CONT);
        Ok(())
    }
    fn place(&self) -> Option<SessionPlace> {
        None
    }
}

fn signal_all(marker: &str, signal: Signal) {
    for pid in marked(marker) {
        // It may have ended since it was listed.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
    }
}

// The rig.

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub host: Arc<FakeHost>,
    pub backend: Arc<AcpBackend>,
    pub session_id: SessionId,
    pub marker: String,
    script_path: PathBuf,
}

pub fn options() -> AcpOptions {
    // A loaded machine is no pause of the agent's.
    AcpOptions { cancel_grace: PATIENCE, silence: PATIENCE, ..AcpOptions::default() }
}

impl Rig {
    pub fn new(script: &Value, decision: Decision) -> Self {
        Self::with(script, decision, options())
    }

    pub fn with(script: &Value, decision: Decision, options: AcpOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("worktree");
        std::fs::create_dir(&root).unwrap();
        let script_path = dir.path().join("script.json");
        std::fs::write(&script_path, script.to_string()).unwrap();
        let marker = format!("{}-{}", std::process::id(), uuid_text());
        let host = FakeHost { root, decision, hook: OnceLock::new(), heard: Mutex::default(), changed: Condvar::new() };
        let backend = AcpBackend::new(Arc::new(Direct { marker: marker.clone() }), options);
        Self { dir, host: Arc::new(host), backend: Arc::new(backend), session_id: uuid_text().parse().unwrap(), marker, script_path }
    }

    pub fn root(&self) -> &Path {
        &self.host.root
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root().join(path)).ok()
    }

    pub fn plan(&self) -> SessionStartPlan {
        let program = scripted_agent().to_string_lossy().into_owned();
        start_plan(self.root(), vec![program, self.script_path.to_string_lossy().into_owned()])
    }

    pub fn start(&self) -> Outcome<StartedAgent> {
        self.backend.start(self.session_id, cleared(Op::SessionStart, self.plan()), dcc_core::ports::StartExtras::default(), self.host.clone())
    }

    pub fn prompt(&self, text: &str) -> Outcome<JobId> {
        let turn: JobId = uuid_text().parse().unwrap();
        self.backend.prompt(turn, turn_plan(self.session_id, text))?;
        Ok(turn)
    }

    /// How the turn ended: its stop reason or its failure.
    pub fn end_of(&self, turn: JobId) -> Result<String, Failure> {
        self.host.wait_for("the end of the turn", |heard| {
            heard.reports.iter().find_map(|report| match report {
                AgentReport::TurnEnded { turn: ended, stop_reason } if *ended == turn => Some(Ok(stop_reason.clone())),
                AgentReport::TurnFailed { turn: ended, failure } if *ended == turn => Some(Err(failure.clone())),
                _ => None,
            })
        })
    }

    /// Starts and plays one turn to its end.
    pub fn play(&self) -> Result<String, Failure> {
        self.start().unwrap();
        self.again()
    }

    pub fn again(&self) -> Result<String, Failure> {
        let turn = self.prompt("go on").unwrap();
        self.end_of(turn)
    }

    pub fn wait_ask(&self) -> PermissionAsk {
        self.host.wait_for("a permission request", |heard| heard.asks.first().cloned())
    }

    /// Exit code and standard error of the end.
    pub fn wait_exit(&self) -> (Option<i32>, String) {
        self.host.wait_for("the end of the process", |heard| {
            heard.reports.iter().find_map(|report| match report {
                AgentReport::Exited { exit_code, stderr_head } => Some((*exit_code, stderr_head.clone())),
                _ => None,
            })
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let stopped = self.backend.stop(self.session_id);
        if !std::thread::panicking() {
            stopped.unwrap();
            assert_eq!(marked(&self.marker), Vec::<u32>::new(), "processes are left");
        }
    }
}

/// Only what matters here; the rest as a stored plan without it would be read.
pub fn start_plan(root: &Path, command: Vec<String>) -> SessionStartPlan {
    let body = serde_json::json!({
        "workspace_id": workspace(), "agent": "scripted", "command": command, "executable": command[0], "env": {}, "cwd": root, "git_dir": root,
        "common_dir": root, "read_paths": [], "connect_ports": [], "role": "coder", "prompt": null,
    });
    serde_json::from_value(body).unwrap()
}

fn workspace() -> WorkspaceId {
    "00000000-0000-7000-8000-ffffffffffff".parse().unwrap()
}

pub fn turn_plan(session_id: SessionId, text: &str) -> Cleared<TurnPlan> {
    let body = serde_json::json!({"session_id": session_id, "workspace_id": workspace(), "prompt": text});
    cleared(Op::SessionRun, serde_json::from_value::<TurnPlan>(body).unwrap())
}

/// A clearance as the runner gets it, for the operator.
pub fn cleared<P: PlanBody>(op: Op, body: P) -> Cleared<P> {
    let frozen = Frozen::freeze(op, "acp", Vec::new(), body).unwrap();
    let job_id: JobId = uuid_text().parse().unwrap();
    let policy = Policy::built_in();
    let requirement = frozen.plan().requirement.clone();
    let verdict = evaluate(&Facts {
        job_id,
        root_job_id: job_id,
        actor: Actor::operator(Surface::Terminal),
        role: Role::Human,
        requirement: &requirement,
        plan_digest: frozen.plan_digest(),
        own_workspace_id: None,
        wp_id: None,
        model: None,
        foreign_packet: None,
        over_budget: None,
        protected_branches: &[],
        out_of_scope: &[],
        policy: &policy,
        grants: &[],
        approval: None,
        now: Timestamp(1),
    });
    clear(frozen, &verdict).unwrap()
}
