//! Packets from Locus, searching, short ids.

use dcc_core::event::EventCode as C;
use dcc_core::locus::{MicroTask, WorkPacket};
use dcc_core::ports::store::Store as _;
use serde_json::{Value, json};

use super::fixtures::*;

fn packet(wp_id: &str, title: &str) -> WorkPacket {
    let gate = json!({"status": "pending"});
    serde_json::from_value(json!({
        "schema_id": "hsk.tracked_work_packet@1", "schema_version": "1", "record_id": wp_id, "record_kind": "work_packet",
        "project_profile_kind": "software_delivery", "updated_at": at(1), "wp_id": wp_id, "version": 1, "title": title, "status": "ready", "priority": 2,
        "type": "feature", "routing": "GOV_STANDARD", "reporter": "operator", "gates": {"pre_work": gate, "post_work": gate}, "created_at": at(1),
        "labels": ["ui"]
    }))
    .unwrap()
}

fn micro_task(wp_id: &str, mt_id: &str, name: &str) -> MicroTask {
    serde_json::from_value(json!({
        "schema_id": "hsk.tracked_micro_task@1", "schema_version": "1", "record_id": format!("{wp_id}/{mt_id}"), "record_kind": "micro_task",
        "project_profile_kind": "software_delivery", "updated_at": at(1), "wp_id": wp_id, "mt_id": mt_id, "version": 1, "name": name,
        "done_criteria": ["x"], "status": "pending", "max_iterations": 5, "created_at": at(1)
    }))
    .unwrap()
}

fn found(bench: &Bench, text: &str) -> Vec<String> {
    bench.store.find_objects(text, 0).unwrap().into_iter().map(|(kind, id, title)| format!("{kind} {id} {title}")).collect()
}

#[test]
fn some_are_updated_and_all_are_replaced() {
    let bench = Bench::new();
    let store = &bench.store;
    store.put_packets(&[packet("WP-0001", "One"), packet("WP-0002", "Two")], &[micro_task("WP-0001", "MT-001", "First")], true).unwrap();
    let mut changed = packet("WP-0002", "Second");
    changed.version = 2;
    store.put_packets(&[changed], &[micro_task("WP-0001", "MT-002", "Next")], false).unwrap();
    let rows = "SELECT group_concat(wp_id || title || version || status || priority || wp_type, ' ') FROM work_packets";
    assert_eq!(bench.text(rows), "WP-0001One1ready2feature WP-0002Second2ready2feature");
    assert_eq!(bench.rows("SELECT * FROM micro_tasks").len(), 2);
    store.put_packets(&[packet("WP-0003", "Three")], &[], true).unwrap();
    assert_eq!(bench.text("SELECT group_concat(wp_id) FROM work_packets"), "WP-0003");
    assert!(bench.rows("SELECT * FROM micro_tasks").is_empty());
    store.put_packets(&[], &[], true).unwrap();
    assert!(bench.rows("SELECT * FROM work_packets").is_empty());
}

#[test]
fn things_are_found_by_a_piece_of_text_in_any_case() {
    let bench = Bench::new();
    let mut gone = packet("WP-0009", "Übergang that is gone");
    gone.tombstone = Some(at(5));
    let packets = [packet("WP-0001", "Der ÜBERGANG"), packet("WP-0010", "mentions wp-0001"), gone];
    let tasks = [micro_task("WP-0001", "MT-001", "Übergang bauen"), micro_task("WP-0009", "MT-001", "Übergang also gone")];
    bench.store.put_packets(&packets, &tasks, true).unwrap();
    bench
        .store
        .apply(&numbered(vec![
            (C::SessionCreated, of_session(20), json!({"session": session_json(20)})),
            (C::WorkspaceCreated, of_workspace(30), json!({"workspace": workspace_json(30, "/r/Fähre")})),
        ]))
        .unwrap();
    assert_eq!(found(&bench, "übergang"), ["packet WP-0001 Der ÜBERGANG", "micro_task WP-0001/MT-001 Übergang bauen"]);
    // The id itself first, then what begins with it, then what only mentions it.
    let hits = found(&bench, "wp-0001");
    assert_eq!(hits[..2], ["packet WP-0001 Der ÜBERGANG", "micro_task WP-0001/MT-001 Übergang bauen"]);
    assert_eq!(hits.len(), 5);
    let ferry = [format!("session {} scripted on WP-0001/MT-001", uuid_text(20)), format!("workspace {} dcc/WP-0001-x", uuid_text(30))];
    assert_eq!(found(&bench, "FÄHRE"), ferry);
    assert!(found(&bench, "100%_'\"").is_empty());
    assert_eq!(bench.store.find_objects("", 2).unwrap().len(), 2);
}

#[test]
fn short_ids_resolve_from_either_end() {
    let bench = Bench::new();
    bench.store.put_packets(&[packet("WP-Abc", "x")], &[micro_task("WP-Abc", "MT-001", "y")], true).unwrap();
    bench
        .store
        .apply(&numbered(vec![
            (C::JobAccepted, of_job(0x0abc_0001), json!({"job": job_json(0x0abc_0001)})),
            (C::SessionCreated, of_session(0x0abc_0002), json!({"session": session_json(0x0abc_0002)})),
            (C::WorkspaceCreated, of_workspace(0x0abc_0003), json!({"workspace": workspace_json(0x0abc_0003, "/r/x")})),
            (C::ApprovalRequested, of_approval(0x0abc_0004, 10), json!({"approval": approval_json(0x0abc_0004)})),
            (C::GrantIssued, of_approval(0x0abc_0004, 10), json!({"grant": grant_json(0x0abc_0005, 0x0abc_0004)})),
        ]))
        .unwrap();
    let kinds = |text: &str| -> Vec<String> { bench.store.resolve_short(text).unwrap().into_iter().map(|(kind, _)| kind).collect() };
    for (text, kind) in [("0abc0001", "job"), ("0ABC0002", "session"), ("0abc0003", "workspace"), ("0abc0004", "approval"), ("0abc0005", "grant")] {
        assert_eq!(kinds(text), [kind], "{text}");
    }
    assert_eq!(kinds(&uuid_text(0x0abc_0001)), ["job"]);
    assert_eq!(kinds("0190aaaa"), ["job", "session", "workspace", "approval", "grant"]);
    assert_eq!(bench.store.resolve_short("wp-abc").unwrap(), [("packet".to_owned(), "WP-Abc".to_owned())]);
    assert_eq!(bench.store.resolve_short("wp-ABC/mt-001").unwrap(), [("micro_task".to_owned(), "WP-Abc/MT-001".to_owned())]);
    for nothing in ["", "wp-", "wp-ab", "019", "zzzz", "0abc0001x", "%", "' OR 1=1"] {
        assert!(kinds(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn records_come_back_as_they_were_put() {
    let bench = Bench::new();
    let put = packet("WP-0001", "One");
    bench.store.put_packets(std::slice::from_ref(&put), &[], true).unwrap();
    let stored: Value = serde_json::from_str(&bench.text("SELECT record_json FROM work_packets")).unwrap();
    assert_eq!(serde_json::from_value::<WorkPacket>(stored).unwrap(), put);
}
