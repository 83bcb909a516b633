//! Which operation moves a packet from one lane to another; drag, the `m` key and the menu use the
//! same table.
//!
//! Authority: derived, a copy of the state machine for showing; Locus decides.

use serde::Serialize;

/// One way between two lanes.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Move {
    pub from: &'static str,
    pub to: &'static str,
    pub op: &'static str,
    /// Parameters beside the reason.
    pub params: &'static str,
    pub reason: bool,
    /// What it needs or does, in a sentence.
    pub says: &'static str,
}

const fn way(from: &'static str, to: &'static str, op: &'static str, reason: bool, says: &'static str) -> Move {
    Move { from, to, op, params: "{}", reason, says }
}

const fn with(way: Move, params: &'static str) -> Move {
    Move { params, ..way }
}

/// Every legal way. A pair that is not here is refused before anything is asked.
pub const MOVES: [Move; 19] = [
    with(way("stub", "ready", "locus.update_wp", false, "Activates it. Needs a title and one acceptance criterion."), r#"{"set":{"status":"ready"}}"#),
    way("stub", "cancelled", "locus.cancel_wp", true, "Cancels it, with a reason."),
    way("ready", "in_progress", "locus.start_wp", false, "Starts it. Needs the pre_work gate and no unfinished blocker."),
    way("ready", "blocked", "locus.block_wp", true, "Marks it blocked, with a reason."),
    way("ready", "gated", "locus.hold_wp", true, "Holds it for a person's decision."),
    way("ready", "cancelled", "locus.cancel_wp", true, "Cancels it, with a reason."),
    way("in_progress", "blocked", "locus.block_wp", true, "Marks it blocked, with a reason."),
    way("in_progress", "gated", "locus.hold_wp", true, "Holds it for a person's decision."),
    way("in_progress", "done", "locus.close_wp", false, "Closes it. Needs the post_work gate, every micro-task done, nothing pending."),
    way("in_progress", "cancelled", "locus.cancel_wp", true, "Cancels it; sessions and jobs must have ended."),
    way("blocked", "ready", "locus.unblock_wp", true, "Clears the blocker; it returns to where it came from."),
    way("blocked", "in_progress", "locus.unblock_wp", true, "Clears the blocker; it returns to where it came from."),
    way("blocked", "cancelled", "locus.cancel_wp", true, "Cancels it, with a reason."),
    way("gated", "ready", "locus.release_wp", true, "Records the decision; it returns to where it came from."),
    way("gated", "in_progress", "locus.release_wp", true, "Records the decision; it returns to where it came from."),
    way("gated", "cancelled", "locus.cancel_wp", true, "Cancels it, with a reason."),
    with(way("done", "ready", "locus.reopen_wp", true, "Reopens it; post_work starts over."), r#"{"to":"ready"}"#),
    with(way("done", "in_progress", "locus.reopen_wp", true, "Reopens it; post_work starts over."), r#"{"to":"in_progress"}"#),
    with(way("cancelled", "ready", "locus.reopen_wp", true, "Reopens it."), r#"{"to":"ready"}"#),
];

/// The table as the board's script reads it.
#[must_use]
pub fn moves_json() -> String {
    serde_json::to_string(&MOVES).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_one_way_and_its_parameters_are_json() {
        for (at, way) in MOVES.iter().enumerate() {
            assert!(MOVES[at + 1..].iter().all(|other| (other.from, other.to) != (way.from, way.to)));
            assert!(serde_json::from_str::<serde_json::Value>(way.params).is_ok());
        }
    }
}
