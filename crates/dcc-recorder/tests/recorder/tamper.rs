//! Tampering is found, and the first bad event is named (P6).

use std::path::Path;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ports::{Recorder, VerifyReport};
use dcc_core::principal::Actor;
use dcc_core::Code;
use dcc_recorder::SqliteRecorder;
use rusqlite::Connection;
use serde_json::json;

use crate::common::{Bench, all, export, fill, numbered, write};
use crate::slices::recompute;

/// Works on the file as somebody would who knows SQLite: takes the triggers away and puts them back.
pub fn without_triggers(path: &Path, work: impl FnOnce(&Connection)) {
    let raw = Connection::open(path).unwrap();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    let mut statement = raw.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid").unwrap();
    let triggers: Vec<(String, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    drop(statement);
    for (name, _) in &triggers {
        raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    work(&raw);
    for (_, sql) in &triggers {
        raw.execute_batch(sql).unwrap();
    }
}

/// A log of 250 events; `sql` is run on it; what verify says.
fn after(sql: &str) -> VerifyReport {
    let bench = Bench::new();
    let recorder = bench.open();
    let events = (0..250).map(|n| {
        let mut event = numbered(n).once(format!("key:{n}"));
        event.correlation.wp_id = Some("WP-1".parse().unwrap());
        event
    });
    write(&recorder, events.collect());
    drop(recorder);
    without_triggers(&bench.path(), |raw| raw.execute_batch(sql).unwrap());
    SqliteRecorder::open_read_only(bench.path()).unwrap().verify(None).unwrap()
}

fn assert_bad(sql: &str, seq: u64) {
    let report = after(sql);
    assert!(!report.ok, "{sql}");
    assert_eq!(report.first_bad_seq, Some(seq), "{sql}: {report:?}");
    assert!(report.problem.is_some() && report.events < seq);
}

#[test]
fn an_edit_of_any_column_is_found() {
    let edits = [
        "event_id = 'x'", "ts = ts + 1", "code = 'FR-EVT-JOB-001'", "name = 'x'", "class = 'telemetry'", "actor_kind = 'human'",
        "actor_id = 'operator'", "principal = '{}'", "trace_id = 't'", "span_id = 's'", "parent_span_id = 'p'", "job_id = 'j'",
        "workflow_run_id = 'w'", "session_id = 's'", "wsid = 'w'", "project_id = 'p'", "wp_id = 'WP-2'", "wp_id = NULL", "mt_id = 'MT-001'",
        "approval_id = 'a'", "tool_call_id = 't'", "capability_id = 'c'", "policy_digest = 'd'", "outcome = 'deny'", "unique_key = NULL",
        "redactions = 1", "payload_sha256 = 'x'", "prev_hash = 'x'", "instance_id = 'i'", "hash = 'x'", "hash = replace(hash, 'a', 'b')",
        "name = CAST(X'FF' AS TEXT)",
    ];
    for edit in edits {
        // A hash without an `a` would not be changed by the replacement; 120 to 123 cannot all lack it.
        let range = if edit.contains("replace") { "BETWEEN 120 AND 123" } else { "= 120" };
        let sql = format!("UPDATE events SET {edit} WHERE seq {range}");
        if edit.contains("replace") {
            let report = after(&sql);
            assert!((120..=123).contains(&report.first_bad_seq.unwrap()), "{report:?}");
        } else {
            assert_bad(&sql, 120);
        }
    }
}

#[test]
fn an_edit_of_a_payload_is_found() {
    assert_bad("UPDATE payloads SET body = body || ' ' WHERE seq = 7", 7);
    assert_bad("UPDATE payloads SET body = '{\"n\":1}' WHERE seq = 7", 7);
    assert_bad("DELETE FROM payloads WHERE seq = 7", 7);
    assert_bad("DELETE FROM payloads WHERE seq = 7; INSERT INTO purged VALUES (7, 0)", 7);
    assert_bad("INSERT INTO purged VALUES (7, 0)", 7);
    let report = after("UPDATE payloads SET class = 'telemetry' WHERE seq = 7");
    assert_eq!(report.first_bad_seq, Some(7));
}

#[test]
fn removed_events_are_found() {
    for seq in [1, 2, 99, 100, 101, 249] {
        assert_bad(&format!("DELETE FROM events WHERE seq = {seq}"), seq);
        assert_bad(&format!("DELETE FROM events WHERE seq = {seq}; DELETE FROM payloads WHERE seq = {seq}"), seq);
    }
    // Closing the gap does not help.
    assert_bad(
        "DELETE FROM events WHERE seq = 20; DELETE FROM payloads WHERE seq = 20;
         UPDATE events SET seq = -seq WHERE seq > 20; UPDATE events SET seq = -seq - 1 WHERE seq < 0;
         UPDATE payloads SET seq = -seq WHERE seq > 20; UPDATE payloads SET seq = -seq - 1 WHERE seq < 0;",
        20,
    );
}

#[test]
fn exchanged_and_repeated_events_are_found() {
    assert_bad("UPDATE events SET seq = -1 WHERE seq = 30; UPDATE events SET seq = 30 WHERE seq = 40; UPDATE events SET seq = 40 WHERE seq = -1", 30);
    assert_bad("UPDATE payloads SET seq = -1 WHERE seq = 30; UPDATE payloads SET seq = 30 WHERE seq = 40; UPDATE payloads SET seq = 40 WHERE seq = -1", 30);
    let copy = "CREATE TEMP TABLE t AS SELECT * FROM events WHERE seq = 250;
         UPDATE t SET seq = 251, event_id = 'copy', unique_key = NULL; INSERT INTO events SELECT * FROM t; DROP TABLE t;";
    assert_bad(copy, 251);
    let inserted = "UPDATE events SET seq = -seq WHERE seq > 50; UPDATE events SET seq = -seq + 1 WHERE seq < 0;
         UPDATE payloads SET seq = -seq WHERE seq > 50; UPDATE payloads SET seq = -seq + 1 WHERE seq < 0;
         CREATE TEMP TABLE t AS SELECT * FROM events WHERE seq = 50; UPDATE t SET seq = 51, event_id = 'copy', unique_key = NULL;
         INSERT INTO events SELECT * FROM t; DROP TABLE t; INSERT INTO payloads SELECT 51, class, body FROM payloads WHERE seq = 50;";
    assert_bad(inserted, 51);
}

#[test]
fn a_cut_tail_is_found_against_a_checkpoint() {
    let bench = Bench::new();
    let recorder = bench.open();
    assert_eq!(recorder.checkpoint().unwrap(), None);
    fill(&recorder, 150);
    let outside = recorder.checkpoint().unwrap().unwrap();
    assert_eq!(outside.seq, 150);
    assert!(recorder.verify(Some(outside)).unwrap().ok);
    drop(recorder);
    without_triggers(&bench.path(), |raw| raw.execute_batch("DELETE FROM payloads WHERE seq > 140; DELETE FROM events WHERE seq > 140").unwrap());
    let recorder = bench.open();
    let report = recorder.verify(None).unwrap();
    assert!(report.ok && report.events == 140, "without a checkpoint outside a clean cut cannot be seen");
    let report = recorder.verify(Some(outside)).unwrap();
    assert_eq!((report.ok, report.first_bad_seq, report.checkpoint), (false, Some(141), Some(outside)));
    // Writing on does not hide it.
    fill(&recorder, 10);
    let report = recorder.verify(Some(outside)).unwrap();
    assert_eq!((report.ok, report.first_bad_seq), (false, Some(150)));
    drop(recorder);
    without_triggers(&bench.path(), |raw| raw.execute_batch("DELETE FROM payloads WHERE seq > 90; DELETE FROM events WHERE seq > 90").unwrap());
    let report = bench.open().verify(None).unwrap();
    assert_eq!(report.first_bad_seq, Some(91), "the checkpoint inside tells");
}

#[test]
fn a_cut_under_a_running_recorder_is_refused() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 50);
    without_triggers(&bench.path(), |raw| raw.execute_batch("DELETE FROM payloads WHERE seq > 40; DELETE FROM events WHERE seq > 40").unwrap());
    assert_eq!(recorder.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
    assert!(!recorder.is_writable());
    assert_eq!(recorder.head().unwrap().seq, 40, "reads go on");
}

#[test]
fn a_log_with_a_false_head_is_read_but_not_continued() {
    let bench = Bench::new();
    fill(&bench.open(), 20);
    without_triggers(&bench.path(), |raw| raw.execute_batch("UPDATE events SET outcome = 'deny' WHERE seq = 20").unwrap());
    let recorder = bench.open();
    assert!(!recorder.is_writable());
    assert_eq!(recorder.append(vec![numbered(1)]).unwrap_err().code, Code::Recorder);
    assert_eq!(all(&recorder).len(), 20);
    assert_eq!(recorder.verify(None).unwrap().first_bad_seq, Some(20));
}

#[test]
fn altered_checkpoints_and_structure_are_found() {
    assert_bad("UPDATE checkpoints SET hash = 'x' WHERE seq = 100", 100);
    assert_bad("DELETE FROM checkpoints WHERE seq = 200", 200);
    for sql in ["DROP INDEX events_wp_id", "CREATE TABLE x (y)", "CREATE VIEW v AS SELECT 1"] {
        let report = after(sql);
        assert!(!report.ok && report.first_bad_seq.is_none() && report.problem.unwrap().contains("not as it was made"));
    }
    let bench = Bench::new();
    fill(&bench.open(), 3);
    Connection::open(bench.path()).unwrap().execute_batch("DROP TRIGGER events_no_update").unwrap();
    assert!(!bench.open().verify(None).unwrap().ok);
}

#[test]
fn a_chain_forged_from_the_middle_is_found_by_a_checkpoint() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 80);
    let outside = recorder.checkpoint().unwrap().unwrap();
    drop(recorder);
    without_triggers(&bench.path(), |raw| {
        raw.execute("UPDATE events SET outcome = 'deny' WHERE seq = 60", []).unwrap();
        for seq in 60..=80 {
            raw.execute("UPDATE events SET prev_hash = (SELECT hash FROM events e WHERE e.seq = events.seq - 1) WHERE seq = ?", [seq]).unwrap();
            raw.execute("UPDATE events SET hash = ? WHERE seq = ?", (recompute(raw, seq), seq)).unwrap();
        }
    });
    let recorder = bench.open();
    assert!(recorder.verify(None).unwrap().ok, "evidence, not prevention");
    assert_eq!(recorder.verify(Some(outside)).unwrap().first_bad_seq, Some(80));
}

#[test]
fn triggers_refuse_what_is_not_an_append() {
    let bench = Bench::new();
    let recorder = bench.open();
    write(&recorder, vec![numbered(1), NewEvent::new(EventCode::SessionUpdate, Actor::SYSTEM, json!({"t": 1}))]);
    let raw = Connection::open(bench.path()).unwrap();
    for sql in [
        "UPDATE events SET ts = 0",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 1",
        "UPDATE payloads SET body = '{}'",
        "DELETE FROM payloads WHERE seq = 1",
        "DELETE FROM payloads WHERE seq = 2",
        "INSERT OR REPLACE INTO payloads VALUES (1, 'audit', '{}')",
        "INSERT INTO purged VALUES (1, 0)",
        "INSERT INTO payloads VALUES (9, 'audit', '{}')",
    ] {
        assert!(raw.execute_batch(sql).is_err(), "{sql}");
    }
    // Telemetry goes after its mark, and the chain still holds.
    raw.execute_batch("INSERT INTO purged VALUES (2, 0); DELETE FROM payloads WHERE seq = 2").unwrap();
    let report = recorder.verify(None).unwrap();
    assert_eq!((report.ok, report.purged_payloads), (true, 1));
    assert_eq!(recorder.by_seq(2).unwrap().unwrap().payload, json!({"purged": true}));
}

/// Flips single bits all over the file. Each flip is found, or it changed nothing that the log says.
#[test]
fn bit_flips_are_found_or_mean_nothing() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 120);
    let truth = export(&recorder);
    drop(recorder);
    let sound = std::fs::read(bench.path()).unwrap();
    let (mut found, mut harmless) = (0, 0);
    let mut at = 11usize;
    for round in 0..400usize {
        // A fixed walk over the file, so that a failure can be repeated.
        at = (at + 7_919 * (round + 1)) % sound.len();
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (round % 8);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recorder.db");
        std::fs::write(&path, &bytes).unwrap();
        match SqliteRecorder::open_read_only(&path) {
            Err(failure) => {
                assert!(matches!(failure.code, Code::Integrity | Code::Recorder), "{failure}");
                found += 1;
            }
            Ok(recorder) => {
                let report = recorder.verify(None).unwrap();
                if report.ok {
                    assert_eq!(export(&recorder), truth, "bit {} of byte {at}", round % 8);
                    harmless += 1;
                } else {
                    found += 1;
                }
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "looking at it changed it");
    }
    // Much of the file is room not yet used; the sound rest must be a fair share all the same.
    assert!(found > 100 && harmless > 0, "{found} found, {harmless} without meaning");
}
