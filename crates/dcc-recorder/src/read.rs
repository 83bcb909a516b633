//! Slices and single events. Authority: canon, read only.
//!
//! Invariants: every slice is ordered by sequence, so paging with `after_seq` and `before_seq` is stable while others
//! append; rows of a code this program does not know are passed over and do not shorten a page. Failure: damage is
//! HSK-500-INTEGRITY, a file that cannot be opened HSK-500-RECORDER.

use std::sync::{Mutex, PoisonError};

use dcc_core::event::{Event, EventOutcome};
use dcc_core::ports::{ChainHead, EventFilter, Order};
use dcc_core::{Failure, Outcome, Sha256Hex, limits, redact};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use crate::row::{StoredRow, kind_text};
use crate::schema::{self, Location};

/// Reading connections kept open; more readers at once open their own for the time.
const POOL_MAX: usize = 8;

/// Reading connections to one file.
pub struct Readers {
    location: Location,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn new(location: Location) -> Self {
        Self { location, idle: Mutex::new(Vec::new()) }
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Lends a connection; one that met an error is not used again.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.location.require_same_file()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (connection, may_keep) = match idle {
            Some(connection) => (connection, true),
            None => schema::open_reader(&self.location.path)?,
        };
        let value = work(&connection)?;
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if may_keep && pool.len() < POOL_MAX {
            pool.push(connection);
        }
        Ok(value)
    }

    pub fn head(&self) -> Outcome<ChainHead> {
        self.with(|connection| {
            let head: Option<(i64, String)> = connection
                .prepare_cached("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
                .and_then(|mut s| s.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
                .map_err(|e| self.failure(&e))?;
            let Some((seq, hash)) = head else { return Ok(ChainHead { seq: 0, hash: Sha256Hex::ZERO }) };
            let hash = hash.parse().map_err(|_| schema::damaged(format!("event {seq} has no hash")))?;
            Ok(ChainHead { seq: seq as u64, hash })
        })
    }

    pub fn slice(&self, filter: &EventFilter) -> Outcome<Vec<Event>> {
        let limit = if filter.limit == 0 { limits::PAGE_MAX } else { filter.limit.min(limits::PAGE_MAX) };
        let mut events = Vec::new();
        self.each(filter, |row| {
            events.extend(row.event().map_err(schema::damaged)?);
            Ok(events.len() < limit)
        })?;
        Ok(events)
    }

    /// Hands every matching row to `take` until it says stop. The rows are one snapshot.
    pub fn each(&self, filter: &EventFilter, mut take: impl FnMut(StoredRow) -> Outcome<bool>) -> Outcome<()> {
        let (sql, values) = query(filter);
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&sql).map_err(|e| self.failure(&e))?;
            let mut rows = statement.query(params_from_iter(values)).map_err(|e| self.failure(&e))?;
            while let Some(row) = rows.next().map_err(|e| self.failure(&e))? {
                let stored = StoredRow::read_whole(row).map_err(|problem| schema::damaged(format!("an event cannot be read: {problem}")))?;
                if !take(stored)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The one event whose column holds the value.
    pub fn one(&self, column: &'static str, value: SqlValue) -> Outcome<Option<Event>> {
        let sql = format!("{} WHERE e.{column} = ?", StoredRow::select());
        self.with(|connection| {
            let row = connection
                .prepare_cached(&sql)
                .and_then(|mut s| s.query_row([value], |row| Ok(StoredRow::read_whole(row))).optional())
                .map_err(|e| self.failure(&e))?;
            row.map_or(Ok(None), |stored| stored.and_then(|r| r.event()).map_err(schema::damaged))
        })
    }

    pub fn failure(&self, error: &rusqlite::Error) -> Failure {
        schema::failure(&self.location.path, "read", error)
    }
}

/// SQL and values of a filter. `since` and `until` include their bounds.
fn query(filter: &EventFilter) -> (String, Vec<SqlValue>) {
    let mut parts: Vec<String> = Vec::new();
    let mut values: Vec<SqlValue> = Vec::new();
    let mut require = |part: &str, value: Option<SqlValue>| {
        if let Some(value) = value {
            parts.push(part.to_owned());
            values.push(value);
        }
    };
    let number = |n: u64| SqlValue::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    require("e.seq > ?", filter.after_seq.map(number));
    require("e.seq < ?", filter.before_seq.map(number));
    require("e.wp_id = ?", text(filter.wp_id.as_ref()));
    require("e.mt_id = ?", text(filter.mt_id.as_ref()));
    require("e.session_id = ?", text(filter.session_id.as_ref()));
    require("e.wsid = ?", text(filter.workspace_id.as_ref()));
    require("e.job_id = ?", text(filter.job_id.as_ref()));
    require("e.workflow_run_id = ?", text(filter.workflow_run_id.as_ref()));
    require("e.approval_id = ?", text(filter.approval_id.as_ref()));
    // Written redacted, so asked redacted.
    require("e.tool_call_id = ?", filter.tool_call_id.as_ref().map(|v| SqlValue::Text(redact::redact_text(v).0)));
    require("e.capability_id = ?", text(filter.capability_id.as_ref()));
    require("e.actor_kind = ?", text(filter.actor_kind.map(kind_text).as_ref()));
    require("e.actor_id = ?", text(filter.actor_id.as_ref()));
    require("json_extract(e.principal, '$.principal') = ?", text(filter.principal.as_ref()));
    require("e.trace_id = ?", text(filter.trace_id.as_ref()));
    require("e.span_id = ?", text(filter.span_id.as_ref()));
    require("e.parent_span_id = ?", text(filter.parent_span_id.as_ref()));
    require("e.project_id = ?", text(filter.project_id.as_ref()));
    require("e.policy_digest = ?", text(filter.policy_digest.as_ref()));
    require("e.outcome = ?", text(filter.outcome.map(EventOutcome::as_str).as_ref()));
    require("e.ts >= ?", filter.since.map(|v| SqlValue::Integer(v.as_ms())));
    require("e.ts <= ?", filter.until.map(|v| SqlValue::Integer(v.as_ms())));
    if let Some(wanted) = filter.text.as_ref().filter(|t| !t.is_empty()) {
        let wanted = SqlValue::Text(wanted.to_ascii_lowercase());
        parts.push("(instr(lower(p.body), ?) > 0 OR instr(lower(e.name), ?) > 0)".to_owned());
        values.extend([wanted.clone(), wanted]);
    }
    if !filter.codes.is_empty() {
        parts.push(format!("e.code IN ({})", vec!["?"; filter.codes.len()].join(", ")));
        values.extend(filter.codes.iter().map(|c| SqlValue::Text(c.as_str().to_owned())));
    }
    let mut sql = StoredRow::select();
    if !parts.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&parts.join(" AND "));
    }
    sql.push_str(match filter.order {
        Order::Ascending => " ORDER BY e.seq ASC",
        Order::Descending => " ORDER BY e.seq DESC",
    });
    (sql, values)
}

fn text<T: ToString>(value: Option<&T>) -> Option<SqlValue> {
    value.map(|v| SqlValue::Text(v.to_string()))
}
