//! Drift seen from both sides, and its settlement by writing the accepted bytes back.
//!
//! Authority: canon. Invariants: what stands on disk is shown as it is; it is replaced only while it is still what was
//! shown. On failure nothing is replaced, and the accepted record goes on being used.

use dcc_core::gate::Cleared;
use dcc_core::lines;
use dcc_core::locus::RecordKey;
use dcc_core::plans::LocusPlan;
use dcc_core::ports::{Drifted, set_aside_path};
use dcc_core::ports::version::Hunk;
use dcc_core::{Code, Failure, Outcome, Sha256Hex};

use super::{LocusStore, RECORD_BYTES_MAX, note_file, require_found};
use crate::fsroot::Found;
use crate::index::{Accepted, Index, index_key};
use crate::record_file;

/// Lines of a text that are compared; a record beyond it is shown up to here.
const LINES_MAX: usize = 20_000;

/// Bytes that are not UTF-8 are shown as replacement characters.
fn hunks(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    lines::hunks(&old.lines().take(LINES_MAX).collect::<Vec<_>>(), &new.lines().take(LINES_MAX).collect::<Vec<_>>())
}

impl LocusStore {
    pub(super) fn both_sides(&self, key: &RecordKey) -> Outcome<Option<Drifted>> {
        let mut index = self.lock();
        let at = index_key(key);
        require_found(&index, &at)?;
        self.look_again(&mut index, |k| *k == at)?;
        let accepted = require_accepted(&mut index, key)?;
        let Some(sentence) = accepted.drift.clone() else { return Ok(None) };
        let key = accepted.record.key();
        let found = self.root.read(&key.relative_path(), RECORD_BYTES_MAX)?;
        let edited = match &found {
            Found::File { bytes, .. } => record_file::parse(&key, bytes),
            Found::Missing => Err("is missing".to_owned()),
            Found::Large { bytes_max, .. } => Err(record_file::too_large(*bytes_max)),
            Found::Refused(why) => Err(why.clone()),
        };
        let found_sha256 = found.sha256();
        let bytes = match found {
            Found::File { bytes, .. } => Some(bytes),
            Found::Missing | Found::Large { .. } | Found::Refused(_) => None,
        };
        let ours = self.accepted_bytes(accepted)?;
        let hunks = hunks(&ours, bytes.as_deref().unwrap_or_default());
        Ok(Some(Drifted { accepted: accepted.record.clone(), accepted_sha256: accepted.sha256, sentence, bytes, found: found_sha256, edited, hunks }))
    }

    pub(super) fn write_back(&self, cleared: &Cleared<LocusPlan>, key: &RecordKey, shown: Option<Sha256Hex>) -> Outcome<()> {
        let wp_id = &cleared.body().wp_id;
        if key.wp_id() != wp_id {
            return Err(Failure::new(Code::Underdeclared, format!("the plan is about {wp_id} and does not cover {}", key.text())));
        }
        let mut index = self.lock();
        require_found(&index, &index_key(key))?;
        let accepted = require_accepted(&mut index, key)?;
        let bytes = self.accepted_bytes(accepted)?;
        let path = accepted.record.key().relative_path();
        // What was written back already, by a run that ended before it could say so, is no other edit.
        let unchanged = |found: &Found| found.sha256() == shown || found.sha256() == Some(accepted.sha256);
        // What no artifact holds is kept beside; what is missing then is written whatever ends this in between.
        let is_large = |found: &Found| matches!(found, Found::Large { .. }) && found.sha256() == shown;
        let is_aside = match shown {
            Some(seal) => self.root.set_aside(&path, &set_aside_path(&accepted.record.key(), seal), &is_large)?,
            None => false,
        };
        let unchanged = |found: &Found| if is_aside { matches!(found, Found::Missing) } else { unchanged(found) };
        if self.root.replace(&path, &bytes, &unchanged)?.is_some() {
            return Err(Failure::new(Code::StalePreview, format!("{path} changed again meanwhile; it is left as it is")).hint("look at it again, then decide anew"));
        }
        let found = self.root.read(&path, RECORD_BYTES_MAX)?;
        note_file(accepted, &found);
        accepted.drift.clone().map_or(Ok(()), |why| Err(Failure::new(Code::Drift, why)))
    }

    /// An older program may have written the same record in another layout; the artifact has the accepted bytes.
    fn accepted_bytes(&self, accepted: &Accepted) -> Outcome<Vec<u8>> {
        let bytes = accepted.record.to_bytes();
        if Sha256Hex::of(&bytes) == accepted.sha256 { Ok(bytes) } else { self.artifacts.get(accepted.sha256) }
    }
}

fn require_accepted<'i>(index: &'i mut Index, key: &RecordKey) -> Outcome<&'i mut Accepted> {
    index.entries.get_mut(&index_key(key)).ok_or_else(|| {
        let code = if matches!(key, RecordKey::Packet { .. }) { Code::NotFoundWp } else { Code::NotFoundMt };
        Failure::new(code, format!("{} was never accepted, so there is nothing to settle", key.text())).hint("a file that no event names is not used: make the packet with dcc wp create, or move the file away")
    })
}
