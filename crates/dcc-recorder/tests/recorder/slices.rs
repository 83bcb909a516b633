//! Reading: filters, paging, export, rows this version does not know.

use dcc_core::event::{Correlation, EventCode, EventOutcome, NewEvent};
use dcc_core::ports::{EventFilter, Order, Recorder};
use dcc_core::principal::{Actor, ActorKind, Surface};
use dcc_core::{Sha256Hex, Timestamp, canonical};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::common::{Bench, all, event, export, fill, numbered, write};
use crate::tamper::without_triggers;

#[test]
fn every_filter_finds_its_event_and_no_other() {
    let bench = Bench::new();
    let recorder = bench.open();
    let id = Uuid::now_v7;
    let about = Correlation {
        wp_id: Some("WP-7".parse().unwrap()),
        mt_id: Some("MT-007".parse().unwrap()),
        session_id: Some(id().into()),
        workspace_id: Some(id().into()),
        job_id: Some(id().into()),
        workflow_run_id: Some(id().into()),
        approval_id: Some(id().into()),
        tool_call_id: Some("call_1".to_owned()),
    };
    write(&recorder, vec![numbered(1)]);
    bench.clock.advance(5_000);
    let at = Timestamp(1_800_000_005_000);
    let mut wanted = NewEvent::new(EventCode::GateDecided, Actor::operator(Surface::Terminal), json!({"What": "Needle %_"}))
        .about(&about)
        .outcome(EventOutcome::Deny);
    wanted.capability_id = Some("dev.x".to_owned());
    let digest = Sha256Hex::of(b"policy");
    wanted.policy_digest = Some(digest);
    write(&recorder, vec![wanted]);
    bench.clock.advance(5_000);
    write(&recorder, vec![numbered(3)]);

    let none = EventFilter::default;
    let filters = [
        EventFilter { wp_id: about.wp_id.clone(), ..none() },
        EventFilter { mt_id: about.mt_id.clone(), ..none() },
        EventFilter { session_id: about.session_id, ..none() },
        EventFilter { workspace_id: about.workspace_id, ..none() },
        EventFilter { job_id: about.job_id, ..none() },
        EventFilter { workflow_run_id: about.workflow_run_id, ..none() },
        EventFilter { approval_id: about.approval_id, ..none() },
        EventFilter { tool_call_id: about.tool_call_id.clone(), ..none() },
        EventFilter { codes: vec![EventCode::GateDecided, EventCode::Committed], ..none() },
        EventFilter { actor_kind: Some(ActorKind::Human), ..none() },
        EventFilter { actor_id: Some(Actor::operator(Surface::Terminal).id()), ..none() },
        EventFilter { principal: Some("operator".to_owned()), ..none() },
        EventFilter { policy_digest: Some(digest), ..none() },
        EventFilter { project_id: Some(recorder.by_seq(2).unwrap().unwrap().project_id), after_seq: Some(1), before_seq: Some(3), ..none() },
        EventFilter { outcome: Some(EventOutcome::Deny), ..none() },
        EventFilter { capability_id: Some("dev.x".to_owned()), ..none() },
        EventFilter { text: Some("nEEdle %_".to_owned()), ..none() },
        EventFilter { text: Some("GATE_DEC".to_owned()), ..none() },
        EventFilter { since: Some(at), until: Some(at), ..none() },
        EventFilter { after_seq: Some(1), before_seq: Some(3), ..none() },
        EventFilter { wp_id: about.wp_id.clone(), job_id: about.job_id, text: Some("what".to_owned()), order: Order::Descending, ..none() },
    ];
    for filter in filters {
        let seqs: Vec<u64> = recorder.read(&filter).unwrap().iter().map(|e| e.seq).collect();
        assert_eq!(seqs, [2], "{filter:?}");
    }
    // Columns that nothing fills yet find nothing, instead of everything.
    let traced = |filter: EventFilter| recorder.read(&filter).unwrap();
    for filter in [EventFilter { trace_id: Some("x".into()), ..none() }, EventFilter { span_id: Some("x".into()), ..none() }, EventFilter { parent_span_id: Some("x".into()), ..none() }] {
        assert_eq!(traced(filter), vec![]);
    }
    let other = EventFilter { wp_id: Some("WP-8".parse().unwrap()), ..none() };
    assert_eq!(recorder.read(&other).unwrap(), vec![]);
}

#[test]
fn pages_are_stable_while_others_append() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 2_500);
    assert_eq!(all(&recorder).len(), 1_000, "no page is longer");
    for order in [Order::Ascending, Order::Descending] {
        let mut seen = Vec::new();
        let mut filter = EventFilter { order, limit: 300, before_seq: Some(2_501), ..EventFilter::default() };
        loop {
            let page = recorder.read(&filter).unwrap();
            write(&recorder, vec![numbered(0)]);
            let Some(last) = page.last() else { break };
            match order {
                Order::Ascending => filter.after_seq = Some(last.seq),
                Order::Descending => filter.before_seq = Some(last.seq),
            }
            seen.extend(page.iter().map(|e| e.seq));
        }
        let mut wanted: Vec<u64> = (1..=2_500).collect();
        if order == Order::Descending {
            wanted.reverse();
        }
        assert_eq!(seen, wanted);
    }
}

#[test]
fn export_is_one_event_a_line() {
    let bench = Bench::new();
    let recorder = bench.open();
    write(&recorder, vec![event(json!({"text": "two\nlines"})), numbered(2), numbered(3)]);
    let text = export(&recorder);
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let events: Vec<Value> = all(&recorder).iter().map(|e| serde_json::to_value(e).unwrap()).collect();
    assert_eq!(lines, events);
    let mut out = Vec::new();
    let filter = EventFilter { order: Order::Descending, limit: 2, ..EventFilter::default() };
    assert_eq!(recorder.export_jsonl(&filter, &mut out).unwrap(), 2);
    assert!(String::from_utf8(out).unwrap().starts_with('{'));
}

/// Columns of a header in the order of the table, without the hash.
const HASHED: &str = "seq, event_id, ts, code, name, class, actor_kind, actor_id, principal, trace_id, span_id, parent_span_id, \
    job_id, workflow_run_id, session_id, wsid, project_id, wp_id, mt_id, approval_id, tool_call_id, capability_id, policy_digest, \
    outcome, unique_key, redactions, payload_sha256, prev_hash, instance_id";

/// A second implementation of the hash, from the columns as they are documented.
pub fn recompute(connection: &rusqlite::Connection, seq: i64) -> String {
    let sql = format!("SELECT {HASHED} FROM events WHERE seq = ?");
    let header: Map<String, Value> = connection
        .query_row(&sql, [seq], |row| {
            let mut map = Map::new();
            for (i, name) in HASHED.split(", ").enumerate() {
                let value = match row.get::<_, rusqlite::types::Value>(i)? {
                    rusqlite::types::Value::Integer(n) => json!(n),
                    rusqlite::types::Value::Text(t) => json!(t),
                    _ => Value::Null,
                };
                map.insert(name.trim().to_owned(), value);
            }
            Ok(map)
        })
        .unwrap();
    canonical::digest("dcc.event.v1", &header).unwrap().to_string()
}

#[test]
fn the_hash_is_what_the_documentation_says() {
    let bench = Bench::new();
    let recorder = bench.open();
    let mut given = numbered(1).once("k");
    given.correlation.wp_id = Some("WP-1".parse().unwrap());
    let written = write(&recorder, vec![given, numbered(2)]);
    let raw = rusqlite::Connection::open(bench.path()).unwrap();
    for event in written {
        assert_eq!(recompute(&raw, event.seq as i64), event.hash.to_string());
    }
}

#[test]
fn a_code_of_a_later_version_is_kept_and_passed_over() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 3);
    drop(recorder);
    // What a later version with a further code would have written: event 2 gets it, and the chain is made anew.
    without_triggers(&bench.path(), |raw| {
        raw.execute("UPDATE events SET code = 'FR-EVT-NEW-001', outcome = 'splendid' WHERE seq = 2", []).unwrap();
        for seq in 2..=3 {
            raw.execute("UPDATE events SET prev_hash = (SELECT hash FROM events e WHERE e.seq = events.seq - 1) WHERE seq = ?", [seq]).unwrap();
            raw.execute("UPDATE events SET hash = ? WHERE seq = ?", (recompute(raw, seq), seq)).unwrap();
        }
    });
    let recorder = bench.open();
    let report = recorder.verify(None).unwrap();
    assert!(report.ok && report.events == 3, "{report:?}");
    let seqs: Vec<u64> = all(&recorder).iter().map(|e| e.seq).collect();
    assert_eq!(seqs, [1, 3]);
    assert_eq!(recorder.by_seq(2).unwrap(), None);
    let page = recorder.read(&EventFilter { after_seq: Some(1), limit: 1, ..EventFilter::default() }).unwrap();
    assert_eq!(page[0].seq, 3, "a page is not shortened by it");
    assert!(export(&recorder).contains("FR-EVT-NEW-001"));
    write(&recorder, vec![numbered(4)]);
    assert!(recorder.verify(None).unwrap().ok);
}
