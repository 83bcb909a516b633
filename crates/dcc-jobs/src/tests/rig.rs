//! A project on disk with one worktree, opened as often as a test wants.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use dcc_core::event::{Correlation, Event, EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::plans::{CommandPlan, RecipePlan};
use dcc_core::ports::{Clock, EventFilter, RunningCommand, Sandbox, VersionEngine as _, fresh};
use dcc_core::principal::{Actor, Role, Surface};
use dcc_core::session::{Posture, Session, SessionState, StateReason};
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, InstanceId, JobId, Outcome, ProjectId, SessionId, Sha256Hex, Timestamp, WorkspaceId, WpId};
use dcc_engines::files::WorktreeFs;
use dcc_engines::git::{GitCli, GitOptions};
use dcc_engines::search::RipgrepSearch;
use serde_json::{Value, json};

use super::puppet::{AnyAgent, PATIENCE, Puppets};
use crate::context::{Config, Context, Limits, Ports};
use crate::ledger;
use crate::runner::Runner;

pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Timestamp(i64::try_from(since.as_millis()).expect("in range"))
    }
    fn fresh_id(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

/// A machine; puppets are no processes, and nothing is run here.
struct Machine {
    confines: bool,
}

impl Sandbox for Machine {
    fn posture(&self) -> Posture {
        Posture { filesystem: self.confines, network: self.confines, ..Posture::default() }
    }
    fn resolve(&self, program: &str) -> Outcome<(String, Sha256Hex)> {
        Err(Failure::new(Code::NotFound, format!("no program {program} in this test")))
    }
    fn start_recipe(&self, _cleared: Cleared<RecipePlan>) -> Outcome<Box<dyn RunningCommand>> {
        Err(Failure::engine("nothing is run in this test"))
    }
    fn start(&self, _cleared: Cleared<CommandPlan>) -> Outcome<Box<dyn RunningCommand>> {
        Err(Failure::engine("nothing is run in this test"))
    }
    fn end_run(&self, _job_id: JobId) -> u32 {
        0
    }
}

/// The place; it outlives the processes that open it.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub workspace_id: WorkspaceId,
    project_id: ProjectId,
    git: Arc<GitCli>,
    confines: bool,
}

/// The project as one process has it.
pub struct Rig {
    pub runner: Arc<Runner>,
    pub puppets: Arc<Puppets>,
    pub place: Arc<Place>,
}

fn git(at: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .current_dir(at)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|p| ("PATH", p)))
        .env("HOME", at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|k| (k, "Test Person")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|k| (k, "test@example.invalid")))
        .args(arguments)
        .output()
        .expect("git starts");
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Place {
    fn new(confines: bool) -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let repo = dir.path().join("repo");
        for sub in ["repo", "private"] {
            std::fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        std::fs::write(repo.join("a.txt"), "one\n").expect("a file");
        git(&repo, &["init", "--quiet", "--initial-branch=main"]);
        git(&repo, &["add", "--all"]);
        git(&repo, &["commit", "--quiet", "-m", "First"]);
        git(&repo, &["worktree", "add", "--quiet", "-b", "work", "../work"]);
        let engine = GitCli::new(GitOptions { git_program: None, operator_home: None, private_dir: dir.path().join("private") }).expect("git");
        Arc::new(Self { dir, workspace_id: fresh(&RealClock), project_id: fresh(&RealClock), git: Arc::new(engine), confines })
    }
    pub fn worktree(&self) -> PathBuf {
        self.dir.path().join("work")
    }
    pub fn git(&self, arguments: &[&str]) {
        git(&self.worktree(), arguments);
    }
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("repo/.handshake")
    }
}

impl Rig {
    /// A fresh place with its first process.
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::on(&Place::new(true), limits)
    }

    /// On a machine that has no sandbox, where nothing is waived yet.
    pub fn unconfined(limits: Limits) -> Self {
        Self::on(&Place::new(false), limits)
    }

    fn on(place: &Arc<Place>, limits: Limits) -> Self {
        let rig = Self::open(place, limits);
        let facts = rig.place.git.inspect(&rig.place.dir.path().join("repo")).expect("a repository");
        let binding = rig.place.git.bind(&facts.common_dir, &rig.place.worktree().to_string_lossy()).expect("a worktree");
        let now = RealClock.now();
        let workspace = Workspace {
            workspace_id: rig.place.workspace_id,
            project_id: rig.place.project_id,
            kind: WorkspaceKind::Worktree,
            role: Role::Coder,
            status: WorkspaceStatus::Active,
            binding,
            branch: Some("refs/heads/work".into()),
            base_branch: None,
            base_oid: None,
            wp_id: None,
            mt_id: None,
            created_at: now,
            updated_at: now,
            last_opened_at: None,
            hinted_wp_id: None,
        };
        let about = Correlation { workspace_id: Some(workspace.workspace_id), ..Correlation::default() };
        rig.runner.cx.journal.append(vec![NewEvent::new(EventCode::WorkspaceCreated, Actor::SYSTEM, json!({ "workspace": workspace })).about(&about)]).expect("recorded");
        rig
    }

    /// A process that opens the place and serves.
    pub fn open(place: &Arc<Place>, limits: Limits) -> Self {
        let state_dir = place.state_dir();
        for sub in ["artifacts", "gov", "tmp"] {
            std::fs::create_dir_all(state_dir.join(sub)).expect("a directory");
        }
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let instance_id: InstanceId = fresh(&RealClock);
        let recorder = Arc::new(dcc_recorder::SqliteRecorder::open(state_dir.join("recorder.db"), place.project_id, instance_id, Arc::clone(&clock)).expect("a recorder"));
        let artifacts = Arc::new(dcc_recorder::FileArtifacts::open(state_dir.join("artifacts")).expect("artifacts"));
        let locus = dcc_locus::LocusStore::open(&state_dir.join("gov"), Arc::clone(&recorder) as _, Arc::clone(&artifacts) as _).expect("packets");
        let (store, _) = dcc_store::SqliteStore::open(&state_dir.join("devcc.db"), place.project_id, Arc::clone(&clock)).expect("a store");
        let puppets = Arc::new(Puppets::default());
        let facts = place.git.inspect(&place.dir.path().join("repo")).expect("a repository");
        let ports = Ports {
            recorder,
            artifacts,
            locus: Arc::new(locus),
            store: Arc::new(store),
            version: Arc::clone(&place.git) as _,
            sandbox: Arc::new(Machine { confines: place.confines }),
            search: Arc::new(RipgrepSearch::new(Arc::new(|_| Ok(Vec::new())))),
            files: Arc::new(WorktreeFs),
            sessions: Arc::clone(&puppets) as _,
            agents: Arc::new(AnyAgent),
            clock,
        };
        let config = Config {
            project_id: place.project_id,
            project_name: "test".into(),
            instance_id,
            root_path: place.dir.path().join("repo"),
            common_dir: facts.common_dir,
            state_dir,
            worktrees_path: place.dir.path().join("repo.wt"),
            protected_branches: vec!["refs/heads/main".into()],
            recipes: std::collections::BTreeMap::new(),
            budgets: crate::budgets::BudgetConfig::default(),
            limits,
            ungated: crate::observe::Ungated::default(),
            read_only: None,
        };
        let runner = Runner::new(Arc::new(Context::new(ports, config)));
        runner.recover(true).expect("recovery");
        Self { runner, puppets, place: Arc::clone(place) }
    }

    /// This process is killed; another takes the place up. The old one is kept from touching anything.
    pub fn killed(self) -> Self {
        let limits = self.runner.cx.config.limits.clone();
        self.killed_with(limits)
    }
    pub fn killed_with(self, limits: Limits) -> Self {
        self.puppets.die();
        Self::open(&self.place, limits)
    }

    pub fn operator() -> Actor {
        Actor::operator(Surface::Bearer)
    }

    /// Submits as the operator and waits while the job runs; what waits for a slot or a person comes back as it is.
    pub fn act(&self, op: Op, params: Value, bindings: Bindings) -> Job {
        let job = self.runner.submit(Self::operator(), JobRequest { op, params, bindings, idempotency_key: None }).expect("accepted");
        if job.state == JobState::Running { self.runner.wait(job.job_id, Some(PATIENCE)).expect("an end") } else { job }
    }
    /// As [`Rig::act`] on a thread of its own.
    pub fn begin(self: &Arc<Self>, op: Op, params: Value, bindings: Bindings) -> std::thread::JoinHandle<Job> {
        let rig = Arc::clone(self);
        std::thread::spawn(move || rig.act(op, params, bindings))
    }
    pub fn of(id: SessionId) -> Bindings {
        Bindings { session_id: Some(id), ..Bindings::default() }
    }
    /// An act on a session that must succeed.
    pub fn ok(&self, op: Op, id: SessionId, params: Value) -> Job {
        let job = self.act(op, params, Self::of(id));
        assert_eq!(job.state, JobState::Completed, "{op}: {:?}", job.failure);
        job
    }
    /// An act on a session that must be refused; its code and message.
    pub fn refused(&self, op: Op, id: SessionId, params: Value) -> (dcc_core::Code, String) {
        let job = self.act(op, params, Self::of(id));
        let failure = job.failure.unwrap_or_else(|| panic!("{op} was not refused: {:?}", job.state));
        (failure.code, failure.message)
    }
    pub fn start_job(&self, params: Value) -> Job {
        self.act(Op::SessionStart, params, Bindings { workspace_id: Some(self.place.workspace_id), ..Bindings::default() })
    }
    /// A session of the puppet agent.
    pub fn start(&self, prompt: Option<&str>) -> SessionId {
        let job = self.start_job(json!({ "agent": "puppet", "prompt": prompt }));
        assert_eq!(job.state, JobState::Completed, "{:?}", job.failure);
        job.bindings.session_id.expect("a session")
    }
    pub fn send(&self, id: SessionId, text: &str) -> Job {
        self.ok(Op::SessionSend, id, json!({ "text": text }))
    }

    pub fn session(&self, id: SessionId) -> Session {
        ledger::session(self.runner.cx.ports.recorder.as_ref(), id).expect("a session")
    }
    /// As the store shows it, with counts.
    pub fn shown(&self, id: SessionId) -> Session {
        self.runner.cx.ports.store.session(id).expect("readable").expect("a session")
    }
    pub fn state(&self, id: SessionId) -> (SessionState, StateReason) {
        let session = self.session(id);
        (session.state, session.state_reason)
    }
    pub fn until<T>(&self, what: &str, ask: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask() {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} did not happen");
            // tidy, allowed: the pause between two looks; the wait has a deadline
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
    pub fn until_state(&self, id: SessionId, state: SessionState, reason: StateReason) {
        let deadline = Instant::now() + PATIENCE;
        while self.state(id) != (state, reason) {
            assert!(Instant::now() < deadline, "{state:?} {reason:?} did not come: {:?}", self.state(id));
            // tidy, allowed: the pause between two looks; the wait has a deadline
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
    /// Waits until the session's agents heard exactly this.
    pub fn until_heard(&self, id: SessionId, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while self.puppets.heard(id) != words {
            assert!(Instant::now() < deadline, "not {words:?} but {:?}", self.puppets.heard(id));
            // tidy, allowed: the pause between two looks; the wait has a deadline
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
    pub fn job(&self, id: dcc_core::JobId) -> Job {
        ledger::job(self.runner.cx.ports.recorder.as_ref(), id).expect("a job")
    }
    pub fn events(&self, id: SessionId, code: EventCode) -> Vec<Event> {
        ledger::read_all(self.runner.cx.ports.recorder.as_ref(), EventFilter { session_id: Some(id), codes: vec![code], ..EventFilter::default() }).expect("events")
    }
    /// The steering words of a session, in order.
    pub fn steers(&self, id: SessionId) -> Vec<String> {
        self.events(id, EventCode::SessionSteered).iter().map(|e| e.payload["steer"].as_str().unwrap_or_default().to_owned()).collect()
    }
    /// Approves the one pending request, once.
    pub fn approve(&self) {
        let pending = self.until("a request", || self.pending().first().copied());
        let request = dcc_core::approval::DecisionRequest { approve: true, scope: dcc_core::approval::Scope::Once, reason: None, decider: Self::operator(), nonce_sha256: None, preview_digest: None, typed: None };
        self.runner.decide(pending, request).expect("decided");
    }
    pub fn pending(&self) -> Vec<dcc_core::ApprovalId> {
        let pending = self.runner.cx.ports.store.approvals(Some(dcc_core::approval::ApprovalStatus::Pending), 0).expect("a list");
        pending.iter().map(|a| a.approval_id).collect()
    }
    /// Binds the worktree to a packet, as if it had been linked.
    pub fn link(&self, wp: Option<&str>) {
        let wp_id = wp.map(|w| WpId::parse(w).expect("an id"));
        let about = Correlation { workspace_id: Some(self.place.workspace_id), ..Correlation::default() };
        let event = NewEvent::new(EventCode::WorkspaceLinked, Actor::SYSTEM, json!({ "wp_id": wp_id, "mt_id": null })).about(&about);
        self.runner.cx.journal.append(vec![event]).expect("recorded");
    }
}
