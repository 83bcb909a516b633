//! The recorder's file: tables, creation, and what is checked before an existing file is used. Authority: canon.
//!
//! Invariants: a new file appears complete under its name or not at all; an existing file is never recreated; a schema
//! newer than this program is only read. Failure: HSK-500-INTEGRITY for a file that is not a sound recorder (the file
//! stays as it is), HSK-500-RECORDER for one that cannot be opened.

use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dcc_core::ports::Clock;
use dcc_core::{Code, Failure, Outcome, limits};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use crate::row::StoredRow;

/// The schema this program writes.
pub const VERSION: i64 = 1;
/// "DCCR": marks the file as ours, so that no other database is taken for a recorder.
pub const APPLICATION_ID: i64 = 0x4443_4352;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Headers and payloads apart: a telemetry payload may be purged later, its header stays in the chain.
/// The insert trigger also stops `INSERT OR REPLACE`, which would remove a row without firing the delete trigger.
pub const DDL: &str = "
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, ts INTEGER NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL,
  class TEXT NOT NULL CHECK (class IN ('audit', 'telemetry')), actor_kind TEXT NOT NULL, actor_id TEXT NOT NULL,
  principal TEXT NOT NULL, trace_id TEXT, span_id TEXT, parent_span_id TEXT, job_id TEXT, workflow_run_id TEXT,
  session_id TEXT, wsid TEXT, project_id TEXT NOT NULL, wp_id TEXT, mt_id TEXT, approval_id TEXT, tool_call_id TEXT,
  capability_id TEXT, policy_digest TEXT, outcome TEXT NOT NULL, unique_key TEXT, redactions INTEGER NOT NULL,
  payload_sha256 TEXT NOT NULL, prev_hash TEXT NOT NULL, instance_id TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TABLE payloads (seq INTEGER PRIMARY KEY REFERENCES events (seq), class TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE purged (seq INTEGER PRIMARY KEY REFERENCES events (seq), at INTEGER NOT NULL) STRICT;
CREATE TABLE checkpoints (seq INTEGER PRIMARY KEY REFERENCES events (seq), hash TEXT NOT NULL, at INTEGER NOT NULL) STRICT;

CREATE UNIQUE INDEX events_unique_key ON events (unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX events_code ON events (code);
CREATE INDEX events_trace_id ON events (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX events_job_id ON events (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX events_workflow_run_id ON events (workflow_run_id) WHERE workflow_run_id IS NOT NULL;
CREATE INDEX events_session_id ON events (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX events_wsid ON events (wsid) WHERE wsid IS NOT NULL;
CREATE INDEX events_wp_id ON events (wp_id) WHERE wp_id IS NOT NULL;
CREATE INDEX events_mt_id ON events (mt_id) WHERE mt_id IS NOT NULL;
CREATE INDEX events_approval_id ON events (approval_id) WHERE approval_id IS NOT NULL;
CREATE INDEX events_tool_call_id ON events (tool_call_id) WHERE tool_call_id IS NOT NULL;

CREATE TRIGGER events_append_only BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
  OR EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id)
  OR EXISTS (SELECT 1 FROM events WHERE unique_key = NEW.unique_key)
BEGIN SELECT RAISE(ABORT, 'events are appended, once each'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
CREATE TRIGGER payloads_append_only BEFORE INSERT ON payloads
WHEN EXISTS (SELECT 1 FROM payloads WHERE seq = NEW.seq)
  OR NEW.class IS NOT (SELECT class FROM events WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a payload belongs to its event and is written once'); END;
CREATE TRIGGER payloads_no_update BEFORE UPDATE ON payloads BEGIN SELECT RAISE(ABORT, 'payloads are never changed'); END;
CREATE TRIGGER payloads_no_delete BEFORE DELETE ON payloads
WHEN OLD.class IS NOT 'telemetry' OR NOT EXISTS (SELECT 1 FROM purged WHERE seq = OLD.seq)
BEGIN SELECT RAISE(ABORT, 'only telemetry payloads are purged, after their mark'); END;
CREATE TRIGGER purged_telemetry_only BEFORE INSERT ON purged
WHEN (SELECT class FROM events WHERE seq = NEW.seq) IS NOT 'telemetry' OR EXISTS (SELECT 1 FROM purged WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'only telemetry payloads are purged, once'); END;
CREATE TRIGGER purged_no_update BEFORE UPDATE ON purged BEGIN SELECT RAISE(ABORT, 'marks are never changed'); END;
CREATE TRIGGER purged_no_delete BEFORE DELETE ON purged BEGIN SELECT RAISE(ABORT, 'marks are never removed'); END;
CREATE TRIGGER checkpoints_append_only BEFORE INSERT ON checkpoints
WHEN EXISTS (SELECT 1 FROM checkpoints WHERE seq >= NEW.seq)
BEGIN SELECT RAISE(ABORT, 'checkpoints are appended'); END;
CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;
CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints are never removed'); END;
";

/// One open recorder file: where it is and which file it was when it was opened.
#[derive(Clone, Debug)]
pub struct Location {
    pub path: PathBuf,
    identity: (u64, u64),
    /// The schema in the file; above [`VERSION`] it is only read.
    pub version: i64,
    /// What is wrong with the last event; such a log is read and verified, but not continued.
    pub bad_head: Option<String>,
}

impl Location {
    /// Refuses when the name no longer leads to the file that was opened: records would go to a file nobody can find.
    pub fn require_same_file(&self) -> Outcome<()> {
        let found = regular_file(&self.path)?;
        if found == Some(self.identity) {
            Ok(())
        } else {
            Err(Failure::recorder(format!("{} was removed or replaced while it was open", self.path.display())))
        }
    }
}

/// Translates an error of SQLite: damage is HSK-500-INTEGRITY, all else HSK-500-RECORDER.
pub fn failure(path: &Path, doing: &str, error: &rusqlite::Error) -> Failure {
    let message = format!("{} could not be {doing}: {error}", path.display());
    if is_damage(error) { damaged(message) } else { Failure::recorder(message) }
}

pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// HSK-500-INTEGRITY with the step that helps.
pub fn damaged(message: impl Into<String>) -> Failure {
    Failure::new(Code::Integrity, message).hint("the file was left as it is; keep a copy, then put the file back from your backup")
}

/// Device and inode of a regular file; None when nothing is there; a link or a directory is refused.
fn regular_file(path: &Path) -> Outcome<Option<(u64, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some((meta.dev(), meta.ino()))),
        Ok(_) => Err(damaged(format!("{} is not a regular file", path.display()))),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Failure::recorder(format!("{} cannot be looked at: {e}", path.display()))),
    }
}

/// Do both names lead to one file?
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The file beside the database that SQLite keeps for `suffix` (`-wal`, `-shm`).
pub fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Finds or makes the recorder, and checks it.
pub fn open_or_create(path: &Path, clock: &dyn Clock) -> Outcome<Location> {
    if regular_file(path)?.is_none() {
        create(path, clock)?;
    }
    inspect(path)
}

/// Builds a new recorder under a temporary name and links it into place, so that a crash leaves no half file.
fn create(path: &Path, clock: &dyn Clock) -> Outcome<()> {
    if regular_file(&companion(path, "-wal"))?.is_some() {
        return Err(damaged(format!("{} is gone but its write-ahead log is still there", path.display())));
    }
    let cannot = |what: &str, e: &dyn std::fmt::Display| Failure::recorder(format!("{} could not be {what}: {e}", path.display()));
    let folder = folder_of(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| cannot("created", &e))?;
    let new_path = folder.join(format!(".recorder.new-{}", clock.fresh_id()));
    let built = build(&new_path).map_err(|e| cannot("created", &e)).and_then(|()| match std::fs::hard_link(&new_path, path) {
        Ok(()) => Ok(()),
        // Another process was faster; its file is checked like any other.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        // File systems without hard links.
        Err(_) if regular_file(path)?.is_none() => std::fs::rename(&new_path, path).map_err(|e| cannot("created", &e)),
        Err(e) => Err(cannot("created", &e)),
    });
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(companion(&new_path, suffix));
    }
    built?;
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| cannot("made durable", &e))
}

fn build(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(&format!("BEGIN; {DDL} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, e)| e)?;
    file.sync_all()?;
    Ok(())
}

/// Checks that an existing file is a sound recorder before anything is asked of it.
pub fn inspect(path: &Path) -> Outcome<Location> {
    let identity = regular_file(path)?.ok_or_else(|| Failure::recorder(format!("there is no recorder at {}", path.display())))?;
    for suffix in ["-wal", "-shm"] {
        regular_file(&companion(path, suffix))?;
    }
    require_header(path)?;
    let (connection, _) = open_reader(path)?;
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|e| failure(path, "read", &e))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(damaged(format!("{} is a database but not a recorder", path.display())));
    }
    let version = pragma("user_version")?;
    if version < 1 {
        return Err(damaged(format!("{} carries no schema version", path.display())));
    }
    let mut bad_head = None;
    if version <= VERSION {
        require_tables(&connection, path)?;
        bad_head = head_problem(&connection, path)?;
    }
    Ok(Location { path: path.to_owned(), identity, version, bad_head })
}

/// The first bytes, read without SQLite, which would take an empty file for an empty database.
fn require_header(path: &Path) -> Outcome<()> {
    let cannot = |e: std::io::Error| Failure::recorder(format!("{} cannot be read: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut head = Vec::new();
    file.take(100).read_to_end(&mut head).map_err(cannot)?;
    if head.len() < 100 || !head.starts_with(MAGIC) {
        return Err(damaged(format!("{} is not a database", path.display())));
    }
    let page_bytes = match u64::from(u16::from_be_bytes([head[16], head[17]])) {
        1 => 65_536,
        n => n,
    };
    let pages = u64::from(u32::from_be_bytes([head[28], head[29], head[30], head[31]]));
    let has_wal = std::fs::metadata(companion(path, "-wal")).is_ok_and(|m| m.len() > 0);
    // While a write-ahead log stands beside it, the file may rightly be shorter than its header says.
    if !has_wal && pages * page_bytes > length {
        return Err(damaged(format!("{} is cut off: {length} bytes of {}", path.display(), pages * page_bytes)));
    }
    Ok(())
}

fn require_tables(connection: &Connection, path: &Path) -> Outcome<()> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('events', 'payloads', 'purged', 'checkpoints')";
    let tables: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(|e| failure(path, "read", &e))?;
    if tables == 4 { Ok(()) } else { Err(damaged(format!("{} lacks tables of a recorder", path.display()))) }
}

/// The chain is continued from its head, so at least the head must hold; `verify` looks at the rest.
fn head_problem(connection: &Connection, path: &Path) -> Outcome<Option<String>> {
    let sql = format!("SELECT {} FROM events e ORDER BY seq DESC LIMIT 1", StoredRow::columns());
    let head = connection.query_row(&sql, [], |row| Ok(StoredRow::read(row))).optional();
    let problem = match head {
        Ok(None) => None,
        Ok(Some(Ok(row))) if row.header.digest()?.to_string() == row.hash => None,
        Ok(Some(Ok(row))) => Some(format!("the last event, {}, does not match its hash", row.header.seq)),
        Ok(Some(Err(problem))) => Some(format!("the last event cannot be read: {problem}")),
        Err(e) if is_damage(&e) => Some(format!("the last event cannot be read: {e}")),
        Err(e) => return Err(failure(path, "read", &e)),
    };
    Ok(problem.map(|problem| format!("{}: {problem}", path.display())))
}

fn busy_timeout() -> Duration {
    Duration::from_millis(limits::PROJECT_LOCK_WAIT_MS)
}

const READING: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// A reading connection, and whether it may be kept: one opened as immutable (a read-only directory) or over a copy sees
/// no later writes.
pub fn open_reader(path: &Path) -> Outcome<(Connection, bool)> {
    let error = match try_reader(Connection::open_with_flags(path, READING)) {
        Ok(connection) => return Ok((connection, true)),
        Err(e) => e,
    };
    // SQLite wants to make its log and shared index beside the file, which a read-only or full file system refuses.
    use ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    let is_locked_out = matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | DiskFull | SystemIoFailure));
    let log_is_empty = std::fs::metadata(companion(path, "-wal")).map_or(true, |m| m.len() == 0);
    let other_way = match (is_locked_out, log_is_empty) {
        (false, _) => None,
        (true, true) => try_reader(Connection::open_with_flags(immutable_uri(path), READING | OpenFlags::SQLITE_OPEN_URI)).ok(),
        // Immutable would pass over what stands in the log only.
        (true, false) => read_copy(path),
    };
    other_way.map(|connection| (connection, false)).ok_or_else(|| failure(path, "opened for reading", &error))
}

fn try_reader(connection: rusqlite::Result<Connection>) -> rusqlite::Result<Connection> {
    let connection = connection?;
    connection.busy_timeout(busy_timeout())?;
    connection.pragma_update(None, "query_only", true)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

/// A log that was never brought home, without its shared index, where none can be made: both files are read as a private
/// copy, whose names are gone as soon as they are open.
fn read_copy(path: &Path) -> Option<Connection> {
    let folder = std::env::temp_dir().join(format!("dcc-recorder-{}-{:x}", std::process::id(), COPIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).ok()?;
    let copy = folder.join("recorder.db");
    let copied = std::fs::copy(path, &copy).and_then(|_| std::fs::copy(companion(path, "-wal"), companion(&copy, "-wal")));
    let opened = copied.ok().and_then(|_| {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        try_reader(Connection::open_with_flags(&copy, flags)).ok()
    });
    // Open files outlive their names.
    let _ = std::fs::remove_dir_all(&folder);
    opened
}

static COPIES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// The writing connection: WAL, full synchronisation, and proof that the file can be locked for writing.
pub fn open_writer(path: &Path, page_limit: Option<u32>) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // SQLite falls back to reading when the file cannot be opened for writing.
    if connection.is_readonly("main")? {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None));
    }
    connection.busy_timeout(busy_timeout())?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    limit_pages(&connection, page_limit)?;
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;")?;
    Ok(connection)
}

/// Caps the size of the file; None lifts the cap.
pub fn limit_pages(connection: &Connection, pages: Option<u32>) -> Result<(), rusqlite::Error> {
    // SQLite's own ceiling.
    let pages = pages.unwrap_or(4_294_967_294);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}
