//! Which tool call of an agent a write fulfils.
//!
//! Authority: derived from canon at the moment of the write. Invariant: nothing is guessed: the call is named only when
//! exactly one call of this very turn is known to be meant, because its permission named this very path and was granted,
//! and the agent has not said that it is over. Otherwise the write stands in a row of its own.

use std::collections::BTreeSet;

use dcc_core::event::EventCode;
use dcc_core::job::{self, Job, JobState};
use dcc_core::plans::AskKind;
use dcc_core::ports::EventFilter;
use dcc_core::{Outcome, RepoPath};
use serde_json::json;

use super::asked_by;
use crate::context::Context;
use crate::ledger;

/// The agent's id of the call that this write fulfils; none when that is not known.
pub(super) fn call_of(cx: &Context, write: &Job, path: &RepoPath) -> Outcome<Option<String>> {
    let (Some(turn), Some(session_id)) = (write.parent_job_id, write.bindings.session_id) else { return Ok(None) };
    let recorder = cx.ports.recorder.as_ref();
    let begun = recorder.read(&EventFilter { job_id: Some(turn), codes: vec![EventCode::JobAccepted], limit: 1, ..EventFilter::default() })?;
    let filter = EventFilter {
        session_id: Some(session_id),
        after_seq: begun.first().map(|event| event.seq),
        codes: vec![EventCode::JobAccepted, EventCode::JobFinished, EventCode::ToolCallFinished],
        ..EventFilter::default()
    };
    let mut asked = Vec::new();
    let mut open = BTreeSet::new();
    for event in ledger::read_all(recorder, filter)? {
        match event.code {
            EventCode::JobAccepted => {
                let mut accepted = None;
                job::apply(&mut accepted, &event);
                let of_turn = accepted.filter(|job| job.parent_job_id == Some(turn));
                let wanted = of_turn.and_then(|job| asked_by(cx, &job)).filter(|ask| ask.kind == AskKind::Edit && ask.foreign_paths.is_empty() && ask.paths.contains(path));
                asked.extend(event.job_id.zip(wanted.map(|ask| ask.tool_call_id)));
            }
            EventCode::JobFinished if event.payload["to"] == json!(JobState::Completed) => {
                open.extend(asked.iter().filter(|(id, _)| Some(*id) == event.job_id).map(|(_, call)| call.clone()));
            }
            // The end of a write in the name of a call is not the end of the call.
            EventCode::ToolCallFinished if event.payload["write"].is_null() => {
                if let Some(call) = &event.tool_call_id {
                    open.remove(call);
                }
            }
            _ => {}
        }
    }
    Ok(if open.len() == 1 { open.pop_first() } else { None })
}
