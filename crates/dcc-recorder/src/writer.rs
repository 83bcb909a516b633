//! The one thread that writes, with group commit. Authority: canon.
//!
//! Invariants: appends that wait together share one transaction and one sync, each inside its own savepoint; nobody is
//! answered before the commit that holds the answer is durable; sequence and previous hash are read inside the
//! transaction, so other processes may write between two groups. Failure: HSK-500-RECORDER to everyone whose events
//! were in the transaction, nothing of it stays, and the next append tries anew with a fresh connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dcc_core::event::{Event, EventCode, NewEvent};
use dcc_core::ports::{Appended, Checkpoint, Clock, OutsideHead, fresh_event_id};
use dcc_core::principal::Actor;
use dcc_core::{Code, Failure, InstanceId, Outcome, ProjectId, Sha256Hex, Timestamp, canonical, limits, redact};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde_json::json;

use crate::outside::Outside;
use crate::row::{Header, StoredRow, class_text, kind_text};
use crate::schema::{self, Location};

/// Appends that wait for the writer; callers beyond it block, each with one append in hand.
const QUEUE_MAX: usize = 256;
/// Appends of one transaction: the first in a group waits for the last, so a group stays below some milliseconds.
const GROUP_MAX: usize = 128;
/// A clock that steps back less than this is being disciplined, not set.
const CLOCK_STEP_MS: i64 = 1_000;

/// An event checked and redacted, ready for the chain.
pub struct Prepared {
    event: NewEvent,
    body: String,
    payload_sha256: Sha256Hex,
    redactions: usize,
}

impl Prepared {
    /// Redacts and checks; HSK-400-INVALID-EVENT says what is wrong.
    pub fn new(mut event: NewEvent) -> Outcome<Self> {
        let label = event.code.name();
        let invalid = |what: String| Failure::new(Code::InvalidEvent, format!("{label}: {what}"));
        if !event.payload.is_object() {
            return Err(invalid("the payload is not an object".to_owned()));
        }
        if redact::depth(&event.payload) > redact::DEPTH_MAX {
            return Err(invalid(format!("the payload is nested deeper than {} levels", redact::DEPTH_MAX)));
        }
        let texts = [
            ("tool_call_id", &event.correlation.tool_call_id),
            ("capability_id", &event.capability_id),
            ("unique_key", &event.unique_key),
        ];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|t| t.is_empty() || t.len() > limits::LINE_BYTES_MAX) {
                return Err(invalid(format!("{name} is empty or longer than {} bytes", limits::LINE_BYTES_MAX)));
            }
        }
        let (payload, mut redactions) = redact::redact(&event.payload);
        let body = serde_json::to_string(&payload).map_err(|e| invalid(format!("the payload cannot be written: {e}")))?;
        if body.len() > limits::EVENT_PAYLOAD_BYTES_MAX {
            let most = limits::EVENT_PAYLOAD_BYTES_MAX;
            return Err(invalid(format!("the payload has {} bytes, {most} are allowed", body.len()))
                .hint("store it as an artifact and put its hash into the payload"));
        }
        // An agent chooses this text; it is kept as safe as the payload.
        if let Some(id) = &mut event.correlation.tool_call_id {
            let (clean, found) = redact::redact_text(id);
            *id = clean;
            redactions += found;
        }
        event.payload = payload;
        Ok(Self { payload_sha256: Sha256Hex::of(body.as_bytes()), event, body, redactions })
    }

    pub fn unique_key(&self) -> Option<&str> {
        self.event.unique_key.as_deref()
    }
}

type Reply = SyncSender<Outcome<Appended>>;

enum Message {
    Append(Vec<Prepared>, Reply),
    LimitPages(Option<u32>, SyncSender<Outcome<()>>),
    /// From now on the head is kept there.
    KeepOutside(Outside),
    /// Answered when the head is kept.
    KeepHead(SyncSender<()>),
}

/// Handle to the writing thread; dropping it ends the thread after the last append.
pub struct Writer {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    is_writable: Arc<AtomicBool>,
}

/// Who writes, for the header of every event.
pub struct Author {
    pub project_id: ProjectId,
    pub instance_id: InstanceId,
    pub clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts the thread. A file that cannot be written now is no error: appends refuse until one succeeds, and the second
    /// value says why.
    pub fn start(location: Location, author: Author, page_limit: Option<u32>) -> Outcome<(Self, Option<String>)> {
        let (connection, refusal) = match schema::open_writer(&location.path, page_limit) {
            Ok(connection) => (Some(connection), None),
            Err(e) if schema::is_damage(&e) => return Err(schema::failure(&location.path, "opened for writing", &e)),
            Err(e) => (None, Some(schema::failure(&location.path, "opened for writing", &e).message)),
        };
        let is_writable = Arc::new(AtomicBool::new(connection.is_some()));
        let (sender, receiver) = mpsc::sync_channel(QUEUE_MAX);
        let pen = Pen { location, author, connection, page_limit, last: None, outside: None, is_writable: Arc::clone(&is_writable) };
        let thread = std::thread::Builder::new()
            .name("dcc-recorder".to_owned())
            .spawn(move || pen.run(&receiver))
            .map_err(|e| Failure::recorder(format!("the recorder's thread could not be started: {e}")))?;
        Ok((Self { sender: Some(sender), thread: Some(thread), is_writable }, refusal))
    }

    pub fn append(&self, events: Vec<Prepared>) -> Outcome<Appended> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Message::Append(events, reply))?;
        answer.recv().unwrap_or_else(|_| Err(Self::gone()))
    }

    pub fn limit_pages(&self, pages: Option<u32>) -> Outcome<()> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Message::LimitPages(pages, reply))?;
        answer.recv().unwrap_or_else(|_| Err(Self::gone()))
    }

    /// Keeps the head at this place, where it stands at `kept_seq` now.
    pub fn keep_outside(&self, place: Arc<dyn OutsideHead>, kept_seq: u64, after: Duration) -> Outcome<()> {
        self.send(Message::KeepOutside(Outside::new(place, kept_seq, after)))
    }

    /// Returns when the head is kept outside, or could not be.
    pub fn keep_head(&self) {
        let (reply, answer) = mpsc::sync_channel(1);
        if self.send(Message::KeepHead(reply)).is_ok() {
            let _ = answer.recv();
        }
    }

    pub fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::SeqCst) && self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    fn send(&self, message: Message) -> Outcome<()> {
        let sender = self.sender.as_ref().expect("the sender lives until drop");
        sender.send(message).map_err(|_| Self::gone())
    }

    fn gone() -> Failure {
        Failure::recorder("the recorder's thread has ended")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the chain stands.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Head {
    seq: i64,
    hash: String,
    ts: i64,
}

/// Why one append of a group was not written.
enum Refusal {
    /// The events are at fault; the recorder is well.
    Asked(Failure),
    /// SQLite could not do it.
    Write(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(e: rusqlite::Error) -> Self {
        Self::Write(e)
    }
}

/// What became of a group: one result for each append, and whether writing worked (None: nothing had to be written).
struct Written {
    results: Vec<Outcome<Appended>>,
    is_healthy: Option<bool>,
}

/// The state of the writing thread.
struct Pen {
    location: Location,
    author: Author,
    connection: Option<Connection>,
    page_limit: Option<u32>,
    /// The last head this thread made durable; it must stay in the chain.
    last: Option<Head>,
    outside: Option<Outside>,
    is_writable: Arc<AtomicBool>,
}

impl Pen {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Some(first) = self.next(receiver) {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Append(events, reply) => group.push((events, reply)),
                    other => {
                        // What came before is written first.
                        self.write_group(std::mem::take(&mut group));
                        self.serve(other);
                    }
                }
                if group.len() < GROUP_MAX {
                    next = receiver.try_recv().ok();
                }
            }
            self.write_group(group);
        }
        self.keep_head();
    }

    /// The next message; meanwhile the head is kept when its time has come. Sleeps without end when nothing waits for that.
    fn next(&mut self, receiver: &Receiver<Message>) -> Option<Message> {
        while let Some(due) = self.outside.as_ref().and_then(Outside::due) {
            match receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => self.keep_head(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        receiver.recv().ok()
    }

    fn serve(&mut self, message: Message) {
        match message {
            Message::LimitPages(pages, reply) => {
                let _ = reply.send(self.limit_pages(pages));
            }
            Message::KeepOutside(outside) => self.outside = Some(outside),
            Message::KeepHead(reply) => {
                self.keep_head();
                let _ = reply.send(());
            }
            Message::Append(events, reply) => self.write_group(vec![(events, reply)]),
        }
    }

    /// Keeps the last head that this thread made durable.
    fn keep_head(&mut self) {
        if let (Some(outside), Some(last)) = (&mut self.outside, &self.last)
            && let Ok(hash) = last.hash.parse()
        {
            outside.keep(Checkpoint { seq: last.seq as u64, hash, at: self.author.clock.now() });
        }
    }

    fn limit_pages(&mut self, pages: Option<u32>) -> Outcome<()> {
        self.page_limit = pages;
        match &self.connection {
            Some(connection) => schema::limit_pages(connection, pages).map_err(|e| self.failure(&e)),
            None => Ok(()),
        }
    }

    fn write_group(&mut self, group: Vec<(Vec<Prepared>, Reply)>) {
        if group.is_empty() {
            return;
        }
        let (requests, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let written = self.try_group(&requests).unwrap_or_else(|failure| Written {
            results: replies.iter().map(|_| Err(failure.clone())).collect(),
            is_healthy: Some(false),
        });
        if let Some(is_healthy) = written.is_healthy {
            self.is_writable.store(is_healthy, Ordering::SeqCst);
            if !is_healthy {
                // A fresh connection next time: this one may hold pages of what failed.
                self.connection = None;
            }
        }
        for (reply, result) in replies.iter().zip(written.results) {
            // A caller that went away has its events all the same.
            let _ = reply.send(result);
        }
        let seq = self.last.as_ref().map_or(0, |last| last.seq as u64);
        if self.outside.as_mut().is_some_and(|outside| outside.grown(seq)) {
            self.keep_head();
        }
    }

    /// Writes a group in one transaction. An error means that nothing of the group is stored.
    fn try_group(&mut self, requests: &[Vec<Prepared>]) -> Outcome<Written> {
        self.location.require_same_file()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::open_writer(&self.location.path, self.page_limit).map_err(|e| self.failure(&e))?,
        };
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| self.failure(&e))?;
        let mut head = load_head(&transaction).map_err(|e| self.failure(&e))?;
        self.require_continuity(&transaction, &head)?;
        let mut written = Written { results: Vec::with_capacity(requests.len()), is_healthy: None };
        for events in requests {
            let savepoint = transaction.savepoint().map_err(|e| self.failure(&e))?;
            let mut ahead = head.clone();
            match self.write_request(&savepoint, &mut ahead, events) {
                Ok(appended @ Appended::Written(_)) => {
                    savepoint.commit().map_err(|e| self.failure(&e))?;
                    head = ahead;
                    written.is_healthy = written.is_healthy.or(Some(true));
                    written.results.push(Ok(appended));
                }
                Ok(taken) => written.results.push(Ok(taken)),
                Err(Refusal::Asked(failure)) => written.results.push(Err(failure)),
                Err(Refusal::Write(e)) => {
                    drop(savepoint);
                    // SQLite ends the whole transaction by itself after some errors; then nobody's events are in it.
                    if transaction.is_autocommit() {
                        return Err(self.failure(&e));
                    }
                    written.is_healthy = Some(false);
                    written.results.push(Err(self.failure(&e)));
                }
            }
        }
        dcc_core::failpoint!("before append");
        transaction.commit().map_err(|e| self.failure(&e))?;
        dcc_core::failpoint!("after append");
        // An acknowledgement for a file that no name leads to would be a lie.
        self.location.require_same_file()?;
        self.last = Some(head);
        self.connection = Some(connection);
        Ok(written)
    }

    /// Other processes may have appended, but what this one acknowledged must still be there.
    fn require_continuity(&self, transaction: &Connection, head: &Head) -> Outcome<()> {
        let Some(last) = self.last.as_ref().filter(|l| l.seq > 0 && *l != head) else { return Ok(()) };
        let found: Option<String> = transaction
            .query_row("SELECT hash FROM events WHERE seq = ?", [last.seq], |row| row.get(0))
            .optional()
            .map_err(|e| self.failure(&e))?;
        if found.as_ref() == Some(&last.hash) {
            Ok(())
        } else {
            let path = self.location.path.display();
            Err(Failure::recorder(format!("{path}: event {}, already acknowledged, is no longer in the log", last.seq)))
        }
    }

    fn write_request(&self, connection: &Connection, head: &mut Head, events: &[Prepared]) -> Result<Appended, Refusal> {
        for key in events.iter().filter_map(Prepared::unique_key) {
            if let Some(by) = holder(connection, key)? {
                return Ok(Appended::Taken { key: key.to_owned(), by: Box::new(by) });
            }
        }
        let now = self.author.clock.now();
        if head.seq > 0 && now.as_ms() < head.ts.saturating_sub(CLOCK_STEP_MS) {
            // The next event compares with this one, so an episode is noted once.
            let note = clock_note(Timestamp(head.ts), now).map_err(Refusal::Asked)?;
            let last = Timestamp(head.ts);
            self.write_event(connection, head, &note, now)?;
            eprintln!("dcc: the clock went back: it is {now}, the last event is of {last}; what was limited in time before counts as run out");
        }
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            written.push(self.write_event(connection, head, event, now)?);
        }
        Ok(Appended::Written(written))
    }

    fn write_event(&self, connection: &Connection, head: &mut Head, prepared: &Prepared, now: Timestamp) -> Result<Event, Refusal> {
        let header = self.header(head, prepared, now).map_err(Refusal::Asked)?;
        let hash = header.digest().map_err(Refusal::Asked)?.to_string();
        header.insert(&mut *connection.prepare_cached(&Header::insert_sql())?, &hash)?;
        connection
            .prepare_cached("INSERT INTO payloads (seq, class, body) VALUES (?, ?, ?)")?
            .execute((header.seq, &header.class, &prepared.body))?;
        if (header.seq as u64).is_multiple_of(limits::CHECKPOINT_EVERY_EVENTS) {
            connection
                .prepare_cached("INSERT INTO checkpoints (seq, hash, at) VALUES (?, ?, ?)")?
                .execute((header.seq, &hash, now.as_ms()))?;
        }
        *head = Head { seq: header.seq, hash: hash.clone(), ts: header.ts };
        let stored = StoredRow { header, hash, body: None, is_purged: false };
        stored.event_with(prepared.event.payload.clone()).ok_or_else(|| {
            Refusal::Asked(Failure::new(Code::InvalidEvent, "the event would not read back as it was given"))
        })
    }

    fn header(&self, head: &Head, prepared: &Prepared, now: Timestamp) -> Outcome<Header> {
        let event = &prepared.event;
        let about = &event.correlation;
        let principal = String::from_utf8(canonical::to_vec(&event.actor)?).expect("canonical JSON is UTF-8");
        Ok(Header {
            seq: head.seq + 1,
            event_id: fresh_event_id(self.author.clock.as_ref()).to_string(),
            ts: now.as_ms(),
            code: event.code.as_str().to_owned(),
            name: event.code.name().to_owned(),
            class: class_text(event.code.class()).to_owned(),
            actor_kind: kind_text(event.actor.kind()).to_owned(),
            actor_id: event.actor.id(),
            principal,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            job_id: text(about.job_id.as_ref()),
            workflow_run_id: text(about.workflow_run_id.as_ref()),
            session_id: text(about.session_id.as_ref()),
            wsid: text(about.workspace_id.as_ref()),
            project_id: self.author.project_id.to_string(),
            wp_id: text(about.wp_id.as_ref()),
            mt_id: text(about.mt_id.as_ref()),
            approval_id: text(about.approval_id.as_ref()),
            tool_call_id: about.tool_call_id.clone(),
            capability_id: event.capability_id.clone(),
            policy_digest: text(event.policy_digest.as_ref()),
            outcome: event.outcome.as_str().to_owned(),
            unique_key: event.unique_key.clone(),
            redactions: prepared.redactions as i64,
            payload_sha256: prepared.payload_sha256.to_string(),
            prev_hash: head.hash.clone(),
            instance_id: self.author.instance_id.to_string(),
        })
    }

    /// Whatever went wrong while writing is HSK-500-RECORDER: no record, no action.
    fn failure(&self, error: &rusqlite::Error) -> Failure {
        Failure::recorder(format!("{} could not be written: {error}", self.location.path.display()))
    }
}

fn text<T: ToString>(id: Option<&T>) -> Option<String> {
    id.map(ToString::to_string)
}

fn clock_note(last: Timestamp, now: Timestamp) -> Outcome<Prepared> {
    let payload = json!({"last_ts": last, "now": now, "back_ms": last.as_ms().saturating_sub(now.as_ms())});
    Prepared::new(NewEvent::new(EventCode::ClockWentBack, Actor::SYSTEM, payload))
}

fn load_head(connection: &Connection) -> rusqlite::Result<Head> {
    let head = connection
        .prepare_cached("SELECT seq, hash, ts FROM events ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)?, ts: row.get(2)? }))
        .optional()?;
    Ok(head.unwrap_or_else(|| Head { seq: 0, hash: Sha256Hex::ZERO.to_string(), ts: i64::MIN }))
}

/// The event that holds a unique key, seen from inside the transaction.
fn holder(connection: &Connection, key: &str) -> Result<Option<Event>, Refusal> {
    let sql = format!("{} WHERE e.unique_key = ?", StoredRow::select());
    let found = connection.prepare_cached(&sql)?.query_row([key], |row| Ok(StoredRow::read_whole(row))).optional()?;
    let Some(row) = found else { return Ok(None) };
    match row.and_then(|r| r.event()) {
        Ok(Some(event)) => Ok(Some(event)),
        Ok(None) => Err(Refusal::Asked(Failure::recorder(format!("{key:?} is held by an event that this version does not know")))),
        Err(problem) => Err(Refusal::Asked(schema::damaged(problem))),
    }
}
