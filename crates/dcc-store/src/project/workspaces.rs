//! Workspaces: the record, and its version 1 row.
//!
//! Authority: derived. Invariants: `head_rev` is the head at registration, then the last commit made through us; the
//! version 1 table allows one row for a path, so of several workspaces that stood at one path over time the newest holds
//! it and the older ones carry their id behind it, as tombstones do. The record keeps the true path.

use dcc_core::WorkspaceId;
use dcc_core::event::{Event, EventCode};
use dcc_core::principal::Role;
use dcc_core::workspace::{self, Workspace};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::slots::Slots;
use super::{Batch, json, text, word};
use crate::fault::{self, Fault};
use crate::workspace_json;

pub(super) type Workspaces = Slots<WorkspaceId, WorkspaceRow>;

#[derive(Default)]
pub(super) struct WorkspaceRow {
    workspace: Option<Workspace>,
    seq: u64,
    head_rev: Option<String>,
}

pub(super) fn take(batch: &mut Batch<'_>, event: &Event) -> Result<(), Fault> {
    use EventCode as C;
    let concerns = matches!(
        event.code,
        C::WorkspaceCreated
            | C::WorkspaceImported
            | C::WorkspaceOpened
            | C::WorkspaceClosed
            | C::WorkspaceArchived
            | C::WorkspacePruned
            | C::WorkspaceRepaired
            | C::WorkspaceLinked
            | C::Committed
    );
    let (true, Some(workspace_id)) = (concerns, event.workspace_id) else { return Ok(()) };
    let conn = batch.conn;
    let row = batch.workspaces.touch(workspace_id, || load(conn, workspace_id))?;
    match event.code {
        C::WorkspaceCreated | C::WorkspaceImported => {
            let mut created = None;
            workspace::apply(&mut created, event);
            if let Some(created) = created.filter(|w| w.workspace_id == workspace_id) {
                if row.workspace.is_none() {
                    row.seq = event.seq;
                }
                row.head_rev = text(created.base_oid.as_ref());
                row.workspace = Some(created);
            }
        }
        C::Committed => {
            if let (Some(oid), Some(_)) = (event.payload["commit_oid"].as_str(), &row.workspace) {
                row.head_rev = Some(oid.to_owned());
            }
        }
        _ => workspace::apply(&mut row.workspace, event),
    }
    Ok(())
}

fn load(conn: &Connection, workspace_id: WorkspaceId) -> Result<WorkspaceRow, Fault> {
    let found: Option<(String, i64, Option<String>)> = conn
        .prepare_cached(
            "SELECT r.record_json, r.seq, w.head_rev FROM workspace_records r
             LEFT JOIN workspaces w ON w.workspace_id = r.workspace_id WHERE r.workspace_id = ?1",
        )?
        .query_row(params![workspace_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((record, seq, head_rev)) = found else { return Ok(WorkspaceRow::default()) };
    let workspace = serde_json::from_str(&record).map_err(|e| fault::unreadable("workspace", &e))?;
    Ok(WorkspaceRow { workspace: Some(workspace), seq: seq as u64, head_rev })
}

pub(super) fn store(batch: &Batch<'_>) -> Result<(), Fault> {
    let mut touched = false;
    for (_, row) in batch.workspaces.iter() {
        if let Some(workspace) = &row.workspace {
            store_record(batch.conn, workspace, row.seq)?;
            store_v1(batch, workspace, row)?;
            touched = true;
        }
    }
    if touched { share_out_paths(batch.conn) } else { Ok(()) }
}

/// Gives each path to the newest workspace that names it. Two steps, because the table's uniqueness holds between rows
/// of one statement too.
fn share_out_paths(conn: &Connection) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE workspaces SET worktree_path = '#' || workspace_id")?.execute([])?;
    conn.prepare_cached(
        "UPDATE workspaces SET worktree_path = (SELECT r.worktree_path || CASE WHEN EXISTS
         (SELECT 1 FROM workspace_records n WHERE n.worktree_path = r.worktree_path AND n.seq > r.seq) THEN '#' || r.workspace_id ELSE '' END
         FROM workspace_records r WHERE r.workspace_id = workspaces.workspace_id)",
    )?
    .execute([])?;
    Ok(())
}

fn store_record(conn: &Connection, workspace: &Workspace, seq: u64) -> Result<(), Fault> {
    let id = workspace.workspace_id.to_string();
    let path = &workspace.binding.worktree_path;
    let title = workspace.branch.clone().unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path).to_owned());
    let linked = text(workspace.wp_id.as_ref()).unwrap_or_default();
    let search_text = format!("{id}\n{title}\n{path}\n{linked}").to_lowercase();
    conn.prepare_cached(
        "INSERT INTO workspace_records (workspace_id, seq, status, worktree_path, wp_id, title, search_text, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (workspace_id) DO UPDATE SET seq = excluded.seq, status = excluded.status, worktree_path = excluded.worktree_path,
         wp_id = excluded.wp_id, title = excluded.title, search_text = excluded.search_text, record_json = excluded.record_json",
    )?
    .execute(params![id, seq as i64, workspace.status.as_str(), path, text(workspace.wp_id.as_ref()), title, search_text, json(workspace)?])?;
    Ok(())
}

fn store_v1(batch: &Batch<'_>, workspace: &Workspace, row: &WorkspaceRow) -> Result<(), Fault> {
    let conn = batch.conn;
    let id = workspace.workspace_id.to_string();
    conn.prepare_cached(
        "INSERT INTO workspaces (workspace_id, project_id, kind, role, status, worktree_path, repo_root_path, branch, base_branch, head_rev,
         linked_wp_id, linked_mt_id, workspace_json_relpath, created_at, updated_at, last_opened_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (workspace_id) DO UPDATE SET kind = excluded.kind, role = excluded.role, status = excluded.status,
         repo_root_path = excluded.repo_root_path, branch = excluded.branch,
         base_branch = excluded.base_branch, head_rev = excluded.head_rev, linked_wp_id = excluded.linked_wp_id,
         linked_mt_id = excluded.linked_mt_id, created_at = excluded.created_at, updated_at = excluded.updated_at,
         last_opened_at = excluded.last_opened_at",
    )?
    .execute(params![
        id,
        batch.context.project_id.to_string(),
        word(&workspace.kind),
        v1_role(workspace.role),
        workspace.status.as_str(),
        // Provisional: the paths are shared out once all rows stand.
        format!("#{id}"),
        workspace_json::repo_root(&workspace.binding),
        workspace.branch,
        workspace.base_branch,
        row.head_rev,
        text(workspace.wp_id.as_ref()),
        text(workspace.mt_id.as_ref()),
        workspace_json::RELATIVE_PATH,
        workspace.created_at.to_string(),
        workspace.updated_at.to_string(),
        text(workspace.last_opened_at.as_ref()),
    ])?;
    Ok(())
}

/// Version 1 knows three roles; an orchestrator has a coder's rights without commit.
pub(crate) fn v1_role(role: Role) -> &'static str {
    match role {
        Role::Coder | Role::Orchestrator => "coder",
        Role::Validator => "validator",
        Role::Human => "human",
    }
}
