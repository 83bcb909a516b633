//! The walk over the whole chain. Authority: canon, read only.
//!
//! Finds any edit, removal, insertion, exchange or repetition of an event, and a cut tail back to the last checkpoint
//! kept outside; names the first sequence that does not hold. It is evidence, not prevention: whoever can write the file
//! can forge a whole new chain, and only a checkpoint kept elsewhere shows that. Damage found by SQLite itself is a
//! finding of the report, not a failure of the call.

use std::collections::BTreeMap;

use dcc_core::ports::{ChainHead, Checkpoint, VerifyReport};
use dcc_core::{Failure, Outcome, Sha256Hex, limits};
use rusqlite::{Connection, OptionalExtension as _};

use crate::row::StoredRow;
use crate::schema;

/// What does not hold.
struct Finding {
    seq: Option<u64>,
    problem: String,
}

impl Finding {
    fn at(seq: u64, problem: impl Into<String>) -> Self {
        Self { seq: Some(seq), problem: problem.into() }
    }
}

/// Why the walk ended early.
enum Stop {
    Found(Finding),
    Sql(rusqlite::Error),
    Failed(Failure),
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}
impl From<Finding> for Stop {
    fn from(f: Finding) -> Self {
        Self::Found(f)
    }
}

struct Walk {
    head: ChainHead,
    purged_payloads: u64,
}

/// Verifies one file. `events` and `head` of the report tell how far the chain holds.
pub fn verify(connection: &Connection, external: Option<Checkpoint>) -> Outcome<VerifyReport> {
    let mut walk = Walk { head: ChainHead { seq: 0, hash: Sha256Hex::ZERO }, purged_payloads: 0 };
    // One read transaction: the chain, its payloads and its checkpoints are looked at as of one moment.
    let walked = connection.execute_batch("BEGIN").map_err(Stop::Sql).and_then(|()| walk.all(connection, external));
    let _ = connection.execute_batch("ROLLBACK");
    let finding = match walked {
        Ok(()) => None,
        Err(Stop::Found(finding)) => Some(finding),
        Err(Stop::Sql(e)) if is_finding(&e) => Some(Finding::at(walk.head.seq + 1, format!("the file is damaged: {e}"))),
        Err(Stop::Sql(e)) => return Err(Failure::recorder(format!("the recorder could not be read: {e}"))),
        Err(Stop::Failed(failure)) => return Err(failure),
    };
    Ok(VerifyReport {
        ok: finding.is_none(),
        events: walk.head.seq,
        head: walk.head,
        first_bad_seq: finding.as_ref().and_then(|f| f.seq),
        problem: finding.map(|f| f.problem),
        purged_payloads: walk.purged_payloads,
        checkpoint: external,
    })
}

/// Errors that speak of the file's content: damaged pages, a table or column that is gone, a value of another type.
fn is_finding(e: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    schema::is_damage(e) || !matches!(e.sqlite_error_code(), Some(code) if code != ErrorCode::Unknown)
}

impl Walk {
    fn all(&mut self, connection: &Connection, external: Option<Checkpoint>) -> Result<(), Stop> {
        self.chain(connection, external)?;
        require_no_strays(connection)?;
        require_schema(connection)?;
        match integrity_problems(connection)?.first() {
            None => Ok(()),
            Some(first) => Err(Finding { seq: row_number(first), problem: format!("the file is damaged: {first}") }.into()),
        }
    }

    fn chain(&mut self, connection: &Connection, external: Option<Checkpoint>) -> Result<(), Stop> {
        let mut checkpoints = load_checkpoints(connection)?;
        let mut statement = connection.prepare(&format!("{} ORDER BY e.seq", StoredRow::select()))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let seq = self.head.seq + 1;
            let stored = StoredRow::read_whole(row).map_err(|problem| Finding::at(seq, problem))?;
            let hash = self.require_event(&stored, seq)?;
            match checkpoints.remove(&seq) {
                Some(kept) if kept != stored.hash => return Err(Finding::at(seq, "the event differs from its checkpoint").into()),
                None if seq.is_multiple_of(limits::CHECKPOINT_EVERY_EVENTS) => {
                    return Err(Finding::at(seq, "the checkpoint of this event is missing").into());
                }
                _ => {}
            }
            if external.is_some_and(|c| c.seq == seq && c.hash != hash) {
                let problem = "the event differs from the checkpoint kept outside: it or an earlier one was rewritten";
                return Err(Finding::at(seq, problem).into());
            }
            self.head = ChainHead { seq, hash };
        }
        let end = self.head.seq;
        if let Some(kept) = external.filter(|c| c.seq > end) {
            let problem = format!("the log ends at {end}, the checkpoint kept outside is at {}: the tail was cut", kept.seq);
            return Err(Finding::at(end + 1, problem).into());
        }
        if let Some(seq) = checkpoints.keys().next() {
            return Err(Finding::at(end + 1, format!("the log ends at {end} but a checkpoint stands at {seq}: the tail was cut")).into());
        }
        Ok(())
    }

    fn require_event(&mut self, stored: &StoredRow, seq: u64) -> Result<Sha256Hex, Stop> {
        let header = &stored.header;
        if header.seq as u64 != seq {
            return Err(Finding::at(seq, format!("the event is missing; the next one is {}", header.seq)).into());
        }
        if header.prev_hash != self.head.hash.to_string() {
            return Err(Finding::at(seq, "the event does not follow the one before it").into());
        }
        let hash = header.digest().map_err(Stop::Failed)?;
        if stored.hash != hash.to_string() {
            return Err(Finding::at(seq, "the event does not match its hash").into());
        }
        match &stored.body {
            Some(body) if Sha256Hex::of(body.as_bytes()).to_string() != header.payload_sha256 => {
                return Err(Finding::at(seq, "the payload does not match its hash").into());
            }
            Some(_) if stored.is_purged => return Err(Finding::at(seq, "the payload is marked as purged but is there").into()),
            Some(_) => {}
            None => {
                stored.payload().map_err(|problem| Finding::at(seq, problem))?;
                self.purged_payloads += 1;
            }
        }
        Ok(hash)
    }
}

fn load_checkpoints(connection: &Connection) -> Result<BTreeMap<u64, String>, Stop> {
    let mut statement = connection.prepare("SELECT seq, CAST(hash AS BLOB) FROM checkpoints")?;
    let mut rows = statement.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let hash: Vec<u8> = row.get(1)?;
        found.insert(row.get::<_, i64>(0)? as u64, String::from_utf8_lossy(&hash).into_owned());
    }
    Ok(found)
}

/// A payload or a mark without its event: the event was removed from the end, or something was put in.
fn require_no_strays(connection: &Connection) -> Result<(), Stop> {
    for table in ["payloads", "purged"] {
        let sql = format!("SELECT min(seq) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = t.seq)");
        if let Some(seq) = connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))? {
            return Err(Finding::at(seq as u64, format!("{table} holds a row without an event")).into());
        }
    }
    let sql = "SELECT min(e.seq) FROM events e JOIN payloads p ON p.seq = e.seq WHERE p.class IS NOT e.class";
    match connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))? {
        Some(seq) => Err(Finding::at(seq as u64, "the payload's class is not the event's").into()),
        None => Ok(()),
    }
}

/// Tables, triggers and indexes as this program makes them; a missing trigger means that somebody opened the door.
fn require_schema(connection: &Connection) -> Result<(), Stop> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != schema::VERSION {
        return Ok(());
    }
    let made = Connection::open_in_memory()?;
    made.execute_batch(schema::DDL)?;
    let wanted = objects(&made)?;
    let found = objects(connection)?;
    let changed = wanted
        .iter()
        .find(|(name, sql)| found.get(*name) != Some(*sql))
        .or_else(|| found.iter().find(|(name, _)| !wanted.contains_key(*name)));
    match changed {
        Some((name, _)) => {
            let problem = format!("{name} is not as it was made: the file was altered from outside");
            Err(Finding { seq: None, problem }.into())
        }
        None => Ok(()),
    }
}

/// Name and definition of everything in a database.
fn objects(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Option<String>>> {
    let mut statement = connection.prepare("SELECT type || ' ' || name, sql FROM sqlite_master")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// SQLite's own examination: pages, indexes, constraints. Empty means sound.
pub fn integrity_problems(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// The event that a complaint about an index of `events` speaks of; rows are counted from 1 without gaps, as events are.
fn row_number(problem: &str) -> Option<u64> {
    let rest = problem.strip_prefix("row ")?;
    if !problem.contains("events") {
        return None;
    }
    rest.split(' ').next()?.parse().ok()
}

/// The chain's hash at a sequence, for mirrors.
pub fn hash_at(connection: &Connection, seq: u64) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT hash FROM events WHERE seq = ?", [seq as i64], |row| row.get(0)).optional()
}
