//! Waivers of the sandbox: for one worktree, for a time, and only where no sandbox can be had (GOVERNANCE 7). Pure.
//!
//! Invariant: a waiver is in force between its two times and at no other; what was revoked stands no more, nor what was
//! issued before the clock was set back, by one step or by many small ones.

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

/// What stands by these events (waived, waiver ended, clock went back), whatever the time is.
pub fn standing<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Waiver> {
    // With how far the clock was set back since, in all.
    let mut waivers: Vec<(Waiver, i64)> = Vec::new();
    for event in events {
        match event.code {
            EventCode::SandboxWaived => {
                if let Ok(waiver) = serde_json::from_value::<Waiver>(event.payload["waiver"].clone()) {
                    // The latest of a worktree replaces the earlier one.
                    waivers.retain(|(w, _)| w.workspace_id != waiver.workspace_id);
                    waivers.push((waiver, 0));
                }
            }
            EventCode::SandboxWaiverEnded => waivers.retain(|(w, _)| serde_json::to_value(w.waiver_id).ok().as_ref() != Some(&event.payload["waiver_id"])),
            EventCode::ClockWentBack => {
                let step = event.payload["back_ms"].as_i64().unwrap_or(i64::MAX);
                for (_, back) in &mut waivers {
                    *back = back.saturating_add(step);
                }
                waivers.retain(|(_, back)| *back <= limits::SAME_TURN_START_MS);
            }
            _ => {}
        }
    }
    waivers.into_iter().map(|(waiver, _)| waiver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Correlation, EventOutcome};
    use crate::ids::Sha256Hex;
    use crate::principal::Actor;
    use serde_json::{Value, json};
    use uuid::Uuid;

    #[test]
    fn a_waiver_is_in_force_between_its_times() {
        let waiver = Waiver { waiver_id: Uuid::nil().into(), workspace_id: Uuid::nil().into(), reason: "r".into(), issued_at: Timestamp(1_000_000), expires_at: Timestamp(1_060_000) };
        for (now, want) in [(1_000_000, true), (1_059_999, true), (1_060_000, false), (900_000, false)] {
            assert_eq!(waiver.is_in_time(Timestamp(now)), want, "{now}");
        }
    }

    fn event(seq: u64, code: EventCode, payload: Value) -> Event {
        Event {
            seq,
            event_id: Uuid::nil().into(),
            ts: Timestamp(0),
            code,
            name: code.name().to_owned(),
            actor_kind: Actor::SYSTEM.kind(),
            actor_id: String::new(),
            actor: Actor::SYSTEM,
            correlation: Correlation::default(),
            capability_id: None,
            policy_digest: None,
            outcome: EventOutcome::Ok,
            payload,
            payload_sha256: Sha256Hex::ZERO,
            unique_key: None,
            project_id: Uuid::nil().into(),
            instance_id: Uuid::nil().into(),
            prev_hash: Sha256Hex::ZERO,
            hash: Sha256Hex::ZERO,
        }
    }

    #[test]
    fn steps_of_the_clock_are_added_up() {
        let of = |n: u128| Waiver { waiver_id: Uuid::from_u128(n).into(), workspace_id: Uuid::from_u128(n).into(), reason: "r".into(), issued_at: Timestamp(0), expires_at: Timestamp(1) };
        let waived = |n| event(1, EventCode::SandboxWaived, json!({ "waiver": of(n) }));
        let step = |ms: i64| event(2, EventCode::ClockWentBack, json!({ "back_ms": ms }));
        assert_eq!(standing(&[waived(1), step(29_000)]), [of(1)]);
        assert_eq!(standing(&[waived(1), step(29_000), waived(2), step(2_000)]), [of(2)], "each by what came after it");
        assert_eq!(standing(&[waived(1), step(60_000)]), []);
        assert_eq!(standing(&[waived(1), event(2, EventCode::ClockWentBack, json!({}))]), [], "a step of unknown size");
    }
}
