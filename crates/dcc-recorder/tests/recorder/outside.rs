//! The head kept outside: when, and what becomes of a log that lacks it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dcc_core::ports::{Checkpoint, OutsideHead, Recorder};
use dcc_core::{Code, Failure, InstanceId, Outcome, ProjectId};
use dcc_recorder::{RecorderOptions, SqliteRecorder};
use uuid::Uuid;

use crate::common::{Bench, fill, numbered};
use crate::tamper::without_triggers;

const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps heads in memory.
#[derive(Default)]
struct Place {
    kept: Mutex<Vec<Checkpoint>>,
    changed: Condvar,
    refuses: Mutex<Option<Failure>>,
}

impl Place {
    fn seqs(&self) -> Vec<u64> {
        self.kept.lock().unwrap().iter().map(|c| c.seq).collect()
    }
}

impl OutsideHead for Place {
    fn load(&self) -> Outcome<Option<Checkpoint>> {
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)?;
        Ok(self.kept.lock().unwrap().last().copied())
    }
    fn keep(&self, head: Checkpoint) -> Outcome<()> {
        self.load()?;
        self.kept.lock().unwrap().push(head);
        self.changed.notify_all();
        Ok(())
    }
}

fn open(bench: &Bench, place: &Arc<Place>, keep_after: Option<Duration>) -> Outcome<SqliteRecorder> {
    let options = RecorderOptions { keep_after, ..RecorderOptions::default() };
    SqliteRecorder::open_with(bench.path(), ProjectId(Uuid::nil()), InstanceId(Uuid::nil()), bench.clock.clone(), options)?.hold_outside(Arc::clone(place) as _)
}

#[test]
fn it_is_kept_every_hundred_events_and_at_the_end() {
    let (bench, place) = (Bench::new(), Arc::<Place>::default());
    let recorder = open(&bench, &place, None).unwrap();
    for n in 0..250 {
        recorder.append(vec![numbered(n)]).unwrap();
    }
    drop(recorder);
    assert_eq!(place.seqs(), [100, 200, 250]);
    let recorder = open(&bench, &place, None).unwrap();
    assert_eq!(recorder.verify(None).unwrap().checkpoint.map(|c| c.seq), Some(250));
    recorder.append(vec![numbered(0)]).unwrap();
    recorder.keep_head();
    recorder.keep_head();
    drop(recorder);
    drop(open(&bench, &place, None).unwrap());
    assert_eq!(place.seqs(), [100, 200, 250, 251], "nothing new, nothing kept");
}

#[test]
fn a_single_event_is_kept_when_its_time_has_come() {
    let (bench, place) = (Bench::new(), Arc::<Place>::default());
    let recorder = open(&bench, &place, Some(Duration::from_millis(20))).unwrap();
    recorder.append(vec![numbered(0)]).unwrap();
    let kept = place.kept.lock().unwrap();
    let (kept, waited) = place.changed.wait_timeout_while(kept, PATIENCE, |kept| kept.is_empty()).unwrap();
    assert!(!waited.timed_out() && kept[0].seq == 1);
}

#[test]
fn a_log_that_lacks_it_is_refused_and_a_head_that_is_not_as_it_was_kept_too() {
    let (bench, place) = (Bench::new(), Arc::<Place>::default());
    let recorder = open(&bench, &place, None).unwrap();
    fill(&recorder, 120);
    drop(recorder);
    without_triggers(&bench.path(), |raw| raw.execute_batch("DELETE FROM payloads WHERE seq > 110; DELETE FROM events WHERE seq > 110").unwrap());
    let Err(failure) = open(&bench, &place, None) else { panic!("a cut log was opened") };
    assert_eq!(failure.code, Code::Integrity);
    assert_eq!(bench.open().with_outside(Arc::clone(&place) as _).verify(None).unwrap().first_bad_seq, Some(111));
    place.kept.lock().unwrap().clear();
    drop(open(&bench, &place, None).unwrap());
    *place.refuses.lock().unwrap() = Some(Failure::new(Code::Integrity, "it was altered"));
    let Err(failure) = open(&bench, &place, None) else { panic!("a head that was altered was taken") };
    assert_eq!(failure.message, "it was altered");
    let report = bench.open().with_outside(Arc::clone(&place) as _).verify(None).unwrap();
    assert_eq!((report.ok, report.events, report.first_bad_seq, report.problem.as_deref()), (false, 110, None, Some("it was altered")));
}

#[test]
fn a_place_that_refuses_costs_no_append() {
    let (bench, place) = (Bench::new(), Arc::<Place>::default());
    let recorder = open(&bench, &place, None).unwrap();
    *place.refuses.lock().unwrap() = Some(Failure::engine("no space"));
    fill(&recorder, 120);
    // The writing thread answers before it keeps: it has been refused when this returns.
    recorder.keep_head();
    *place.refuses.lock().unwrap() = None;
    fill(&recorder, 10);
    assert!(recorder.is_writable() && recorder.verify(None).unwrap().ok);
    drop(recorder);
    assert_eq!(place.seqs(), [130]);
}
