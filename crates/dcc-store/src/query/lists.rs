//! Lists of approvals, grants, sessions, workspaces, tool calls and messages.
//!
//! Authority: none, reads only. Invariant: lists of things are newest first; the ledger and the messages run forward from
//! a sequence, because they are followed.

use dcc_core::approval::{Approval, ApprovalStatus, Grant};
use dcc_core::ports::store::{Message, ToolCall};
use dcc_core::session::{Session, SessionState};
use dcc_core::workspace::Workspace;
use dcc_core::{Failure, SessionId, Sha256Hex, Timestamp, WorkspaceId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{bounded, records, sequence};
use crate::fault::Fault;
use crate::project::word;

pub(crate) fn approvals(conn: &Connection, status: Option<ApprovalStatus>, limit: usize) -> Result<Vec<Approval>, Fault> {
    match status {
        Some(status) => records(
            conn,
            "approval",
            "SELECT record_json FROM approvals WHERE status = ?1 ORDER BY seq DESC LIMIT ?2",
            vec![Value::Text(word(&status)), bounded(limit)],
        ),
        None => records(conn, "approval", "SELECT record_json FROM approvals ORDER BY seq DESC LIMIT ?1", vec![bounded(limit)]),
    }
}

/// All of them: what waits is ended by its time, the oldest first, which a page would cut off.
pub(crate) fn pending_approvals(conn: &Connection) -> Result<Vec<Approval>, Fault> {
    let pending = vec![Value::Text(word(&ApprovalStatus::Pending))];
    records(conn, "approval", "SELECT record_json FROM approvals WHERE status = ?1 ORDER BY seq DESC", pending)
}

pub(crate) fn grants(conn: &Connection, limit: usize) -> Result<Vec<Grant>, Fault> {
    records(conn, "grant", "SELECT record_json FROM grants ORDER BY seq DESC LIMIT ?1", vec![bounded(limit)])
}

pub(crate) fn sessions(conn: &Connection, limit: usize) -> Result<Vec<Session>, Fault> {
    records(conn, "session", "SELECT record_json FROM session_records ORDER BY seq DESC LIMIT ?1", vec![bounded(limit)])
}

/// All of them: one that is left out would go on unseen.
pub(crate) fn open_sessions(conn: &Connection) -> Result<Vec<Session>, Fault> {
    let ended: Vec<Value> = SessionState::ALL.iter().filter(|state| state.is_terminal()).map(|state| Value::Text(word(state))).collect();
    records(conn, "session", "SELECT record_json FROM session_records WHERE state NOT IN (?1, ?2, ?3) ORDER BY seq DESC", ended)
}

/// All of them: their number is bounded by the worktrees a person makes.
pub(crate) fn workspaces(conn: &Connection) -> Result<Vec<Workspace>, Fault> {
    records(conn, "workspace", "SELECT record_json FROM workspace_records ORDER BY seq DESC", Vec::new())
}

pub(crate) fn tool_calls(conn: &Connection, session: Option<SessionId>, after_seq: u64, limit: usize) -> Result<Vec<ToolCall>, Fault> {
    match session {
        Some(session) => records(
            conn,
            "tool call",
            "SELECT record_json FROM tool_calls WHERE session_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            vec![Value::Text(session.to_string()), sequence(after_seq), bounded(limit)],
        ),
        None => records(
            conn,
            "tool call",
            "SELECT record_json FROM tool_calls WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            vec![sequence(after_seq), bounded(limit)],
        ),
    }
}

pub(crate) fn messages(conn: &Connection, session: SessionId, after_seq: u64, limit: usize) -> Result<Vec<Message>, Fault> {
    let mut statement = conn
        .prepare_cached("SELECT seq, role, text, text_ref, ts, job_id FROM messages WHERE session_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")?;
    let mut rows = statement.query(params![session.to_string(), sequence(after_seq), bounded(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(message(row, session)?);
    }
    Ok(found)
}

fn message(row: &Row<'_>, session_id: SessionId) -> Result<Message, Fault> {
    let ts: String = row.get(4)?;
    Ok(Message {
        seq: row.get::<_, i64>(0)? as u64,
        session_id,
        role: row.get(1)?,
        text: row.get(2)?,
        text_ref: row.get::<_, Option<String>>(3)?.and_then(|text| Sha256Hex::parse(&text).ok()),
        ts: Timestamp::parse(&ts).ok_or_else(|| Failure::engine(format!("a message row has the time {ts:?}")))?,
        job_id: row.get::<_, Option<String>>(5)?.and_then(|text| text.parse().ok()),
    })
}

/// The session that was started last in a workspace.
pub(crate) fn last_session_of(conn: &Connection, workspace_id: WorkspaceId) -> Result<Option<SessionId>, Fault> {
    let found: Option<String> = conn
        .prepare_cached("SELECT session_id FROM session_records WHERE workspace_id = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row(params![workspace_id.to_string()], |row| row.get(0))
        .optional()?;
    Ok(found.and_then(|text| text.parse().ok()))
}
