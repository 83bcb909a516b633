//! The store: accepted records from the recorder, their files under `gov/`, and the board.
//!
//! Authority: canon. Invariants: the index is the recorder's word, never the file's; a file that differs is reported and
//! left alone; one lock orders readers and the writer, so no reader sees a file newer than the index.
//! On failure: a publication that fails leaves an accepted record whose file is brought in step when its event is fed again,
//! before the next version is staged, or at the next open.

mod settle;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dcc_core::event::Event;
use dcc_core::gate::Cleared;
use dcc_core::limits;
use dcc_core::locus::{MicroTask, Record, RecordKey, WorkPacket};
use dcc_core::plans::LocusPlan;
use dcc_core::ports::{ArtifactStore, BoardFacts, Drifted, EventFilter, Locus, LocusEntry, Recorder, StagedRecord};
use dcc_core::{Code, Failure, MtId, Outcome, Sha256Hex, WpId};

use crate::board::{self, BoardEntry, Written};
use crate::fsroot::{Found, FsRoot, Glance};
use crate::index::{Accepted, CODES, Index, IndexKey, fold, index_key, packet_key};
use crate::record_file;

const PACKETS: &str = "work_packets";
const MICRO_TASKS: &str = "micro_tasks";
/// A record file larger than an artifact can be was not written by us.
const RECORD_BYTES_MAX: u64 = limits::ARTIFACT_BYTES_MAX as u64;
/// Findings of one sweep; beyond this the place is beyond a list.
const FINDINGS_MAX: usize = 1_000;

/// Locus over a directory, a recorder and an artifact store.
pub struct LocusStore {
    root: FsRoot,
    /// False: files are looked at and never brought in step.
    may_write: bool,
    recorder: Arc<dyn Recorder>,
    artifacts: Arc<dyn ArtifactStore>,
    index: Mutex<Index>,
    /// What this process wrote to the board last, until its event is in the log.
    written: Mutex<Option<Written>>,
}

impl LocusStore {
    /// Folds the recorder's events, reads every accepted record and rolls files forward whose publication was cut short.
    /// Refuses a `gov_dir` that is a symbolic link.
    pub fn open(gov_dir: &Path, recorder: Arc<dyn Recorder>, artifacts: Arc<dyn ArtifactStore>) -> Outcome<Self> {
        Self::opened(gov_dir, recorder, artifacts, true)
    }

    /// The same for reading only: a file whose publication was cut short stays as it is and shows as drift.
    pub fn open_read_only(gov_dir: &Path, recorder: Arc<dyn Recorder>, artifacts: Arc<dyn ArtifactStore>) -> Outcome<Self> {
        Self::opened(gov_dir, recorder, artifacts, false)
    }

    fn opened(gov_dir: &Path, recorder: Arc<dyn Recorder>, artifacts: Arc<dyn ArtifactStore>, may_write: bool) -> Outcome<Self> {
        let root = FsRoot::open(gov_dir, may_write)?;
        let store = Self { root, may_write, recorder, artifacts, index: Mutex::default(), written: Mutex::default() };
        let mut index = store.lock();
        index.is_opening = true;
        store.refresh(&mut index)?;
        index.is_opening = false;
        drop(index);
        Ok(store)
    }

    fn require_writable(&self) -> Outcome<()> {
        if self.may_write { Ok(()) } else { Err(Failure::recorder("Locus was opened for reading")) }
    }

    /// Everything that is not as accepted: differing files, files no event names, records that are lost. By key or path.
    pub fn drift(&self) -> Outcome<Vec<(String, String)>> {
        let mut index = self.lock();
        self.look_again(&mut index, |_| true)?;
        let mut findings: Vec<_> =
            index.entries.values().filter_map(|a| a.drift.as_ref().map(|why| (a.record.key().text(), why.clone()))).take(FINDINGS_MAX).collect();
        findings.extend(index.lost.values().map(|(key, why)| (key.text(), why.clone())));
        self.add_strangers(&index, &mut findings)?;
        findings.truncate(FINDINGS_MAX);
        Ok(findings)
    }

    /// Records whose file was gone when this store was opened and was written back, with the version and the event that
    /// named it. A publication that was cut short looks the same; who knows the jobs can tell.
    pub fn brought_back(&self) -> Vec<(RecordKey, u64, u64)> {
        self.lock().brought_back.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // The index holds whole entries only, so a panic elsewhere leaves it usable.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds events that are not folded yet.
    fn refresh(&self, index: &mut Index) -> Outcome<Vec<IndexKey>> {
        let mut latest = BTreeMap::new();
        loop {
            let filter = EventFilter { after_seq: Some(index.seen_seq), codes: CODES.to_vec(), limit: limits::PAGE_MAX, ..EventFilter::default() };
            let page = self.recorder.read(&filter)?;
            let Some(last) = page.last() else { break };
            index.seen_seq = last.seq;
            latest.extend(fold(&page));
        }
        self.accept_all(index, latest, false)
    }

    /// Takes in what events name; answers the keys that changed. With `again`, files of records that are known already are
    /// brought in step too: at open and when events are fed, not while somebody only reads.
    fn accept_all(&self, index: &mut Index, latest: BTreeMap<IndexKey, (StagedRecord, u64)>, again: bool) -> Outcome<Vec<IndexKey>> {
        let mut changed = Vec::new();
        for (key, (staged, seq)) in latest {
            match index.entries.get_mut(&key) {
                Some(known) if known.seq > seq => continue,
                Some(known) if known.sha256 == staged.sha256 => {
                    known.seq = seq;
                    if known.drift.is_none() || !again {
                        continue;
                    }
                }
                // A publication of this process, whose later event has not come by yet, is newer than an older event.
                Some(known) if known.seq == 0 && known.record.version() >= staged.version => continue,
                _ => {}
            }
            self.accept(index, &key, &staged, seq)?;
            changed.push(key);
        }
        Ok(changed)
    }

    /// One accepted record: its bytes from the file when they are the accepted ones, else from the artifact; the file is
    /// rolled forward when it is missing or the predecessor.
    fn accept(&self, index: &mut Index, key: &IndexKey, staged: &StagedRecord, seq: u64) -> Outcome<()> {
        let path = staged.key.relative_path();
        let found = self.root.read(&path, RECORD_BYTES_MAX)?;
        let on_disk = found.sha256();
        let bytes = match &found {
            Found::File { bytes, .. } if on_disk == Some(staged.sha256) => Ok(bytes.clone()),
            _ => self.artifacts.get(staged.sha256),
        };
        let record = bytes
            .map_err(|f| format!("the accepted version {} is neither on disk nor an artifact: {}", staged.version, f.message))
            .and_then(|bytes| record_file::parse(&staged.key, &bytes).map_err(|why| format!("the accepted version {} {why}", staged.version)).map(|r| (r, bytes)));
        let (record, bytes) = match record {
            Ok(read) => read,
            Err(why) => {
                index.entries.remove(key);
                index.lost.insert(key.clone(), (staged.key.clone(), format!("{}: {why}", staged.key.text())));
                return Ok(());
            }
        };
        let mut accepted = Accepted { record, sha256: staged.sha256, predecessor: staged.predecessor, edited: staged.edited, signature: None, drift: None, seq };
        let was_missing = matches!(found, Found::Missing);
        self.settle_file(&mut accepted, found, &bytes);
        if index.is_opening && was_missing && accepted.drift.is_none() {
            index.brought_back.push((staged.key.clone(), staged.version, seq));
        }
        index.lost.remove(key);
        index.entries.insert(key.clone(), accepted);
        Ok(())
    }

    /// Brings the file in step when that is allowed, and notes what it looks like.
    fn settle_file(&self, accepted: &mut Accepted, found: Found, bytes: &[u8]) {
        let path = accepted.record.key().relative_path();
        let (wanted, predecessor, edited) = (accepted.sha256, accepted.predecessor, accepted.edited);
        let may_replace = |found: &Found| match found {
            Found::Missing => true,
            Found::File { .. } => [Some(wanted), predecessor, edited].contains(&found.sha256()),
            Found::Large { .. } | Found::Refused(_) => false,
        };
        let now = if found.sha256() == Some(wanted) {
            Ok(found)
        } else if self.may_write && may_replace(&found) {
            self.root.replace(&path, bytes, &may_replace).and_then(|stood| match stood {
                None => self.root.read(&path, RECORD_BYTES_MAX),
                Some(other) => Ok(other),
            })
        } else {
            Ok(found)
        };
        match now {
            Ok(now) => note_file(accepted, &now),
            Err(failure) => {
                accepted.signature = None;
                accepted.drift = Some(format!("{path} could not be brought in step: {}", failure.message));
            }
        }
    }

    /// Looks at the files of the chosen entries again when they changed since the last look. A hash that is not the
    /// accepted one may be another process's newer record, so the recorder is asked before it is called drift.
    fn look_again(&self, index: &mut Index, chosen: impl Fn(&IndexKey) -> bool) -> Outcome<()> {
        let (packets, micro_tasks) = (self.root.glance(PACKETS)?, self.root.glance(MICRO_TASKS)?);
        let signature = |key: &RecordKey| {
            let (top, glance): (&str, &Option<Glance>) = if matches!(key, RecordKey::Packet { .. }) { (PACKETS, &packets) } else { (MICRO_TASKS, &micro_tasks) };
            glance.as_ref().and_then(|g| g.signature(&key.relative_path()[top.len() + 1..]))
        };
        let suspects: Vec<IndexKey> = index
            .entries
            .iter()
            .filter(|(key, _)| chosen(key))
            .filter(|(_, a)| a.signature.is_none() || signature(&a.record.key()) != a.signature)
            .map(|(key, _)| key.clone())
            .collect();
        let mut differing = Vec::new();
        for key in suspects {
            if !self.look(index, &key)? {
                differing.push(key);
            }
        }
        if differing.is_empty() || self.refresh(index)?.is_empty() {
            return Ok(());
        }
        for key in differing {
            self.look(index, &key)?;
        }
        Ok(())
    }

    /// Reads one file; true when it is the accepted record, or was known to differ in just this way already.
    fn look(&self, index: &mut Index, key: &IndexKey) -> Outcome<bool> {
        let Some(accepted) = index.entries.get_mut(key) else { return Ok(true) };
        let before = accepted.drift.clone();
        let found = self.root.read(&accepted.record.key().relative_path(), RECORD_BYTES_MAX)?;
        note_file(accepted, &found);
        Ok(accepted.drift.is_none() || accepted.drift == before)
    }

    /// Files in the places of records that no event names.
    fn add_strangers(&self, index: &Index, findings: &mut Vec<(String, String)>) -> Outcome<()> {
        for folder in self.root.names(&[PACKETS])? {
            let key = WpId::parse(&folder).ok().map(|wp_id| RecordKey::Packet { wp_id });
            self.stranger(index, key, format!("{PACKETS}/{folder}/packet.json"), findings)?;
        }
        for folder in self.root.names(&[MICRO_TASKS])? {
            for task in self.root.names(&[MICRO_TASKS, &folder])? {
                let key = WpId::parse(&folder).ok().zip(MtId::parse(&task).ok()).map(|(wp_id, mt_id)| RecordKey::MicroTask { wp_id, mt_id });
                self.stranger(index, key, format!("{MICRO_TASKS}/{folder}/{task}/packet.json"), findings)?;
            }
        }
        Ok(())
    }

    fn stranger(&self, index: &Index, key: Option<RecordKey>, path: String, findings: &mut Vec<(String, String)>) -> Outcome<()> {
        // By path, not by folded id: WP-a beside an accepted WP-A is a stranger too.
        let known = |key: &RecordKey| {
            let at = index_key(key);
            index.entries.get(&at).is_some_and(|a| a.record.key() == *key) || index.lost.get(&at).is_some_and(|(lost, _)| lost == key)
        };
        if findings.len() >= FINDINGS_MAX || key.as_ref().is_some_and(known) {
            return Ok(());
        }
        let found = self.root.read(&path, RECORD_BYTES_MAX)?;
        if !matches!(found, Found::Missing) {
            let sentence = record_file::not_accepted(key.as_ref(), &path, &found);
            findings.push((key.map_or(path, |k| k.text()), sentence));
        }
        Ok(())
    }

    /// A publication that failed earlier (a full disk) left the predecessor's file: it is brought in step before the next
    /// version builds on it.
    fn finish_publication(&self, index: &mut Index, key: &IndexKey) -> Outcome<()> {
        let Some(accepted) = index.entries.get_mut(key).filter(|a| a.drift.is_some()) else { return Ok(()) };
        let bytes = self.artifacts.get(accepted.sha256)?;
        let found = self.root.read(&accepted.record.key().relative_path(), RECORD_BYTES_MAX)?;
        self.settle_file(accepted, found, &bytes);
        Ok(())
    }

    fn publish_one(&self, index: &mut Index, staged: &StagedRecord) -> Outcome<Option<String>> {
        let key = index_key(&staged.key);
        // A later record was published meanwhile; this one is history.
        if index.entries.get(&key).is_some_and(|a| a.record.version() > staged.version) {
            return Ok(None);
        }
        let seq = index.entries.get(&key).filter(|a| a.sha256 == staged.sha256).map_or(0, |a| a.seq);
        self.accept(index, &key, staged, seq)?;
        if let Some((_, why)) = index.lost.get(&key) {
            return Err(Failure::new(Code::Integrity, why.clone()));
        }
        Ok(index.entries.get(&key).and_then(|a| a.drift.clone()))
    }

    fn board_entries(&self) -> Vec<BoardEntry> {
        let index = self.lock();
        let packets = index.entries.values().filter_map(|a| match &a.record {
            Record::Packet(p) if p.tombstone.is_none() => Some(p),
            _ => None,
        });
        packets.map(|p| BoardEntry { wp_id: p.wp_id.clone(), status: p.status, priority: p.priority, title: p.title.clone() }).collect()
    }

    fn mirror(&self) -> board::Mirror<'_> {
        board::Mirror { root: &self.root, recorder: self.recorder.as_ref(), written: &self.written }
    }
}

/// Takes over what the file looks like now.
fn note_file(accepted: &mut Accepted, found: &Found) {
    accepted.drift = if found.sha256() == Some(accepted.sha256) { None } else { Some(record_file::difference(found, &accepted.record)) };
    accepted.signature = match found {
        Found::File { signature, .. } | Found::Large { signature, .. } => Some(*signature),
        Found::Missing | Found::Refused(_) => None,
    };
}

fn packet_entry(accepted: &Accepted) -> Option<LocusEntry<WorkPacket>> {
    any_packet_entry(accepted).filter(|e| e.record.tombstone.is_none())
}

fn tombstone_entry(accepted: &Accepted) -> Option<LocusEntry<WorkPacket>> {
    any_packet_entry(accepted).filter(|e| e.record.tombstone.is_some())
}

fn any_packet_entry(accepted: &Accepted) -> Option<LocusEntry<WorkPacket>> {
    match &accepted.record {
        Record::Packet(p) => Some(LocusEntry { record: (**p).clone(), sha256: accepted.sha256, drift: accepted.drift.clone() }),
        Record::MicroTask(_) => None,
    }
}

fn micro_task_entry(accepted: &Accepted) -> Option<LocusEntry<MicroTask>> {
    match &accepted.record {
        Record::MicroTask(m) => Some(LocusEntry { record: (**m).clone(), sha256: accepted.sha256, drift: accepted.drift.clone() }),
        Record::Packet(_) => None,
    }
}

fn require_found(index: &Index, key: &IndexKey) -> Outcome<()> {
    match index.lost.get(key) {
        Some((_, why)) => Err(Failure::new(Code::Integrity, why.clone()).hint("put the artifact back from your backup, then start again")),
        None => Ok(()),
    }
}

impl Locus for LocusStore {
    fn packets(&self) -> Outcome<Vec<LocusEntry<WorkPacket>>> {
        let mut index = self.lock();
        self.look_again(&mut index, |(_, mt)| mt.is_none())?;
        let mut entries: Vec<_> = index.entries.values().filter_map(packet_entry).collect();
        entries.sort_by(|a, b| a.record.wp_id.cmp(&b.record.wp_id));
        Ok(entries)
    }

    fn packet(&self, wp_id: &WpId) -> Outcome<Option<LocusEntry<WorkPacket>>> {
        let mut index = self.lock();
        let key = packet_key(wp_id);
        require_found(&index, &key)?;
        self.look_again(&mut index, |k| *k == key)?;
        Ok(index.entries.get(&key).and_then(packet_entry))
    }

    fn micro_tasks(&self, wp_id: &WpId) -> Outcome<Vec<LocusEntry<MicroTask>>> {
        let mut index = self.lock();
        let folded = wp_id.folded();
        self.look_again(&mut index, |(wp, mt)| *wp == folded && mt.is_some())?;
        let range = index.entries.range((folded.clone(), None)..).take_while(|((wp, _), _)| *wp == folded);
        let mut entries: Vec<_> = range.filter_map(|(_, a)| micro_task_entry(a)).collect();
        // MT-999 before MT-1000: digits, not text.
        entries.sort_by_key(|e| (e.record.mt_id.as_str().len(), e.record.mt_id.clone()));
        Ok(entries)
    }

    fn micro_task(&self, wp_id: &WpId, mt_id: &MtId) -> Outcome<Option<LocusEntry<MicroTask>>> {
        let mut index = self.lock();
        let key = (wp_id.folded(), Some(mt_id.clone()));
        require_found(&index, &key)?;
        self.look_again(&mut index, |k| *k == key)?;
        Ok(index.entries.get(&key).and_then(micro_task_entry))
    }

    fn stage(&self, record: &Record) -> Outcome<StagedRecord> {
        self.require_writable()?;
        let key = record.key();
        let predecessor = {
            let mut index = self.lock();
            let at = index_key(&key);
            require_found(&index, &at)?;
            self.finish_publication(&mut index, &at)?;
            let accepted = index.entries.get(&at);
            let (version, predecessor) = accepted.map_or((0, None), |a| (a.record.version(), Some(a.sha256)));
            let conflict = |message: String| Err(Failure::new(Code::VersionConflict, message).hint("read it again and repeat"));
            if let Some(other) = accepted.map(|a| a.record.key()).filter(|other| *other != key) {
                return conflict(format!("{} exists already, written {}", key.text(), other.text()));
            }
            if record.version() != version + 1 {
                return conflict(format!("{} is at version {version}; version {} cannot follow it", key.text(), record.version()));
            }
            predecessor
        };
        let sha256 = self.artifacts.put(&record.to_bytes())?;
        Ok(StagedRecord { key, version: record.version(), sha256, predecessor, edited: None })
    }

    fn publish(&self, cleared: Cleared<LocusPlan>, staged: &[StagedRecord]) -> Outcome<()> {
        let wp_id = &cleared.body().wp_id;
        if let Some(other) = staged.iter().find(|s| s.key.wp_id() != wp_id) {
            return Err(Failure::new(Code::Underdeclared, format!("the plan is about {wp_id} and does not cover {}", other.key.text())));
        }
        let mut index = self.lock();
        let mut drift = Vec::new();
        for record in staged {
            drift.extend(self.publish_one(&mut index, record)?);
        }
        if drift.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Code::Drift, drift.join("; ")).hint("the change is accepted and recorded; look at the difference, then restore the file"))
    }

    fn deleted(&self) -> Outcome<Vec<LocusEntry<WorkPacket>>> {
        let index = self.lock();
        let mut gone: Vec<_> = index.entries.values().filter_map(tombstone_entry).collect();
        gone.sort_by(|a, b| a.record.wp_id.cmp(&b.record.wp_id));
        Ok(gone)
    }

    fn drifted(&self, key: &RecordKey) -> Outcome<Option<Drifted>> {
        self.both_sides(key)
    }

    fn restore(&self, cleared: Cleared<LocusPlan>, key: &RecordKey, found: Option<Sha256Hex>) -> Outcome<()> {
        self.require_writable()?;
        self.write_back(&cleared, key, found)
    }

    /// With no events: sweeps all files and answers all drift, strangers included.
    fn catch_up(&self, events: &[Event]) -> Outcome<Vec<(String, String)>> {
        if events.is_empty() {
            return self.drift();
        }
        let mut index = self.lock();
        let latest = fold(events);
        let touched: Vec<IndexKey> = latest.keys().cloned().collect();
        self.accept_all(&mut index, latest, true)?;
        let mut findings = Vec::new();
        for key in touched {
            if let Some(why) = index.entries.get(&key).and_then(|a| a.drift.clone()) {
                findings.push((index.entries[&key].record.key().text(), why));
            } else if let Some((lost, why)) = index.lost.get(&key) {
                findings.push((lost.text(), why.clone()));
            }
        }
        Ok(findings)
    }

    fn strangers(&self) -> Outcome<Vec<(String, String)>> {
        let mut findings = Vec::new();
        self.add_strangers(&self.lock(), &mut findings)?;
        Ok(findings)
    }

    fn board(&self) -> Outcome<BoardFacts> {
        self.mirror().facts(&self.board_entries())
    }

    fn sync_board(&self) -> Outcome<BoardFacts> {
        self.require_writable()?;
        self.mirror().sync(&self.board_entries())
    }
}
