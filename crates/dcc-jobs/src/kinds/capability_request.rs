//! capability.request: an agent's permission request. Its effect is the answer; what it allows is enforced elsewhere.

use serde::Deserialize;
use serde_json::json;

use dcc_core::approval::{Grant, GrantBinding, Scope};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::{Basis, Cleared};
use dcc_core::ids::{GrantId, Sha256Hex};
use dcc_core::job::Job;
use dcc_core::plans::{AgentRequestPlan, AskKind};
use dcc_core::plan::PlanBody;
use dcc_core::ports::fresh;
use dcc_core::{Failure, Outcome, RepoPath, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct RequestCapability;

/// What the session host hands in; it comes from the protocol, never from a surface.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub tool_call_id: String,
    pub kind: AskKind,
    pub paths: Vec<RepoPath>,
    pub foreign_paths: Vec<String>,
    pub command: Option<String>,
    pub diffs: Vec<(RepoPath, String)>,
    #[serde(default)]
    pub details: Vec<(String, String)>,
    pub raw_sha256: Sha256Hex,
    /// The agent's title for it: a claim.
    pub claim: String,
}

/// What the agent asked for in this job; none when it is another kind of job, or its parameters cannot be read.
pub(crate) fn asked_by(cx: &Context, job: &Job) -> Option<Params> {
    (job.op == dcc_core::op::Op::CapabilityRequest).then(|| params::parse(cx, job).ok()).flatten()
}

impl JobKind for RequestCapability {
    type Plan = AgentRequestPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<AgentRequestPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(dcc_core::Code::Scope, "the session has no workspace"))?;
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
        let mut created = Vec::new();
        for path in &p.paths {
            if p.kind == AskKind::Edit && cx.ports.files.read(&workspace.binding, path, limits::ARTIFACT_BYTES_MAX as u64)?.is_none() {
                created.push(path.clone());
            }
        }
        let body = AgentRequestPlan {
            session_id: session.session_id,
            workspace_id,
            tool_call_id: p.tool_call_id,
            kind: if p.foreign_paths.is_empty() { p.kind } else { AskKind::Unknown },
            paths: p.paths,
            created,
            foreign_paths: p.foreign_paths,
            command: p.command,
            diffs: p.diffs,
            details: p.details,
            raw_sha256: p.raw_sha256,
            cwd: workspace.binding.worktree_path,
        };
        Ok(Planned { body, engine: "acp-v1", inputs: Vec::new(), bindings: job.bindings.clone(), claim: Some(p.claim) })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<AgentRequestPlan>) -> Outcome<Done> {
        let mut effect = Effect::default().with("allowed", true);
        let plan = cleared.body();
        // A one-time yes to an edit covers the write that follows it: these very paths, once each, within this turn. A
        // one-time yes to a command covers the run of that very command in a terminal.
        if (plan.kind == AskKind::Edit || plan.requirement().command_sha256.is_some())
            && let Basis::Approval { approval_id } = cleared.basis()
        {
            let fold = ledger::approval_fold(cx.ports.recorder.as_ref(), *approval_id)?;
            if fold.grant.is_none() {
                let now = cx.now();
                let requirement = plan.requirement();
                let workspace = ledger::workspace(cx.ports.recorder.as_ref(), plan.workspace_id)?;
                let max_uses = requirement.paths.len().max(1) as u32;
                let grant = Grant {
                    grant_id: fresh::<GrantId>(cx.ports.clock.as_ref()),
                    approval_id: *approval_id,
                    scope: Scope::Job,
                    binding: GrantBinding {
                        root_job_id: Some(job.root_job_id),
                        session_id: Some(plan.session_id),
                        workspace_id: Some(plan.workspace_id),
                        wp_id: workspace.wp_id,
                        by_agent: true,
                        paths: requirement.paths.clone(),
                        command_sha256: requirement.command_sha256,
                        ..GrantBinding::default()
                    },
                    capabilities: requirement.capabilities,
                    intent: requirement.intent,
                    tier: requirement.tier,
                    issued_at: now,
                    expires_at: now.plus_ms(limits::ONCE_TTL_MS),
                    max_uses,
                    used: 0,
                    revoked: false,
                };
                effect = effect.with("grant_id", grant.grant_id.to_string());
                // The person who said yes issues it, never the agent that asked.
                let decider = fold.approval.and_then(|a| a.decision).map_or(dcc_core::principal::Actor::SYSTEM, |d| d.decider);
                let mut issued = NewEvent::new(EventCode::GrantIssued, decider, json!({ "grant": grant })).about(&correlation(job));
                issued.correlation.approval_id = Some(*approval_id);
                effect.events.push(issued);
            }
        }
        Ok(Done::Finished(effect))
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &AgentRequestPlan) -> Outcome<Recovered> {
        // The answer never reached the agent: its process is gone. A permission is never resurrected.
        Ok(Recovered::Absent)
    }
}
