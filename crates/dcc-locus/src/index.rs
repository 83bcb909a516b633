//! The accepted records in memory, folded from the recorder's events.
//!
//! Authority: derived from the recorder and the artifacts; made again at every open.

use std::collections::BTreeMap;

use dcc_core::event::{Event, EventCode};
use dcc_core::locus::{Record, RecordKey};
use dcc_core::ports::StagedRecord;
use dcc_core::{MtId, Sha256Hex, WpId};

use crate::fsroot::Signature;

/// Events that name accepted records.
pub(crate) const CODES: &[EventCode] = &[
    EventCode::WpCreated,
    EventCode::WpUpdated,
    EventCode::WpGated,
    EventCode::WpCompleted,
    EventCode::WpDeleted,
    EventCode::WpStatusChanged,
    EventCode::WpNoteAdded,
    EventCode::WpEditAccepted,
    EventCode::MtRegistered,
    EventCode::MtStatusChanged,
    EventCode::MtCompleted,
    EventCode::DependencyAdded,
    EventCode::DependencyRemoved,
    EventCode::BoardImported,
];

/// The packet's folded id, then the micro-task: a packet stands right before its micro-tasks.
pub(crate) type IndexKey = (String, Option<MtId>);

pub(crate) fn index_key(key: &RecordKey) -> IndexKey {
    match key {
        RecordKey::Packet { wp_id } => (wp_id.folded(), None),
        RecordKey::MicroTask { wp_id, mt_id } => (wp_id.folded(), Some(mt_id.clone())),
    }
}

pub(crate) fn packet_key(wp_id: &WpId) -> IndexKey {
    (wp_id.folded(), None)
}

/// A record as last accepted, with the last look at its file.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub record: Record,
    pub sha256: Sha256Hex,
    /// What the file held before; such a file is rolled forward.
    pub predecessor: Option<Sha256Hex>,
    /// The edit by hand that it took in; such a file is rolled forward too.
    pub edited: Option<Sha256Hex>,
    /// The file as it looked when it was last read; none when it could not be read.
    pub signature: Option<Signature>,
    pub drift: Option<String>,
    /// The event that named it; 0 when it was published here and its event has not come by yet.
    pub seq: u64,
}

#[derive(Default)]
pub(crate) struct Index {
    pub entries: BTreeMap<IndexKey, Accepted>,
    /// Records whose accepted bytes are nowhere to be found: key text, hash, sentence.
    pub lost: BTreeMap<IndexKey, (RecordKey, String)>,
    /// True while the store is opened.
    pub is_opening: bool,
    /// Records whose missing file was written back at the open: version, and the event that named it.
    pub brought_back: Vec<(RecordKey, u64, u64)>,
    /// All events of these codes up to here are folded.
    pub seen_seq: u64,
}

/// The latest naming of each record in these events, with its sequence. Events of other codes name none; an event whose
/// payload cannot be read is skipped here because the recorder vouches for shapes on write.
pub(crate) fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> BTreeMap<IndexKey, (StagedRecord, u64)> {
    let mut latest = BTreeMap::new();
    for event in events {
        if !CODES.contains(&event.code) {
            continue;
        }
        let Some(records) = event.payload.get("records") else { continue };
        let Ok(records) = serde_json::from_value::<Vec<StagedRecord>>(records.clone()) else { continue };
        for staged in records {
            latest.insert(index_key(&staged.key), (staged, event.seq));
        }
    }
    latest
}
