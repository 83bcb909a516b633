//! Approvals and grants, each with its version 1 row.
//!
//! Authority: derived. Invariants: approval and grant are one fold (`ApprovalFold`), keyed by the approval; the version 1
//! status maps denied to rejected and stale, cancelled, superseded to expired with the reason; a consumed approval stays
//! approved there, because its columns know no use.

use dcc_core::approval::{Approval, ApprovalFold, ApprovalStatus, Grant};
use dcc_core::event::{Event, EventCode};
use dcc_core::{ApprovalId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::json;

use super::slots::Slots;
use super::{Batch, json, text, word};
use crate::fault::{self, Fault};

pub(super) type Approvals = Slots<ApprovalId, ApprovalRow>;

#[derive(Default)]
pub(super) struct ApprovalRow {
    fold: ApprovalFold,
    /// Sequence of the request and of the grant's issue.
    requested_seq: u64,
    issued_seq: u64,
    revoked_at: Option<Timestamp>,
}

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    use EventCode as C;
    let concerns = matches!(
        event.code,
        C::ApprovalRequested
            | C::ApprovalPresented
            | C::ApprovalDecided
            | C::ApprovalExpired
            | C::ApprovalStale
            | C::ApprovalConsumed
            | C::GrantIssued
            | C::GrantRevoked
            | C::GrantUsed
    );
    let (true, Some(approval_id)) = (concerns, event.approval_id) else { return Ok(()) };
    let conn = batch.conn;
    let row = batch.approvals.touch(approval_id, || load(conn, approval_id))?;
    match event.code {
        // An opening event that does not read, or that names another approval, must not erase what is known.
        C::ApprovalRequested => {
            let mut opened = row.fold.clone();
            opened.apply(event);
            if opened.approval.as_ref().is_some_and(|a| a.approval_id == approval_id) {
                if row.fold.approval.is_none() {
                    row.requested_seq = event.seq;
                }
                row.fold = opened;
            }
        }
        // An approval issues at most one grant.
        C::GrantIssued if row.fold.grant.is_none() => {
            let mut opened = row.fold.clone();
            opened.apply(event);
            if opened.grant.as_ref().is_some_and(|g| g.approval_id == approval_id) {
                row.issued_seq = event.seq;
                row.fold = opened;
            }
        }
        C::GrantIssued => {}
        C::GrantRevoked => {
            row.fold.apply(event);
            if row.fold.grant.is_some() {
                row.revoked_at.get_or_insert(event.ts);
            }
        }
        _ => row.fold.apply(event),
    }
    Ok(())
}

fn load(conn: &Connection, approval_id: ApprovalId) -> Result<ApprovalRow, Fault> {
    let mut row = ApprovalRow::default();
    let key = params![approval_id.to_string()];
    let approval: Option<(String, i64)> = conn
        .prepare_cached("SELECT record_json, seq FROM approvals WHERE approval_id = ?1")?
        .query_row(key, |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    if let Some((record, seq)) = approval {
        row.fold.approval = Some(serde_json::from_str(&record).map_err(|e| fault::unreadable("approval", &e))?);
        row.requested_seq = seq as u64;
    }
    let grant: Option<(String, i64, Option<String>)> = conn
        .prepare_cached("SELECT record_json, seq, revoked_at FROM grants WHERE approval_id = ?1")?
        .query_row(key, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    if let Some((record, seq, revoked_at)) = grant {
        row.fold.grant = Some(serde_json::from_str(&record).map_err(|e| fault::unreadable("grant", &e))?);
        row.issued_seq = seq as u64;
        row.revoked_at = revoked_at.as_deref().and_then(Timestamp::parse);
    }
    Ok(row)
}

pub(super) fn store(batch: &Batch<'_>) -> Result<(), Fault> {
    for (_, row) in batch.approvals.iter() {
        if let Some(approval) = &row.fold.approval {
            store_approval(batch.conn, approval, row.requested_seq)?;
            store_pending(batch.conn, approval)?;
        }
        if let Some(grant) = &row.fold.grant {
            store_grant(batch.conn, grant, row)?;
            store_token(batch.conn, grant, row)?;
        }
    }
    Ok(())
}

fn store_approval(conn: &Connection, approval: &Approval, seq: u64) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO approvals (approval_id, seq, job_id, root_job_id, status, tier, session_id, workspace_id, wp_id, requested_at, expires_at, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (approval_id) DO UPDATE SET seq = excluded.seq, job_id = excluded.job_id, root_job_id = excluded.root_job_id,
         status = excluded.status, tier = excluded.tier, session_id = excluded.session_id, workspace_id = excluded.workspace_id,
         wp_id = excluded.wp_id, requested_at = excluded.requested_at, expires_at = excluded.expires_at, record_json = excluded.record_json",
    )?
    .execute(params![
        approval.approval_id.to_string(),
        seq as i64,
        approval.job_id.to_string(),
        approval.root_job_id.to_string(),
        word(&approval.status),
        approval.tier.as_str(),
        text(approval.session_id.as_ref()),
        text(approval.workspace_id.as_ref()),
        text(approval.wp_id.as_ref()),
        approval.requested_at.to_string(),
        approval.expires_at.to_string(),
        json(approval)?,
    ])?;
    Ok(())
}

/// The version 1 words of a status, and the reason as they carry it.
fn v1_status(approval: &Approval) -> (&'static str, Option<String>) {
    let decided = approval.decision.as_ref().and_then(|d| d.reason.clone());
    let ended = |why: &str| match &approval.ended_reason {
        Some(reason) => Some(format!("{why}: {reason}")),
        None => Some(why.to_owned()),
    };
    match approval.status {
        ApprovalStatus::Pending => ("pending", None),
        ApprovalStatus::Approved | ApprovalStatus::Consumed => ("approved", decided),
        ApprovalStatus::Denied => ("rejected", decided),
        ApprovalStatus::Expired => ("expired", approval.ended_reason.clone()),
        ApprovalStatus::Stale => ("expired", ended("stale")),
        ApprovalStatus::Cancelled => ("expired", ended("cancelled")),
        ApprovalStatus::Superseded => ("expired", ended("superseded")),
    }
}

fn store_pending(conn: &Connection, approval: &Approval) -> Result<(), Fault> {
    let (status, reason) = v1_status(approval);
    conn.prepare_cached(
        "INSERT INTO pending_approvals (approval_id, created_at, workspace_id, execution_session_id, requested_capabilities_json,
         operation_preview_json, status, decided_by, decided_at, decision_reason, token_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (approval_id) DO UPDATE SET created_at = excluded.created_at, workspace_id = excluded.workspace_id,
         execution_session_id = excluded.execution_session_id, requested_capabilities_json = excluded.requested_capabilities_json,
         operation_preview_json = excluded.operation_preview_json, status = excluded.status, decided_by = excluded.decided_by,
         decided_at = excluded.decided_at, decision_reason = excluded.decision_reason, token_id = excluded.token_id",
    )?
    .execute(params![
        approval.approval_id.to_string(),
        approval.requested_at.to_string(),
        text(approval.workspace_id.as_ref()),
        text(approval.session_id.as_ref()),
        json(&approval.capabilities)?,
        json(&approval.preview)?,
        status,
        // Only the operator decides; no session ever does.
        approval.decision.as_ref().map(|_| "human"),
        approval.decision.as_ref().map(|d| d.decided_at.to_string()),
        reason,
        text(approval.grant_id.as_ref()),
    ])?;
    Ok(())
}

fn store_grant(conn: &Connection, grant: &Grant, row: &ApprovalRow) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO grants (grant_id, seq, approval_id, scope, session_id, workspace_id, revoked, revoked_at, expires_at, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (grant_id) DO UPDATE SET seq = excluded.seq, approval_id = excluded.approval_id, scope = excluded.scope,
         session_id = excluded.session_id, workspace_id = excluded.workspace_id, revoked = excluded.revoked, revoked_at = excluded.revoked_at,
         expires_at = excluded.expires_at, record_json = excluded.record_json",
    )?
    .execute(params![
        grant.grant_id.to_string(),
        row.issued_seq as i64,
        grant.approval_id.to_string(),
        word(&grant.scope),
        text(grant.binding.session_id.as_ref()),
        text(grant.binding.workspace_id.as_ref()),
        grant.revoked,
        text(row.revoked_at.as_ref()),
        grant.expires_at.to_string(),
        json(grant)?,
    ])?;
    Ok(())
}

/// The version 1 token of a grant, and what a session holds by it. Those columns know no revocation: a revoked grant
/// ends at the time of its revocation there.
fn store_token(conn: &Connection, grant: &Grant, row: &ApprovalRow) -> Result<(), Fault> {
    let expires_at = row.revoked_at.map_or(grant.expires_at, |at| at.min(grant.expires_at)).to_string();
    let grant_id = grant.grant_id.to_string();
    let scope = json!({ "scope": grant.scope, "binding": grant.binding, "intent": grant.intent, "tier": grant.tier, "max_uses": grant.max_uses });
    conn.prepare_cached(
        "INSERT INTO approval_tokens (token_id, created_at, expires_at, scope_json, granted_capabilities_json, consent_receipt_ref)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (token_id) DO UPDATE SET created_at = excluded.created_at, expires_at = excluded.expires_at, scope_json = excluded.scope_json,
         granted_capabilities_json = excluded.granted_capabilities_json, consent_receipt_ref = excluded.consent_receipt_ref",
    )?
    .execute(params![
        grant_id,
        grant.issued_at.to_string(),
        expires_at,
        json(&scope)?,
        json(&grant.capabilities)?,
        // The consent is the decided approval; its events are the receipt.
        format!("approval:{}", grant.approval_id),
    ])?;
    let Some(session_id) = grant.binding.session_id else { return Ok(()) };
    let mut statement = conn.prepare_cached(
        "INSERT INTO session_capability_grants (execution_session_id, capability_id, token_id, grant_ref, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (execution_session_id, capability_id, grant_ref) DO UPDATE SET token_id = excluded.token_id, expires_at = excluded.expires_at",
    )?;
    for capability in &grant.capabilities {
        statement.execute(params![session_id.to_string(), capability.to_string(), grant_id, grant_id, expires_at])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_version_one_word() {
        use ApprovalStatus::{Approved, Cancelled, Consumed, Denied, Expired, Pending, Stale, Superseded};
        let mut approval: Approval = serde_json::from_value(crate::tests::fixtures::approval_json(1)).unwrap();
        approval.ended_reason = Some("why".into());
        let wanted = [
            (Pending, "pending", None),
            (Approved, "approved", None),
            (Consumed, "approved", None),
            (Denied, "rejected", None),
            (Expired, "expired", Some("why")),
            (Stale, "expired", Some("stale: why")),
            (Cancelled, "expired", Some("cancelled: why")),
            (Superseded, "expired", Some("superseded: why")),
        ];
        for (status, word, reason) in wanted {
            approval.status = status;
            assert_eq!(v1_status(&approval), (word, reason.map(str::to_owned)), "{status:?}");
        }
    }
}
