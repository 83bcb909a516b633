//! Approvals and grants as folds over their events, and the pure decision step (GOVERNANCE 2).
//!
//! Invariant: an approval is decided at most once and consumed at most once. The fold here says what is; the recorder's
//! unique keys make the second writer lose.

use serde::{Deserialize, Serialize};

use crate::capability::{Capability, Tier};
use crate::event::{Event, EventCode};
use crate::failure::{Code, Failure, Outcome};
use crate::ids::{ApprovalId, GrantId, JobId, MtId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::limits;
use crate::op::Op;
use crate::path::RepoPath;
use crate::plan::{IntentClass, Preview};
use crate::principal::{Actor, Principal, Role, Surface};
use crate::time::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    Pending,
    Approved,
    Denied,
    Expired,
    Stale,
    Cancelled,
    Superseded,
    Consumed,
}

/// How far an approval reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Once,
    Job,
    Session,
    Workspace,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Job => "job",
            Self::Session => "session",
            Self::Workspace => "workspace",
        }
    }
}

/// The scopes a tier may be given (GOVERNANCE 2, the table). An unknown request is once only, and so is anything that
/// has no workspace to bind to.
pub fn offered_scopes(tier: Tier, intent: &IntentClass, has_workspace: bool, by_agent: bool) -> Vec<Scope> {
    // Each child has words of its own, which a person has to have read.
    if tier == Tier::R3 || matches!(intent, IntentClass::Unknown | IntentClass::SessionSpawn) || !has_workspace {
        return vec![Scope::Once];
    }
    let mut scopes = vec![Scope::Once, Scope::Job];
    if tier <= Tier::R1 {
        // A session scope needs a session to end with it.
        if by_agent {
            scopes.push(Scope::Session);
        }
        scopes.push(Scope::Workspace);
    }
    scopes
}

/// The request as a person sees it and the decision, when there is one. Folded from FR-EVT-APPR events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    pub approval_id: ApprovalId,
    pub job_id: JobId,
    pub root_job_id: JobId,
    pub op: Op,
    pub status: ApprovalStatus,
    pub tier: Tier,
    pub intent: IntentClass,
    pub capabilities: Vec<Capability>,
    pub plan_digest: Sha256Hex,
    /// The plan's canonical JSON in the artifact store.
    pub plan_artifact: Sha256Hex,
    /// Cut to fit an event when it is large; then `preview_ref` names the whole one.
    pub preview: Preview,
    #[serde(default)]
    pub preview_ref: Option<Sha256Hex>,
    pub preview_digest: Sha256Hex,
    /// The policy rule that asked.
    pub rule: String,
    pub offered: Vec<Scope>,
    pub requester: Actor,
    pub role: Role,
    pub model: Option<String>,
    /// The requester's own words; a claim, never part of the preview.
    pub claim: Option<String>,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub session_id: Option<SessionId>,
    pub workspace_id: Option<WorkspaceId>,
    pub branch: Option<String>,
    pub paths: Vec<RepoPath>,
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
    pub presented: Option<Presented>,
    pub decision: Option<Decision>,
    /// Why it ended without a decision.
    pub ended_reason: Option<String>,
    pub grant_id: Option<GrantId>,
}

/// One rendering of the preview to a person. The nonce itself is never stored, only its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Presented {
    pub nonce_sha256: Sha256Hex,
    pub preview_digest: Sha256Hex,
    pub presented_at: Timestamp,
    pub surface: Surface,
}

impl Presented {
    /// While a decision may echo it.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        (0..=limits::NONCE_TTL_MS).contains(&(now.as_ms() - self.presented_at.as_ms()))
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub approve: bool,
    pub scope: Scope,
    pub reason: Option<String>,
    pub decider: Actor,
    pub decided_at: Timestamp,
    pub seen_preview_digest: Option<Sha256Hex>,
    pub policy_digest: Sha256Hex,
}

/// A standing permission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub grant_id: GrantId,
    pub approval_id: ApprovalId,
    pub scope: Scope,
    pub binding: GrantBinding,
    pub capabilities: Vec<Capability>,
    pub intent: IntentClass,
    pub tier: Tier,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub max_uses: u32,
    #[serde(default)]
    pub used: u32,
    #[serde(default)]
    pub revoked: bool,
}

/// What a grant is tied to; all parts compare by value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GrantBinding {
    pub root_job_id: Option<JobId>,
    pub session_id: Option<SessionId>,
    pub workspace_id: Option<WorkspaceId>,
    pub model: Option<String>,
    pub role: Option<Role>,
    pub branch: Option<String>,
    /// The packet the workspace was bound to; a change of packet ends the grant.
    pub wp_id: Option<WpId>,
    /// True when an agent asked: the operator does not use an agent's grant, nor the other way round.
    pub by_agent: bool,
    /// For the job scope: the shown path set.
    #[serde(default)]
    pub paths: Vec<RepoPath>,
    /// The one command it is for, by the hash of its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_sha256: Option<Sha256Hex>,
}

impl GrantBinding {
    /// The asking principal when it is of the kind the grant was given to, else the system, which never asks.
    pub(crate) fn as_principal(&self, facts: &crate::gate::Facts<'_>) -> Principal {
        match (self.by_agent, facts.actor.principal) {
            (true, p @ Principal::Agent { .. }) | (false, p @ Principal::Operator) => p,
            _ => Principal::System,
        }
    }
}

/// A decision as it arrives.
#[derive(Clone, Debug)]
pub struct DecisionRequest {
    pub approve: bool,
    pub scope: Scope,
    pub reason: Option<String>,
    pub decider: Actor,
    /// Hash of the echoed nonce, when one was echoed.
    pub nonce_sha256: Option<Sha256Hex>,
    pub preview_digest: Option<Sha256Hex>,
    /// What the person typed; R3 wants [`Approval::confirm_text`].
    pub typed: Option<String>,
}

impl Approval {
    /// What a person types before an R3 request works: the branch, else the request's short id.
    pub fn confirm_text(&self) -> String {
        self.branch.clone().unwrap_or_else(|| self.approval_id.short())
    }
}

/// Checks one decision against the approval as it stands (GOVERNANCE 1 and 2). Writes nothing.
pub fn check_decision(approval: &Approval, request: &DecisionRequest, now: Timestamp) -> Outcome<()> {
    if !request.decider.is_operator() {
        return Err(Failure::new(Code::ApprovalSelf, "only the operator decides"));
    }
    if approval.status != ApprovalStatus::Pending {
        return Err(already(approval));
    }
    if now >= approval.expires_at {
        return Err(Failure::new(Code::ApprovalExpired, format!("the request expired at {}", approval.expires_at)).hint("ask again: a new request shows the state of now"));
    }
    if request.preview_digest.is_some_and(|seen| seen != approval.preview_digest) {
        return Err(Failure::new(Code::SameTurnConsent, "the decision answers another rendering").hint("open the approval again and read it anew"));
    }
    if !request.approve {
        let reason = request.reason.as_deref().unwrap_or("").trim();
        if reason.is_empty() {
            return Err(Failure::invalid("a denial needs a reason").hint("it is sent to the requester: dcc approvals deny A --reason R"));
        }
        return Ok(());
    }
    if !approval.offered.contains(&request.scope) {
        let offered: Vec<&str> = approval.offered.iter().map(|scope| scope.as_str()).collect();
        return Err(Failure::invalid(format!("this request can be approved for {} only, not for {}", offered.join(", "), request.scope.as_str())).hint("the narrower scope is the default: dcc approvals approve A"));
    }
    let browser = request.decider.surface == Surface::Browser;
    if approval.tier == Tier::R3 || browser {
        same_turn(approval, request, now)?;
    }
    Ok(())
}

/// The decision echoes the very rendering, in time, over a human-only channel.
fn same_turn(approval: &Approval, request: &DecisionRequest, now: Timestamp) -> Outcome<()> {
    let refuse = |why: &str| Err(Failure::new(Code::SameTurnConsent, why).hint("open the approval again and decide there"));
    if approval.tier == Tier::R3 && !request.decider.attended {
        return refuse("this needs a person at a terminal or in the browser");
    }
    let Some(presented) = &approval.presented else {
        return refuse("the request was never shown");
    };
    if request.nonce_sha256 != Some(presented.nonce_sha256) || request.preview_digest != Some(presented.preview_digest) {
        return refuse("the decision does not echo the last rendering");
    }
    if approval.tier == Tier::R3 && request.typed.as_deref().map(str::trim) != Some(approval.confirm_text().as_str()) {
        return refuse("what was typed is not what the request asks to be typed");
    }
    if !presented.is_in_time(now) {
        return Err(Failure::new(Code::ApprovalExpired, "the rendering is too old to decide on").hint("open the approval again"));
    }
    Ok(())
}

/// The wire word of a unit enum.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn already(approval: &Approval) -> Failure {
    let who = approval.decision.as_ref().map_or_else(String::new, |d| {
        format!(" by {} over {} at {}", d.decider.id(), d.decider.surface.words(), d.decided_at)
    });
    let code = match approval.status {
        ApprovalStatus::Expired => Code::ApprovalExpired,
        ApprovalStatus::Stale => Code::StalePreview,
        _ => Code::ApprovalConsumed,
    };
    Failure::new(code, format!("approval {} is already {}{who}", approval.approval_id.short(), word(&approval.status)))
}

/// The grant that an approval with a wider scope issues; none for `once`.
pub fn issue_grant(approval: &Approval, scope: Scope, grant_id: GrantId, now: Timestamp) -> Option<Grant> {
    let (ttl, max_uses) = match scope {
        Scope::Once => return None,
        Scope::Job => (limits::JOB_GRANT_TTL_MS, limits::JOB_GRANT_USES),
        Scope::Session => (limits::SESSION_GRANT_TTL_MS, limits::SESSION_GRANT_USES),
        Scope::Workspace => (limits::WORKSPACE_GRANT_TTL_MS, limits::WORKSPACE_GRANT_USES),
    };
    let by_agent = matches!(approval.requester.principal, Principal::Agent { .. });
    let binding = GrantBinding {
        root_job_id: (scope == Scope::Job).then_some(approval.root_job_id),
        session_id: (scope == Scope::Session).then_some(approval.session_id).flatten(),
        workspace_id: approval.workspace_id,
        model: (scope == Scope::Workspace).then(|| approval.model.clone()).flatten(),
        role: (scope == Scope::Workspace).then_some(approval.role),
        branch: approval.branch.clone(),
        wp_id: approval.wp_id.clone(),
        by_agent,
        paths: if scope == Scope::Job { approval.paths.clone() } else { Vec::new() },
        command_sha256: None,
    };
    Some(Grant {
        grant_id,
        approval_id: approval.approval_id,
        scope,
        binding,
        capabilities: approval.capabilities.clone(),
        intent: approval.intent.clone(),
        tier: approval.tier,
        issued_at: now,
        expires_at: now.plus_ms(ttl),
        max_uses,
        used: 0,
        revoked: false,
    })
}

/// Approval and grant as the events say. Both are keyed by approval_id: an approval issues at most one grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFold {
    pub approval: Option<Approval>,
    pub grant: Option<Grant>,
}

impl ApprovalFold {
    /// Takes in the next event of this approval; events of other codes are ignored.
    pub fn apply(&mut self, event: &Event) {
        match event.code {
            EventCode::ApprovalRequested => self.approval = serde_json::from_value(event.payload["approval"].clone()).ok(),
            EventCode::GrantIssued => self.grant = serde_json::from_value(event.payload["grant"].clone()).ok(),
            EventCode::GrantRevoked => {
                if let Some(grant) = &mut self.grant {
                    grant.revoked = true;
                }
            }
            EventCode::GrantUsed => {
                if let Some(grant) = &mut self.grant {
                    grant.used += 1;
                }
            }
            _ => {
                if let Some(approval) = &mut self.approval {
                    Self::apply_to_approval(approval, event);
                }
            }
        }
        if let (Some(approval), Some(grant)) = (&mut self.approval, &self.grant) {
            approval.grant_id = Some(grant.grant_id);
        }
    }

    fn apply_to_approval(approval: &mut Approval, event: &Event) {
        match event.code {
            EventCode::ApprovalPresented => approval.presented = serde_json::from_value(event.payload["presented"].clone()).ok(),
            EventCode::ApprovalDecided => {
                approval.decision = serde_json::from_value(event.payload["decision"].clone()).ok();
                let yes = approval.decision.as_ref().is_some_and(|d| d.approve);
                approval.status = if yes { ApprovalStatus::Approved } else { ApprovalStatus::Denied };
            }
            EventCode::ApprovalConsumed => approval.status = ApprovalStatus::Consumed,
            EventCode::ApprovalExpired => Self::end(approval, ApprovalStatus::Expired, event),
            EventCode::ApprovalStale => {
                let status = match event.payload["status"].as_str() {
                    Some("cancelled") => ApprovalStatus::Cancelled,
                    Some("superseded") => ApprovalStatus::Superseded,
                    _ => ApprovalStatus::Stale,
                };
                Self::end(approval, status, event);
            }
            _ => {}
        }
    }

    fn end(approval: &mut Approval, status: ApprovalStatus, event: &Event) {
        approval.status = status;
        approval.ended_reason = event.payload["reason"].as_str().map(str::to_owned);
    }
}
