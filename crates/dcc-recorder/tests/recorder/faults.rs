//! No record, no action (P3): full, read-only, damaged, newer, gone. And mirrors.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use dcc_core::ports::Recorder;
use dcc_core::{Code, ProjectId};
use dcc_recorder::{SqliteRecorder, project_id_of};
use rusqlite::Connection;
use serde_json::json;

use crate::common::{Bench, all, event, export, fill, numbered, write};

#[test]
fn a_full_disk_refuses_whole_batches_and_heals() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 5);
    let before = recorder.head().unwrap();
    recorder.limit_pages(Some(1)).unwrap();
    let big = || (0..10).map(|_| event(json!({"x": "y".repeat(30_000)}))).collect::<Vec<_>>();
    for _ in 0..3 {
        let failure = recorder.append(big()).unwrap_err();
        assert_eq!(failure.code, Code::Recorder, "{failure}");
        assert!(failure.message.contains("recorder.db") && failure.hint.is_some());
        assert!(!recorder.is_writable());
    }
    assert_eq!(recorder.head().unwrap(), before, "nothing partial");
    assert_eq!(all(&recorder).len(), 5, "reads go on");
    assert!(recorder.verify(None).unwrap().ok);
    recorder.limit_pages(None).unwrap();
    assert_eq!(write(&recorder, big()).len(), 10);
    assert!(recorder.is_writable());
    assert!(recorder.verify(None).unwrap().ok);
}

#[test]
fn a_full_disk_fails_only_what_did_not_fit() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 2);
    recorder.limit_pages(Some(200)).unwrap();
    let acknowledged: Vec<u64> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..16u64)
            .map(|n| {
                let recorder = &recorder;
                scope.spawn(move || {
                    let size = if n % 2 == 0 { 30_000 } else { 10 };
                    (0..20).filter_map(|_| match recorder.append(vec![event(json!({"x": "y".repeat(size)}))]) {
                        Ok(dcc_core::ports::Appended::Written(events)) => Some(events[0].seq),
                        Ok(other) => panic!("{other:?}"),
                        Err(f) => { assert_eq!(f.code, Code::Recorder); None }
                    }).collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    let mut sorted = acknowledged.clone();
    sorted.sort_unstable();
    let stored: Vec<u64> = all(&recorder).iter().map(|e| e.seq).skip(2).collect();
    assert_eq!(sorted, stored, "acknowledged is what is stored");
    assert!(acknowledged.len() < 320);
    assert!(recorder.verify(None).unwrap().ok);
}

/// Runs on a thread without the power to pass by permissions, which root has.
fn without_privilege(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let none = rustix::thread::CapabilitySet::empty();
            let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, sets).unwrap();
            work();
        });
    });
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_read_only_directory_is_read_and_not_written() {
    let bench = Bench::new();
    fill(&bench.open(), 5);
    without_privilege(|| {
        chmod(bench.dir.path(), 0o555);
        let recorder = bench.open();
        assert!(!recorder.is_writable());
        assert_eq!(recorder.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
        assert_eq!(all(&recorder).len(), 5);
        assert!(recorder.verify(None).unwrap().ok);
        let reader = SqliteRecorder::open_read_only(bench.path()).unwrap();
        assert!(reader.verify(None).unwrap().ok);
        let missing = bench.try_open(&bench.dir.path().join("other.db")).err().unwrap();
        assert_eq!(missing.code, Code::Recorder);
        chmod(bench.dir.path(), 0o755);
        write(&recorder, vec![numbered(6)]);
        assert!(recorder.is_writable());
        assert_eq!(all(&recorder).len(), 6);
    });
}

#[test]
fn a_read_only_file_is_read_and_not_written() {
    let bench = Bench::new();
    fill(&bench.open(), 5);
    without_privilege(|| {
        chmod(&bench.path(), 0o400);
        let recorder = bench.open();
        assert!(!recorder.is_writable());
        assert_eq!(recorder.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
        assert_eq!(all(&recorder).len(), 5);
    });
}

#[test]
fn a_reader_refuses_to_write() {
    let bench = Bench::new();
    let writer = bench.open();
    fill(&writer, 5);
    let reader = SqliteRecorder::open_read_only(bench.path()).unwrap();
    assert!(!reader.is_writable());
    assert_eq!(reader.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
    assert_eq!(all(&reader).len(), 5);
    write(&writer, vec![numbered(6)]);
    assert_eq!(all(&reader).len(), 6);
    assert!(reader.verify(None).unwrap().ok);
    let missing = SqliteRecorder::open_read_only(bench.dir.path().join("none.db")).err().unwrap();
    assert_eq!(missing.code, Code::Recorder);
    assert!(!bench.dir.path().join("none.db").exists());
}

#[test]
fn a_newer_schema_is_only_read() {
    let bench = Bench::new();
    fill(&bench.open(), 5);
    Connection::open(bench.path()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let recorder = bench.open();
    assert!(!recorder.is_writable());
    let failure = recorder.append(vec![numbered(1)]).unwrap_err();
    assert_eq!(failure.code, Code::Recorder);
    assert!(failure.message.contains("schema 2"), "{failure}");
    assert_eq!(all(&recorder).len(), 5);
    assert!(recorder.verify(None).unwrap().ok);
}

#[test]
fn what_is_not_a_recorder_is_refused_and_left_alone() {
    let sound = {
        let bench = Bench::new();
        fill(&bench.open(), 50);
        std::fs::read(bench.path()).unwrap()
    };
    let other_database = {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join("x")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        std::fs::read(dir.path().join("x")).unwrap()
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", vec![]),
        ("text", b"not a database".to_vec()),
        ("long text", vec![b'x'; 20_000]),
        ("cut", sound[..sound.len() / 2].to_vec()),
        ("other", other_database),
    ];
    for (name, bytes) in cases {
        let bench = Bench::new();
        std::fs::write(bench.path(), &bytes).unwrap();
        for failure in [bench.try_open(&bench.path()).err(), SqliteRecorder::open_read_only(bench.path()).err()] {
            let failure = failure.unwrap_or_else(|| panic!("{name} was accepted"));
            assert_eq!(failure.code, Code::Integrity, "{name}: {failure}");
            assert!(failure.message.contains("recorder.db"), "{name}: {failure}");
        }
        assert_eq!(std::fs::read(bench.path()).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_torn_file_is_never_written() {
    let (sound, truth) = {
        let bench = Bench::new();
        let recorder = bench.open();
        fill(&recorder, 50);
        let truth = export(&recorder);
        drop(recorder);
        (std::fs::read(bench.path()).unwrap(), truth)
    };
    let mut found = 0;
    for page in 0..sound.len() / 4_096 {
        let mut bytes = sound.clone();
        bytes[page * 4_096 + 120..(page + 1) * 4_096].fill(0xA5);
        let bench = Bench::new();
        std::fs::write(bench.path(), &bytes).unwrap();
        match bench.try_open(&bench.path()) {
            Err(failure) => {
                assert_eq!(failure.code, Code::Integrity, "page {page}: {failure}");
                found += 1;
            }
            // The page of an empty table holds nothing that could be lost.
            Ok(recorder) if recorder.verify(None).unwrap().ok => assert_eq!(export(&recorder), truth, "page {page}"),
            Ok(_) => found += 1,
        }
        assert_eq!(std::fs::read(bench.path()).unwrap(), bytes, "page {page}");
    }
    assert!(found >= 10, "{found} pages");
}

#[test]
fn links_and_leftover_logs_are_refused() {
    let bench = Bench::new();
    fill(&bench.open(), 2);
    let link = bench.dir.path().join("link.db");
    symlink(bench.path(), &link).unwrap();
    assert_eq!(bench.try_open(&link).err().unwrap().code, Code::Integrity);
    let dangling = bench.dir.path().join("dangling.db");
    symlink(bench.dir.path().join("nowhere"), &dangling).unwrap();
    assert_eq!(bench.try_open(&dangling).err().unwrap().code, Code::Integrity);
    assert_eq!(bench.try_open(bench.dir.path()).err().unwrap().code, Code::Integrity);
    let lone = bench.dir.path().join("lone.db");
    std::fs::write(bench.dir.path().join("lone.db-wal"), b"x").unwrap();
    assert_eq!(bench.try_open(&lone).err().unwrap().code, Code::Integrity);
    assert!(!lone.exists());
}

#[test]
fn a_log_that_vanishes_stops_everything() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 5);
    let aside = bench.dir.path().join("aside");
    std::fs::rename(bench.path(), &aside).unwrap();
    assert_eq!(recorder.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
    assert!(!recorder.is_writable());
    assert_eq!(recorder.head().unwrap_err().code, Code::Recorder);
    assert!(!bench.path().exists(), "it is not made anew");
    std::fs::rename(&aside, bench.path()).unwrap();
    write(&recorder, vec![numbered(1)]);
    assert!(recorder.is_writable() && recorder.verify(None).unwrap().ok);
}

#[test]
fn creation_leaves_nothing_else_behind() {
    let bench = Bench::new();
    let deep = bench.dir.path().join("a/b/recorder.db");
    let recorder = bench.try_open(&deep).unwrap();
    drop(recorder);
    let names: Vec<_> = std::fs::read_dir(deep.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["recorder.db"]);
    assert_eq!(project_id_of(&deep).unwrap(), None);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (bench, deep) = (&bench, &deep);
            scope.spawn(move || {
                write(&bench.try_open(deep).unwrap(), vec![numbered(n)]);
                write(&bench.try_open(&bench.dir.path().join("race.db")).unwrap(), vec![numbered(n)]);
            });
        }
    });
    for path in [deep.clone(), bench.dir.path().join("race.db")] {
        let recorder = bench.try_open(&path).unwrap();
        let report = recorder.verify(None).unwrap();
        assert!(report.ok && report.events == 8, "{report:?}");
    }
    assert_eq!(project_id_of(&deep).unwrap(), Some(ProjectId(uuid::Uuid::nil())));
}

#[test]
fn mirrors_follow_and_are_never_shortened() {
    let bench = Bench::new();
    let mirror = bench.dir.path().join("mirror.db");
    let recorder = bench.open();
    fill(&recorder, 120);
    recorder.backup_to(&mirror).unwrap();
    assert_eq!(std::fs::metadata(&mirror).unwrap().permissions().mode() & 0o777, 0o600);
    fill(&recorder, 30);
    recorder.backup_to(&mirror).unwrap();
    let copy = SqliteRecorder::open_read_only(&mirror).unwrap();
    assert_eq!((export(&copy), copy.head().unwrap()), (export(&recorder), recorder.head().unwrap()));
    assert!(copy.verify(None).unwrap().ok);
    assert_eq!(copy.integrity_check().unwrap(), Vec::<String>::new());
    drop(copy);
    assert_eq!(recorder.backup_to(bench.path()).unwrap_err().code, Code::InvalidInput);
    std::fs::write(bench.dir.path().join("note"), b"mine").unwrap();
    assert_eq!(recorder.backup_to(bench.dir.path().join("note")).unwrap_err().code, Code::Integrity);
    drop(recorder);
    // The log is lost and begins anew: the mirror is the better evidence and stays.
    std::fs::remove_file(bench.path()).unwrap();
    let fresh = bench.open();
    fill(&fresh, 3);
    let before = std::fs::read(&mirror).unwrap();
    assert_eq!(fresh.backup_to(&mirror).unwrap_err().code, Code::Integrity);
    assert_eq!(std::fs::read(&mirror).unwrap(), before);
    let names: Vec<String> = std::fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|n| n.contains("mirror-")), "{names:?}");
    // And it can be put back.
    drop(fresh);
    std::fs::copy(&mirror, bench.path()).unwrap();
    let restored = bench.open();
    assert_eq!(write(&restored, vec![numbered(1)])[0].seq, 151);
    assert!(restored.verify(None).unwrap().ok);
}
