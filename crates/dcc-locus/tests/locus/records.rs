//! Records: publication, roll-forward, drift.

use dcc_core::event::EventCode;
use dcc_core::locus::change::NewMicroTask;
use dcc_core::locus::{LocusChange, MtFiles, Record, RecordKey, WpStatus};
use dcc_core::op::Op;
use dcc_core::plans::LocusPlan;
use dcc_core::ports::{EventFilter, Locus as _, Order, Recorder as _};
use dcc_core::{Code, Sha256Hex};
use dcc_locus::LocusStore;
use serde_json::json;

use crate::support::{World, cleared, create, record_bytes, scribble, wp};

fn key(id: &str) -> RecordKey {
    RecordKey::Packet { wp_id: wp(id) }
}

fn micro_task(name: &str) -> NewMicroTask {
    NewMicroTask {
        mt_id: None,
        name: name.into(),
        scope: String::new(),
        files: MtFiles::default(),
        done_criteria: vec!["x".into()],
        depends_on: Vec::new(),
        verify: Vec::new(),
    }
}

#[test]
fn a_mutation_reaches_the_file_and_the_next_process() {
    let world = World::new();
    world.change("WP-0001", None, &create("WP-0001", "First")).unwrap();
    world.change("WP-0001", None, &LocusChange::RegisterMts { micro_tasks: vec![micro_task("a"), micro_task("b")] }).unwrap();
    world.change("WP-0001", None, &LocusChange::MakeReady).unwrap();
    let entry = world.store.packet(&wp("WP-0001")).unwrap().unwrap();
    assert_eq!((entry.record.status, entry.record.version, entry.drift), (WpStatus::Ready, 2, None));
    assert_eq!(Sha256Hex::of(&std::fs::read(world.packet_path("WP-0001")).unwrap()), entry.sha256);
    assert!(world.gov().join("micro_tasks/WP-0001/MT-002/packet.json").is_file());
    let next = world.reopened();
    assert_eq!(next.packets().unwrap(), world.store.packets().unwrap());
    assert_eq!(next.micro_tasks(&wp("WP-0001")).unwrap().len(), 2);
    assert_eq!(next.drift().unwrap(), []);
}

#[test]
fn ids_are_one_id_without_regard_to_case() {
    let world = World::new();
    world.change("WP-auth", None, &create("WP-auth", "Login")).unwrap();
    assert_eq!(world.store.packet(&wp("WP-AUTH")).unwrap().unwrap().record.wp_id, wp("WP-auth"));
    assert_eq!(world.change("WP-Auth", None, &create("WP-Auth", "Login")).unwrap_err().code, Code::VersionConflict);
}

#[test]
fn a_stale_version_is_refused_at_staging() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let late = world.judge("WP-1", None, &LocusChange::MakeReady).unwrap();
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    assert_eq!(world.store.stage(&late.records[0]).unwrap_err().code, Code::VersionConflict);
    let again = world.judge("WP-2", None, &create("WP-2", "b")).unwrap();
    world.change("WP-2", None, &create("WP-2", "b")).unwrap();
    assert_eq!(world.store.stage(&again.records[0]).unwrap_err().code, Code::VersionConflict);
}

#[test]
fn a_crash_between_event_and_file_is_rolled_forward_at_open() {
    let world = World::new();
    world.accept("WP-1", None, &create("WP-1", "never written")).unwrap();
    assert!(!world.packet_path("WP-1").exists());
    let next = world.reopened();
    assert!(world.packet_path("WP-1").is_file());
    assert_eq!(next.packet(&wp("WP-1")).unwrap().unwrap().drift, None);
    // The first process learns of it through the events, and the predecessor's file is replaced as well.
    assert_eq!(world.store.packets().unwrap(), []);
    let events = world.recorder.read(&EventFilter::default()).unwrap();
    assert_eq!(world.store.catch_up(&events).unwrap(), []);
    world.accept("WP-1", None, &LocusChange::MakeReady).unwrap();
    let next = world.reopened();
    assert_eq!(next.packet(&wp("WP-1")).unwrap().unwrap().record.status, WpStatus::Ready);
    assert!(std::fs::read_to_string(world.packet_path("WP-1")).unwrap().contains("\"status\": \"ready\""));
}

#[test]
fn another_processes_record_is_no_drift() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    world.another_process().change("WP-1", None, &LocusChange::MakeReady).unwrap();
    let seen = world.store.packet(&wp("WP-1")).unwrap().unwrap();
    assert_eq!((seen.record.version, seen.drift), (2, None));
    // Old events fed again change nothing.
    let events = world.recorder.read(&EventFilter { limit: 1, ..EventFilter::default() }).unwrap();
    assert_eq!(world.store.catch_up(&events).unwrap(), []);
    assert_eq!(world.store.packet(&wp("WP-1")).unwrap().unwrap().record.version, 2);
}

#[test]
fn edited_files_are_drift_until_restored() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let good = std::fs::read_to_string(world.packet_path("WP-1")).unwrap();
    let cases = [
        (good.replace("\"title\": \"a\"", "\"title\": \"b\""), "title differ"),
        (good.replace("\"status\": \"stub\"", "\"status\": \"finished\""), "unknown variant `finished`"),
        (good.replace("\"schema_version\": \"1\"", "\"schema_version\": \"2\""), "schema_version \"2\""),
        (good[..good.len() / 2].to_owned(), "cut off"),
        (good.replacen('{', "{,", 1), "line 1"),
        (good.replace("\"wp_id\": \"WP-1\"", "\"wp_id\": \"WP-7\""), "holds the record WP-7"),
        (good.replace('\n', "\n "), "another layout"),
        (good.replacen('{', "{\"color\": 1,", 1), "unknown field `color`"),
        (String::new(), "cut off"),
    ];
    for (text, says) in cases {
        scribble(&world.packet_path("WP-1"), &text);
        for store in [&world.store, &world.reopened()] {
            let entry = store.packet(&wp("WP-1")).unwrap().unwrap();
            let why = entry.drift.expect(says);
            assert!(why.contains(says), "{why:?} does not say {says:?}");
            assert!(why.contains("version 1 goes on being used"), "{why}");
            assert_eq!(entry.record.title, "a");
            assert_eq!(store.drift().unwrap(), [("WP-1".to_owned(), why)]);
        }
        assert_eq!(std::fs::read_to_string(world.packet_path("WP-1")).unwrap(), text, "drift is never overwritten");
        world.restore("WP-1").unwrap();
        assert_eq!(std::fs::read_to_string(world.packet_path("WP-1")).unwrap(), good);
        assert_eq!(world.store.packet(&wp("WP-1")).unwrap().unwrap().drift, None);
    }
    assert_eq!(world.restore("WP-9").unwrap_err().code, Code::NotFoundWp);
}

#[test]
fn both_sides_of_an_edit_are_shown_and_only_what_was_shown_is_replaced() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    assert_eq!(world.store.drifted(&key("WP-1")).unwrap(), None);
    let good = std::fs::read_to_string(world.packet_path("WP-1")).unwrap();
    scribble(&world.packet_path("WP-1"), good.replace("\"title\": \"a\"", "\"title\": \"b\""));
    let seen = world.store.drifted(&key("WP-1")).unwrap().unwrap();
    let changed: Vec<String> = seen.hunks.iter().flat_map(|h| &h.lines).filter(|l| l.sign != ' ').map(|l| format!("{}{}", l.sign, l.text.trim())).collect();
    assert_eq!(changed, ["-\"title\": \"a\",", "+\"title\": \"b\","]);
    assert!(matches!(&seen.edited, Ok(Record::Packet(p)) if p.title == "b"));
    // It changes again before it is written back.
    let shown = seen.found_sha256();
    scribble(&world.packet_path("WP-1"), "somebody goes on writing");
    let plan = |change| LocusPlan { op: Op::LocusAcceptEdit, wp_id: wp("WP-1"), mt_id: None, change, base: Vec::new(), sentence: String::new() };
    let restore = LocusChange::RestoreFile { key: "WP-1".into(), found_sha256: shown };
    assert_eq!(world.store.restore(cleared(plan(restore.clone())), &key("WP-1"), shown).unwrap_err().code, Code::StalePreview);
    assert_eq!(std::fs::read(world.packet_path("WP-1")).unwrap(), b"somebody goes on writing");
    assert_eq!(world.store.restore(cleared(plan(restore)), &key("WP-2"), shown).unwrap_err().code, Code::Underdeclared);
    let why = world.store.drifted(&key("WP-1")).unwrap().unwrap().edited.unwrap_err();
    assert!(why.contains("line 1 column 1"), "{why}");
}

#[test]
fn an_accepted_edit_is_rolled_forward_after_a_crash() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let good = std::fs::read_to_string(world.packet_path("WP-1")).unwrap();
    scribble(&world.packet_path("WP-1"), good.replace("\"title\": \"a\"", "\"title\": \"b\""));
    let seen = world.store.drifted(&key("WP-1")).unwrap().unwrap();
    let change = LocusChange::AcceptEdit { found_sha256: seen.found_sha256().unwrap(), record: Box::new(seen.edited.unwrap()) };
    let applied = world.judge("WP-1", None, &change).unwrap();
    let mut staged = world.store.stage(&applied.records[0]).unwrap();
    staged.edited = Some(Sha256Hex::of(&std::fs::read(world.packet_path("WP-1")).unwrap()));
    world.record(applied.event, json!({ "records": [staged] }));
    // The process ends here: the file still holds the edit.
    let next = world.reopened();
    let entry = next.packet(&wp("WP-1")).unwrap().unwrap();
    assert_eq!((entry.record.title.as_str(), entry.record.version, entry.drift), ("b", 2, None));
    assert_eq!(Sha256Hex::of(&std::fs::read(world.packet_path("WP-1")).unwrap()), entry.sha256);
}

#[test]
fn publishing_over_an_edit_accepts_the_record_and_reports_drift() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    scribble(&world.packet_path("WP-1"), "mine");
    assert_eq!(world.change("WP-1", None, &LocusChange::MakeReady).unwrap_err().code, Code::Drift);
    assert_eq!(std::fs::read(world.packet_path("WP-1")).unwrap(), b"mine");
    let entry = world.store.packet(&wp("WP-1")).unwrap().unwrap();
    assert_eq!(entry.record.status, WpStatus::Ready);
    assert!(entry.drift.is_some());
    world.restore("WP-1").unwrap();
    assert_eq!(world.reopened().packet(&wp("WP-1")).unwrap().unwrap().drift, None);
}

#[test]
fn a_publication_that_failed_is_finished_before_the_next_version() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let old = std::fs::read(world.packet_path("WP-1")).unwrap();
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    scribble(&world.packet_path("WP-1"), old);
    assert!(world.store.packet(&wp("WP-1")).unwrap().unwrap().drift.is_some());
    world.change("WP-1", None, &LocusChange::HoldWp { reason: "x".into() }).unwrap();
    let entry = world.store.packet(&wp("WP-1")).unwrap().unwrap();
    assert_eq!((entry.record.version, entry.drift), (3, None));
}

#[test]
fn files_that_no_event_names_are_reported_and_not_used() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let other = record_bytes(&world.judge("WP-2", None, &create("WP-2", "smuggled")).unwrap());
    scribble(&world.packet_path("WP-2"), other);
    scribble(&world.packet_path("not a packet"), "{}");
    scribble(&world.gov().join("micro_tasks/WP-1/MT-001/packet.json"), "{");
    let found = world.store.catch_up(&[]).unwrap();
    let of = |key: &str| found.iter().find(|(k, _)| k == key).map(|(_, why)| why.as_str()).unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(of("WP-2").contains("not accepted"));
    assert!(of("WP-1/MT-001").contains("cut off"));
    assert!(of("work_packets/not a packet/packet.json").contains("not accepted"));
    assert_eq!(world.store.packets().unwrap().len(), 1);
    // Creating it properly meets the stranger's file: accepted, and the file left alone.
    assert_eq!(world.change("WP-2", None, &create("WP-2", "mine")).unwrap_err().code, Code::Drift);
    assert_eq!(world.store.packet(&wp("WP-2")).unwrap().unwrap().record.title, "mine");
}

#[test]
fn a_deleted_file_comes_back_from_its_artifact() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    std::fs::remove_file(world.packet_path("WP-1")).unwrap();
    assert!(world.store.packet(&wp("WP-1")).unwrap().unwrap().drift.unwrap().contains("is missing"));
    world.reopened();
    assert!(world.packet_path("WP-1").is_file());
    assert_eq!(world.store.packet(&wp("WP-1")).unwrap().unwrap().drift, None);
}

#[test]
fn lost_canon_is_said_and_not_replaced() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    std::fs::remove_file(world.packet_path("WP-1")).unwrap();
    world.artifacts.0.lock().unwrap().clear();
    let next = world.reopened();
    assert_eq!(next.packet(&wp("WP-1")).unwrap_err().code, Code::Integrity);
    assert!(next.drift().unwrap()[0].1.contains("neither on disk nor an artifact"));
    assert!(!world.packet_path("WP-1").exists());
}

#[test]
#[cfg(unix)]
fn symbolic_links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "a")).unwrap();
    let outside = world.dir.path().join("outside");
    scribble(&outside.join("packet.json"), "precious");
    // The file is a link.
    let path = world.packet_path("WP-1");
    std::fs::remove_file(&path).unwrap();
    symlink(outside.join("packet.json"), &path).unwrap();
    assert!(world.store.packet(&wp("WP-1")).unwrap().unwrap().drift.unwrap().contains("symbolic link"));
    assert_eq!(world.change("WP-1", None, &LocusChange::MakeReady).unwrap_err().code, Code::Drift);
    // The directory is a link.
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    symlink(&outside, path.parent().unwrap()).unwrap();
    assert!(world.restore("WP-1").is_err());
    world.reopened();
    assert_eq!(std::fs::read_to_string(outside.join("packet.json")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    // gov/ itself is a link.
    let link = world.dir.path().join("link");
    symlink(world.gov(), &link).unwrap();
    assert!(LocusStore::open(&link, world.recorder.clone(), world.artifacts.clone()).is_err());
}

#[test]
fn a_clearance_covers_its_packet_only() {
    let world = World::new();
    let applied = world.judge("WP-1", None, &create("WP-1", "a")).unwrap();
    let staged = vec![world.store.stage(&applied.records[0]).unwrap()];
    world.record(EventCode::WpCreated, json!({ "records": staged }));
    let plan = LocusPlan { op: Op::LocusStartWp, wp_id: wp("WP-2"), mt_id: None, change: LocusChange::StartWp, base: Vec::new(), sentence: String::new() };
    assert_eq!(world.store.publish(cleared(plan), &staged).unwrap_err().code, Code::Underdeclared);
    assert!(!world.packet_path("WP-1").exists());
    assert_eq!(world.recorder.read(&EventFilter { order: Order::Descending, ..EventFilter::default() }).unwrap().len(), 1);
}
