//! Events that mean nothing, or the wrong thing.

use dcc_core::event::{Correlation, EventCode};
use dcc_core::ports::store::Store as _;
use serde_json::{Value, json};

use super::fixtures::*;

#[test]
fn every_code_with_every_odd_payload_moves_the_cursor() {
    let bench = Bench::new();
    let about = Correlation {
        wp_id: Some(wp("WP-0001")),
        mt_id: Some("MT-001".parse().unwrap()),
        session_id: Some(id(20)),
        workspace_id: Some(id(30)),
        job_id: Some(id(10)),
        workflow_run_id: Some(id(10)),
        approval_id: Some(id(40)),
        tool_call_id: Some("c".into()),
    };
    let odd = json!({"job": 1, "approval": [], "grant": "x", "session": null, "workspace": {}, "tool": {}, "gate": 3, "handoff": [], "project": 1});
    bench.store.apply(&story(1)).unwrap();
    let mut seq = bench.store.cursor().unwrap();
    for code in EventCode::ALL {
        for payload in [Value::Null, json!({}), json!([]), odd.clone()] {
            for correlation in [Correlation::default(), about.clone()] {
                seq += 1;
                bench.store.apply(&[event(seq, *code, correlation, payload.clone())]).unwrap();
            }
        }
    }
    assert_eq!(bench.store.cursor().unwrap(), seq);
    assert!(bench.store.job(id(10)).unwrap().is_none());
}

#[test]
fn an_opening_event_that_does_not_read_erases_nothing() {
    let bench = Bench::new();
    let told = story(1);
    bench.store.apply(&told).unwrap();
    let (job, approval) = (1_000_000, 2_000_000);
    // The job takes every event that names it, so only its content is compared.
    let known = || (bench.store.job(id(job)).unwrap().map(|j| j.params), bench.store.approval(id(approval)).unwrap(), bench.store.workspace(id(30)).unwrap());
    let before = known();
    assert!(before.0.is_some() && before.1.is_some() && before.2.is_some());
    let next = told.len() as u64;
    let about_approval = Correlation { approval_id: Some(id(approval)), ..Correlation::default() };
    let odd = [
        event(next + 1, EventCode::JobAccepted, of_job(job), json!({"job": "gone"})),
        event(next + 2, EventCode::ApprovalRequested, about_approval.clone(), json!({})),
        event(next + 3, EventCode::WorkspaceCreated, of_workspace(30), json!({"workspace": {}})),
        event(next + 4, EventCode::SessionCreated, of_session(20), json!({"session": 0})),
        // Another record's content under this record's id.
        event(next + 5, EventCode::JobAccepted, of_job(job), json!({"job": job_json(77)})),
        event(next + 6, EventCode::WorkspaceCreated, of_workspace(30), json!({"workspace": workspace_json(77, "/r/y")})),
        event(next + 7, EventCode::GrantIssued, about_approval, json!({"grant": grant_json(50, 77)})),
    ];
    bench.store.apply(&odd).unwrap();
    assert_eq!(known(), before);
    assert!(bench.store.session(id(20)).unwrap().is_some());
    assert!(bench.store.job(id(77)).unwrap().is_none());
    assert!(bench.store.grants(0).unwrap().is_empty());
}

#[test]
fn text_from_outside_is_only_text() {
    let bench = Bench::new();
    let evil = "'); DROP TABLE jobs; --\u{1}\u{202e}";
    let mut session = session_json(20);
    session["agent"] = json!(evil);
    bench
        .store
        .apply(&numbered(vec![
            (EventCode::SessionCreated, of_session(20), json!({"session": session})),
            (EventCode::SessionMessage, of_session(20), json!({"role": evil, "text": evil})),
        ]))
        .unwrap();
    assert_eq!(bench.store.messages(id(20), 0, 0).unwrap()[0].text, evil);
    assert_eq!(bench.store.session(id(20)).unwrap().unwrap().agent, evil);
    assert_eq!(bench.store.find_objects("drop table", 0).unwrap().len(), 1);
}
