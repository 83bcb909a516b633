//! An agent that asks more than a person could follow is paused (GOVERNANCE 2, fatigue).
//!
//! Authority: ephemeral counts; the pause is canon. Invariants: one pause, one event; what was asked before stays as it was
//! and is answered after the session is resumed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::Outcome;
use dcc_core::ids::SessionId;
use dcc_core::session::{Session, SessionState, StateReason};

use super::moves::{Move, move_if};
use crate::context::Context;

const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Requests(Mutex<HashMap<SessionId, VecDeque<Instant>>>);

impl Requests {
    /// Counts a request; how many there were in the last minute.
    fn count(&self, id: SessionId) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(id).or_default();
        let now = Instant::now();
        times.push_back(now);
        while times.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            times.pop_front();
        }
        times.len()
    }
    /// A person has looked at it, or it is over: counted anew.
    pub(crate) fn forget(&self, id: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Counts a permission request and has the session rest when there are too many.
pub(super) fn count(cx: &Context, id: SessionId) -> Outcome<()> {
    let requests = cx.requests.count(id);
    if requests > cx.config.limits.requests_per_minute { pause(cx, id, &format!("{requests} permission requests in a minute")) } else { Ok(()) }
}

/// Has the session rest: now when it waits for decisions, else at its next boundary, which is the next request.
pub(super) fn pause(cx: &Context, id: SessionId, why: &str) -> Outcome<()> {
    if cx.holds.is_held(id) {
        return Ok(());
    }
    cx.holds.ask(id, StateReason::RateLimited);
    let fault = json!({ "fault": format!("{why}; what was asked waits for you") });
    let at_rest = |s: &Session| (s.state == SessionState::Blocked).then(|| Move::new(SessionState::Paused, StateReason::RateLimited).with(fault));
    if move_if(cx, id, None, at_rest)?.is_some() {
        cx.holds.reach(id);
    }
    Ok(())
}
