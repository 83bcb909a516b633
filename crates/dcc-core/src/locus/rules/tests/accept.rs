//! Edits by hand: each legal part through its own step, everything else refused by name. Deletion.

use super::{World, mt, new_mt, statement, wp};
use crate::event::EventCode;
use crate::locus::change::LocusChange;
use crate::locus::record::{GateName, GateStatus, MicroTask, MtStatus, NoteType, Record, WorkPacket, WpStatus};
use crate::time::Timestamp;
use crate::{Code, Sha256Hex};

fn edit(record: Record) -> LocusChange {
    LocusChange::AcceptEdit { found_sha256: Sha256Hex::ZERO, record: Box::new(record) }
}

fn edited(world: &World, id: &str, change: impl FnOnce(&mut WorkPacket)) -> LocusChange {
    let mut packet = world.packet(id).clone();
    change(&mut packet);
    edit(Record::Packet(Box::new(packet)))
}

fn edited_mt(world: &World, id: &str, change: impl FnOnce(&mut MicroTask)) -> LocusChange {
    let mut task = world.micro_tasks.iter().find(|m| m.mt_id == mt(id)).unwrap().clone();
    change(&mut task);
    edit(Record::MicroTask(Box::new(task)))
}

/// A packet in progress with two micro-tasks.
fn started() -> World {
    let mut world = World::with(&["WP-1", "WP-2"]);
    world.change("WP-1", None, LocusChange::RegisterMts { micro_tasks: vec![new_mt("a"), new_mt("b")] }).unwrap();
    world.change("WP-1", None, LocusChange::MakeReady).unwrap();
    world.gate("WP-1", GateName::PreWork);
    world.change("WP-1", None, LocusChange::StartWp).unwrap();
    world
}

#[test]
fn fields_and_a_legal_move_become_the_next_version() {
    let mut world = World::with(&["WP-1"]);
    let change = edited(&world, "WP-1", |p| {
        p.title = "  Another title ".into();
        p.labels = vec!["x".into()];
        p.due_at = Some(Timestamp(9));
        p.status = WpStatus::Ready;
        p.version = 2;
    });
    let applied = world.change("WP-1", None, change).unwrap();
    assert_eq!(applied.event, EventCode::WpEditAccepted);
    assert!(applied.sentence.contains("due_at, labels, status, title"), "{}", applied.sentence);
    let packet = world.packet("WP-1").clone();
    assert_eq!((packet.title.as_str(), packet.status, packet.version), ("Another title", WpStatus::Ready, 2));
    let change = edited(&world, "WP-1", |p| p.due_at = None);
    world.change("WP-1", None, change).unwrap();
    assert_eq!(world.packet("WP-1").due_at, None);
}

#[test]
fn what_no_operation_sets_is_refused_by_name() {
    let world = started();
    type Edit = fn(&mut WorkPacket);
    let cases: [(Edit, Code, &str); 10] = [
        (|p| p.gates.post_work.status = GateStatus::Pass, Code::IllegalTransition, "gates"),
        (|p| p.notes.clear(), Code::InvalidInput, "nothing would change"),
        (|p| p.reporter = "somebody".into(), Code::IllegalTransition, "reporter"),
        (|p| p.status_reason = Some("because".into()), Code::IllegalTransition, "status_reason"),
        (|p| p.status = WpStatus::Done, Code::IllegalTransition, "only by closing"),
        (|p| p.status = WpStatus::Gated, Code::IllegalTransition, "only by an explicit hold"),
        (|p| p.status = WpStatus::Stub, Code::IllegalTransition, "cannot become stub"),
        (|p| p.status = WpStatus::Blocked, Code::InvalidInput, "reason is missing"),
        (|p| p.tombstone = Some(Timestamp(1)), Code::IllegalTransition, "tombstone"),
        (|p| p.acceptance_criteria.clear(), Code::InvalidInput, "at least one acceptance criterion"),
    ];
    for (change, code, says) in cases {
        let failure = world.refuse("WP-1", None, &edited(&world, "WP-1", change));
        assert!(failure.code == code && failure.message.contains(says), "{says}: {failure}");
    }
    let stale = world.refuse("WP-1", None, &edited(&world, "WP-1", |p| p.version = 1));
    assert_eq!(stale.code, Code::VersionConflict);
    let same = world.refuse("WP-1", None, &edited(&world, "WP-1", |_| {}));
    assert!(same.hint.unwrap().contains("restore"), "an edit of layout only");
    let mut other = world.packet("WP-2").clone();
    other.title = "x".into();
    assert_eq!(world.refuse("WP-1", None, &edit(Record::Packet(Box::new(other)))).code, Code::InvalidInput);
}

#[test]
fn moves_keep_their_conditions() {
    let mut world = World::with(&["WP-1"]);
    world.change("WP-1", None, LocusChange::MakeReady).unwrap();
    let start = |world: &World| edited(world, "WP-1", |p| p.status = WpStatus::InProgress);
    assert_eq!(world.refuse("WP-1", None, &start(&world)).code, Code::GateNotPassed);
    world.gate("WP-1", GateName::PreWork);
    world.change("WP-1", None, start(&world)).unwrap();
    assert!(world.packet("WP-1").started_at.is_some(), "the step sets the time");
    let block = edited(&world, "WP-1", |p| { p.status = WpStatus::Blocked; p.status_reason = Some("waits".into()); });
    world.change("WP-1", None, block).unwrap();
    assert_eq!(world.packet("WP-1").resume_status, Some(WpStatus::InProgress));
    let elsewhere = world.refuse("WP-1", None, &edited(&world, "WP-1", |p| p.status = WpStatus::Ready));
    assert!(elsewhere.message.contains("leads to in_progress"), "{elsewhere}");
    let cancel = edited(&world, "WP-1", |p| { p.status = WpStatus::Cancelled; p.status_reason = Some("no need".into()); });
    world.running = 1;
    assert_eq!(world.refuse("WP-1", None, &cancel).code, Code::IllegalTransition);
    world.running = 0;
    world.change("WP-1", None, cancel).unwrap();
    // A closed packet is reopened and changed in one edit, with the reason written down.
    assert_eq!(world.refuse("WP-1", None, &edited(&world, "WP-1", |p| p.title = "x".into())).code, Code::IllegalTransition);
    let reopen = edited(&world, "WP-1", |p| { p.status = WpStatus::Ready; p.status_reason = Some("again".into()); p.title = "x".into(); });
    world.change("WP-1", None, reopen).unwrap();
    assert_eq!((world.packet("WP-1").status, world.packet("WP-1").title.as_str()), (WpStatus::Ready, "x"));
}

#[test]
fn a_micro_task_is_edited_by_the_same_rules() {
    let mut world = started();
    let fields = edited_mt(&world, "MT-002", |m| { m.name = "named anew".into(); m.depends_on = vec![mt("MT-001")]; m.max_iterations = 20; });
    assert_eq!(world.change("WP-1", Some("MT-002"), fields).unwrap().event, EventCode::WpEditAccepted);
    type Edit = fn(&mut MicroTask);
    let cases: [(&str, Edit, Code, &str); 7] = [
        ("MT-001", |m| m.depends_on = vec![mt("MT-002")], Code::IllegalTransition, "wait for itself"),
        ("MT-001", |m| m.max_iterations = 21, Code::InvalidInput, "between 1 and 20"),
        ("MT-001", |m| m.done_criteria.clear(), Code::InvalidInput, "1 to 8"),
        ("MT-001", |m| m.started_at = Some(Timestamp(1)), Code::IllegalTransition, "started_at"),
        ("MT-001", |m| m.status = MtStatus::Completed, Code::IllegalTransition, "cannot become completed"),
        ("MT-001", |m| m.status = MtStatus::Skipped, Code::InvalidInput, "reason is missing"),
        ("MT-002", |m| m.status = MtStatus::InProgress, Code::IllegalTransition, "waits for MT-001"),
    ];
    for (id, change, code, says) in cases {
        let failure = world.refuse("WP-1", Some(id), &edited_mt(&world, id, change));
        assert!(failure.code == code && failure.message.contains(says), "{says}: {failure}");
    }
    world.change("WP-1", Some("MT-001"), LocusChange::StartMt).unwrap();
    let by_job = edited_mt(&world, "MT-001", |m| { m.status = MtStatus::Completed; m.evidence = Some(super::job(Some(0), Some(3))); });
    assert_eq!(world.refuse("WP-1", Some("MT-001"), &by_job).code, Code::GateNotPassed);
    let stated = edited_mt(&world, "MT-001", |m| { m.status = MtStatus::Completed; m.evidence = Some(statement("I saw it")); });
    world.change("WP-1", Some("MT-001"), stated).unwrap();
    assert_eq!(world.micro_tasks[0].status, MtStatus::Completed);
    assert_eq!(world.refuse("WP-1", None, &edited_mt(&world, "MT-001", |m| m.mt_id = mt("MT-009"))).code, Code::NotFoundMt);
}

#[test]
fn a_deleted_packet_leaves_a_tombstone_and_keeps_its_id() {
    let mut world = World::with(&["WP-1", "WP-2"]);
    let delete = |reason: &str| LocusChange::DeleteWp { reason: reason.into() };
    assert_eq!(world.refuse("WP-1", None, &delete(" ")).code, Code::InvalidInput);
    world.pending_approvals = 1;
    assert_eq!(world.refuse("WP-1", None, &delete("made by mistake")).code, Code::IllegalTransition);
    world.pending_approvals = 0;
    assert_eq!(world.change("WP-1", None, delete("made by mistake")).unwrap().event, EventCode::WpDeleted);
    let gone = world.packet("WP-1");
    assert!(gone.tombstone.is_some() && gone.notes.last().is_some_and(|n| n.note_type == NoteType::Decision));
    assert_eq!(world.refuse("WP-1", None, &delete("again")).code, Code::NotFoundWp);
    let again = LocusChange::CreateWp { new: super::new_packet("wp-1".replace("wp", "WP").as_str()) };
    assert_eq!(world.refuse("WP-1", None, &again).code, Code::VersionConflict);
    assert_eq!(super::super::fresh_wp_id(world.packets.iter().map(|p| &p.wp_id)), wp("WP-0003"));
    let started = started();
    assert!(started.refuse("WP-1", None, &delete("x")).hint.unwrap().contains("cancel"));
}
