//! Writing events: canon first, then the projections, then the live readers.
//!
//! Invariant: a store that fails or lags never fails a job; it is fed again from the recorder.

use std::sync::{Mutex, OnceLock, PoisonError};

use dcc_core::event::{Event, EventCode, NewEvent};
use dcc_core::ids::SessionId;
use dcc_core::locus::RecordKey;
use dcc_core::ports::{Appended, EventFilter, StagedRecord};
use dcc_core::session::Session;
use dcc_core::{Code, Failure, Outcome, limits};

use crate::context::Ports;
use crate::recent::Recent;

/// Gets every durable event, in batches.
pub type Listener = Box<dyn Fn(&[Event]) + Send + Sync>;

/// Keys of things that two may do at once, of whom the second looks again; the other keys are of decisions.
const RACED: [&str; 5] = ["wp:", "message:", "succeeded:", "child:", dcc_core::job::MOVE_KEY];

/// The one way to record something.
pub struct Journal {
    ports: Ports,
    /// Whoever shows events live; told after they are durable.
    listener: OnceLock<Listener>,
    /// Projections are applied, and readers told, in sequence order by one thread at a time; the value is the last
    /// sequence that was told, 0 before the first.
    projecting: Mutex<u64>,
    recent: Recent,
    /// What went wrong with the derived store last, for the health page.
    store_fault: Mutex<Option<Failure>>,
    /// Waivers of the sandbox, as they were last read; none when they are to be read again.
    waivers: Mutex<Option<Vec<dcc_core::waiver::Waiver>>>,
}

impl Journal {
    pub(crate) fn new(ports: Ports) -> Self {
        Self { ports, listener: OnceLock::new(), projecting: Mutex::new(0), recent: Recent::default(), store_fault: Mutex::new(None), waivers: Mutex::new(None) }
    }

    /// A session as canon says, without reading it again while nothing about it was decided.
    pub(crate) fn session(&self, id: SessionId) -> Outcome<Session> {
        self.recent.session(self.ports.recorder.as_ref(), id)
    }

    /// Names the one listener; a second one is refused.
    pub fn listen(&self, listener: Listener) -> Outcome<()> {
        self.listener.set(listener).map_err(|_| Failure::engine("the journal has its listener already"))
    }

    fn tell(&self, events: &[Event]) {
        if let Some(listener) = self.listener.get() {
            listener(events);
        }
    }

    /// Appends all or none; a taken unique key is a failure that names the holder's time.
    pub fn append(&self, events: Vec<NewEvent>) -> Outcome<Vec<Event>> {
        match self.try_append(events)? {
            Appended::Written(events) => Ok(events),
            Appended::Taken { key, by } => {
                let code = if RACED.iter().any(|front| key.starts_with(front)) { Code::VersionConflict } else { Code::ApprovalConsumed };
                Err(Failure::new(code, format!("already recorded at {} (event {}): {key}", by.ts, by.seq)))
            }
        }
    }

    /// Appends all or none and leaves a taken key to the caller.
    pub fn try_append(&self, mut events: Vec<NewEvent>) -> Outcome<Appended> {
        self.mark_unenforced(&mut events);
        let appended = self.ports.recorder.append(events)?;
        if let Appended::Written(events) = &appended {
            if events.iter().any(|e| matches!(e.code, EventCode::SandboxWaived | EventCode::SandboxWaiverEnded | EventCode::ClockWentBack)) {
                *self.waivers.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.recent.written(events);
            self.project(events);
        }
        Ok(appended)
    }

    /// While the sandbox of a worktree is waived, every event about that worktree says so.
    fn mark_unenforced(&self, events: &mut [NewEvent]) {
        let now = self.ports.clock.now();
        let mut known = self.waivers.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = crate::waivers::in_force(self.ports.recorder.as_ref(), now).ok();
        }
        let waived = |event: &NewEvent| known.iter().flatten().any(|waiver| event.correlation.workspace_id == Some(waiver.workspace_id) && waiver.is_in_time(now));
        for event in events.iter_mut().filter(|event| waived(event)) {
            if let Some(payload) = event.payload.as_object_mut() {
                payload.insert("sandbox".to_owned(), "unenforced".into());
            }
        }
    }

    /// Feeds the store and tells the readers; what is missing is read from the recorder. Never fails the caller.
    fn project(&self, events: &[Event]) {
        let mut told = self.projecting.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.feed(events).and_then(|()| self.tell_in_order(&mut told, events));
        drop(told);
        *self.store_fault.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    }

    fn feed(&self, events: &[Event]) -> Outcome<()> {
        let cursor = self.ports.store.cursor()?;
        match (events.first(), events.last()) {
            (Some(first), _) if first.seq == cursor + 1 => self.ports.store.apply(events),
            // Whoever was written later came first, and fed these too.
            (_, Some(last)) if last.seq <= cursor => Ok(()),
            _ => self.catch_up(cursor),
        }
    }

    /// Two writers may come here in the other order than they were written: the first then tells the second's events too.
    fn tell_in_order(&self, told: &mut u64, events: &[Event]) -> Outcome<()> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        if *told == 0 || first.seq == *told + 1 {
            self.tell(events);
            *told = last.seq;
        }
        while *told < last.seq {
            let page = self.ports.recorder.read(&EventFilter { after_seq: Some(*told), limit: limits::PAGE_MAX, ..EventFilter::default() })?;
            let Some(end) = page.last().map(|e| e.seq) else { break };
            self.tell(&page);
            *told = end;
        }
        Ok(())
    }

    /// Feeds what is missing. A store that starts from nothing has lost the packets' projections too.
    fn catch_up(&self, cursor: u64) -> Outcome<()> {
        self.pull(cursor)?;
        if cursor == 0 { self.project_all_packets() } else { Ok(()) }
    }

    /// Before a read: a store that lags or was deleted while in use is fed again from canon.
    pub fn settle(&self) {
        let Ok(head) = self.ports.recorder.head() else { return };
        let Ok(cursor) = self.ports.store.cursor() else { return };
        if cursor >= head.seq {
            return;
        }
        let guard = self.projecting.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.ports.store.cursor().and_then(|cursor| if cursor < head.seq { self.catch_up(cursor) } else { Ok(()) });
        drop(guard);
        *self.store_fault.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    }

    /// Applies everything after the cursor; answers the events that were new.
    fn pull(&self, mut cursor: u64) -> Outcome<u64> {
        let from = cursor;
        loop {
            let page = self.ports.recorder.read(&EventFilter { after_seq: Some(cursor), limit: limits::PAGE_MAX, ..EventFilter::default() })?;
            let Some(last) = page.last() else { return Ok(cursor - from) };
            let next = last.seq;
            self.ports.store.apply(&page)?;
            cursor = next;
        }
    }

    /// Brings Locus and the store in step with events that another process wrote; publishes them here too. Called when a
    /// process takes the project up again. Returns drift found in Locus.
    pub fn refresh(&self) -> Outcome<Vec<(String, String)>> {
        let mut told = self.projecting.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = self.ports.store.cursor()?;
        let mut drift = Vec::new();
        let mut at = cursor;
        loop {
            let page = self.ports.recorder.read(&EventFilter { after_seq: Some(at), limit: limits::PAGE_MAX, ..EventFilter::default() })?;
            let Some(last) = page.last() else { break };
            at = last.seq;
            drift.extend(self.ports.locus.catch_up(&page)?);
            self.ports.store.apply(&page)?;
            self.project_packets(&record_keys(&page))?;
            self.tell_in_order(&mut told, &page)?;
        }
        if cursor == 0 {
            self.project_all_packets()?;
        }
        Ok(drift)
    }

    /// Makes every projection again: all events, then all packets. The caller reset the store.
    pub fn rebuild(&self) -> Outcome<u64> {
        let _guard = self.projecting.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = self.pull(self.ports.store.cursor()?)?;
        self.project_all_packets()?;
        Ok(applied)
    }

    /// Refreshes the packet projections of these records from Locus.
    ///
    /// A store that cannot be written is no failure of the caller: the act stands in canon, and the fault is shown.
    pub fn project_packets(&self, keys: &[RecordKey]) -> Outcome<()> {
        let mut packets = Vec::new();
        let mut micro_tasks = Vec::new();
        for key in keys {
            match key {
                RecordKey::Packet { wp_id } => match self.ports.locus.packet(wp_id)? {
                    Some(entry) => packets.push(entry.record),
                    // A tombstone replaces the row it leaves behind.
                    None => packets.extend(self.ports.locus.deleted()?.into_iter().map(|e| e.record).filter(|p| p.wp_id.folded() == wp_id.folded())),
                },
                RecordKey::MicroTask { wp_id, mt_id } => micro_tasks.extend(self.ports.locus.micro_task(wp_id, mt_id)?.map(|e| e.record)),
            }
        }
        if packets.is_empty() && micro_tasks.is_empty() {
            return Ok(());
        }
        if let Err(failure) = self.ports.store.put_packets(&packets, &micro_tasks, false) {
            *self.store_fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
        Ok(())
    }

    fn project_all_packets(&self) -> Outcome<()> {
        let live = self.ports.locus.packets()?;
        let packets: Vec<_> = live.into_iter().chain(self.ports.locus.deleted()?).map(|e| e.record).collect();
        let mut micro_tasks = Vec::new();
        for packet in &packets {
            micro_tasks.extend(self.ports.locus.micro_tasks(&packet.wp_id)?.into_iter().map(|e| e.record));
        }
        self.ports.store.put_packets(&packets, &micro_tasks, true)
    }

    /// The last fault of the derived store, if it has not healed.
    pub fn store_fault(&self) -> Option<Failure> {
        self.store_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The records that Locus events name.
fn record_keys(events: &[Event]) -> Vec<RecordKey> {
    let is_locus = |code: EventCode| code.as_str().starts_with("FR-EVT-WP-") || code.as_str().starts_with("FR-EVT-MT-") || code.as_str().starts_with("FR-EVT-DEP-");
    events
        .iter()
        .filter(|e| is_locus(e.code))
        .filter_map(|e| serde_json::from_value::<Vec<StagedRecord>>(e.payload["records"].clone()).ok())
        .flatten()
        .map(|staged| staged.key)
        .collect()
}
