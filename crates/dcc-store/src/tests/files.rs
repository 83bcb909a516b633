//! The file itself: fresh, taken up, damaged, newer, deleted or exchanged while in use.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dcc_core::Code;
use dcc_core::ports::store::{JobFilter, Store as _};
use rusqlite::Connection;

use super::fixtures::*;
use crate::{Opened, SqliteStore, migrate};

fn scribble(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_fresh_file_is_private_and_an_existing_one_is_taken_up() {
    let Bench { root, store } = Bench::new();
    store.apply(&story(2)).unwrap();
    let (dump, cursor) = (store.dump().unwrap(), store.cursor().unwrap());
    let path = database(root.path());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let health = store.health();
    assert_eq!((health.status.as_str(), health.cursor, health.schema_version), ("ok", cursor, 2));
    drop(store);
    let (store, opened) = open(&path);
    assert_eq!(opened, Opened::Existing);
    assert_eq!((store.dump().unwrap(), store.cursor().unwrap()), (dump, cursor));
    let conn = Connection::open(&path).unwrap();
    assert_eq!(conn.query_row("PRAGMA journal_mode", [], |r| r.get::<_, String>(0)).unwrap(), "wal");
    assert!(conn.prepare("PRAGMA foreign_key_check").unwrap().query([]).unwrap().next().unwrap().is_none());
}

#[test]
fn an_older_schema_and_another_projects_rows_are_dropped_and_fed_again() {
    let Bench { root, store } = Bench::new();
    store.apply(&story(2)).unwrap();
    let dump = store.dump().unwrap();
    drop(store);
    let path = database(root.path());
    migrate::migrate_to(&mut Connection::open(&path).unwrap(), 1).unwrap();
    let (store, opened) = open(&path);
    assert_eq!((opened, store.cursor().unwrap()), (Opened::Fresh, 0));
    store.apply(&story(2)).unwrap();
    assert_eq!(store.dump().unwrap(), dump);
    drop(store);
    let (store, opened) = SqliteStore::open(&path, id(999), Arc::new(StillClock)).unwrap();
    assert_eq!((opened, store.cursor().unwrap()), (Opened::Fresh, 0));
    assert!(store.workspaces().unwrap().is_empty());
}

#[test]
fn a_damaged_file_is_moved_aside_and_never_deleted() {
    let root = tempfile::tempdir().unwrap();
    let path = database(root.path());
    let damages: [&dyn Fn(&Path); 4] = [
        &|p| scribble(p, 0, b"this is no database at all, not even close"),
        &|p| scribble(p, 4096, &vec![0xa5; 40_000]),
        &|p| std::fs::OpenOptions::new().write(true).open(p).unwrap().set_len(5_000).unwrap(),
        &|p| Connection::open(p).unwrap().pragma_update(None, "application_id", 7).unwrap(),
    ];
    for (n, damage) in damages.iter().enumerate() {
        let (store, _) = open(&path);
        store.apply(&story(20)).unwrap();
        drop(store);
        damage(&path);
        let damaged = std::fs::read(&path).unwrap();
        let (store, opened) = open(&path);
        let moved_to = path.with_file_name(format!("devcc.db.corrupt-{}", n + 1));
        assert_eq!(opened, Opened::RebuiltCorrupt { moved_to: moved_to.clone() }, "damage {n}");
        assert_eq!(std::fs::read(&moved_to).unwrap(), damaged, "damage {n}");
        assert_eq!((store.cursor().unwrap(), store.health().status.as_str()), (0, "rebuilt"));
        store.apply(&story(20)).unwrap();
    }
}

#[test]
fn damage_met_while_running_starts_an_empty_file() {
    let bench = Bench::new();
    bench.store.apply(&story(200)).unwrap();
    // The log goes home first, so that what is scribbled on is what is read.
    let conn = Connection::open(bench.path()).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(conn);
    let size = bench.path().metadata().unwrap().len();
    scribble(&bench.path(), 4096, &vec![0xa5; size as usize - 4096]);
    // Caches may serve a while; whichever call meets the damage says so, and the cursor tells the caller to feed again.
    let mut told = false;
    for _ in 0..3 {
        told |= bench.store.jobs(&JobFilter::default()).is_err();
        told |= bench.store.reset().is_err();
    }
    assert!(told);
    assert!(bench.path().with_file_name("devcc.db.corrupt-1").exists());
    assert_eq!(bench.store.cursor().unwrap(), 0);
    assert_eq!(bench.store.health().status, "rebuilt");
    bench.store.apply(&story(200)).unwrap();
    assert_eq!(bench.store.jobs(&JobFilter::default()).unwrap().len(), 200);
}

#[test]
fn a_newer_file_is_only_read() {
    let Bench { root, store } = Bench::new();
    store.apply(&story(2)).unwrap();
    let cursor = store.cursor().unwrap();
    drop(store);
    let path = database(root.path());
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE of_the_future (x); PRAGMA user_version = 9;").unwrap();
    drop(conn);
    let bytes = std::fs::read(&path).unwrap();
    let (store, opened) = open(&path);
    assert_eq!(opened, Opened::ReadOnlyNewer { version: 9 });
    assert_eq!(store.cursor().unwrap(), cursor);
    assert_eq!(store.jobs(&JobFilter::default()).unwrap().len(), 2);
    for failure in [store.apply(&story(3)).unwrap_err(), store.reset().unwrap_err(), store.put_packets(&[], &[], true).unwrap_err()] {
        assert_eq!(failure.code, Code::Engine);
        assert!(failure.message.contains("schema 9") && failure.hint.is_some());
    }
    let health = store.health();
    assert_eq!((health.status.as_str(), health.schema_version, health.cursor), ("read_only_newer", 9, cursor));
    drop(store);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn deletion_while_in_use_shows_as_a_cursor_of_zero() {
    let bench = Bench::new();
    let events = story(20);
    bench.store.apply(&events).unwrap();
    let dump = bench.store.dump().unwrap();
    for round in 0..50 {
        std::fs::remove_file(bench.path()).unwrap();
        // The log and its index go along in some rounds only.
        for (every, suffix) in [(2, "-wal"), (3, "-shm")] {
            if round % every == 1 {
                std::fs::remove_file(format!("{}{suffix}", bench.path().display())).unwrap();
            }
        }
        match round % 4 {
            0 => assert_eq!(bench.store.cursor().unwrap(), 0),
            1 => assert!(bench.store.jobs(&JobFilter::default()).unwrap().is_empty()),
            2 => assert!(bench.store.apply(&events[5..]).is_err()),
            _ => assert_eq!(bench.store.health().cursor, 0),
        }
        assert_eq!(bench.store.health().status, "rebuilt");
        bench.store.apply(&events).unwrap();
        assert_eq!(bench.store.dump().unwrap(), dump, "round {round}");
    }
    assert!(!bench.path().with_file_name("devcc.db.corrupt-1").exists());
}

#[test]
fn a_log_deleted_alone_loses_nothing() {
    let bench = Bench::new();
    let events = story(20);
    bench.store.apply(&events).unwrap();
    let dump = bench.store.dump().unwrap();
    std::fs::remove_file(format!("{}-wal", bench.path().display())).unwrap();
    assert_eq!(bench.store.dump().unwrap(), dump);
    bench.store.apply(&events).unwrap();
    assert_eq!(bench.store.dump().unwrap(), dump);
}

#[test]
fn a_file_exchanged_while_in_use_is_taken_up() {
    let bench = Bench::new();
    bench.store.apply(&story(5)).unwrap();
    let other = Bench::new();
    other.store.apply(&story(2)).unwrap();
    let (dump, from) = (other.store.dump().unwrap(), other.path());
    drop(other.store);
    std::fs::rename(from, bench.path()).unwrap();
    assert_eq!(bench.store.cursor().unwrap(), story(2).len() as u64);
    assert_eq!(bench.store.dump().unwrap(), dump);
    bench.store.apply(&story(5)).unwrap();
    assert_eq!(bench.store.jobs(&JobFilter::default()).unwrap().len(), 5);
}

#[test]
fn a_file_that_cannot_be_made_again_is_said_and_recovers() {
    let bench = Bench::new();
    let events = story(2);
    bench.store.apply(&events).unwrap();
    let dump = bench.store.dump().unwrap();
    let (home, away) = (bench.root.path().join("repo"), bench.root.path().join("away"));
    std::fs::rename(&home, &away).unwrap();
    assert!(bench.store.cursor().is_err());
    assert!(bench.store.apply(&events).is_err());
    assert_eq!(bench.store.health().status, "unavailable");
    std::fs::rename(&away, &home).unwrap();
    bench.store.apply(&events).unwrap();
    assert_eq!(bench.store.dump().unwrap(), dump);
}

#[test]
fn deletion_under_load_ends_with_equal_rows() {
    let bench = Bench::new();
    let events = story(30);
    bench.store.apply(&events).unwrap();
    let dump = bench.store.dump().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    // Any answer is fine here but a wrong one: nothing, or jobs that were fed.
                    for job in bench.store.jobs(&JobFilter::default()).unwrap_or_default() {
                        assert!(job.job_id >= id(1_000_000));
                    }
                }
            });
        }
        for _ in 0..50 {
            std::fs::remove_file(bench.path()).unwrap();
            // The caller's loop: look at the cursor, feed what is missing.
            loop {
                let at = bench.store.cursor().unwrap_or(0) as usize;
                if at == events.len() {
                    break;
                }
                let _ = bench.store.apply(&events[at..(at + 100).min(events.len())]);
            }
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(bench.store.dump().unwrap(), dump);
}
