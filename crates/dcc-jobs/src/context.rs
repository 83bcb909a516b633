//! What every job kind may reach: the ports, the project's configuration, the journal. No concrete engine or store.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use dcc_core::ids::{InstanceId, ProjectId};
use dcc_core::policy::Policy;
use dcc_core::ports::{
    AgentCatalogue, ArtifactStore, Clock, CodeSearch, Locus, Recorder, Sandbox, SessionBackend, Store, VersionEngine, WorktreeFiles,
};

use crate::journal::Journal;

/// A named command of the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub name: String,
    pub argv: Vec<String>,
    pub timeout_ms: u64,
    /// True: it may write the worktree.
    pub writes: bool,
    pub read_paths: Vec<String>,
    pub env: BTreeMap<String, String>,
}

/// The project as this process opened it.
#[derive(Clone, Debug)]
pub struct Config {
    pub project_id: ProjectId,
    pub project_name: String,
    pub instance_id: InstanceId,
    /// The main worktree's root (for a bare repository, the repository).
    pub root_path: PathBuf,
    pub common_dir: String,
    /// `.handshake` of the project.
    pub state_dir: PathBuf,
    /// Directory under which new worktrees are made: `../<repo>.wt`.
    pub worktrees_path: PathBuf,
    /// Default base branch and what policy adds.
    pub protected_branches: Vec<String>,
    pub recipes: BTreeMap<String, Recipe>,
    /// Why the project is only read; none when it may be changed.
    pub read_only: Option<String>,
}

impl Config {
    /// Where a job's quarantine stands: `.handshake/tmp/<job>`.
    pub fn quarantine_path(&self, job_id: dcc_core::JobId) -> PathBuf {
        self.state_dir.join("tmp").join(job_id.to_string())
    }

    /// No record, no action: refuses before anything is tried when the project is only read.
    pub fn require_writable(&self) -> dcc_core::Outcome<()> {
        match &self.read_only {
            None => Ok(()),
            Some(why) => Err(dcc_core::Failure::recorder(format!("read only: {why}"))),
        }
    }
}

/// The adapters, wired by the binary.
#[derive(Clone)]
pub struct Ports {
    pub recorder: Arc<dyn Recorder>,
    pub artifacts: Arc<dyn ArtifactStore>,
    pub locus: Arc<dyn Locus>,
    pub store: Arc<dyn Store>,
    pub version: Arc<dyn VersionEngine>,
    pub sandbox: Arc<dyn Sandbox>,
    pub search: Arc<dyn CodeSearch>,
    pub files: Arc<dyn WorktreeFiles>,
    pub sessions: Arc<dyn SessionBackend>,
    pub agents: Arc<dyn AgentCatalogue>,
    pub clock: Arc<dyn Clock>,
}

/// Shared by the runner, its job kinds and the session host.
pub struct Context {
    pub ports: Ports,
    pub config: Config,
    pub policy: Policy,
    pub journal: Journal,
    /// One writer at a time on Locus: version check, event and file are one step.
    pub locus_lock: Mutex<()>,
    /// One writer at a time on the repository's refs and worktree administration.
    pub git_lock: Mutex<()>,
    /// Sessions whose agent is being ended by us: its exit is then expected, not a fault.
    pub(crate) stopping: Mutex<HashSet<dcc_core::SessionId>>,
    /// The one runner over this context; set once at start so that kinds can submit child jobs.
    pub(crate) runner: OnceLock<std::sync::Weak<crate::runner::Runner>>,
}

impl Context {
    pub fn new(ports: Ports, config: Config) -> Self {
        let journal = Journal::new(ports.clone());
        Self {
            ports,
            config,
            policy: Policy::built_in(),
            journal,
            locus_lock: Mutex::new(()),
            git_lock: Mutex::new(()),
            stopping: Mutex::default(),
            runner: OnceLock::new(),
        }
    }
    pub fn now(&self) -> dcc_core::Timestamp {
        self.ports.clock.now()
    }
}
