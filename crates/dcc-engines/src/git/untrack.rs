//! One path out of the index, the file staying where it is. Authority: canon is git's own index.
//!
//! Invariants: the entry is the planned one; no other entry, file or ref changes; a foreign lock is never removed.

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::path::RepoPath;
use dcc_core::plans::{Repair, RepairPlan};
use dcc_core::ports::version::index_locked;
use dcc_core::workspace::{EXCLUDE_LINE, JSON_PATH, WorktreeBinding};

use super::builder::{Access, Repo};
use super::status::index_lock;
use super::{GitCli, worktree};

impl GitCli {
    pub(super) fn entry(&self, binding: &WorktreeBinding, path: &RepoPath) -> Outcome<Option<Oid>> {
        self.entry_in(&self.open(binding, Access::Read)?, path)
    }

    fn entry_in(&self, repo: &Repo, path: &RepoPath) -> Outcome<Option<Oid>> {
        let out = self.tool.command(repo, Access::Read, "ls-files").args(["--stage", "-z"]).paths(std::slice::from_ref(path)).output()?;
        // `mode oid stage TAB path`; an unmerged path has several, and each makes it tracked.
        let mut entries = out.split(|b| *b == 0).filter_map(|entry| {
            let tab = entry.iter().position(|b| *b == b'\t')?;
            (&entry[tab + 1..] == path.as_bytes()).then(|| String::from_utf8_lossy(&entry[..tab]).into_owned())
        });
        let Some(first) = entries.next() else { return Ok(None) };
        first.split(' ').nth(1).ok_or_else(|| Failure::engine("git's index listing cannot be read")).and_then(Oid::parse).map(Some)
    }

    pub(super) fn untrack_planned(&self, binding: &WorktreeBinding, plan: &RepairPlan) -> Outcome<()> {
        let Repair::UntrackJson { index_oid } = &plan.repair else {
            return Err(Failure::new(Code::Underdeclared, "the plan removes no index entry"));
        };
        let path = RepoPath::new(JSON_PATH)?;
        let repo = self.open(binding, Access::Write)?;
        if let Some((lock, age)) = index_lock(&repo) {
            return Err(index_locked(&lock, age));
        }
        if self.entry_in(&repo, &path)?.as_ref() != Some(index_oid) {
            return Err(Failure::new(Code::StalePreview, format!("the index entry of {JSON_PATH} changed since the plan was made")).hint("ask again: the new preview shows the state of now"));
        }
        // First: without the line the file would show as untracked for a moment.
        worktree::exclude(&repo, &[EXCLUDE_LINE])?;
        let mut line = path.as_bytes().to_vec();
        line.push(0);
        self.tool.command(&repo, Access::Write, "update-index").option("core.untrackedCache", "keep").args(["--force-remove", "-z", "--stdin"]).stdin(line).output()?;
        match self.entry_in(&repo, &path)? {
            None => Ok(()),
            Some(_) => Err(Failure::engine(format!("git kept the index entry of {JSON_PATH}"))),
        }
    }
}
