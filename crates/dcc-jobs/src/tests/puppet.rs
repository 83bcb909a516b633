//! Agents on strings: they do what the test says, when it says it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::gate::Cleared;
use dcc_core::plans::{SessionStartPlan, TurnPlan};
use dcc_core::ports::sessions::{ApprovalStyle, BackendCapabilities, ResumeStyle, SideEffect, StartExtras, StartedAgent, ToolReport, ToolStatus, Withdrawn};
use dcc_core::ports::{AgentCatalogue, AgentListing, AgentReport, AgentSpec, Driver, LoginSpec, PermissionAnswer, PermissionAsk, SessionBackend, SessionHost};
use dcc_core::session::{Posture, ProcessIdentity};
use dcc_core::{Code, Failure, JobId, Outcome, SessionId, Sha256Hex};

/// Every wait of these tests ends here; a loaded machine stays far below.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How all agents behave, until the test says otherwise.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Ends its turn when it is cancelled.
    pub heeds_cancel: bool,
    pub can_freeze: bool,
    /// How it takes an earlier conversation up; none = it cannot.
    pub resume: ResumeStyle,
    /// It was asked to take one up and does.
    pub resumes: bool,
    pub model: Option<&'static str>,
    /// Why a start fails.
    pub start_fails: Option<&'static str>,
    /// Why a prompt is not taken.
    pub prompt_fails: Option<&'static str>,
    /// Its processes cannot be ended.
    pub stop_fails: bool,
    /// Starts block until this is false.
    pub holds_starts: bool,
    /// Prompts block until this is false.
    pub holds_prompts: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            heeds_cancel: true,
            can_freeze: true,
            resume: ResumeStyle::Silent,
            resumes: true,
            model: None,
            start_fails: None,
            prompt_fails: None,
            stop_fails: false,
            holds_starts: false,
            holds_prompts: false,
        }
    }
}

/// One running agent.
struct Agent {
    host: Arc<dyn SessionHost>,
    turn: Option<JobId>,
    asks: Vec<Withdrawn>,
    is_frozen: bool,
    is_stopping: bool,
}

#[derive(Default)]
struct State {
    agents: HashMap<SessionId, Agent>,
    /// What each session's agents were told, in order; every piece of a prompt.
    told: Vec<(SessionId, Vec<String>)>,
    starts: Vec<SessionStartPlan>,
    reaped: Vec<ProcessIdentity>,
    next_pid: u32,
}

#[derive(Default)]
pub struct Puppets {
    state: Mutex<State>,
    changed: Condvar,
    manners: Mutex<Manners>,
    /// As after kill -9 of the server: nothing that happens is told to anybody.
    dead: AtomicBool,
    /// How often somebody asked who lives.
    looks: AtomicUsize,
}

/// An answer that comes later.
pub struct Answer(std::sync::mpsc::Receiver<PermissionAnswer>);

impl Answer {
    pub fn get(&self) -> PermissionAnswer {
        self.0.recv_timeout(PATIENCE).expect("an answer")
    }
    pub fn is_open(&self) -> bool {
        matches!(self.0.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty))
    }
}

impl Puppets {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn manners(&self) -> Manners {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap_or_else(PoisonError::into_inner));
        let _state = self.lock();
        self.changed.notify_all();
    }
    fn wait<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}");
            // Manners have no bell of their own state; look again now and then.
            state = self.changed.wait_timeout(state, left.min(Duration::from_millis(50))).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What a session's agents were told, each prompt as its pieces joined.
    pub fn told(&self, id: SessionId) -> Vec<String> {
        self.lock().told.iter().filter(|(s, _)| *s == id).map(|(_, texts)| texts.join("\n---\n")).collect()
    }
    /// The person's words only: the last piece of each prompt.
    pub fn heard(&self, id: SessionId) -> Vec<String> {
        self.lock().told.iter().filter(|(s, _)| *s == id).filter_map(|(_, texts)| texts.last().cloned()).collect()
    }
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::Acquire)
    }
    pub fn starts(&self) -> Vec<SessionStartPlan> {
        self.lock().starts.clone()
    }
    pub fn is_frozen(&self, id: SessionId) -> bool {
        self.lock().agents.get(&id).is_some_and(|a| a.is_frozen)
    }
    pub fn turn(&self, id: SessionId) -> JobId {
        self.wait("a turn", |s| s.agents.get(&id)?.turn)
    }
    pub fn has_turn(&self, id: SessionId) -> bool {
        self.lock().agents.get(&id).is_some_and(|a| a.turn.is_some())
    }
    fn host(&self, id: SessionId) -> Arc<dyn SessionHost> {
        self.wait("an agent", |s| s.agents.get(&id).map(|a| Arc::clone(&a.host)))
    }
    pub fn report(&self, id: SessionId, report: AgentReport) {
        if !self.dead.load(Ordering::Acquire) {
            self.host(id).report(id, report);
        }
    }
    /// The running turn ends so.
    pub fn end_turn(&self, id: SessionId, stop_reason: &str) {
        self.turn(id);
        let turn = self.lock().agents.get_mut(&id).and_then(|a| a.turn.take()).expect("a turn");
        self.report(id, AgentReport::TurnEnded { turn, stop_reason: stop_reason.into() });
    }
    pub fn fail_turn(&self, id: SessionId, why: &str) {
        let turn = self.turn(id);
        self.lock().agents.get_mut(&id).expect("an agent").turn = None;
        self.report(id, AgentReport::TurnFailed { turn, failure: Failure::new(Code::AgentFailed, why) });
    }
    /// It asks for permission to run a command; the answer comes later.
    pub fn ask(&self, id: SessionId, call: &str) -> Answer {
        self.ask_as(id, call, "execute", Some(format!("make {call}")), &[])
    }
    /// It asks for permission to edit these files.
    pub fn ask_edit(&self, id: SessionId, call: &str, paths: &[&str]) -> Answer {
        self.ask_as(id, call, "edit", None, paths)
    }
    fn ask_as(&self, id: SessionId, call: &str, kind: &str, command: Option<String>, paths: &[&str]) -> Answer {
        let withdrawn = Withdrawn::default();
        self.turn(id);
        self.lock().agents.get_mut(&id).expect("an agent").asks.push(withdrawn.clone());
        let host = self.host(id);
        let ask = PermissionAsk {
            tool_call_id: call.into(),
            title: format!("Run {call}"),
            kind: Some(kind.into()),
            locations: paths.iter().map(|path| (*path).to_owned()).collect(),
            command,
            command_is_title: false,
            diffs: Vec::new(),
            input: None,
            texts: Vec::new(),
            raw_sha256: Sha256Hex::of(call.as_bytes()),
            can_allow: true,
            withdrawn,
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // The test may have ended meanwhile.
            let _ = sender.send(host.ask(id, ask));
        });
        Answer(receiver)
    }
    /// It hands a file in to be written.
    pub fn write(&self, id: SessionId, path: &str, content: &str) -> Outcome<()> {
        self.turn(id);
        self.host(id).write_file(id, path, content)
    }
    /// It reports a tool call as finished.
    pub fn finish_tool(&self, id: SessionId, call: &str) {
        self.tell(id, call, ToolStatus::Requested);
        self.tell(id, call, ToolStatus::Ok);
    }
    /// It reports a tool call in this status.
    pub fn tell(&self, id: SessionId, call: &str, status: ToolStatus) {
        self.report(id, AgentReport::Tool(Self::tool(call, status)));
    }
    pub fn tool(call: &str, status: ToolStatus) -> ToolReport {
        ToolReport {
            tool_call_id: call.into(),
            title: format!("Do {call}"),
            kind: "execute".into(),
            side_effect: SideEffect::Execute,
            status,
            locations: Vec::new(),
            raw_input: None,
            raw_output: None,
            content: Vec::new(),
        }
    }
    /// What a busy agent said, handed over together.
    pub fn report_together(&self, id: SessionId, reports: Vec<AgentReport>) {
        self.host(id).reports(id, reports);
    }
    /// Its process dies.
    pub fn crash(&self, id: SessionId, code: i32) {
        let agent = self.lock().agents.remove(&id).expect("an agent");
        self.changed.notify_all();
        agent.asks.iter().for_each(Withdrawn::set);
        agent.host.report(id, AgentReport::Exited { exit_code: Some(code), stderr_head: "the agent says why".into() });
    }
    /// As kill -9 of the server: nothing more is told, and this backend has nobody.
    pub fn die(&self) {
        self.dead.store(true, Ordering::Release);
        self.lock().agents.clear();
    }
    fn leave(&self, id: SessionId) -> Option<Agent> {
        let agent = self.lock().agents.remove(&id);
        self.changed.notify_all();
        agent
    }
}

impl SessionBackend for Puppets {
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, _extras: StartExtras, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent> {
        self.lock().starts.push(cleared.body().clone());
        self.changed.notify_all();
        self.wait("starts to be let go", |_| (!self.manners().holds_starts).then_some(()));
        let manners = self.manners();
        if let Some(why) = manners.start_fails {
            return Err(Failure::new(Code::AgentFailed, why));
        }
        let mut state = self.lock();
        state.next_pid += 1;
        let pid = 1_000_000 + state.next_pid;
        state.agents.insert(session_id, Agent { host, turn: None, asks: Vec::new(), is_frozen: false, is_stopping: false });
        self.changed.notify_all();
        Ok(StartedAgent {
            process: ProcessIdentity { pid, start_time: 1 },
            agent_session_id: format!("puppet-{pid}"),
            agent_info: Some("puppet 1".into()),
            model_id: manners.model.map(str::to_owned),
            posture: Posture::default(),
            capabilities: BackendCapabilities { approvals: ApprovalStyle::Interactive, resume: manners.resume, ..BackendCapabilities::default() },
            resumed: manners.resumes && cleared.body().resume.is_some(),
        })
    }

    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()> {
        self.wait("prompts to be let go", |_| (!self.manners().holds_prompts || self.dead.load(Ordering::Acquire)).then_some(()));
        if let Some(why) = self.manners().prompt_fails {
            return Err(Failure::new(Code::AgentFailed, why));
        }
        let plan = cleared.body();
        let mut state = self.lock();
        let agent = state.agents.get_mut(&plan.session_id).ok_or_else(|| Failure::new(Code::NotFoundSession, "no agent"))?;
        if agent.is_stopping {
            return Err(Failure::new(Code::AgentFailed, "the agent takes no prompt now"));
        }
        assert_eq!(agent.turn, None, "one turn at a time");
        agent.turn = Some(turn);
        state.told.push((plan.session_id, plan.texts().iter().map(|t| (*t).to_owned()).collect()));
        self.changed.notify_all();
        Ok(())
    }

    fn stop(&self, session_id: SessionId) -> Outcome<()> {
        if self.manners().stop_fails {
            return Err(Failure::engine("2 processes of the agent could not be ended"));
        }
        let turn = self.lock().agents.get_mut(&session_id).and_then(|agent| {
            agent.is_stopping = true;
            agent.asks.drain(..).for_each(|a| a.set());
            Some((Arc::clone(&agent.host), agent.turn.take()?))
        });
        // As a living agent does: it ends its turn while it is still there.
        if let Some((host, turn)) = turn {
            host.report(session_id, AgentReport::TurnEnded { turn, stop_reason: "cancelled".into() });
        }
        let Some(agent) = self.leave(session_id) else { return Ok(()) };
        agent.host.report(session_id, AgentReport::Exited { exit_code: None, stderr_head: String::new() });
        Ok(())
    }

    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()> {
        let mut state = self.lock();
        let agent = state.agents.get_mut(&session_id).ok_or_else(|| Failure::new(Code::NotFoundSession, "no agent"))?;
        agent.asks.drain(..).for_each(|a| a.set());
        let host = Arc::clone(&agent.host);
        if self.manners().heeds_cancel
            && let Some(turn) = agent.turn.take()
        {
            std::thread::spawn(move || host.report(session_id, AgentReport::TurnEnded { turn, stop_reason: "cancelled".into() }));
        }
        Ok(())
    }

    fn live(&self) -> Vec<SessionId> {
        self.looks.fetch_add(1, Ordering::AcqRel);
        self.lock().agents.keys().copied().collect()
    }

    fn freeze(&self, session_id: SessionId) -> Outcome<()> {
        if !self.manners().can_freeze {
            return Err(Failure::new(Code::NotBuilt, "no cgroup is delegated"));
        }
        self.lock().agents.get_mut(&session_id).expect("an agent").is_frozen = true;
        Ok(())
    }

    fn thaw(&self, session_id: SessionId) -> Outcome<()> {
        if let Some(agent) = self.lock().agents.get_mut(&session_id) {
            agent.is_frozen = false;
        }
        Ok(())
    }

    fn reap(&self, process: &ProcessIdentity) -> bool {
        self.lock().reaped.push(process.clone());
        true
    }
}

/// Every name is an agent, but `absent`.
pub struct AnyAgent;

impl AgentCatalogue for AnyAgent {
    fn resolve(&self, name: &str) -> Outcome<AgentSpec> {
        if name == "absent" {
            return Err(Failure::new(Code::NotFoundAgent, "no agent absent"));
        }
        // One of them has a service to call, one waits on a port, one is a plain command.
        let connect_ports = if name == "online" { vec![443] } else { Vec::new() };
        let driver = if name == "plain" { Driver::Pty } else { Driver::Acp };
        Ok(AgentSpec { name: name.into(), command: vec![name.into()], executable: "/bin/true".into(), connect_ports, listens: name == "listener", driver, ..AgentSpec::default() })
    }
    fn resolve_command(&self, command: &[String]) -> Outcome<AgentSpec> {
        Ok(AgentSpec { name: command[0].clone(), command: command.to_vec(), executable: "/bin/true".into(), ..AgentSpec::default() })
    }
    fn login(&self, name: &str) -> Outcome<LoginSpec> {
        Ok(LoginSpec { agent: name.into(), ..LoginSpec::default() })
    }
    fn list(&self) -> Vec<AgentListing> {
        ["puppet", "claude", "codex"].map(|n| AgentListing { name: n.to_owned(), installed: true, ..AgentListing::default() }).to_vec()
    }
}
