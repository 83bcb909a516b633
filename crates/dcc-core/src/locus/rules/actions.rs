//! What may be done now, and why not: each change run dry through the step that authorises it.

use crate::failure::Failure;
use crate::ids::{JobId, MtId};
use crate::locus::change::{LocusChange, NewMicroTask, PacketFields};
use crate::locus::record::{DependencyKind, Evidence, GateName, GateStatus, MtFiles, NoteType, WorkPacket};
use crate::locus::rules::{Context, apply};
use crate::op::Op;

/// One thing a surface may offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// The change: `start_wp`; `make_ready`, `gate_pre_work`, `gate_post_work`, `reopen_wp_in_progress` are told apart.
    pub name: &'static str,
    pub op: Op,
    /// Why not; none when it may be done.
    pub refused: Option<Failure>,
}

/// The packet's actions, or the micro-task's when one is named.
pub fn allowed_actions(packet: &WorkPacket, mt_id: Option<&MtId>, ctx: &Context<'_>) -> Vec<Action> {
    let samples = if mt_id.is_some() { micro_task_samples(ctx) } else { packet_samples(packet, ctx) };
    samples
        .into_iter()
        .map(|(name, op, change)| Action { name, op, refused: change.and_then(|change| apply(&change, Some(packet), mt_id, ctx).err()) })
        .collect()
}

type Sample = (&'static str, Op, Option<LocusChange>);

fn packet_samples(packet: &WorkPacket, ctx: &Context<'_>) -> Vec<Sample> {
    let reason = || "-".to_owned();
    let gate = |gate| Some(LocusChange::GateWp { gate, result: GateStatus::Pass, reason: None, inputs: None });
    let other_priority = PacketFields { priority: Some(u8::from(packet.priority == 0)), ..PacketFields::default() };
    let one = NewMicroTask {
        mt_id: None,
        name: reason(),
        scope: String::new(),
        files: MtFiles::default(),
        done_criteria: vec![reason()],
        depends_on: Vec::new(),
        verify: Vec::new(),
    };
    // A label to the first other packet would touch every rule but the cycle check, which needs the real target.
    let target = ctx.all_packets.iter().filter(|p| p.tombstone.is_none()).map(|p| &p.wp_id).find(|id| **id != packet.wp_id && !packet.dependencies.iter().any(|d| d.to_wp_id == **id));
    let add = target.map(|to| LocusChange::AddDependency { kind: DependencyKind::Related, to_wp_id: to.clone() });
    let remove = packet.dependencies.first().map(|d| LocusChange::RemoveDependency { kind: d.kind, to_wp_id: d.to_wp_id.clone() });
    let missing = LocusChange::RemoveDependency { kind: DependencyKind::Related, to_wp_id: packet.wp_id.clone() };
    vec![
        ("update_wp", Op::LocusUpdateWp, Some(LocusChange::UpdateWp { set: other_priority })),
        ("make_ready", Op::LocusUpdateWp, Some(LocusChange::MakeReady)),
        ("gate_pre_work", Op::LocusGateWp, gate(GateName::PreWork)),
        ("gate_post_work", Op::LocusGateWp, gate(GateName::PostWork)),
        ("start_wp", Op::LocusStartWp, Some(LocusChange::StartWp)),
        ("block_wp", Op::LocusBlockWp, Some(LocusChange::BlockWp { reason: reason() })),
        ("unblock_wp", Op::LocusUnblockWp, Some(LocusChange::UnblockWp { reason: None })),
        ("hold_wp", Op::LocusHoldWp, Some(LocusChange::HoldWp { reason: reason() })),
        ("release_wp", Op::LocusReleaseWp, Some(LocusChange::ReleaseWp { reason: reason() })),
        ("close_wp", Op::LocusCloseWp, Some(LocusChange::CloseWp { verdict: None })),
        ("cancel_wp", Op::LocusCancelWp, Some(LocusChange::CancelWp { reason: reason() })),
        ("reopen_wp", Op::LocusReopenWp, Some(LocusChange::ReopenWp { reason: reason(), to_in_progress: false })),
        ("reopen_wp_in_progress", Op::LocusReopenWp, Some(LocusChange::ReopenWp { reason: reason(), to_in_progress: true })),
        ("delete_wp", Op::LocusDeleteWp, Some(LocusChange::DeleteWp { reason: reason() })),
        ("add_note", Op::LocusAddNote, Some(LocusChange::AddNote { note_type: NoteType::User, body: reason() })),
        ("add_dependency", Op::LocusAddDependency, add),
        ("remove_dependency", Op::LocusRemoveDependency, Some(remove.unwrap_or(missing))),
        ("register_mts", Op::LocusRegisterMts, Some(LocusChange::RegisterMts { micro_tasks: vec![one] })),
    ]
}

fn micro_task_samples(ctx: &Context<'_>) -> Vec<Sample> {
    let reason = || "-".to_owned();
    let evidence = Evidence {
        job_id: Some(JobId(ctx.note_id.0)),
        command: None,
        exit_code: None,
        tests_run: None,
        commit_oid: None,
        artifact_refs: Vec::new(),
        statement: Some(reason()),
    };
    vec![
        ("start_mt", Op::LocusStartMt, Some(LocusChange::StartMt)),
        ("complete_mt", Op::LocusCompleteMt, Some(LocusChange::CompleteMt { evidence })),
        ("fail_mt", Op::LocusFailMt, Some(LocusChange::FailMt { reason: reason() })),
        ("block_mt", Op::LocusBlockMt, Some(LocusChange::BlockMt { reason: reason() })),
        ("skip_mt", Op::LocusSkipMt, Some(LocusChange::SkipMt { reason: reason() })),
        ("reopen_mt", Op::LocusReopenMt, Some(LocusChange::ReopenMt { reason: None })),
    ]
}
