//! The intent of a Locus mutation, typed and free of times and ids, so that it can stand in a plan.

use serde::{Deserialize, Serialize};

use crate::ids::{MtId, Sha256Hex, WpId};
use crate::locus::record::{DependencyKind, Evidence, GateInputs, GateName, GateStatus, MtFiles, NoteType, Record, Routing, Verify, WpType};
use crate::time::Timestamp;

/// One change to one packet or its micro-tasks. Wire spelling of the tag is the operation's name without `locus.`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum LocusChange {
    CreateWp { new: NewPacket },
    UpdateWp { set: PacketFields },
    /// stub to ready, asked for through update_wp.
    MakeReady,
    GateWp { gate: GateName, result: GateStatus, reason: Option<String>, inputs: Option<GateInputs> },
    StartWp,
    BlockWp { reason: String },
    UnblockWp { reason: Option<String> },
    HoldWp { reason: String },
    ReleaseWp { reason: String },
    CloseWp { verdict: Option<String> },
    CancelWp { reason: String },
    ReopenWp { reason: String, to_in_progress: bool },
    /// Leaves a tombstone.
    DeleteWp { reason: String },
    /// A file edited by hand becomes the next version; `record` is what the bytes of that hash say.
    AcceptEdit { found_sha256: Sha256Hex, record: Box<Record> },
    /// The accepted bytes are written back over what stands there; none when the file is gone or cannot be read.
    RestoreFile { key: String, found_sha256: Option<Sha256Hex> },
    AddNote { note_type: NoteType, body: String },
    AddDependency { kind: DependencyKind, to_wp_id: WpId },
    RemoveDependency { kind: DependencyKind, to_wp_id: WpId },
    RegisterMts { micro_tasks: Vec<NewMicroTask> },
    StartMt,
    CompleteMt { evidence: Evidence },
    FailMt { reason: String },
    BlockMt { reason: String },
    SkipMt { reason: String },
    ReopenMt { reason: Option<String> },
}

/// A packet to be made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPacket {
    pub wp_id: WpId,
    pub title: String,
    #[serde(default)]
    pub description: String,
    #[serde(rename = "type")]
    pub wp_type: WpType,
    pub priority: u8,
    pub routing: Routing,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub acceptance_criteria: Vec<String>,
    #[serde(default)]
    pub in_scope_paths: Vec<String>,
}

/// The fields update_wp may set; absent means unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub wp_type: Option<WpType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance_criteria: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_scope_paths: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// A micro-task to be registered; the id is given when none is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMicroTask {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mt_id: Option<MtId>,
    pub name: String,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub files: MtFiles,
    pub done_criteria: Vec<String>,
    #[serde(default)]
    pub depends_on: Vec<MtId>,
    #[serde(default)]
    pub verify: Vec<Verify>,
}
