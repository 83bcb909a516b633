//! From events to rows.
//!
//! Authority: derived. Invariants: a row is a fold over the events of its record, in sequence, by the pure functions of
//! `dcc-core`; how events are cut into batches changes nothing, because a batch starts from the stored record and ends
//! by storing it; an event that means nothing here, or whose payload does not read, still moves the cursor.
//!
//! Failure: a batch is one transaction; a gap in the sequence is refused before anything is written.

mod approvals;
mod jobs;
mod ledger;
mod misc;
pub(crate) mod packets;
mod sessions;
mod slots;
mod workspaces;

pub(crate) use workspaces::v1_role;

use std::path::Path;

use dcc_core::event::Event;
use dcc_core::workspace::escape_path;
use dcc_core::{Failure, ProjectId};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use crate::fault::Fault;

/// Events of one transaction: bounds the log and the records held in memory.
const TRANSACTION_EVENTS_MAX: usize = 10_000;

/// What rows need to know besides events.
pub(crate) struct Context {
    pub(crate) project_id: ProjectId,
    /// The directory the project lives in, escaped; an event may say better.
    root_path: String,
    name: String,
}

impl Context {
    /// `root/.handshake/devcc.db`, or `name.handshake/devcc.db` beside a bare repository.
    pub(crate) fn new(database: &Path, project_id: ProjectId) -> Self {
        let home = database.parent().unwrap_or(Path::new(""));
        let text = escape_path(home.as_os_str().as_encoded_bytes());
        let root_path = text.strip_suffix("/.handshake").or_else(|| text.strip_suffix(".handshake")).unwrap_or(&text).to_owned();
        let name = root_path.rsplit('/').next().unwrap_or("").to_owned();
        Self { project_id, root_path, name }
    }
}

/// One transaction's worth of records: loaded on first touch, folded in memory, stored once at the end.
struct Batch<'c> {
    conn: &'c Connection,
    context: &'c Context,
    jobs: jobs::Jobs,
    approvals: approvals::Approvals,
    sessions: sessions::Sessions,
    workspaces: workspaces::Workspaces,
    tool_calls: ledger::ToolCalls,
}

/// The last sequence applied.
pub(crate) fn cursor(conn: &Connection) -> Result<u64, Fault> {
    let seq: Option<i64> = conn.prepare_cached("SELECT seq FROM projection_cursor")?.query_row([], |row| row.get(0)).optional()?;
    Ok(seq.unwrap_or(0) as u64)
}

/// Applies the events above the cursor.
pub(crate) fn apply(conn: &mut Connection, context: &Context, events: &[Event]) -> Result<(), Fault> {
    let cursor = cursor(conn)?;
    let events = match events.iter().position(|e| e.seq > cursor) {
        Some(first) => &events[first..],
        None => return Ok(()),
    };
    check_sequence(cursor, events)?;
    for chunk in events.chunks(TRANSACTION_EVENTS_MAX) {
        let tx = conn.transaction()?;
        apply_chunk(&tx, context, chunk)?;
        tx.commit()?;
    }
    Ok(())
}

fn check_sequence(cursor: u64, events: &[Event]) -> Result<(), Fault> {
    for (expected, event) in (cursor + 1..).zip(events) {
        if event.seq != expected {
            let failure = Failure::engine(format!("devcc.db was given event {} where {expected} comes next", event.seq));
            return Err(failure.hint("feed the events from the cursor on, without gaps").into());
        }
    }
    Ok(())
}

fn apply_chunk(conn: &Connection, context: &Context, events: &[Event]) -> Result<(), Fault> {
    let Some(last) = events.last() else { return Ok(()) };
    misc::ensure_project(conn, context, &events[0])?;
    let mut batch = Batch {
        conn,
        context,
        jobs: jobs::Jobs::default(),
        approvals: approvals::Approvals::default(),
        sessions: sessions::Sessions::default(),
        workspaces: workspaces::Workspaces::default(),
        tool_calls: ledger::ToolCalls::default(),
    };
    for event in events {
        jobs::take(&mut batch, event)?;
        approvals::take(&mut batch, event)?;
        sessions::take(&mut batch, event)?;
        workspaces::take(&mut batch, event)?;
        ledger::take(&mut batch, event)?;
        misc::take(&mut batch, event)?;
    }
    jobs::store(&batch)?;
    approvals::store(&batch)?;
    sessions::store(&batch)?;
    workspaces::store(&batch)?;
    ledger::store(&batch)?;
    conn.prepare_cached("INSERT INTO projection_cursor (one, seq) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq")?
        .execute(params![last.seq as i64])?;
    Ok(())
}

/// A record as its row keeps it.
fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|e| Failure::engine(format!("a record cannot be written as JSON: {e}")).into())
}

/// The wire word of a closed enum.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Text of an optional id.
fn text<T: std::fmt::Display>(id: Option<&T>) -> Option<String> {
    id.map(ToString::to_string)
}
