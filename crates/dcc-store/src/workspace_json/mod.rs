//! `workspace.json`: a worktree's linkage, written beside its files for tools and people (DATA 7).
//!
//! Authority: derived. Invariants: what is written follows from the workspace's record, the repository and nothing else,
//! so a deleted file comes back with the same bytes; content found in the file is never trusted, because an agent can
//! write it; a file that this program does not understand is left alone; nothing is written through a symbolic link; no
//! credential of a remote is written.
//!
//! Failure: whatever must be left alone is a sentence for a person, not an error; only a failing disk is an error, and
//! then the old file stands whole.

mod directory;
mod document;
mod remote;

pub use directory::nested_repository;
pub use document::{GitPart, Linkage, PathHints, WorkspaceFile};
pub use remote::strip_credentials;

use std::path::Path;

use dcc_core::plans::{Repair, RepairPlan};
use dcc_core::ports::JsonStanding;
use dcc_core::workspace::{Workspace, WorktreeBinding};
use dcc_core::{Code, Failure, Oid, Outcome, SessionId, Sha256Hex};

use directory::{Found, Refusal, open_handshake};
use document::Standing;

/// Where the file stands inside a worktree.
pub const RELATIVE_PATH: &str = dcc_core::workspace::JSON_PATH;

/// The version this program writes.
pub const SCHEMA_VERSION: &str = "hsk.devcc.workspace@1.0";

/// Writes or refreshes the file; a sentence when it was left alone. Equal content is not written again.
pub(crate) fn write(workspace: &Workspace, head: Option<&Oid>, last_session: Option<SessionId>) -> Outcome<Option<String>> {
    let directory = match open_handshake(&workspace.binding.worktree()) {
        Ok(directory) => directory,
        Err(Refusal::Leave(sentence)) => return Ok(Some(sentence)),
        Err(Refusal::Failed(failure)) => return Err(failure),
    };
    let wanted = WorkspaceFile::of(workspace, head, last_session).to_bytes();
    match directory::read(&directory)? {
        Found::Nothing => {}
        Found::Refused(sentence) => return Ok(Some(sentence)),
        Found::Bytes(bytes, _) if bytes == wanted => return Ok(None),
        Found::Bytes(bytes, _) => match document::standing(&bytes) {
            // Ours or the version before ours: the record wins over whatever it says.
            Standing::Ours | Standing::VersionZero => {}
            Standing::Future(version) => {
                return Ok(Some(format!(
                    "workspace.json has the version {version:?}, which this program does not know; it was left alone (copy it elsewhere and remove it to have it made anew)"
                )));
            }
            Standing::Malformed(why) => {
                return Ok(Some(format!("workspace.json cannot be understood ({why}); it was left alone (remove it to have it made anew)")));
            }
        },
    }
    directory::replace(&directory, &wanted)?;
    Ok(None)
}

/// What stands at the file's place, without making or changing anything.
pub fn look(worktree: &Path) -> Outcome<JsonStanding> {
    let directory = match directory::open_existing(worktree) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(JsonStanding::Absent),
        Err(Refusal::Leave(sentence)) => return Ok(JsonStanding::Refused(sentence)),
        Err(Refusal::Failed(failure)) => return Err(failure),
    };
    Ok(match directory::read(&directory)? {
        Found::Nothing => JsonStanding::Absent,
        Found::Refused(sentence) => JsonStanding::Refused(sentence),
        Found::Bytes(bytes, modified_at) => match document::standing(&bytes) {
            Standing::Ours => JsonStanding::Known,
            Standing::VersionZero => document::before(&bytes, modified_at).map_or(JsonStanding::Known, JsonStanding::VersionZero),
            Standing::Future(version) => JsonStanding::Unknown { bytes, why: format!("it has the version {version:?}, which this program does not know") },
            Standing::Malformed(why) => JsonStanding::Unknown { bytes, why: format!("it cannot be understood: {why}") },
        },
    })
}

/// Keeps the planned bytes under their other name, then makes the file anew. Taken up after a crash it goes on where it
/// stood: a file that is gone was kept already.
pub(crate) fn reinit(plan: &RepairPlan, workspace: &Workspace, head: Option<&Oid>, last_session: Option<SessionId>) -> Outcome<()> {
    let Repair::ReinitJson(renewal) = &plan.repair else {
        return Err(Failure::new(Code::Underdeclared, "the plan makes no workspace.json anew"));
    };
    let directory = open_handshake(&workspace.binding.worktree()).map_err(Failure::from)?;
    match directory::read(&directory)? {
        Found::Bytes(bytes, _) if Sha256Hex::of(&bytes) == renewal.found_sha256 => directory::keep(&directory, &renewal.kept_as)?,
        Found::Nothing => {}
        Found::Bytes(..) | Found::Refused(_) => {
            return Err(Failure::new(Code::StalePreview, "workspace.json changed since the plan was made; it is left alone").hint("ask again: the new preview shows the state of now"));
        }
    }
    match write(workspace, head, last_session)? {
        None => Ok(()),
        Some(sentence) => Err(Failure::engine(sentence)),
    }
}

/// The directory of the main worktree, or the bare repository itself.
pub(crate) fn repo_root(binding: &WorktreeBinding) -> String {
    binding.common_dir.strip_suffix("/.git").filter(|root| !root.is_empty()).unwrap_or(&binding.common_dir).to_owned()
}
