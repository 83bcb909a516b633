//! Packets and micro-tasks as Locus holds them.
//!
//! Authority: derived; Locus is the canon. Invariant: `all` replaces the whole projection, so a record that Locus no
//! longer has does not linger; otherwise only the given records change.

use dcc_core::locus::{MicroTask, WorkPacket};
use rusqlite::{Connection, params};

use super::{json, text};
use crate::fault::Fault;

/// Writes the rows of these records in one transaction.
pub(crate) fn put(conn: &mut Connection, packets: &[WorkPacket], micro_tasks: &[MicroTask], all: bool) -> Result<(), Fault> {
    let tx = conn.transaction()?;
    if all {
        tx.execute_batch("DELETE FROM work_packets; DELETE FROM micro_tasks;")?;
    }
    for packet in packets {
        put_packet(&tx, packet)?;
    }
    for task in micro_tasks {
        put_micro_task(&tx, task)?;
    }
    tx.commit()?;
    Ok(())
}

fn put_packet(conn: &Connection, packet: &WorkPacket) -> Result<(), Fault> {
    let search_text =
        format!("{}\n{}\n{}\n{}\n{}", packet.wp_id, packet.title, packet.description, packet.labels.join(" "), packet.assignee.as_deref().unwrap_or("")).to_lowercase();
    conn.prepare_cached(
        "INSERT INTO work_packets (wp_id, version, status, priority, wp_type, title, tombstone, updated_at, search_text, record_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (wp_id) DO UPDATE SET wp_id = excluded.wp_id, version = excluded.version, status = excluded.status,
         priority = excluded.priority, wp_type = excluded.wp_type, title = excluded.title, tombstone = excluded.tombstone,
         updated_at = excluded.updated_at, search_text = excluded.search_text, record_json = excluded.record_json",
    )?
    .execute(params![
        packet.wp_id.as_str(),
        packet.version as i64,
        packet.status.as_str(),
        packet.priority,
        packet.wp_type.as_str(),
        packet.title,
        text(packet.tombstone.as_ref()),
        packet.updated_at.to_string(),
        search_text,
        json(packet)?,
    ])?;
    Ok(())
}

fn put_micro_task(conn: &Connection, task: &MicroTask) -> Result<(), Fault> {
    let search_text = format!("{}/{}\n{}\n{}", task.wp_id, task.mt_id, task.name, task.scope).to_lowercase();
    conn.prepare_cached(
        "INSERT INTO micro_tasks (wp_id, mt_id, version, status, name, updated_at, search_text, record_json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (wp_id, mt_id) DO UPDATE SET wp_id = excluded.wp_id, version = excluded.version, status = excluded.status,
         name = excluded.name, updated_at = excluded.updated_at, search_text = excluded.search_text, record_json = excluded.record_json",
    )?
    .execute(params![
        task.wp_id.as_str(),
        task.mt_id.as_str(),
        task.version as i64,
        task.status.as_str(),
        task.name,
        task.updated_at.to_string(),
        search_text,
        json(task)?,
    ])?;
    Ok(())
}
