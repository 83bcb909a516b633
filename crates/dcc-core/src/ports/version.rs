//! Git, behind one port (GOVERNANCE 4). Reads take no optional locks and change nothing; effects take a clearance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Outcome};
use crate::gate::Cleared;
use crate::ids::{JobId, MtId, Oid, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::path::RepoPath;
use crate::plans::{CommitPlan, RepairPlan, WorktreeMend, WorktreePlan};
use crate::time::Timestamp;
use crate::workspace::{WorkspaceHealth, WorktreeBinding};

/// The refusal of whoever meets git's lock of the index.
pub fn index_locked(path: &str, age_s: u64) -> Failure {
    Failure::new(Code::Locked, format!("the index is locked: {path}, {age_s} s old")).hint("another git command is at work, or one was killed; when none runs, remove the file yourself")
}

/// What discovery finds at a path; used at registration only, never before an effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RepoFacts {
    pub bare: bool,
    /// The main worktree (or the worktree found at the path when the repository is bare).
    pub main: Option<WorktreeBinding>,
    pub common_dir: String,
    /// sha1 or sha256.
    pub object_format: String,
    /// files or reftable.
    pub ref_format: String,
    pub git_version: String,
    /// Digest of the configuration keys that execute or change behaviour.
    pub config_digest: crate::ids::Sha256Hex,
    /// Executable keys found (filters, hooks path, fsmonitor, ...), shown by the doctor; all neutralised.
    pub executable_keys: Vec<String>,
    pub head: HeadState,
}

/// The configuration that a repository's commands see, as far as it runs programs or changes behaviour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigFacts {
    pub digest: Sha256Hex,
    /// In git's order; a key may stand more than once.
    pub keys: Vec<ConfigKey>,
}

/// One key with where it stands. Values are shown in part and without secrets; the digest is over the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ConfigKey {
    pub key: String,
    /// None for a key without a value, which means true.
    pub value: Option<String>,
    /// local or worktree.
    pub scope: String,
    /// `file:` and its path.
    pub origin: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "head", rename_all = "snake_case")]
pub enum HeadState {
    /// On a branch (short name) with at least one commit.
    Branch { name: String, oid: Oid },
    /// On a branch without a commit.
    Unborn { name: String },
    Detached { oid: Oid },
}

/// One worktree as git lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorktreeFacts {
    pub path: String,
    pub head: Option<Oid>,
    /// Short branch name.
    pub branch: Option<String>,
    pub bare: bool,
    pub detached: bool,
    /// The reason, possibly empty, when locked.
    pub locked: Option<String>,
    pub prunable: Option<String>,
}

/// A worktree's state at once: `git status --porcelain=v2 --branch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub head: HeadState,
    /// Set while a merge, rebase, cherry-pick, revert or bisect runs: its name.
    pub operation: Option<String>,
    /// Path of a present index.lock with its age in seconds.
    pub index_lock: Option<(String, u64)>,
    pub entries: Vec<StatusEntry>,
    /// True when the list was cut at `limits::STATUS_ENTRIES_MAX`.
    pub cut: bool,
    /// Which engine answered.
    pub engine: String,
}

/// One changed path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusEntry {
    pub path: RepoPath,
    pub renamed_from: Option<RepoPath>,
    /// Porcelain letters: index and worktree, `.` for unchanged; `?` and `?` for untracked; `u` states for unmerged.
    pub index: char,
    pub worktree: char,
    pub is_submodule: bool,
    pub is_unmerged: bool,
}

impl StatusEntry {
    pub fn is_untracked(&self) -> bool {
        self.index == '?'
    }
    /// One word for a person.
    pub fn word(&self) -> &'static str {
        if self.is_unmerged {
            return "conflict";
        }
        match (self.index, self.worktree) {
            ('?', _) => "untracked",
            (_, 'D') | ('D', '.') => "deleted",
            ('A', _) | (_, 'A') => "added",
            ('R', _) | (_, 'R') => "renamed",
            ('C', _) => "copied",
            ('T', _) | (_, 'T') => "type changed",
            _ => "modified",
        }
    }
}

/// What a diff compares.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum DiffSource {
    /// HEAD against the worktree, untracked files included.
    #[default]
    Uncommitted,
    /// The merge base with this revision against the worktree's HEAD.
    Branch { base: String },
    /// A commit against its first parent.
    Commit { oid: Oid },
}

/// One file of a diff; `hunks` only when asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileDiff {
    pub path: RepoPath,
    pub renamed_from: Option<RepoPath>,
    /// added, modified, deleted, renamed, copied, type changed, untracked, conflict, mode.
    pub change: String,
    pub old_mode: Option<String>,
    pub new_mode: Option<String>,
    pub old_oid: Option<Oid>,
    /// Blob id of the new side; for worktree files it is computed, without writing the object, as a commit would store it.
    pub new_oid: Option<Oid>,
    pub added: Option<u32>,
    pub deleted: Option<u32>,
    pub is_binary: bool,
    pub is_submodule: bool,
    /// True when only line endings differ.
    pub crlf_only: bool,
    pub hunks: Vec<Hunk>,
    /// True when the text was cut at a limit.
    pub cut: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hunk {
    pub old_start: u32,
    pub old_lines: u32,
    pub new_start: u32,
    pub new_lines: u32,
    /// Text after the second `@@`.
    pub heading: String,
    pub lines: Vec<DiffLine>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiffLine {
    /// ' ', '+', '-', or '\\' for "no newline at end of file".
    pub sign: char,
    pub old_line: Option<u32>,
    pub new_line: Option<u32>,
    /// Lossy UTF-8 without the line feed.
    pub text: String,
    /// Byte ranges of `text` that differ inside a changed pair of lines.
    #[serde(default)]
    pub marks: Vec<(u32, u32)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitFacts {
    pub oid: Oid,
    pub tree_oid: Oid,
    pub parents: Vec<Oid>,
    pub author: String,
    pub author_email: String,
    pub authored_at: Timestamp,
    pub committed_at: Timestamp,
    pub subject: String,
    pub body: String,
    /// DCC-* trailers as (key, value); none means the commit was made without DCC.
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AheadBehind {
    pub ahead: u32,
    pub behind: u32,
}

/// What a person selected to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitIntent {
    pub workspace_id: WorkspaceId,
    pub paths: Vec<RepoPath>,
    /// Expected blob ids from the screen where they were ticked; `None` inside means "deleted". A mismatch is
    /// HSK-409-STALE-PREVIEW: re-select.
    pub expected: Vec<(RepoPath, Option<Oid>)>,
    pub message: String,
    pub author_name: String,
    pub author_email: String,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub session_id: Option<SessionId>,
    pub in_scope_paths: Vec<String>,
    /// `.handshake/tmp/<job>`: where the objects of the preview live until they are approved.
    pub quarantine: std::path::PathBuf,
}

/// What the running commit adds to its plan; recorded in EffectPlanned so that a retry makes the same object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitStamp {
    pub job_id: JobId,
    /// Seconds since the epoch, used for author and committer, zone +0000.
    pub unix_seconds: i64,
}

/// A commit object that exists in the repository but that no ref names yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreparedCommit {
    pub oid: Oid,
    pub tree_oid: Oid,
    pub branch_ref: String,
    pub parent_oid: Oid,
}

/// The whole of a worktree's identity check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorktreeProbe {
    pub health: WorkspaceHealth,
    /// One sentence: what is wrong and what would repair it.
    pub message: String,
    pub head: Option<HeadState>,
}

/// The state of a worktree as evidence: what differs from HEAD, by its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    pub head: HeadState,
    /// Over what the index holds besides HEAD.
    pub index_sha256: Sha256Hex,
    /// Every path that differs from HEAD, or did when it was looked at before.
    pub files: BTreeMap<RepoPath, FileSeen>,
    /// True when more differs than is looked at.
    pub cut: bool,
}

/// One file of an observation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSeen {
    /// Over mode and bytes; none when nothing stands there.
    pub content: Option<Sha256Hex>,
    /// Inode, size, and times of change in nanoseconds: while they stay, the bytes are not read again.
    pub stamp: Option<(u64, u64, i128, i128)>,
}

/// What an observation finds changed since an earlier one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Files with other bytes or another mode, made and removed ones included.
    pub paths: Vec<RepoPath>,
    pub head_moved: bool,
    pub index_changed: bool,
    /// True when more may have changed than `paths` holds.
    pub cut: bool,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.head_moved && !self.index_changed
    }
}

pub trait VersionEngine: Send + Sync {
    /// VCS_REPO_INVALID when the path is not inside a repository, or the git found is too old.
    fn inspect(&self, path: &std::path::Path) -> Outcome<RepoFacts>;
    /// What the repository's configuration would run or change, as commands in this worktree (or in the repository as a
    /// whole) see it; includes and config.worktree are followed. Nothing of it is run.
    fn config_facts(&self, common_dir: &str, worktree: Option<&WorktreeBinding>) -> Outcome<ConfigFacts>;
    /// Binds a listed worktree: its git directory, device and inode.
    fn bind(&self, common_dir: &str, worktree_path: &str) -> Outcome<WorktreeBinding>;
    fn probe(&self, worktree: &WorktreeBinding) -> Outcome<WorktreeProbe>;
    fn worktrees(&self, common_dir: &str) -> Outcome<Vec<WorktreeFacts>>;
    /// HEAD of each of these worktrees of one repository, in their order, by one look; none where git lists no such
    /// worktree.
    fn heads(&self, common_dir: &str, worktrees: &[&WorktreeBinding]) -> Outcome<Vec<Option<HeadState>>>;
    fn status(&self, worktree: &WorktreeBinding) -> Outcome<Status>;
    /// Looks at the worktree and compares with what was seen before; without a `before` nothing is changed.
    fn observe(&self, worktree: &WorktreeBinding, before: Option<&Observation>) -> Outcome<(Observation, Difference)>;
    /// A present index.lock that is not our own left-over: its path and age in seconds.
    fn index_lock(&self, worktree: &WorktreeBinding) -> Outcome<Option<(String, u64)>> {
        Ok(self.status(worktree)?.index_lock)
    }
    /// The name of a merge, rebase, cherry-pick, revert or bisect that runs in the worktree.
    fn operation_in_progress(&self, worktree: &WorktreeBinding) -> Outcome<Option<String>> {
        Ok(self.status(worktree)?.operation)
    }
    /// Files with counts; with `paths` only those. Hunks when `with_text`; at most `limits::DIFF_FILE_BYTES_MAX` a file.
    fn diff(&self, worktree: &WorktreeBinding, source: &DiffSource, paths: &[RepoPath], with_text: bool) -> Outcome<Vec<FileDiff>>;
    fn log(&self, worktree: &WorktreeBinding, limit: usize, paths: &[RepoPath]) -> Outcome<Vec<CommitFacts>>;
    /// Resolves a revision to a commit; VCS_REPO_INVALID when there is none.
    fn resolve(&self, common_dir: &str, revision: &str) -> Outcome<Oid>;
    /// The oid of a full ref name, none when absent.
    fn ref_oid(&self, common_dir: &str, name: &str) -> Outcome<Option<Oid>>;
    fn ahead_behind(&self, common_dir: &str, branch: &str, base: &str) -> Outcome<AheadBehind>;
    /// True when `name` may be a branch's short name by git's rules.
    fn is_branch_name(&self, name: &str) -> bool;
    /// True when git tracks this path in the worktree's index.
    fn is_tracked(&self, worktree: &WorktreeBinding, path: &RepoPath) -> Outcome<bool>;
    /// The operator's name and address from his own git configuration; a named error when there is none.
    fn identity(&self) -> Outcome<(String, String)>;
    /// The same, with the repository's own `user.name` and `user.email` over the operator's: what a commit there carries.
    fn identity_for(&self, worktree: &WorktreeBinding) -> Outcome<(String, String)> {
        let _ = worktree;
        self.identity()
    }

    /// Checks paths and names; builds nothing. HSK-409-WORKTREE-CONFLICT when the path or branch exists.
    fn create_worktree(&self, cleared: Cleared<WorktreePlan>, lock_reason: Option<&str>) -> Outcome<WorktreeBinding>;
    /// Asks the world whether the planned worktree is there, whole: branch, path, registration.
    fn find_worktree(&self, plan: &WorktreePlan) -> Outcome<Option<WorktreeBinding>>;

    /// Reads the selected bytes, builds the tree in quarantine, checks the path set. See GOVERNANCE 4 for each refusal.
    fn plan_commit(&self, worktree: &WorktreeBinding, intent: &CommitIntent) -> Outcome<CommitPlan>;
    /// Imports the quarantined objects and writes the commit object; moves no ref.
    fn prepare_commit(&self, worktree: &WorktreeBinding, plan: &CommitPlan, stamp: &CommitStamp, quarantine: &std::path::Path, proof: &Cleared<CommitPlan>) -> Outcome<PreparedCommit>;
    /// Compare-and-swap of the branch, then only the committed paths in the user's index. VCS_HEAD_MOVED when it moved.
    fn publish_commit(&self, worktree: &WorktreeBinding, cleared: Cleared<CommitPlan>, prepared: &PreparedCommit) -> Outcome<()>;
    /// True when the ref names this commit, or a descendant of it.
    fn has_commit(&self, common_dir: &str, branch_ref: &str, oid: &Oid) -> Outcome<bool>;
    /// Brings the committed paths of the user's index in step after a crash between ref and index; touches no other path.
    fn sync_index(&self, worktree: &WorktreeBinding, plan: &CommitPlan) -> Outcome<()>;
    /// The blob id of the path's index entry, none when git does not track it.
    fn index_entry(&self, worktree: &WorktreeBinding, path: &RepoPath) -> Outcome<Option<Oid>>;
    /// Removes the planned index entry and nothing else, after the exclude line; files, refs and other entries stay.
    /// HSK-423-LOCKED when the index is locked, HSK-409-STALE-PREVIEW when the entry is another one by now.
    fn untrack(&self, worktree: &WorktreeBinding, cleared: Cleared<RepairPlan>) -> Outcome<()>;
    /// What would bring the worktree's directory and git's registration together again; a named refusal when nothing can,
    /// or nothing need be. `moved_to` is a directory that the person names; `branch` what the worktree was on.
    fn plan_mend(&self, worktree: &WorktreeBinding, branch: Option<&str>, moved_to: Option<&std::path::Path>) -> Outcome<WorktreeMend>;
    /// Does it; HSK-409-STALE-PREVIEW when what was looked at is another by now.
    fn mend(&self, cleared: Cleared<RepairPlan>) -> Outcome<WorktreeBinding>;
    /// Asks the world whether the mended worktree is there, whole.
    fn find_mended(&self, mend: &WorktreeMend) -> Outcome<Option<WorktreeBinding>>;
    /// Adds lines to `info/exclude` that are not there; returns those added. The only write outside a job.
    fn exclude(&self, common_dir: &str, lines: &[&str]) -> Outcome<Vec<String>>;
}
