//! Gathers what the gates look at, from canon.

use dcc_core::approval::{Approval, Grant, Scope};
use dcc_core::gate::{self, Facts, Verdict};
use dcc_core::ids::{Sha256Hex, WorkspaceId, WpId};
use dcc_core::job::Job;
use dcc_core::locus::scope;
use dcc_core::plan::{IntentClass, Requirement};
use dcc_core::principal::{Principal, Role};
use dcc_core::session::Session;
use dcc_core::{Outcome, Timestamp};

use crate::context::Context;
use crate::ledger;

/// Owned facts of one decision.
pub struct Gathered {
    pub role: Role,
    pub model: Option<String>,
    /// A spawned session asks.
    pub is_child: bool,
    own_workspace_id: Option<WorkspaceId>,
    wp_id: Option<WpId>,
    foreign_packet: Option<WpId>,
    out_of_scope: Vec<String>,
    grants: Vec<Grant>,
    over_budget: Option<String>,
    approval: Option<Approval>,
    now: Timestamp,
}

/// Reads role, workspace, scope, grants and the job's decided approval.
pub fn gather(cx: &Context, job: &Job, requirement: &Requirement) -> Outcome<Gathered> {
    let recorder = cx.ports.recorder.as_ref();
    let now = cx.now();
    let session = match job.actor.principal {
        Principal::Agent { session_id } => Some(ledger::session(recorder, session_id)?),
        Principal::Operator | Principal::System => None,
    };
    let workspace = requirement.workspace_id.map(|id| ledger::workspace(recorder, id)).transpose()?;
    let wp_id = workspace.and_then(|w| w.wp_id);
    let globs = match &wp_id {
        Some(id) if !requirement.paths.is_empty() => cx.ports.locus.packet(id)?.map(|e| e.record.in_scope_paths).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut outside = scope::outside(&globs, &requirement.paths)?;
    outside.extend(outside_of_session(cx, session.as_ref(), requirement)?);
    let mut out_of_scope: Vec<String> = outside.iter().map(dcc_core::RepoPath::display).collect();
    out_of_scope.sort();
    out_of_scope.dedup();
    // An approval still pending is not a decision: the job parks or is parked already.
    let approval = match job.approval_id {
        Some(id) => Some(ledger::approval(recorder, id)?),
        None => None,
    };
    let grants = match requirement.workspace_id {
        Some(id) if approval.is_none() => ledger::grants_in_time(recorder, id, now)?,
        _ => Vec::new(),
    };
    let is_child = session.as_ref().is_some_and(|s| s.parent_session_id.is_some());
    // What was granted to the others in a worktree does not pass to a child; its own grants are bound to it or to its turn.
    let grants = grants.into_iter().filter(|g| !is_child || g.scope != Scope::Workspace).collect();
    Ok(Gathered {
        is_child,
        role: session.as_ref().map_or(Role::Human, |s| s.role),
        model: session.as_ref().and_then(|s| s.model_id.clone()),
        own_workspace_id: session.as_ref().and_then(|s| s.workspace_id),
        wp_id,
        foreign_packet: foreign_packet(job, session.as_ref()),
        out_of_scope,
        grants,
        over_budget: over_budget(cx, job, requirement)?,
        approval,
        now,
    })
}

/// Paths outside what the session may write, or any session it descends from: a child is never wider, whatever its own
/// globs say.
fn outside_of_session(cx: &Context, session: Option<&Session>, requirement: &Requirement) -> Outcome<Vec<dcc_core::RepoPath>> {
    let mut outside = Vec::new();
    let mut next = session.filter(|_| !requirement.paths.is_empty()).cloned();
    while let Some(session) = next {
        outside.extend(scope::outside(&session.paths, &requirement.paths)?);
        next = session.parent_session_id.map(|parent| ledger::session(cx.ports.recorder.as_ref(), parent)).transpose()?;
    }
    Ok(outside)
}

/// The packet that a locus operation changes, when the acting session is bound to another or to none.
fn foreign_packet(job: &Job, session: Option<&Session>) -> Option<WpId> {
    let changed = job.bindings.wp_id.as_ref().filter(|_| job.op.as_str().starts_with("locus."))?;
    let session = session?;
    (session.wp_id.as_ref() != Some(changed)).then(|| changed.clone())
}

/// What an agent would do next costs something: a turn, or a start that leads to one.
fn over_budget(cx: &Context, job: &Job, requirement: &Requirement) -> Outcome<Option<String>> {
    match requirement.intent {
        IntentClass::SessionTurn => crate::budgets::exceeded(cx, job.bindings.session_id, job.bindings.wp_id.as_ref()),
        IntentClass::SessionStart | IntentClass::SessionSpawn => {
            // What an agent asks for is paid from its own session's limits.
            let asking = match job.actor.principal {
                Principal::Agent { session_id } => Some(session_id),
                Principal::Operator | Principal::System => None,
            };
            crate::budgets::exceeded(cx, asking, job.bindings.wp_id.as_ref())
        }
        _ => Ok(None),
    }
}

/// Runs the gates over the gathered facts.
pub fn decide(cx: &Context, job: &Job, requirement: &Requirement, plan_digest: Sha256Hex, gathered: &Gathered) -> Verdict {
    gate::evaluate(&Facts {
        job_id: job.job_id,
        root_job_id: job.root_job_id,
        actor: job.actor,
        role: gathered.role,
        requirement,
        plan_digest,
        own_workspace_id: gathered.own_workspace_id,
        model: gathered.model.as_deref(),
        wp_id: gathered.wp_id.as_ref(),
        foreign_packet: gathered.foreign_packet.as_ref(),
        protected_branches: &cx.config.protected_branches,
        out_of_scope: &gathered.out_of_scope,
        policy: &cx.policy,
        grants: &gathered.grants,
        over_budget: gathered.over_budget.as_deref(),
        approval: gathered.approval.as_ref(),
        now: gathered.now,
    })
}
