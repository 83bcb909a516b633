//! Finding things by a piece of their name, and whole ids from short ones.
//!
//! Authority: none, reads only. Invariants: matching ignores case, also beyond ASCII, because search texts are stored in
//! lower case; deleted packets are not found; the order is the same for the same rows.

use rusqlite::{Connection, params};

use super::bounded;
use crate::fault::Fault;

/// Below this a piece of a UUID says nothing: every id made within minutes shares its first characters.
const SHORT_ID_CHARS_MIN: usize = 4;
/// Candidates shown for an ambiguous short id.
const CANDIDATES_MAX: i64 = 20;

const FIND: &str = "
    SELECT kind, id, title FROM (
        SELECT 0 AS rank, 'packet' AS kind, wp_id AS id, title FROM work_packets WHERE tombstone IS NULL AND instr(search_text, ?1) > 0
        UNION ALL SELECT 1, 'micro_task', m.wp_id || '/' || m.mt_id, m.name FROM micro_tasks m
            WHERE instr(m.search_text, ?1) > 0 AND NOT EXISTS (SELECT 1 FROM work_packets p WHERE p.wp_id = m.wp_id AND p.tombstone IS NOT NULL)
        UNION ALL SELECT 2, 'session', session_id, title FROM session_records WHERE instr(search_text, ?1) > 0
        UNION ALL SELECT 3, 'workspace', workspace_id, title FROM workspace_records WHERE instr(search_text, ?1) > 0
    ) ORDER BY CASE WHEN lower(id) = ?1 THEN 0 WHEN instr(lower(id), ?1) = 1 THEN 1 ELSE 2 END, rank, id LIMIT ?2";

/// (kind, id, title) of packets, micro-tasks, sessions and workspaces that hold the text; ids that begin with it first.
pub(crate) fn find_objects(conn: &Connection, text: &str, limit: usize) -> Result<Vec<(String, String, String)>, Fault> {
    let mut statement = conn.prepare_cached(FIND)?;
    let rows = statement.query_map(params![text.trim().to_lowercase(), bounded(limit)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// (kind, id) of everything whose id begins or ends with the text; a packet's or micro-task's id must be whole.
pub(crate) fn resolve_short(conn: &Connection, text: &str) -> Result<Vec<(String, String)>, Fault> {
    let text = text.trim().to_ascii_lowercase();
    let mut found = by_name(conn, &text)?;
    let uuid_piece = (SHORT_ID_CHARS_MIN..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !uuid_piece {
        return Ok(found);
    }
    for (kind, table, column) in [
        ("job", "jobs", "job_id"),
        ("session", "session_records", "session_id"),
        ("workspace", "workspace_records", "workspace_id"),
        ("approval", "approvals", "approval_id"),
        ("grant", "grants", "grant_id"),
    ] {
        let sql = format!(
            "SELECT {column} FROM {table} WHERE substr({column}, 1, length(?1)) = ?1 OR substr({column}, -length(?1)) = ?1 ORDER BY seq DESC LIMIT ?2"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let ids = statement.query_map(params![text, CANDIDATES_MAX], |row| row.get::<_, String>(0))?;
        for id in ids {
            found.push((kind.to_owned(), id?));
        }
    }
    Ok(found)
}

fn by_name(conn: &Connection, text: &str) -> Result<Vec<(String, String)>, Fault> {
    let (sql, kind) = if text.contains('/') {
        ("SELECT wp_id || '/' || mt_id FROM micro_tasks WHERE lower(wp_id || '/' || mt_id) = ?1", "micro_task")
    } else {
        ("SELECT wp_id FROM work_packets WHERE wp_id = ?1", "packet")
    };
    let mut statement = conn.prepare_cached(sql)?;
    let ids = statement.query_map(params![text], |row| Ok((kind.to_owned(), row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}
