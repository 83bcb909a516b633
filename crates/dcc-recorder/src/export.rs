//! Copies of the log: JSON Lines for people and tools, and mirrors through SQLite's backup. Authority: derived copies
//! of canon.
//!
//! Invariants: a mirror appears complete under its name or not at all, mode 0600; a mirror that knows more than the log,
//! or knows another log, is never overwritten. Failure: HSK-500-RECORDER or HSK-500-INTEGRITY, the old mirror stays.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use dcc_core::ports::EventFilter;
use dcc_core::{EventId, Failure, Outcome};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::read::Readers;
use crate::{schema, verify};

/// Writes matching events, one JSON object a line, in the filter's order; a limit of 0 means all. Returns how many.
pub fn jsonl(readers: &Readers, filter: &EventFilter, out: &mut dyn Write) -> Outcome<u64> {
    let mut count = 0u64;
    readers.each(filter, |row| {
        let mut line = row.json().map_err(schema::damaged)?.to_string();
        line.push('\n');
        out.write_all(line.as_bytes()).map_err(|e| Failure::engine(format!("the export could not be written: {e}")))?;
        count += 1;
        Ok(filter.limit == 0 || count < filter.limit as u64)
    })?;
    Ok(count)
}

/// Copies the whole log to `target`, replacing an older mirror of the same log.
pub fn backup(readers: &Readers, target: &Path, name: EventId) -> Outcome<()> {
    if schema::same_file(&readers.location().path, target) {
        return Err(Failure::invalid(format!("{} is the recorder itself", target.display())));
    }
    if std::fs::symlink_metadata(target).is_ok() {
        require_older(readers, target)?;
    }
    let folder = schema::folder_of(target);
    let new_path = folder.join(format!(".recorder.mirror-{name}"));
    let copied = readers.with(|source| copy(source, &new_path)).and_then(|()| {
        // A write-ahead log left beside an older mirror would be taken for the new one's.
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(schema::companion(target, suffix));
        }
        std::fs::rename(&new_path, target)
            .and_then(|()| std::fs::File::open(folder)?.sync_all())
            .map_err(|e| Failure::recorder(format!("the mirror {} could not be put in place: {e}", target.display())))
    });
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(schema::companion(&new_path, suffix));
    }
    copied
}

fn copy(source: &Connection, path: &Path) -> Outcome<()> {
    let cannot = |e: &dyn std::fmt::Display| Failure::recorder(format!("the mirror {} could not be written: {e}", path.display()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| cannot(&e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(path, flags).map_err(|e| cannot(&e))?;
    {
        let backup = Backup::new(source, &mut copy).map_err(|e| cannot(&e))?;
        // All pages in one step: one snapshot, and a busy writer cannot make it start over.
        match backup.step(-1).map_err(|e| cannot(&e))? {
            StepResult::Done => {}
            other => return Err(cannot(&format!("the copy stopped early ({other:?})"))),
        }
    }
    copy.close().map_err(|(_, e)| cannot(&e))?;
    file.sync_all().map_err(|e| cannot(&e))
}

/// The mirror's head must be an event of this log; otherwise the mirror is the better evidence and stays.
fn require_older(readers: &Readers, target: &Path) -> Outcome<()> {
    let mirror = Readers::new(schema::inspect(target)?);
    let head = mirror.head()?;
    let ours = readers.with(|c| verify::hash_at(c, head.seq).map_err(|e| readers.failure(&e)))?;
    if head.seq == 0 || ours == Some(head.hash.to_string()) {
        Ok(())
    } else {
        Err(schema::damaged(format!("the mirror {} holds event {}, which this log does not", target.display(), head.seq))
            .hint("the log was cut or replaced; restore it from the mirror, or move the mirror away"))
    }
}
