//! One file per job kind. A kind plans (reads only), applies (with a clearance) and recovers (asks the world).

mod accept_config;
mod accept_edit;
mod agent_login;
mod budget_set;
mod capability_request;
mod commit;
mod create_worktree;
mod fs_write;
mod fulfilled;
mod locus;
mod params;
mod preamble;
mod handoff_write;
mod launch;
mod mend;
mod recipe;
mod repair;
mod repair_json;
mod run_command;
mod session_attach;
mod session_cancel;
mod session_close;
mod session_pause;
mod session_resume;
mod session_retry;
mod session_route;
mod session_run;
mod session_send;
mod session_spawn;
mod session_start;
mod simple;
mod waiver;

use serde_json::{Map, Value, json};

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::{self, Cleared, Verdict};
use dcc_core::ids::{SessionId, Sha256Hex};
use dcc_core::job::{Bindings, Job};
use dcc_core::op::{self, Op};
use dcc_core::plan::{Frozen, Plan, PlanBody, Precondition, Preview, Requirement};
use dcc_core::session::Run;
use dcc_core::{Failure, Outcome};

use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(crate) use capability_request::asked_by;
pub use session_run::end_turn;
pub use simple::would_archive;

/// A typed plan with what belongs to the job but not to the plan.
pub(crate) struct Planned<P> {
    pub body: P,
    pub engine: &'static str,
    pub inputs: Vec<Sha256Hex>,
    /// The job's bindings, completed by what planning found out.
    pub bindings: Bindings,
    /// The requester's own words for the approval; never in the plan.
    pub claim: Option<String>,
}

/// What an effect left.
#[derive(Default)]
pub struct Effect {
    /// Ids and facts for the flat job.
    pub result: Map<String, Value>,
    pub outputs: Vec<Sha256Hex>,
    /// Domain events to be written together with the job's end.
    pub events: Vec<NewEvent>,
    /// True ends the job as completed_with_issues.
    pub with_issues: bool,
}

impl Effect {
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.result.insert(key.to_owned(), value.into());
        self
    }
}

/// How apply ended.
pub(crate) enum Done {
    Finished(Effect),
    /// The job stays running; somebody else finishes it (a turn ends with the agent).
    Continues,
}

/// What recovery found in the world.
pub(crate) enum Recovered {
    Finished(Effect),
    /// Proven absent: nothing was done.
    Absent,
    Unknown(String),
}

/// What a kind has to hold while it checks and applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    None,
    Locus,
    Git,
}

/// One kind of job, typed.
pub(crate) trait JobKind: Send + Sync {
    type Plan: PlanBody;
    /// Reads only. Every parameter is resolved here.
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<Self::Plan>>;
    fn lock(&self) -> Lock {
        Lock::None
    }
    /// False for what settles the repository's configuration itself, or writes no git.
    fn needs_accepted_config(&self) -> bool {
        self.lock() == Lock::Git
    }
    /// True when apply may take longer than a request should: it then runs on its own thread.
    fn runs_long(&self) -> bool {
        false
    }
    /// What it takes of the limits on runs; none for what is no run (SESSIONS 3).
    fn run(&self, _cx: &Context, _job: &Job, _body: &Self::Plan) -> Outcome<Option<Run>> {
        Ok(None)
    }
    /// Recorded together with the beginning of its wait for a slot.
    fn waits(&self, _cx: &Context, _job: &Job, _body: &Self::Plan) -> Outcome<Vec<NewEvent>> {
        Ok(Vec::new())
    }
    /// It ended without having begun.
    fn gave_up(&self, _cx: &Context, _job: &Job, _failure: &Failure) -> Outcome<()> {
        Ok(())
    }
    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<Self::Plan>) -> Outcome<Done>;
    /// Its end is on record, with what it did.
    fn finished(&self, _cx: &Context) {}
    /// Only called for a job that was running when its process ended.
    fn recover(&self, cx: &Context, job: &Job, body: &Self::Plan) -> Outcome<Recovered>;
}

/// A frozen plan with its type erased; what the runner handles.
pub(crate) struct Prepared {
    pub plan: Value,
    pub plan_digest: Sha256Hex,
    pub preview: Preview,
    pub preview_digest: Sha256Hex,
    pub requirement: Requirement,
    pub preconditions: Vec<Precondition>,
    pub inputs: Vec<Sha256Hex>,
}

/// Object-safe face of [`JobKind`].
pub(crate) trait Kind: Send + Sync {
    fn prepare(&self, cx: &Context, job: &Job) -> Outcome<(Prepared, Bindings, Option<String>)>;
    /// Takes a stored plan up again.
    fn reload(&self, plan: Value) -> Outcome<Prepared>;
    fn lock(&self) -> Lock;
    fn needs_accepted_config(&self) -> bool;
    fn runs_long(&self) -> bool;
    fn run(&self, cx: &Context, job: &Job, plan: &Value) -> Outcome<Option<Run>>;
    fn waits(&self, cx: &Context, job: &Job, plan: &Value) -> Outcome<Vec<NewEvent>>;
    fn gave_up(&self, cx: &Context, job: &Job, failure: &Failure) -> Outcome<()>;
    fn finished(&self, cx: &Context);
    fn execute(&self, cx: &Context, job: &Job, plan: Value, verdict: &Verdict) -> Outcome<Done>;
    fn recover(&self, cx: &Context, job: &Job, plan: Value) -> Outcome<Recovered>;
}

impl<K: JobKind> Kind for K {
    fn prepare(&self, cx: &Context, job: &Job) -> Outcome<(Prepared, Bindings, Option<String>)> {
        let planned = self.plan(cx, job)?;
        let frozen = Frozen::freeze(job.op, planned.engine, planned.inputs, planned.body)?;
        Ok((erase(&frozen)?, planned.bindings, planned.claim))
    }
    fn reload(&self, plan: Value) -> Outcome<Prepared> {
        erase(&thaw::<K::Plan>(plan)?)
    }
    fn lock(&self) -> Lock {
        JobKind::lock(self)
    }
    fn needs_accepted_config(&self) -> bool {
        JobKind::needs_accepted_config(self)
    }
    fn runs_long(&self) -> bool {
        JobKind::runs_long(self)
    }
    fn run(&self, cx: &Context, job: &Job, plan: &Value) -> Outcome<Option<Run>> {
        JobKind::run(self, cx, job, thaw::<K::Plan>(plan.clone())?.body())
    }
    fn waits(&self, cx: &Context, job: &Job, plan: &Value) -> Outcome<Vec<NewEvent>> {
        JobKind::waits(self, cx, job, thaw::<K::Plan>(plan.clone())?.body())
    }
    fn gave_up(&self, cx: &Context, job: &Job, failure: &Failure) -> Outcome<()> {
        JobKind::gave_up(self, cx, job, failure)
    }
    fn finished(&self, cx: &Context) {
        JobKind::finished(self, cx);
    }
    fn execute(&self, cx: &Context, job: &Job, plan: Value, verdict: &Verdict) -> Outcome<Done> {
        let cleared = gate::clear(thaw::<K::Plan>(plan)?, verdict)?;
        self.apply(cx, job, cleared)
    }
    fn recover(&self, cx: &Context, job: &Job, plan: Value) -> Outcome<Recovered> {
        JobKind::recover(self, cx, job, thaw::<K::Plan>(plan)?.body())
    }
}

fn thaw<P: PlanBody>(plan: Value) -> Outcome<Frozen<P>> {
    let plan: Plan<P> = serde_json::from_value(plan).map_err(|e| Failure::new(dcc_core::Code::Integrity, format!("the stored plan cannot be read: {e}")))?;
    Frozen::from_plan(plan)
}

fn erase<P: PlanBody>(frozen: &Frozen<P>) -> Outcome<Prepared> {
    let plan = serde_json::to_value(frozen.plan()).map_err(|e| Failure::engine(format!("the plan cannot be written as JSON: {e}")))?;
    Ok(Prepared {
        plan,
        plan_digest: frozen.plan_digest(),
        preview: frozen.preview().clone(),
        preview_digest: frozen.preview_digest(),
        requirement: frozen.plan().requirement.clone(),
        preconditions: frozen.plan().preconditions.clone(),
        inputs: frozen.plan().inputs.clone(),
    })
}

/// The kind behind an operation. Closed: an operation without one is refused by name.
pub(crate) fn kind_of(op: Op) -> Outcome<&'static dyn Kind> {
    if !op.is_built() {
        return Err(op::not_built(op));
    }
    Ok(match op {
        Op::WorkspaceCreate => &create_worktree::CreateWorktree,
        Op::WorkspaceRepair => &repair::RepairWorkspace,
        Op::BudgetSet => &budget_set::SetBudget,
        Op::VersionCommit => &commit::Commit,
        Op::SandboxRunRecipe => &recipe::RunRecipe,
        Op::SandboxRunCommand => &run_command::RunCommand,
        Op::SandboxWaive => &waiver::Waive,
        Op::SandboxRevoke => &waiver::Revoke,
        Op::AgentLogin => &agent_login::Login,
        Op::SessionStart => &session_start::StartSession,
        Op::SessionRun => &session_run::RunTurn,
        Op::SessionAttach => &session_attach::Attach,
        Op::SessionSend => &session_send::Send,
        Op::SessionPause => &session_pause::Pause,
        Op::SessionResume => &session_resume::Resume,
        Op::SessionRetry => &session_retry::Retry,
        Op::SessionSpawn => &session_spawn::Spawn,
        Op::SessionRoute => &session_route::Route,
        Op::SessionCancel => &session_cancel::Cancel,
        Op::SessionClose => &session_close::Close,
        Op::HandoffWrite => &handoff_write::WriteHandoff,
        Op::CapabilityRequest => &capability_request::RequestCapability,
        Op::FsWrite => &fs_write::WriteFile,
        Op::WorkspaceOpen | Op::WorkspaceClose | Op::WorkspaceArchive | Op::WorkspaceLink | Op::WorkspaceUnlink => &simple::Simple(Lock::Git),
        Op::GrantRevoke | Op::StoreRebuild | Op::LocusSyncTaskBoard => &simple::Simple(Lock::None),
        Op::LocusAcceptEdit => &accept_edit::SettleEdit,
        _ if op.as_str().starts_with("locus.") => &locus::ChangeLocus,
        _ => return Err(op::not_built(op)),
    })
}

/// A run that waited for a slot waits no longer.
fn drop_run(cx: &Context, job: &Job, id: SessionId) -> Outcome<()> {
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if session.queued_run.is_none_or(|q| q.job_id != job.job_id) {
        return Ok(());
    }
    let mut dropped = NewEvent::new(EventCode::RunDropped, job.actor, json!({})).about(&correlation(job));
    dropped.correlation.session_id = Some(id);
    cx.journal.append(vec![dropped]).map(drop)
}

/// Operations that only DCC itself submits.
pub(crate) fn is_internal(op: Op) -> bool {
    matches!(op, Op::SessionRun | Op::CapabilityRequest | Op::FsWrite | Op::ApprovalDecide)
}
