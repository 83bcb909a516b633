//! locus.*: one typed change to Locus records.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{MtId, Sha256Hex, WpId};
use crate::locus::LocusChange;
use crate::op::Op;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

/// The change and the records it starts from. The new record's times and ids are added when it runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocusPlan {
    pub op: Op,
    pub wp_id: WpId,
    pub mt_id: Option<MtId>,
    pub change: LocusChange,
    /// Records as they stand, by key text: version and hash; none when the record must not exist yet.
    pub base: Vec<(String, Option<(u64, Sha256Hex)>)>,
    /// One sentence: "WP-0001: start".
    pub sentence: String,
}

impl PlanBody for LocusPlan {
    fn preview(&self) -> Preview {
        Preview {
            title: self.sentence.clone(),
            exactly: vec![PreviewItem::Text {
                label: "change".into(),
                text: serde_json::to_string_pretty(&self.change).unwrap_or_default(),
            }],
            place: self.base.iter().map(|(key, base)| PreviewFact::new(key, base.as_ref().map_or("new".to_owned(), |(v, _)| format!("version {v}")))).collect(),
            risk: match &self.change {
                LocusChange::DeleteWp { .. } => "takes the packet off the board and out of every list; its record, micro-tasks and history stay, its id is never given again".into(),
                _ => "changes packet records and the board file".into(),
            },
            undo: match &self.change {
                LocusChange::DeleteWp { .. } => "not undone: make a new packet; what happened stays in the recorder".into(),
                _ => "the previous version stays in the recorder".into(),
            },
        }
    }
    fn requirement(&self) -> Requirement {
        let (axis, tier, intent) = match &self.change {
            LocusChange::GateWp { .. } => (Axis::LocusGate, Tier::R1, IntentClass::LocusGate),
            LocusChange::DeleteWp { .. } => (Axis::LocusDelete, Tier::R2, IntentClass::LocusWrite),
            // What tells of the work and decides nothing about it: an agent may, on the packet it is bound to.
            LocusChange::AddNote { .. } | LocusChange::StartMt | LocusChange::BlockMt { .. } => (Axis::LocusReport, Tier::R1, IntentClass::LocusWrite),
            _ => (Axis::LocusWrite, Tier::R1, IntentClass::LocusWrite),
        };
        Requirement::of(Capability::plain(axis), tier, intent)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        let own = match &self.change {
            LocusChange::DeleteWp { .. } => Some(Precondition::PacketUnbound { wp_id: self.wp_id.clone() }),
            LocusChange::AcceptEdit { found_sha256, record } => Some(Precondition::RecordFileIs { key: record.key().text(), sha256: Some(*found_sha256) }),
            LocusChange::RestoreFile { key, found_sha256 } => Some(Precondition::RecordFileIs { key: key.clone(), sha256: *found_sha256 }),
            _ => None,
        };
        let records = self
            .base
            .iter()
            .map(|(key, base)| Precondition::RecordIs {
                key: key.clone(),
                version: base.as_ref().map(|(v, _)| *v),
                sha256: base.as_ref().map(|(_, s)| *s),
            });
        own.into_iter().chain(records).collect()
    }
}
