//! What the last whole verification of the chain found, for every command that follows.
//!
//! Authority: derived; the log itself is the evidence. A start looks at the last event, and at the one whose hash is kept
//! outside; a change further back shows in a whole walk only (`dcc recorder verify`, `dcc doctor`, the server's start). Its
//! finding stands in the operator's state directory until a walk holds again. On failure: a note that cannot be written is
//! said by the walk itself all the same.

use std::path::PathBuf;
use std::sync::Once;

use dcc_core::ports::VerifyReport;
use dcc_core::{ProjectId, Timestamp};

use super::dirs::{Dirs, replace_private};

fn path(dirs: &Dirs, project_id: ProjectId) -> PathBuf {
    dirs.state.join("checkpoints").join(format!("{project_id}.broken"))
}

/// Keeps, or takes back, what a whole walk found.
pub fn note(dirs: &Dirs, project_id: ProjectId, report: &VerifyReport, now: Timestamp) {
    let path = path(dirs, project_id);
    if report.ok {
        let _ = std::fs::remove_file(&path);
    } else {
        let _ = replace_private(&path, format!("{} ({now})", found(report)).as_bytes());
    }
}

/// The finding in one sentence.
fn found(report: &VerifyReport) -> String {
    let problem = report.problem.as_deref().unwrap_or("it does not hold");
    match report.first_bad_seq {
        Some(seq) => format!("the chain is broken at event {seq}: {problem}"),
        None => format!("the log is not verified: {problem}"),
    }
}

/// What is known to be broken; none when the last walk held, or there was none yet.
pub fn known(dirs: &Dirs, project_id: ProjectId) -> Option<String> {
    std::fs::read_to_string(path(dirs, project_id)).ok().filter(|text| !text.is_empty())
}

/// One line on standard error when something is known to be broken; once in a process, also when a command takes several steps.
pub fn warn_once(dirs: &Dirs, project_id: ProjectId) {
    static SAID: Once = Once::new();
    if let Some(found) = known(dirs, project_id) {
        SAID.call_once(|| super::say(&format!("WARNING: {found}; what was recorded before cannot be trusted as it stands. dcc recorder verify looks again")));
    }
}
