//! The meters of running turns, and the bell that wakes their clocks.
//!
//! Authority: ephemeral; what a turn used is recorded when it ends. Invariant: whoever changes what a clock counts with (a
//! turn more or less, another limit) rings, after the change can be seen.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::budget::Totals;
use dcc_core::ids::{JobId, SessionId};
use dcc_core::ports::sessions::TokenUsage;

/// A running turn's use so far.
pub(crate) struct Meter {
    pub turn: JobId,
    /// What the session had used before.
    pub before: Totals,
    pub started: Instant,
    pub now: Totals,
    /// Why the turn is being ended.
    pub stopped: Option<String>,
}

impl Meter {
    pub fn totals(&self) -> Totals {
        let mut totals = self.now.clone();
        totals.wall_ms = self.before.wall_ms.saturating_add(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
        totals
    }
}

#[derive(Default)]
struct Table {
    turns: HashMap<SessionId, Meter>,
    changes: u64,
}

/// The meters of this process, and the counts that agents last gave.
#[derive(Default)]
pub(crate) struct Meters {
    table: Mutex<Table>,
    bell: Condvar,
    counts: Mutex<HashMap<SessionId, TokenUsage>>,
}

impl Meters {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn begin(&self, id: SessionId, meter: Meter) {
        self.table().turns.insert(id, meter);
        self.ring();
    }
    /// Takes a meter off; the caller rings when what it showed is on record.
    pub fn take(&self, id: SessionId) -> Option<Meter> {
        self.table().turns.remove(&id)
    }
    pub fn with<T>(&self, id: SessionId, look: impl FnOnce(&mut Meter) -> T) -> Option<T> {
        self.table().turns.get_mut(&id).map(look)
    }
    /// Keeps the counts an agent gave and answers those it gave before.
    pub fn count(&self, id: SessionId, tokens: TokenUsage) -> Option<TokenUsage> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(id, tokens)
    }
    /// Has every clock look again.
    pub fn ring(&self) {
        self.table().changes += 1;
        self.bell.notify_all();
    }
    pub fn changes(&self) -> u64 {
        self.table().changes
    }
    /// Until the next ring after `seen`, at most for `left`.
    pub fn wait_change(&self, seen: u64, left: Option<Duration>) {
        let table = self.table();
        match left {
            Some(left) => drop(self.bell.wait_timeout_while(table, left, |t| t.changes == seen)),
            None => drop(self.bell.wait_while(table, |t| t.changes == seen)),
        }
    }
}
