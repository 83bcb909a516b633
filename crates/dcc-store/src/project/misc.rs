//! The project's own row, the board's state, handoffs.
//!
//! Authority: derived. Invariants: the project row exists before any row that refers to it; the state of the user
//! interface (last place, viewed marks) is not projected here, it belongs to the user's state directory; a payload that
//! says nothing about a column leaves it as it was.

use dcc_core::event::{Event, EventCode};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{Batch, Context, json, text};
use crate::fault::Fault;

pub(super) fn ensure_project(conn: &Connection, context: &Context, first: &Event) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO projects (project_id, name, root_path, repo_kind, ui_state_json, policy_json, created_at, updated_at)
         VALUES (?1, ?2, ?3, 'git', '{}', '{}', ?4, ?4) ON CONFLICT (project_id) DO NOTHING",
    )?
    .execute(params![context.project_id.to_string(), context.name, context.root_path, first.ts.to_string()])?;
    Ok(())
}

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    let context = batch.context;
    match event.code {
        EventCode::ProjectCreated | EventCode::ProjectOpened => project(batch.conn, context, event),
        EventCode::PolicyChanged => policy(batch.conn, context, event),
        EventCode::WorkspaceOpened => last_opened(batch.conn, context, event),
        EventCode::BoardWritten | EventCode::BoardEdited | EventCode::BoardImported | EventCode::SyncFinished | EventCode::SyncRefused => {
            board(batch.conn, event)
        }
        EventCode::HandoffWritten => handoff(batch.conn, context, event),
        _ => Ok(()),
    }
}

fn project(conn: &Connection, context: &Context, event: &Event) -> Result<(), Fault> {
    let said = if event.payload["project"].is_object() { &event.payload["project"] } else { &event.payload };
    let created = (event.code == EventCode::ProjectCreated).then(|| event.ts.to_string());
    conn.prepare_cached(
        "UPDATE projects SET name = coalesce(?2, name), root_path = coalesce(?3, root_path), default_base_branch = coalesce(?4, default_base_branch),
         created_at = coalesce(?5, created_at), updated_at = ?6 WHERE project_id = ?1",
    )?
    .execute(params![
        context.project_id.to_string(),
        said["name"].as_str(),
        said["root_path"].as_str(),
        said["default_base_branch"].as_str(),
        created,
        event.ts.to_string(),
    ])?;
    Ok(())
}

fn policy(conn: &Connection, context: &Context, event: &Event) -> Result<(), Fault> {
    let Value::Object(policy) = &event.payload["policy"] else { return Ok(()) };
    conn.prepare_cached("UPDATE projects SET policy_json = ?2, updated_at = ?3 WHERE project_id = ?1")?
        .execute(params![context.project_id.to_string(), json(policy)?, event.ts.to_string()])?;
    Ok(())
}

fn last_opened(conn: &Connection, context: &Context, event: &Event) -> Result<(), Fault> {
    let Some(workspace_id) = event.workspace_id else { return Ok(()) };
    conn.prepare_cached("UPDATE projects SET last_open_workspace_id = ?2, updated_at = ?3 WHERE project_id = ?1")?
        .execute(params![context.project_id.to_string(), workspace_id.to_string(), event.ts.to_string()])?;
    Ok(())
}

fn board(conn: &Connection, event: &Event) -> Result<(), Fault> {
    let written = event.code == EventCode::BoardWritten;
    conn.prepare_cached(
        "INSERT INTO board_state (one, seq, code, ts, mirror_state, written_sha256, written_seq, written_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, code = excluded.code, ts = excluded.ts,
         mirror_state = coalesce(excluded.mirror_state, mirror_state), written_sha256 = coalesce(excluded.written_sha256, written_sha256),
         written_seq = coalesce(excluded.written_seq, written_seq), written_at = coalesce(excluded.written_at, written_at)",
    )?
    .execute(params![
        event.seq as i64,
        event.code.as_str(),
        event.ts.to_string(),
        event.payload["mirror_state"].as_str().or(written.then_some("synchronized")),
        event.payload["sha256"].as_str().filter(|_| written),
        written.then_some(event.seq as i64),
        written.then(|| event.ts.to_string()),
    ])?;
    Ok(())
}

/// The handoff's id: its own, else the event's, which is unique too.
pub(super) fn handoff_id(event: &Event) -> String {
    let own = event.payload["handoff"]["handoff_id"].as_str().or_else(|| event.payload["handoff_id"].as_str());
    own.map_or_else(|| event.event_id.to_string(), str::to_owned)
}

fn handoff(conn: &Connection, context: &Context, event: &Event) -> Result<(), Fault> {
    let said = if event.payload["handoff"].is_object() { &event.payload["handoff"] } else { &event.payload };
    let list = |key: &str| if said[key].is_array() { json(&said[key]) } else { Ok("[]".to_owned()) };
    let id = handoff_id(event);
    conn.prepare_cached(
        "INSERT INTO handoffs (handoff_id, project_id, workspace_id, execution_session_id, anchor_id, wp_id, mt_id, summary_done_ref,
         summary_remaining_ref, decisions_json, uncertainties_json, blockers_json, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (handoff_id) DO NOTHING",
    )?
    .execute(params![
        id,
        context.project_id.to_string(),
        text(event.workspace_id.as_ref()),
        text(event.session_id.as_ref()),
        said["anchor_id"].as_str(),
        text(event.wp_id.as_ref()),
        text(event.mt_id.as_ref()),
        // One text for all of it is kept as what was done.
        said["done_ref"].as_str().or(said["sha256"].as_str()),
        said["remaining_ref"].as_str(),
        list("decisions")?,
        list("uncertainties")?,
        list("blockers")?,
        event.ts.to_string(),
    ])?;
    let mut statement = conn.prepare_cached("INSERT INTO handoff_evidence (handoff_id, kind, ref) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    for evidence in said["evidence"].as_array().into_iter().flatten() {
        if let (Some(kind @ ("diff" | "commit" | "artifact")), Some(reference)) = (evidence["kind"].as_str(), evidence["ref"].as_str()) {
            statement.execute(params![id, kind, reference])?;
        }
    }
    Ok(())
}
