//! A repository, an operator, and an engine; and the way from a selection to a commit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, Oid, Sha256Hex, WorkspaceId, WpId};
use dcc_core::op::Op;
use dcc_core::path::RepoPath;
use dcc_core::plan::PlanBody;
use dcc_core::plans::{CommitPlan, WorktreePlan};
use dcc_core::ports::version::{CommitIntent, CommitStamp, PreparedCommit, Status, VersionEngine as _};
use dcc_core::principal::Role;
use dcc_core::time::Timestamp;
use dcc_core::workspace::WorktreeBinding;
use dcc_engines::git::{GitCli, GitOptions};

use crate::clearance::cleared_for;

pub const NOW: Timestamp = Timestamp(1_770_000_000_000);

pub struct Lab {
    /// Held for its end: the directory goes with it.
    pub _dir: tempfile::TempDir,
    pub repo: PathBuf,
    pub home: PathBuf,
    pub engine: GitCli,
}

pub fn path(bytes: impl AsRef<[u8]>) -> RepoPath {
    RepoPath::new(bytes.as_ref()).unwrap()
}

pub fn id(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

impl Lab {
    /// A repository on branch `work` with `a.txt`, `b.txt` and `dir/c.txt`.
    pub fn new() -> Self {
        let lab = Self::empty(&[]);
        lab.write("a.txt", "one\ntwo\nthree\n");
        lab.write("b.txt", "b\n");
        lab.write("dir/c.txt", "c\n");
        lab.git(&["add", "-A"]);
        lab.git(&["commit", "-q", "-m", "start"]);
        lab
    }

    /// A repository without a commit.
    pub fn empty(init: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (repo, home, private) = (root.join("repo"), root.join("home"), root.join("private"));
        for d in [&repo, &home, &private] {
            std::fs::create_dir(d).unwrap();
        }
        std::fs::write(home.join(".gitconfig"), "[user]\n\tname = Olive Operator\n\temail = olive@example.org\n").unwrap();
        let engine = GitCli::new(GitOptions { git_program: None, operator_home: Some(home.clone()), private_dir: private }).unwrap();
        let lab = Self { _dir: dir, repo, home, engine };
        let mut args = vec!["init", "-q", "-b", "work"];
        args.extend(init);
        lab.git(&args);
        lab
    }

    pub fn root(&self) -> PathBuf {
        self.repo.parent().unwrap().to_owned()
    }

    /// Git as the user runs it, with his HOME; its standard output.
    pub fn git(&self, args: &[&str]) -> String {
        let (ok, out, err) = self.try_git_in(&self.repo, args);
        assert!(ok, "git {args:?}: {err}");
        out
    }

    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let (ok, out, err) = self.try_git_in(dir, args);
        assert!(ok, "git {args:?}: {err}");
        out
    }

    pub fn try_git_in(&self, dir: &Path, args: &[&str]) -> (bool, String, String) {
        let out = Command::new("git")
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).trim_end().to_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
    }

    pub fn write(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.repo.join(OsStr::from_bytes(name.as_ref()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn remove(&self, name: impl AsRef<[u8]>) {
        std::fs::remove_file(self.repo.join(OsStr::from_bytes(name.as_ref()))).unwrap();
    }

    pub fn binding(&self) -> WorktreeBinding {
        self.engine.inspect(&self.repo).unwrap().main.unwrap()
    }

    pub fn common(&self) -> String {
        self.repo.join(".git").to_str().unwrap().to_owned()
    }

    pub fn status(&self) -> Status {
        self.engine.status(&self.binding()).unwrap()
    }

    pub fn head(&self) -> Oid {
        Oid::parse(&self.git(&["rev-parse", "HEAD"])).unwrap()
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root().join("private/tmp/job")
    }

    pub fn intent(&self, paths: &[RepoPath]) -> CommitIntent {
        CommitIntent {
            workspace_id: WorkspaceId(id(7)),
            paths: paths.to_vec(),
            expected: Vec::new(),
            message: "Change things\n\nWhy: because".into(),
            author_name: "Olive Operator".into(),
            author_email: "olive@example.org".into(),
            wp_id: Some(WpId::parse("WP-0001").unwrap()),
            mt_id: None,
            session_id: None,
            in_scope_paths: Vec::new(),
            quarantine: self.quarantine(),
        }
    }

    pub fn plan(&self, names: &[&str]) -> Outcome<CommitPlan> {
        let paths: Vec<RepoPath> = names.iter().map(path).collect();
        self.engine.plan_commit(&self.binding(), &self.intent(&paths))
    }

    pub fn prepare(&self, plan: &CommitPlan) -> Outcome<PreparedCommit> {
        let proof = cleared_commit(plan, JobId(id(1)));
        self.engine.prepare_commit(&self.binding(), plan, &stamp(), &self.quarantine(), &proof)
    }

    pub fn publish(&self, plan: &CommitPlan, prepared: &PreparedCommit) -> Outcome<()> {
        self.engine.publish_commit(&self.binding(), cleared_commit(plan, JobId(id(1))), prepared)
    }

    /// The whole way.
    pub fn commit(&self, names: &[&str]) -> Outcome<(CommitPlan, Oid)> {
        let paths: Vec<RepoPath> = names.iter().map(path).collect();
        self.commit_paths(&paths)
    }

    pub fn commit_paths(&self, paths: &[RepoPath]) -> Outcome<(CommitPlan, Oid)> {
        let plan = self.engine.plan_commit(&self.binding(), &self.intent(paths))?;
        let prepared = self.prepare(&plan)?;
        self.publish(&plan, &prepared)?;
        Ok((plan, prepared.oid))
    }

    /// Names changed by a commit, as git says.
    pub fn changed_in(&self, oid: &Oid) -> Vec<Vec<u8>> {
        let out = Command::new("git")
            .args(["diff-tree", "-r", "-z", "--no-commit-id", "--name-only", "--no-renames", oid.as_str()])
            .current_dir(&self.repo)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.home)
            .output()
            .unwrap();
        out.stdout.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect()
    }

    pub fn worktree_plan(&self, branch: &str, to: &Path) -> WorktreePlan {
        WorktreePlan {
            wp_id: WpId::parse("WP-0001").unwrap(),
            common_dir: self.common(),
            path: to.to_str().unwrap().to_owned(),
            branch: branch.to_owned(),
            base: "work".into(),
            base_oid: self.head(),
            role: Role::Coder,
        }
    }

    pub fn add_worktree(&self, branch: &str) -> WorktreeBinding {
        let to = self.root().join("repo.wt").join(branch.replace('/', "-"));
        self.engine.create_worktree(cleared(self.worktree_plan(branch, &to), Op::WorkspaceCreate), None).unwrap()
    }
}

pub fn stamp() -> CommitStamp {
    CommitStamp { job_id: JobId(id(1)), unix_seconds: 1_770_000_000 }
}

pub fn cleared_commit(plan: &CommitPlan, job_id: JobId) -> Cleared<CommitPlan> {
    cleared_for(plan.clone(), Op::VersionCommit, "git", job_id, NOW)
}

pub fn cleared<P: PlanBody>(body: P, op: Op) -> Cleared<P> {
    cleared_for(body, op, "git", JobId(id(1)), NOW)
}

/// Every file below a directory as path, mode, size and hash of its bytes or link text; equal means untouched.
pub fn fingerprint(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(at) = stack.pop() {
        let meta = at.symlink_metadata().unwrap();
        let content = if meta.is_dir() {
            stack.extend(std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            std::fs::read_link(&at).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            std::fs::read(&at).unwrap()
        } else {
            Vec::new()
        };
        found.insert(format!("{} {:o} {} {}", at.display(), meta.mode(), content.len(), Sha256Hex::of(&content)));
    }
    found
}

/// Panics with what differs, and only that.
pub fn assert_untouched(before: &BTreeSet<String>, dir: &Path) {
    let after = fingerprint(dir);
    let changed: Vec<&String> = before.symmetric_difference(&after).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

pub fn make_executable(path: &Path) {
    let mut mode = std::fs::metadata(path).unwrap().permissions();
    mode.set_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

pub fn code<T: std::fmt::Debug>(outcome: Outcome<T>) -> &'static str {
    failure(outcome).code.as_str()
}

pub fn failure<T: std::fmt::Debug>(outcome: Outcome<T>) -> Failure {
    outcome.unwrap_err()
}
