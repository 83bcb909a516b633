//! Content of files that agents write through DCC and that holds a secret: it goes into the worktree and nowhere else.
//!
//! Authority: ephemeral. Invariant: it is held as long as the agent's call waits and no longer; a call ends with its
//! process, so nothing that could still be decided misses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dcc_core::Sha256Hex;

#[derive(Default)]
pub(crate) struct Unkept(Mutex<HashMap<Sha256Hex, Weak<[u8]>>>);

impl Unkept {
    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256Hex, Weak<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Found by its hash until whoever asked lets go of it.
    pub fn hold(&self, content: &[u8]) -> (Sha256Hex, Arc<[u8]>) {
        let sha256 = Sha256Hex::of(content);
        let mut all = self.lock();
        all.retain(|_, held| held.strong_count() > 0);
        let held = all.get(&sha256).and_then(Weak::upgrade).unwrap_or_else(|| Arc::from(content));
        all.insert(sha256, Arc::downgrade(&held));
        (sha256, held)
    }

    pub fn get(&self, sha256: Sha256Hex) -> Option<Arc<[u8]>> {
        self.lock().get(&sha256).and_then(Weak::upgrade)
    }

    pub fn holds(&self, sha256: Sha256Hex) -> bool {
        self.get(sha256).is_some()
    }
}
