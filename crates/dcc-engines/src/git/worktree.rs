//! New worktrees, and the exclude list. Authority: canon is git's own registration.
//!
//! Invariants: a worktree is made only where nothing is, outside every worktree of the repository; checkout runs no hook
//! and no filter; when making fails, what was made is removed, and nothing else.

use std::path::{Component, Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::plans::WorktreePlan;
use dcc_core::workspace::{WorktreeBinding, unescape_path};

use super::builder::{Access, GitRun, Repo, path_of};
use super::status::shown;
use super::{GitCli, registry};

impl GitCli {
    pub(super) fn add_worktree(&self, plan: &WorktreePlan, lock_reason: Option<&str>) -> Outcome<WorktreeBinding> {
        let repo = self.open_common(&plan.common_dir)?;
        let path = path_of(&unescape_path(&plan.path));
        let branch_ref = format!("refs/heads/{}", plan.branch);
        self.check_plan(&repo, plan, &path, &branch_ref)?;
        let parent = path.parent().ok_or_else(|| denied(&path, "has no parent directory"))?;
        let made_dirs = make_parents(parent)?;
        let mut undo = Undo { git: self, repo: &repo, path: &path, branch_ref: &branch_ref, base_oid: &plan.base_oid, made_dirs, owns_path: true, owns_branch: true };
        let run = match self.run_add(&repo, plan, &path, lock_reason) {
            Ok(run) => run,
            Err(failure) => return Err(undo.after(failure)),
        };
        if !run.is_success() {
            // Somebody made the one or the other between our check and git's: then it is theirs.
            let words = run.stderr();
            undo.owns_branch = !words.contains("a branch named");
            undo.owns_path = !words.contains("already exists");
            return Err(undo.after(add_failure(&run, plan)));
        }
        registry::bind(&repo.common_dir, &path).map_err(|failure| undo.after(failure))
    }

    fn run_add(&self, repo: &Repo, plan: &WorktreePlan, path: &Path, lock_reason: Option<&str>) -> Outcome<GitRun> {
        let mut cmd = self.tool.command(repo, Access::Write, "worktree").args(["add", "-q", "--no-track", "-b", &plan.branch]);
        if let Some(reason) = lock_reason {
            cmd = cmd.args(["--lock", "--reason", reason]);
        }
        cmd.arg("--").arg(path).arg(plan.base_oid.as_str()).run()
    }

    fn check_plan(&self, repo: &Repo, plan: &WorktreePlan, path: &Path, branch_ref: &str) -> Outcome<()> {
        if !self.is_branch(&plan.branch) {
            return Err(Failure::invalid(format!("{:?} is not a branch name by git's rules", plan.branch)).hint("use letters, digits, dashes and slashes"));
        }
        if self.ref_oid_in(repo, branch_ref)?.is_some() {
            return Err(conflict(format!("the branch {} exists already", plan.branch), "choose another name, or import its worktree"));
        }
        require_absent(path)?;
        let base = self.resolve_in(repo, plan.base_oid.as_str())?;
        if base != plan.base_oid {
            return Err(Failure::new(Code::StalePreview, format!("{} is not a commit of this repository", plan.base_oid)));
        }
        self.check_place(repo, path)
    }

    /// Absolute, without `..`, and in no worktree nor git directory of the repository, links resolved.
    fn check_place(&self, repo: &Repo, path: &Path) -> Outcome<()> {
        if !path.is_absolute() || path.components().any(|c| matches!(c, Component::ParentDir | Component::CurDir)) || path.file_name().is_none() {
            return Err(denied(path, "is not an absolute path without '..'"));
        }
        let real = resolve_existing(path);
        let mut roots: Vec<PathBuf> = vec![repo.common_dir.clone()];
        roots.extend(self.worktrees_of(repo)?.iter().map(|w| path_of(&unescape_path(&w.path))));
        for root in roots {
            let root = std::fs::canonicalize(&root).unwrap_or(root);
            if real.starts_with(&root) {
                return Err(denied(path, &format!("lies inside {}", root.display())));
            }
        }
        Ok(())
    }

    /// The planned worktree, when branch, path and registration are all there and its checkout ended.
    pub(super) fn find_planned(&self, plan: &WorktreePlan) -> Outcome<Option<WorktreeBinding>> {
        let repo = self.open_common(&plan.common_dir)?;
        let path = path_of(&unescape_path(&plan.path));
        let real = std::fs::canonicalize(&path).unwrap_or(path);
        let listed = self.worktrees_of(&repo)?.into_iter().find(|w| {
            let there = path_of(&unescape_path(&w.path));
            std::fs::canonicalize(&there).unwrap_or(there) == real
        });
        let Some(listed) = listed else { return Ok(None) };
        if listed.branch.as_deref() != Some(&plan.branch) || listed.prunable.is_some() || !real.is_dir() {
            return Ok(None);
        }
        let binding = registry::bind(&repo.common_dir, &real)?;
        Ok(registry::is_filled(&binding.git_dir()).then_some(binding))
    }
}

/// Nothing stands at the path.
pub(super) fn require_absent(path: &Path) -> Outcome<()> {
    if path.symlink_metadata().is_ok() {
        return Err(conflict(format!("{} exists already", shown(path)), "choose another path, or import the worktree that is there"));
    }
    Ok(())
}

fn denied(path: &Path, why: &str) -> Failure {
    Failure::new(Code::VcsPathDenied, format!("{} {why}", path.display())).hint("put worktrees beside the repository, such as ../REPO.wt/NAME")
}

fn conflict(message: String, hint: &str) -> Failure {
    Failure::new(Code::WorktreeConflict, message).hint(hint)
}

fn add_failure(run: &GitRun, plan: &WorktreePlan) -> Failure {
    let words = run.stderr();
    if words.contains("already exists") || words.contains("already used by worktree") || words.contains("cannot lock ref") {
        return conflict(format!("the worktree cannot be made: {words}"), "choose another branch name or path");
    }
    let mut failure = run.failure();
    failure.message = format!("worktree {} was not made: {}", plan.branch, failure.message);
    failure
}

/// The path with its existing part resolved.
fn resolve_existing(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = std::fs::canonicalize(at) {
            return missing.iter().rev().fold(real, |dir, name| dir.join(name));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                at = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// Makes the directories above a path; those made, outermost first.
fn make_parents(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|d| d.symlink_metadata().is_err()).collect();
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        if let Err(e) = std::fs::create_dir(dir) {
            remove_empty(&made);
            return Err(Failure::engine(format!("{} cannot be made: {e}", dir.display())));
        }
        made.push(dir.to_owned());
    }
    Ok(made)
}

/// Removes directories that we made, as far as they are empty.
fn remove_empty(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        if std::fs::remove_dir(dir).is_err() {
            break;
        }
    }
}

/// Takes back a worktree that was not finished. The path and the branch did not exist before, so what stands there now
/// is ours unless git said otherwise.
struct Undo<'a> {
    git: &'a GitCli,
    repo: &'a Repo,
    path: &'a Path,
    branch_ref: &'a str,
    base_oid: &'a Oid,
    made_dirs: Vec<PathBuf>,
    owns_path: bool,
    owns_branch: bool,
}

impl Undo<'_> {
    /// Undoes, and says in the failure what could not be undone.
    fn after(&self, mut failure: Failure) -> Failure {
        let mut left = Vec::new();
        if self.owns_path {
            self.remove_path(&mut left);
        }
        if self.owns_branch
            && let Ok(Some(oid)) = self.git.ref_oid_in(self.repo, self.branch_ref)
            && oid == *self.base_oid
        {
            let run = self.git.tool.command(self.repo, Access::Write, "update-ref").args(["-d", self.branch_ref, self.base_oid.as_str()]).run();
            if !run.is_ok_and(|r| r.is_success()) {
                left.push(self.branch_ref.to_owned());
            }
        }
        remove_empty(&self.made_dirs);
        if !left.is_empty() {
            failure.message = format!("{}; left behind: {}", failure.message, left.join(", "));
        }
        failure
    }

    fn remove_path(&self, left: &mut Vec<String>) {
        let names_us = |dir: &PathBuf| registry::registered_path(dir).is_some_and(|p| p == self.path || registry::same_file(&p, self.path));
        if let Some(entry) = registry::entries(&self.repo.common_dir).into_iter().find(names_us) {
            // Twice, because a worktree in the making is locked by git itself.
            let run = self.git.tool.command(self.repo, Access::Write, "worktree").args(["remove", "--force", "--force", "--"]).arg(self.path).run();
            // By hand when git could not: the entry names our own directory, which is incomplete.
            if !run.is_ok_and(|r| r.is_success()) && std::fs::remove_dir_all(&entry).is_err() {
                left.push(format!("the registration of {}", shown(self.path)));
            }
        }
        if self.path.symlink_metadata().is_ok() && std::fs::remove_dir_all(self.path).is_err() {
            left.push(shown(self.path));
        }
    }
}

/// Adds lines to `info/exclude`; what is there stays byte for byte.
pub(super) fn exclude(repo: &Repo, lines: &[&str]) -> Outcome<Vec<String>> {
    if let Some(bad) = lines.iter().find(|l| l.trim().is_empty() || l.contains(['\n', '\r', '\0'])) {
        return Err(Failure::invalid(format!("{bad:?} is not one exclude line")));
    }
    let dir = repo.common_dir.join("info");
    let file = dir.join("exclude");
    let failed = |e: std::io::Error| Failure::engine(format!("{} cannot be written: {e}", file.display()));
    if file.symlink_metadata().is_ok_and(|m| !m.is_file()) {
        return Err(Failure::new(Code::VcsPathDenied, format!("{} is not a regular file", file.display())));
    }
    let mut content = match std::fs::read(&file) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(failed(e)),
    };
    let mut missing: Vec<String> = Vec::new();
    for line in lines {
        let is_present = content.split(|b| *b == b'\n').any(|l| l.trim_ascii_end() == line.as_bytes());
        if !is_present && !missing.iter().any(|m| m == line) {
            missing.push((*line).to_owned());
        }
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    for line in &missing {
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
    }
    std::fs::create_dir_all(&dir).map_err(failed)?;
    crate::files::replace_file(&file, &content).map_err(failed)?;
    Ok(missing)
}
