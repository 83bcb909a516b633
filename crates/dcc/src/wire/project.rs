//! Finding the project that a path belongs to, and making it one on first use.
//!
//! Opening writes nothing but DCC's own files: `.handshake/` (kept out of git through info/exclude, and passed by
//! `git clean` because it looks like a nested repository) and the operator's state directory.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcc_core::ports::Clock;
use dcc_core::ports::VersionEngine;
use dcc_core::ports::version::RepoFacts;
use dcc_core::workspace::{WorktreeBinding, unescape_path};
use dcc_core::{Code, Failure, Outcome, ProjectId};
use dcc_engines::git::{GitCli, GitOptions};

use super::dirs::{Dirs, private_dir};

/// What `.handshake/` is kept out of git with.
pub const EXCLUDE_LINES: [&str; 1] = [dcc_core::workspace::EXCLUDE_LINE];

/// A repository as found, before anything of it is opened.
pub struct Found {
    pub dirs: Dirs,
    pub clock: Arc<dyn Clock>,
    pub git: Arc<GitCli>,
    pub facts: RepoFacts,
    pub main: WorktreeBinding,
    pub root: PathBuf,
    /// `.handshake` in the main worktree.
    pub state_dir: PathBuf,
}

/// Looks for the repository around `path`. Changes nothing.
pub fn find(path: &Path, dirs: Dirs, clock: Arc<dyn Clock>) -> Outcome<Found> {
    let git = Arc::new(GitCli::new(GitOptions { git_program: None, operator_home: dirs.home.clone(), private_dir: private_for_git(&dirs)? })?);
    let path = path.canonicalize().map_err(|e| Failure::new(Code::VcsRepoInvalid, format!("{}: {e}", path.display())).hint("give the path of a git repository"))?;
    let facts = git.inspect(&path)?;
    if facts.bare {
        return Err(Failure::new(Code::VcsRepoInvalid, format!("{} is a bare repository", path.display()))
            .hint("bare repositories are not built yet: open a clone that has a main worktree"));
    }
    let main = facts.main.clone().ok_or_else(|| Failure::new(Code::VcsRepoInvalid, format!("{} has no main worktree", path.display())))?;
    let root = main.worktree();
    let state_dir = root.join(".handshake");
    Ok(Found { dirs, clock, git, facts, main, root, state_dir })
}

/// An empty directory that stands in for git's HOME. Where the state directory cannot be written, the runtime directory
/// serves, so that reading goes on.
fn private_for_git(dirs: &Dirs) -> Outcome<PathBuf> {
    let kept = dirs.state.join("git");
    let made = private_dir(&kept.join("git-home")).and_then(|()| private_dir(&kept.join("git-scratch")));
    match made {
        Ok(()) => Ok(kept),
        Err(failure) => {
            let passing = dirs.runtime.join("git");
            private_dir(&passing).map(|()| passing).map_err(|_| failure)
        }
    }
}

impl Found {
    /// True once `dcc init` has been here.
    pub fn is_initialised(&self) -> bool {
        self.state_dir.join("recorder.db").exists()
    }

    pub fn common_dir_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt as _;
        std::ffi::OsString::from_vec(unescape_path(&self.facts.common_dir)).into()
    }

    /// Makes `.handshake/` and the exclude line; idempotent. Refuses what stands in the way.
    pub fn prepare(&self) -> Outcome<()> {
        match self.state_dir.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(Failure::new(Code::VcsRepoInvalid, format!("{} is not a directory", self.state_dir.display())).hint("move it away; DCC keeps its records there"));
            }
            Err(_) => std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&self.state_dir)
                .map_err(|e| Failure::new(Code::Recorder, format!("{} cannot be made: {e}", self.state_dir.display())).hint("no record, no action: make the repository's directory writable"))?,
        }
        for sub in ["artifacts", "gov", "tmp"] {
            private_dir(&self.state_dir.join(sub))?;
        }
        // An empty repository inside: `git clean -fdx` and `git stash -a` pass it by.
        dcc_store::nested_repository(&self.state_dir)?;
        self.git.exclude(&self.facts.common_dir, &EXCLUDE_LINES)?;
        Ok(())
    }

    /// The project's id: the one its recorder was made with.
    pub fn project_id(&self) -> Outcome<Option<ProjectId>> {
        if !self.is_initialised() {
            // Canon without its log is damage, never a new project.
            let has_packets = std::fs::read_dir(self.state_dir.join("gov/work_packets")).is_ok_and(|mut entries| entries.next().is_some());
            if has_packets || self.state_dir.join("devcc.db").exists() {
                return Err(Failure::new(Code::Integrity, format!("{} is gone, but other records of the project are there", self.state_dir.join("recorder.db").display()))
                    .hint("put the file back from your backup; nothing was changed, and a new log is not begun over it"));
            }
            return Ok(None);
        }
        dcc_recorder::project_id_of(self.state_dir.join("recorder.db"))
    }

    /// The project's id, or the failure that says how to make it a project.
    pub fn require_project_id(&self) -> Outcome<ProjectId> {
        self.project_id()?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} is not a DCC project yet", self.root.display())).hint("dcc init, or dcc up, makes it one")
        })
    }

    /// The repository's directory name, for people.
    pub fn name(&self) -> String {
        self.root.file_name().map_or_else(|| "repository".to_owned(), |n| n.to_string_lossy().into_owned())
    }
}
