//! What the last whole verification of the chain found, for every command that follows.
//!
//! Authority: derived; the log itself is the evidence. A start looks at the last event, and at the one whose hash is kept
//! outside; a change further back shows in a whole walk only (`dcc recorder verify`, `dcc doctor`, the server's start). Its
//! finding stands in the operator's state directory until a walk holds again. On failure: a note that cannot be written is
//! said by the walk itself all the same.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dcc_core::ports::VerifyReport;
use dcc_core::{ProjectId, Timestamp};

use super::dirs::{Dirs, private_dir};

fn path(dirs: &Dirs, project_id: ProjectId) -> PathBuf {
    dirs.state.join("checkpoints").join(format!("{project_id}.broken"))
}

/// Keeps, or takes back, what a whole walk found.
pub fn note(dirs: &Dirs, project_id: ProjectId, report: &VerifyReport, now: Timestamp) {
    let path = path(dirs, project_id);
    let _ = if report.ok { std::fs::remove_file(&path) } else { write(&path, &format!("{} ({now})", found(report))) };
}

/// The finding in one sentence.
fn found(report: &VerifyReport) -> String {
    let problem = report.problem.as_deref().unwrap_or("it does not hold");
    match report.first_bad_seq {
        Some(seq) => format!("the chain is broken at event {seq}: {problem}"),
        None => format!("the log is not verified: {problem}"),
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        private_dir(folder).map_err(|failure| std::io::Error::other(failure.message))?;
    }
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// What is known to be broken; none when the last walk held, or there was none yet.
pub fn known(dirs: &Dirs, project_id: ProjectId) -> Option<String> {
    std::fs::read_to_string(path(dirs, project_id)).ok().filter(|text| !text.is_empty())
}

/// One line on standard error when something is known to be broken.
pub fn warn(dirs: &Dirs, project_id: ProjectId) {
    if let Some(found) = known(dirs, project_id) {
        super::say(&format!("WARNING: {found}; what was recorded before cannot be trusted as it stands. dcc recorder verify looks again"));
    }
}
