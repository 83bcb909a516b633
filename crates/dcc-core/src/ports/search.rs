//! Code search inside one worktree.

use serde::{Deserialize, Serialize};

use crate::failure::Outcome;
use crate::path::RepoPath;
use crate::workspace::WorktreeBinding;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CodeQuery {
    pub text: String,
    /// False: literal.
    pub regex: bool,
    pub case_sensitive: bool,
    /// Globs, relative to the root; empty means everything.
    pub globs: Vec<String>,
    /// At most `limits::SEARCH_HITS_MAX`; 0 means that.
    pub limit: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodeHit {
    pub path: RepoPath,
    /// From 1.
    pub line: u64,
    /// Byte column of the first match, from 1.
    pub column: u64,
    /// The line and up to one line of context on each side, lossy UTF-8, each cut at 400 bytes.
    pub before: Option<String>,
    pub text: String,
    pub after: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodeResults {
    pub hits: Vec<CodeHit>,
    pub files_searched: u64,
    /// True when it stopped at the limit: "narrow it".
    pub cut: bool,
}

pub trait CodeSearch: Send + Sync {
    /// Tracked files plus untracked ones that are not ignored. CTX_QUERY_ERROR for a bad pattern (with position),
    /// CTX_SCOPE_DENIED for a path outside.
    fn search(&self, worktree: &WorktreeBinding, query: &CodeQuery) -> Outcome<CodeResults>;
}
