//! Sessions: the record, and the version 1 execution session derived from its state.
//!
//! Authority: derived. Invariant: the version 1 status follows from state and reason alone (DATA 6): CREATED and ACTIVE
//! are running; BLOCKED on approval or consent is waiting_approval, any other BLOCKED is paused; PAUSED is paused, after a
//! crash interrupted; the terminal ones are closed.

use dcc_core::SessionId;
use dcc_core::event::{Event, EventCode};
use dcc_core::principal::Role;
use dcc_core::session::{self, Session, SessionState, StateReason};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::slots::Slots;
use super::{Batch, json, text};
use crate::fault::{self, Fault};

pub(super) type Sessions = Slots<SessionId, SessionRow>;

#[derive(Default)]
pub(super) struct SessionRow {
    session: Option<Session>,
    seq: u64,
    last_handoff_id: Option<String>,
}

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    let Some(session_id) = event.session_id else { return Ok(()) };
    let conn = batch.conn;
    let row = batch.sessions.touch(session_id, || load(conn, session_id))?;
    if event.code == EventCode::SessionCreated {
        let mut created = None;
        session::apply(&mut created, event);
        if let Some(created) = created.filter(|s| s.session_id == session_id) {
            if row.session.is_none() {
                row.seq = event.seq;
            }
            row.session = Some(created);
        }
    } else {
        session::apply(&mut row.session, event);
    }
    if event.code == EventCode::HandoffWritten && row.session.is_some() {
        row.last_handoff_id = Some(super::misc::handoff_id(event));
    }
    Ok(())
}

fn load(conn: &Connection, session_id: SessionId) -> Result<SessionRow, Fault> {
    let found: Option<(String, i64, Option<String>)> = conn
        .prepare_cached(
            "SELECT r.record_json, r.seq, e.last_handoff_id FROM session_records r
             LEFT JOIN execution_sessions e ON e.execution_session_id = r.session_id WHERE r.session_id = ?1",
        )?
        .query_row(params![session_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((record, seq, last_handoff_id)) = found else { return Ok(SessionRow::default()) };
    let session = serde_json::from_str(&record).map_err(|e| fault::unreadable("session", &e))?;
    Ok(SessionRow { session: Some(session), seq: seq as u64, last_handoff_id })
}

pub(super) fn store(batch: &Batch<'_>) -> Result<(), Fault> {
    for (_, row) in batch.sessions.iter() {
        if let Some(session) = &row.session {
            store_record(batch.conn, session, row.seq)?;
            store_v1(batch.conn, session, row.last_handoff_id.as_deref())?;
        }
    }
    Ok(())
}

fn store_record(conn: &Connection, session: &Session, seq: u64) -> Result<(), Fault> {
    let id = session.session_id.to_string();
    let title = title(session);
    let search_text = format!("{id}\n{title}\n{}\n{}", session.command.join(" "), session.role.as_str()).to_lowercase();
    conn.prepare_cached(
        "INSERT INTO session_records (session_id, seq, state, state_reason, workspace_id, wp_id, title, search_text, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (session_id) DO UPDATE SET seq = excluded.seq, state = excluded.state, state_reason = excluded.state_reason,
         workspace_id = excluded.workspace_id, wp_id = excluded.wp_id, title = excluded.title, search_text = excluded.search_text,
         record_json = excluded.record_json",
    )?
    .execute(params![
        id,
        seq as i64,
        session.state.as_str(),
        session.state_reason.as_str(),
        text(session.workspace_id.as_ref()),
        text(session.wp_id.as_ref()),
        title,
        search_text,
        json(session)?,
    ])?;
    Ok(())
}

/// `claude on WP-1/MT-001`.
fn title(session: &Session) -> String {
    match (&session.wp_id, &session.mt_id) {
        (Some(wp), Some(mt)) => format!("{} on {wp}/{mt}", session.agent),
        (Some(wp), None) => format!("{} on {wp}", session.agent),
        (None, _) => session.agent.clone(),
    }
}

fn store_v1(conn: &Connection, session: &Session, last_handoff_id: Option<&str>) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO execution_sessions (execution_session_id, workspace_id, agent_type, agent_name, model_role, model_id, bound_wp_id, bound_mt_id,
         status, started_at, ended_at, handoff_required, last_handoff_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (execution_session_id) DO UPDATE SET workspace_id = excluded.workspace_id, agent_type = excluded.agent_type,
         agent_name = excluded.agent_name, model_role = excluded.model_role, model_id = excluded.model_id, bound_wp_id = excluded.bound_wp_id,
         bound_mt_id = excluded.bound_mt_id, status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at,
         handoff_required = excluded.handoff_required, last_handoff_id = excluded.last_handoff_id",
    )?
    .execute(params![
        session.session_id.to_string(),
        text(session.workspace_id.as_ref()),
        agent_type(session.role),
        session.agent,
        session.role.as_str(),
        session.model_id,
        text(session.wp_id.as_ref()),
        text(session.mt_id.as_ref()),
        v1_status(session.state, session.state_reason),
        text(session.started_at.as_ref()),
        text(session.ended_at.as_ref()),
        session.handoff_required,
        last_handoff_id,
    ])?;
    Ok(())
}

fn agent_type(role: Role) -> &'static str {
    match role {
        Role::Coder | Role::Orchestrator => "worker",
        Role::Validator => "validator",
        Role::Human => "human",
    }
}

fn v1_status(state: SessionState, reason: StateReason) -> &'static str {
    match (state, reason) {
        (SessionState::Created | SessionState::Active, _) => "running",
        (SessionState::Blocked, StateReason::ApprovalWait | StateReason::ConsentMissing | StateReason::ConsentRevoked) => "waiting_approval",
        (SessionState::Paused, StateReason::CrashRecovery) => "interrupted",
        (SessionState::Blocked | SessionState::Paused, _) => "paused",
        (SessionState::Completed | SessionState::Failed | SessionState::Cancelled, _) => "closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_follows_from_state_and_reason() {
        use SessionState::{Active, Blocked, Cancelled, Completed, Created, Failed, Paused};
        use StateReason::{ApprovalWait, ConsentMissing, ConsentRevoked, CrashRecovery, InputWait, OperatorPause, Running};
        for (state, reason, wanted) in [
            (Created, Running, "running"),
            (Active, ApprovalWait, "running"),
            (Blocked, ApprovalWait, "waiting_approval"),
            (Blocked, ConsentMissing, "waiting_approval"),
            (Blocked, ConsentRevoked, "waiting_approval"),
            (Blocked, InputWait, "paused"),
            (Blocked, CrashRecovery, "paused"),
            (Paused, OperatorPause, "paused"),
            (Paused, CrashRecovery, "interrupted"),
            (Completed, Running, "closed"),
            (Failed, CrashRecovery, "closed"),
            (Cancelled, ApprovalWait, "closed"),
        ] {
            assert_eq!(v1_status(state, reason), wanted, "{state:?} {reason:?}");
        }
    }

    #[test]
    fn roles_map_to_three_agent_types() {
        for (role, wanted) in [(Role::Coder, "worker"), (Role::Orchestrator, "worker"), (Role::Validator, "validator"), (Role::Human, "human")] {
            assert_eq!(agent_type(role), wanted);
        }
    }
}
