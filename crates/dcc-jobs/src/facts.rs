//! Gathers what the gates look at, from canon.

use dcc_core::approval::{Approval, Grant};
use dcc_core::gate::{self, Facts, Verdict};
use dcc_core::ids::{Sha256Hex, WorkspaceId, WpId};
use dcc_core::job::Job;
use dcc_core::locus::scope;
use dcc_core::plan::Requirement;
use dcc_core::principal::{Principal, Role};
use dcc_core::{Outcome, Timestamp};

use crate::context::Context;
use crate::ledger;

/// Owned facts of one decision.
pub struct Gathered {
    pub role: Role,
    pub model: Option<String>,
    own_workspace_id: Option<WorkspaceId>,
    wp_id: Option<WpId>,
    out_of_scope: Vec<String>,
    grants: Vec<Grant>,
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
    let out_of_scope = scope::outside(&globs, &requirement.paths)?.iter().map(dcc_core::RepoPath::display).collect();
    // An approval still pending is not a decision: the job parks or is parked already.
    let approval = match job.approval_id {
        Some(id) => Some(ledger::approval(recorder, id)?),
        None => None,
    };
    let grants = match requirement.workspace_id {
        Some(id) if approval.is_none() => ledger::grants(recorder, Some(id), now)?,
        _ => Vec::new(),
    };
    Ok(Gathered {
        role: session.as_ref().map_or(Role::Human, |s| s.role),
        model: session.as_ref().and_then(|s| s.model_id.clone()),
        own_workspace_id: session.as_ref().and_then(|s| s.workspace_id),
        wp_id,
        out_of_scope,
        grants,
        approval,
        now,
    })
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
        protected_branches: &cx.config.protected_branches,
        out_of_scope: &gathered.out_of_scope,
        policy: &cx.policy,
        grants: &gathered.grants,
        approval: gathered.approval.as_ref(),
        now: gathered.now,
    })
}
