//! A clock that tests set, and shorthands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dcc_core::event::{Event, EventCode, NewEvent};
use dcc_core::ports::{Appended, Clock, EventFilter, Recorder};
use dcc_core::principal::Actor;
use dcc_core::{InstanceId, Outcome, ProjectId, Timestamp};
use dcc_recorder::SqliteRecorder;
use serde_json::{Value, json};
use uuid::Uuid;

pub struct TestClock {
    pub now_ms: AtomicI64,
}

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicI64::new(1_800_000_000_000) })
    }
    pub fn advance(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst))
    }
    fn fresh_id(&self) -> Uuid {
        Uuid::now_v7()
    }
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub clock: Arc<TestClock>,
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("recorder.db")
    }
    pub fn open(&self) -> SqliteRecorder {
        self.try_open(&self.path()).unwrap()
    }
    pub fn try_open(&self, path: &Path) -> Outcome<SqliteRecorder> {
        SqliteRecorder::open(path, ProjectId(Uuid::nil()), InstanceId(Uuid::nil()), self.clock.clone())
    }
}

pub fn event(payload: Value) -> NewEvent {
    NewEvent::new(EventCode::JobStateChange, Actor::SYSTEM, payload)
}

pub fn numbered(n: u64) -> NewEvent {
    event(json!({"n": n}))
}

pub fn write(recorder: &SqliteRecorder, events: Vec<NewEvent>) -> Vec<Event> {
    match recorder.append(events).unwrap() {
        Appended::Written(events) => events,
        Appended::Taken { key, .. } => panic!("{key} is taken"),
    }
}

/// Appends so many numbered events, in batches.
pub fn fill(recorder: &SqliteRecorder, count: u64) {
    let all: Vec<NewEvent> = (0..count).map(numbered).collect();
    for batch in all.chunks(500) {
        write(recorder, batch.to_vec());
    }
}

pub fn all(recorder: &SqliteRecorder) -> Vec<Event> {
    recorder.read(&EventFilter::default()).unwrap()
}

pub fn export(recorder: &SqliteRecorder) -> String {
    let mut out = Vec::new();
    recorder.export_jsonl(&EventFilter::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
