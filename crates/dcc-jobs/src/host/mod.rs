//! DCC's side of an agent's conversation: every report is journalled before it counts, every request is a job.
//!
//! Invariants: the decision and its event commit before the answer goes out; a request whose agent is gone is cancelled
//! and never answered later; nothing an agent says changes a state that only a person may change.

mod asks;
mod batch;
pub(crate) mod beats;
pub(crate) mod checkpoints;
mod children;
mod endings;
mod files;
pub(crate) mod flood;
mod judge;
mod moves;
mod reports;
mod states;
pub(crate) mod steers;
mod terminals;
mod tools;
mod updates;

use std::sync::{Arc, Mutex};

use serde_json::Value;

use dcc_core::Outcome;
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::SessionId;
use dcc_core::ports::{AgentReport, PermissionAnswer, PermissionAsk, SessionHost, TerminalExit, TerminalOutput, TerminalSpec};
use dcc_core::principal::Actor;
use dcc_core::session::Session;

use crate::context::Context;
use crate::ledger;
use crate::runner::Runner;

pub use tools::{Intent, ToolUse};

pub(crate) use endings::{cut_turn, forget_agent, is_stopping, let_go, mark_stopping, stop_agent};
pub(crate) use moves::{Move, change_state, move_if, note, require_move};
pub(crate) use reports::{cut_text, message_payload};
pub(crate) use states::{cancel_answers, cancel_pending, running_turn, session_correlation};

pub struct Host {
    runner: Arc<Runner>,
    begun: Mutex<batch::Begun>,
}

impl Host {
    pub fn new(runner: Arc<Runner>) -> Self {
        Self { runner, begun: Mutex::default() }
    }

    fn cx(&self) -> &Context {
        &self.runner.cx
    }

    fn record(&self, session: &Session, code: EventCode, payload: Value, tool_call_id: Option<&str>) -> Outcome<()> {
        let mut correlation = states::session_correlation(session);
        correlation.tool_call_id = tool_call_id.map(str::to_owned);
        let event = NewEvent::new(code, Actor::agent(session.session_id), payload).about(&correlation);
        self.cx().journal.append(vec![event]).map(|_| ())
    }

    fn session(&self, id: SessionId) -> Outcome<Session> {
        ledger::session(self.cx().ports.recorder.as_ref(), id)
    }
}

impl SessionHost for Host {
    fn reports(&self, session_id: SessionId, reports: Vec<AgentReport>) {
        let mut batch = batch::Batch::default();
        let taken = reports.into_iter().map(|report| self.take(session_id, report, &mut batch)).collect::<Vec<_>>();
        for failure in taken.into_iter().chain([self.flush(&mut batch)]).filter_map(Result::err) {
            // No record, no action: what cannot be recorded is not shown as having happened.
            eprintln!("dcc: session {}: {failure}", session_id.short());
        }
    }

    fn ask(&self, session_id: SessionId, ask: PermissionAsk) -> PermissionAnswer {
        let decided = self.session(session_id).and_then(|s| self.decide(&s, &ask));
        match decided {
            _ if ask.withdrawn.is_set() => PermissionAnswer::Cancelled,
            Ok(true) => PermissionAnswer::AllowOnce,
            // Silence, error, expiry: rejection.
            Ok(false) => PermissionAnswer::RejectOnce,
            Err(failure) => {
                // The agent hears a refusal; a person can see that nobody decided it.
                eprintln!("dcc: session {}: a permission request failed: {failure}", session_id.short());
                let told = AgentReport::Other { kind: format!("permission:failed: {}: {}", failure.code, failure.message), raw: None };
                self.report(session_id, told);
                PermissionAnswer::RejectOnce
            }
        }
    }

    fn read_file(&self, session_id: SessionId, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String> {
        self.read(&self.session(session_id)?, path, line, limit)
    }

    fn write_file(&self, session_id: SessionId, path: &str, content: &str) -> Outcome<()> {
        self.write(&self.session(session_id)?, path, content)
    }

    fn terminal_create(&self, session_id: SessionId, spec: TerminalSpec) -> Outcome<String> {
        self.create_terminal(&self.session(session_id)?, spec)
    }
    fn terminal_output(&self, session_id: SessionId, terminal_id: &str) -> Outcome<TerminalOutput> {
        self.terminal_shows(&self.session(session_id)?, terminal_id)
    }
    fn terminal_wait(&self, session_id: SessionId, terminal_id: &str) -> Outcome<TerminalExit> {
        self.await_terminal(&self.session(session_id)?, terminal_id)
    }
    fn terminal_kill(&self, session_id: SessionId, terminal_id: &str) -> Outcome<()> {
        self.kill_terminal(&self.session(session_id)?, terminal_id)
    }
    fn terminal_release(&self, session_id: SessionId, terminal_id: &str) -> Outcome<()> {
        self.release_terminal(&self.session(session_id)?, terminal_id)
    }
}
