//! The tool-call ledger and the messages of sessions (SESSIONS 6).
//!
//! Authority: derived. Invariants: a call is keyed by session and tool call id and keeps the place of its first event; a
//! later report adds to it and never empties title, kind, locations or content; a call that has ended stays ended unless
//! the agent starts the same id again; once gated it is shown as gated, because a later report of the agent does not undo
//! our decision; a write by which DCC fulfils a call stands in the call's row and neither renames nor ends it.

use dcc_core::ApprovalId;
use dcc_core::event::{Event, EventCode};
use dcc_core::ports::sessions::{FulfilledWrite, Observed, ToolReport, ToolStatus};
use dcc_core::ports::store::ToolCall;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::slots::Slots;
use super::{Batch, json, text, word};
use crate::fault::{self, Fault};

/// Keyed by session (empty for none) and the agent's own id of the call.
pub(super) type ToolCalls = Slots<(String, String), Option<ToolCall>>;

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    match event.code {
        EventCode::ToolCallStarted | EventCode::ToolCallProgress | EventCode::ToolCallFinished => tool_call(batch, event),
        EventCode::SessionMessage => message(batch.conn, event),
        _ => Ok(()),
    }
}

fn tool_call(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    let Ok(report) = serde_json::from_value::<ToolReport>(event.payload["tool"].clone()) else { return Ok(()) };
    let observed = serde_json::from_value(event.payload["observed"].clone()).unwrap_or(Observed::Reported);
    // A held permission request names its approval beside the call.
    let approval_id = approval_of(event);
    let write = serde_json::from_value::<FulfilledWrite>(event.payload["write"].clone()).ok();
    let session = text(event.session_id.as_ref()).unwrap_or_default();
    let key = (session, event.tool_call_id.clone().unwrap_or_else(|| report.tool_call_id.clone()));
    let conn = batch.conn;
    let lookup = key.clone();
    let slot = batch.tool_calls.touch(key, || load(conn, &lookup))?;
    match slot {
        None => {
            *slot = Some(ToolCall {
                finished_at: is_over(report.status).then_some(event.ts),
                tool: report,
                session_id: event.session_id,
                workspace_id: event.workspace_id,
                wp_id: event.wp_id.clone(),
                job_id: event.job_id,
                approval_id,
                observed,
                started_at: event.ts,
                seq: event.seq,
                writes: write.into_iter().collect(),
            });
        }
        Some(call) => match write {
            Some(write) => fulfil(call, write, observed),
            None => merge(call, report, observed, event),
        },
    }
    Ok(())
}

/// The call goes on while its write runs; that it is over is the agent's to say.
fn fulfil(call: &mut ToolCall, write: FulfilledWrite, observed: Observed) {
    if !is_over(call.tool.status) {
        call.tool.status = ToolStatus::Running;
    }
    if observed == Observed::Gated {
        call.observed = observed;
    }
    match call.writes.iter_mut().find(|w| w.write_id == write.write_id) {
        Some(begun) => *begun = write,
        None => call.writes.push(write),
    }
}

fn merge(call: &mut ToolCall, report: ToolReport, observed: Observed, event: &Event) {
    let restarted = event.code == EventCode::ToolCallStarted;
    if restarted || is_over(report.status) || !is_over(call.tool.status) {
        call.tool.status = report.status;
        call.finished_at = if is_over(report.status) { call.finished_at.or(Some(event.ts)) } else { None };
    }
    if !report.title.is_empty() {
        call.tool.title = report.title;
    }
    if !report.kind.is_empty() {
        // The side effect is judged from the kind, so they come together.
        call.tool.kind = report.kind;
        call.tool.side_effect = report.side_effect;
    }
    if !report.locations.is_empty() {
        call.tool.locations = report.locations;
    }
    if !report.content.is_empty() {
        call.tool.content = report.content;
    }
    call.tool.raw_input = report.raw_input.or(call.tool.raw_input.take());
    call.tool.raw_output = report.raw_output.or(call.tool.raw_output.take());
    if call.observed != Observed::Gated {
        call.observed = observed;
    }
    call.workspace_id = call.workspace_id.or(event.workspace_id);
    call.wp_id = call.wp_id.take().or_else(|| event.wp_id.clone());
    call.job_id = call.job_id.or(event.job_id);
    call.approval_id = approval_of(event).or(call.approval_id);
}

fn approval_of(event: &Event) -> Option<ApprovalId> {
    event.approval_id.or_else(|| serde_json::from_value(event.payload["approval_id"].clone()).ok())
}

fn is_over(status: ToolStatus) -> bool {
    match status {
        ToolStatus::Requested | ToolStatus::Held | ToolStatus::Running => false,
        ToolStatus::Ok | ToolStatus::Error | ToolStatus::Denied | ToolStatus::Cancelled | ToolStatus::TimedOut | ToolStatus::Unknown => true,
    }
}

fn load(conn: &Connection, key: &(String, String)) -> Result<Option<ToolCall>, Fault> {
    let found: Option<String> = conn
        .prepare_cached("SELECT record_json FROM tool_calls WHERE session_id = ?1 AND tool_call_id = ?2")?
        .query_row(params![key.0, key.1], |row| row.get(0))
        .optional()?;
    found.map(|record| serde_json::from_str(&record).map_err(|e| fault::unreadable("tool call", &e))).transpose()
}

pub(super) fn store(batch: &Batch<'_>) -> Result<(), Fault> {
    let mut statement = batch.conn.prepare_cached(
        "INSERT INTO tool_calls (session_id, tool_call_id, seq, status, observed, workspace_id, wp_id, job_id, approval_id, started_at, finished_at, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (session_id, tool_call_id) DO UPDATE SET seq = excluded.seq, status = excluded.status, observed = excluded.observed,
         workspace_id = excluded.workspace_id, wp_id = excluded.wp_id, job_id = excluded.job_id, approval_id = excluded.approval_id,
         started_at = excluded.started_at, finished_at = excluded.finished_at, record_json = excluded.record_json",
    )?;
    for ((session, tool_call_id), call) in batch.tool_calls.iter() {
        let Some(call) = call else { continue };
        statement.execute(params![
            session,
            tool_call_id,
            call.seq as i64,
            word(&call.tool.status),
            word(&call.observed),
            text(call.workspace_id.as_ref()),
            text(call.wp_id.as_ref()),
            text(call.job_id.as_ref()),
            text(call.approval_id.as_ref()),
            call.started_at.to_string(),
            text(call.finished_at.as_ref()),
            json(call)?,
        ])?;
    }
    Ok(())
}

fn message(conn: &Connection, event: &Event) -> Result<(), Fault> {
    let (Some(session_id), Some(role)) = (event.session_id, event.payload["role"].as_str()) else { return Ok(()) };
    conn.prepare_cached("INSERT INTO messages (seq, session_id, role, text, text_ref, ts, job_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        event.seq as i64,
        session_id.to_string(),
        role,
        event.payload["text"].as_str().unwrap_or(""),
        event.payload["text_ref"].as_str(),
        event.ts.to_string(),
        text(event.job_id.as_ref()),
    ])?;
    Ok(())
}
