//! The legal moves (DATA 1): one pure step from record and change to record. The same step authorises, and run dry it
//! says what a surface may offer.
//!
//! Authority: none of its own; it decides what may become canon.
//! Invariants: every status change passes [`is_legal_move`]; a record that comes out has its version raised by one; a
//! refusal is a `Failure` and leaves nothing behind.

mod accept;
mod actions;
mod dependency;
mod micro_task;
mod packet;
mod packets;
mod validate;

#[cfg(test)]
mod tests;

use crate::event::EventCode;
use crate::failure::{Code, Failure, Outcome};
use crate::ids::{MtId, NoteId, WpId};
use crate::locus::change::LocusChange;
use crate::locus::record::{GateInputs, GateResult, MicroTask, MtStatus, Record, WorkPacket, WpStatus};
use crate::time::Timestamp;

pub use accept::differing;
pub use actions::{Action, allowed_actions};
pub use packets::{Blocker, Packets};

/// Labels, criteria, globs of one record: more than a person reads.
pub const LIST_ITEMS_MAX: usize = 200;
/// Micro-tasks of one packet; a larger packet is split.
pub const MICRO_TASKS_MAX: usize = 500;
/// Notes of one packet: the record is written whole each time.
pub const NOTES_MAX: usize = 5_000;
/// Edges kept on one packet.
pub const DEPENDENCIES_MAX: usize = 500;
/// Criteria of one micro-task (DATA 1).
pub const DONE_CRITERIA_MAX: usize = 8;
/// Lowest priority (DATA 1).
pub const PRIORITY_MAX: u8 = 4;
/// Iterations a micro-task gets when nobody says otherwise (DATA 1).
pub const MAX_ITERATIONS: u32 = 5;
/// The most anybody may allow (DATA 1).
pub const MAX_ITERATIONS_MOST: u32 = 20;

/// What a change is judged against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub now: Timestamp,
    /// Reporter, note author, validator.
    pub author: &'a str,
    /// A fresh id, used for the note or the dependency the change adds, if any.
    pub note_id: NoteId,
    /// All packets, for uniqueness, blockers and cycles.
    pub all_packets: &'a [WorkPacket],
    /// Of this packet.
    pub micro_tasks: &'a [MicroTask],
    pub pending_approvals: usize,
    /// Live sessions and running jobs on the packet.
    pub running: usize,
    /// What a gate would be judged on now; a result for other inputs is void. None: unknown, no result is void.
    pub gate_inputs: Option<&'a GateInputs>,
}

impl<'a> Context<'a> {
    /// The edges between the packets; built for one question, because most changes ask none.
    fn index(&self) -> Packets<'a> {
        Packets::new(self.all_packets)
    }
}

/// What a change makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// New versions, only of records that changed.
    pub records: Vec<Record>,
    pub event: EventCode,
    /// "WP-0001 started".
    pub sentence: String,
}

/// One step. `packet` is the packet as last accepted, none for a creation; `mt_id` names the micro-task of a `*Mt` change.
///
/// Errors: HSK-404-WP and HSK-404-MT; HSK-400-INVALID-INPUT for a field; HSK-409-GATE-NOT-PASSED naming the gate;
/// HSK-409-VERSION-CONFLICT when a packet to be made exists; HSK-409-ILLEGAL-TRANSITION for everything else.
pub fn apply(change: &LocusChange, packet: Option<&WorkPacket>, mt_id: Option<&MtId>, ctx: &Context<'_>) -> Outcome<Applied> {
    if let LocusChange::CreateWp { new } = change {
        return packet::create(new, packet, ctx);
    }
    let packet = packet.filter(|p| p.tombstone.is_none()).ok_or_else(|| Failure::new(Code::NotFoundWp, "there is no such packet"))?;
    match change {
        LocusChange::CreateWp { .. } => unreachable!("handled above"),
        LocusChange::UpdateWp { set } => packet::update(set, packet, ctx),
        LocusChange::MakeReady => packet::make_ready(packet, ctx),
        LocusChange::GateWp { gate, result, reason, inputs } => packet::gate(*gate, *result, reason.as_deref(), inputs.as_ref(), packet, ctx),
        LocusChange::StartWp => packet::start(packet, ctx),
        LocusChange::BlockWp { reason } => packet::block(reason, packet, ctx),
        LocusChange::UnblockWp { reason } => packet::unblock(reason.as_deref(), packet, ctx),
        LocusChange::HoldWp { reason } => packet::hold(reason, packet, ctx),
        LocusChange::ReleaseWp { reason } => packet::release(reason, packet, ctx),
        LocusChange::CloseWp { verdict } => packet::close(verdict.as_deref(), packet, ctx),
        LocusChange::CancelWp { reason } => packet::cancel(reason, packet, ctx),
        LocusChange::ReopenWp { reason, to_in_progress } => packet::reopen(reason, *to_in_progress, packet, ctx),
        LocusChange::DeleteWp { reason } => packet::delete(reason, packet, ctx),
        LocusChange::AcceptEdit { record, .. } => accept::accept(record, packet, ctx),
        // The record stays what it is; only its file is written back.
        LocusChange::RestoreFile { key, .. } => Ok(Applied { records: Vec::new(), event: EventCode::DriftSettled, sentence: format!("{key}: the accepted version is written back") }),
        LocusChange::AddNote { note_type, body } => packet::add_note(*note_type, body, packet, ctx),
        LocusChange::AddDependency { kind, to_wp_id } => dependency::add(*kind, to_wp_id, packet, ctx),
        LocusChange::RemoveDependency { kind, to_wp_id } => dependency::remove(*kind, to_wp_id, packet, ctx),
        LocusChange::RegisterMts { micro_tasks } => micro_task::register(micro_tasks, packet, ctx),
        LocusChange::StartMt
        | LocusChange::CompleteMt { .. }
        | LocusChange::FailMt { .. }
        | LocusChange::BlockMt { .. }
        | LocusChange::SkipMt { .. }
        | LocusChange::ReopenMt { .. } => micro_task::step(change, packet, mt_id, ctx),
    }
}

/// The pairs of DATA 1. Conditions come on top; a pair that is not here is never made.
pub fn is_legal_move(from: WpStatus, to: WpStatus) -> bool {
    use WpStatus::{Blocked, Cancelled, Done, Gated, InProgress, Ready, Stub};
    matches!(
        (from, to),
        (Stub, Ready | Cancelled)
            | (Ready, InProgress | Blocked | Gated | Cancelled)
            | (InProgress, Blocked | Gated | Done | Cancelled)
            | (Blocked | Gated, Ready | InProgress | Cancelled)
            | (Done | Cancelled, Ready | InProgress)
    )
}

/// The pairs of DATA 1 for a micro-task. Completed and skipped are left by reopening only.
pub fn is_legal_mt_move(from: MtStatus, to: MtStatus) -> bool {
    use MtStatus::{Blocked, Completed, Failed, InProgress, Pending, Skipped};
    matches!(
        (from, to),
        (Pending | Blocked | Failed, InProgress | Skipped)
            | (InProgress, Completed | Failed | Blocked)
            | (Completed | Skipped, Pending)
    )
}

/// True when the result was given for another state than the one at hand.
pub fn is_void(result: &GateResult, now: Option<&GateInputs>) -> bool {
    match (&result.inputs, now) {
        (Some(then), Some(now)) => then != now,
        _ => false,
    }
}

/// The next id in the row WP-0001, WP-0002: one above the highest, so that no id of a deleted packet is given twice.
pub fn fresh_wp_id<'a>(existing: impl IntoIterator<Item = &'a WpId>) -> WpId {
    let highest = existing.into_iter().filter_map(|id| numbered(id.as_str(), "WP-")).max().unwrap_or(0);
    WpId::parse(&format!("WP-{:04}", highest + 1)).expect("WP- and digits is a packet id")
}

/// The number of an id that is only prefix and digits. Twelve digits bound it, so that one more always fits.
fn numbered(id: &str, prefix: &str) -> Option<u64> {
    let digits = id.strip_prefix(prefix)?;
    if digits.is_empty() || digits.len() > 12 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

fn illegal(message: impl Into<String>) -> Failure {
    Failure::new(Code::IllegalTransition, message)
}

/// "a, b, c and 4 more".
pub(super) fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 5;
    let text = items.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN { format!("{text} and {} more", items.len() - SHOWN) } else { text }
}
