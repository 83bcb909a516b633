//! The gates: one pure decision in a fixed order, and the only way to a clearance (GOVERNANCE 1 and 3).
//!
//! Invariants: `clear` is the only constructor of [`Cleared`]; a [`Verdict`] is made by `evaluate` only; silence is
//! denial, because every path that is not an explicit permit ends in deny or ask.

use serde::{Deserialize, Serialize};

use crate::approval::{Approval, ApprovalStatus, Grant, Scope};
use crate::capability::{Axis, Capability, Tier};
use crate::failure::{Code, Failure, Outcome};
use crate::ids::{ApprovalId, GrantId, JobId, Sha256Hex, WorkspaceId};
use crate::limits;
use crate::plan::{Frozen, IntentClass, Plan, PlanBody, Requirement};
use crate::policy::{Policy, Rule};
use crate::principal::{Actor, Principal, Role};
use crate::time::Timestamp;

/// The gates before consent, in their order (GOVERNANCE 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    Schema,
    Integrity,
    Isolation,
    Capability,
    Role,
    Budget,
    Safety,
    Consent,
}

/// What one gate said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GateRecord {
    pub gate: Gate,
    pub outcome: GateOutcome,
    /// Which rule decided and why, one sentence.
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    Pass,
    Ask,
    Deny,
}

/// Who stands behind a permit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum Basis {
    /// A rule of the policy permits it.
    Policy { rule: String },
    /// A live grant covers it; `use_number` counts from 1.
    Grant { grant_id: GrantId, approval_id: ApprovalId, use_number: u32 },
    /// A person approved this very plan.
    Approval { approval_id: ApprovalId },
}

/// Everything the gates look at, gathered by the runner from canon.
#[derive(Debug)]
pub struct Facts<'a> {
    pub job_id: JobId,
    pub root_job_id: JobId,
    pub actor: Actor,
    /// The acting role: the session's, or human for the operator.
    pub role: Role,
    pub requirement: &'a Requirement,
    pub plan_digest: Sha256Hex,
    /// The acting session's own workspace; none for the operator.
    pub own_workspace_id: Option<WorkspaceId>,
    /// The acting session's model, for workspace grants.
    pub model: Option<&'a str>,
    /// The packet the plan's workspace is bound to now; a grant dies with a change of packet.
    pub wp_id: Option<&'a crate::ids::WpId>,
    /// A packet that the plan changes and that the acting session is not bound to.
    pub foreign_packet: Option<&'a crate::ids::WpId>,
    /// Branches nobody below validator writes (GOVERNANCE 6).
    pub protected_branches: &'a [String],
    /// The packet's scope, compiled by the runner: which of the plan's paths lie outside.
    pub out_of_scope: &'a [String],
    pub policy: &'a Policy,
    /// Grants that may cover it: not filtered, the gate checks each.
    pub grants: &'a [Grant],
    /// The budget that is used up and bears on this, in words (SESSIONS 3).
    pub over_budget: Option<&'a str>,
    /// The decided approval of this job, if any.
    pub approval: Option<&'a Approval>,
    pub now: Timestamp,
}

/// The gates' answer. Private fields: only [`evaluate`] makes one.
#[derive(Clone, Debug)]
pub struct Verdict {
    job_id: JobId,
    plan_digest: Sha256Hex,
    records: Vec<GateRecord>,
    resolution: Resolution,
}

/// What follows from the gates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    Permit(Basis),
    /// A person must decide; the rule that asked.
    Ask { rule: String },
    Deny(Failure),
}

impl Verdict {
    pub fn records(&self) -> &[GateRecord] {
        &self.records
    }
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }
}

/// Runs the gates in order; the first that does not pass ends it.
pub fn evaluate(facts: &Facts<'_>) -> Verdict {
    let mut records = Vec::new();
    let resolution = walk(facts, &mut records);
    Verdict { job_id: facts.job_id, plan_digest: facts.plan_digest, records, resolution }
}

fn walk(facts: &Facts<'_>, records: &mut Vec<GateRecord>) -> Resolution {
    // Schema and integrity are proven by construction: the request parsed into a typed plan and the plan hashed.
    pass(records, Gate::Schema, "operation and parameters are well formed");
    pass(records, Gate::Integrity, "the plan is frozen under its digest");
    if let Err(failure) = isolation(facts) {
        return deny(records, Gate::Isolation, failure);
    }
    pass(records, Gate::Isolation, "own workspace and packet only");
    let rule = match capability(facts) {
        Ok(rule) => rule,
        Err(failure) => return deny(records, Gate::Capability, failure),
    };
    pass(records, Gate::Capability, &rule.reason());
    if let Err(failure) = role(facts) {
        return deny(records, Gate::Role, failure);
    }
    pass(records, Gate::Role, &format!("{} may ask for this", facts.role.as_str()));
    if let Some(used_up) = facts.over_budget {
        let failure = Failure::new(Code::BudgetExceeded, used_up).hint("raise it: dcc budget set");
        return deny(records, Gate::Budget, failure);
    }
    pass(records, Gate::Budget, "within every budget that bears on it");
    if let Err(failure) = safety(facts) {
        return deny(records, Gate::Safety, failure);
    }
    pass(records, Gate::Safety, &safety_words(facts));
    consent(facts, &rule, records)
}

fn pass(records: &mut Vec<GateRecord>, gate: Gate, reason: &str) {
    records.push(GateRecord { gate, outcome: GateOutcome::Pass, reason: reason.to_owned(), code: None });
}

fn deny(records: &mut Vec<GateRecord>, gate: Gate, failure: Failure) -> Resolution {
    records.push(GateRecord { gate, outcome: GateOutcome::Deny, reason: failure.message.clone(), code: Some(failure.code) });
    Resolution::Deny(failure)
}

/// An agent touches its own workspace and its own packet only.
fn isolation(facts: &Facts<'_>) -> Outcome<()> {
    if !matches!(facts.actor.principal, Principal::Agent { .. }) {
        return Ok(());
    }
    if let Some(packet) = facts.foreign_packet {
        return Err(Failure::new(Code::Scope, format!("the session is not bound to the packet {packet}")));
    }
    match (facts.requirement.workspace_id, facts.own_workspace_id) {
        (Some(wanted), Some(own)) if wanted != own => {
            Err(Failure::new(Code::Scope, "the request names a workspace that is not the session's own"))
        }
        (Some(_), None) => Err(Failure::new(Code::Scope, "the session has no workspace of its own")),
        _ => Ok(()),
    }
}

/// The strictest rule over all needed capabilities decides.
fn capability(facts: &Facts<'_>) -> Outcome<Rule> {
    let mut strictest: Option<Rule> = None;
    for capability in &facts.requirement.capabilities {
        let rule = facts.policy.rule(capability, facts.actor.principal, facts.role);
        match rule {
            Rule::Forbid { .. } => {
                let code = if matches!(capability.axis, Axis::MergeProtected) { Code::RoleSeparation } else { Code::PolicyForbidden };
                return Err(Failure::new(code, rule.reason()));
            }
            Rule::NotHeld { .. } => return Err(Failure::new(Code::Capability, rule.reason())),
            Rule::Ask { .. } => strictest = Some(rule),
            Rule::Permit { .. } => strictest = strictest.or(Some(rule)),
        }
    }
    strictest.ok_or_else(|| Failure::new(Code::Underdeclared, "the plan names no capability"))
}

/// Protected branches are nobody's to write below a validator (GOVERNANCE 6).
fn role(facts: &Facts<'_>) -> Outcome<()> {
    let writes = facts.requirement.capabilities.iter().any(|c| matches!(c.axis, Axis::VersionWrite));
    if facts.role == Role::Orchestrator && writes {
        return Err(Failure::new(Code::RoleSeparation, "an orchestrator does not commit"));
    }
    if let Some(branch) = &facts.requirement.branch {
        let protected = facts.protected_branches.iter().any(|p| p == branch);
        if protected && writes && matches!(facts.role, Role::Coder) {
            return Err(Failure::new(Code::VcsProtected, format!("{branch} is protected and a coder does not commit to it"))
                .hint("work on a feature branch: dcc ws create --wp WP"));
        }
    }
    Ok(())
}

/// What the safety gate saw, said as it is.
fn safety_words(facts: &Facts<'_>) -> String {
    match (facts.requirement.paths.is_empty(), facts.out_of_scope) {
        (true, _) => "no path is written".to_owned(),
        (false, []) => "inside the packet's scope".to_owned(),
        (false, outside) => format!("outside the packet's scope, shown to the person who decides: {}", outside.join(", ")),
    }
}

/// Paths outside the packet's scope are refused for an agent and shown for a person.
fn safety(facts: &Facts<'_>) -> Outcome<()> {
    if facts.out_of_scope.is_empty() || !matches!(facts.actor.principal, Principal::Agent { .. }) {
        return Ok(());
    }
    Err(Failure::new(Code::Scope, format!("outside the packet's scope: {}", facts.out_of_scope.join(", "))))
}

fn consent(facts: &Facts<'_>, rule: &Rule, records: &mut Vec<GateRecord>) -> Resolution {
    if let Some(approval) = facts.approval {
        return match decided(facts, approval) {
            Ok(()) => {
                pass(records, Gate::Consent, "a person approved this very plan");
                Resolution::Permit(Basis::Approval { approval_id: approval.approval_id })
            }
            Err(failure) => deny(records, Gate::Consent, failure),
        };
    }
    let permitted = matches!(rule, Rule::Permit { .. });
    if permitted && facts.requirement.tier < Tier::R3 {
        pass(records, Gate::Consent, "no prompt: policy permits");
        return Resolution::Permit(Basis::Policy { rule: rule.reason() });
    }
    if facts.requirement.tier < Tier::R3
        && let Some(grant) = facts.grants.iter().find(|g| covers(g, facts))
    {
        pass(records, Gate::Consent, &format!("grant {} covers it", grant.grant_id.short()));
        return Resolution::Permit(Basis::Grant {
            grant_id: grant.grant_id,
            approval_id: grant.approval_id,
            use_number: grant.used + 1,
        });
    }
    records.push(GateRecord { gate: Gate::Consent, outcome: GateOutcome::Ask, reason: rule.reason(), code: None });
    Resolution::Ask { rule: rule.reason() }
}

/// An approval permits exactly the plan it was given for, once, in time.
fn decided(facts: &Facts<'_>, approval: &Approval) -> Outcome<()> {
    if approval.plan_digest != facts.plan_digest || approval.job_id != facts.job_id {
        return Err(Failure::new(Code::StalePreview, "the approval belongs to another plan"));
    }
    match approval.status {
        ApprovalStatus::Approved => {}
        ApprovalStatus::Denied => return Err(Failure::new(Code::ApprovalDenied, "a person denied it")),
        ApprovalStatus::Expired => return Err(Failure::new(Code::ApprovalExpired, "nobody decided in time")),
        ApprovalStatus::Consumed => return Err(Failure::new(Code::ApprovalConsumed, "the approval was already used")),
        ApprovalStatus::Stale => return Err(Failure::new(Code::StalePreview, "what was approved is no longer what would happen")),
        ApprovalStatus::Pending | ApprovalStatus::Cancelled | ApprovalStatus::Superseded => {
            return Err(Failure::new(Code::ApprovalConsumed, "the approval is not in force"));
        }
    }
    let decided_at = approval.decision.as_ref().map_or(Timestamp(0), |d| d.decided_at);
    let window = if approval.tier == Tier::R3 { limits::SAME_TURN_START_MS } else { limits::ONCE_TTL_MS };
    // A clock set back must not stretch the window: a decision from the future counts as expired.
    let age = facts.now.as_ms() - decided_at.as_ms();
    if !(-limits::SAME_TURN_START_MS..=window).contains(&age) {
        return Err(Failure::new(Code::ApprovalExpired, "the decision is too old to run now").hint("ask again"));
    }
    Ok(())
}

/// Does this grant cover this request, by value in every part.
pub fn covers(grant: &Grant, facts: &Facts<'_>) -> bool {
    let live = !grant.revoked && grant.used < grant.max_uses && facts.now < grant.expires_at && grant.issued_at.as_ms() <= facts.now.as_ms() + limits::SAME_TURN_START_MS;
    let held = facts.requirement.capabilities.iter().all(|c| grant.capabilities.iter().any(|g| Capability::covers(g, c)));
    let binding = match grant.scope {
        Scope::Once => false,
        Scope::Job => grant.binding.root_job_id == Some(facts.root_job_id),
        Scope::Session => matches!(facts.actor.principal, Principal::Agent { session_id } if grant.binding.session_id == Some(session_id)),
        Scope::Workspace => {
            grant.binding.role == Some(facts.role) && grant.binding.model.as_deref() == facts.model && facts.actor.principal == grant.binding.as_principal(facts)
        }
    };
    let path_set_fits = grant.scope != Scope::Job
        || grant.binding.paths.is_empty()
        || facts.requirement.paths.iter().all(|p| grant.binding.paths.contains(p));
    let command_fits = grant.binding.command_sha256.is_none() || grant.binding.command_sha256 == facts.requirement.command_sha256;
    live && held
        && binding
        && path_set_fits
        && command_fits
        && facts.requirement.tier <= grant.tier
        && grant.binding.workspace_id == facts.requirement.workspace_id
        && grant.intent == facts.requirement.intent
        && grant.binding.branch == facts.requirement.branch
        && grant.binding.wp_id.as_ref() == facts.wp_id
        && !matches!(grant.intent, IntentClass::Unknown)
}

/// A plan that may run, once. Whoever has none has nothing to call: engine ports take it by value.
#[derive(Debug)]
pub struct Cleared<P> {
    plan: Plan<P>,
    plan_digest: Sha256Hex,
    job_id: JobId,
    basis: Basis,
}

impl<P> Cleared<P> {
    pub fn body(&self) -> &P {
        &self.plan.body
    }
    pub fn plan(&self) -> &Plan<P> {
        &self.plan
    }
    pub fn plan_digest(&self) -> Sha256Hex {
        self.plan_digest
    }
    pub fn job_id(&self) -> JobId {
        self.job_id
    }
    pub fn basis(&self) -> &Basis {
        &self.basis
    }
}

/// The only constructor of a clearance: a frozen plan and a verdict that permits that very plan.
pub fn clear<P: PlanBody>(frozen: Frozen<P>, verdict: &Verdict) -> Outcome<Cleared<P>> {
    if frozen.plan_digest() != verdict.plan_digest {
        return Err(Failure::new(Code::StalePreview, "the verdict was given for another plan"));
    }
    match &verdict.resolution {
        Resolution::Permit(basis) => {
            let plan_digest = frozen.plan_digest();
            Ok(Cleared { plan: frozen.into_plan(), plan_digest, job_id: verdict.job_id, basis: basis.clone() })
        }
        Resolution::Ask { rule } => Err(Failure::new(Code::Capability, format!("a person must decide: {rule}"))),
        Resolution::Deny(failure) => Err(failure.clone()),
    }
}
