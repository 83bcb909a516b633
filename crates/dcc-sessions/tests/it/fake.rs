//! An agent inside the test's own process that speaks what a test wrote by hand, and remembers what it heard.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::op::Op;
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::sessions::{AgentReport, SessionBackend as _, SessionPlace, StartExtras, StartedAgent};
use dcc_core::session::{Posture, ProcessIdentity};
use dcc_sessions::{AcpBackend, AcpOptions, AgentExit, AgentProcess, AgentTraits, Launched, Launcher};
use serde_json::{Value, json};

use crate::support::{Decision, Rig, cleared, lock, options, turn_plan, uuid_text};

/// What the agent sends when it hears a message: lines as they are.
type Answer = dyn Fn(&Value) -> Vec<String> + Send + Sync;

#[derive(Default)]
struct State {
    heard: Vec<Value>,
    extras: Vec<StartExtras>,
    stops: Vec<&'static str>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct Process(Arc<Shared>);

impl AgentProcess for Process {
    fn identity(&self) -> ProcessIdentity {
        ProcessIdentity { pid: 1, start_time: 1 }
    }
    fn posture(&self) -> Posture {
        Posture::default()
    }
    fn wait(&self) -> AgentExit {
        drop(self.0.changed.wait_while(lock(&self.0.state), |state| !state.ended));
        AgentExit { exit_code: Some(0) }
    }
    fn kill_tree(&self) -> Outcome<()> {
        lock(&self.0.state).ended = true;
        self.0.changed.notify_all();
        Ok(())
    }
    fn freeze(&self) -> Outcome<()> {
        lock(&self.0.state).stops.push("freeze");
        Ok(())
    }
    fn thaw(&self) -> Outcome<()> {
        lock(&self.0.state).stops.push("thaw");
        Ok(())
    }
    fn place(&self) -> Option<SessionPlace> {
        Some(SessionPlace { home: "/homes/of/it".into(), ..SessionPlace::default() })
    }
}

struct FakeLauncher {
    shared: Arc<Shared>,
    answer: Arc<Answer>,
    stderr: String,
}

impl Launcher for FakeLauncher {
    fn launch(&self, _: &SessionStartPlan, extras: &StartExtras, _: SessionId) -> Outcome<Launched> {
        let (agent_in, stdin) = std::io::pipe().unwrap();
        let (stdout, agent_out) = std::io::pipe().unwrap();
        lock(&self.shared.state).extras.push(extras.clone());
        let (shared, answer) = (Arc::clone(&self.shared), Arc::clone(&self.answer));
        std::thread::spawn(move || speak(agent_in, agent_out, &shared, answer.as_ref()));
        let stderr = Box::new(std::io::Cursor::new(self.stderr.clone().into_bytes()));
        Ok(Launched { process: Box::new(Process(Arc::clone(&self.shared))), stdin: Box::new(stdin), stdout: Box::new(stdout), stderr })
    }
    fn reap(&self, _: &ProcessIdentity) -> bool {
        false
    }
}

fn speak(input: PipeReader, mut output: PipeWriter, shared: &Shared, answer: &Answer) {
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).unwrap();
        let lines = answer(&message);
        lock(&shared.state).heard.push(message);
        shared.changed.notify_all();
        for line in lines {
            // The client may be gone by now.
            let _ = output.write_all(line.as_bytes()).and_then(|()| output.write_all(b"\n"));
        }
    }
    lock(&shared.state).ended = true;
    shared.changed.notify_all();
}

/// A session with such an agent.
pub struct Fake {
    pub rig: Rig,
    pub backend: Arc<AcpBackend>,
    pub session_id: SessionId,
    pub plan: SessionStartPlan,
    shared: Arc<Shared>,
}

impl Fake {
    pub fn new(answer: impl Fn(&Value) -> Vec<String> + Send + Sync + 'static) -> Self {
        Self::with(answer, AgentTraits::default(), options(), "", crate::support::ALLOW)
    }

    pub fn of(traits: AgentTraits, answer: impl Fn(&Value) -> Vec<String> + Send + Sync + 'static) -> Self {
        Self::with(answer, traits, options(), "", crate::support::ALLOW)
    }

    pub fn with(answer: impl Fn(&Value) -> Vec<String> + Send + Sync + 'static, traits: AgentTraits, options: AcpOptions, stderr: &str, decision: Decision) -> Self {
        let rig = Rig::new(&json!({}), decision);
        let shared = Arc::<Shared>::default();
        let launcher = FakeLauncher { shared: Arc::clone(&shared), answer: Arc::new(answer), stderr: stderr.to_owned() };
        let options = AcpOptions { agents: [("scripted".to_owned(), traits)].into(), ..options };
        let plan = rig.plan();
        Self { rig, backend: Arc::new(AcpBackend::new(Arc::new(launcher), options)), session_id: uuid_text().parse().unwrap(), plan, shared }
    }

    pub fn start(&self) -> Outcome<StartedAgent> {
        self.start_with(StartExtras::default())
    }

    pub fn start_with(&self, extras: StartExtras) -> Outcome<StartedAgent> {
        self.backend.start(self.session_id, cleared(Op::SessionStart, self.plan.clone()), extras, self.rig.host.clone())
    }

    /// Takes the conversation `id` up.
    pub fn resume(&mut self, id: &str) -> Outcome<StartedAgent> {
        self.plan.resume = Some(id.to_owned());
        self.start()
    }

    pub fn prompt(&self) -> Outcome<JobId> {
        let turn: JobId = uuid_text().parse().unwrap();
        self.backend.prompt(turn, turn_plan(self.session_id, "go"))?;
        Ok(turn)
    }

    /// One turn to its end.
    pub fn turn(&self) -> Result<String, Failure> {
        let turn = self.prompt().unwrap();
        self.rig.end_of(turn)
    }

    /// Every message of this method that the agent heard.
    pub fn heard(&self, method: &str) -> Vec<Value> {
        lock(&self.shared.state).heard.iter().filter(|message| message["method"] == method).cloned().collect()
    }

    /// The answer that the agent got to its request with this id.
    pub fn answered(&self, id: &str) -> Value {
        let find = |state: &State| state.heard.iter().find(|message| message["id"] == id && message["method"].is_null()).cloned();
        let waiting = self.shared.changed.wait_timeout_while(lock(&self.shared.state), crate::support::PATIENCE, |state| find(state).is_none());
        find(&waiting.unwrap().0).unwrap_or_else(|| panic!("no answer to {id}"))
    }

    pub fn extras(&self) -> Vec<StartExtras> {
        lock(&self.shared.state).extras.clone()
    }

    /// What was done to the process tree.
    pub fn stops(&self) -> Vec<&'static str> {
        lock(&self.shared.state).stops.clone()
    }

    pub fn reports(&self) -> Vec<AgentReport> {
        self.rig.host.heard().reports.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let stopped = self.backend.stop(self.session_id);
        if !std::thread::panicking() {
            stopped.unwrap();
        }
    }
}

// The words of a transcript.

pub fn result(message: &Value, result: Value) -> String {
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
}
pub fn error(message: &Value, code: i64, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": text}}).to_string()
}
/// An update of the session that the fake opens.
pub fn update(update: Value) -> String {
    update_of("s-new", update)
}
pub fn update_of(session: &str, update: Value) -> String {
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update": update}}).to_string()
}
pub fn says(session: &str, text: &str) -> String {
    update_of(session, json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}))
}
pub fn asks(id: &str, method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// Modes `auto` (where it is born) and `default`.
pub fn modes() -> Value {
    json!({"currentModeId": "auto", "availableModes": [{"id": "auto", "name": "Auto"}, {"id": "default", "name": "Default"}]})
}

/// The plain answers of an agent with these capabilities; a prompt ends at once.
pub fn plain(message: &Value, capabilities: &Value) -> Vec<String> {
    match message["method"].as_str() {
        Some("initialize") => vec![result(message, json!({"protocolVersion": 1, "agentCapabilities": capabilities}))],
        Some("session/new") => vec![result(message, json!({"sessionId": "s-new", "modes": modes()}))],
        Some("session/load" | "session/resume") => vec![result(message, json!({"modes": modes()}))],
        Some("session/set_mode") => vec![result(message, json!({}))],
        Some("session/prompt") => vec![result(message, json!({"stopReason": "end_turn"}))],
        Some(_) if !message["id"].is_null() => vec![error(message, -32_601, "Method not found")],
        _ => Vec::new(),
    }
}

/// A start that gives up soon.
pub fn hurried() -> AcpOptions {
    AcpOptions { start_timeout: Duration::from_secs(3), ..options() }
}
