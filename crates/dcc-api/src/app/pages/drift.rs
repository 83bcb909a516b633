//! Records whose file is not as accepted: both sides, and whether the edit may be taken in.
//!
//! Authority: derived; the same rules judge here and in the job. Failure: a record that cannot be read is left out here
//! and shown by the page's own failure.

use dcc_core::locus::change::LocusChange;
use dcc_core::locus::rules;
use dcc_core::locus::{RecordKey, WorkPacket};
use dcc_core::ports::Drifted;
use dcc_core::{Code, Failure, RepoPath};

use super::super::App;
use super::changes::hunk_view;
use super::rows::{failure_view, path_view};
use crate::view::{DriftView, FileDiff, FileRow};

impl App {
    /// The packet's own records that differ, the packet first.
    pub(in crate::app) fn drift_views(&self, packet: &WorkPacket, context: &rules::Context<'_>) -> Vec<DriftView> {
        let locus = &self.cx().ports.locus;
        let own = locus.packet(&packet.wp_id).ok().flatten().and_then(|e| e.drift.map(|_| RecordKey::Packet { wp_id: e.record.wp_id }));
        let tasks = locus.micro_tasks(&packet.wp_id).unwrap_or_default().into_iter().filter(|e| e.drift.is_some());
        let tasks = tasks.map(|e| RecordKey::MicroTask { wp_id: e.record.wp_id, mt_id: e.record.mt_id });
        own.into_iter().chain(tasks).filter_map(|key| locus.drifted(&key).ok().flatten()).map(|seen| view(packet, &seen, context)).collect()
    }
}

fn view(packet: &WorkPacket, seen: &Drifted, context: &rules::Context<'_>) -> DriftView {
    let key = seen.accepted.key();
    let mt_id = match &key {
        RecordKey::Packet { .. } => None,
        RecordKey::MicroTask { mt_id, .. } => Some(mt_id.to_string()),
    };
    let path = RepoPath::new(format!(".handshake/gov/{}", key.relative_path())).map(|p| path_view(&p)).unwrap_or_default();
    DriftView {
        wp_id: key.wp_id().to_string(),
        mt_id,
        message: seen.sentence.clone(),
        found_sha256: seen.found_sha256().map(|s| s.to_string()),
        diff: FileDiff {
            file: FileRow { path, kind: "modified".to_owned(), ..FileRow::default() },
            hunks: seen.hunks.iter().map(|hunk| hunk_view(hunk, hunk.lines.len())).collect(),
            ..FileDiff::default()
        },
        refusal: refusal(packet, seen, context).as_ref().map(failure_view),
    }
}

fn refusal(packet: &WorkPacket, seen: &Drifted, context: &rules::Context<'_>) -> Option<Failure> {
    match (&seen.edited, seen.found_sha256()) {
        (Ok(record), Some(found_sha256)) => {
            let change = LocusChange::AcceptEdit { found_sha256, record: Box::new(record.clone()) };
            rules::apply(&change, Some(packet), None, context).err()
        }
        (Ok(_), None) => None,
        (Err(why), _) => Some(Failure::new(Code::Drift, format!("the file {why}"))),
    }
}
