//! The branch moves, and the committed paths of the user's index follow. Authority: canon.
//!
//! Invariants: the index is locked by git's own protocol (index.lock, made exclusively) before the ref moves, so nobody
//! stages in between and a foreign lock stops everything while nothing has happened; the ref moves by compare-and-swap;
//! only entries of committed paths change, all others stay as they were.
//!
//! A crash leaves a lock that names the tree it was for: `sync_after_crash` and a repeated `publish` of the same plan
//! know it for their own. A lock with any other content is never removed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::path::RepoPath;
use dcc_core::plans::CommitPlan;
use dcc_core::ports::version::{HeadState, PreparedCommit, index_locked};
use dcc_core::workspace::WorktreeBinding;

use super::select;
use crate::git::GitCli;
use crate::git::builder::{Access, Repo};
use crate::git::status::{index_lock, shown};

impl GitCli {
    pub(in crate::git) fn publish(&self, binding: &WorktreeBinding, plan: &CommitPlan, prepared: &PreparedCommit) -> Outcome<()> {
        if (&prepared.tree_oid, &prepared.branch_ref, &prepared.parent_oid) != (&plan.tree_oid, &plan.branch_ref, &plan.parent_oid) {
            return Err(Failure::new(Code::StalePreview, "the prepared commit belongs to another plan"));
        }
        let repo = self.open(binding, Access::Write)?;
        self.require_same_tree(&repo, prepared)?;
        let lock = IndexLock::take(&repo, plan)?;
        let now = self.ref_oid_in(&repo, &plan.branch_ref)?;
        if now.as_ref() == Some(&prepared.oid) {
            // A repeated publish: only the index can be behind.
            return self.sync_locked(&repo, plan, lock);
        }
        let (branch_ref, head) = self.require_branch(&repo)?;
        if branch_ref != plan.branch_ref || head != plan.parent_oid {
            return Err(moved(plan));
        }
        self.require_no_operation(&repo)?;
        let index = self.next_index(&repo, plan, &lock, Strict::Yes)?;
        self.move_ref(&repo, plan, prepared)?;
        lock.commit(&index)
    }

    pub(in crate::git) fn sync_after_crash(&self, binding: &WorktreeBinding, plan: &CommitPlan) -> Outcome<()> {
        let repo = self.open(binding, Access::Write)?;
        let lock = IndexLock::take(&repo, plan)?;
        match self.head(&repo)? {
            HeadState::Branch { name, oid } if format!("refs/heads/{name}") == plan.branch_ref && oid != plan.parent_oid => self.sync_locked(&repo, plan, lock),
            // The worktree is on another branch by now, or the branch never moved: its index is not ours to change.
            _ => Ok(()),
        }
    }

    fn sync_locked(&self, repo: &Repo, plan: &CommitPlan, lock: IndexLock) -> Outcome<()> {
        let index = self.next_index(repo, plan, &lock, Strict::No)?;
        lock.commit(&index)
    }

    fn require_same_tree(&self, repo: &Repo, prepared: &PreparedCommit) -> Outcome<()> {
        let run = self.tool.command(repo, Access::Read, "rev-parse").args(["--verify", "-q", "--end-of-options"]).arg(format!("{}^{{tree}}", prepared.oid)).run()?;
        if run.is_success() && run.line() == prepared.tree_oid.as_str() {
            return Ok(());
        }
        Err(Failure::new(Code::StalePreview, format!("the commit {} is not there with the approved tree", prepared.oid)).hint("plan the commit again"))
    }

    /// The user's index with the committed paths in step, written beside it and not yet in its place.
    fn next_index(&self, repo: &Repo, plan: &CommitPlan, lock: &IndexLock, strict: Strict) -> Outcome<Vec<u8>> {
        let copy = self.copy_index(lock)?;
        let committed: BTreeSet<RepoPath> = plan.paths.iter().map(|p| p.path.clone()).collect();
        let staged = self.staged(repo, &plan.parent_oid, Some(&copy.0), &committed)?;
        let before = self.names_in(repo, &copy)?;
        let (mut removals, mut entries) = (Vec::new(), Vec::new());
        for path in &plan.paths {
            let entry = path.mode.clone().zip(path.oid.clone());
            let is_third = staged.get(&path.path).is_some_and(|now| *now != entry);
            match (is_third, strict) {
                (true, Strict::Yes) => return Err(select::diverged(&path.path)),
                // Staged since the commit: that is newer, and stays.
                (true, Strict::No) => continue,
                (false, _) => {}
            }
            let (list, head) = match &entry {
                Some((mode, oid)) => (&mut entries, format!("{mode} {oid} 0\t")),
                None => (&mut removals, format!("0 {} 0\t", "0".repeat(plan.tree_oid.as_str().len()))),
            };
            list.extend(head.bytes());
            list.extend_from_slice(path.path.as_bytes());
            list.push(0);
        }
        // Removals first: a file may take the place of a directory.
        removals.extend(entries);
        self.tool
            .command(repo, Access::Write, "update-index")
            .env("GIT_INDEX_FILE", &copy.0)
            // The user's own cache of untracked files stays in his index.
            .option("core.untrackedCache", "keep")
            .args(["-z", "--index-info"])
            .stdin(removals)
            .output()?;
        let after = self.names_in(repo, &copy)?;
        // Git drops entries that stand in the way of a new one; those would be somebody's staged work.
        if let Some(lost) = before.difference(&after).find(|name| RepoPath::new(name.as_slice()).is_ok_and(|p| !committed.contains(&p))) {
            let name = String::from_utf8_lossy(lost).into_owned();
            return Err(Failure::new(Code::VcsIndexDiverged, format!("{name} is staged where a committed path takes its place")).hint("unstage it first: git restore --staged -- PATH"));
        }
        std::fs::read(&copy.0).map_err(|e| Failure::engine(format!("{}: {e}", shown(&copy.0))))
    }

    fn names_in(&self, repo: &Repo, copy: &IndexCopy) -> Outcome<BTreeSet<Vec<u8>>> {
        let out = self.tool.command(repo, Access::Read, "ls-files").env("GIT_INDEX_FILE", &copy.0).arg("-z").output()?;
        Ok(out.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The index as it is, for git to write; an index that was never written is empty.
    fn copy_index(&self, lock: &IndexLock) -> Outcome<IndexCopy> {
        let copy = IndexCopy(self.scratch.join(crate::files::temporary_name()));
        match std::fs::copy(&lock.index, &copy.0) {
            Ok(_) => Ok(copy),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(copy),
            Err(e) => Err(Failure::engine(format!("{}: {e}", shown(&lock.index)))),
        }
    }

    fn move_ref(&self, repo: &Repo, plan: &CommitPlan, prepared: &PreparedCommit) -> Outcome<()> {
        let subject: String = plan.message.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).take(200).collect();
        let script = format!("start\nupdate {} {} {}\nprepare\ncommit\n", plan.branch_ref, prepared.oid, plan.parent_oid);
        let run = self
            .tool
            .command(repo, Access::Write, "update-ref")
            .env("GIT_COMMITTER_NAME", &plan.author_name)
            .env("GIT_COMMITTER_EMAIL", &plan.author_email)
            .args(["--no-deref", "-m"])
            .arg(format!("dcc commit: {subject}"))
            .arg("--stdin")
            .stdin(script.into_bytes())
            .run()?;
        let now = self.ref_oid_in(repo, &plan.branch_ref)?;
        if now.as_ref() == Some(&prepared.oid) {
            return Ok(());
        }
        if now.as_ref() != Some(&plan.parent_oid) {
            return Err(moved(plan));
        }
        let words = run.stderr();
        if words.contains(".lock") || words.contains("cannot lock ref") {
            return Err(Failure::new(Code::Locked, format!("{} is locked: {words}", plan.branch_ref)).hint("another git command works on this branch; try again when it ended"));
        }
        Err(run.failure())
    }
}

fn moved(plan: &CommitPlan) -> Failure {
    Failure::new(Code::VcsHeadMoved, format!("{} is no longer at {}", plan.branch(), plan.parent_oid.short())).hint("nothing was committed; select again on top of what is there now")
}

/// Whether an entry that was staged meanwhile stops everything or is left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strict {
    Yes,
    No,
}

/// `index.lock`, held. Dropped without `commit`, it is removed and the index stays as it was.
#[derive(Debug)]
struct IndexLock {
    lock: PathBuf,
    index: PathBuf,
    /// The lock has become the index; the name is free for others.
    is_spent: bool,
}

/// A private copy of the index, removed when dropped.
struct IndexCopy(PathBuf);

/// The content of our own lock: `dcc`, a tree's id, a line feed.
fn is_marker(content: &[u8]) -> bool {
    let id = content.strip_prefix(b"dcc ").and_then(|rest| rest.strip_suffix(b"\n"));
    id.is_some_and(|id| matches!(id.len(), 40 | 64) && id.iter().all(u8::is_ascii_hexdigit))
}

impl Drop for IndexCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl IndexLock {
    fn marker(plan: &CommitPlan) -> Vec<u8> {
        format!("dcc {}\n", plan.tree_oid).into_bytes()
    }

    fn take(repo: &Repo, plan: &CommitPlan) -> Outcome<Self> {
        let lock = repo.git_dir.join("index.lock");
        let index = repo.git_dir.join("index");
        let marker = Self::marker(plan);
        for _ in 0..2 {
            match std::fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(mut file) => {
                    let held = Self { lock: lock.clone(), index, is_spent: false };
                    file.write_all(&marker).map_err(|e| Failure::engine(format!("{}: {e}", shown(&lock))))?;
                    return Ok(held);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Failure::engine(format!("{}: {e}", shown(&lock)))),
            }
            // Ours from a run that was killed, as its content says; nobody else writes that, and whoever owns the project
            // runs one commit at a time.
            let is_ours = crate::git::registry::read_small(&lock).is_some_and(|content| is_marker(&content));
            if !is_ours || std::fs::remove_file(&lock).is_err() {
                break;
            }
        }
        let (path, age) = index_lock(repo).unwrap_or_else(|| (shown(&lock), 0));
        Err(index_locked(&path, age))
    }

    /// Puts the new index in place.
    fn commit(mut self, content: &[u8]) -> Outcome<()> {
        let mut put = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&self.lock)?;
            file.write_all(content)?;
            if let Ok(meta) = std::fs::metadata(&self.index) {
                file.set_permissions(meta.permissions())?;
            }
            file.sync_all()?;
            std::fs::rename(&self.lock, &self.index)?;
            self.is_spent = true;
            sync_directory(&self.index)
        };
        put().map_err(|e| Failure::engine(format!("the commit is made, but the index could not be written: {e}")).hint("run git reset -q -- PATH for the committed paths"))
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        if !self.is_spent {
            let _ = std::fs::remove_file(&self.lock);
        }
    }
}

fn sync_directory(file: &Path) -> std::io::Result<()> {
    match file.parent() {
        Some(dir) => std::fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
