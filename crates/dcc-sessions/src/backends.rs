//! Every way to drive an agent behind one door: the plan's driver picks at the start, the live session afterwards.

use std::sync::Arc;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, SessionId};
use dcc_core::plans::{LoginPlan, SessionStartPlan, TurnPlan};
use dcc_core::ports::sessions::{Driver, LoginReport, ScreenListener, SessionBackend, SessionHost, SessionPlace, StartExtras, StartedAgent, TerminalLink};
use dcc_core::session::ProcessIdentity;
use dcc_engines::sandbox::run_marker;

use crate::acp::AcpBackend;
use crate::launch::Launcher;
use crate::pty::PtyBackend;

pub struct Backends {
    acp: AcpBackend,
    pty: PtyBackend,
    launcher: Arc<dyn Launcher>,
}

impl Backends {
    /// `launcher` is for what is no session: logins.
    pub fn new(acp: AcpBackend, pty: PtyBackend, launcher: Arc<dyn Launcher>) -> Self {
        Self { acp, pty, launcher }
    }

    /// The backend that drives a session; the first when none does, whose answer is then that there is none.
    fn of(&self, session_id: SessionId) -> &dyn SessionBackend {
        if self.pty.live().contains(&session_id) { &self.pty } else { &self.acp }
    }
}

impl SessionBackend for Backends {
    fn start(&self, session_id: SessionId, cleared: Cleared<SessionStartPlan>, extras: StartExtras, host: Arc<dyn SessionHost>) -> Outcome<StartedAgent> {
        match cleared.body().driver {
            Driver::Acp => self.acp.start(session_id, cleared, extras, host),
            Driver::Pty => self.pty.start(session_id, cleared, extras, host),
            Driver::Human => Err(Failure::new(Code::IllegalTransition, "a person's session has no process to start")),
        }
    }
    fn prompt(&self, turn: JobId, cleared: Cleared<TurnPlan>) -> Outcome<()> {
        self.of(cleared.body().session_id).prompt(turn, cleared)
    }
    fn stop(&self, session_id: SessionId) -> Outcome<()> {
        self.of(session_id).stop(session_id)
    }
    fn cancel_turn(&self, session_id: SessionId) -> Outcome<()> {
        self.of(session_id).cancel_turn(session_id)
    }
    fn live(&self) -> Vec<SessionId> {
        let mut live = self.acp.live();
        live.extend(self.pty.live());
        live
    }
    fn terminal(&self, session_id: SessionId) -> Option<Arc<dyn TerminalLink>> {
        self.of(session_id).terminal(session_id)
    }
    fn on_screen(&self, listener: ScreenListener) {
        self.pty.on_screen(listener);
    }
    fn place(&self, session_id: SessionId) -> Option<SessionPlace> {
        self.of(session_id).place(session_id)
    }
    fn freeze(&self, session_id: SessionId) -> Outcome<()> {
        self.of(session_id).freeze(session_id)
    }
    fn thaw(&self, session_id: SessionId) -> Outcome<()> {
        self.of(session_id).thaw(session_id)
    }
    fn login(&self, job: JobId, cleared: Cleared<LoginPlan>) -> Outcome<LoginReport> {
        self.launcher.login(cleared.body(), &run_marker(job))
    }
    fn reap(&self, process: &ProcessIdentity) -> bool {
        // Both end what the sandbox started, by its identity.
        self.acp.reap(process)
    }
}
