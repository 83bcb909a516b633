//! Sessions that are to rest: whose answers are held back until a person lets them go on.
//!
//! Authority: ephemeral; the state PAUSED is canon. Invariant: whoever waits here is woken when the session goes on, ends,
//! or loses its turn; a hold that was asked for is reached at most once.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::ids::SessionId;
use dcc_core::session::StateReason;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    /// At the next boundary.
    Asked(StateReason),
    /// The session rests.
    Reached,
}

#[derive(Default)]
pub(crate) struct Holds {
    held: Mutex<HashMap<SessionId, Hold>>,
    changed: Condvar,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn set(&self, id: SessionId, hold: Option<Hold>) {
        let mut held = self.lock();
        match hold {
            Some(hold) => held.insert(id, hold),
            None => held.remove(&id),
        };
        self.changed.notify_all();
    }
    /// The session is to rest at its next boundary.
    pub fn ask(&self, id: SessionId, reason: StateReason) {
        self.set(id, Some(Hold::Asked(reason)));
    }
    /// Why it is to rest, while it does not yet.
    pub fn asked(&self, id: SessionId) -> Option<StateReason> {
        match self.lock().get(&id) {
            Some(Hold::Asked(reason)) => Some(*reason),
            _ => None,
        }
    }
    /// It rests or is to.
    pub fn is_held(&self, id: SessionId) -> bool {
        self.lock().contains_key(&id)
    }
    pub fn reach(&self, id: SessionId) {
        self.set(id, Some(Hold::Reached));
    }
    /// A rest that was asked for and is not reached is wanted no more.
    pub fn forgo(&self, id: SessionId) {
        let mut held = self.lock();
        if matches!(held.get(&id), Some(Hold::Asked(_))) {
            held.remove(&id);
        }
        self.changed.notify_all();
    }
    /// It goes on, or is over.
    pub fn release(&self, id: SessionId) {
        self.set(id, None);
    }
    /// Has waiters look again: a turn was cancelled or has ended.
    pub fn wake(&self) {
        let _held = self.lock();
        self.changed.notify_all();
    }
    /// Waits until the asked hold is reached or dropped; false when the time is over first.
    pub fn wait_reached(&self, id: SessionId, limit: Duration) -> bool {
        self.wait(Some(limit), |held| !matches!(held.get(&id), Some(Hold::Asked(_))))
    }
    /// Waits until the session goes on, or `is_over` says that the wait is for nothing; false when the time is over first.
    pub fn wait_released(&self, id: SessionId, limit: Option<Duration>, is_over: impl Fn() -> bool) -> bool {
        self.wait(limit, |held| !held.contains_key(&id) || is_over())
    }
    /// Waits for a change of a session that is told here: the end of its turn, its rest. False when the time is over first.
    pub fn wait_for(&self, limit: Duration, done: impl Fn() -> bool) -> bool {
        self.wait(Some(limit), |_| done())
    }
    fn wait(&self, limit: Option<Duration>, done: impl Fn(&HashMap<SessionId, Hold>) -> bool) -> bool {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut held = self.lock();
        while !done(&held) {
            held = match deadline {
                None => self.changed.wait(held).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}
