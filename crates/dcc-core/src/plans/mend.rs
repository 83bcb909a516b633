//! The part of workspace.repair that brings a worktree's directory and git's registration together again (GOVERNANCE 5).

use serde::{Deserialize, Serialize};

use crate::ids::Oid;
use crate::plan::{Precondition, Preview, PreviewFact, PreviewItem};

/// What is missing, and so what is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mending {
    /// Both are there and do not name each other, or stand elsewhere than recorded: each is made to name the other.
    Relocate,
    /// The directory is there and git's entry is gone: the entry is made anew; no file of the worktree is touched.
    Reregister,
    /// The directory is gone: it is checked out anew from its branch.
    Recreate,
}

impl Mending {
    /// Its word in parameters and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Relocate => "relocate",
            Self::Reregister => "reregister",
            Self::Recreate => "recreate",
        }
    }
}

/// One worktree to be mended. Paths are absolute, escaped as in `workspace::escape_path`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorktreeMend {
    pub how: Mending,
    /// What the probe said.
    pub found: String,
    /// Where the directory stands, or will.
    pub path: String,
    /// The worktree's entry in the repository.
    pub git_dir: String,
    pub common_dir: String,
    /// Device and inode of the directory that was looked at; none when there is none.
    pub directory: Option<(u64, u64)>,
    /// The directory is another one than was registered: a copy, or put back from elsewhere.
    pub is_other_directory: bool,
    /// What a new entry or a new checkout is of; none for a relocation.
    pub branch: Option<String>,
    pub head_oid: Option<Oid>,
}

impl WorktreeMend {
    /// What would be done, one phrase.
    pub fn would(&self) -> String {
        match self.how {
            Mending::Relocate => format!("make git's entry and {} name each other, and go on there; no other file is touched", self.path),
            Mending::Reregister => format!("make git's entry for {} anew on {}; no file of the worktree is touched, nothing is staged afterwards", self.path, self.branch_words()),
            Mending::Recreate => format!("check {} out anew at {}", self.branch_words(), self.path),
        }
    }
    fn branch_words(&self) -> &str {
        self.branch.as_deref().unwrap_or("its commit")
    }

    pub(super) fn preview(&self) -> Preview {
        let (title, risk, undo) = match self.how {
            Mending::Relocate => (
                "Follow the worktree to where it stands",
                "writes the two files by which git and the worktree name each other",
                "move the directory back and repair again",
            ),
            Mending::Reregister => (
                "Register the worktree with git again",
                "adds one entry to the repository's worktree list; what was staged there went with the lost entry and shows as changed",
                "git worktree prune removes the entry once the directory is gone",
            ),
            Mending::Recreate => (
                "Check the lost worktree out again",
                "adds one directory; uncommitted work that was in the lost one does not come back",
                "close or archive the workspace; the directory stays until you remove it",
            ),
        };
        let mut exactly = vec![
            PreviewItem::Fact { label: "what is wrong".into(), value: self.found.clone() },
            PreviewItem::Fact { label: "directory".into(), value: self.path.clone() },
            PreviewItem::Fact { label: "git's entry".into(), value: self.git_dir.clone() },
        ];
        if let Some(branch) = &self.branch {
            exactly.push(PreviewItem::Fact { label: "branch".into(), value: branch.clone() });
        }
        if let Some(oid) = &self.head_oid {
            exactly.push(PreviewItem::Fact { label: "at".into(), value: oid.to_string() });
        }
        if self.is_other_directory {
            exactly.push(PreviewItem::Warning { text: "this is not the directory that was registered (device or inode differ): look at what is in it first".into() });
        }
        Preview { title: title.into(), exactly, place: vec![PreviewFact::new("repository", &self.common_dir)], risk: risk.into(), undo: undo.into() }
    }

    pub(super) fn preconditions(&self) -> Vec<Precondition> {
        let mut held = Vec::new();
        if let (Some(branch), Some(oid)) = (&self.branch, &self.head_oid) {
            held.push(Precondition::RefIs { name: format!("refs/heads/{branch}"), oid: oid.clone() });
        }
        if self.how == Mending::Recreate {
            held.push(Precondition::PathAbsent { path: self.path.clone() });
        }
        // The engine compares the directory's identity and both names just before it writes.
        held
    }
}
