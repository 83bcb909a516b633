//! Fakes of the canon ports, and a driver that makes one Locus mutation as the runner does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dcc_core::event::{Event, EventCode, NewEvent};
use dcc_core::gate::{self, Cleared};
use dcc_core::locus::change::NewPacket;
use dcc_core::locus::rules::{Applied, Context, apply};
use dcc_core::locus::{LocusChange, Record, RecordKey, Routing, WpType};
use dcc_core::op::Op;
use dcc_core::plan::{Frozen, PlanBody as _};
use dcc_core::plans::LocusPlan;
use dcc_core::policy::Policy;
use dcc_core::ports::{Appended, ArtifactStore, BoardFacts, ChainHead, Checkpoint, EventFilter, Locus as _, Order, Recorder, StagedRecord, VerifyReport};
use dcc_core::principal::{Actor, Role, Surface};
use dcc_core::{Code, EventId, Failure, JobId, MtId, NoteId, Outcome, Sha256Hex, Timestamp, WpId};
use dcc_locus::LocusStore;
use serde_json::json;
use uuid::Uuid;

#[derive(Default)]
pub struct FakeRecorder(Mutex<Vec<Event>>);

impl Recorder for FakeRecorder {
    fn append(&self, events: Vec<NewEvent>) -> Outcome<Appended> {
        let mut log = self.0.lock().unwrap();
        let from = log.len();
        for new in events {
            let seq = log.len() as u64 + 1;
            log.push(Event {
                seq,
                event_id: Uuid::from_u128(u128::from(seq)).into(),
                ts: Timestamp(0),
                code: new.code,
                name: new.code.name().into(),
                actor_kind: new.actor.kind(),
                actor_id: new.actor.id(),
                actor: new.actor,
                correlation: new.correlation,
                capability_id: None,
                policy_digest: None,
                outcome: new.outcome,
                payload: new.payload,
                payload_sha256: Sha256Hex::ZERO,
                unique_key: new.unique_key,
                project_id: Uuid::nil().into(),
                instance_id: Uuid::nil().into(),
                prev_hash: Sha256Hex::ZERO,
                hash: Sha256Hex::ZERO,
            });
        }
        Ok(Appended::Written(log[from..].to_vec()))
    }
    fn head(&self) -> Outcome<ChainHead> {
        Ok(ChainHead { seq: self.0.lock().unwrap().len() as u64, hash: Sha256Hex::ZERO })
    }
    fn read(&self, filter: &EventFilter) -> Outcome<Vec<Event>> {
        let log = self.0.lock().unwrap();
        let fits = |e: &&Event| e.seq > filter.after_seq.unwrap_or(0) && (filter.codes.is_empty() || filter.codes.contains(&e.code));
        let mut found: Vec<Event> = log.iter().filter(fits).cloned().collect();
        if filter.order == Order::Descending {
            found.reverse();
        }
        // Small pages, so that paging is exercised.
        found.truncate(if filter.limit == 0 { 3 } else { filter.limit.min(3) });
        Ok(found)
    }
    fn event(&self, id: EventId) -> Outcome<Option<Event>> {
        Ok(self.0.lock().unwrap().iter().find(|e| e.event_id == id).cloned())
    }
    fn by_seq(&self, seq: u64) -> Outcome<Option<Event>> {
        Ok(self.0.lock().unwrap().iter().find(|e| e.seq == seq).cloned())
    }
    fn by_unique_key(&self, key: &str) -> Outcome<Option<Event>> {
        Ok(self.0.lock().unwrap().iter().find(|e| e.unique_key.as_deref() == Some(key)).cloned())
    }
    fn verify(&self, _external: Option<Checkpoint>) -> Outcome<VerifyReport> {
        Err(Failure::engine("the fake keeps no chain"))
    }
    fn is_writable(&self) -> bool {
        true
    }
}

#[derive(Default)]
pub struct FakeArtifacts(pub Mutex<HashMap<Sha256Hex, Vec<u8>>>);

impl ArtifactStore for FakeArtifacts {
    fn put(&self, bytes: &[u8]) -> Outcome<Sha256Hex> {
        let sha256 = Sha256Hex::of(bytes);
        self.0.lock().unwrap().insert(sha256, bytes.to_vec());
        Ok(sha256)
    }
    fn get(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        self.0.lock().unwrap().get(&sha256).cloned().ok_or_else(|| Failure::new(Code::NotFoundArtifact, "no such artifact"))
    }
    fn has(&self, sha256: Sha256Hex) -> bool {
        self.0.lock().unwrap().contains_key(&sha256)
    }
}

pub struct World {
    pub dir: Arc<tempfile::TempDir>,
    pub recorder: Arc<FakeRecorder>,
    pub artifacts: Arc<FakeArtifacts>,
    pub store: LocusStore,
}

pub fn wp(text: &str) -> WpId {
    WpId::parse(text).unwrap()
}

pub fn create(id: &str, title: &str) -> LocusChange {
    LocusChange::CreateWp {
        new: NewPacket {
            wp_id: wp(id),
            title: title.into(),
            description: String::new(),
            wp_type: WpType::Bug,
            priority: 1,
            routing: Routing::Light,
            labels: Vec::new(),
            acceptance_criteria: vec!["it works".into()],
            in_scope_paths: Vec::new(),
        },
    }
}

/// A clearance for a Locus plan, through the gates, as the operator.
pub fn cleared(plan: LocusPlan) -> Cleared<LocusPlan> {
    let requirement = plan.requirement();
    let frozen = Frozen::freeze(plan.op, "locus", Vec::new(), plan).unwrap();
    let job_id = JobId(Uuid::nil());
    let verdict = gate::evaluate(&gate::Facts {
        job_id,
        root_job_id: job_id,
        actor: Actor::operator(Surface::Terminal),
        role: Role::Human,
        requirement: &requirement,
        plan_digest: frozen.plan_digest(),
        wp_id: None,
        foreign_packet: None,
        over_budget: None,
        own_workspace_id: None,
        model: None,
        protected_branches: &[],
        out_of_scope: &[],
        policy: &Policy::built_in(),
        grants: &[],
        approval: None,
        now: Timestamp(0),
    });
    gate::clear(frozen, &verdict).unwrap()
}

impl World {
    pub fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let (recorder, artifacts) = (Arc::new(FakeRecorder::default()), Arc::new(FakeArtifacts::default()));
        let store = LocusStore::open(&dir.path().join("gov"), recorder.clone(), artifacts.clone()).unwrap();
        Self { dir, recorder, artifacts, store }
    }

    /// A new process over the same canon.
    pub fn reopened(&self) -> LocusStore {
        LocusStore::open(&self.gov(), self.recorder.clone(), self.artifacts.clone()).unwrap()
    }

    /// The same, as a world of its own.
    pub fn another_process(&self) -> Self {
        Self { dir: self.dir.clone(), recorder: self.recorder.clone(), artifacts: self.artifacts.clone(), store: self.reopened() }
    }

    pub fn gov(&self) -> PathBuf {
        self.dir.path().join("gov")
    }

    pub fn packet_path(&self, id: &str) -> PathBuf {
        self.gov().join("work_packets").join(id).join("packet.json")
    }

    pub fn judge(&self, id: &str, mt_id: Option<&str>, change: &LocusChange) -> Outcome<Applied> {
        let all: Vec<_> = self.store.packets()?.into_iter().map(|e| e.record).collect();
        let micro_tasks: Vec<_> = self.store.micro_tasks(&wp(id))?.into_iter().map(|e| e.record).collect();
        let packet = self.store.packet(&wp(id))?.map(|e| e.record);
        let ctx = Context {
            now: Timestamp(1_700_000_000_000),
            author: "operator",
            note_id: NoteId(Uuid::from_u128(7)),
            all_packets: &all,
            micro_tasks: &micro_tasks,
            pending_approvals: 0,
            running: 0,
            gate_inputs: None,
        };
        apply(change, packet.as_ref(), mt_id.map(|m| MtId::parse(m).unwrap()).as_ref(), &ctx)
    }

    /// Artifact and event, without the file: where a crash leaves it.
    pub fn accept(&self, id: &str, mt_id: Option<&str>, change: &LocusChange) -> Outcome<(Vec<StagedRecord>, Cleared<LocusPlan>)> {
        let applied = self.judge(id, mt_id, change)?;
        let staged: Vec<_> = applied.records.iter().map(|r| self.store.stage(r)).collect::<Outcome<_>>()?;
        self.record(applied.event, json!({ "records": staged }));
        let plan = LocusPlan { op: Op::LocusUpdateWp, wp_id: wp(id), mt_id: None, change: change.clone(), base: Vec::new(), sentence: applied.sentence };
        Ok((staged, cleared(plan)))
    }

    pub fn change(&self, id: &str, mt_id: Option<&str>, change: &LocusChange) -> Outcome<()> {
        let (staged, cleared) = self.accept(id, mt_id, change)?;
        self.store.publish(cleared, &staged)
    }

    /// Writes the accepted bytes back over what stands there now, as the job does.
    pub fn restore(&self, id: &str) -> Outcome<()> {
        let key = RecordKey::Packet { wp_id: wp(id) };
        let found = self.store.drifted(&key)?.and_then(|d| d.found_sha256());
        let change = LocusChange::RestoreFile { key: key.text(), found_sha256: found };
        let plan = LocusPlan { op: Op::LocusAcceptEdit, wp_id: wp(id), mt_id: None, change, base: Vec::new(), sentence: String::new() };
        self.store.restore(cleared(plan), &key, found)
    }

    pub fn record(&self, code: EventCode, payload: serde_json::Value) {
        self.recorder.append(vec![NewEvent::new(code, Actor::SYSTEM, payload)]).unwrap();
    }

    /// Syncs and records, as the runner does.
    pub fn sync(&self) -> BoardFacts {
        let facts = self.store.sync_board().unwrap();
        if facts.unrecorded {
            self.record(EventCode::BoardWritten, json!({ "sha256": facts.sha256, "zones_sha256": facts.zones_sha256 }));
        }
        facts
    }

    pub fn board(&self) -> String {
        std::fs::read_to_string(self.board_path()).unwrap()
    }

    pub fn board_path(&self) -> PathBuf {
        self.gov().join("TASK_BOARD.md")
    }
}

#[expect(clippy::disallowed_methods, reason = "a test plays the careless editor")]
pub fn scribble(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub fn record_bytes(applied: &Applied) -> Vec<u8> {
    applied.records.iter().flat_map(Record::to_bytes).collect()
}
