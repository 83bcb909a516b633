//! The store itself: one writer, a few readers, and the `Store` port over both.
//!
//! Authority: derived. Invariants: all writes go through the one writer; before each use the files at the paths are
//! compared with the ones held open, and a deleted or exchanged file is replaced by an empty one at once; no connection
//! outlives the file it was opened for by more than the call it serves.
//!
//! Failure: damage met while running moves the file aside, starts an empty one and answers with HSK-500-ENGINE; the
//! cursor is then behind the recorder, which tells the caller to feed again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dcc_core::approval::{Approval, ApprovalStatus, Grant};
use dcc_core::event::Event;
use dcc_core::job::Job;
use dcc_core::locus::{MicroTask, WorkPacket};
use dcc_core::gate::Cleared;
use dcc_core::plans::RepairPlan;
use dcc_core::ports::{Clock, JsonStanding};
use dcc_core::ports::store::{JobFilter, Message, Store, StoreHealth, ToolCall};
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{ApprovalId, Failure, GrantId, JobId, Oid, Outcome, ProjectId, SessionId, WorkspaceId};
use rusqlite::Connection;

use crate::fault::Fault;
use crate::open::{self, Identity, Opened, newer};
use crate::project::{self, Context};
use crate::{dump, migrate, query, schema, workspace_json};

/// Reading connections kept open between calls; more may exist for a moment.
const READERS_IDLE_MAX: usize = 8;
/// How often a read starts again when the file goes from under it; more is somebody deleting it in a loop.
const READER_TRIES_MAX: usize = 8;

/// `devcc.db` behind the `Store` port.
pub struct SqliteStore {
    path: PathBuf,
    context: Context,
    clock: Arc<dyn Clock>,
    /// Set when the project is only read: one connection serves all, and no file is touched.
    aside: Option<Aside>,
    /// Before the writer: fields are dropped in this order, and only the writer, closed last, can bring the log home.
    readers: Mutex<Readers>,
    writer: Mutex<Writer>,
    /// Held alone while the file is replaced, shared while a reader opens it: nobody sees a file half made. Taken after
    /// the writer, before `readers`.
    replacing: RwLock<()>,
    /// Held while a `workspace.json` is written: its temporary name is fixed.
    documents: Mutex<()>,
}

/// The one connection of a project that is only read.
struct Aside {
    conn: Mutex<Connection>,
    /// True when it stands in memory and can be fed.
    in_memory: bool,
}

struct Writer {
    /// None only while, or after, a file could not be opened again.
    conn: Option<Connection>,
    /// The schema number of a newer program's file.
    newer: Option<u32>,
    /// What became of the file, for `health`.
    status: &'static str,
    message: String,
}

#[derive(Default)]
struct Readers {
    identity: Identity,
    /// Counts the files opened; a connection of an earlier one is not kept.
    generation: u64,
    idle: Vec<Connection>,
}

impl SqliteStore {
    /// Opens or makes the database at `path`. Damage is moved aside, a newer schema is opened read-only.
    pub fn open(path: &Path, project_id: ProjectId, clock: Arc<dyn Clock>) -> Outcome<(Self, Opened)> {
        let opening = open::open_file(path, project_id)?;
        let store = Self::closed(path, project_id, clock);
        let opened = opening.opened.clone();
        store.install(&mut lock(&store.writer), opening, None);
        Ok((store, opened))
    }

    /// For a project that is only read: touches no file. The database at `path` serves when it holds every event up to `head`;
    /// else, or when it has to follow what others write (`follows`), an empty one in memory takes its place.
    pub fn open_read_only(path: &Path, project_id: ProjectId, clock: Arc<dyn Clock>, head: u64, follows: bool) -> Outcome<(Self, Opened)> {
        let current = if follows { None } else { open::open_current(path, project_id, head) };
        let (conn, opened, message) = match current {
            Some(conn) => (conn, Opened::ReadOnly, "opened for reading only"),
            None => (open::in_memory(project_id)?, Opened::InMemory, "built in memory from canon; the file is left alone"),
        };
        let mut store = Self::closed(path, project_id, clock);
        store.aside = Some(Aside { conn: Mutex::new(conn), in_memory: opened == Opened::InMemory });
        let mut writer = lock(&store.writer);
        (writer.status, writer.message) = ("read_only", message.to_owned());
        drop(writer);
        Ok((store, opened))
    }

    fn closed(path: &Path, project_id: ProjectId, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.to_owned(),
            context: Context::new(path, project_id),
            clock,
            aside: None,
            writer: Mutex::new(Writer { conn: None, newer: None, status: "ok", message: String::new() }),
            readers: Mutex::new(Readers::default()),
            replacing: RwLock::new(()),
            documents: Mutex::new(()),
        }
    }

    /// Every row of every table as sorted text: equal dumps mean equal projections.
    pub fn dump(&self) -> Outcome<String> {
        self.read(dump::dump)
    }

    /// Takes a freshly opened file into use. `why` is said in `health` when the file replaced another one.
    fn install(&self, writer: &mut Writer, opening: open::Opening, why: Option<String>) {
        (writer.newer, writer.status, writer.message) = match (&opening.opened, why) {
            (Opened::ReadOnlyNewer { version }, _) => (Some(*version), "read_only_newer", newer(*version).message),
            (Opened::RebuiltCorrupt { moved_to }, _) => {
                (None, "rebuilt", format!("it was damaged, stands at {} now, and is built anew", moved_to.display()))
            }
            (_, Some(why)) => (None, "rebuilt", why),
            (_, None) => (None, "ok", "up to date with what it was fed".into()),
        };
        writer.conn = Some(opening.conn);
        let mut readers = lock(&self.readers);
        readers.identity = Identity::of(&self.path);
        readers.generation += 1;
        readers.idle.clear();
    }

    /// Makes sure that the open file is the one at the path; else closes it and opens what is there, or an empty one.
    fn ensure_current(&self) -> Outcome<()> {
        if lock(&self.readers).identity.still(&Identity::of(&self.path)) {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let now = Identity::of(&self.path);
        let held = lock(&self.readers).identity;
        if held.still(&now) {
            // Another thread was faster.
            return Ok(());
        }
        let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
        self.forget_readers();
        if let Some(conn) = writer.conn.take() {
            if held.same_database(&now) {
                // Only the log's name is gone; its content goes home while we still hold it. A failure loses derived
                // rows only, and the open below finds out.
                let _ = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
            drop(conn);
        }
        if now.database_is_gone() || held.same_log(&now) {
            // Our log belongs to the file that is gone, not to the one that took its place.
            open::remove_side_files(&self.path)?;
        }
        let opening = open::open_file(&self.path, self.context.project_id)?;
        let why = match opening.opened {
            Opened::Fresh => Some(format!("it was deleted while in use and is built anew since {}", self.clock.now())),
            _ => Some(format!("another file took its place at {}", self.clock.now())),
        };
        self.install(&mut writer, opening, why);
        Ok(())
    }

    /// Until `install` succeeds no file counts as the open one, so that the next call tries again.
    fn forget_readers(&self) {
        let mut readers = lock(&self.readers);
        readers.identity = Identity::default();
        readers.generation += 1;
        readers.idle.clear();
    }

    fn write<T>(&self, act: impl FnOnce(&mut Connection) -> Result<T, Fault>) -> Outcome<T> {
        if let Some(aside) = &self.aside {
            if !aside.in_memory {
                return Err(Failure::engine("devcc.db was opened for reading only, and others wrote meanwhile").hint("run the command again"));
            }
            return Ok(act(&mut lock(&aside.conn))?);
        }
        self.ensure_current()?;
        let mut writer = lock(&self.writer);
        if let Some(version) = writer.newer {
            return Err(newer(version));
        }
        let conn = writer.conn.as_mut().ok_or_else(|| Failure::engine("devcc.db is not open"))?;
        match act(conn) {
            Err(fault) if fault.is_damage() => Err(self.replace_damaged(&mut writer, fault)),
            other => Ok(other?),
        }
    }

    /// A connection to the file at the path, and which of the files opened so far that is.
    fn reader(&self) -> Outcome<(u64, Connection)> {
        for _ in 0..READER_TRIES_MAX {
            self.ensure_current()?;
            let _shared = self.replacing.read().unwrap_or_else(PoisonError::into_inner);
            let (generation, idle) = {
                let mut readers = lock(&self.readers);
                (readers.generation, readers.idle.pop())
            };
            if let Some(conn) = idle {
                return Ok((generation, conn));
            }
            let opened = open::open_reader(&self.path);
            if lock(&self.readers).identity.still(&Identity::of(&self.path)) {
                return Ok((generation, opened?));
            }
        }
        Err(Failure::engine("devcc.db is deleted again and again while it is read").hint("find out which program removes it; nothing but views is affected"))
    }

    fn read<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Fault>) -> Outcome<T> {
        if let Some(aside) = &self.aside {
            return Ok(act(&lock(&aside.conn))?);
        }
        let (generation, conn) = self.reader()?;
        let answer = act(&conn);
        match answer {
            Err(fault) if fault.is_damage() => {
                drop(conn);
                let mut writer = lock(&self.writer);
                // A slow reader of a file that was replaced meanwhile says nothing about the new one.
                if lock(&self.readers).generation != generation || writer.newer.is_some() {
                    return Err(fault.into());
                }
                Err(self.replace_damaged(&mut writer, fault))
            }
            other => {
                let mut readers = lock(&self.readers);
                if readers.generation == generation && readers.idle.len() < READERS_IDLE_MAX {
                    readers.idle.push(conn);
                }
                Ok(other?)
            }
        }
    }

    /// Moves the damaged file aside and starts an empty one; the answer is the failure to give.
    fn replace_damaged(&self, writer: &mut Writer, fault: Fault) -> Failure {
        let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
        self.forget_readers();
        writer.conn = None;
        let replaced = open::move_aside(&self.path).and_then(|moved_to| {
            let opening = open::open_file(&self.path, self.context.project_id)?;
            Ok((moved_to, opening))
        });
        match replaced {
            Ok((moved_to, opening)) => {
                let opening = open::Opening { conn: opening.conn, opened: Opened::RebuiltCorrupt { moved_to } };
                self.install(writer, opening, None);
                Failure::engine(format!("{}; the file was moved aside and an empty one started", Failure::from(fault).message))
                    .hint("the views fill again from the recorder; try again in a moment")
            }
            Err(second) => second.into(),
        }
    }
}

/// A panic inside a transaction rolls it back, so the value behind a poisoned lock is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn apply(&self, events: &[Event]) -> Outcome<()> {
        self.write(|conn| project::apply(conn, &self.context, events))
    }
    fn put_packets(&self, packets: &[WorkPacket], micro_tasks: &[MicroTask], all: bool) -> Outcome<()> {
        self.write(|conn| project::packets::put(conn, packets, micro_tasks, all))
    }
    fn cursor(&self) -> Outcome<u64> {
        self.read(project::cursor)
    }
    fn health(&self) -> StoreHealth {
        // Asks first, so that a deletion shows here too; the failure is the message then.
        let cursor = self.cursor();
        let writer = lock(&self.writer);
        StoreHealth {
            path: self.path.display().to_string(),
            status: if cursor.is_ok() { writer.status } else { "unavailable" }.to_owned(),
            message: cursor.as_ref().err().map_or_else(|| writer.message.clone(), |f| f.message.clone()),
            cursor: cursor.unwrap_or(0),
            bytes: self.path.metadata().map_or(0, |m| m.len()),
            schema_version: writer.newer.unwrap_or(schema::SCHEMA_VERSION),
        }
    }
    fn reset(&self) -> Outcome<()> {
        self.write(|conn| {
            migrate::clear_rows(conn)?;
            open::claim(conn, self.context.project_id)
        })
    }

    fn jobs(&self, filter: &JobFilter) -> Outcome<Vec<Job>> {
        self.read(|conn| query::jobs::list(conn, filter))
    }
    fn job(&self, id: JobId) -> Outcome<Option<Job>> {
        self.read(|conn| query::record(conn, "job", "SELECT record_json FROM jobs WHERE job_id = ?1", &id.to_string()))
    }
    fn approvals(&self, status: Option<ApprovalStatus>, limit: usize) -> Outcome<Vec<Approval>> {
        self.read(|conn| query::lists::approvals(conn, status, limit))
    }
    fn pending_approvals(&self) -> Outcome<Vec<Approval>> {
        self.read(query::lists::pending_approvals)
    }
    fn approval(&self, id: ApprovalId) -> Outcome<Option<Approval>> {
        self.read(|conn| query::record(conn, "approval", "SELECT record_json FROM approvals WHERE approval_id = ?1", &id.to_string()))
    }
    fn grants(&self, limit: usize) -> Outcome<Vec<Grant>> {
        self.read(|conn| query::lists::grants(conn, limit))
    }
    fn grant(&self, id: GrantId) -> Outcome<Option<Grant>> {
        self.read(|conn| query::record(conn, "grant", "SELECT record_json FROM grants WHERE grant_id = ?1", &id.to_string()))
    }
    fn sessions(&self, limit: usize) -> Outcome<Vec<Session>> {
        self.read(|conn| query::lists::sessions(conn, limit))
    }
    fn open_sessions(&self) -> Outcome<Vec<Session>> {
        self.read(query::lists::open_sessions)
    }
    fn session(&self, id: SessionId) -> Outcome<Option<Session>> {
        self.read(|conn| query::record(conn, "session", "SELECT record_json FROM session_records WHERE session_id = ?1", &id.to_string()))
    }
    fn tool_calls(&self, session: Option<SessionId>, after_seq: u64, limit: usize) -> Outcome<Vec<ToolCall>> {
        self.read(|conn| query::lists::tool_calls(conn, session, after_seq, limit))
    }
    fn messages(&self, session: SessionId, after_seq: u64, limit: usize) -> Outcome<Vec<Message>> {
        self.read(|conn| query::lists::messages(conn, session, after_seq, limit))
    }
    fn workspaces(&self) -> Outcome<Vec<Workspace>> {
        self.read(query::lists::workspaces)
    }
    fn workspace(&self, id: WorkspaceId) -> Outcome<Option<Workspace>> {
        self.read(|conn| query::record(conn, "workspace", "SELECT record_json FROM workspace_records WHERE workspace_id = ?1", &id.to_string()))
    }
    fn find_objects(&self, text: &str, limit: usize) -> Outcome<Vec<(String, String, String)>> {
        self.read(|conn| query::search::find_objects(conn, text, limit))
    }
    fn resolve_short(&self, text: &str) -> Outcome<Vec<(String, String)>> {
        self.read(|conn| query::search::resolve_short(conn, text))
    }
    fn look_workspace_json(&self, workspace: &Workspace) -> Outcome<JsonStanding> {
        workspace_json::look(&workspace.binding.worktree())
    }
    fn reinit_workspace_json(&self, cleared: Cleared<RepairPlan>, workspace: &Workspace, head: Option<&Oid>) -> Outcome<()> {
        if self.aside.is_some() {
            return Err(Failure::recorder("the project is only read"));
        }
        let last_session = self.read(|conn| query::lists::last_session_of(conn, workspace.workspace_id)).unwrap_or(None);
        let _one_at_a_time = lock(&self.documents);
        workspace_json::reinit(cleared.body(), workspace, head, last_session)
    }
    fn write_workspace_json(&self, workspace: &Workspace, head: Option<&Oid>) -> Outcome<Option<String>> {
        if self.aside.is_some() {
            return Ok(Some("the project is only read; workspace.json was not written".to_owned()));
        }
        // The last session is a convenience: an unreadable projection must not keep the linkage from being written.
        let last_session = self.read(|conn| query::lists::last_session_of(conn, workspace.workspace_id)).unwrap_or(None);
        let _one_at_a_time = lock(&self.documents);
        workspace_json::write(workspace, head, last_session)
    }
}
