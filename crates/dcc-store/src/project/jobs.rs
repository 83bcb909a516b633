//! Jobs with their attempts and gates.
//!
//! Authority: derived. Invariants: every event that names a job is folded into it, as `dcc_core::job::apply` demands;
//! `seq` is the accepting event's, the order of all job lists; an acceptance that
//! does not read, or that names another job, changes nothing.

use dcc_core::JobId;
use dcc_core::event::{Event, EventCode};
use dcc_core::gate::GateRecord;
use dcc_core::job::{self, Job};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::slots::Slots;
use super::{Batch, json, text, word};
use crate::fault::{self, Fault};

pub(super) type Jobs = Slots<JobId, Option<JobRow>>;

pub(super) struct JobRow {
    job: Job,
    seq: u64,
}

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    let Some(job_id) = event.job_id else { return Ok(()) };
    let conn = batch.conn;
    let slot = batch.jobs.touch(job_id, || load(conn, job_id))?;
    if event.code == EventCode::JobAccepted {
        let mut accepted = None;
        job::apply(&mut accepted, event);
        if let Some(job) = accepted.filter(|job| job.job_id == job_id) {
            let seq = slot.as_ref().map_or(event.seq, |row| row.seq);
            *slot = Some(JobRow { job, seq });
        }
    } else if let Some(row) = slot.take() {
        let mut job = Some(row.job);
        job::apply(&mut job, event);
        *slot = job.map(|job| JobRow { job, seq: row.seq });
    }
    let Some(row) = slot else { return Ok(()) };
    match event.code {
        EventCode::JobAccepted | EventCode::JobStateChange | EventCode::JobFinished => attempt(conn, job_id, &row.job, event),
        EventCode::GateDecided => gate(conn, job_id, event),
        _ => Ok(()),
    }
}

fn load(conn: &Connection, job_id: JobId) -> Result<Option<JobRow>, Fault> {
    let found: Option<(String, i64)> = conn
        .prepare_cached("SELECT record_json, seq FROM jobs WHERE job_id = ?1")?
        .query_row(params![job_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((record, seq)) = found else { return Ok(None) };
    let job = serde_json::from_str(&record).map_err(|e| fault::unreadable("job", &e))?;
    Ok(Some(JobRow { job, seq: seq as u64 }))
}

/// The attempt that the job is in: begun when it first ran, ended when the job did.
fn attempt(conn: &Connection, job_id: JobId, job: &Job, event: &Event) -> Result<(), Fault> {
    let began = (job.state == job::JobState::Running).then(|| event.ts.to_string());
    let ended = job.state.is_terminal().then(|| event.ts.to_string());
    conn.prepare_cached(
        "INSERT INTO attempts (job_id, attempt, state, started_at, ended_at, failure_code, failure_message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (job_id, attempt) DO UPDATE SET state = excluded.state, started_at = coalesce(started_at, excluded.started_at),
         ended_at = excluded.ended_at, failure_code = excluded.failure_code, failure_message = excluded.failure_message",
    )?
    .execute(params![
        job_id.to_string(),
        job.attempt,
        job.state.as_str(),
        began,
        ended,
        job.failure.as_ref().map(|f| f.code.as_str()),
        job.failure.as_ref().map(|f| f.message.as_str()),
    ])?;
    Ok(())
}

fn gate(conn: &Connection, job_id: JobId, event: &Event) -> Result<(), Fault> {
    let Ok(record) = serde_json::from_value::<GateRecord>(event.payload["gate"].clone()) else { return Ok(()) };
    conn.prepare_cached("INSERT INTO gates (seq, job_id, ts, gate, outcome, reason, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        event.seq as i64,
        job_id.to_string(),
        event.ts.to_string(),
        word(&record.gate),
        word(&record.outcome),
        record.reason,
        record.code.map(dcc_core::Code::as_str),
    ])?;
    Ok(())
}

pub(super) fn store(batch: &Batch<'_>) -> Result<(), Fault> {
    let mut statement = batch.conn.prepare_cached(
        "INSERT INTO jobs (job_id, seq, op, state, attempt, wp_id, mt_id, session_id, workspace_id, parent_job_id, root_job_id, approval_id,
         plan_digest, idempotency_key, failure_code, created_at, updated_at, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
         ON CONFLICT (job_id) DO UPDATE SET seq = excluded.seq, op = excluded.op, state = excluded.state, attempt = excluded.attempt,
         wp_id = excluded.wp_id, mt_id = excluded.mt_id, session_id = excluded.session_id, workspace_id = excluded.workspace_id,
         parent_job_id = excluded.parent_job_id, root_job_id = excluded.root_job_id, approval_id = excluded.approval_id,
         plan_digest = excluded.plan_digest, idempotency_key = excluded.idempotency_key, failure_code = excluded.failure_code,
         created_at = excluded.created_at, updated_at = excluded.updated_at, record_json = excluded.record_json",
    )?;
    for (job_id, row) in batch.jobs.iter() {
        let Some(JobRow { job, seq }) = row else { continue };
        statement.execute(params![
            job_id.to_string(),
            *seq as i64,
            job.op.as_str(),
            job.state.as_str(),
            job.attempt,
            text(job.bindings.wp_id.as_ref()),
            text(job.bindings.mt_id.as_ref()),
            text(job.bindings.session_id.as_ref()),
            text(job.bindings.workspace_id.as_ref()),
            text(job.parent_job_id.as_ref()),
            job.root_job_id.to_string(),
            text(job.approval_id.as_ref()),
            text(job.plan_digest.as_ref()),
            job.idempotency_key,
            job.failure.as_ref().map(|f| f.code.as_str()),
            job.created_at.to_string(),
            job.updated_at.to_string(),
            json(job)?,
        ])?;
    }
    Ok(())
}
