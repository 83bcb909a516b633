//! When the chain's head is kept outside the log (DATA 5): every hundred events, and a minute after the first event that
//! is not kept yet. Where it is kept, and how it is signed, is the caller's.
//!
//! Authority: evidence beside canon. Invariants: kept by the writing thread after its callers were answered, so nobody
//! waits for it; nothing wakes when nothing was written; a head is kept only when it is later than the one kept before.
//!
//! On failure: said on standard error; the next minute with events tries again. No append fails because of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcc_core::limits;
use dcc_core::ports::{Checkpoint, OutsideHead};

/// The head kept outside, as the writing thread has it.
pub struct Outside {
    place: Arc<dyn OutsideHead>,
    kept_seq: u64,
    /// When the events written since are to be kept at the latest; none when there are none.
    due: Option<Instant>,
    after: Duration,
    has_failed: bool,
}

impl Outside {
    pub fn new(place: Arc<dyn OutsideHead>, kept_seq: u64, after: Duration) -> Self {
        Self { place, kept_seq, due: None, after, has_failed: false }
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The log ends at this sequence now; true when its head is to be kept at once.
    pub fn grown(&mut self, seq: u64) -> bool {
        if seq <= self.kept_seq {
            return false;
        }
        self.due.get_or_insert_with(|| Instant::now() + self.after);
        // A place that refused is not asked again with every event.
        !self.has_failed && seq - self.kept_seq >= limits::CHECKPOINT_EVERY_EVENTS
    }

    pub fn keep(&mut self, head: Checkpoint) {
        self.due = None;
        if head.seq <= self.kept_seq {
            return;
        }
        match self.place.keep(head) {
            Ok(()) => (self.kept_seq, self.has_failed) = (head.seq, false),
            Err(failure) => {
                self.has_failed = true;
                eprintln!("dcc: the checkpoint of event {} is not kept outside: {failure}", head.seq);
            }
        }
    }
}
