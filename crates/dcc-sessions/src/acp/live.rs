//! One running agent: what waits for an answer on either side, the turn, the mode, and the way to its end.
//!
//! Authority: ephemeral. Invariants: the host is never called with the lock held; an answer to the agent is taken from the
//! table and queued under one lock, so that nothing follows a `cancelled`; the record of a request is removed exactly once,
//! by whoever answers it; `tree` is set only after the launcher said that no process is left, and `Exited` comes after it.
//! An agent that does not read its input until the queue is full is ended.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::limits::SESSION_PENDING_MAX;
use dcc_core::ports::sessions::{AgentReport, SessionHost, Withdrawn};

use super::wire::{Outbox, REQUEST_CANCELLED, Refused, RpcError, answer, answer_error, message, shown};
use crate::launch::{AgentExit, AgentProcess};

/// File requests of one agent that may wait at once; each holds a thread.
const FILE_REQUESTS_MAX: usize = 32;
/// Threads of one agent's requests: as many as may wait, and as many whose host has not yet seen that they were withdrawn.
const WORKERS_MAX: usize = 2 * (SESSION_PENDING_MAX + FILE_REQUESTS_MAX);
/// What is kept of an agent's standard error.
const STDERR_KEPT_BYTES: usize = 64 * 1024;
/// How long the rest of the output of a dead main process is read before the tree is ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the last reports may take before `Exited` goes out without them.
const LAST_REPORTS: Duration = Duration::from_secs(30);

/// A result or an error, as the agent answered.
pub type Reply = Result<Value, RpcError>;

/// Why a call of ours has no answer.
#[derive(Debug)]
pub enum CallError {
    Answered(RpcError),
    TimedOut,
    Gone,
}

enum Waiting {
    Call(SyncSender<Reply>),
    Turn(JobId),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    Permission,
    File,
}

struct Request {
    kind: RequestKind,
    withdrawn: Withdrawn,
}

/// Whether a request of the agent is taken up.
pub enum Admission {
    Taken(Withdrawn),
    /// The same id is being answered already.
    Duplicate,
    TooMany,
    /// The session is starting, being cancelled or ending.
    NotNow,
}

#[derive(Default)]
struct State {
    next_call: i64,
    calls: HashMap<i64, Waiting>,
    requests: HashMap<String, Request>,
    /// Threads that answer requests, also those whose request was withdrawn meanwhile.
    workers: usize,
    turn: Option<JobId>,
    agent_session_id: Option<String>,
    mode_wanted: Option<String>,
    mode_seen: Option<String>,
    started: bool,
    cancelling: bool,
    stopping: bool,
    end_wanted: bool,
    fault: Option<String>,
    reader: Option<ThreadId>,
    exit: Option<AgentExit>,
    reader_done: bool,
    stderr_done: bool,
    tree: Option<Outcome<()>>,
    finished: bool,
}

pub struct Live {
    pub session_id: SessionId,
    pub agent: String,
    pub host: Arc<dyn SessionHost>,
    pub process: Box<dyn AgentProcess>,
    pub outbox: Outbox,
    cancel_grace: Duration,
    stderr: Mutex<Vec<u8>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Live {
    pub fn new(session_id: SessionId, agent: &str, host: Arc<dyn SessionHost>, process: Box<dyn AgentProcess>, cancel_grace: Duration) -> Self {
        Self {
            session_id,
            agent: agent.to_owned(),
            host,
            process,
            outbox: Outbox::default(),
            cancel_grace,
            stderr: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the condition holds or the time is over; true when it holds.
    fn wait_until(&self, limit: Option<Duration>, done: impl Fn(&State) -> bool) -> bool {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        while !done(&state) {
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Queues a line; an agent that lets the queue fill is ended.
    fn send(&self, state: &mut State, line: Vec<u8>) -> Result<(), Refused> {
        let sent = self.outbox.push(line);
        if sent == Err(Refused::Full) {
            state.fault.get_or_insert_with(|| "it does not read its input".to_owned());
            state.end_wanted = true;
            self.outbox.close();
            self.changed.notify_all();
        }
        sent
    }

    pub fn report(&self, report: AgentReport) {
        self.host.report(self.session_id, report);
    }

    // Calls of ours.

    /// Asks and waits for the answer until `deadline`.
    pub fn call(&self, method: &str, params: &Value, deadline: Instant) -> Result<Value, CallError> {
        let (sender, receiver) = sync_channel(1);
        let id = {
            let mut state = self.lock();
            if state.end_wanted || state.reader_done {
                return Err(CallError::Gone);
            }
            state.next_call += 1;
            let id = state.next_call;
            state.calls.insert(id, Waiting::Call(sender));
            if self.send(&mut state, message(Some(id), method, params)).is_err() {
                state.calls.remove(&id);
                return Err(CallError::Gone);
            }
            id
        };
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(reply) => reply.map_err(CallError::Answered),
            Err(RecvTimeoutError::Timeout) => {
                self.lock().calls.remove(&id);
                Err(CallError::TimedOut)
            }
            Err(RecvTimeoutError::Disconnected) => Err(CallError::Gone),
        }
    }

    /// Hands an answer to whoever asked. `Ok(Some)` is the end of a turn; `Err` an answer nobody waits for.
    pub fn take_reply(&self, id: i64, reply: Reply) -> Result<Option<(JobId, Reply)>, ()> {
        let mut state = self.lock();
        match state.calls.remove(&id).ok_or(())? {
            Waiting::Call(sender) => {
                // The caller may have given up meanwhile; then nobody reads the channel.
                let _ = sender.send(reply);
                Ok(None)
            }
            Waiting::Turn(turn) => {
                state.turn = None;
                state.cancelling = false;
                self.changed.notify_all();
                Ok(Some((turn, reply)))
            }
        }
    }

    /// Sends a prompt as a turn. Refused when a turn runs, the session ends, or the mode is not the one asked for.
    pub fn begin_turn(&self, turn: JobId, prompt: &str) -> Outcome<()> {
        let mut state = self.lock();
        if !state.started || state.stopping || state.end_wanted || state.reader_done {
            return Err(Failure::new(Code::AgentFailed, format!("the agent {} takes no prompt now: its session is starting or ending", self.agent)));
        }
        if state.turn.is_some() {
            return Err(Failure::new(Code::IllegalTransition, "a turn is running in this session").hint("queue the prompt, or cancel the turn first"));
        }
        if state.mode_seen != state.mode_wanted {
            let seen = state.mode_seen.clone().unwrap_or_default();
            let wanted = state.mode_wanted.clone().unwrap_or_default();
            return Err(Failure::new(Code::AgentFailed, format!("the agent left the mode {wanted:?} in which it asks and is in {:?} now", shown(&seen, 64)))
                .hint("cancel the session and start a new one"));
        }
        state.next_call += 1;
        let id = state.next_call;
        let params = json!({"sessionId": state.agent_session_id, "prompt": [{"type": "text", "text": prompt}]});
        self.send(&mut state, message(Some(id), "session/prompt", &params))
            .map_err(|_| Failure::new(Code::AgentFailed, format!("the agent {} does not take input", self.agent)))?;
        state.calls.insert(id, Waiting::Turn(turn));
        state.turn = Some(turn);
        Ok(())
    }

    // Requests of the agent.

    pub fn admit(&self, id: &str, kind: RequestKind) -> Admission {
        let mut state = self.lock();
        if state.requests.contains_key(id) {
            return Admission::Duplicate;
        }
        if !state.started || state.cancelling || state.stopping || state.end_wanted {
            return Admission::NotNow;
        }
        let max = if kind == RequestKind::Permission { SESSION_PENDING_MAX } else { FILE_REQUESTS_MAX };
        if state.requests.values().filter(|r| r.kind == kind).count() >= max || state.workers >= WORKERS_MAX {
            return Admission::TooMany;
        }
        let withdrawn = Withdrawn::default();
        state.requests.insert(id.to_owned(), Request { kind, withdrawn: withdrawn.clone() });
        Admission::Taken(withdrawn)
    }

    /// Answers a request that was taken up; false when it was withdrawn meanwhile and the answer is dropped.
    pub fn settle(&self, id: &str, line: Vec<u8>) -> bool {
        let mut state = self.lock();
        if state.requests.remove(id).is_none() {
            return false;
        }
        self.send(&mut state, line).is_ok()
    }

    pub fn worker_begins(&self) {
        self.lock().workers += 1;
    }
    pub fn worker_ends(&self) {
        self.lock().workers -= 1;
    }

    /// Answers a request that was not taken up.
    pub fn refuse(&self, line: Vec<u8>) {
        let mut state = self.lock();
        // A full queue ends the agent, a closed one means that it is gone: nobody is left to be told.
        let _ = self.send(&mut state, line);
    }

    /// The agent takes one request back ($/cancel_request).
    pub fn withdraw(&self, id: &str) {
        let mut state = self.lock();
        if let Some(request) = state.requests.remove(id) {
            request.withdrawn.set();
            let _ = self.send(&mut state, answer_error(id, REQUEST_CANCELLED, "cancelled"));
        }
    }

    fn withdraw_all(&self, state: &mut State) {
        for (id, request) in std::mem::take(&mut state.requests) {
            request.withdrawn.set();
            let line = match request.kind {
                RequestKind::Permission => answer(&id, &cancelled()),
                RequestKind::File => answer_error(&id, REQUEST_CANCELLED, "cancelled"),
            };
            let _ = self.send(state, line);
        }
    }

    // Session and mode.

    pub fn own_session(&self) -> Option<String> {
        self.lock().agent_session_id.clone()
    }
    pub fn set_own_session(&self, id: &str) {
        self.lock().agent_session_id = Some(id.to_owned());
    }
    /// Forgets what updates said about the mode so far.
    pub fn forget_mode(&self) {
        self.lock().mode_seen = None;
    }
    /// Takes what an answer says about the mode, unless an update said something since; what holds now.
    pub fn confirm_mode(&self, answered: Option<String>) -> Option<String> {
        let mut state = self.lock();
        if state.mode_seen.is_none() {
            state.mode_seen = answered;
        }
        state.mode_seen.clone()
    }
    /// From here on the session takes prompts, as long as its mode is this.
    pub fn mark_started(&self, mode: Option<String>) -> bool {
        let mut state = self.lock();
        if mode.is_none() {
            // An agent without modes that names one later has left nothing.
            state.mode_seen = None;
        }
        state.mode_wanted = mode;
        state.started = !state.stopping && !state.end_wanted && !state.reader_done;
        state.started
    }
    /// Notes the mode an update names; agents that offered no mode at start cannot leave one.
    pub fn mode_changed(&self, mode: String) {
        let mut state = self.lock();
        if !state.started || state.mode_wanted.is_some() {
            state.mode_seen = Some(mode);
        }
    }

    // The end.

    /// Ends the turn: pending requests answered `cancelled`, then session/cancel.
    pub fn cancel_turn(&self) {
        let mut state = self.lock();
        self.cancel(&mut state);
    }

    fn cancel(&self, state: &mut State) {
        self.withdraw_all(state);
        if state.turn.is_some() {
            state.cancelling = true;
            let params = json!({"sessionId": state.agent_session_id});
            let _ = self.send(state, message(None, "session/cancel", &params));
        }
    }

    /// Cancels, waits the grace time for the turn to end, ends the tree. Returns when the tree is empty.
    pub fn stop(&self) -> Outcome<()> {
        let grace = {
            let mut state = self.lock();
            if !state.stopping {
                state.stopping = true;
                self.cancel(&mut state);
            }
            // Called from inside a report, the reader itself waits here and could never see the turn end.
            let in_reader = state.reader == Some(std::thread::current().id());
            if in_reader { Duration::ZERO } else { self.cancel_grace }
        };
        self.wait_until(Some(grace), |s| s.turn.is_none() || s.exit.is_some() || s.reader_done || s.end_wanted);
        self.want_end(None);
        self.wait_until(None, |s| s.tree.is_some());
        self.lock().tree.clone().unwrap_or(Ok(()))
    }

    /// Has the supervisor end the tree.
    pub fn want_end(&self, fault: Option<&str>) {
        self.change(|state| {
            state.end_wanted = true;
            if let Some(fault) = fault {
                state.fault.get_or_insert_with(|| fault.to_owned());
            }
        });
    }

    pub fn wait_finished(&self) {
        self.wait_until(None, |s| s.finished);
    }

    /// The current thread reads this agent's lines from here on.
    pub fn reader_begins(&self) {
        self.lock().reader = Some(std::thread::current().id());
    }

    pub fn reader_done(&self) {
        self.change(|state| state.reader_done = true);
    }

    /// Keeps the beginning of standard error and reads the rest away.
    pub fn drain_stderr(&self, mut source: impl Read) {
        let mut block = [0u8; 8 * 1024];
        loop {
            match source.read(&mut block) {
                Ok(0) => break,
                Ok(read) => {
                    let mut kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = STDERR_KEPT_BYTES - kept.len();
                    kept.extend_from_slice(&block[..read.min(room)]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.change(|state| state.stderr_done = true);
    }

    /// The first lines of standard error, fit to be shown.
    pub fn stderr_head(&self, lines: usize) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        text.lines().take(lines).map(|line| shown(line, 400)).collect::<Vec<_>>().join("\n")
    }

    /// How the agent ended, for a sentence.
    pub fn end_cause(&self) -> String {
        let state = self.lock();
        match (&state.fault, state.exit) {
            (Some(fault), _) => fault.clone(),
            (None, Some(AgentExit { exit_code: Some(code) })) => format!("its process ended with exit code {code}"),
            (None, Some(AgentExit { exit_code: None })) => "its process was ended by a signal".to_owned(),
            (None, None) => "it closed its output".to_owned(),
        }
    }

    /// Runs on its own thread until nothing of the agent is left; `forget` takes the session off the list.
    pub fn supervise(self: &Arc<Self>, forget: impl FnOnce()) {
        let waiter = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("agent-wait".to_owned()).spawn(move || {
            let exit = waiter.process.wait();
            waiter.change(|state| state.exit = Some(exit));
        });
        if spawned.is_err() {
            self.want_end(Some("no thread could be started for it"));
        }
        self.wait_until(None, |s| s.exit.is_some() || s.end_wanted || s.reader_done);
        self.wait_until(Some(DRAIN), |s| s.end_wanted || (s.exit.is_some() && s.reader_done));
        self.outbox.close();
        let tree = self.process.kill_tree();
        self.wait_until(Some(DRAIN), |s| s.exit.is_some());
        self.change(|state| {
            // Nobody can answer any more: who waits learns it now.
            for (_, request) in state.requests.drain() {
                request.withdrawn.set();
            }
            state.stopping = true;
            state.tree = Some(tree);
        });
        self.wait_until(Some(LAST_REPORTS), |s| s.reader_done && s.stderr_done);
        let (turn, started) = {
            let mut state = self.lock();
            state.calls.clear();
            (state.turn.take(), state.started)
        };
        forget();
        if let Some(turn) = turn {
            let failure = Failure::new(Code::AgentFailed, format!("the agent {} failed during a turn: {}", self.agent, self.end_cause()));
            self.report(AgentReport::TurnFailed { turn, failure });
        }
        if started {
            let exit_code = self.lock().exit.and_then(|exit| exit.exit_code);
            self.report(AgentReport::Exited { exit_code, stderr_head: self.stderr_head(STDERR_HEAD_LINES) });
        }
        self.change(|state| state.finished = true);
    }
}

/// Lines of standard error shown to a person.
pub const STDERR_HEAD_LINES: usize = 20;

/// The answer to a withdrawn permission request.
pub fn cancelled() -> Value {
    json!({"outcome": {"outcome": "cancelled"}})
}
