//! Waivers of the sandbox: for one worktree, for a time, and only where no sandbox can be had (GOVERNANCE 7). Pure.
//!
//! Invariant: a waiver is in force between its two times and at no other; whoever folds them drops what was revoked and
//! what was issued before the clock was set back.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventCode};
use crate::ids::{JobId, WorkspaceId};
use crate::limits;
use crate::time::Timestamp;

/// Agents may run unconfined in this worktree, until then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiver {
    /// The job that a person approved.
    pub waiver_id: JobId,
    pub workspace_id: WorkspaceId,
    pub reason: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Waiver {
    /// A clock that was set back does not bring a waiver back to life, nor one forward another's beginning.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.issued_at.as_ms() <= now.as_ms() + limits::SAME_TURN_START_MS
    }
}

/// What stands by these events (waived, waiver ended), whatever the time is.
pub fn standing<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Waiver> {
    let mut waivers: Vec<Waiver> = Vec::new();
    for event in events {
        match event.code {
            EventCode::SandboxWaived => {
                if let Ok(waiver) = serde_json::from_value::<Waiver>(event.payload["waiver"].clone()) {
                    // The latest of a worktree replaces the earlier one.
                    waivers.retain(|w| w.workspace_id != waiver.workspace_id);
                    waivers.push(waiver);
                }
            }
            EventCode::SandboxWaiverEnded => waivers.retain(|w| serde_json::to_value(w.waiver_id).ok().as_ref() != Some(&event.payload["waiver_id"])),
            _ => {}
        }
    }
    waivers
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_waiver_is_in_force_between_its_times() {
        let waiver = Waiver { waiver_id: Uuid::nil().into(), workspace_id: Uuid::nil().into(), reason: "r".into(), issued_at: Timestamp(1_000_000), expires_at: Timestamp(1_060_000) };
        for (now, want) in [(1_000_000, true), (1_059_999, true), (1_060_000, false), (900_000, false)] {
            assert_eq!(waiver.is_in_time(Timestamp(now)), want, "{now}");
        }
    }
}
