//! [`Door`] over the runner.

use serde_json::Value;

use dcc_core::approval::DecisionRequest;
use dcc_core::job::JobRequest;
use dcc_core::ports::EventFilter;
use dcc_core::principal::{Actor, Principal};
use dcc_core::path::unbase64;
use dcc_core::ports::terminal::TerminalSize;
use dcc_core::{ApprovalId, Code, Failure, JobId, Outcome, SessionId, Sha256Hex};
use dcc_jobs::attachments::Typing;

use super::App;
use crate::door::{Decided, DecisionInput, Door, EventLine, FlatJob, Presentation, ProjectFacts, Query, Subscription, TerminalInput, Verdict};

impl Door for App {
    fn submit(&self, actor: Actor, request: JobRequest) -> Outcome<FlatJob> {
        self.runner.submit(actor, request).map(|job| FlatJob::from(&job))
    }

    fn cancel(&self, actor: Actor, job: JobId, reason: Option<String>) -> Outcome<FlatJob> {
        self.runner.cancel(actor, job, reason).map(|job| FlatJob::from(&job))
    }

    fn present(&self, actor: Actor, approval: ApprovalId) -> Outcome<Presentation> {
        let presented = self.runner.present(actor, approval)?;
        let mut approval = presented.approval;
        approval.preview = presented.preview;
        Ok(Presentation { approval_id: approval.approval_id, nonce: presented.nonce, preview_digest: approval.preview_digest, approval })
    }

    fn decide(&self, actor: Actor, approval: ApprovalId, decision: DecisionInput) -> Outcome<Decided> {
        let request = DecisionRequest {
            approve: decision.decision == Verdict::Approve,
            scope: decision.scope,
            reason: decision.reason,
            decider: actor,
            nonce_sha256: decision.nonce.map(|nonce| Sha256Hex::of(nonce.as_bytes())),
            preview_digest: decision.preview_digest,
            typed: decision.typed,
        };
        let decided = self.runner.decide(approval, request)?;
        Ok(Decided {
            approval_id: decided.approval.approval_id,
            status: decided.approval.status,
            job_id: decided.job.job_id,
            job: FlatJob::from(&decided.job),
        })
    }

    fn at_terminal(&self, actor: Actor, session: SessionId, input: TerminalInput) -> Outcome<()> {
        let bytes = input.b64.as_deref().map_or(Some(Vec::new()), unbase64).ok_or_else(|| Failure::invalid("b64 is not base64"))?;
        let size = input.size.map(|size| TerminalSize::new(size.rows, size.columns)).transpose()?;
        self.runner.at_terminal(actor, session, input.attachment, &Typing { bytes, size, leave: input.leave })
    }

    fn query(&self, actor: Actor, query: Query) -> Outcome<Value> {
        if let Principal::Agent { .. } = actor.principal {
            return Err(Failure::new(Code::Capability, "an agent reads through its session's own tools"));
        }
        self.answer(query)
    }

    fn artifact(&self, actor: Actor, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        if let Principal::Agent { .. } = actor.principal {
            return Err(Failure::new(Code::Capability, "an agent reads through its session's own tools"));
        }
        self.cx().ports.artifacts.get(sha256)
    }

    fn subscribe(&self, after_seq: Option<u64>) -> Outcome<Subscription> {
        let recorder = &self.cx().ports.recorder;
        self.hub.subscribe(
            after_seq,
            || recorder.head().map(|head| head.seq),
            |after, limit| {
                let mut lines = Vec::new();
                let mut at = after;
                while lines.len() < limit {
                    let page = recorder.read(&EventFilter { after_seq: Some(at), limit: limit - lines.len(), ..EventFilter::default() })?;
                    let Some(last) = page.last() else { break };
                    at = last.seq;
                    lines.extend(page.iter().map(EventLine::from));
                }
                Ok(lines)
            },
        )
    }

    fn verify_record(&self, actor: Actor) -> Outcome<Value> {
        if let Principal::Agent { .. } = actor.principal {
            return Err(Failure::new(Code::Capability, "an agent reads through its session's own tools"));
        }
        Ok(serde_json::json!(self.verify()?))
    }

    fn project(&self) -> ProjectFacts {
        let config = &self.cx().config;
        ProjectFacts {
            name: config.project_name.clone(),
            root_path: config.root_path.to_string_lossy().into_owned(),
            project_id: config.project_id,
            instance_id: config.instance_id,
            read_only: config.read_only.clone(),
        }
    }
}
