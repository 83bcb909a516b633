//! The mirror table of DATA 3, row by row.

use dcc_core::Sha256Hex;
use dcc_core::event::EventCode;
use dcc_core::locus::LocusChange;
use dcc_core::ports::{Locus as _, MirrorState};
use serde_json::json;

use crate::support::{World, create, scribble};

fn with_board() -> World {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "One")).unwrap();
    world.change("WP-2", None, &create("WP-2", "Two")).unwrap();
    assert_eq!(world.store.board().unwrap().mirror_state, MirrorState::Stale, "absent, never ours");
    let facts = world.sync();
    assert_eq!((facts.mirror_state, facts.unrecorded), (MirrorState::Synchronized, true));
    assert_eq!(facts.sha256, Some(Sha256Hex::of(world.board().as_bytes())));
    assert!(!world.store.board().unwrap().unrecorded);
    world
}

#[test]
fn it_follows_locus() {
    let world = with_board();
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    assert_eq!(world.store.board().unwrap().mirror_state, MirrorState::Stale);
    assert_eq!(world.sync().mirror_state, MirrorState::Synchronized);
    assert!(world.board().contains("<!-- dcc:lane ready -->\n- **[WP-1]** - [READY_FOR_DEV] - One\n"));
    let before = world.board();
    assert!(!world.sync().unrecorded);
    assert_eq!(world.board(), before);
}

#[test]
fn a_board_that_is_gone_comes_back() {
    let world = with_board();
    let before = world.board();
    std::fs::remove_file(world.board_path()).unwrap();
    let facts = world.store.board().unwrap();
    assert_eq!(facts.mirror_state, MirrorState::Stale);
    assert!(facts.message.unwrap().contains("is gone"));
    world.sync();
    assert_eq!(world.board(), before);
}

#[test]
fn edits_are_left_alone() {
    let world = with_board();
    let edited = world.board().replace("[STUB] - Two", "[VALIDATED] - Two");
    scribble(&world.board_path(), &edited);
    let facts = world.sync();
    assert_eq!(facts.mirror_state, MirrorState::AdvisoryEdit);
    let message = facts.message.unwrap();
    assert!(message.contains("line 9 (- **[WP-2]** - [VALIDATED] - Two) is not Locus's"), "{message}");
    assert!(message.contains("- **[WP-2]** - [STUB] - Two is missing under Stub Backlog"), "{message}");
    assert_eq!(world.board(), edited);
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    assert_eq!(world.sync().mirror_state, MirrorState::NormalizationRequired);
    assert_eq!(world.board(), edited);
    // Taking the edit back makes it ours again.
    scribble(&world.board_path(), edited.replace("[VALIDATED] - Two", "[STUB] - Two"));
    assert_eq!(world.sync().mirror_state, MirrorState::Synchronized);
    assert!(world.board().contains("[READY_FOR_DEV] - One"));
}

#[test]
fn text_around_the_zones_is_no_edit() {
    let world = with_board();
    let mine = format!("Notes of ours\r\n{}the end, no newline", world.board());
    scribble(&world.board_path(), &mine);
    assert_eq!(world.sync().mirror_state, MirrorState::Synchronized);
    assert_eq!(world.board(), mine);
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    assert_eq!(world.sync().mirror_state, MirrorState::Synchronized);
    assert!(world.board().starts_with("Notes of ours\r\n") && world.board().ends_with("the end, no newline"));
    assert!(world.board().contains("[READY_FOR_DEV] - One"));
}

#[test]
fn a_crash_before_the_event_heals() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "One")).unwrap();
    world.sync();
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    world.store.sync_board().unwrap();
    // The event was never written; another process finds the file as it should be and says that it is unrecorded.
    let next = world.reopened();
    let facts = next.board().unwrap();
    assert_eq!((facts.mirror_state, facts.unrecorded), (MirrorState::Synchronized, true));
    // This process remembers what it wrote even without the event.
    world.change("WP-1", None, &LocusChange::HoldWp { reason: "x".into() }).unwrap();
    assert_eq!(world.store.sync_board().unwrap().mirror_state, MirrorState::Synchronized);
}

#[test]
fn events_without_the_zones_hash_compare_whole_files() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "One")).unwrap();
    let facts = world.store.sync_board().unwrap();
    world.record(EventCode::BoardWritten, json!({ "sha256": facts.sha256, "path": facts.path }));
    let next = world.reopened();
    assert!(!next.board().unwrap().unrecorded);
    scribble(&world.board_path(), world.board().replace("One", "1"));
    assert_eq!(next.board().unwrap().mirror_state, MirrorState::AdvisoryEdit);
    world.change("WP-1", None, &LocusChange::MakeReady).unwrap();
    assert_eq!(world.reopened().board().unwrap().mirror_state, MirrorState::NormalizationRequired);
}

#[test]
fn a_board_that_was_never_ours_is_not_touched() {
    let world = World::new();
    world.change("WP-1", None, &create("WP-1", "One")).unwrap();
    scribble(&world.board_path(), "# Their board\n- **[WP-9]** - [READY]\n");
    let facts = world.sync();
    assert_eq!(facts.mirror_state, MirrorState::NormalizationRequired);
    assert!(facts.message.unwrap().contains("not written by DCC"));
    assert_eq!(world.board(), "# Their board\n- **[WP-9]** - [READY]\n");
    scribble(&world.board_path(), "\n");
    assert_eq!(world.sync().mirror_state, MirrorState::Synchronized);
}

#[test]
#[cfg(unix)]
fn what_is_no_text_file_is_never_written() {
    use std::os::unix::fs::symlink;
    let world = with_board();
    let says = |word: &str| {
        let facts = world.sync();
        assert_eq!(facts.mirror_state, MirrorState::NormalizationRequired);
        assert!(facts.message.as_ref().unwrap().contains(word), "{facts:?}");
    };
    scribble(&world.board_path(), b"\0binary");
    says("NUL");
    let large = std::fs::File::options().write(true).open(world.board_path()).unwrap();
    large.set_len(dcc_locus::BOARD_BYTES_MAX + 1).unwrap();
    says("larger than 50 MiB");
    std::fs::remove_file(world.board_path()).unwrap();
    let target = world.dir.path().join("target.md");
    scribble(&target, "theirs");
    symlink(&target, world.board_path()).unwrap();
    says("symbolic link");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "theirs");
    std::fs::remove_file(world.board_path()).unwrap();
    std::fs::create_dir(world.board_path()).unwrap();
    says("is a directory");
    std::fs::remove_dir(world.board_path()).unwrap();
    scribble(&world.board_path(), "<!-- dcc:lane ready -->\n");
    says("line 1: lane ready is never closed");
}
