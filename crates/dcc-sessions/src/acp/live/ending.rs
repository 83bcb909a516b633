//! The way to the end: the turn cancelled, the tree frozen, thawed, ended, and who watches over it.
//!
//! Authority: ephemeral. Invariants: those of the module above; what is frozen is thawed before it is cancelled or ended.

use serde_json::json;
use std::io::Read;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::limits::FREEZE_MS_MAX;
use dcc_core::ports::sessions::AgentReport;
use dcc_core::limits;
use dcc_core::redact::redact_text;

use super::{Live, State};
use crate::acp::wire::{message, shown};
use crate::launch::AgentExit;

/// What is kept of an agent's standard error.
const STDERR_KEPT_BYTES: usize = 64 * 1024;
/// How long the rest of the output of a dead main process is read before the tree is ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the last reports may take before `Exited` goes out without them.
const LAST_REPORTS: Duration = Duration::from_secs(30);
/// How long whoever ended an agent waits for its last reports.
const TOLD: Duration = Duration::from_secs(3);
/// Lines of standard error shown to a person.
pub const STDERR_HEAD_LINES: usize = 20;

impl Live {
    /// Ends the turn: pending requests answered `cancelled`, then session/cancel.
    pub fn cancel_turn(&self) -> Outcome<()> {
        self.thaw()?;
        let mut state = self.lock();
        self.cancel(&mut state);
        Ok(())
    }

    /// Stops every process of the tree. The launcher lets them go on after the time of the limit, whoever forgets to.
    pub fn freeze(&self) -> Outcome<()> {
        if self.is_ending(&self.lock()) {
            return Err(Failure::new(Code::IllegalTransition, "the session is ending"));
        }
        self.process.freeze()?;
        self.lock().frozen_until = Some(Instant::now() + Duration::from_millis(FREEZE_MS_MAX));
        Ok(())
    }

    pub fn thaw(&self) -> Outcome<()> {
        if self.lock().frozen_until.take().is_some() {
            self.process.thaw()?;
        }
        Ok(())
    }

    fn is_ending(&self, state: &State) -> bool {
        state.stopping || state.end_wanted || state.reader_done
    }

    fn cancel(&self, state: &mut State) {
        self.withdraw_all(state);
        if state.turn.is_some() {
            state.cancelling = true;
            let params = json!({"sessionId": state.agent_session_id});
            let _ = self.send(state, message(None, "session/cancel", &params));
        }
    }

    /// Cancels, waits the grace time for the turn to end, ends the tree. Returns when the tree is empty and its last
    /// reports were taken in, so that whoever goes on does not meet the dead agent; within a bound, because a report may
    /// itself wait for the caller.
    pub fn stop(&self) -> Outcome<()> {
        // A tree that cannot be thawed is one that is gone: it is ended all the same.
        let _ = self.thaw();
        let (grace, is_told) = {
            let mut state = self.lock();
            if !state.stopping {
                state.stopping = true;
                self.cancel(&mut state);
            }
            // Called from inside a report, the reader itself waits here and could never see the turn end.
            let own = Some(std::thread::current().id());
            let in_reader = state.reader == own;
            (if in_reader { Duration::ZERO } else { self.cancel_grace }, in_reader || state.supervisor == own)
        };
        self.wait_until(Some(grace), |s| s.turn.is_none() || s.exit.is_some() || s.reader_done || s.end_wanted);
        self.want_end(None);
        self.wait_until(None, |s| s.tree.is_some());
        if !is_told {
            self.wait_until(Some(TOLD), |s| s.finished);
        }
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
        self.scrub(&text).lines().take(lines).map(|line| shown(line, 400)).collect::<Vec<_>>().join("\n")
    }

    /// How the agent ended, for a sentence.
    pub fn end_cause(&self) -> String {
        let state = self.lock();
        let ended = match (&state.fault, state.exit) {
            (Some(fault), _) => return fault.clone(),
            (None, Some(AgentExit { exit_code: Some(code) })) => format!("its process ended with exit code {code}"),
            (None, Some(AgentExit { exit_code: None })) => "its process was ended by a signal".to_owned(),
            (None, None) => "it closed its output".to_owned(),
        };
        match &state.noise {
            Some(line) => format!("{ended}, after it said something that is not JSON: {line}"),
            None => ended,
        }
    }

    /// Keeps the first line that is no message; a message takes it back.
    pub fn heard(&self, noise: Option<&str>) {
        let mut state = self.lock();
        match noise {
            Some(line) if state.noise.is_none() => state.noise = Some(shown(&redact_text(line).0, limits::AGENT_NOISE_CHARS)),
            Some(_) => {}
            None => state.noise = None,
        }
    }

    /// What it said that is no message, and nothing after it.
    pub fn noise(&self) -> Option<String> {
        self.lock().noise.clone()
    }

    /// Runs on its own thread until nothing of the agent is left; `forget` takes the session off the list.
    pub fn supervise(self: &Arc<Self>, forget: impl FnOnce()) {
        self.lock().supervisor = Some(std::thread::current().id());
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
    }}
