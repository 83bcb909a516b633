//! The Agent Client Protocol, version 1, as client: one backend for every agent that speaks it (SESSIONS 5).
//!
//! Authority: ephemeral; the host records. A later version stands beside this one behind the same `SessionBackend`.
//!
//! Threads of a session: reader, writer, standard error, supervisor, waiter, and one for each request that waits.

mod content;
mod live;
mod modes;
mod offers;
mod pump;
mod serve;
mod start;
mod tools;
mod updates;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, SessionId};
use dcc_core::limits;
use dcc_core::plans::{SessionStartPlan, TurnPlan};
use dcc_core::ports::sessions::{SessionBackend, SessionHost, SessionPlace, StartExtras, StartedAgent};
use dcc_core::session::ProcessIdentity;

use crate::launch::{Launched, Launcher};
use live::Live;
use start::Wanted;

/// What DCC has to know of one agent beyond its command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentTraits {
    /// Id or name of the mode in which it asks before it acts; none = a mode named default or ask.
    pub ask_mode: Option<String>,
    /// True: an agent that offers no modes at all is refused.
    pub ask_mode_required: bool,
    /// Offer fs/read_text_file and fs/write_text_file (fact 10: one agent cannot create files when reads are offered).
    pub read_files: bool,
    pub write_files: bool,
    /// Offer terminals: its commands then run as governed jobs in the session's own profile.
    pub terminals: bool,
    /// The tokens in its answers to prompts count the whole conversation, not the turn.
    pub tokens_over_conversation: bool,
    /// It takes MCP servers over standard input and output, as every agent of version 1 should.
    pub takes_stdio_servers: bool,
    /// It was given them at its start, by a file that its command names.
    pub servers_by_file: bool,
}

impl Default for AgentTraits {
    fn default() -> Self {
        Self { ask_mode: None, ask_mode_required: false, read_files: true, write_files: true, terminals: true, tokens_over_conversation: false, takes_stdio_servers: true, servers_by_file: false }
    }
}

/// Traits by agent name, and bounds.
#[derive(Clone, Debug)]
pub struct AcpOptions {
    pub agents: BTreeMap<String, AgentTraits>,
    pub start_timeout: Duration,
    pub cancel_grace: Duration,
    pub line_bytes_max: usize,
    /// Words that nothing follows for so long are told as they are.
    pub silence: Duration,
}

impl Default for AcpOptions {
    fn default() -> Self {
        Self {
            agents: BTreeMap::new(),
            start_timeout: Duration::from_millis(limits::AGENT_START_TIMEOUT_MS),
            cancel_grace: Duration::from_millis(limits::AGENT_STOP_GRACE_MS),
            line_bytes_max: limits::AGENT_LINE_BYTES_MAX,
            silence: Duration::from_secs(1),
        }
    }
}

type Sessions = Arc<Mutex<HashMap<SessionId, Arc<Live>>>>;

/// The backend. Dropping it ends nothing: stop each session first.
pub struct AcpBackend {
    launcher: Arc<dyn Launcher>,
    options: AcpOptions,
    sessions: Sessions,
}

impl AcpBackend {
    pub fn new(launcher: Arc<dyn Launcher>, options: AcpOptions) -> Self {
        Self { launcher, options, sessions: Arc::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, session_id: SessionId) -> Option<Arc<Live>> {
        self.sessions().get(&session_id).cloned()
    }

    fn require(&self, session_id: SessionId) -> Outcome<Arc<Live>> {
        self.find(session_id).ok_or_else(|| Failure::new(Code::NotFoundSession, format!("no agent runs for session {session_id}")))
    }

    /// Puts the agent on the list and starts its threads.
    fn take_up(&self, session_id: SessionId, plan: &SessionStartPlan, extras: &StartExtras, launched: Launched, host: Arc<dyn SessionHost>) -> Outcome<Arc<Live>> {
        let Launched { process, stdin, stdout, stderr } = launched;
        let traits = self.options.agents.get(&plan.agent).cloned().unwrap_or_default();
        let secrets = extras.mcp.iter().flat_map(|handout| handout.env.iter().map(|(_, value)| value.clone())).collect();
        let live = Arc::new(Live::new(session_id, &plan.agent, traits, host, process, self.options.cancel_grace, secrets));
        if self.sessions().insert(session_id, Arc::clone(&live)).is_some() {
            // Two starts of one session at once are the runner's error; end both rather than lose one.
            live.process.kill_tree()?;
            return Err(Failure::engine(format!("session {session_id} was started twice at once")));
        }
        let (sessions, line_bytes_max, silence) = (Arc::clone(&self.sessions), self.options.line_bytes_max, self.options.silence);
        let writer = Arc::clone(&live);
        let reader = Arc::clone(&live);
        let errors = Arc::clone(&live);
        let supervisor = Arc::clone(&live);
        let spawned = thread("agent-write", move || writer.outbox.drain_to(stdin))
            .and_then(|()| thread("agent-read", move || pump::pump(&reader, stdout, line_bytes_max, silence)))
            .and_then(|()| thread("agent-stderr", move || errors.drain_stderr(stderr)))
            .and_then(|()| {
                thread("agent-watch", move || {
                    supervisor.supervise(|| {
                        sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session_id);
                    });
                })
            });
        if let Err(failure) = spawned {
            live.process.kill_tree()?;
            self.sessions().remove(&session_id);
            return Err(failure);
        }
        Ok(live)
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Outcome<()> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|e| Failure::engine(format!("no thread could be started for the agent: {e}")))
}

impl SessionBackend for AcpBackend {
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, extras: StartExtras, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent> {
        let plan = cleared.body();
        let cwd = start::cwd_of(&plan.cwd)?;
        if self.find(session_id).is_some() {
            return Err(Failure::new(Code::IllegalTransition, format!("an agent already runs for session {session_id}")));
        }
        let launched = self.launcher.launch(plan, &extras, session_id)?;
        let live = self.take_up(session_id, plan, &extras, launched, host)?;
        let wanted = Wanted { cwd: &cwd, resume: plan.resume.as_deref(), mcp: extras.mcp.as_ref(), timeout: self.options.start_timeout };
        start::open(&live, &wanted).map_err(|stopped| {
            live.want_end(None);
            live.wait_finished();
            stopped.told(&live)
        })
    }

    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()> {
        let plan = cleared.body();
        self.require(plan.session_id)?.begin_turn(turn, &plan.texts())
    }

    fn stop(&self, session_id: SessionId) -> Outcome<()> {
        // A session that is not on the list has no process left: what was asked for already holds.
        self.find(session_id).map_or(Ok(()), |live| live.stop())
    }

    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.cancel_turn()
    }

    fn live(&self) -> Vec<SessionId> {
        self.sessions().keys().copied().collect()
    }

    fn place(&self, session_id: SessionId) -> Option<SessionPlace> {
        self.find(session_id)?.process.place()
    }

    fn freeze(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.freeze()
    }

    fn thaw(&self, session_id: SessionId) -> Outcome<()> {
        self.require(session_id)?.thaw()
    }

    fn reap(&self, process: &ProcessIdentity) -> bool {
        self.launcher.reap(process)
    }
}
