//! What an engine asks for before it acts: a plan that a person approved.

use dcc_core::approval::{Approval, ApprovalStatus, Decision, Scope};
use dcc_core::gate::{Cleared, Facts, clear, evaluate};
use dcc_core::ids::{JobId, Sha256Hex};
use dcc_core::op::Op;
use dcc_core::plan::{Frozen, PlanBody};
use dcc_core::policy::Policy;
use dcc_core::principal::{Actor, Role, Surface};
use dcc_core::time::Timestamp;

/// A clearance the way the runner gets one: a person approved this very plan.
pub fn cleared_for<P: PlanBody>(body: P, op: Op, engine: &str, job_id: JobId, now: Timestamp) -> Cleared<P> {
    let frozen = Frozen::freeze(op, engine, Vec::new(), body).unwrap();
    let requirement = frozen.plan().requirement.clone();
    let operator = Actor::operator(Surface::Terminal);
    let approval = Approval {
        approval_id: uuid::Uuid::from_u128(2).into(),
        job_id,
        root_job_id: job_id,
        op,
        status: ApprovalStatus::Approved,
        tier: requirement.tier,
        intent: requirement.intent.clone(),
        capabilities: requirement.capabilities.clone(),
        plan_digest: frozen.plan_digest(),
        plan_artifact: Sha256Hex::ZERO,
        preview: frozen.preview().clone(),
        preview_ref: None,
        preview_digest: frozen.preview_digest(),
        rule: "test".into(),
        offered: vec![Scope::Once],
        requester: operator,
        role: Role::Human,
        model: None,
        claim: None,
        wp_id: None,
        mt_id: None,
        session_id: None,
        workspace_id: requirement.workspace_id,
        branch: requirement.branch.clone(),
        paths: requirement.paths.clone(),
        requested_at: now,
        expires_at: now.plus_ms(1_000),
        presented: None,
        decision: Some(Decision { approve: true, scope: Scope::Once, reason: None, decider: operator, decided_at: now, seen_preview_digest: None, policy_digest: Sha256Hex::ZERO }),
        ended_reason: None,
        grant_id: None,
    };
    let policy = Policy::built_in();
    let facts = Facts {
        job_id,
        root_job_id: job_id,
        actor: operator,
        role: Role::Human,
        requirement: &requirement,
        plan_digest: frozen.plan_digest(),
        own_workspace_id: None,
        wp_id: None,
        model: None,
        foreign_packet: None,
        over_budget: None,
        protected_branches: &[],
        out_of_scope: &[],
        policy: &policy,
        grants: &[],
        approval: Some(&approval),
        now,
    };
    let verdict = evaluate(&facts);
    clear(frozen, &verdict).unwrap()
}
