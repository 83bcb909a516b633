//! The mirror table of DATA 3: what was written last (H0), the file now (Hf), the canonical rendering (Hc).
//!
//! The comparison is made over the zones, because the rest is not ours: text that people write around them is no edit.
//! When the BoardWritten event carries no `zones_sha256`, whole files are compared.

use std::sync::{Mutex, PoisonError};

use dcc_core::event::EventCode;
use dcc_core::ports::{BoardFacts, EventFilter, MirrorState, Order, Recorder};
use dcc_core::{Outcome, Sha256Hex};
use serde::Deserialize;

use super::differences::differences;
use super::render::{lanes, render, render_into};
use super::zones::layout;
use super::{BOARD_BYTES_MAX, BOARD_FILE, BoardEntry};
use crate::fsroot::{Found, FsRoot};

/// Somebody who keeps writing the file while we do is not raced for ever.
const TRIES: usize = 3;

/// What DCC wrote last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    sha256: Sha256Hex,
    zones_sha256: Option<Sha256Hex>,
    /// The last BoardWritten event at that time; a later one is newer than this.
    seq: u64,
}

/// Payload of BoardWritten.
#[derive(Deserialize)]
struct Payload {
    sha256: Sha256Hex,
    #[serde(default)]
    zones_sha256: Option<Sha256Hex>,
}

pub(crate) struct Mirror<'a> {
    pub root: &'a FsRoot,
    pub recorder: &'a dyn Recorder,
    /// Of this process, ahead of its event.
    pub written: &'a Mutex<Option<Written>>,
}

/// The file against Locus, and what to write when writing is allowed.
struct Judged {
    facts: BoardFacts,
    write: Option<Vec<u8>>,
}

impl Mirror<'_> {
    pub(crate) fn facts(&self, entries: &[BoardEntry]) -> Outcome<BoardFacts> {
        Ok(self.judge(&self.read()?, entries)?.facts)
    }

    pub(crate) fn sync(&self, entries: &[BoardEntry]) -> Outcome<BoardFacts> {
        for _ in 0..TRIES {
            let found = self.read()?;
            let judged = self.judge(&found, entries)?;
            let Some(bytes) = judged.write else { return Ok(judged.facts) };
            let before = found.sha256();
            let unchanged = |now: &Found| !matches!(now, Found::Refused(_) | Found::Large { .. }) && now.sha256() == before;
            if self.root.replace(BOARD_FILE, &bytes, &unchanged)?.is_none() {
                let zones_sha256 = layout(&bytes).ok().map(|l| l.zones_sha256());
                let seq = self.recorded()?.map_or(0, |w| w.seq);
                *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(Written { sha256: Sha256Hex::of(&bytes), zones_sha256, seq });
                return self.facts(entries);
            }
        }
        self.facts(entries)
    }

    fn read(&self) -> Outcome<Found> {
        self.root.read(BOARD_FILE, BOARD_BYTES_MAX)
    }

    /// The last BoardWritten event.
    fn recorded(&self) -> Outcome<Option<Written>> {
        let filter = EventFilter { codes: vec![EventCode::BoardWritten], order: Order::Descending, limit: 1, ..EventFilter::default() };
        let last = self.recorder.read(&filter)?.into_iter().next();
        Ok(last.and_then(|event| {
            let payload: Payload = serde_json::from_value(event.payload).ok()?;
            Some(Written { sha256: payload.sha256, zones_sha256: payload.zones_sha256, seq: event.seq })
        }))
    }

    /// What counts as ours: the event, or what this process wrote after it.
    fn last_written(&self, recorded: Option<Written>) -> Option<Written> {
        let mine = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match (mine, recorded) {
            (Some(mine), Some(event)) if event.seq > mine.seq => {
                // The event of what this process wrote may name the file only; the zones are known here.
                let zones_sha256 = event.zones_sha256.or(mine.zones_sha256.filter(|_| mine.sha256 == event.sha256));
                Some(Written { zones_sha256, ..event })
            }
            (Some(mine), _) => Some(mine),
            (None, recorded) => recorded,
        }
    }

    fn judge(&self, found: &Found, entries: &[BoardEntry]) -> Outcome<Judged> {
        let recorded = self.recorded()?;
        let last = self.last_written(recorded);
        let path = self.root.path_of(BOARD_FILE).display().to_string();
        let answer = |mirror_state, zones_sha256, message: Option<String>, write| Judged {
            facts: BoardFacts { mirror_state, path: path.clone(), sha256: found.sha256(), zones_sha256, unrecorded: false, message },
            write,
        };
        let untouched = |why: String| answer(MirrorState::NormalizationRequired, None, Some(format!("{BOARD_FILE} {why}; it is left as it is")), None);
        let bytes = match found {
            Found::Missing => {
                let message = if last.is_some() { "is gone; the next sync writes it again" } else { "is not written yet; the next sync makes it" };
                let rendering = render(None, entries).expect("the opening text of a new board has no zones and no code");
                return Ok(answer(MirrorState::Stale, None, Some(format!("{BOARD_FILE} {message}")), Some(rendering)));
            }
            Found::Large { bytes_max, .. } => return Ok(untouched(crate::record_file::too_large(*bytes_max))),
            Found::Refused(why) => return Ok(untouched(why.clone())),
            Found::File { bytes, .. } if bytes.contains(&0) => return Ok(untouched("is not a text file: it holds a NUL byte".to_owned())),
            Found::File { bytes, .. } => bytes,
        };
        let layout = match layout(bytes) {
            Ok(layout) => layout,
            Err(problem) => return Ok(untouched(format!("cannot be understood, {problem}"))),
        };
        let lanes = lanes(entries);
        let rendering = match render_into(&layout, bytes, &lanes) {
            Ok(rendering) => rendering,
            Err(problem) => return Ok(untouched(format!("cannot be completed, {problem}"))),
        };
        let zones_now = layout.zones_sha256();
        let zones_wanted = super::zones::layout(&rendering).map_or(Sha256Hex::ZERO, |l| l.zones_sha256());
        if zones_now == zones_wanted {
            let mut judged = answer(MirrorState::Synchronized, Some(zones_now), None, None);
            judged.facts.unrecorded = recorded.is_none_or(|w| w.zones_sha256.map_or(w.sha256 != Sha256Hex::of(bytes), |z| z != zones_now));
            return Ok(judged);
        }
        let Some(last) = last else {
            if bytes.iter().all(u8::is_ascii_whitespace) {
                let message = format!("{BOARD_FILE} is empty; the next sync fills it");
                return Ok(answer(MirrorState::Stale, Some(zones_now), Some(message), Some(rendering)));
            }
            let mut judged = untouched("was not written by DCC".to_owned());
            judged.facts.message = Some(format!("{BOARD_FILE} was not written by DCC; it is left as it is. Import it, or move it aside and sync again"));
            return Ok(judged);
        };
        let edited = last.zones_sha256.map_or_else(|| last.sha256 != Sha256Hex::of(bytes), |z| z != zones_now);
        if !edited {
            let message = format!("{BOARD_FILE} is behind Locus; the next sync writes it");
            return Ok(answer(MirrorState::Stale, Some(zones_now), Some(message), Some(rendering)));
        }
        let moved_on = last.zones_sha256.map_or_else(|| last.sha256 != Sha256Hex::of(&rendering), |z| z != zones_wanted);
        let what = differences(&layout, &lanes);
        let (state, message) = if moved_on {
            (MirrorState::NormalizationRequired, format!("{BOARD_FILE} was edited by hand and Locus moved on as well; nothing is written. {what}"))
        } else {
            (MirrorState::AdvisoryEdit, format!("{BOARD_FILE} was edited by hand; Locus did not change and nothing is written. {what}"))
        };
        Ok(answer(state, Some(zones_now), Some(message), None))
    }
}
