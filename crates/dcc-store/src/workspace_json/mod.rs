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
pub use document::{GitPart, Linkage, PathHints, WorkspaceFile, upgrade_v0};
pub use remote::strip_credentials;

use dcc_core::workspace::{Workspace, WorktreeBinding};
use dcc_core::{Oid, Outcome, SessionId};

use directory::{Found, Refusal, open_handshake};
use document::Standing;

/// Where the file stands inside a worktree.
pub const RELATIVE_PATH: &str = ".handshake/workspace.json";

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
        Found::Bytes(bytes) if bytes == wanted => return Ok(None),
        Found::Bytes(bytes) => match document::standing(&bytes) {
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

/// The directory of the main worktree, or the bare repository itself.
pub(crate) fn repo_root(binding: &WorktreeBinding) -> String {
    binding.common_dir.strip_suffix("/.git").filter(|root| !root.is_empty()).unwrap_or(&binding.common_dir).to_owned()
}
