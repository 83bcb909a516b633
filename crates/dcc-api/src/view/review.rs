//! Workspace review: changed files, their lines, and the commit of chosen paths.
//!
//! Authority: derived from git status and diff. The choice itself lives in the browser and is bound
//! to path and blob id; nothing here touches the index.

use serde::{Deserialize, Serialize};

use super::{ApprovalRow, CommitRow, FailureView, FileDiff, FileRow, JobRow, WorkspaceRow, WpRef};

/// The review screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReviewView {
    pub workspace: WorkspaceRow,
    pub wp: Option<WpRef>,
    pub mt_id: Option<String>,
    /// What is compared: uncommitted. Others are not built yet.
    pub source: String,
    pub files: Vec<FileRow>,
    /// Changed files that are not among them, because a page holds so many at most.
    pub files_cut: usize,
    /// Files with lines already in the page; the rest loads when it comes into view.
    pub diffs: Vec<FileDiff>,
    pub additions: i64,
    pub deletions: i64,
    /// index.lock, detached head, merge in progress, missing worktree: name, cause, one fix.
    pub failure: Option<FailureView>,
    /// Proposed message; the person writes over it.
    pub message: String,
    /// Name and address a commit would carry; `None` is a named error in `commit_refusal`.
    pub author: Option<String>,
    pub trailers: Vec<String>,
    /// Set when no commit is possible now.
    pub commit_refusal: Option<FailureView>,
    pub checks: Vec<CheckView>,
    pub recipes: Vec<String>,
    /// Pending approvals of this workspace.
    pub approvals: Vec<ApprovalRow>,
    pub jobs: Vec<JobRow>,
    /// Newest first.
    pub commits: Vec<CommitRow>,
    /// Packets for the link form when the workspace has none.
    pub packets: Vec<WpRef>,
}

/// A finished or missing check on this tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckView {
    pub name: String,
    /// done, failed, open, running.
    pub status: String,
    pub detail: String,
    pub job_id: Option<String>,
}
