//! All rows as text, for the promise that a rebuild gives equal views.
//!
//! Authority: none, reads only. Invariant: equal projections give equal text, whatever order the rows were written in;
//! nothing in a row depends on a clock, so nothing has to be left out.

use std::fmt::Write as _;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::fault::Fault;
use crate::schema::TABLES;

/// One line a row, `table|column=value|...`, sorted.
pub(crate) fn dump(conn: &Connection) -> Result<String, Fault> {
    let mut lines = Vec::new();
    for table in TABLES {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}"))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut line = (*table).to_owned();
            for (i, name) in names.iter().enumerate() {
                let _infallible = match row.get_ref(i)? {
                    ValueRef::Null => write!(line, "|{name}=null"),
                    ValueRef::Integer(n) => write!(line, "|{name}={n}"),
                    ValueRef::Real(r) => write!(line, "|{name}={r}"),
                    ValueRef::Text(t) => write!(line, "|{name}={:?}", String::from_utf8_lossy(t)),
                    ValueRef::Blob(b) => write!(line, "|{name}={b:?}"),
                };
            }
            lines.push(line);
        }
    }
    lines.sort_unstable();
    Ok(lines.join("\n"))
}
