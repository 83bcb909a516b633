//! Commits of exactly the selected paths (GOVERNANCE 4): plan in quarantine, prepare the object, publish by
//! compare-and-swap.
//!
//! Authority: canon is the repository; until `prepare` it is untouched, until `publish` no ref and no index is.
//!
//! Invariants: the bytes are read once, at plan time; the tree that a person approves is the tree of the commit; the
//! user's index is never the source of a commit and loses nothing by one; no user hook runs.

mod message;
mod names;
mod plan;
mod prepare;
mod publish;
mod secrets;
mod select;
mod snapshot;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::ports::version::HeadState;

use super::builder::{Access, GitCmd, Repo};
use super::{GitCli, quote};

/// Mode and id of a path in a tree or an index.
pub(super) type Entry = (String, Oid);

/// A directory of ours that holds the preview's objects, index and bytes until they are approved.
#[derive(Clone, Debug)]
struct Quarantine {
    objects: PathBuf,
    index: PathBuf,
    /// The selected bytes as they were read, laid out like the worktree.
    tree: PathBuf,
    /// A pack on its way into the repository.
    pack: PathBuf,
}

impl Quarantine {
    fn at(dir: &Path) -> Outcome<Self> {
        if !dir.is_absolute() {
            return Err(Failure::engine("the quarantine directory must be an absolute path"));
        }
        Ok(Self { objects: dir.join("objects"), index: dir.join("index"), tree: dir.join("tree"), pack: dir.join("import") })
    }

    /// Makes it anew; an earlier plan's remains go.
    fn fresh(dir: &Path) -> Outcome<Self> {
        let quarantine = Self::at(dir)?;
        let failed = |e: std::io::Error| Failure::engine(format!("quarantine {}: {e}", dir.display()));
        for old in [&quarantine.tree, &quarantine.objects] {
            if old.symlink_metadata().is_ok() {
                std::fs::remove_dir_all(old).map_err(failed)?;
            }
        }
        if quarantine.index.symlink_metadata().is_ok() {
            std::fs::remove_file(&quarantine.index).map_err(failed)?;
        }
        for new in [&quarantine.objects, &quarantine.tree] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(new).map_err(failed)?;
        }
        Ok(quarantine)
    }

    /// A command that sees the repository's objects, writes its own here, and has the private index.
    fn command(&self, git: &GitCli, repo: &Repo, name: &str) -> GitCmd {
        git.tool
            .command(repo, Access::Read, name)
            .env("GIT_INDEX_FILE", &self.index)
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternate(&repo.common_dir.join("objects")))
            // What is thrown away or imported needs no sync here.
            .option("core.fsync", "none")
            .option("core.splitIndex", "false")
            .option("core.sparseCheckout", "false")
            .option("index.sparse", "false")
    }
}

/// One entry of the list of alternates, quoted when it holds the list's separator.
fn alternate(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|b| matches!(b, b':' | b'"' | b'\n')) { OsString::from_vec(quote::quote(bytes)) } else { path.as_os_str().to_owned() }
}

impl GitCli {
    /// The branch that HEAD names and its commit; unborn and detached heads are refused.
    fn require_branch(&self, repo: &Repo) -> Outcome<(String, Oid)> {
        match self.head(repo)? {
            HeadState::Branch { name, oid } => Ok((format!("refs/heads/{name}"), oid)),
            HeadState::Unborn { name } => Err(Failure::new(Code::VcsRepoInvalid, format!("the branch {name} has no commit yet"))
                .hint("make the first commit yourself: git commit --allow-empty -m start")),
            HeadState::Detached { oid } => Err(Failure::new(Code::VcsRepoInvalid, format!("HEAD is detached at {}; a commit there would belong to no branch", oid.short()))
                .hint("put it on a branch first: git switch -c NAME")),
        }
    }

    fn require_no_operation(&self, repo: &Repo) -> Outcome<()> {
        match self.operation(repo)? {
            None => Ok(()),
            Some(name) => Err(Failure::new(Code::VcsConflict, format!("a {name} is in progress in this worktree"))
                .hint(format!("finish or abort it first: git {} --abort or --continue", name.split(' ').next().unwrap_or("merge")))),
        }
    }
}
