//! Opening `devcc.db`: fresh, existing, damaged, or written by a newer program.
//!
//! Authority: derived. Invariants: a damaged or foreign file is renamed, never removed; a newer file is opened read-only
//! before anything could write to it; rows of another project or of older projection rules are dropped, because feeding
//! them again is the only migration a derived row needs.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use dcc_core::{Failure, ProjectId};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::fault::{self, Fault};
use crate::migrate;
use crate::schema::{APPLICATION_ID, PROJECTION_VERSION, SCHEMA_VERSION};

/// How the file was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// There was none, or its rows were of an older schema or another project and were dropped; the cursor is 0.
    Fresh,
    /// Taken up; the cursor says up to where.
    Existing,
    /// It was damaged or not ours; it stands at `moved_to` now and an empty one took its place.
    RebuiltCorrupt { moved_to: PathBuf },
    /// Written by a newer program: reads only.
    ReadOnlyNewer { version: u32 },
    /// Opened for reading only, and as far as the recorder.
    ReadOnly,
    /// Reading only, and the file is missing, behind or of no use: an empty one in memory, to be fed from canon.
    InMemory,
}

impl Opened {
    /// Why nothing may be written, as the failure to give; none when the file can be worked with.
    pub fn refusal(&self) -> Option<Failure> {
        match self {
            Self::ReadOnlyNewer { version } => Some(newer(*version)),
            _ => None,
        }
    }
}

pub(crate) fn newer(version: u32) -> Failure {
    Failure::engine(format!("devcc.db has schema {version}, this program knows {SCHEMA_VERSION}: it is only read"))
        .hint("use the newer program, or move devcc.db away: it is derived and built anew")
}

/// Looks without opening for work: the refusal of a file that a newer program wrote. One that is missing or damaged is none.
pub fn refusal_of(path: &Path) -> Option<Failure> {
    size(path).filter(|bytes| *bytes > 0)?;
    newer_version(path).ok().flatten().map(newer)
}

/// An open writer connection and how it came to be.
pub(crate) struct Opening {
    pub(crate) conn: Connection,
    pub(crate) opened: Opened,
}

/// Files above this are not walked page by page on open (a second of reading); damage in them is found when met.
const FULL_CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long a statement waits for another process's lock, as a backup tool may hold one.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// Damaged files kept side by side; the numbers end somewhere.
const MOVED_ASIDE_MAX: u32 = 10_000;
/// Distinct statements of the product, with room.
const STATEMENTS_CACHED: usize = 128;

/// Opens the file for writing, making or replacing it as needed.
pub(crate) fn open_file(path: &Path, project_id: ProjectId) -> Result<Opening, Fault> {
    if size(path).is_none() {
        // A log left by a removed database must not be played into the new one.
        remove_side_files(path)?;
    }
    match try_open(path, project_id) {
        Err(fault) if fault.is_damage() => {
            let moved_to = move_aside(path)?;
            let opening = try_open(path, project_id)?;
            Ok(Opening { conn: opening.conn, opened: Opened::RebuiltCorrupt { moved_to } })
        }
        other => other,
    }
}

/// The file as it stands, for reading only, when it is of this schema and project and holds every event up to `head`; else
/// none. On a file system that cannot be written SQLite may not make its log and shared index, so the file is then opened
/// as one that does not change; not when a log stands beside it, which that would pass over.
pub(crate) fn open_current(path: &Path, project_id: ProjectId, head: u64) -> Option<Connection> {
    let is_current = |conn: &Connection| -> Result<bool, Fault> {
        let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        Ok(application == APPLICATION_ID && migrate::version(conn)? == SCHEMA_VERSION && belongs(conn, project_id)? && crate::project::cursor(conn)? == head)
    };
    let current = |conn: Connection| is_current(&conn).is_ok_and(|is| is).then_some(conn);
    if let Some(conn) = open_reader(path).ok().and_then(current) {
        return Some(conn);
    }
    let log_is_empty = suffixed(path, "-wal").metadata().map_or(true, |m| m.len() == 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let unchanging = || -> Option<Connection> {
        let conn = Connection::open_with_flags(unchanging_uri(path), flags).ok()?;
        prepare(&conn).ok()?;
        current(conn)
    };
    if log_is_empty { unchanging() } else { None }
}

fn unchanging_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    uri + "?immutable=1"
}

/// An empty database of this schema in memory.
pub(crate) fn in_memory(project_id: ProjectId) -> Result<Connection, Fault> {
    let mut conn = Connection::open_in_memory()?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate::migrate_to(&mut conn, SCHEMA_VERSION)?;
    claim(&conn, project_id)?;
    Ok(conn)
}

/// Opens one more connection for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&conn)?;
    Ok(conn)
}

fn try_open(path: &Path, project_id: ProjectId) -> Result<Opening, Fault> {
    let fresh = size(path).unwrap_or(0) == 0;
    if fresh {
        create_private(path)?;
    } else if let Some(version) = newer_version(path)? {
        return Ok(Opening { conn: open_reader(path)?, opened: Opened::ReadOnlyNewer { version } });
    }
    let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&conn)?;
    // The journal mode answers with a row, which pragma_update would refuse.
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    if fresh {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else {
        check_sound(&conn, path)?;
    }
    let before = migrate::version(&conn)?;
    migrate::migrate_to(&mut conn, SCHEMA_VERSION)?;
    migrate::check_recorded(&conn)?;
    if before == SCHEMA_VERSION && belongs(&conn, project_id)? {
        return Ok(Opening { conn, opened: Opened::Existing });
    }
    migrate::clear_rows(&mut conn)?;
    claim(&conn, project_id)?;
    Ok(Opening { conn, opened: Opened::Fresh })
}

fn prepare(conn: &Connection) -> Result<(), Fault> {
    conn.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

/// The file's schema number when this program does not know it; looked up without a chance to write.
fn newer_version(path: &Path) -> Result<Option<u32>, Fault> {
    let conn = open_reader(path)?;
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(Fault::Foreign("it is not a database of this product".into()));
    }
    let version = migrate::version(&conn)?;
    Ok((version > SCHEMA_VERSION).then_some(version))
}

fn check_sound(conn: &Connection, path: &Path) -> Result<(), Fault> {
    if size(path).unwrap_or(0) > FULL_CHECK_BYTES_MAX {
        return Ok(());
    }
    let answer: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if answer == "ok" { Ok(()) } else { Err(Fault::Foreign(answer)) }
}

fn belongs(conn: &Connection, project_id: ProjectId) -> Result<bool, Fault> {
    let read = |key: &str| conn.query_row("SELECT value FROM store_meta WHERE key = ?1", params![key], |row| row.get::<_, String>(0)).optional();
    Ok(read("project_id")? == Some(project_id.to_string()) && read("projection_version")? == Some(PROJECTION_VERSION.to_string()))
}

/// Writes whose rows these are and by which rules.
pub(crate) fn claim(conn: &Connection, project_id: ProjectId) -> Result<(), Fault> {
    let mut statement = conn.prepare("INSERT INTO store_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?;
    statement.execute(params!["project_id", project_id.to_string()])?;
    statement.execute(params!["projection_version", PROJECTION_VERSION.to_string()])?;
    Ok(())
}

/// Renames the file, its log with it, to the first free `devcc.db.corrupt-<n>`.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, Fault> {
    let target = (1..=MOVED_ASIDE_MAX).map(|n| suffixed(path, &format!(".corrupt-{n}"))).find(|p| p.symlink_metadata().is_err());
    let Some(target) = target else {
        return Err(fault::io("too many damaged databases stand beside devcc.db", &io::Error::other("remove some of them")));
    };
    std::fs::rename(path, &target).map_err(|e| fault::io("the damaged devcc.db cannot be moved aside", &e))?;
    let log = suffixed(path, "-wal");
    if log.symlink_metadata().is_ok() {
        // The log goes along, so that what is left can still be read by a person.
        std::fs::rename(&log, suffixed(&target, "-wal")).map_err(|e| fault::io("the damaged devcc.db's log cannot be moved aside", &e))?;
    }
    remove_side_files(path)?;
    Ok(target)
}

/// Removes the log and the shared index of a database that is gone.
pub(crate) fn remove_side_files(path: &Path) -> Result<(), Fault> {
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(suffixed(path, suffix)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault::io("a left-over file beside devcc.db cannot be removed", &e)),
            _ => {}
        }
    }
    Ok(())
}

fn create_private(path: &Path) -> Result<(), Fault> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(fault::io(&format!("{} cannot be made", path.display()), &e)),
        _ => Ok(()),
    }
}

fn size(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|m| m.len())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut text: OsString = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// Which files stand at the paths: compared before each use, so that a deleted database is noticed at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Identity {
    database: Option<(u64, u64)>,
    log: Option<(u64, u64)>,
}

impl Identity {
    pub(crate) fn of(path: &Path) -> Self {
        let id = |p: &Path| p.metadata().ok().map(|m| (m.dev(), m.ino()));
        Self { database: id(path), log: id(&suffixed(path, "-wal")) }
    }
    /// True when the files we hold open are still the ones at the paths. A database that never had a log is judged by
    /// itself alone.
    pub(crate) fn still(&self, now: &Self) -> bool {
        self.database.is_some() && self.database == now.database && (self.log.is_none() || self.log == now.log)
    }
    pub(crate) fn database_is_gone(&self) -> bool {
        self.database.is_none()
    }
    pub(crate) fn same_log(&self, other: &Self) -> bool {
        self.log.is_some() && self.log == other.log
    }
    pub(crate) fn same_database(&self, other: &Self) -> bool {
        self.database.is_some() && self.database == other.database
    }
}
