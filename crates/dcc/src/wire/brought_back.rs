//! Packet files that were gone when the project was opened: they are written back as accepted, and that is said.
//!
//! Authority: canon for the event. Invariant: what a killed job had not written yet is its recovery's to tell and no
//! finding; everything else that came back is recorded once and said once. On failure the project is not opened.

use dcc_core::Outcome;
use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::locus::RecordKey;
use dcc_core::ports::Recorder as _;
use dcc_core::principal::Actor;
use dcc_jobs::{Runner, ledger};
use serde_json::json;

use super::open::Records;

/// More lines than this say no more.
const LINES_MAX: usize = 5;

/// Before recovery: a job that is still running tells a write that was cut short.
pub(super) fn say(runner: &Runner, records: &Records) -> Outcome<()> {
    let mut events = Vec::new();
    for (key, version, seq) in records.locus.brought_back() {
        let job = records.recorder.by_seq(seq)?.and_then(|event| event.job_id);
        if job.and_then(|id| ledger::job(records.recorder.as_ref(), id).ok()).is_some_and(|job| !job.state.is_terminal()) {
            continue;
        }
        let message = format!("{} was missing; version {version} was written back", key.relative_path());
        let mt_id = match &key {
            RecordKey::Packet { .. } => None,
            RecordKey::MicroTask { mt_id, .. } => Some(mt_id.clone()),
        };
        let about = Correlation { wp_id: Some(key.wp_id().clone()), mt_id, ..Correlation::default() };
        if events.len() < LINES_MAX {
            super::say(&format!("{}: {message}", key.text()));
        }
        let payload = json!({ "key": key.text(), "message": message, "action": "written_back", "version": version });
        events.push(NewEvent::new(EventCode::DriftFound, Actor::SYSTEM, payload).about(&about));
    }
    if events.len() > LINES_MAX {
        super::say(&format!("{} more record files were missing and were written back", events.len() - LINES_MAX));
    }
    if events.is_empty() { Ok(()) } else { runner.cx.journal.append(events).map(drop) }
}
