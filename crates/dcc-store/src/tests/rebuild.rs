//! However events are fed, the rows are the same; and feeding is quick.

use std::time::{Duration, Instant};

use dcc_core::Code;
use dcc_core::ports::store::{JobFilter, Store as _};

use super::fixtures::*;

#[test]
fn all_at_once_one_by_one_again_and_after_a_reset_give_equal_rows() {
    let events = story(20);
    let bench = Bench::new();
    let store = &bench.store;
    store.apply(&events).unwrap();
    let at_once = store.dump().unwrap();
    assert!(at_once.lines().count() > 100);

    store.apply(&events).unwrap();
    assert_eq!(store.dump().unwrap(), at_once, "applied twice");

    for step in [1, 3, 7] {
        store.reset().unwrap();
        assert_eq!(store.cursor().unwrap(), 0);
        assert!(store.jobs(&JobFilter::default()).unwrap().is_empty());
        for chunk in events.chunks(step) {
            store.apply(chunk).unwrap();
        }
        assert_eq!(store.dump().unwrap(), at_once, "in steps of {step}");
    }
    // Overlapping feeds, as a caller that is unsure of the cursor gives them.
    store.reset().unwrap();
    for end in [5, 5, 40, 60, events.len()] {
        store.apply(&events[..end]).unwrap();
    }
    assert_eq!(store.dump().unwrap(), at_once);
}

#[test]
fn each_record_equals_the_pure_fold() {
    let events = story(5);
    let bench = Bench::new();
    for chunk in events.chunks(4) {
        bench.store.apply(chunk).unwrap();
    }
    for n in 0..5 {
        let (mut job, mut approval) = (None, dcc_core::approval::ApprovalFold::default());
        for event in &events {
            if event.job_id == Some(id(1_000_000 + n)) {
                dcc_core::job::apply(&mut job, event);
            }
            if event.approval_id == Some(id(2_000_000 + n)) {
                approval.apply(event);
            }
        }
        assert_eq!(bench.store.job(id(1_000_000 + n)).unwrap(), job);
        assert_eq!(bench.store.approval(id(2_000_000 + n)).unwrap(), approval.approval);
    }
    let mut session = None;
    for event in events.iter().filter(|e| e.session_id == Some(id(20))) {
        dcc_core::session::apply(&mut session, event);
    }
    assert_eq!(bench.store.session(id(20)).unwrap(), session);
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let events = story(3);
    let bench = Bench::new();
    let store = &bench.store;
    assert_eq!(store.apply(&events[1..]).unwrap_err().code, Code::Engine);
    store.apply(&events[..4]).unwrap();
    let before = store.dump().unwrap();
    for bad in [events[5..].to_vec(), [&events[4..6], &events[7..]].concat(), [&events[4..6], &events[5..]].concat()] {
        let failure = store.apply(&bad).unwrap_err();
        assert_eq!(failure.code, Code::Engine);
        assert_eq!((store.cursor().unwrap(), store.dump().unwrap()), (4, before.clone()));
    }
    store.apply(&events).unwrap();
    assert_eq!(store.cursor().unwrap(), events.len() as u64);
}

#[test]
fn ten_thousand_events_in_one_batch() {
    let events = story(1_000);
    assert!(events.len() > 10_000);
    let bench = Bench::new();
    bench.store.apply(&events).unwrap();
    assert_eq!(bench.store.cursor().unwrap(), events.len() as u64);
    assert_eq!(bench.store.jobs(&JobFilter::default()).unwrap().len(), 1_000);
}

/// Prints the rate for 100,000 events; the bound holds for an optimised build.
#[test]
#[ignore = "a measurement"]
fn rate_of_a_hundred_thousand_events() {
    let events = story(10_000);
    let bench = Bench::new();
    let begun = Instant::now();
    for batch in events.chunks(1_000) {
        bench.store.apply(batch).unwrap();
    }
    let taken = begun.elapsed();
    println!("{} events in {taken:?}, {} bytes", events.len(), bench.store.health().bytes);
    assert!(cfg!(debug_assertions) || taken <= Duration::from_secs(10), "{taken:?}");
}
