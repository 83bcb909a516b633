//! The job history (DATA 4).
//!
//! Authority: none, reads only. Invariant: newest first by the accepting event's sequence; a cursor names the last job of
//! the page before, so a page does not move when newer jobs arrive.

use dcc_core::Failure;
use dcc_core::job::Job;
use dcc_core::ports::store::JobFilter;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{bounded, records};
use crate::fault::Fault;

/// The jobs that match every given part.
pub(crate) fn list(conn: &Connection, filter: &JobFilter) -> Result<Vec<Job>, Fault> {
    let mut conditions: Vec<String> = Vec::new();
    let mut parameters: Vec<Value> = Vec::new();
    if !filter.states.is_empty() {
        let marks = vec!["?"; filter.states.len()].join(", ");
        conditions.push(format!("state IN ({marks})"));
        parameters.extend(filter.states.iter().map(|s| Value::Text(s.as_str().to_owned())));
    }
    for (column, wanted) in [
        ("op", filter.op.map(|v| v.as_str().to_owned())),
        ("wp_id", filter.wp_id.as_ref().map(ToString::to_string)),
        ("mt_id", filter.mt_id.as_ref().map(ToString::to_string)),
        ("session_id", filter.session_id.map(|v| v.to_string())),
        ("workspace_id", filter.workspace_id.map(|v| v.to_string())),
        ("root_job_id", filter.root_job_id.map(|v| v.to_string())),
    ] {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = ?"));
            parameters.push(Value::Text(wanted));
        }
    }
    if let Some(cursor) = &filter.cursor {
        conditions.push("seq < ?".into());
        parameters.push(Value::Integer(seq_of(conn, cursor)?));
    }
    let matching = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    parameters.push(bounded(filter.limit));
    records(conn, "job", &format!("SELECT record_json FROM jobs {matching} ORDER BY seq DESC LIMIT ?"), parameters)
}

fn seq_of(conn: &Connection, cursor: &str) -> Result<i64, Fault> {
    let seq = conn.prepare_cached("SELECT seq FROM jobs WHERE job_id = ?1")?.query_row(params![cursor], |row| row.get(0)).optional()?;
    seq.ok_or_else(|| Failure::invalid(format!("{cursor:?} is not a cursor of the job list")).hint("start again without a cursor").into())
}
