//! Reads: records back from their rows, in recorder order, bounded.
//!
//! Authority: none, reads only. Invariant: every list has a bound (`limits::PAGE_MAX`) and a stable order by sequence.

pub(crate) mod jobs;
pub(crate) mod lists;
pub(crate) mod search;

use dcc_core::limits;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use serde::de::DeserializeOwned;

use crate::fault::{self, Fault};

/// One record by its key.
pub(crate) fn record<T: DeserializeOwned>(conn: &Connection, what: &str, sql: &str, key: &str) -> Result<Option<T>, Fault> {
    let found: Option<String> = conn.prepare_cached(sql)?.query_row(params![key], |row| row.get(0)).optional()?;
    found.map(|text| serde_json::from_str(&text).map_err(|e| fault::unreadable(what, &e))).transpose()
}

/// The records of a query whose only column is `record_json`.
fn records<T: DeserializeOwned>(conn: &Connection, what: &str, sql: &str, parameters: Vec<Value>) -> Result<Vec<T>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        found.push(serde_json::from_str(text).map_err(|e| fault::unreadable(what, &e))?);
    }
    Ok(found)
}

/// A wished length as SQL takes it: 0 means the page limit, more than that is cut to it.
fn bounded(limit: usize) -> Value {
    let limit = if limit == 0 { limits::PAGE_MAX } else { limit.min(limits::PAGE_MAX) };
    Value::Integer(limit as i64)
}

fn sequence(seq: u64) -> Value {
    Value::Integer(i64::try_from(seq).unwrap_or(i64::MAX))
}
