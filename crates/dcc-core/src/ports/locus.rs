//! Canon: packet and micro-task records; derived: the board file.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::failure::Outcome;
use crate::gate::Cleared;
use crate::ids::{MtId, Sha256Hex, WpId};
use crate::locus::{MicroTask, Record, RecordKey, WorkPacket};
use crate::plans::LocusPlan;
use crate::ports::version::Hunk;

/// A record as last accepted, and what stands on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocusEntry<T> {
    pub record: T,
    pub sha256: Sha256Hex,
    /// Set when the file is not the accepted bytes: a sentence naming what is wrong. Gates go on with `record`.
    pub drift: Option<String>,
}

/// A new record whose bytes are an artifact already; its file is replaced after the event that names it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRecord {
    pub key: RecordKey,
    pub version: u64,
    pub sha256: Sha256Hex,
    /// What the file must be now; none when it must not exist.
    pub predecessor: Option<Sha256Hex>,
    /// An edit by hand that this version takes in: the file may hold these bytes as well, and is then brought in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Sha256Hex>,
}

/// A record whose file is not its accepted bytes, with both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    pub accepted: Record,
    pub accepted_sha256: Sha256Hex,
    /// What is wrong, for a person.
    pub sentence: String,
    /// What stands there; none when the file is gone or is nothing that is read (a link, a directory, too large).
    pub bytes: Option<Vec<u8>>,
    /// What tells it from any other: the hash of the bytes, or of how a file that is too large to be read looks.
    pub found: Option<Sha256Hex>,
    /// The bytes as a record of the same key; else what is wrong with them, with line and column.
    pub edited: Result<Record, String>,
    /// From the accepted lines to those of the file.
    pub hunks: Vec<Hunk>,
}

impl Drifted {
    pub fn found_sha256(&self) -> Option<Sha256Hex> {
        self.found
    }
}

/// Below `gov/`: where a file that is too large to be kept as an artifact goes when its record is written back.
pub fn set_aside_path(key: &RecordKey, found: Sha256Hex) -> String {
    format!("{}.{}", key.relative_path(), &found.to_string()[..8])
}

/// The mirror table of DATA 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorState {
    Synchronized,
    Stale,
    AdvisoryEdit,
    NormalizationRequired,
}

impl MirrorState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synchronized => "synchronized",
            Self::Stale => "stale",
            Self::AdvisoryEdit => "advisory_edit",
            Self::NormalizationRequired => "normalization_required",
        }
    }
}

/// The board file as it stands against Locus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BoardFacts {
    pub mirror_state: MirrorState,
    /// Path of the file, for messages.
    pub path: String,
    pub sha256: Option<Sha256Hex>,
    /// Hash of what stands inside the fenced zones; goes into the BoardWritten event as `zones_sha256` beside `sha256`, so
    /// that text which people write around the zones is never taken for an edit of ours.
    #[serde(default)]
    pub zones_sha256: Option<Sha256Hex>,
    /// The file is the canonical rendering and the last BoardWritten event does not name it: the caller appends one.
    #[serde(default)]
    pub unrecorded: bool,
    /// What a person has to know: which lines differ, what the parser refused.
    pub message: Option<String>,
}

/// Locus: one JSON record a file under `gov/`. A mutation is three steps in this order: `stage` (artifact, durable),
/// the recorder's event naming version and hash (the caller's), `publish` (atomic replacement of the file).
pub trait Locus: Send + Sync {
    /// All packets, tombstones excluded, by id.
    fn packets(&self) -> Outcome<Vec<LocusEntry<WorkPacket>>>;
    /// One packet, looked up without regard to case.
    fn packet(&self, wp_id: &WpId) -> Outcome<Option<LocusEntry<WorkPacket>>>;
    fn micro_tasks(&self, wp_id: &WpId) -> Outcome<Vec<LocusEntry<MicroTask>>>;
    fn micro_task(&self, wp_id: &WpId, mt_id: &MtId) -> Outcome<Option<LocusEntry<MicroTask>>>;
    /// Stores the record's bytes as a synced artifact. HSK-409-VERSION-CONFLICT when the accepted version moved.
    fn stage(&self, record: &Record) -> Outcome<StagedRecord>;
    /// Replaces the files. The events that name these hashes must be durable. HSK-409-DRIFT when a file is neither the
    /// predecessor nor the new bytes: the record is accepted all the same (the event stands) and the drift shown.
    fn publish(&self, cleared: Cleared<LocusPlan>, staged: &[StagedRecord]) -> Outcome<()>;
    /// Deleted packets, by id. Their ids stay taken.
    fn deleted(&self) -> Outcome<Vec<LocusEntry<WorkPacket>>>;
    /// Both sides of a record whose file differs; none when the file is as accepted. HSK-404-WP or -MT when the record
    /// was never accepted.
    fn drifted(&self, key: &RecordKey) -> Outcome<Option<Drifted>>;
    /// Writes the last accepted bytes back when the file still holds `found` (none: it is gone or cannot be read).
    /// HSK-409-STALE-PREVIEW when it holds something else.
    fn restore(&self, cleared: Cleared<LocusPlan>, key: &RecordKey, found: Option<Sha256Hex>) -> Outcome<()>;
    /// Takes in accepted records from events that this process did not write, and rolls files forward whose hash is a
    /// predecessor's. Called at open and after each batch; returns the drift found, as (key, sentence).
    fn catch_up(&self, events: &[Event]) -> Outcome<Vec<(String, String)>>;
    /// Files in the places of records that no event names, as (key or path, sentence). They are used by nobody.
    fn strangers(&self) -> Outcome<Vec<(String, String)>>;
    /// The board file against the canonical rendering. Reads only.
    fn board(&self) -> Outcome<BoardFacts>;
    /// Writes the canonical rendering when the mirror table allows it; returns the facts after. `force_create` is never
    /// implied: edits by hand are left alone and reported.
    fn sync_board(&self) -> Outcome<BoardFacts>;
}
