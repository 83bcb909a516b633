//! After approval: the quarantined objects into the repository, and the commit object. Authority: canon (objects only).
//!
//! Invariants: no ref and no index moves; objects travel as a pack, so their ids are computed anew from their bytes on
//! arrival, and the approved tree must be complete afterwards; the same plan and stamp make the same commit, so a retry
//! after a crash finds its own object.

use std::path::Path;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::plans::CommitPlan;
use dcc_core::ports::version::{CommitStamp, PreparedCommit};
use dcc_core::workspace::WorktreeBinding;

use super::{Quarantine, message};
use crate::git::GitCli;
use crate::git::builder::{Access, Repo};

/// Up to so many objects arrive loose; more stay one pack, as after a fetch.
const LOOSE_OBJECTS_MAX: u32 = 100;

impl GitCli {
    pub(in crate::git) fn prepare(&self, binding: &WorktreeBinding, plan: &CommitPlan, stamp: &CommitStamp, quarantine: &Path) -> Outcome<PreparedCommit> {
        let repo = self.open(binding, Access::Write)?;
        // A retry may come after the quarantine is gone: then the objects are there already.
        if self.require_complete(&repo, plan).is_err() {
            self.import(&repo, &Quarantine::at(quarantine)?, plan)?;
            self.require_complete(&repo, plan)?;
        }
        let oid = self.commit_tree(&repo, plan, stamp)?;
        Ok(PreparedCommit { oid, tree_oid: plan.tree_oid.clone(), branch_ref: plan.branch_ref.clone(), parent_oid: plan.parent_oid.clone() })
    }

    /// Every object that the tree adds to its parent is in the repository itself.
    fn require_complete(&self, repo: &Repo, plan: &CommitPlan) -> Outcome<()> {
        let run = self
            .tool
            .command(repo, Access::Read, "rev-list")
            .args(["--objects", "--quiet", "--missing=error", "--stdin"])
            .stdin(revisions(plan))
            .run()?;
        if run.is_success() {
            return Ok(());
        }
        Err(Failure::new(Code::StalePreview, format!("the approved tree {} is not complete: {}", plan.tree_oid, run.stderr())).hint("plan the commit again"))
    }

    fn import(&self, repo: &Repo, quarantine: &Quarantine, plan: &CommitPlan) -> Outcome<()> {
        if !quarantine.objects.is_dir() {
            return Err(Failure::new(Code::StalePreview, "the preview's objects are gone").hint("plan the commit again"));
        }
        let base = quarantine.pack.as_path();
        let packed = quarantine
            .command(self, repo, "pack-objects")
            .option("pack.packSizeLimit", "0")
            .args(["--revs", "-q", "--no-reuse-delta", "--local"])
            .arg(base)
            .stdin(revisions(plan))
            .line()?;
        let file = |extension: &str| {
            let mut name = base.as_os_str().to_owned();
            name.push(format!("-{packed}.{extension}"));
            std::path::PathBuf::from(name)
        };
        let pack = std::fs::File::open(file("pack")).map_err(|e| Failure::engine(format!("{}: {e}", file("pack").display())))?;
        let count = object_count(&file("pack"))?;
        let cmd = if count <= LOOSE_OBJECTS_MAX {
            self.tool.command(repo, Access::Write, "unpack-objects").arg("-q")
        } else {
            self.tool.command(repo, Access::Write, "index-pack").arg("--stdin")
        };
        cmd.stdin_file(pack).output()?;
        for extension in ["pack", "idx", "rev"] {
            // What stays is in quarantine and goes with it.
            let _ = std::fs::remove_file(file(extension));
        }
        Ok(())
    }

    /// Author and committer are the operator, at the recorded second in UTC.
    fn commit_tree(&self, repo: &Repo, plan: &CommitPlan, stamp: &CommitStamp) -> Outcome<Oid> {
        let date = format!("@{} +0000", stamp.unix_seconds);
        let line = self
            .tool
            .command(repo, Access::Write, "commit-tree")
            .env("GIT_AUTHOR_NAME", &plan.author_name)
            .env("GIT_AUTHOR_EMAIL", &plan.author_email)
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_NAME", &plan.author_name)
            .env("GIT_COMMITTER_EMAIL", &plan.author_email)
            .env("GIT_COMMITTER_DATE", &date)
            .args(["--no-gpg-sign", "-p", plan.parent_oid.as_str(), plan.tree_oid.as_str()])
            .stdin(message::with_trailers(plan, stamp).into_bytes())
            .line()?;
        Oid::parse(&line)
    }
}

/// The tree without what its parent has.
fn revisions(plan: &CommitPlan) -> Vec<u8> {
    format!("{}\n^{}\n", plan.tree_oid, plan.parent_oid).into_bytes()
}

/// The count in a pack's header.
fn object_count(pack: &Path) -> Outcome<u32> {
    use std::io::Read as _;
    let mut header = [0u8; 12];
    let read = std::fs::File::open(pack).and_then(|mut f| f.read_exact(&mut header));
    read.map_err(|e| Failure::engine(format!("{}: {e}", pack.display())))?;
    Ok(u32::from_be_bytes([header[8], header[9], header[10], header[11]]))
}
