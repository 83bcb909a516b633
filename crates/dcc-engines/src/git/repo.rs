//! Opening a repository by its registration, and finding one at registration. Authority: derived.
//!
//! Invariants: [`GitCli::open`] asserts the binding before every use; discovery happens in [`find_repository`]
//! only, by our own walk, and what it finds is checked against the repository's own lists.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::{Oid, Sha256Hex};
use dcc_core::ports::version::{HeadState, RepoFacts, WorktreeFacts, WorktreeProbe};
use dcc_core::workspace::{WorkspaceHealth, WorktreeBinding, escape_path, unescape_path};

use super::builder::{Access, Repo, path_of};
use super::{GitCli, config, registry};

/// How long an entry may be in the making. Git writes its few lines in one go; the files of the worktree come afterwards
/// and stand in nobody's way.
const ENTRY_WAIT: Duration = Duration::from_secs(5);
/// Merge-tree with --write-tree, the newest thing we rely on.
const VERSION_MIN: (u32, u32) = (2, 38);

impl GitCli {
    /// A registered worktree, asserted. Writing needs the whole registration in order.
    pub(super) fn open(&self, binding: &WorktreeBinding, access: Access) -> Outcome<Repo> {
        self.require_version()?;
        let examined = registry::examine(binding);
        let is_whole = matches!(examined.health, WorkspaceHealth::Ok | WorkspaceHealth::Locked);
        if !examined.is_readable || (access == Access::Write && !is_whole) {
            return Err(examined.failure());
        }
        let (git_dir, common_dir, worktree) = (binding.git_dir(), binding.common_dir(), binding.worktree());
        let config = config::read(&self.tool, &git_dir, &common_dir, Some(&worktree))?;
        Ok(Repo { git_dir, common_dir, worktree: Some(worktree), config })
    }

    /// A repository as a whole, by its shared directory.
    pub(super) fn open_common(&self, common_dir: &str) -> Outcome<Repo> {
        self.require_version()?;
        let common = path_of(&unescape_path(common_dir));
        let invalid = |why: &str| Failure::new(Code::VcsRepoInvalid, format!("{common_dir} {why}")).hint("nothing was touched; dcc doctor shows what is registered");
        let meta = std::fs::symlink_metadata(&common).map_err(|e| invalid(&format!("cannot be opened: {e}")))?;
        if !common.is_absolute() || !meta.is_dir() || !looks_like_git_dir(&common) {
            return Err(invalid("is not a git directory"));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(invalid("belongs to another user"));
        }
        let config = config::read(&self.tool, &common, &common, None)?;
        Ok(Repo { git_dir: common.clone(), common_dir: common, worktree: None, config })
    }

    fn require_version(&self) -> Outcome<()> {
        if self.version >= VERSION_MIN {
            return Ok(());
        }
        let (major, minor) = VERSION_MIN;
        Err(Failure::new(Code::VcsRepoInvalid, format!("git {} is too old: {} needs at least {major}.{minor}", self.version_text, self.tool.program.display()))
            .hint("install a newer git, or name one in the operator's configuration"))
    }

    /// HEAD of the worktree, or of the repository.
    pub(super) fn head(&self, repo: &Repo) -> Outcome<HeadState> {
        let symbolic = self.tool.command(repo, Access::Read, "symbolic-ref").args(["-q", "HEAD"]).run()?;
        let oid = self.tool.command(repo, Access::Read, "rev-parse").args(["--verify", "-q", "HEAD^{commit}"]).run()?;
        let oid = if oid.is_success() { Some(Oid::parse(&oid.line())?) } else { None };
        let name = if symbolic.is_success() { symbolic.line().strip_prefix("refs/heads/").map(str::to_owned) } else { None };
        match (name, oid) {
            (Some(name), Some(oid)) => Ok(HeadState::Branch { name, oid }),
            (Some(name), None) => Ok(HeadState::Unborn { name }),
            (None, Some(oid)) => Ok(HeadState::Detached { oid }),
            (None, None) => Err(Failure::new(Code::VcsRepoInvalid, "HEAD names neither a branch nor a commit").hint("repair it: git switch BRANCH")),
        }
    }

    /// The operation that waits for an end in this worktree.
    pub(super) fn operation(&self, repo: &Repo) -> Outcome<Option<String>> {
        let has = |name: &str| repo.git_dir.join(name).symlink_metadata().is_ok();
        let found = if has("rebase-merge") || has("rebase-apply/rebasing") {
            "rebase"
        } else if has("rebase-apply") {
            "am"
        } else if has("MERGE_HEAD") {
            "merge"
        } else if has("CHERRY_PICK_HEAD") || self.has_pseudoref(repo, "CHERRY_PICK_HEAD")? {
            "cherry-pick"
        } else if has("REVERT_HEAD") || self.has_pseudoref(repo, "REVERT_HEAD")? {
            "revert"
        } else if has("sequencer") {
            "cherry-pick or revert"
        } else if has("BISECT_LOG") {
            "bisect"
        } else {
            return Ok(None);
        };
        Ok(Some(found.to_owned()))
    }

    /// With the reftable format these two are not files.
    fn has_pseudoref(&self, repo: &Repo, name: &str) -> Outcome<bool> {
        if repo.config.ref_format() == "files" {
            return Ok(false);
        }
        Ok(self.tool.command(repo, Access::Read, "rev-parse").args(["--verify", "-q", name]).run()?.is_success())
    }

    pub(super) fn probe_worktree(&self, binding: &WorktreeBinding) -> Outcome<WorktreeProbe> {
        let examined = registry::examine(binding);
        if !examined.is_readable {
            return Ok(WorktreeProbe { health: examined.health, message: examined.message, head: None });
        }
        match self.open(binding, Access::Read).and_then(|repo| self.head(&repo)) {
            Ok(head) => Ok(WorktreeProbe { health: examined.health, message: examined.message, head: Some(head) }),
            // A fact about this worktree, to be shown beside the others that are whole.
            Err(failure) if failure.code == Code::VcsRepoInvalid => {
                Ok(WorktreeProbe { health: WorkspaceHealth::RegistrationLost, message: format!("its registration is not whole: {}", failure.message), head: None })
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn list_worktrees(&self, common_dir: &str) -> Outcome<Vec<WorktreeFacts>> {
        let repo = self.open_common(common_dir)?;
        self.worktrees_of(&repo)
    }

    /// Git lists nothing while another git is making an entry: that is over in a moment, and is asked again.
    pub(super) fn worktrees_of(&self, repo: &Repo) -> Outcome<Vec<WorktreeFacts>> {
        let deadline = Instant::now() + ENTRY_WAIT;
        loop {
            let run = self.tool.command(repo, Access::Read, "worktree").args(["list", "--porcelain", "-z"]).run()?;
            let is_in_the_making = !run.is_success() && run.stderr().contains("/commondir");
            if !is_in_the_making {
                return parse_worktrees(&run.output()?);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(Code::VcsRepoInvalid, format!("git cannot list its worktrees: {}", run.stderr()))
                    .hint("a git that was killed while it made that entry left it half made, and git's own prune stops at it too: when no git runs, move the directory that holds the named file away"));
            }
            // tidy, allowed: git tells nobody when it is done with an entry.
            std::thread::sleep(registry::ENTRY_LOOK_EVERY);
        }
    }

    pub(super) fn heads_of(&self, common_dir: &str, worktrees: &[&WorktreeBinding]) -> Outcome<Vec<Option<HeadState>>> {
        let listed = self.list_worktrees(common_dir)?;
        Ok(worktrees.iter().map(|binding| listed_head(&listed, binding)).collect())
    }

    /// What stands at a path, for registration.
    pub(super) fn inspect_path(&self, path: &Path) -> Outcome<RepoFacts> {
        self.require_version()?;
        let found = find_repository(path)?;
        let common_text = escape_path(found.common_dir.as_os_str().as_bytes());
        let repo = self.open_common(&common_text)?;
        let is_bare = repo.config.value("core.bare").is_some_and(|v| matches!(v, b"true" | b"yes" | b"on" | b"1"));
        let main_path = if is_bare {
            found.worktree.clone()
        } else {
            let listed = self.worktrees_of(&repo)?.into_iter().next().map(|w| path_of(&unescape_path(&w.path)));
            // For a separate git directory git lists the directory itself; the worktree it was found through is meant.
            listed.filter(|p| p != &found.common_dir && p.join(".git").exists()).or_else(|| found.worktree.clone())
        };
        let main = match main_path {
            Some(path) => Some(registry::bind(&found.common_dir, &path)?),
            None => None,
        };
        let head = match &main {
            Some(binding) => self.head(&self.open(binding, Access::Read)?)?,
            None => self.head(&repo)?,
        };
        Ok(RepoFacts {
            bare: is_bare,
            main,
            common_dir: common_text,
            object_format: repo.config.object_format(),
            ref_format: repo.config.ref_format(),
            git_version: self.version_text.clone(),
            config_digest: repo.config.digest.unwrap_or(Sha256Hex::ZERO),
            executable_keys: repo.config.executable_keys,
            head,
        })
    }
}

fn listed_head(listed: &[WorktreeFacts], binding: &WorktreeBinding) -> Option<HeadState> {
    // Git lists the main worktree first; the others by the path they were added with, which may lead through links.
    let facts = if binding.git_dir == binding.common_dir {
        listed.first()?
    } else {
        let at = |facts: &&WorktreeFacts| facts.path == binding.worktree_path || registry::same_file(&path_of(&unescape_path(&facts.path)), &binding.worktree());
        listed.iter().skip(1).find(at)?
    };
    match (facts.branch.clone(), facts.head.clone()) {
        (Some(name), Some(oid)) => Some(HeadState::Branch { name, oid }),
        (Some(name), None) => Some(HeadState::Unborn { name }),
        (None, Some(oid)) => Some(HeadState::Detached { oid }),
        (None, None) => None,
    }
}

/// Walks up from a path. A `.git` file is believed only as far as the directory it names confirms it.
fn find_repository(path: &Path) -> Outcome<Found> {
    let start = std::fs::canonicalize(path).map_err(|e| not_a_repository(path, &format!("cannot be opened: {e}")))?;
    for dir in start.ancestors() {
        if dir.file_name().is_some_and(|n| n == ".git") {
            continue;
        }
        let dot_git = dir.join(".git");
        if dot_git.is_dir() && looks_like_git_dir(&dot_git) {
            let common_dir = std::fs::canonicalize(&dot_git).map_err(|e| not_a_repository(path, &e.to_string()))?;
            return Ok(Found { common_dir, worktree: Some(dir.to_owned()) });
        }
        if dot_git.is_file() {
            return from_pointer(path, dir, &dot_git);
        }
        if looks_like_git_dir(dir) {
            return Ok(Found { common_dir: dir.to_owned(), worktree: None });
        }
    }
    Err(not_a_repository(path, "is not inside a git repository"))
}

#[derive(Debug)]
struct Found {
    common_dir: PathBuf,
    worktree: Option<PathBuf>,
}

fn not_a_repository(path: &Path, why: &str) -> Failure {
    Failure::new(Code::VcsRepoInvalid, format!("{} {why}", path.display())).hint("go to a repository, or make one: git init")
}

fn from_pointer(asked: &Path, dir: &Path, dot_git: &Path) -> Outcome<Found> {
    let target = registry::pointer_target(dot_git).and_then(|t| std::fs::canonicalize(t).ok());
    let Some(target) = target.filter(|t| t.join("HEAD").symlink_metadata().is_ok()) else {
        return Err(not_a_repository(asked, &format!("has a {} that names no git directory", dot_git.display())));
    };
    let common = target.parent().filter(|p| p.file_name().is_some_and(|n| n == "worktrees")).and_then(Path::parent);
    let Some(common) = common else {
        // A separate git directory or a submodule.
        return if looks_like_git_dir(&target) {
            Ok(Found { common_dir: target, worktree: Some(dir.to_owned()) })
        } else {
            Err(not_a_repository(asked, &format!("has a {} that names no git directory", dot_git.display())))
        };
    };
    if !registry::registered_path(&target).is_some_and(|p| registry::same_file(&p, dir)) {
        return Err(Failure::new(Code::VcsRepoInvalid, format!("{} names a worktree entry that does not name it back", dot_git.display()))
            .hint("run git worktree repair, then try again"));
    }
    Ok(Found { common_dir: common.to_owned(), worktree: Some(dir.to_owned()) })
}

fn looks_like_git_dir(dir: &Path) -> bool {
    dir.join("HEAD").symlink_metadata().is_ok() && dir.join("objects").is_dir() && (dir.join("refs").exists() || dir.join("reftable").is_dir())
}

/// `git worktree list --porcelain -z`: attributes end in NUL, an empty one ends a worktree.
fn parse_worktrees(bytes: &[u8]) -> Outcome<Vec<WorktreeFacts>> {
    let mut list: Vec<WorktreeFacts> = Vec::new();
    for field in bytes.split(|b| *b == 0).filter(|f| !f.is_empty()) {
        let space = field.iter().position(|b| *b == b' ').unwrap_or(field.len());
        let value = field.get(space + 1..).unwrap_or_default();
        let text = String::from_utf8_lossy(value).into_owned();
        if &field[..space] == b"worktree" {
            list.push(WorktreeFacts { path: escape_path(value), head: None, branch: None, bare: false, detached: false, locked: None, prunable: None });
            continue;
        }
        let Some(current) = list.last_mut() else {
            return Err(Failure::engine("git worktree list answered in an unknown form"));
        };
        match &field[..space] {
            b"HEAD" => current.head = Oid::parse(&text).ok().filter(|oid| !oid.is_zero()),
            b"branch" => current.branch = Some(text.strip_prefix("refs/heads/").unwrap_or(&text).to_owned()),
            b"bare" => current.bare = true,
            b"detached" => current.detached = true,
            b"locked" => current.locked = Some(text),
            b"prunable" => current.prunable = Some(text),
            _ => {}
        }
    }
    Ok(list)
}
