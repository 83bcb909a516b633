//! Appending: order, uniqueness, redaction, limits, the clock, group commit.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ports::{Appended, Recorder};
use dcc_core::principal::{Actor, Surface};
use dcc_core::{Code, Sha256Hex, limits};
use serde_json::json;

use crate::common::{Bench, all, event, export, fill, numbered, write};

#[test]
fn events_come_back_as_they_were_written() {
    let bench = Bench::new();
    let recorder = bench.open();
    assert_eq!((recorder.head().unwrap().seq, recorder.head().unwrap().hash), (0, Sha256Hex::ZERO));
    let mut given = NewEvent::new(EventCode::ApprovalDecided, Actor::operator(Surface::Browser), json!({"a": 1.5, "ü": "ö"}));
    given.capability_id = Some("dev.commit".to_owned());
    given.policy_digest = Some(Sha256Hex::of(b"policy"));
    given.correlation.wp_id = Some("WP-1".parse().unwrap());
    let written = write(&recorder, vec![given, numbered(2)]);
    assert_eq!(all(&recorder), written);
    assert_eq!((written[0].seq, written[1].seq), (1, 2));
    assert_eq!((written[0].prev_hash, written[1].prev_hash), (Sha256Hex::ZERO, written[0].hash));
    assert_eq!(recorder.event(written[0].event_id).unwrap().as_ref(), Some(&written[0]));
    assert_eq!(recorder.by_seq(2).unwrap().as_ref(), Some(&written[1]));
    assert_eq!(recorder.by_seq(3).unwrap(), None);
    assert_eq!(recorder.head().unwrap().hash, written[1].hash);
    assert_eq!(write(&recorder, vec![]), vec![]);
    drop(recorder);
    let again = bench.open();
    assert_eq!(all(&again), written);
    assert_eq!(write(&again, vec![numbered(3)])[0].seq, 3);
    assert!(again.verify(None).unwrap().ok);
    let mode = std::fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn one_of_fifty_holds_a_unique_key() {
    let bench = Bench::new();
    let recorder = bench.open();
    let barrier = Barrier::new(50);
    let results: Vec<Appended> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..50u64)
            .map(|n| {
                let (recorder, barrier) = (&recorder, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    recorder.append(vec![numbered(n), numbered(n).once("decided:x")]).unwrap()
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let winners: Vec<_> = results.iter().filter_map(|r| if let Appended::Written(e) = r { Some(e) } else { None }).collect();
    assert_eq!(winners.len(), 1);
    for result in &results {
        if let Appended::Taken { key, by } = result {
            assert_eq!((key.as_str(), by.seq), ("decided:x", winners[0][1].seq));
        }
    }
    assert_eq!(recorder.head().unwrap().seq, 2, "the losers wrote nothing");
    assert_eq!(recorder.by_unique_key("decided:x").unwrap().unwrap().seq, 2);
    assert_eq!(recorder.by_unique_key("decided:y").unwrap(), None);
    let twice = recorder.append(vec![numbered(1).once("k"), numbered(2).once("k")]).unwrap_err();
    assert_eq!(twice.code, Code::InvalidEvent);
}

#[test]
fn sixteen_writers_share_commits() {
    let bench = Bench::new();
    let recorder = bench.open();
    // A second connection holds the write lock until all writers are on their way.
    let lock = rusqlite::Connection::open(bench.path()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let barrier = Barrier::new(17);
    std::thread::scope(|scope| {
        for writer in 0..16u64 {
            let (recorder, barrier) = (&recorder, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in 0..2 {
                    let events = write(recorder, vec![numbered(writer), numbered(n)]);
                    assert_eq!(events[0].seq + 1, events[1].seq, "a batch stays together");
                }
            });
        }
        barrier.wait();
        lock.execute_batch("ROLLBACK").unwrap();
    });
    assert_eq!(recorder.head().unwrap().seq, 64);
    assert!(recorder.verify(None).unwrap().ok);
    let commits = commits_in_wal(&std::fs::read(bench.dir.path().join("recorder.db-wal")).unwrap());
    assert!(commits < 32, "32 appends took {commits} commits");
}

/// Frames that end a transaction: their header carries the size of the database.
fn commits_in_wal(wal: &[u8]) -> usize {
    let page_bytes = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    let salt = &wal[16..24];
    wal[32..].chunks_exact(24 + page_bytes).filter(|f| f[8..16] == *salt && f[4..8] != [0; 4]).count()
}

#[test]
fn secrets_never_reach_the_file() {
    let bench = Bench::new();
    let recorder = bench.open();
    let mut given = event(json!({"remote": "https://bob:hunter2canary@host/x", "env": {"API_TOKEN": "canary-9"}, "log": "password=hunter2canary"}));
    given.correlation.tool_call_id = Some("ghp_canary0123456789abcdefghijklmnopqr".to_owned());
    let written = write(&recorder, vec![given]);
    assert_eq!(written[0].payload["remote"], json!("https://bob:[redacted]@host/x"));
    assert!(!export(&recorder).contains("canary"));
    drop(recorder);
    for entry in std::fs::read_dir(bench.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"));
    }
}

#[test]
fn bad_events_are_refused_and_nothing_is_written() {
    let bench = Bench::new();
    let recorder = bench.open();
    let mut deep = json!({});
    for _ in 0..500 {
        deep = json!({"d": deep});
    }
    let mut long_id = numbered(1);
    long_id.correlation.tool_call_id = Some("x".repeat(limits::LINE_BYTES_MAX + 1));
    let bad = [
        event(json!([1])),
        event(json!("text")),
        event(json!({"x": "y".repeat(limits::EVENT_PAYLOAD_BYTES_MAX)})),
        event(deep),
        long_id,
        numbered(1).once(""),
    ];
    for bad in bad {
        let failure = recorder.append(vec![numbered(0), bad]).unwrap_err();
        assert_eq!(failure.code, Code::InvalidEvent, "{failure}");
    }
    let many = vec![numbered(0); limits::APPEND_BATCH_MAX + 1];
    assert_eq!(recorder.append(many).unwrap_err().code, Code::InvalidEvent);
    assert_eq!(recorder.head().unwrap().seq, 0);
    assert!(recorder.is_writable());
    // Exactly as much as is allowed, counted in bytes of JSON.
    let frame = json!({"x": ""}).to_string().len();
    write(&recorder, vec![event(json!({"x": "y".repeat(limits::EVENT_PAYLOAD_BYTES_MAX - frame)}))]);
}

#[test]
fn a_clock_set_back_is_noted_once() {
    let bench = Bench::new();
    let recorder = bench.open();
    write(&recorder, vec![numbered(1)]);
    bench.clock.advance(-900);
    write(&recorder, vec![numbered(2)]);
    bench.clock.advance(-3_600_000);
    let after = write(&recorder, vec![numbered(3), numbered(4)]);
    write(&recorder, vec![numbered(5)]);
    bench.clock.advance(10);
    write(&recorder, vec![numbered(6)]);
    let events = all(&recorder);
    let notes: Vec<u64> = events.iter().filter(|e| e.code == EventCode::ClockWentBack).map(|e| e.seq).collect();
    assert_eq!(notes, [3]);
    assert_eq!(events[2].payload["back_ms"], json!(3_600_000));
    assert_eq!((after.len(), after[0].seq, after[1].seq), (2, 4, 5));
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
    assert!(recorder.verify(None).unwrap().ok);
}

#[test]
fn two_recorders_on_one_file_make_one_chain() {
    let bench = Bench::new();
    let (one, two) = (bench.open(), bench.open());
    std::thread::scope(|scope| {
        for recorder in [&one, &two] {
            scope.spawn(move || (0..40).for_each(|n| drop(write(recorder, vec![numbered(n)]))));
        }
    });
    assert_eq!(one.head().unwrap(), two.head().unwrap());
    assert_eq!(one.head().unwrap().seq, 80);
    assert!(one.verify(None).unwrap().ok);
}

/// Prints durable events a second; run by hand with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)]
fn measure_group_commit() {
    for writers in [1u64, 16] {
        let bench = Bench::new();
        let recorder = bench.open();
        let each = 8_000 / writers;
        let start = std::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..writers {
                let recorder = &recorder;
                scope.spawn(move || (0..each).for_each(|n| drop(write(recorder, vec![numbered(n)]))));
            }
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("{writers} writers: {:.0} durable events a second", (each * writers) as f64 / seconds);
        let start = std::time::Instant::now();
        assert!(recorder.verify(None).unwrap().ok);
        println!("verify: {:.0} events a second", (each * writers) as f64 / start.elapsed().as_secs_f64());
    }
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 1);
}
