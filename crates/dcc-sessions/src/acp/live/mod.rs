//! One running agent: what waits for an answer on either side, the turn, the mode, and the way to its end.
//!
//! Authority: ephemeral. Invariants: the host is never called with the lock held; an answer to the agent is taken from the
//! table and queued under one lock, so that nothing follows a `cancelled`; the record of a request is removed exactly once,
//! by whoever answers it; `tree` is set only after the launcher said that no process is left, and `Exited` comes after it.
//! An agent that does not read its input until the queue is full is ended.

mod ending;
mod requests;

use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::ports::sessions::{AgentReport, BackendCapabilities, SessionHost};

use super::AgentTraits;
use super::wire::{Outbox, Refused, RpcError, message, shown};
use crate::launch::{AgentExit, AgentProcess};

pub use ending::STDERR_HEAD_LINES;
use requests::Request;
pub use requests::{Admission, RequestKind, not_taken};

/// A value shorter than this is no secret, and taking it out would tear ordinary text.
const SECRET_BYTES_MIN: usize = 8;
/// Refused calls of one turn that are remembered; an agent that asks more often has been paused long before.
const REFUSED_MAX: usize = 1_024;
/// What stands in a secret's place.
const SCRUBBED: &str = "[redacted]";

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
    model: Option<String>,
    /// What is known of the agent; told again when it grows.
    capabilities: BackendCapabilities,
    /// Updates tell an earlier conversation again: from its loading to the next prompt.
    replaying: bool,
    replayed: u64,
    replayed_at: Option<Instant>,
    /// A setting that lets the agent act without asking, when one is on.
    lenient: Option<String>,
    /// Tool calls that were not allowed: they are over, whatever the agent says of them or does not say.
    refused: HashSet<String>,
    frozen_until: Option<Instant>,
    started: bool,
    cancelling: bool,
    stopping: bool,
    end_wanted: bool,
    fault: Option<String>,
    /// What it said first that is no message, since its last message.
    noise: Option<String>,
    reader: Option<ThreadId>,
    supervisor: Option<ThreadId>,
    exit: Option<AgentExit>,
    reader_done: bool,
    stderr_done: bool,
    tree: Option<Outcome<()>>,
    finished: bool,
}

pub struct Live {
    pub session_id: SessionId,
    pub agent: String,
    pub traits: AgentTraits,
    pub host: Arc<dyn SessionHost>,
    pub process: Box<dyn AgentProcess>,
    pub outbox: Outbox,
    cancel_grace: Duration,
    /// Values that were handed to the agent and may not be recorded, wherever it repeats them.
    secrets: Vec<String>,
    stderr: Mutex<Vec<u8>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Live {
    pub fn new(
        session_id: SessionId,
        agent: &str,
        traits: AgentTraits,
        host: Arc<dyn SessionHost>,
        process: Box<dyn AgentProcess>,
        cancel_grace: Duration,
        secrets: Vec<String>,
    ) -> Self {
        Self {
            session_id,
            agent: agent.to_owned(),
            traits,
            host,
            process,
            outbox: Outbox::default(),
            cancel_grace,
            secrets: secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect(),
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
        self.reports(vec![report]);
    }

    /// Hands over what came together, in its order.
    pub fn reports(&self, mut reports: Vec<AgentReport>) {
        // A line was scrubbed as it came; what was joined from several lines is scrubbed once more.
        for report in &mut reports {
            if let AgentReport::Message { text } | AgentReport::Thought { text } = report
                && let Cow::Owned(scrubbed) = self.scrub(text)
            {
                *text = scrubbed;
            }
        }
        self.host.reports(self.session_id, reports);
    }

    /// The text without what was handed to the agent in confidence.
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), SCRUBBED));
            }
        }
        text
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

    /// Sends a prompt as a turn, each text a block of its own. Refused when a turn runs, the session ends or stands still,
    /// or the mode is not the one asked for.
    pub fn begin_turn(&self, turn: JobId, texts: &[&str]) -> Outcome<()> {
        let mut state = self.lock();
        if !state.started || state.stopping || state.end_wanted || state.reader_done {
            return Err(Failure::new(Code::AgentFailed, format!("the agent {} takes no prompt now: its session is starting or ending", self.agent)));
        }
        if state.turn.is_some() {
            return Err(Failure::new(Code::IllegalTransition, "a turn is running in this session").hint("queue the prompt, or cancel the turn first"));
        }
        if state.frozen_until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::new(Code::IllegalTransition, "the session's processes are stopped").hint("resume the session first"));
        }
        if let Some(switch) = &state.lenient {
            return Err(Failure::new(Code::AgentFailed, format!("the agent's setting {:?} lets it act without asking", shown(switch, 64))).hint("cancel the session and start a new one"));
        }
        if state.mode_seen != state.mode_wanted {
            let seen = state.mode_seen.clone().unwrap_or_default();
            let wanted = state.mode_wanted.clone().unwrap_or_default();
            return Err(Failure::new(Code::AgentFailed, format!("the agent left the mode {wanted:?} in which it asks and is in {:?} now", shown(&seen, 64)))
                .hint("cancel the session and start a new one"));
        }
        state.next_call += 1;
        let id = state.next_call;
        let blocks: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let params = json!({"sessionId": state.agent_session_id, "prompt": blocks});
        self.send(&mut state, message(Some(id), "session/prompt", &params))
            .map_err(|_| Failure::new(Code::AgentFailed, format!("the agent {} does not take input", self.agent)))?;
        state.calls.insert(id, Waiting::Turn(turn));
        state.turn = Some(turn);
        state.replaying = false;
        Ok(())
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
    pub fn mode_changed(&self, mode: &str) {
        let mut state = self.lock();
        if !state.started || state.mode_wanted.is_some() {
            state.mode_seen = Some(mode.to_owned());
        }
    }
    /// Which setting lets it act without asking now.
    pub fn set_lenient(&self, switch: Option<String>) {
        self.lock().lenient = switch;
    }
    /// Notes that a tool call was not allowed.
    pub fn refuse_call(&self, tool_call_id: &str) {
        let mut state = self.lock();
        if state.refused.len() < REFUSED_MAX {
            state.refused.insert(tool_call_id.to_owned());
        }
    }
    /// The calls of the turn that were not allowed.
    pub fn take_refused(&self) -> HashSet<String> {
        std::mem::take(&mut self.lock().refused)
    }
    /// True when this is another model than the one known so far.
    pub fn model_changed(&self, model: &str) -> bool {
        let mut state = self.lock();
        let changed = state.model.as_deref() != Some(model);
        state.model = Some(model.to_owned());
        // Before the start is over its answer tells the model.
        changed && state.started
    }
    pub fn set_model(&self, model: Option<&str>) {
        self.lock().model = model.map(str::to_owned);
    }

    /// What the agent offered at its start.
    pub fn set_capabilities(&self, capabilities: &BackendCapabilities) {
        self.lock().capabilities = capabilities.clone();
    }
    /// Takes in what an update shows of the agent; the whole, when that is news.
    pub fn learn(&self, learn: impl FnOnce(&mut BackendCapabilities)) -> Option<BackendCapabilities> {
        let mut state = self.lock();
        let mut now = state.capabilities.clone();
        learn(&mut now);
        if now == state.capabilities {
            return None;
        }
        state.capabilities.clone_from(&now);
        state.started.then_some(now)
    }

    /// From here on updates repeat what is recorded already.
    pub fn replay_begins(&self, session: &str) {
        let mut state = self.lock();
        state.agent_session_id = Some(session.to_owned());
        (state.replaying, state.replayed) = (true, 0);
    }
    /// The conversation could not be taken up: nothing of it is ours.
    pub fn replay_failed(&self) {
        let mut state = self.lock();
        state.agent_session_id = None;
        state.replaying = false;
    }
    /// True while an earlier conversation is told again; counts this update of it.
    pub fn is_replayed(&self) -> bool {
        let mut state = self.lock();
        if state.replaying {
            state.replayed += 1;
            state.replayed_at = Some(Instant::now());
        }
        state.replaying
    }
    /// Waits until nothing was told again for so long; at most `limit`.
    pub fn await_quiet(&self, quiet: Duration, limit: Duration) {
        let begun = Instant::now();
        loop {
            let last = self.lock().replayed_at.map_or(begun, |at| at.max(begun));
            let left = quiet.saturating_sub(last.elapsed()).min(limit.saturating_sub(begun.elapsed()));
            // A wait that ends early means that the agent is gone, which the next step finds out.
            if left.is_zero() || self.wait_until(Some(left), |s| s.reader_done || s.end_wanted) {
                return;
            }
        }
    }
    pub fn replayed(&self) -> u64 {
        self.lock().replayed
    }
}

/// The answer to a withdrawn permission request.
pub fn cancelled() -> Value {
    json!({"outcome": {"outcome": "cancelled"}})
}
