//! Opening a project: the lock first, then canon, then what is derived, then recovery, then the door.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use dcc_api::App;
use dcc_api::app::MachineFacts;
use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::ports::version::HeadState;
use dcc_core::ports::{AgentCatalogue, ArtifactStore, Recorder, Store, fresh};
use dcc_core::principal::{Actor, Role};
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus, WorktreeBinding};
use dcc_core::{Code, Failure, InstanceId, Outcome, ProjectId, WorkspaceId};
use dcc_engines::files::WorktreeFs;
use dcc_engines::sandbox::{LandlockSandbox, sweep_private};
use dcc_engines::search::RipgrepSearch;
use dcc_jobs::recovery::RecoveryReport;
use dcc_jobs::{Config, Context, Ports, Recipe, Runner, ledger};
use dcc_locus::LocusStore;
use dcc_recorder::{FileArtifacts, SqliteRecorder};
use dcc_sessions::acp::AcpBackend;
use dcc_sessions::pty::PtyBackend;
use dcc_sessions::Backends;
use dcc_store::{Opened, SqliteStore};

use super::checkpoint::StateHead;
use super::config::OperatorConfig;
use super::lock::{self, ProjectLock};
use super::project::Found;
use crate::agents::Agents;

/// A project that this process owns, or only reads.
pub struct Project {
    pub app: Arc<App>,
    pub recovery: RecoveryReport,
    pub store_opened: String,
    /// Why it is only read; none when this process owns it.
    pub read_only: Option<String>,
    pub(super) recorder: Arc<SqliteRecorder>,
    pub(super) _lock: Option<ProjectLock>,
}

impl Drop for Project {
    /// While the lock is still held: the head as this process leaves it.
    fn drop(&mut self) {
        if self.read_only.is_none() {
            self.recorder.keep_head();
        }
    }
}

/// How long to wait for the lock, and what the lock's note says.
pub struct OpenOptions {
    pub what: &'static str,
    pub wait: std::time::Duration,
    /// True for the server: it also drives jobs that were accepted and never started.
    pub serving: bool,
}

/// Canon, and what is derived from it, as they were opened.
pub(super) struct Records {
    pub project_id: ProjectId,
    pub instance_id: InstanceId,
    pub recorder: Arc<SqliteRecorder>,
    pub artifacts: Arc<dyn ArtifactStore>,
    pub locus: Arc<LocusStore>,
    pub store: Arc<dyn Store>,
}

/// Opens for work, making the project on first use. HSK-500-RECORDER, before anything is done, when it cannot be written.
pub fn open(found: &Found, options: &OpenOptions) -> Outcome<Project> {
    found.prepare()?;
    super::read_only::probe(&found.state_dir)?;
    let lock = lock::acquire(&found.state_dir, options.what, options.wait)?;
    found.dirs.require_credential(found.clock.as_ref())?;
    let known = found.project_id()?;
    let project_id = known.unwrap_or_else(|| fresh::<ProjectId>(found.clock.as_ref()));
    let instance_id = fresh::<InstanceId>(found.clock.as_ref());
    let recorder = SqliteRecorder::open(found.state_dir.join("recorder.db"), project_id, instance_id, Arc::clone(&found.clock))?;
    let recorder = Arc::new(recorder.hold_outside(StateHead::owned(&found.dirs, project_id, found.clock.as_ref())?)?);
    if !recorder.is_writable() {
        return Err(Failure::recorder(recorder.refusal().to_owned()));
    }
    let artifacts: Arc<dyn ArtifactStore> = Arc::new(FileArtifacts::open(found.state_dir.join("artifacts"))?);
    let (store, opened) = SqliteStore::open(&found.state_dir.join("devcc.db"), project_id, Arc::clone(&found.clock))?;
    if let Some(refusal) = opened.refusal() {
        // Before anything is written: what a newer program left is only read, also where this one could write beside it.
        return Err(refusal);
    }
    let locus = Arc::new(LocusStore::open(&found.state_dir.join("gov"), Arc::clone(&recorder) as _, Arc::clone(&artifacts))?);
    let records = Records { project_id, instance_id, recorder, artifacts, locus, store: Arc::new(store) };
    let (runner, app) = assemble(found, &records, None)?;
    first_events(&runner, found, known.is_none())?;
    let store_opened = settle_store(&runner, &opened)?;
    super::brought_back::say(&runner, &records)?;
    let recovery = runner.recover(options.serving)?;
    // What a killed process left; the trees that worked in it have been ended by now.
    private_dirs(found).iter().for_each(|dir| {
        sweep_private(dir);
    });
    register_root(&runner, found)?;
    dcc_jobs::takeover::all(&runner.cx).iter().for_each(|said| super::say(said));
    if options.serving {
        // A file that was deleted comes back; one that is not understood is shown by Health.
        dcc_jobs::repairs::refresh_files(&runner.cx);
    }
    dcc_jobs::outside::take_up(&runner.cx, options.serving);
    Ok(Project { app, recovery, store_opened, read_only: None, recorder: records.recorder, _lock: Some(lock) })
}

/// Opens for work when that is possible, else for reading, and says so once.
pub fn open_or_read(found: &Found, options: &OpenOptions) -> Outcome<Project> {
    match open(found, options) {
        Err(failure) if found.is_initialised() && matches!(failure.code, Code::Recorder | Code::Engine) => {
            // The reason that it cannot be owned says more than what reading then stumbles over.
            let project = super::read_only::open(found, &failure.message, options).map_err(|second| if second.code == failure.code { failure } else { second })?;
            super::read_only::say_once(&project);
            Ok(project)
        }
        other => other,
    }
}

/// Of all projects of the operator: what runs in the sandbox has its directories in the first, agents their homes in the second.
fn private_dirs(found: &Found) -> [PathBuf; 2] {
    [found.dirs.state.join("sandbox"), found.dirs.agent_homes()]
}

/// The sandbox of this machine.
pub fn sandbox(run_dir: PathBuf) -> Outcome<LandlockSandbox> {
    let host_command = vec![std::env::current_exe().map_err(|e| Failure::engine(format!("the program's own path is unknown: {e}")))?.into_os_string(), "sandbox-host".into()];
    #[cfg(debug_assertions)]
    if let Some(posture) = super::failpoint::believed_posture() {
        return Ok(LandlockSandbox::believing(posture, host_command, run_dir));
    }
    Ok(LandlockSandbox::new(host_command, run_dir))
}

/// The application over opened records.
pub(super) fn assemble(found: &Found, records: &Records, read_only: Option<String>) -> Outcome<(Arc<Runner>, Arc<App>)> {
    let config = OperatorConfig::load(&found.dirs.config_file())?;
    let agents = Arc::new(Agents::new(config.agents.clone(), &found.dirs));
    let [run_dir, homes] = private_dirs(found);
    if read_only.is_none() {
        super::dirs::private_dir(&run_dir)?;
        super::dirs::private_dir(&homes)?;
    }
    let listing = Arc::clone(&found.git);
    let sandbox = Arc::new(sandbox(run_dir.clone())?);
    let launcher = crate::agents::launcher(Arc::clone(&sandbox), run_dir, homes);
    let ports = Ports {
        recorder: Arc::clone(&records.recorder) as Arc<dyn Recorder>,
        artifacts: Arc::clone(&records.artifacts),
        locus: Arc::clone(&records.locus) as _,
        store: Arc::clone(&records.store),
        version: Arc::clone(&found.git) as _,
        sandbox: Arc::clone(&sandbox) as _,
        search: Arc::new(RipgrepSearch::new(Arc::new(move |worktree: &WorktreeBinding| listing.list_files(worktree)))),
        files: Arc::new(WorktreeFs),
        sessions: Arc::new(Backends::new(AcpBackend::new(Arc::clone(&launcher), agents.acp_options()), PtyBackend::new(Arc::clone(&launcher)), launcher)),
        agents: agents as Arc<dyn AgentCatalogue>,
        clock: Arc::clone(&found.clock),
    };
    let job_config = Config { read_only, ..job_config(found, records.project_id, records.instance_id, &config) };
    let runner = Runner::new(Arc::new(Context::new(ports, job_config)));
    let app = App::new(Arc::clone(&runner), MachineFacts { checks: super::doctor::machine_checks(found) })?;
    Ok((runner, app))
}

fn job_config(found: &Found, project_id: ProjectId, instance_id: InstanceId, config: &OperatorConfig) -> Config {
    let mut protected = config.policy.protected_branches.clone();
    if let HeadState::Branch { name, .. } | HeadState::Unborn { name } = &found.facts.head {
        protected.push(name.clone());
    }
    for usual in ["main", "master"] {
        protected.push(usual.to_owned());
    }
    protected.sort();
    protected.dedup();
    let recipes: BTreeMap<String, Recipe> = config
        .recipes
        .iter()
        .map(|(name, entry)| {
            let recipe = Recipe {
                name: name.clone(),
                argv: entry.argv.clone(),
                timeout_ms: entry.timeout_ms,
                writes: entry.writes,
                read_paths: entry.read_paths.clone(),
                env: entry.env.clone(),
            };
            (name.clone(), recipe)
        })
        .collect();
    Config {
        project_id,
        project_name: found.name(),
        instance_id,
        root_path: found.root.clone(),
        common_dir: found.facts.common_dir.clone(),
        state_dir: found.state_dir.clone(),
        worktrees_path: worktrees_path(&found.root),
        protected_branches: protected,
        recipes,
        ungated: config.policy.ungated,
        limits: config.limits.of_jobs(),
        budgets: dcc_jobs::budgets::BudgetConfig {
            project: config.budgets.project.clone(),
            packet: config.budgets.packet.clone(),
            session: config.budgets.session.clone(),
            prices: config.budgets.prices.clone(),
        },
        read_only: None,
    }
}

/// `../<repo>.wt`, never inside the repository.
fn worktrees_path(root: &std::path::Path) -> PathBuf {
    let name = root.file_name().map_or_else(|| "repository".into(), std::ffi::OsStr::to_os_string);
    let mut dir = name;
    dir.push(".wt");
    root.parent().unwrap_or(root).join(dir)
}

fn first_events(runner: &Runner, found: &Found, is_new: bool) -> Outcome<()> {
    if !is_new {
        return Ok(());
    }
    // What is accepted at registration, so that a change can be shown against it.
    let config = runner.cx.ports.version.config_facts(&found.facts.common_dir, None)?;
    let keys = dcc_core::canonical::to_vec(&config.keys).and_then(|bytes| runner.cx.ports.artifacts.put(&bytes))?;
    let payload = json!({ "root_path": found.main.worktree_path, "object_format": found.facts.object_format, "git_version": found.facts.git_version, "config_digest": config.digest, "config_keys": keys });
    let event = NewEvent::new(EventCode::ProjectCreated, Actor::SYSTEM, payload).once("project");
    runner.cx.journal.append(vec![event]).map(|_| ())
}

/// A store that is new, was corrupt, or lags is fed from canon before anybody looks at it.
fn settle_store(runner: &Runner, opened: &Opened) -> Outcome<String> {
    Ok(match opened {
        Opened::Existing => "ok".to_owned(),
        Opened::Fresh => {
            runner.cx.journal.rebuild()?;
            "made from canon".to_owned()
        }
        Opened::RebuiltCorrupt { moved_to } => {
            let event = NewEvent::new(EventCode::RebuildFinished, Actor::SYSTEM, json!({ "why": "devcc.db was corrupt", "moved_to": moved_to.to_string_lossy() }));
            runner.cx.journal.append(vec![event])?;
            runner.cx.journal.rebuild()?;
            let said = format!("devcc.db was corrupt; it was moved to {} and made anew from canon", moved_to.display());
            super::say(&said);
            said
        }
        Opened::ReadOnly | Opened::InMemory | Opened::ReadOnlyNewer { .. } => return Err(Failure::engine("a project that is worked on was opened for reading")),
    })
}

/// The main worktree is a workspace of kind root; registering it changes nothing on disk.
fn register_root(runner: &Runner, found: &Found) -> Outcome<()> {
    let cx = &runner.cx;
    let recorder = cx.ports.recorder.as_ref();
    if ledger::workspaces(recorder)?.iter().any(|w| w.kind == WorkspaceKind::Root) {
        return Ok(());
    }
    let now = cx.now();
    let (branch, base_oid) = match &found.facts.head {
        HeadState::Branch { name, oid } => (Some(name.clone()), Some(oid.clone())),
        HeadState::Unborn { name } => (Some(name.clone()), None),
        HeadState::Detached { oid } => (None, Some(oid.clone())),
    };
    let workspace = Workspace {
        workspace_id: fresh::<WorkspaceId>(cx.ports.clock.as_ref()),
        project_id: cx.config.project_id,
        kind: WorkspaceKind::Root,
        role: Role::Human,
        status: WorkspaceStatus::Active,
        binding: found.main.clone(),
        branch: branch.clone(),
        base_branch: branch,
        base_oid: base_oid.clone(),
        wp_id: None,
        mt_id: None,
        created_at: now,
        updated_at: now,
        last_opened_at: None,
        hinted_wp_id: None,
    };
    if !recorder.is_writable() {
        return Err(Failure::new(Code::Recorder, "the recorder is read only"));
    }
    let correlation = Correlation { workspace_id: Some(workspace.workspace_id), ..Correlation::default() };
    let event = NewEvent::new(EventCode::WorkspaceImported, Actor::SYSTEM, json!({ "workspace": workspace })).about(&correlation).once("root-workspace");
    cx.journal.append(vec![event])?;
    let said = dcc_jobs::takeover::one(cx, &workspace)?;
    said.iter().for_each(|said| super::say(said));
    let workspace = ledger::workspace(recorder, workspace.workspace_id)?;
    cx.ports.store.write_workspace_json(&workspace, base_oid.as_ref())?;
    Ok(())
}
