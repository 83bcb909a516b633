//! Git behind the `VersionEngine` port: the git CLI through one hardened builder (GOVERNANCE 4).
//!
//! Authority: derived; git's own files are the canon here and are changed only by `create_worktree`, `prepare_commit`,
//! `publish_commit`, `sync_index`, `mend` and `exclude`.
//!
//! Invariants: every command is made by `builder`; every use of a worktree asserts its binding first; reads take no
//! optional locks and leave all of `.git` byte for byte as it was; nothing that the repository's configuration, hooks or
//! attributes name is run. On failure nothing half-made stays: what a failed effect made, it removes, and no more.

mod attrs;
mod builder;
mod commit;
mod config;
mod diff;
mod files;
mod mend;
mod observe;
mod operator;
mod patch;
mod quote;
mod raw;
mod refs;
mod registry;
mod repo;
mod status;
mod untrack;
mod untracked;
mod words;
mod worktree;

use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::Oid;
use dcc_core::path::RepoPath;
use dcc_core::plans::{CommitPlan, RepairPlan, WorktreeMend, WorktreePlan};
use dcc_core::ports::version::{
    AheadBehind, CommitFacts, CommitIntent, CommitStamp, ConfigFacts, DiffSource, Difference, FileDiff, HeadState, Observation, PreparedCommit, RepoFacts, Status, VersionEngine, WorktreeFacts, WorktreeProbe,
};
use dcc_core::workspace::{WorktreeBinding, unescape_path};

use builder::{Access, Tool, path_of};
use operator::Operator;

/// How the engine is set up.
#[derive(Clone, Debug, Default)]
pub struct GitOptions {
    /// Absolute path of git; none means the first on the operator's PATH.
    pub git_program: Option<PathBuf>,
    /// Where the operator's own configuration is; none means the process's HOME.
    pub operator_home: Option<PathBuf>,
    /// A directory of ours, outside every repository; an empty HOME is made inside.
    pub private_dir: PathBuf,
}

/// The engine. Holds no state but where things are; one serves all repositories and threads.
#[derive(Debug)]
pub struct GitCli {
    tool: Tool,
    operator: Operator,
    /// For private copies of an index.
    scratch: PathBuf,
    version: (u32, u32),
    version_text: String,
}

impl GitCli {
    /// Finds git once and asks its version. A version that is too old is said at the first use of a repository.
    pub fn new(options: GitOptions) -> Outcome<Self> {
        let program = options.git_program.or_else(|| crate::exec::find_program("git"));
        let program = program.filter(|p| crate::exec::is_executable(p)).ok_or_else(|| {
            Failure::new(Code::VcsRepoInvalid, "no git was found on the PATH").hint("install git 2.38 or newer, or name it in the operator's configuration")
        })?;
        if !options.private_dir.is_absolute() {
            return Err(Failure::engine("the private directory must be an absolute path"));
        }
        let home = options.private_dir.join("git-home");
        make_empty_home(&home)?;
        let scratch = options.private_dir.join("git-scratch");
        make_private(&scratch)?;
        let operator = Operator::new(&program, options.operator_home, &home);
        let tool = Tool { program, home, excludes: operator.excludes() };
        let line = tool.bare("version").line()?;
        let version_text = line.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
        let mut numbers = version_text.split('.').map(|n| n.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Ok(Self { tool, operator, scratch, version, version_text })
    }

    /// The engine's name for results.
    pub fn engine(&self) -> String {
        format!("git {}", self.version_text)
    }
}

/// HOME for every command: a directory that holds no configuration.
fn make_empty_home(home: &Path) -> Outcome<()> {
    make_private(home)?;
    let mut entries = std::fs::read_dir(home).map_err(|e| Failure::engine(format!("{}: {e}", home.display())))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Failure::engine(format!("{} is not empty; it stands in for HOME and must hold nothing", home.display()))),
    }
}

fn make_private(dir: &Path) -> Outcome<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Failure::engine(format!("{} cannot be made: {e}", dir.display())))
}

impl VersionEngine for GitCli {
    fn inspect(&self, path: &Path) -> Outcome<RepoFacts> {
        self.inspect_path(path)
    }
    fn config_facts(&self, common_dir: &str, worktree: Option<&WorktreeBinding>) -> Outcome<ConfigFacts> {
        let repo = match worktree {
            Some(binding) => self.open(binding, Access::Read)?,
            None => self.open_common(common_dir)?,
        };
        Ok(repo.config.facts())
    }
    fn bind(&self, common_dir: &str, worktree_path: &str) -> Outcome<WorktreeBinding> {
        registry::bind(&path_of(&unescape_path(common_dir)), &path_of(&unescape_path(worktree_path)))
    }
    fn probe(&self, worktree: &WorktreeBinding) -> Outcome<WorktreeProbe> {
        self.probe_worktree(worktree)
    }
    fn worktrees(&self, common_dir: &str) -> Outcome<Vec<WorktreeFacts>> {
        self.list_worktrees(common_dir)
    }
    fn heads(&self, common_dir: &str, worktrees: &[&WorktreeBinding]) -> Outcome<Vec<Option<HeadState>>> {
        self.heads_of(common_dir, worktrees)
    }
    fn status(&self, worktree: &WorktreeBinding) -> Outcome<Status> {
        self.status_of(worktree)
    }
    fn observe(&self, worktree: &WorktreeBinding, before: Option<&Observation>) -> Outcome<(Observation, Difference)> {
        self.observe_worktree(worktree, before)
    }
    fn operation_in_progress(&self, worktree: &WorktreeBinding) -> Outcome<Option<String>> {
        self.operation(&self.open(worktree, Access::Read)?)
    }
    fn diff(&self, worktree: &WorktreeBinding, source: &DiffSource, paths: &[RepoPath], with_text: bool) -> Outcome<Vec<FileDiff>> {
        self.diff_of(worktree, source, paths, with_text)
    }
    fn log(&self, worktree: &WorktreeBinding, limit: usize, paths: &[RepoPath]) -> Outcome<Vec<CommitFacts>> {
        self.history(worktree, limit, paths)
    }
    fn resolve(&self, common_dir: &str, revision: &str) -> Outcome<Oid> {
        self.resolve_in(&self.open_common(common_dir)?, revision)
    }
    fn ref_oid(&self, common_dir: &str, name: &str) -> Outcome<Option<Oid>> {
        self.ref_oid_in(&self.open_common(common_dir)?, name)
    }
    fn ahead_behind(&self, common_dir: &str, branch: &str, base: &str) -> Outcome<AheadBehind> {
        self.ahead_behind_in(&self.open_common(common_dir)?, branch, base)
    }
    fn is_branch_name(&self, name: &str) -> bool {
        self.is_branch(name)
    }
    fn is_tracked(&self, worktree: &WorktreeBinding, path: &RepoPath) -> Outcome<bool> {
        self.tracked(worktree, path)
    }
    fn index_entry(&self, worktree: &WorktreeBinding, path: &RepoPath) -> Outcome<Option<Oid>> {
        self.entry(worktree, path)
    }
    fn untrack(&self, worktree: &WorktreeBinding, cleared: Cleared<RepairPlan>) -> Outcome<()> {
        self.untrack_planned(worktree, cleared.body())
    }
    fn identity(&self) -> Outcome<(String, String)> {
        self.operator.identity(None)
    }
    fn identity_for(&self, worktree: &WorktreeBinding) -> Outcome<(String, String)> {
        let repo = self.open(worktree, Access::Read)?;
        self.operator.identity(Some(&repo.git_dir))
    }
    fn create_worktree(&self, cleared: Cleared<WorktreePlan>, lock_reason: Option<&str>) -> Outcome<WorktreeBinding> {
        self.add_worktree(cleared.body(), lock_reason)
    }
    fn find_worktree(&self, plan: &WorktreePlan) -> Outcome<Option<WorktreeBinding>> {
        self.find_planned(plan)
    }
    fn plan_commit(&self, worktree: &WorktreeBinding, intent: &CommitIntent) -> Outcome<CommitPlan> {
        self.plan_selected(worktree, intent)
    }
    fn prepare_commit(&self, worktree: &WorktreeBinding, plan: &CommitPlan, stamp: &CommitStamp, quarantine: &Path, proof: &Cleared<CommitPlan>) -> Outcome<PreparedCommit> {
        if proof.body() != plan || proof.job_id() != stamp.job_id {
            return Err(Failure::new(Code::StalePreview, "the clearance was given for another plan or job"));
        }
        self.prepare(worktree, plan, stamp, quarantine)
    }
    fn publish_commit(&self, worktree: &WorktreeBinding, cleared: Cleared<CommitPlan>, prepared: &PreparedCommit) -> Outcome<()> {
        self.publish(worktree, cleared.body(), prepared)
    }
    fn has_commit(&self, common_dir: &str, branch_ref: &str, oid: &Oid) -> Outcome<bool> {
        self.commit_is_in(&self.open_common(common_dir)?, branch_ref, oid)
    }
    fn sync_index(&self, worktree: &WorktreeBinding, plan: &CommitPlan) -> Outcome<()> {
        self.sync_after_crash(worktree, plan)
    }
    fn plan_mend(&self, worktree: &WorktreeBinding, branch: Option<&str>, moved_to: Option<&Path>) -> Outcome<WorktreeMend> {
        self.plan_mending(worktree, branch, moved_to)
    }
    fn mend(&self, cleared: Cleared<RepairPlan>) -> Outcome<WorktreeBinding> {
        self.mend_planned(cleared.body())
    }
    fn find_mended(&self, mend: &WorktreeMend) -> Outcome<Option<WorktreeBinding>> {
        self.find_mended_worktree(mend)
    }
    fn exclude(&self, common_dir: &str, lines: &[&str]) -> Outcome<Vec<String>> {
        worktree::exclude(&self.open_common(common_dir)?, lines)
    }
}
