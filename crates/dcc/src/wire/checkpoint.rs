//! A copy of the chain's head outside the repository, in the operator's state directory: it shows a cut tail.
//!
//! Evidence, not prevention: who can write both places can forge both.

use std::io::Write as _;
use std::path::PathBuf;

use dcc_core::ports::{Checkpoint, Recorder as _};
use dcc_core::{Code, Failure, Outcome, ProjectId};
use dcc_recorder::SqliteRecorder;

use super::dirs::{Dirs, private_dir};

fn path(dirs: &Dirs, project_id: ProjectId) -> PathBuf {
    dirs.state.join("checkpoints").join(format!("{project_id}.json"))
}

/// The head as last kept; none before the first.
pub fn load(dirs: &Dirs, project_id: ProjectId) -> Option<Checkpoint> {
    serde_json::from_slice(&std::fs::read(path(dirs, project_id)).ok()?).ok()
}

/// Refuses a log that does not hold the event the checkpoint names; one look, not a walk.
pub fn check(recorder: &SqliteRecorder, checkpoint: Option<Checkpoint>) -> Outcome<()> {
    let Some(kept) = checkpoint else { return Ok(()) };
    if recorder.by_seq(kept.seq)?.is_some_and(|event| event.hash == kept.hash) {
        return Ok(());
    }
    Err(Failure::new(Code::Integrity, format!("the log ends before event {}, which was there at {}, or holds another one", kept.seq, kept.at))
        .hint("dcc recorder verify says more; put the log back from your backup"))
}

/// Keeps the head, atomically. A head that cannot be kept is no failure of the command.
pub fn keep(dirs: &Dirs, project_id: ProjectId, recorder: &SqliteRecorder) {
    let Ok(Some(head)) = recorder.checkpoint() else { return };
    let target = path(dirs, project_id);
    let temporary = target.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> Outcome<()> {
        private_dir(target.parent().unwrap_or(&dirs.state))?;
        let bytes = serde_json::to_vec(&head).map_err(|e| Failure::engine(e.to_string()))?;
        let fail = |e: std::io::Error| Failure::engine(format!("{}: {e}", target.display()));
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(&temporary).map_err(fail)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temporary, &target)).map_err(fail)
    };
    if let Err(failure) = write() {
        eprintln!("dcc: the checkpoint is not kept: {failure}");
    }
}
