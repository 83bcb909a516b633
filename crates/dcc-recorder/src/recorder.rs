//! [`SqliteRecorder`]: the Flight Recorder's port over one SQLite file. Authority: canon.
//!
//! Invariants and failures are those of the modules it joins: `writer` for appends, `read` for slices, `verify`.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dcc_core::event::{Event, NewEvent};
use dcc_core::ports::{Appended, ChainHead, Checkpoint, Clock, EventFilter, OutsideHead, Recorder, VerifyReport, fresh};
use dcc_core::{Code, EventId, Failure, InstanceId, Outcome, ProjectId, limits};
use rusqlite::types::Value as SqlValue;

use crate::read::Readers;
use crate::schema::{self, VERSION};
use crate::writer::{Author, Prepared, Writer};
use crate::{export, verify};

/// What may be chosen when the recorder is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecorderOptions {
    /// Greatest size of the file in pages of 4 KiB; None means as much as the disk holds. Appends beyond it refuse.
    pub max_pages: Option<u32>,
    /// How long an event may wait until the head is kept outside; None means `limits::CHECKPOINT_OUTSIDE_MS`.
    pub keep_after: Option<Duration>,
}

/// The hash-chained event log in one SQLite file.
pub struct SqliteRecorder {
    readers: Readers,
    /// Absent when the file is only read.
    writer: Option<Writer>,
    clock: Option<Arc<dyn Clock>>,
    /// Why it is only read.
    refusal: String,
    outside: Option<Arc<dyn OutsideHead>>,
    keep_after: Duration,
}

impl SqliteRecorder {
    /// Opens the log, or makes it when nothing is there. A file of a newer schema, one whose last event does not hold, or
    /// one that cannot be written at the moment opens all the same: `is_writable` is false and appends refuse. A file
    /// that is not a recorder is refused with HSK-500-INTEGRITY and left as it is.
    pub fn open(path: impl AsRef<Path>, project_id: ProjectId, instance_id: InstanceId, clock: Arc<dyn Clock>) -> Outcome<Self> {
        Self::open_with(path, project_id, instance_id, clock, RecorderOptions::default())
    }

    /// [`SqliteRecorder::open`] with choices.
    pub fn open_with(
        path: impl AsRef<Path>,
        project_id: ProjectId,
        instance_id: InstanceId,
        clock: Arc<dyn Clock>,
        options: RecorderOptions,
    ) -> Outcome<Self> {
        let location = schema::open_or_create(path.as_ref(), clock.as_ref())?;
        let (path, version) = (location.path.display(), location.version);
        let newer = (version > VERSION).then(|| format!("{path} has schema {version} and this program knows {VERSION}: it is only read"));
        if let Some(refusal) = newer.or_else(|| location.bad_head.clone()) {
            return Ok(Self { clock: Some(clock), ..Self::only_read(location, refusal) });
        }
        let author = Author { project_id, instance_id, clock: Arc::clone(&clock) };
        let (writer, refusal) = Writer::start(location.clone(), author, options.max_pages)?;
        let keep_after = options.keep_after.unwrap_or(Duration::from_millis(limits::CHECKPOINT_OUTSIDE_MS));
        Ok(Self { writer: Some(writer), clock: Some(clock), keep_after, ..Self::only_read(location, refusal.unwrap_or_default()) })
    }

    /// Opens an existing log for reading and verifying only; never creates anything but SQLite's own `-wal` and `-shm`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Outcome<Self> {
        let refusal = format!("{} was opened for reading", path.as_ref().display());
        Self::open_read_only_because(path, refusal)
    }

    /// [`SqliteRecorder::open_read_only`]; appends refuse with this reason.
    pub fn open_read_only_because(path: impl AsRef<Path>, refusal: String) -> Outcome<Self> {
        Ok(Self::only_read(schema::inspect(path.as_ref())?, refusal))
    }

    fn only_read(location: schema::Location, refusal: String) -> Self {
        Self { readers: Readers::new(location), writer: None, clock: None, refusal, outside: None, keep_after: Duration::ZERO }
    }

    /// Holds the log against the head kept outside, and keeps it there from now on when the log is written. A log that
    /// lacks that event, or holds another in its place, is refused with HSK-500-INTEGRITY, and so is a head that is not
    /// as it was kept: nothing is written over either.
    pub fn hold_outside(self, place: Arc<dyn OutsideHead>) -> Outcome<Self> {
        let kept = place.load()?;
        if let Some(kept) = kept
            && self.by_seq(kept.seq)?.is_none_or(|event| event.hash != kept.hash)
        {
            return Err(Failure::new(Code::Integrity, format!("the log ends before event {}, which was there at {}, or holds another one", kept.seq, kept.at))
                .hint("dcc recorder verify says more; put the log back from your backup"));
        }
        if let Some(writer) = &self.writer {
            writer.keep_outside(Arc::clone(&place), kept.map_or(0, |kept| kept.seq), self.keep_after)?;
        }
        Ok(self.with_outside(place))
    }

    /// For reading: [`Recorder::verify`] holds the log against what is kept there. Nothing is looked at now.
    #[must_use]
    pub fn with_outside(mut self, place: Arc<dyn OutsideHead>) -> Self {
        self.outside = Some(place);
        self
    }

    /// Keeps the head outside now, when events were written since the last time.
    pub fn keep_head(&self) {
        if let Some(writer) = &self.writer {
            writer.keep_head();
        }
    }

    /// Why it could not be opened for writing; empty when it could.
    pub fn refusal(&self) -> &str {
        &self.refusal
    }

    /// Where the log is.
    pub fn path(&self) -> PathBuf {
        self.readers.location().path.clone()
    }

    /// Caps the size of the file in pages of 4 KiB from now on; None lifts the cap.
    pub fn limit_pages(&self, max_pages: Option<u32>) -> Outcome<()> {
        self.require_writer()?.limit_pages(max_pages)
    }

    /// The head with the time, to be kept outside; None for an empty log. Needs the clock of [`SqliteRecorder::open`].
    pub fn checkpoint(&self) -> Outcome<Option<Checkpoint>> {
        let clock = self.clock.as_ref().ok_or_else(|| Failure::recorder(self.refusal.clone()))?;
        let head = self.readers.head()?;
        Ok((head.seq > 0).then(|| Checkpoint { seq: head.seq, hash: head.hash, at: clock.now() }))
    }

    /// Writes matching events as JSON Lines, in the filter's order; a limit of 0 means all. Events of a code this
    /// program does not know are included as they are stored. Returns how many.
    pub fn export_jsonl(&self, filter: &EventFilter, out: &mut dyn Write) -> Outcome<u64> {
        export::jsonl(&self.readers, filter, out)
    }

    /// Copies the whole log to `target`, atomically, mode 0600. An older mirror of this log is replaced; a mirror that
    /// holds events this log lacks, or any other file, is refused.
    pub fn backup_to(&self, target: impl AsRef<Path>) -> Outcome<()> {
        let name: EventId = match &self.clock {
            Some(clock) => fresh(clock.as_ref()),
            None => return Err(Failure::recorder(self.refusal.clone())),
        };
        export::backup(&self.readers, target.as_ref(), name)
    }

    /// SQLite's own examination of pages and indexes. Empty means sound.
    pub fn integrity_check(&self) -> Outcome<Vec<String>> {
        self.readers.with(|connection| match verify::integrity_problems(connection) {
            Ok(problems) => Ok(problems),
            Err(e) if schema::is_damage(&e) => Ok(vec![e.to_string()]),
            Err(e) => Err(self.readers.failure(&e)),
        })
    }

    fn require_writer(&self) -> Outcome<&Writer> {
        self.writer.as_ref().ok_or_else(|| Failure::recorder(self.refusal.clone()))
    }
}

impl Recorder for SqliteRecorder {
    /// `Written` holds the given events only; a note that the clock went back stands before them in the log.
    fn append(&self, events: Vec<NewEvent>) -> Outcome<Appended> {
        let writer = self.require_writer()?;
        if events.len() > limits::APPEND_BATCH_MAX {
            let most = limits::APPEND_BATCH_MAX;
            return Err(Failure::new(Code::InvalidEvent, format!("{} events in one append, {most} are allowed", events.len())));
        }
        let prepared = events.into_iter().map(Prepared::new).collect::<Outcome<Vec<_>>>()?;
        let mut keys = HashSet::new();
        if let Some(twice) = prepared.iter().filter_map(Prepared::unique_key).find(|key| !keys.insert(*key)) {
            return Err(Failure::new(Code::InvalidEvent, format!("the append holds {twice:?} twice")));
        }
        if prepared.is_empty() {
            return Ok(Appended::Written(Vec::new()));
        }
        writer.append(prepared)
    }

    fn head(&self) -> Outcome<ChainHead> {
        self.readers.head()
    }

    fn read(&self, filter: &EventFilter) -> Outcome<Vec<Event>> {
        self.readers.slice(filter)
    }

    fn event(&self, id: EventId) -> Outcome<Option<Event>> {
        self.readers.one("event_id", SqlValue::Text(id.to_string()))
    }

    fn by_seq(&self, seq: u64) -> Outcome<Option<Event>> {
        self.readers.one("seq", SqlValue::Integer(i64::try_from(seq).unwrap_or(i64::MAX)))
    }

    fn by_unique_key(&self, key: &str) -> Outcome<Option<Event>> {
        self.readers.one("unique_key", SqlValue::Text(key.to_owned()))
    }

    fn verify(&self, external: Option<Checkpoint>) -> Outcome<VerifyReport> {
        let (kept, distrust) = match (external, &self.outside) {
            (None, Some(place)) => match place.load() {
                Ok(kept) => (kept, None),
                Err(failure) => (None, Some(failure.message)),
            },
            (external, _) => (external, None),
        };
        let report = self.readers.with(|connection| verify::verify(connection, kept))?;
        Ok(match distrust {
            Some(why) => VerifyReport { ok: false, problem: Some(report.problem.map_or(why.clone(), |found| format!("{found}; {why}"))), ..report },
            None => report,
        })
    }

    fn is_writable(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::is_writable)
    }
}

/// Whose log a file is, from its first event; None for an empty one. For a start that has only the file.
pub fn project_id_of(path: impl AsRef<Path>) -> Outcome<Option<ProjectId>> {
    let readers = Readers::new(schema::inspect(path.as_ref())?);
    Ok(readers.slice(&EventFilter { limit: 1, ..EventFilter::default() })?.first().map(|event| event.project_id))
}
