//! Parking, showing, deciding, expiring (GOVERNANCE 2).
//!
//! Invariants: a decision is one append with a unique key, so two deciders have one winner; a denial ends the job in the
//! same append; nothing is executed from a decision's own parameters, only from the stored plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use dcc_core::approval::{self, Approval, ApprovalStatus, Decision, DecisionRequest, Presented};
use dcc_core::canonical;
use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::ids::{ApprovalId, GrantId, JobId, Sha256Hex};
use dcc_core::job::{self, Job, JobState};
use dcc_core::plan::{Preview, PreviewItem};
use dcc_core::ports::{Appended, EventFilter, Order, fresh};
use dcc_core::principal::{Actor, Principal};
use dcc_core::{Code, Failure, Outcome, limits};

use crate::facts::Gathered;
use crate::kinds::{self, Prepared};
use crate::ledger;
use crate::runner::Runner;

/// A preview above this is cut inside the event; the whole one is an artifact.
const INLINE_PREVIEW_BYTES: usize = 16 * 1024;

/// The last rendering of each request that this process handed out.
pub(crate) type Renderings = Mutex<HashMap<ApprovalId, Rendering>>;

pub(crate) struct Rendering {
    to: Actor,
    presented: Presented,
    /// Stands nowhere else.
    nonce: String,
}

/// One rendering for one pair of eyes.
#[derive(Clone, Debug)]
pub struct Presentation {
    pub approval: Approval,
    /// The whole preview, also when the approval's own is cut.
    pub preview: Preview,
    /// 64 hex digits, to be echoed with the decision; never stored.
    pub nonce: String,
}

/// What a decision led to.
#[derive(Clone, Debug)]
pub struct Decided {
    pub approval: Approval,
    /// The released job; terminal unless it runs long or parked again.
    pub job: Job,
    /// Other requests that the new grant covers and that ran.
    pub released: Vec<JobId>,
}

impl Runner {
    /// Parks the job: request and state change are one append.
    pub(crate) fn park(
        self: &Arc<Self>,
        job: &Job,
        prepared: &Prepared,
        gathered: &Gathered,
        rule: String,
        claim: Option<String>,
        mut events: Vec<NewEvent>,
    ) -> Outcome<Job> {
        if let Some(failure) = self.echo_of_denial(job, prepared)? {
            return self.end_failed(job, failure, events);
        }
        if let Some(pending) = self.pending_with(prepared.plan_digest)? {
            let failure = Failure::new(Code::ApprovalConsumed, format!("the same request already waits: approval {}", pending.approval_id))
                .hint(format!("decide it: dcc approvals show {}", pending.approval_id.short()));
            self.end(job, JobState::Cancelled, failure, events)?;
            return ledger::job(self.cx.ports.recorder.as_ref(), pending.job_id);
        }
        job::step(job.state, JobState::AwaitingUser)?;
        let approval = self.new_approval(job, prepared, gathered, rule, claim)?;
        let id = approval.approval_id;
        events.push(self.about_approval(job, EventCode::ApprovalRequested, id, json!({ "approval": approval })).outcome(EventOutcome::Ask));
        events.push(self.about_approval(job, EventCode::JobStateChange, id, json!({ "from": job.state, "to": JobState::AwaitingUser })).once(job.move_key()));
        // Ended meanwhile: nobody is asked.
        let _: Appended = self.cx.journal.try_append(events)?;
        ledger::job(self.cx.ports.recorder.as_ref(), job.job_id)
    }

    fn new_approval(&self, job: &Job, prepared: &Prepared, gathered: &Gathered, rule: String, claim: Option<String>) -> Outcome<Approval> {
        let clock = self.cx.ports.clock.as_ref();
        let now = clock.now();
        let requirement = &prepared.requirement;
        let by_agent = matches!(job.actor.principal, Principal::Agent { .. });
        let whole = canonical::to_vec(&prepared.preview)?;
        let (preview, preview_ref) = if whole.len() > INLINE_PREVIEW_BYTES {
            (cut(&prepared.preview), Some(self.cx.ports.artifacts.put(&whole)?))
        } else {
            (prepared.preview.clone(), None)
        };
        let plan_artifact = job.plan_artifact.ok_or_else(|| Failure::engine("a job without a stored plan cannot park"))?;
        Ok(Approval {
            approval_id: fresh(clock),
            job_id: job.job_id,
            root_job_id: job.root_job_id,
            op: job.op,
            status: ApprovalStatus::Pending,
            tier: requirement.tier,
            intent: requirement.intent.clone(),
            capabilities: requirement.capabilities.clone(),
            plan_digest: prepared.plan_digest,
            plan_artifact,
            preview,
            preview_ref,
            preview_digest: prepared.preview_digest,
            rule,
            // A child cannot use a workspace's grant, so it is not offered one.
            offered: approval::offered_scopes(requirement.tier, &requirement.intent, requirement.workspace_id.is_some(), by_agent)
                .into_iter()
                .filter(|scope| !gathered.is_child || *scope != approval::Scope::Workspace)
                .collect(),
            requester: job.actor,
            role: gathered.role,
            model: gathered.model.clone(),
            claim: claim.map(|c| c.chars().take(limits::LINE_BYTES_MAX).collect()),
            wp_id: job.bindings.wp_id.clone(),
            mt_id: job.bindings.mt_id.clone(),
            session_id: job.bindings.session_id,
            workspace_id: requirement.workspace_id,
            branch: requirement.branch.clone(),
            // A grant's path set has to fit the event; a larger set is not offered the job scope's reuse.
            paths: requirement.paths.iter().take(100).cloned().collect(),
            requested_at: now,
            expires_at: now.plus_ms(limits::APPROVAL_TTL_MS),
            presented: None,
            decision: None,
            ended_reason: None,
            grant_id: None,
        })
    }

    /// An agent that asks the same denied plan again within ten minutes gets the same denial; a person may ask at once.
    fn echo_of_denial(&self, job: &Job, prepared: &Prepared) -> Outcome<Option<Failure>> {
        let Principal::Agent { session_id } = job.actor.principal else { return Ok(None) };
        let since = self.cx.now().plus_ms(-limits::DENIAL_ECHO_MS);
        let decided = ledger::read_all(
            self.cx.ports.recorder.as_ref(),
            EventFilter {
                session_id: Some(session_id),
                codes: vec![EventCode::ApprovalDecided],
                outcome: Some(EventOutcome::Deny),
                since: Some(since),
                order: Order::Descending,
                ..EventFilter::default()
            },
        )?;
        let same = decided.iter().find(|e| e.payload["plan_digest"] == json!(prepared.plan_digest));
        Ok(same.map(|e| {
            let reason = e.payload["decision"]["reason"].as_str().unwrap_or("denied");
            Failure::new(Code::ApprovalDenied, format!("denied before at {}: {reason}", e.ts))
        }))
    }

    fn pending_with(&self, plan_digest: Sha256Hex) -> Outcome<Option<Approval>> {
        let pending = self.cx.ports.store.pending_approvals()?;
        let Some(found) = pending.into_iter().find(|a| a.plan_digest == plan_digest) else { return Ok(None) };
        // The list is derived; whether it still waits is canon's to say.
        let approval = ledger::approval(self.cx.ports.recorder.as_ref(), found.approval_id)?;
        Ok((approval.status == ApprovalStatus::Pending).then_some(approval))
    }

    /// Renders the request for a person and records that rendering; a decision has to echo it. Looked at again by the
    /// same person over the same surface while its nonce lives, it is the same rendering.
    pub fn present(&self, actor: Actor, approval_id: ApprovalId) -> Outcome<Presentation> {
        self.cx.config.require_writable()?;
        let approval = ledger::approval(self.cx.ports.recorder.as_ref(), approval_id)?;
        if !actor.is_operator() {
            return Err(Failure::new(Code::ApprovalSelf, "only the operator is shown requests to decide"));
        }
        let preview = self.whole_preview(&approval)?;
        let mut renderings = self.renderings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.cx.now();
        renderings.retain(|_, rendering| rendering.presented.is_in_time(now));
        if let Some(last) = renderings.get(&approval_id).filter(|last| last.to == actor && approval.presented.as_ref() == Some(&last.presented))
            && approval.status == ApprovalStatus::Pending
            && !ledger::was_shown_before_step(self.cx.ports.recorder.as_ref(), approval_id)?
        {
            return Ok(Presentation { approval, preview, nonce: last.nonce.clone() });
        }
        let nonce = hex_text(&self.cx.ports.clock.random());
        if approval.status == ApprovalStatus::Pending {
            let job = ledger::job(self.cx.ports.recorder.as_ref(), approval.job_id)?;
            let presented = Presented {
                nonce_sha256: Sha256Hex::of(nonce.as_bytes()),
                preview_digest: approval.preview_digest,
                presented_at: now,
                surface: actor.surface,
            };
            let mut event = self.about_approval(&job, EventCode::ApprovalPresented, approval_id, json!({ "presented": presented }));
            event.actor = actor;
            self.cx.journal.append(vec![event])?;
            renderings.insert(approval_id, Rendering { to: actor, presented, nonce: nonce.clone() });
        }
        Ok(Presentation { approval: ledger::approval(self.cx.ports.recorder.as_ref(), approval_id)?, preview, nonce })
    }

    /// The whole preview, verified against its digest when it stands in an artifact.
    pub fn whole_preview(&self, approval: &Approval) -> Outcome<Preview> {
        let Some(sha256) = approval.preview_ref else { return Ok(approval.preview.clone()) };
        let bytes = self.cx.ports.artifacts.get(sha256)?;
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(Code::Integrity, format!("the stored preview cannot be read: {e}")))
    }

    /// Decides, then runs what was released. `nonce` is the echoed text.
    pub fn decide(self: &Arc<Self>, approval_id: ApprovalId, request: DecisionRequest) -> Outcome<Decided> {
        self.cx.config.require_writable()?;
        self.expire_due()?;
        let recorder = self.cx.ports.recorder.as_ref();
        // The job before its request: one that moved since finds the request decided, and says so.
        let job = ledger::job(recorder, ledger::approval(recorder, approval_id)?.job_id)?;
        let mut approval = ledger::approval(recorder, approval_id)?;
        if ledger::was_shown_before_step(recorder, approval_id)? {
            // How old that rendering is nobody can say.
            approval.presented = None;
        }
        approval::check_decision(&approval, &request, self.cx.now())?;
        dcc_core::redact::refuse_known("reason", &json!(request.reason))?;
        self.record_decision(&job, &approval, &request)?;
        if !request.approve {
            self.discard_quarantine(&job);
            self.wake();
            return Ok(Decided {
                approval: ledger::approval(recorder, approval_id)?,
                job: ledger::job(recorder, job.job_id)?,
                released: Vec::new(),
            });
        }
        let job = self.resume(&job)?;
        let released = if request.scope == approval::Scope::Once { Vec::new() } else { self.release_covered()? };
        Ok(Decided { approval: ledger::approval(recorder, approval_id)?, job, released })
    }

    fn record_decision(&self, job: &Job, approval: &Approval, request: &DecisionRequest) -> Outcome<()> {
        let now = self.cx.now();
        let decision = Decision {
            approve: request.approve,
            scope: request.scope,
            reason: request.reason.clone(),
            decider: request.decider,
            decided_at: now,
            seen_preview_digest: request.preview_digest,
            policy_digest: self.cx.policy.digest(),
        };
        let outcome = if request.approve { EventOutcome::Allow } else { EventOutcome::Deny };
        let mut decided = self
            .about_approval(job, EventCode::ApprovalDecided, approval.approval_id, json!({ "decision": decision, "plan_digest": approval.plan_digest }))
            .outcome(outcome)
            .once(format!("decided:{}", approval.approval_id));
        decided.actor = request.decider;
        decided.policy_digest = Some(decision.policy_digest);
        let mut events = vec![decided];
        if request.approve {
            if let Some(grant) = approval::issue_grant(approval, request.scope, GrantId::from(self.cx.ports.clock.fresh_id()), now) {
                let mut event = self.about_approval(job, EventCode::GrantIssued, approval.approval_id, json!({ "grant": grant }));
                event.actor = request.decider;
                event.correlation.workspace_id = grant.binding.workspace_id;
                events.push(event);
            }
        } else {
            let reason = request.reason.clone().unwrap_or_default();
            let failure = Failure::new(Code::ApprovalDenied, format!("denied: {reason}")).hint("change the request, or ask again with the reason answered");
            job::step(job.state, JobState::Failed)?;
            events.push(
                self.about(job, EventCode::JobFinished, json!({ "from": job.state, "to": JobState::Failed, "failure": failure }))
                    .outcome(EventOutcome::Deny)
                    .once(job.move_key()),
            );
        }
        match self.cx.journal.try_append(events)? {
            Appended::Written(_) => Ok(()),
            Appended::Taken { key, .. } if key.starts_with(job::MOVE_KEY) => Err(Failure::new(Code::ApprovalConsumed, "the job that asked is over meanwhile").hint("dcc job show JOB says how it ended; whoever needs it asks again")),
            Appended::Taken { by, .. } => Err(Failure::new(
                Code::ApprovalConsumed,
                format!("already decided by {} over {} at {}", by.actor_id, by.actor.surface.words(), by.ts),
            )),
        }
    }

    /// Takes a parked job up again from its stored plan.
    pub(crate) fn resume(self: &Arc<Self>, job: &Job) -> Outcome<Job> {
        let kind = kinds::kind_of(job.op)?;
        match self.stored_plan(job).and_then(|plan| kind.reload(plan)) {
            Ok(prepared) if Some(prepared.plan_digest) == job.plan_digest => self.execute(job, kind, prepared, Vec::new(), None),
            Ok(_) => self.end_failed(job, Failure::new(Code::Integrity, "the stored plan does not match its digest"), Vec::new()),
            Err(failure) => self.end_failed(job, failure, Vec::new()),
        }
    }

    /// The plan as it was frozen, verified by the artifact store.
    pub(crate) fn stored_plan(&self, job: &Job) -> Outcome<Value> {
        let sha256 = job.plan_artifact.ok_or_else(|| Failure::new(Code::JobNotResumable, "the job has no stored plan"))?;
        let bytes = self.cx.ports.artifacts.get(sha256)?;
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(Code::Integrity, format!("the stored plan cannot be read: {e}")))
    }

    /// After a grant: whatever else it covers runs under it, and the result says so.
    fn release_covered(self: &Arc<Self>) -> Outcome<Vec<JobId>> {
        let mut released = Vec::new();
        for pending in self.cx.ports.store.pending_approvals()? {
            // The decision is on record: one that cannot be taken up leaves the others theirs.
            match self.release(pending.approval_id) {
                Ok(job) => released.extend(job),
                Err(failure) => eprintln!("dcc: approval {}: it could not be released: {failure}", pending.approval_id),
            }
        }
        Ok(released)
    }

    /// Takes a waiting job up when a grant covers it by now.
    fn release(self: &Arc<Self>, approval_id: ApprovalId) -> Outcome<Option<JobId>> {
        let recorder = self.cx.ports.recorder.as_ref();
        let approval = ledger::approval(recorder, approval_id)?;
        if approval.status != ApprovalStatus::Pending {
            return Ok(None);
        }
        let mut job = ledger::job(recorder, approval.job_id)?;
        // Judged as if it were asked now: without its own approval, grants may cover it.
        job.approval_id = None;
        let kind = kinds::kind_of(job.op)?;
        let Ok(prepared) = self.stored_plan(&job).and_then(|plan| kind.reload(plan)) else { return Ok(None) };
        let gathered = crate::facts::gather(&self.cx, &job, &prepared.requirement)?;
        let verdict = crate::facts::decide(&self.cx, &job, &prepared.requirement, prepared.plan_digest, &gathered);
        if !matches!(verdict.resolution(), dcc_core::gate::Resolution::Permit(_)) {
            return Ok(None);
        }
        let superseded = self
            .about_approval(&job, EventCode::ApprovalStale, approval_id, json!({ "status": "superseded", "reason": "a grant covers it" }))
            .once(format!("decided:{approval_id}"));
        self.execute(&job, kind, prepared, vec![superseded], None)?;
        Ok(Some(job.job_id))
    }

    /// Ends every request whose time is over; its job fails with HSK-408-APPROVAL-EXPIRED.
    pub fn expire_due(&self) -> Outcome<usize> {
        if self.cx.config.read_only.is_some() {
            return Ok(0);
        }
        let now = self.cx.now();
        let mut expired = 0;
        for pending in self.cx.ports.store.pending_approvals()? {
            if now < pending.expires_at {
                continue;
            }
            let failure = Failure::new(Code::ApprovalExpired, "nobody decided in time").hint("ask again: a new request shows the state of now");
            if self.end_pending(pending.approval_id, EventCode::ApprovalExpired, "expired", JobState::Failed, failure)? {
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Ends a pending request without a decision: expired, stale or cancelled. False when somebody was faster.
    pub(crate) fn end_pending(&self, approval_id: ApprovalId, code: EventCode, status: &str, to: JobState, failure: Failure) -> Outcome<bool> {
        let recorder = self.cx.ports.recorder.as_ref();
        let approval = ledger::approval(recorder, approval_id)?;
        if approval.status != ApprovalStatus::Pending {
            return Ok(false);
        }
        let job = ledger::job(recorder, approval.job_id)?;
        let ended = self
            .about_approval(&job, code, approval_id, json!({ "status": status, "reason": failure.message }))
            .once(format!("decided:{approval_id}"));
        if !job.state.is_terminal() {
            return self.try_end(&job, to, failure, vec![ended]);
        }
        Ok(matches!(self.cx.journal.try_append(vec![ended])?, Appended::Written(_)))
    }

    /// Cancels a job that has not begun its effect.
    pub fn cancel(&self, actor: Actor, job_id: JobId, reason: Option<String>) -> Outcome<Job> {
        self.cx.config.require_writable()?;
        let recorder = self.cx.ports.recorder.as_ref();
        let job = ledger::job(recorder, job_id)?;
        if !actor.is_operator() {
            return Err(Failure::new(Code::Capability, "only the operator cancels jobs"));
        }
        dcc_core::redact::refuse_known("reason", &json!(reason))?;
        let failure = Failure::new(Code::Canceled, reason.unwrap_or_else(|| "cancelled by the operator".to_owned()));
        let is_ended = match (job.state, job.approval_id) {
            (JobState::AwaitingUser, Some(approval_id)) if ledger::approval(recorder, approval_id)?.status == ApprovalStatus::Pending => {
                self.end_pending(approval_id, EventCode::ApprovalStale, "cancelled", JobState::Cancelled, failure)?
            }
            // Approved, and what should have begun did not.
            (JobState::AwaitingUser | JobState::Queued | JobState::Stalled, _) => self.try_end(&job, JobState::Cancelled, failure, Vec::new())?,
            (JobState::Running, _) if self.cx.commands.get(job_id).is_some_and(|command| command.stop()) => return self.wait(job_id, Some(std::time::Duration::from_millis(limits::RUN_END_WAIT_MS))),
            (JobState::Running, _) if self.cx.attachments.end(job_id, crate::attachments::Left::Cancelled) => return self.wait(job_id, Some(std::time::Duration::from_millis(limits::RUN_END_WAIT_MS))),
            (JobState::Running, _) => {
                return Err(Failure::new(Code::IllegalTransition, "the job is running").hint("a turn ends with dcc session cancel S; other jobs end by themselves"));
            }
            _ => return Err(Failure::new(Code::IllegalTransition, format!("the job is {}", job.state.as_str()))),
        };
        let job = ledger::job(recorder, job_id)?;
        if is_ended || job.state.is_terminal() {
            return Ok(job);
        }
        Err(Failure::new(Code::IllegalTransition, format!("the job was taken up meanwhile and is {}", job.state.as_str())).hint("look at it again: dcc job show JOB"))
    }
}

/// A preview that fits: long lists and texts are shortened and say so.
fn cut(preview: &Preview) -> Preview {
    let mut short = preview.clone();
    for item in &mut short.exactly {
        match item {
            PreviewItem::Text { text, .. } if text.len() > 4096 => {
                *text = text.chars().take(2000).chain("\n(cut; the whole text is an artifact)".chars()).collect();
            }
            PreviewItem::Paths { paths } => paths.truncate(25),
            PreviewItem::Diff { text, cut, .. } if text.len() > 1024 => {
                *text = text.chars().take(1000).collect();
                *cut = true;
            }
            _ => {}
        }
    }
    short.exactly.truncate(12);
    short.exactly.push(PreviewItem::Warning { text: "this list is cut; the whole preview opens with the request".into() });
    short
}

fn hex_text(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}
