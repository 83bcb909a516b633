//! One file per job kind. A kind plans (reads only), applies (with a clearance) and recovers (asks the world).

mod accept_edit;
mod capability_request;
mod commit;
mod create_worktree;
mod fs_write;
mod locus;
mod params;
mod recipe;
mod session_run;
mod session_start;
mod simple;

use serde_json::{Map, Value};

use dcc_core::event::NewEvent;
use dcc_core::gate::{self, Cleared, Verdict};
use dcc_core::ids::Sha256Hex;
use dcc_core::job::{Bindings, Job};
use dcc_core::op::{self, Op};
use dcc_core::plan::{Frozen, Plan, PlanBody, Precondition, Preview, Requirement};
use dcc_core::{Failure, Outcome};

use crate::context::Context;

pub use session_run::end_turn;

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
    /// True when apply may take longer than a request should: it then runs on its own thread.
    fn runs_long(&self) -> bool {
        false
    }
    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<Self::Plan>) -> Outcome<Done>;
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
    fn runs_long(&self) -> bool;
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
    fn runs_long(&self) -> bool {
        JobKind::runs_long(self)
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
        Op::VersionCommit => &commit::Commit,
        Op::SandboxRunRecipe => &recipe::RunRecipe,
        Op::SessionStart => &session_start::StartSession,
        Op::SessionRun => &session_run::RunTurn,
        Op::CapabilityRequest => &capability_request::RequestCapability,
        Op::FsWrite => &fs_write::WriteFile,
        Op::WorkspaceOpen | Op::WorkspaceClose | Op::WorkspaceArchive | Op::WorkspaceLink | Op::WorkspaceUnlink | Op::SessionSend
        | Op::SessionCancel | Op::SessionClose | Op::GrantRevoke | Op::StoreRebuild | Op::LocusSyncTaskBoard => &simple::Simple,
        Op::LocusAcceptEdit => &accept_edit::SettleEdit,
        _ if op.as_str().starts_with("locus.") => &locus::ChangeLocus,
        _ => return Err(op::not_built(op)),
    })
}

/// Operations that only DCC itself submits.
pub(crate) fn is_internal(op: Op) -> bool {
    matches!(op, Op::SessionRun | Op::CapabilityRequest | Op::FsWrite | Op::ApprovalDecide)
}
