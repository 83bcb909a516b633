//! Workspaces: the identity of a git worktree as the recorder's events say (GOVERNANCE 5).

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventCode};
use crate::ids::{MtId, Oid, ProjectId, WorkspaceId, WpId};
use crate::principal::Role;
use crate::time::Timestamp;

/// A worktree's linkage file, relative to its root.
pub const JSON_PATH: &str = ".handshake/workspace.json";
/// What keeps `.handshake/` out of git, in `info/exclude`.
pub const EXCLUDE_LINE: &str = "/.handshake/";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// The main worktree.
    Root,
    Worktree,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceStatus {
    Active,
    Paused,
    Archived,
}

impl WorkspaceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Archived => "archived",
        }
    }
}

/// What a probe of the world says about the worktree; never stored as truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceHealth {
    Ok,
    /// The directory is gone.
    Missing,
    /// The directory stands elsewhere.
    Moved,
    /// The directory is there but git no longer knows it.
    RegistrationLost,
    Locked,
    /// Something else stands at the path: other git directory, owner or device.
    Foreign,
}

impl WorkspaceHealth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::RegistrationLost => "registration_lost",
            Self::Locked => "locked",
            Self::Foreign => "foreign",
        }
    }
}

/// Where a worktree is and how to be sure that it is the one. Paths are absolute, as the file system gives them, with
/// the lossless escape of `escape_path` for bytes that are not UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorktreeBinding {
    pub worktree_path: String,
    /// The worktree's own git directory (`.git` of the main worktree, `.git/worktrees/NAME` else).
    pub git_dir: String,
    /// The repository's shared git directory.
    pub common_dir: String,
    /// Device and inode of the worktree's directory when it was registered.
    pub device: u64,
    pub inode: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Workspace {
    pub workspace_id: WorkspaceId,
    pub project_id: ProjectId,
    pub kind: WorkspaceKind,
    pub role: Role,
    pub status: WorkspaceStatus,
    pub binding: WorktreeBinding,
    /// Short name (`dcc/WP-0001-x`); none for a detached head.
    pub branch: Option<String>,
    pub base_branch: Option<String>,
    /// HEAD when it was registered.
    pub base_oid: Option<Oid>,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_opened_at: Option<Timestamp>,
    /// The packet that a `workspace.json` of version 0 named where the record names none: for that file only, because
    /// whoever writes the worktree may have written it. No decision rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_wp_id: Option<WpId>,
}

/// Takes the next event of this workspace in; `None` until it was created or imported.
pub fn apply(workspace: &mut Option<Workspace>, event: &Event) {
    if matches!(event.code, EventCode::WorkspaceCreated | EventCode::WorkspaceImported) {
        *workspace = serde_json::from_value(event.payload["workspace"].clone()).ok();
        return;
    }
    let Some(w) = workspace else { return };
    match event.code {
        EventCode::WorkspaceOpened => {
            w.status = WorkspaceStatus::Active;
            w.last_opened_at = Some(event.ts);
        }
        EventCode::WorkspaceClosed => w.status = WorkspaceStatus::Paused,
        EventCode::WorkspaceArchived | EventCode::WorkspacePruned => w.status = WorkspaceStatus::Archived,
        EventCode::WorkspaceLinked => {
            // The payload is the whole link after the act; null means unlinked.
            w.wp_id = serde_json::from_value(event.payload["wp_id"].clone()).unwrap_or(None);
            w.mt_id = serde_json::from_value(event.payload["mt_id"].clone()).unwrap_or(None);
            w.hinted_wp_id = None;
        }
        EventCode::WorkspaceRepaired => {
            // A mended worktree may stand elsewhere, or be another directory.
            if let Ok(binding) = serde_json::from_value(event.payload["binding"].clone()) {
                w.binding = binding;
            }
            if let Ok(earlier) = serde_json::from_value::<Timestamp>(event.payload["created_at"].clone()) {
                w.created_at = w.created_at.min(earlier);
            }
            if let Ok(hinted) = serde_json::from_value(event.payload["hinted_wp_id"].clone()) {
                w.hinted_wp_id = Some(hinted);
            }
        }
        _ => return,
    }
    w.updated_at = event.ts;
}

/// Text for a path that may not be UTF-8: bytes outside UTF-8 and the percent sign itself become `%XX`.
/// Lossless; [`unescape_path`] is its inverse.
pub fn escape_path(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' { out.push_str("%25") } else { out.push(c) }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// The bytes behind [`escape_path`]. A percent sign that starts no escape stands for itself.
pub fn unescape_path(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        if let Some(code) = code {
            out.push(code);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    out
}

impl WorktreeBinding {
    #[cfg(unix)]
    fn to_path(text: &str) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStringExt as _;
        std::ffi::OsString::from_vec(unescape_path(text)).into()
    }
    pub fn worktree(&self) -> std::path::PathBuf {
        Self::to_path(&self.worktree_path)
    }
    pub fn git_dir(&self) -> std::path::PathBuf {
        Self::to_path(&self.git_dir)
    }
    pub fn common_dir(&self) -> std::path::PathBuf {
        Self::to_path(&self.common_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_round_trip() {
        for bytes in [&b"/a b"[..], b"/a\xff%41b", b"%", b"100%25"] {
            assert_eq!(unescape_path(&escape_path(bytes)), bytes);
        }
        assert_eq!(escape_path(b"/x\xff"), "/x%FF");
    }
}
