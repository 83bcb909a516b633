//! Records of a batch, loaded once and stored once.
//!
//! Authority: derived. Invariant: the order of storing is the order of keys, never of a hash, so a failure shows the same
//! way every time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::fault::Fault;

/// The records of one kind that a batch has touched.
pub(super) struct Slots<K, T> {
    held: BTreeMap<K, T>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self { held: BTreeMap::new() }
    }
}

impl<K: Ord, T> Slots<K, T> {
    /// The record under this key, loaded from its row on first touch.
    pub(super) fn touch(&mut self, key: K, load: impl FnOnce() -> Result<T, Fault>) -> Result<&mut T, Fault> {
        match self.held.entry(key) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(load()?)),
        }
    }
    /// The touched records, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.held.iter()
    }
}
