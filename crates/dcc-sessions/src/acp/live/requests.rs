//! What the agent asks of us: taken up once, answered once, withdrawn together.
//!
//! Authority: ephemeral. Invariants: those of the module above; requests of one sort are bounded, and so are the threads
//! that answer them.

use serde_json::Value;

use dcc_core::limits::SESSION_PENDING_MAX;
use dcc_core::ports::sessions::Withdrawn;

use super::{Live, State, cancelled};
use crate::acp::wire::{REQUEST_CANCELLED, answer, answer_error};

/// File requests, and terminal requests, of one agent that may wait at once; each holds a thread.
const FILE_REQUESTS_MAX: usize = 32;
const TERMINAL_REQUESTS_MAX: usize = 32;
/// Threads of one agent's requests: as many as may wait, and as many whose host has not yet seen that they were withdrawn.
const WORKERS_MAX: usize = 2 * (SESSION_PENDING_MAX + FILE_REQUESTS_MAX + TERMINAL_REQUESTS_MAX);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    Permission,
    File,
    Terminal,
}

impl RequestKind {
    fn max(self) -> usize {
        match self {
            Self::Permission => SESSION_PENDING_MAX,
            Self::File => FILE_REQUESTS_MAX,
            Self::Terminal => TERMINAL_REQUESTS_MAX,
        }
    }
    /// For a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::File => "file",
            Self::Terminal => "terminal",
        }
    }
    /// The answer to one that is not answered any more.
    fn withdrawn_answer(self, id: &str) -> Vec<u8> {
        match self {
            Self::Permission => answer(id, &cancelled()),
            Self::File | Self::Terminal => answer_error(id, REQUEST_CANCELLED, "cancelled"),
        }
    }
}

pub(super) struct Request {
    kind: RequestKind,
    pub(super) withdrawn: Withdrawn,
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

impl Live {
    pub fn admit(&self, id: &str, kind: RequestKind) -> Admission {
        let mut state = self.lock();
        if state.requests.contains_key(id) {
            return Admission::Duplicate;
        }
        if !state.started || state.cancelling || state.stopping || state.end_wanted {
            return Admission::NotNow;
        }
        if state.requests.values().filter(|r| r.kind == kind).count() >= kind.max() || state.workers >= WORKERS_MAX {
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

    pub(super) fn withdraw_all(&self, state: &mut State) {
        for (id, request) in std::mem::take(&mut state.requests) {
            request.withdrawn.set();
            let _ = self.send(state, request.kind.withdrawn_answer(&id));
        }
    }
}

/// The answer that a permission request gets when it is not taken up.
pub fn not_taken(kind: RequestKind, id: &str, code: i64, why: &str) -> Vec<u8> {
    match kind {
        RequestKind::Permission => answer(id, &cancelled() as &Value),
        RequestKind::File | RequestKind::Terminal => answer_error(id, code, why),
    }
}
