//! A worktree's directory and git's registration brought together again. Authority: canon is git's own registration.
//!
//! Invariants: no file of a worktree is written but its `.git` pointer; an entry is made whole beside the list and moved in
//! by one rename; a directory that holds a repository of its own, that another entry names, or that lies inside another
//! worktree is left alone, whatever its `.git` file says, because an agent can write that.
//!
//! On failure the worktree is as it was; a half-made entry stands outside the list and is made anew the next time. What a
//! killed write left beside a file is gone after recovery.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::plans::{Mending, Repair, RepairPlan, WorktreeMend};
use dcc_core::workspace::{WorkspaceHealth, WorktreeBinding, escape_path, unescape_path};

use super::builder::{Access, Repo, path_of};
use super::registry::{self, Examined};
use super::{GitCli, worktree};

impl GitCli {
    pub(super) fn plan_mending(&self, binding: &WorktreeBinding, branch: Option<&str>, moved_to: Option<&Path>) -> Outcome<WorktreeMend> {
        let examined = registry::examine(binding);
        if matches!(examined.health, WorkspaceHealth::Ok | WorkspaceHealth::Locked) && moved_to.is_none() {
            return Err(Failure::new(Code::IllegalTransition, "there is nothing to repair: the worktree stands as registered").hint("dcc ws show WS says how it stands"));
        }
        if binding.git_dir == binding.common_dir {
            return Err(Failure::new(Code::VcsRepoInvalid, format!("this is the repository's main worktree: {}", examined.message)).hint("put the repository back where it was; DCC moves no repository"));
        }
        let repo = self.open_common(&binding.common_dir)?;
        let entry_stands = binding.git_dir().symlink_metadata().is_ok_and(|m| m.is_dir());
        let place = match moved_to {
            Some(named) => Some(real_directory(named)?),
            None => stands_at(binding),
        };
        if let Some(place) = &place {
            self.check_free(&repo, place, &binding.git_dir())?;
        }
        match place {
            Some(place) if entry_stands => relocate(binding, examined, &place),
            Some(place) => self.reregister(&repo, binding, examined, &place, branch),
            None => self.recreate(&repo, binding, examined, branch, entry_stands),
        }
    }

    fn reregister(&self, repo: &Repo, binding: &WorktreeBinding, examined: Examined, place: &Path, branch: Option<&str>) -> Outcome<WorktreeMend> {
        if repo.config.ref_format() != "files" {
            return Err(Failure::new(Code::VcsUnsupportedConfig, "a lost entry of a repository with the reftable format cannot be made anew").hint("keep the directory, make a new worktree and copy the changes over"));
        }
        let (branch, head_oid) = self.free_branch(repo, binding, branch)?;
        Ok(mend(Mending::Reregister, binding, examined, place, Some(identity(place)?), Some(branch), Some(head_oid)))
    }

    fn recreate(&self, repo: &Repo, binding: &WorktreeBinding, examined: Examined, branch: Option<&str>, entry_stands: bool) -> Outcome<WorktreeMend> {
        if examined.health != WorkspaceHealth::Missing {
            return Err(examined.failure());
        }
        if let Some(reason) = registry::lock_reason(&binding.git_dir()) {
            return Err(Failure::new(Code::Locked, format!("git has the worktree locked: {reason}")).hint("it may stand on a disk that is away; when it is lost for good, git worktree unlock, then repair again"));
        }
        let (branch, head_oid) = self.free_branch(repo, binding, branch)?;
        if entry_stands && let Some(staged) = self.staged_in(repo, binding, &head_oid)? {
            return Err(Failure::new(Code::VcsIndexDiverged, format!("the lost worktree had changes staged that were never committed: {staged}"))
                .hint(format!("they are still in git: GIT_DIR={} git diff --cached shows them; unstage or commit them, then repair again", binding.git_dir)));
        }
        let place = binding.worktree();
        Ok(mend(Mending::Recreate, binding, examined, &place, None, Some(branch), Some(head_oid)))
    }

    /// Nobody else's: no repository of its own, no other entry's, and not inside what belongs to the repository.
    fn check_free(&self, repo: &Repo, place: &Path, git_dir: &Path) -> Outcome<()> {
        check_pointer(place, git_dir)?;
        let taken = |why: String| Err(Failure::new(Code::WorktreeConflict, format!("{} {why}", place.display())).hint("name the worktree's own directory; dcc ws list shows the others"));
        let own = |entry: &PathBuf| registry::same_file(entry, git_dir);
        for entry in registry::entries(&repo.common_dir).iter().filter(|entry| !own(entry)) {
            if registry::registered_path(entry).is_some_and(|named| registry::same_file(&named, place)) {
                return taken(format!("is the worktree that git's entry {} names", entry.display()));
            }
        }
        let mut roots = vec![repo.common_dir.clone()];
        // Of a worktree that stands elsewhere the entry may still name a place that is somebody's by now.
        let is_other = |path: &PathBuf| !registry::same_file(path, place);
        roots.extend(self.worktrees_of(repo)?.iter().map(|w| path_of(&unescape_path(&w.path))).filter(is_other));
        let real = std::fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        match roots.iter().map(|root| std::fs::canonicalize(root).unwrap_or_else(|_| root.clone())).find(|root| real.starts_with(root)) {
            Some(root) => taken(format!("lies inside {}", root.display())),
            None => Ok(()),
        }
    }

    /// The branch with its commit, when no other worktree has it checked out.
    fn free_branch(&self, repo: &Repo, binding: &WorktreeBinding, branch: Option<&str>) -> Outcome<(String, Oid)> {
        let branch = branch.ok_or_else(|| Failure::new(Code::VcsRepoInvalid, "it is not known which branch the worktree was on").hint("make a new worktree for the packet"))?;
        let Some(oid) = self.ref_oid_in(repo, &format!("refs/heads/{branch}"))? else {
            return Err(Failure::new(Code::VcsRepoInvalid, format!("the branch {branch} is gone")).hint(format!("make it again where it was (dcc timeline --ws WS names its commits): git branch {branch} COMMIT")));
        };
        let ours = binding.worktree();
        let elsewhere = self.worktrees_of(repo)?.into_iter().find(|w| w.branch.as_deref() == Some(branch) && path_of(&unescape_path(&w.path)) != ours && w.prunable.is_none());
        if let Some(other) = elsewhere {
            return Err(Failure::new(Code::WorktreeConflict, format!("{branch} is checked out at {}", other.path)).hint("close that worktree, or switch it to another branch first"));
        }
        Ok((branch.to_owned(), oid))
    }

    /// What the lost worktree's index holds besides its commit: the first paths, none when nothing.
    fn staged_in(&self, repo: &Repo, binding: &WorktreeBinding, head: &Oid) -> Outcome<Option<String>> {
        let index = binding.git_dir().join("index");
        if index.symlink_metadata().is_err() {
            return Ok(None);
        }
        let out = self.tool.command(repo, Access::Read, "diff-index").env("GIT_INDEX_FILE", &index).args(["--cached", "--name-only", "-z", head.as_str(), "--"]).output()?;
        let paths: Vec<String> = out.split(|b| *b == 0).filter(|p| !p.is_empty()).map(escape_path).collect();
        let more = if paths.len() > 5 { format!(" and {} more", paths.len() - 5) } else { String::new() };
        Ok((!paths.is_empty()).then(|| format!("{}{more}", paths[..paths.len().min(5)].join(", "))))
    }

    pub(super) fn mend_planned(&self, plan: &RepairPlan) -> Outcome<WorktreeBinding> {
        let Repair::Mend(mend) = &plan.repair else {
            return Err(Failure::new(Code::Underdeclared, "the plan mends no worktree"));
        };
        let repo = self.open_common(&mend.common_dir)?;
        let place = path_of(&unescape_path(&mend.path));
        if mend.directory.is_some() && Some(identity(&place)?) != mend.directory {
            return Err(Failure::new(Code::StalePreview, format!("{} is another directory than the one that was shown", mend.path)).hint("ask again: the new preview shows the state of now"));
        }
        let git_dir = path_of(&unescape_path(&mend.git_dir));
        if mend.how != Mending::Recreate {
            self.check_free(&repo, &place, &git_dir)?;
        }
        match mend.how {
            Mending::Relocate => name_each_other(&git_dir, &place)?,
            Mending::Reregister => {
                self.make_entry(&repo, mend, &git_dir, &place)?;
                write_line(&place.join(".git"), b"gitdir: ", &git_dir)?;
            }
            Mending::Recreate => self.check_out_again(&repo, mend, &place)?,
        }
        registry::bind(&repo.common_dir, &place)
    }

    fn check_out_again(&self, repo: &Repo, mend: &WorktreeMend, place: &Path) -> Outcome<()> {
        worktree::require_absent(place)?;
        let branch = mend.branch.as_deref().ok_or_else(|| Failure::new(Code::Underdeclared, "the plan names no branch"))?;
        // The force is for git's stale entry of this very path, which the plan showed to hold nothing.
        let run = self.tool.command(repo, Access::Write, "worktree").args(["add", "-q", "--force", "--"]).arg(place).arg(branch).run()?;
        if run.is_success() { Ok(()) } else { Err(run.failure()) }
    }

    /// The entry as git makes it: where the repository is, where the worktree is, its HEAD, and an index equal to HEAD.
    fn make_entry(&self, repo: &Repo, mend: &WorktreeMend, git_dir: &Path, place: &Path) -> Outcome<()> {
        let (Some(branch), Some(oid)) = (&mend.branch, &mend.head_oid) else {
            return Err(Failure::new(Code::Underdeclared, "the plan names no branch"));
        };
        let name = git_dir.file_name().ok_or_else(|| Failure::new(Code::VcsRepoInvalid, "the entry has no name"))?;
        let mut staging_name = std::ffi::OsString::from("dcc-entry-");
        staging_name.push(name);
        let staging = repo.common_dir.join(staging_name);
        let failed = |e: std::io::Error| Failure::engine(format!("{} cannot be made: {e}", git_dir.display()));
        if staging.symlink_metadata().is_ok() {
            // Left by a process that was killed here; nothing in it is anybody's.
            std::fs::remove_dir_all(&staging).map_err(failed)?;
        }
        std::fs::create_dir(&staging).map_err(failed)?;
        crate::files::replace_file(&staging.join("commondir"), b"../..\n").map_err(failed)?;
        write_line(&staging.join("gitdir"), b"", &place.join(".git"))?;
        crate::files::replace_file(&staging.join("HEAD"), format!("ref: refs/heads/{branch}\n").as_bytes()).map_err(failed)?;
        self.tool.command(repo, Access::Write, "read-tree").env("GIT_INDEX_FILE", staging.join("index")).arg(oid.as_str()).output()?;
        std::fs::create_dir_all(repo.common_dir.join("worktrees")).map_err(failed)?;
        dcc_core::failpoint!("before worktree entry");
        // Fails when somebody made the entry meanwhile.
        std::fs::rename(&staging, git_dir).map_err(failed)?;
        dcc_core::failpoint!("after worktree entry");
        Ok(())
    }

    pub(super) fn find_mended_worktree(&self, mend: &WorktreeMend) -> Outcome<Option<WorktreeBinding>> {
        let repo = self.open_common(&mend.common_dir)?;
        let place = path_of(&unescape_path(&mend.path));
        if mend.how != Mending::Recreate {
            for written in [place.join(".git"), path_of(&unescape_path(&mend.git_dir)).join("gitdir")] {
                crate::files::clear_left(&written);
            }
        }
        let Ok(binding) = registry::bind(&repo.common_dir, &place) else { return Ok(None) };
        Ok(registry::is_filled(&binding.git_dir()).then_some(binding))
    }
}

/// A directory that a person names, by its real path; a link in its place is not followed.
fn real_directory(named: &Path) -> Outcome<PathBuf> {
    identity(named)?;
    std::fs::canonicalize(named).map_err(|e| Failure::engine(format!("{} cannot be looked at: {e}", named.display())))
}

/// Where the directory stands now, as far as that can be seen.
fn stands_at(binding: &WorktreeBinding) -> Option<PathBuf> {
    let recorded = binding.worktree();
    if recorded.symlink_metadata().is_ok_and(|m| m.is_dir()) { Some(recorded) } else { registry::moved_to(binding, &recorded) }
}

fn relocate(binding: &WorktreeBinding, examined: Examined, place: &Path) -> Outcome<WorktreeMend> {
    let git_dir = binding.git_dir();
    let is_known = identity(place)? == (binding.device, binding.inode);
    let names_entry = registry::pointer_target(&place.join(".git")).is_some_and(|dir| registry::same_file(&dir, &git_dir));
    let is_registered = registry::registered_path(&git_dir).is_some_and(|p| registry::same_file(&p, place));
    if !is_known && !names_entry && !is_registered {
        return Err(Failure::new(Code::VcsRepoInvalid, format!("nothing shows that {} is the worktree that was registered", place.display()))
            .hint("put its own directory back, or name where it stands: --relocate --path DIR"));
    }
    if let Some(other) = registry::registered_path(&git_dir).filter(|p| !registry::same_file(p, place) && check_pointer(p, &git_dir).is_ok() && p.join(".git").exists()) {
        return Err(Failure::new(Code::WorktreeConflict, format!("git has this worktree registered at {}, and that directory says so too: one of the two is a copy", other.display()))
            .hint("move the copy away, then repair again"));
    }
    Ok(mend(Mending::Relocate, binding, examined, place, Some(identity(place)?), None, None))
}

/// The directory is ours to name: it holds no repository of its own and belongs to no other entry that exists.
fn check_pointer(place: &Path, git_dir: &Path) -> Outcome<()> {
    let dot_git = place.join(".git");
    let own = || Failure::new(Code::VcsRepoInvalid, format!("{} holds a repository of its own", place.display())).hint("nothing was touched; look at it, and move its .git away when it does not belong there");
    match dot_git.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::engine(format!("{} cannot be looked at: {e}", dot_git.display()))),
        Ok(meta) if !meta.is_file() => Err(own()),
        Ok(_) => match registry::pointer_target(&dot_git) {
            // A pointer that leads to another entry whose directory this is belongs to that entry.
            Some(target) if !registry::same_file(&target, git_dir) && registry::registered_path(&target).is_some_and(|p| registry::same_file(&p, place)) => Err(own()),
            _ => Ok(()),
        },
    }
}

fn name_each_other(git_dir: &Path, place: &Path) -> Outcome<()> {
    if !registry::registered_path(git_dir).is_some_and(|p| registry::same_file(&p, place)) {
        write_line(&git_dir.join("gitdir"), b"", &place.join(".git"))?;
    }
    let dot_git = place.join(".git");
    if !registry::pointer_target(&dot_git).is_some_and(|dir| registry::same_file(&dir, git_dir)) {
        write_line(&dot_git, b"gitdir: ", git_dir)?;
    }
    Ok(())
}

fn write_line(file: &Path, prefix: &[u8], path: &Path) -> Outcome<()> {
    let line = [prefix, path.as_os_str().as_bytes(), b"\n"].concat();
    crate::files::replace_alone(file, &line).map_err(|e| Failure::engine(format!("{} cannot be written: {e}", file.display())))
}

/// Device and inode of a directory of ours.
fn identity(place: &Path) -> Outcome<(u64, u64)> {
    let refuse = |why: String| Failure::new(Code::VcsRepoInvalid, format!("{} {why}", place.display())).hint("name the directory where the worktree stands");
    let meta = place.symlink_metadata().map_err(|e| refuse(format!("cannot be looked at: {e}")))?;
    if !meta.is_dir() {
        return Err(refuse("is not a directory".to_owned()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse("belongs to another user".to_owned()));
    }
    Ok((meta.dev(), meta.ino()))
}

fn mend(how: Mending, binding: &WorktreeBinding, examined: Examined, place: &Path, directory: Option<(u64, u64)>, branch: Option<String>, head_oid: Option<Oid>) -> WorktreeMend {
    WorktreeMend {
        how,
        found: examined.message,
        path: escape_path(place.as_os_str().as_bytes()),
        git_dir: binding.git_dir.clone(),
        common_dir: binding.common_dir.clone(),
        directory,
        is_other_directory: directory.is_some_and(|found| found != (binding.device, binding.inode)),
        branch,
        head_oid,
    }
}
