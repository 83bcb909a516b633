//! Sessions as they were last read from the recorder, for the reports of busy agents: hundreds come in a second, and what
//! decides about a session changes rarely.
//!
//! Authority: ephemeral; a copy of canon. Invariants: a copy is dropped before the append that changes what it says is
//! acknowledged, so nobody sees an older state than the one he was told of; what was read while somebody wrote is not kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dcc_core::Outcome;
use dcc_core::event::Event;
use dcc_core::ids::SessionId;
use dcc_core::ports::Recorder;
use dcc_core::session::{DECISIVE_CODES, Session};

use crate::ledger;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Grows with every decisive event.
    changes: u64,
    sessions: HashMap<SessionId, Session>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session as canon says now.
    pub(crate) fn session(&self, recorder: &dyn Recorder, id: SessionId) -> Outcome<Session> {
        let changes = {
            let known = self.lock();
            if let Some(session) = known.sessions.get(&id) {
                return Ok(session.clone());
            }
            known.changes
        };
        let session = ledger::session(recorder, id)?;
        let mut known = self.lock();
        // One that is over reports nothing more.
        if known.changes == changes && !session.state.is_terminal() {
            known.sessions.insert(id, session.clone());
        }
        Ok(session)
    }

    /// Takes notice of what was just written.
    pub(crate) fn written(&self, events: &[Event]) {
        for event in events.iter().filter(|event| DECISIVE_CODES.contains(&event.code)) {
            let mut known = self.lock();
            known.changes += 1;
            if let Some(id) = event.session_id {
                known.sessions.remove(&id);
            }
        }
    }
}
