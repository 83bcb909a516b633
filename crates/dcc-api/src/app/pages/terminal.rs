//! The screen of a session's terminal: a small page that is drawn often.
//!
//! Authority: derived. Failure: HSK-404-SESSION when there is no such session; a terminal that is not open is said.

use dcc_core::session::SessionState;
use dcc_core::{Outcome, SessionId, limits};
use dcc_jobs::ledger;

use super::super::App;
use super::rows::reason_word;
use crate::view::{SessionRow, TerminalView};

impl App {
    pub(super) fn terminal_view(&self, id: SessionId) -> Outcome<TerminalView> {
        let ports = &self.cx().ports;
        let session = match ports.store.session(id) {
            Ok(Some(session)) => session,
            _ => ledger::session(ports.recorder.as_ref(), id)?,
        };
        let screen = ports.sessions.terminal(id).map(|terminal| terminal.screen(limits::TERMINAL_PAGE_HISTORY_LINES));
        let why_not = match (&screen, session.state, &self.cx().config.read_only) {
            (_, _, Some(why)) => Some(format!("read only: {why}")),
            (None, ..) => Some("HSK-409-ILLEGAL-TRANSITION No command runs in a terminal of this session.".to_owned()),
            (Some(_), SessionState::Paused, _) => Some("HSK-409-ILLEGAL-TRANSITION The session is paused.".to_owned()),
            _ => None,
        };
        let session = SessionRow {
            session_id: session.session_id.to_string(),
            agent: session.agent.clone(),
            state: session.state.as_str().to_owned(),
            state_reason: Some(reason_word(&session)),
            ..SessionRow::default()
        };
        Ok(TerminalView { session, screen, why_not })
    }
}
