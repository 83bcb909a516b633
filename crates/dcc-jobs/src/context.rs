//! What every job kind may reach: the ports, the project's configuration, the journal. No concrete engine or store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use dcc_core::ids::{InstanceId, ProjectId};
use dcc_core::limits;
use dcc_core::policy::Policy;
use dcc_core::ports::{
    AgentCatalogue, AgentDoor, ArtifactStore, Clock, CodeSearch, Locus, Recorder, Sandbox, SessionBackend, Store, VersionEngine, WorktreeFiles,
};
use dcc_core::session::RunLimits;

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
    pub budgets: crate::budgets::BudgetConfig,
    pub limits: Limits,
    /// What follows when an agent changed something without asking.
    pub ungated: crate::observe::Ungated,
    /// Why the project is only read; none when it may be changed.
    pub read_only: Option<String>,
}

/// The operator's `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub runs: RunLimits,
    /// How long a pause waits for a turn's boundary.
    pub pause_bound_ms: u64,
    /// How long processes may stand still, at most `limits::FREEZE_MS_MAX`.
    pub freeze_ms: u64,
    /// Permission requests of one session in a minute.
    pub requests_per_minute: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs: RunLimits::default(),
            pause_bound_ms: limits::PAUSE_BOUND_MS,
            freeze_ms: limits::FREEZE_MS_MAX,
            requests_per_minute: limits::SESSION_REQUESTS_PER_MINUTE,
        }
    }
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
    /// One move of a session at a time: reading its state and recording the move are one step.
    pub(crate) moving: Mutex<()>,
    /// Sessions that are to rest, and who waits for them to go on.
    pub(crate) holds: crate::holds::Holds,
    /// One look at the queue of messages at a time: of two who would deliver the same message the second finds it gone.
    pub(crate) delivering: Mutex<()>,
    /// Sessions that somebody is steering now, with the job that does it.
    pub(crate) steered: Mutex<HashMap<dcc_core::SessionId, (dcc_core::JobId, dcc_core::op::Op)>>,
    pub(crate) scheduler: crate::scheduler::Scheduler,
    /// Permission requests of each session in the last minute.
    pub(crate) requests: crate::host::flood::Requests,
    /// True while a thread records the heartbeats of live runs.
    pub(crate) beating: Mutex<bool>,
    /// Agents without a sandbox that are being started.
    pub(crate) unconfined_starts: crate::waivers::Starts,
    /// True while a thread waits for the end of waivers.
    pub(crate) watching_waivers: Mutex<bool>,
    /// When each live session was checkpointed.
    pub(crate) pace: crate::host::checkpoints::Pace,
    /// Sessions whose agent is being ended by us: its exit is then expected, not a fault.
    pub(crate) stopping: Mutex<HashSet<dcc_core::SessionId>>,
    /// Calls that wait for a decision in a session's name: while there are any, it shows as blocked.
    pub(crate) held: Mutex<HashMap<dcc_core::SessionId, u32>>,
    /// What running turns use.
    pub(crate) meters: std::sync::Arc<crate::meters::Meters>,
    /// How the worktrees of running turns were last seen.
    pub(crate) observer: crate::observe::Observer,
    /// One agent's tool call at a time is accepted and planned, so that the same request made twice at once waits once.
    pub(crate) asking: Mutex<()>,
    /// How agents of this process reach DCC; set by the server, absent without one.
    pub agent_door: OnceLock<Arc<dyn AgentDoor>>,
    /// People at terminals of this process.
    pub(crate) attachments: crate::attachments::Attachments,
    /// Commands that run in this process.
    pub(crate) commands: crate::commands::Commands,
    /// What agents write that must not be kept.
    pub(crate) unkept: crate::unkept::Unkept,
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
            moving: Mutex::new(()),
            holds: crate::holds::Holds::default(),
            delivering: Mutex::new(()),
            steered: Mutex::default(),
            scheduler: crate::scheduler::Scheduler::default(),
            requests: crate::host::flood::Requests::default(),
            beating: Mutex::new(false),
            unconfined_starts: crate::waivers::Starts::default(),
            watching_waivers: Mutex::new(false),
            pace: crate::host::checkpoints::Pace::default(),
            stopping: Mutex::default(),
            held: Mutex::default(),
            meters: std::sync::Arc::default(),
            observer: crate::observe::Observer::default(),
            asking: Mutex::new(()),
            agent_door: OnceLock::new(),
            attachments: crate::attachments::Attachments::default(),
            commands: crate::commands::Commands::default(),
            unkept: crate::unkept::Unkept::default(),
            runner: OnceLock::new(),
        }
    }
    /// The runner over this context, for kinds that submit jobs of their own.
    pub(crate) fn require_runner(&self) -> dcc_core::Outcome<Arc<crate::runner::Runner>> {
        self.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| dcc_core::Failure::engine("no runner"))
    }
    /// The content of an agent's write by its hash: an artifact, or held while the write is under way.
    pub fn written(&self, sha256: dcc_core::Sha256Hex) -> dcc_core::Outcome<Vec<u8>> {
        self.unkept.get(sha256).map_or_else(|| self.ports.artifacts.get(sha256), |held| Ok(held.to_vec()))
    }
    pub fn now(&self) -> dcc_core::Timestamp {
        self.ports.clock.now()
    }
}
