//! The migration runner: up and down, one transaction each, recorded.
//!
//! Authority: derived. Invariants: `user_version` and the recorded rows always agree, because both are written in the
//! migration's own transaction; what is recorded is the number, the name and the hash of the text, never a time, so two
//! fresh files are equal. Failure: a failed migration leaves the version it started from.

use dcc_core::Sha256Hex;
use rusqlite::{Connection, params};

use crate::fault::Fault;
use crate::schema::{MIGRATIONS, Migration, TABLES};

/// The schema number of an open file; 0 for an empty one.
pub(crate) fn version(conn: &Connection) -> Result<u32, Fault> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))?)
}

/// Moves the schema to `target`, up or down, one numbered step at a time.
pub(crate) fn migrate_to(conn: &mut Connection, target: u32) -> Result<(), Fault> {
    conn.execute_batch("CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT")?;
    let current = version(conn)?;
    for step in MIGRATIONS.iter().filter(|m| m.version > current && m.version <= target) {
        let tx = conn.transaction()?;
        tx.execute_batch(step.up)?;
        tx.execute("INSERT INTO schema_migrations (version, name, sha256) VALUES (?1, ?2, ?3)", params![step.version, step.name, digest(step)])?;
        tx.pragma_update(None, "user_version", step.version)?;
        tx.commit()?;
    }
    for step in MIGRATIONS.iter().rev().filter(|m| m.version <= current && m.version > target) {
        let tx = conn.transaction()?;
        tx.execute_batch(step.down)?;
        tx.execute("DELETE FROM schema_migrations WHERE version = ?1", params![step.version])?;
        tx.pragma_update(None, "user_version", step.version - 1)?;
        tx.commit()?;
    }
    Ok(())
}

/// Refuses a file whose recorded migrations are not the ones this program carries under the same numbers.
pub(crate) fn check_recorded(conn: &Connection) -> Result<(), Fault> {
    let current = version(conn)?;
    let mut statement = conn.prepare("SELECT version, sha256 FROM schema_migrations ORDER BY version")?;
    let recorded = statement.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?)))?.collect::<Result<Vec<_>, _>>()?;
    let expected: Vec<(u32, String)> = MIGRATIONS.iter().filter(|m| m.version <= current).map(|m| (m.version, digest(m))).collect();
    if recorded == expected { Ok(()) } else { Err(Fault::Foreign("its recorded migrations are not this program's".into())) }
}

/// Drops all rows of all tables, whatever their number; the schema stays.
pub(crate) fn clear_rows(conn: &mut Connection) -> Result<(), Fault> {
    let tx = conn.transaction()?;
    for table in TABLES {
        tx.execute_batch(&format!("DELETE FROM {table}"))?;
    }
    tx.commit()?;
    Ok(())
}

fn digest(step: &Migration) -> String {
    Sha256Hex::of(step.up.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SCHEMA_VERSION;

    fn objects(conn: &Connection) -> Vec<(String, Option<String>)> {
        let mut statement = conn.prepare("SELECT name, sql FROM sqlite_master ORDER BY name").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn down_undoes_up_and_up_again_gives_the_same_schema() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_to(&mut conn, 1).unwrap();
        let first = objects(&conn);
        migrate_to(&mut conn, SCHEMA_VERSION).unwrap();
        let full = objects(&conn);
        assert_eq!(version(&conn).unwrap(), SCHEMA_VERSION);
        check_recorded(&conn).unwrap();
        migrate_to(&mut conn, 1).unwrap();
        assert_eq!(objects(&conn), first);
        migrate_to(&mut conn, 0).unwrap();
        assert_eq!(objects(&conn).iter().map(|o| o.0.as_str()).collect::<Vec<_>>(), ["schema_migrations"]);
        migrate_to(&mut conn, SCHEMA_VERSION).unwrap();
        assert_eq!(objects(&conn), full);
    }

    #[test]
    fn numbers_are_dense_and_every_table_can_be_cleared() {
        for (i, step) in MIGRATIONS.iter().enumerate() {
            assert_eq!(step.version as usize, i + 1);
        }
        assert_eq!(MIGRATIONS.last().map(|m| m.version), Some(SCHEMA_VERSION));
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_to(&mut conn, SCHEMA_VERSION).unwrap();
        let mut tables: Vec<String> = {
            let mut statement = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_migrations'").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        tables.sort();
        let mut listed = TABLES.to_vec();
        listed.sort_unstable();
        assert_eq!(tables, listed);
        clear_rows(&mut conn).unwrap();
    }

    #[test]
    fn version_one_has_the_tables_and_columns_of_the_data_document() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_to(&mut conn, 1).unwrap();
        let wanted = [
            ("anchor_dependencies", "anchor_id dep_kind dep_id"),
            ("anchor_links", "anchor_id link_kind link_id"),
            ("anchor_mt_links", "anchor_id mt_id"),
            ("anchor_notes", "note_id anchor_id ts author note_ref"),
            ("approval_tokens", "token_id created_at expires_at scope_json granted_capabilities_json consent_receipt_ref"),
            ("conversation_sessions", "conversation_id source source_locator project_id workspace_id execution_session_id started_at ended_at tokens_in tokens_out cost_currency cost_amount transcript_ref messages_index_ref"),
            ("execution_sessions", "execution_session_id workspace_id agent_type agent_name model_role model_id bound_wp_id bound_mt_id status started_at ended_at handoff_required last_handoff_id"),
            ("handoff_evidence", "handoff_id kind ref"),
            ("handoffs", "handoff_id project_id workspace_id execution_session_id anchor_id wp_id mt_id summary_done_ref summary_remaining_ref decisions_json uncertainties_json blockers_json created_at"),
            ("objective_anchors", "anchor_id project_id title status description_ref acceptance_criteria_json linked_wp_id created_at updated_at"),
            ("pending_approvals", "approval_id created_at workspace_id execution_session_id requested_capabilities_json operation_preview_json status decided_by decided_at decision_reason token_id"),
            ("projects", "project_id name root_path repo_kind default_base_branch last_open_workspace_id ui_state_json policy_json created_at updated_at"),
            ("session_capability_grants", "execution_session_id capability_id token_id grant_ref expires_at"),
            ("session_conversations", "execution_session_id conversation_id"),
            ("workspaces", "workspace_id project_id kind role status worktree_path repo_root_path branch base_branch head_rev linked_wp_id linked_mt_id workspace_json_relpath created_at updated_at last_opened_at"),
        ];
        let tables: Vec<String> = {
            let mut statement = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_migrations' ORDER BY name").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(tables, wanted.map(|w| w.0));
        for (table, columns) in wanted {
            let mut statement = conn.prepare(&format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid")).unwrap();
            let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(found.join(" "), columns, "{table}");
        }
    }
}
