//! All pairs, by table and by random walk.

use proptest::prelude::*;

use super::{World, job, mt, new_mt, new_packet, statement, wp};
use crate::Code;
use crate::locus::change::LocusChange;
use crate::locus::record::{DependencyKind, GateName, GateStatus, MtStatus, Record, WpStatus};
use crate::locus::rules::{Packets, is_legal_move, is_legal_mt_move};

/// DATA 1, written down a second time, by hand.
const LEGAL: &[(&str, &str)] = &[
    ("stub", "ready"),
    ("stub", "cancelled"),
    ("ready", "in_progress"),
    ("ready", "blocked"),
    ("ready", "gated"),
    ("ready", "cancelled"),
    ("in_progress", "blocked"),
    ("in_progress", "gated"),
    ("in_progress", "done"),
    ("in_progress", "cancelled"),
    ("blocked", "ready"),
    ("blocked", "in_progress"),
    ("blocked", "cancelled"),
    ("gated", "ready"),
    ("gated", "in_progress"),
    ("gated", "cancelled"),
    ("done", "ready"),
    ("done", "in_progress"),
    ("cancelled", "ready"),
    ("cancelled", "in_progress"),
];

#[test]
fn the_table_of_pairs_is_the_document() {
    for from in WpStatus::ALL {
        for to in WpStatus::ALL {
            assert_eq!(is_legal_move(*from, *to), LEGAL.contains(&(from.as_str(), to.as_str())), "{from:?} {to:?}");
        }
    }
}

/// Every change against every status: what it makes is in the table, or it is refused with the right code.
#[test]
fn each_move_from_each_status() {
    let reason = || "because".to_owned();
    let moves: Vec<(LocusChange, WpStatus, &[WpStatus])> = vec![
        (LocusChange::MakeReady, WpStatus::Ready, &[WpStatus::Stub]),
        (LocusChange::StartWp, WpStatus::InProgress, &[WpStatus::Ready]),
        (LocusChange::BlockWp { reason: reason() }, WpStatus::Blocked, &[WpStatus::Ready, WpStatus::InProgress]),
        (LocusChange::UnblockWp { reason: None }, WpStatus::Ready, &[WpStatus::Blocked]),
        (LocusChange::HoldWp { reason: reason() }, WpStatus::Gated, &[WpStatus::Ready, WpStatus::InProgress]),
        (LocusChange::ReleaseWp { reason: reason() }, WpStatus::Ready, &[WpStatus::Gated]),
        (LocusChange::CloseWp { verdict: None }, WpStatus::Done, &[WpStatus::InProgress]),
        (
            LocusChange::CancelWp { reason: reason() },
            WpStatus::Cancelled,
            &[WpStatus::Stub, WpStatus::Ready, WpStatus::InProgress, WpStatus::Blocked, WpStatus::Gated],
        ),
        (LocusChange::ReopenWp { reason: reason(), to_in_progress: false }, WpStatus::Ready, &[WpStatus::Done, WpStatus::Cancelled]),
    ];
    for status in WpStatus::ALL {
        let mut world = World::with(&["WP-1"]);
        world.drive("WP-1", *status);
        assert_eq!(world.packet("WP-1").status, *status);
        // Gates are out of the way, so that only the pair decides.
        for packet in &mut world.packets {
            packet.gates.pre_work.status = GateStatus::Pass;
            packet.gates.post_work.status = GateStatus::Pass;
        }
        for (change, to, from) in &moves {
            match world.try_change("WP-1", None, change) {
                Ok(applied) => {
                    assert!(from.contains(status), "{status:?} {change:?}");
                    let Record::Packet(next) = &applied.records[0] else { panic!("a packet changes") };
                    assert_eq!(next.status, *to);
                    assert_eq!(next.version, world.packet("WP-1").version + 1);
                }
                Err(failure) => {
                    assert!(!from.contains(status), "{status:?} {change:?}: {failure}");
                    assert_eq!(failure.code, Code::IllegalTransition, "{status:?} {change:?}");
                    assert!(failure.message.contains("WP-1"));
                }
            }
        }
    }
}

#[test]
fn blocked_and_gated_return_to_where_they_came_from() {
    for (enter, leave) in [
        (LocusChange::BlockWp { reason: "x".into() }, LocusChange::UnblockWp { reason: Some("y".into()) }),
        (LocusChange::HoldWp { reason: "x".into() }, LocusChange::ReleaseWp { reason: "y".into() }),
    ] {
        for from in [WpStatus::Ready, WpStatus::InProgress] {
            let mut world = World::with(&["WP-1"]);
            world.drive("WP-1", from);
            world.change("WP-1", None, enter.clone()).unwrap();
            world.change("WP-1", None, leave.clone()).unwrap();
            assert_eq!(world.packet("WP-1").status, from);
            assert_eq!(world.packet("WP-1").resume_status, None);
            assert_eq!(world.packet("WP-1").notes.len(), 2);
        }
    }
}

#[test]
fn micro_task_pairs() {
    let legal = [
        ("pending", "in_progress"),
        ("pending", "skipped"),
        ("in_progress", "completed"),
        ("in_progress", "failed"),
        ("in_progress", "blocked"),
        ("blocked", "in_progress"),
        ("failed", "in_progress"),
        ("blocked", "skipped"),
        ("failed", "skipped"),
        ("completed", "pending"),
        ("skipped", "pending"),
    ];
    for from in MtStatus::ALL {
        for to in MtStatus::ALL {
            assert_eq!(is_legal_mt_move(*from, *to), legal.contains(&(from.as_str(), to.as_str())), "{from:?} {to:?}");
        }
    }
}

fn any_change() -> impl Strategy<Value = LocusChange> {
    let id = (1..4u8).prop_map(|n| wp(&format!("WP-{n}")));
    let kind = (0..DependencyKind::ALL.len()).prop_map(|n| DependencyKind::ALL[n]);
    let reason = prop_oneof![4 => Just("why".to_owned()), 1 => Just(String::new())];
    let result = (0..GateStatus::ALL.len()).prop_map(|n| GateStatus::ALL[n]);
    prop_oneof![
        Just(LocusChange::MakeReady),
        Just(LocusChange::StartWp),
        Just(LocusChange::CloseWp { verdict: None }),
        (any::<bool>(), result, reason.clone()).prop_map(|(pre, result, reason)| LocusChange::GateWp {
            gate: if pre { GateName::PreWork } else { GateName::PostWork },
            result,
            reason: Some(reason),
            inputs: None,
        }),
        reason.clone().prop_map(|reason| LocusChange::BlockWp { reason }),
        Just(LocusChange::UnblockWp { reason: None }),
        reason.clone().prop_map(|reason| LocusChange::HoldWp { reason }),
        reason.clone().prop_map(|reason| LocusChange::ReleaseWp { reason }),
        reason.clone().prop_map(|reason| LocusChange::CancelWp { reason }),
        (reason.clone(), any::<bool>()).prop_map(|(reason, to_in_progress)| LocusChange::ReopenWp { reason, to_in_progress }),
        (kind.clone(), id.clone()).prop_map(|(kind, to_wp_id)| LocusChange::AddDependency { kind, to_wp_id }),
        (kind, id).prop_map(|(kind, to_wp_id)| LocusChange::RemoveDependency { kind, to_wp_id }),
        Just(LocusChange::RegisterMts { micro_tasks: vec![new_mt("a"), new_mt("b")] }),
        Just(LocusChange::StartMt),
        prop_oneof![Just(statement("seen")), Just(job(Some(0), Some(3))), Just(job(Some(0), Some(0))), Just(job(None, None))]
            .prop_map(|evidence| LocusChange::CompleteMt { evidence }),
        reason.clone().prop_map(|reason| LocusChange::FailMt { reason }),
        reason.clone().prop_map(|reason| LocusChange::BlockMt { reason }),
        reason.prop_map(|reason| LocusChange::SkipMt { reason }),
        Just(LocusChange::ReopenMt { reason: None }),
        Just(LocusChange::CreateWp { new: new_packet("WP-1") }),
    ]
}

/// What must hold of every state that can be reached.
fn check(world: &World) {
    let index = Packets::new(&world.packets);
    for packet in &world.packets {
        let id = &packet.wp_id;
        assert_eq!(packet.resume_status.is_some(), matches!(packet.status, WpStatus::Blocked | WpStatus::Gated), "{id}");
        assert!(packet.dependencies.iter().all(|d| d.to_wp_id != *id));
        for other in &world.packets {
            let circle = other.wp_id != *id && index.waits_over_steps(id, &other.wp_id) && index.waits_over_steps(&other.wp_id, id);
            assert!(!circle, "{id} and {} wait for each other", other.wp_id);
        }
        if packet.status == WpStatus::Done {
            assert!(packet.gates.pre_work.is_passed() && packet.gates.post_work.is_passed());
            let own: Vec<_> = world.micro_tasks.iter().filter(|m| m.wp_id == *id).collect();
            assert!(own.iter().all(|m| matches!(m.status, MtStatus::Completed | MtStatus::Skipped)));
        }
    }
    for task in &world.micro_tasks {
        assert_eq!(task.evidence.is_some(), task.status == MtStatus::Completed);
    }
}

proptest! {
    #[test]
    fn random_changes_never_make_an_illegal_pair(steps in prop::collection::vec((1..4u8, 1..4u8, any_change()), 1..60)) {
        let mut world = World::with(&["WP-1", "WP-2", "WP-3"]);
        for (packet, task, change) in steps {
            let id = format!("WP-{packet}");
            let task = format!("MT-{task:03}");
            let before = world.clone();
            if let Ok(applied) = world.change(&id, Some(&task), change) {
                for record in &applied.records {
                    match record {
                        Record::Packet(p) => {
                            let from = before.packet(&id).status;
                            prop_assert!(from == p.status || is_legal_move(from, p.status));
                        }
                        Record::MicroTask(m) => {
                            let from = before.micro_tasks.iter().find(|o| o.wp_id == m.wp_id && o.mt_id == m.mt_id).map(|o| o.status);
                            prop_assert!(from.map_or(m.status == MtStatus::Pending, |from| is_legal_mt_move(from, m.status)));
                        }
                    }
                }
                check(&world);
            }
        }
    }

    #[test]
    fn fresh_ids_are_new(numbers in prop::collection::vec(0..5000u32, 0..20)) {
        let ids: Vec<_> = numbers.iter().map(|n| wp(&format!("WP-{n:04}"))).collect();
        let fresh = crate::locus::rules::fresh_wp_id(&ids);
        prop_assert!(ids.iter().all(|id| id.folded() != fresh.folded()));
    }
}

#[test]
fn fresh_ids_start_at_one_and_pass_over_names() {
    assert_eq!(crate::locus::rules::fresh_wp_id(&[]), wp("WP-0001"));
    assert_eq!(crate::locus::rules::fresh_wp_id(&[wp("WP-auth"), wp("WP-0041"), wp("WP-9999-x")]), wp("WP-0042"));
    let _ = mt("MT-001");
}
