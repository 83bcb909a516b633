//! The one corridor: accept, plan, gate, park or apply, record.
//!
//! Invariants: `JobAccepted` is durable before anything else happens; a consumption (approval or grant use) and the move
//! to running are one append; of two that move one job, the recorder lets one win ([`Job::move_key`]) and the other goes on
//! with what then stands; whatever a kind does, the job's end is recorded here. When the recorder refuses, the call
//! fails with its code and nothing was done that recovery cannot find.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::gate::{Basis, GateOutcome, Resolution, Verdict};
use dcc_core::ids::{ApprovalId, JobId};
use dcc_core::job::{self, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::{Appended, fresh};
use dcc_core::principal::Actor;
use dcc_core::{Code, Failure, Outcome, limits, redact};

use crate::context::Context;
pub(crate) use crate::correlation::correlation;
use crate::kinds::{self, Done, Effect, Kind, Lock, Prepared};
use crate::{facts, ledger, preconditions};

/// Parameters above this go by artifact, so that the accepted job fits an event with room for its envelope.
const INLINE_PARAMS_BYTES: usize = 16 * 1024;

/// Nothing of a request is kept that holds a secret of a known form: parameters go into the log, plans and records, and
/// what waits in them is done as it was acknowledged. What an agent tells of its own call is kept without the secret.
fn keep_no_secret(request: &mut JobRequest) -> Outcome<()> {
    if request.op == Op::CapabilityRequest {
        request.params = redact::without_known(std::mem::take(&mut request.params));
    }
    redact::refuse_known("", &request.params)?;
    redact::refuse_known("idempotency_key", &json!(request.idempotency_key))
}

/// What came of moving a permitted job to running.
enum Began {
    Yes,
    /// Somebody else moved the job, or spent its approval.
    Raced,
    /// Another job took the use of the grant that was counted on.
    GrantTaken,
}

/// What came of the gates.
enum Judged {
    /// Running; its effect may begin.
    Begun(Box<Job>, Verdict),
    /// Parked, waiting for a slot, or ended.
    Over(Box<Job>),
    Again,
}

/// Runs jobs for one project in this process.
pub struct Runner {
    pub cx: Arc<Context>,
    /// Bumped whenever a job reaches a terminal state; waiters look again.
    ended: (Mutex<u64>, Condvar),
    /// Jobs of this process whose end could not be recorded: nobody may wait for it here.
    unrecorded: Mutex<HashMap<JobId, Failure>>,
    pub(crate) renderings: crate::approvals::Renderings,
}

impl Runner {
    pub fn new(cx: Arc<Context>) -> Arc<Self> {
        let runner = Arc::new(Self { cx, ended: (Mutex::new(0), Condvar::new()), unrecorded: Mutex::default(), renderings: Mutex::default() });
        // A second runner over one context would be a second writer; the first stays.
        let _ = runner.cx.runner.set(Arc::downgrade(&runner));
        runner
    }

    /// Takes an intent from a surface and drives it as far as it goes without a person. Long kinds come back running.
    pub fn submit(self: &Arc<Self>, actor: Actor, request: JobRequest) -> Outcome<Job> {
        if kinds::is_internal(request.op) {
            return Err(Failure::invalid(format!("{} is not an operation for a surface", request.op)));
        }
        self.submit_under(actor, request, None)
    }

    /// Like [`Runner::submit`], as a child of a running job, internal operations included.
    pub(crate) fn submit_under(self: &Arc<Self>, actor: Actor, request: JobRequest, parent: Option<&Job>) -> Outcome<Job> {
        self.cx.config.require_writable()?;
        let kind = kinds::kind_of(request.op)?;
        let (mut job, fresh) = self.accept(actor, request, parent)?;
        if !fresh {
            return Ok(job);
        }
        self.start(&mut job, kind)
    }

    /// Plans and executes an accepted job.
    pub(crate) fn start(self: &Arc<Self>, job: &mut Job, kind: &'static dyn Kind) -> Outcome<Job> {
        // A packet's id and version are chosen while planning: nobody else may choose the same before they are recorded.
        let guard = if kind.lock() == Lock::Locus { self.guard(Lock::Locus) } else { None };
        let (prepared, bindings, claim) = match kind.prepare(&self.cx, job) {
            Ok(parts) => parts,
            Err(failure) => return self.end_failed(job, failure, Vec::new()),
        };
        job.bindings = bindings;
        let artifact = match dcc_core::canonical::to_vec(&prepared.plan).and_then(|bytes| self.cx.ports.artifacts.put(&bytes)) {
            Ok(sha256) => sha256,
            Err(failure) => return self.end_failed(job, failure, Vec::new()),
        };
        let planned = self.about(job, EventCode::JobPlanned, json!({
            "plan_digest": prepared.plan_digest, "plan_artifact": artifact, "inputs": prepared.inputs, "bindings": job.bindings,
        }));
        job.plan_digest = Some(prepared.plan_digest);
        job.plan_artifact = Some(artifact);
        self.execute_under(guard, job, kind, prepared, vec![planned], claim)
    }

    /// Gates, then parks, refuses or applies. `head` are events to be written first.
    pub(crate) fn execute(self: &Arc<Self>, job: &Job, kind: &'static dyn Kind, prepared: Prepared, head: Vec<NewEvent>, claim: Option<String>) -> Outcome<Job> {
        self.execute_under(None, job, kind, prepared, head, claim)
    }

    /// The same with the kind's lock in hand already.
    fn execute_under<'a>(
        self: &'a Arc<Self>,
        guard: Option<MutexGuard<'a, ()>>,
        job: &Job,
        kind: &'static dyn Kind,
        prepared: Prepared,
        head: Vec<NewEvent>,
        claim: Option<String>,
    ) -> Outcome<Job> {
        let guard = guard.or_else(|| self.guard(kind.lock()));
        if kind.lock() == Lock::Git
            && let Err(failure) = crate::outside::look_under_lock(&self.cx)
        {
            eprintln!("dcc: job {}: heads could not be compared: {failure}", job.job_id);
        }
        if kind.needs_accepted_config()
            && let Err(failure) = crate::repo_config::require_accepted(&self.cx, job)
        {
            return self.end_failed(job, failure, head);
        }
        let mut guard = guard;
        // Another job under the same grant may take the use that was counted on: then it is judged again.
        for _ in 0..limits::GRANT_TRIES_MAX {
            match self.judge(&mut guard, job, kind, &prepared, &head, &claim)? {
                Judged::Again => {}
                Judged::Over(job) => return Ok(*job),
                Judged::Begun(job, verdict) if kind.runs_long() => {
                    drop(guard);
                    return self.apply_on_thread(*job, kind, prepared.plan, verdict);
                }
                Judged::Begun(job, verdict) => return self.apply(&job, kind, prepared.plan, &verdict, guard),
            }
        }
        self.end_failed(job, Failure::new(Code::RateLimit, "too many requests use the same grant at once").hint("ask again"), head)
    }

    /// The gates, and what follows at once: parked, refused, waiting for a slot, or begun.
    fn judge(
        self: &Arc<Self>,
        guard: &mut Option<MutexGuard<'_, ()>>,
        job: &Job,
        kind: &'static dyn Kind,
        prepared: &Prepared,
        head: &[NewEvent],
        claim: &Option<String>,
    ) -> Outcome<Judged> {
        let over = |job: Outcome<Job>| job.map(|job| Judged::Over(Box::new(job)));
        let mut events = head.to_vec();
        let gathered = match facts::gather(&self.cx, job, &prepared.requirement) {
            Ok(gathered) => gathered,
            Err(failure) => return over(self.end_failed(job, failure, events)),
        };
        let verdict = facts::decide(&self.cx, job, &prepared.requirement, prepared.plan_digest, &gathered);
        events.extend(self.gate_events(job, prepared, &verdict));
        let basis = match verdict.resolution().clone() {
            Resolution::Deny(failure) => return over(self.end_failed(job, failure, events)),
            Resolution::Ask { rule } => {
                drop(guard.take());
                return over(self.park(job, prepared, &gathered, rule, claim.clone(), events));
            }
            Resolution::Permit(basis) => basis,
        };
        if let Err(failure) = preconditions::check_all(&self.cx, &prepared.preconditions) {
            return over(self.end_stale(job, &basis, failure, events));
        }
        let run = match kind.run(&self.cx, job, &prepared.plan) {
            Ok(run) => run,
            Err(failure) => return over(self.end_failed(job, failure, events)),
        };
        if let Some(run) = run
            && let Err(why) = self.cx.scheduler.claim(&self.cx, &run)
        {
            drop(guard.take());
            return over(self.wait_for_slot(job, kind, prepared, &run, &why, events));
        }
        match self.begin(job, &basis, events) {
            Ok(Began::Yes) => Ok(Judged::Begun(Box::new(ledger::job(self.cx.ports.recorder.as_ref(), job.job_id)?), verdict)),
            Ok(Began::GrantTaken) => Ok(Judged::Again),
            Ok(Began::Raced) => {
                self.cx.scheduler.release(job.job_id);
                over(ledger::job(self.cx.ports.recorder.as_ref(), job.job_id))
            }
            Err(failure) => {
                self.cx.scheduler.release(job.job_id);
                Err(failure)
            }
        }
    }

    fn apply(self: &Arc<Self>, job: &Job, kind: &'static dyn Kind, plan: Value, verdict: &Verdict, guard: Option<MutexGuard<'_, ()>>) -> Outcome<Job> {
        let done = kind.execute(&self.cx, job, plan, verdict);
        // Heads that the job moved are on record before somebody else compares them with the record.
        let guard = guard.filter(|_| kind.lock() == Lock::Git);
        let ended = match done {
            Ok(Done::Finished(effect)) => match self.finish(job, effect) {
                // What it would have recorded was recorded by another job meanwhile: nothing of it stands.
                Err(failure) if failure.code != Code::Recorder => self.end_failed(job, failure, Vec::new()),
                ended => ended,
            },
            Ok(Done::Continues) => ledger::job(self.cx.ports.recorder.as_ref(), job.job_id),
            Err(failure) => self.end_failed(job, failure, Vec::new()),
        };
        if guard.is_some()
            && let Err(failure) = crate::outside::keep_heads(&self.cx, job)
        {
            eprintln!("dcc: job {}: heads could not be compared: {failure}", job.job_id);
        }
        ended
    }

    fn apply_on_thread(self: &Arc<Self>, job: Job, kind: &'static dyn Kind, plan: Value, verdict: Verdict) -> Outcome<Job> {
        let runner = Arc::clone(self);
        let running = job.clone();
        std::thread::Builder::new()
            .name(format!("job {}", job.job_id.short()))
            .spawn(move || {
                let guard = runner.guard(kind.lock());
                if let Err(failure) = runner.apply(&job, kind, plan, &verdict, guard) {
                    // The end could not be recorded; recovery finds the job running and asks the world.
                    eprintln!("dcc: job {}: {failure}", job.job_id);
                    runner.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).insert(job.job_id, failure);
                    runner.wake();
                }
            })
            .map_err(|e| Failure::engine(format!("no thread for the job: {e}")))?;
        Ok(running)
    }

    /// Writes the job down. The second value is false when the idempotency key names an earlier one.
    fn accept(&self, actor: Actor, mut request: JobRequest, parent: Option<&Job>) -> Outcome<(Job, bool)> {
        keep_no_secret(&mut request)?;
        if request.idempotency_key.as_ref().is_some_and(|k| k.is_empty() || k.len() > 128) {
            return Err(Failure::invalid("an idempotency key has 1 to 128 characters"));
        }
        let fraction = dcc_core::canonical::first_fraction(&request.params);
        fraction.map_or(Ok(()), |place| Err(Failure::invalid(format!("{place} is a number with a fraction; no parameter takes one")).hint("give a whole number, or the text of an amount in quotes")))?;
        let clock = self.cx.ports.clock.as_ref();
        let now = clock.now();
        let job_id: JobId = fresh(clock);
        let mut job = Job {
            job_id,
            op: request.op,
            params: request.params,
            params_ref: None,
            actor,
            bindings: request.bindings,
            state: JobState::Queued,
            moves: 0,
            attempt: 1,
            parent_job_id: parent.map(|p| p.job_id),
            root_job_id: parent.map_or(job_id, |p| p.root_job_id),
            idempotency_key: request.idempotency_key.clone(),
            plan_digest: None,
            plan_artifact: None,
            approval_id: None,
            basis: None,
            gates: Vec::new(),
            effect: None,
            result: Map::new(),
            failure: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            instance_id: self.cx.config.instance_id,
            created_at: now,
            updated_at: now,
        };
        let mut recorded = job.clone();
        let params = dcc_core::canonical::to_vec(&job.params)?;
        if params.len() > INLINE_PARAMS_BYTES {
            recorded.params_ref = Some(self.cx.ports.artifacts.put(&params)?);
            recorded.params = Value::Null;
            job.params_ref = recorded.params_ref;
        }
        let request_digest = dcc_core::canonical::digest("dcc.request.v1", &(job.op, &job.params, &job.bindings))?;
        let mut event = self.about(&job, EventCode::JobAccepted, json!({ "job": recorded, "request_digest": request_digest }));
        if let Some(key) = &request.idempotency_key {
            event = event.once(format!("accepted:{key}"));
        }
        match self.cx.journal.try_append(vec![event])? {
            Appended::Written(_) => Ok((job, true)),
            Appended::Taken { by, .. } => {
                if by.payload["request_digest"] != json!(request_digest) {
                    return Err(Failure::new(Code::Idempotency, "the idempotency key was used for another request").hint("use a fresh key for a new intent"));
                }
                let earlier = by.job_id.ok_or_else(|| Failure::engine("an accepted job without an id"))?;
                Ok((ledger::job(self.cx.ports.recorder.as_ref(), earlier)?, false))
            }
        }
    }

    /// Consumes what permits the job and moves it to running, in one append.
    fn begin(&self, job: &Job, basis: &Basis, mut events: Vec<NewEvent>) -> Outcome<Began> {
        job::step(job.state, JobState::Running)?;
        match basis {
            Basis::Policy { .. } => {}
            Basis::Approval { approval_id } => events.push(
                self.about_approval(job, EventCode::ApprovalConsumed, *approval_id, json!({ "job_id": job.job_id })).once(format!("consumed:{approval_id}")),
            ),
            Basis::Grant { grant_id, approval_id, use_number } => events.push(
                self.about_approval(job, EventCode::GrantUsed, *approval_id, json!({ "grant_id": grant_id, "use": use_number, "job_id": job.job_id }))
                    .once(format!("grant:{grant_id}:{use_number}")),
            ),
        }
        let running = json!({ "from": job.state, "to": JobState::Running, "basis": basis, "instance_id": self.cx.config.instance_id });
        events.push(self.about(job, EventCode::JobStateChange, running).once(job.move_key()));
        Ok(match self.cx.journal.try_append(events)? {
            Appended::Written(_) => Began::Yes,
            Appended::Taken { key, .. } if key.starts_with("grant:") => Began::GrantTaken,
            Appended::Taken { .. } => Began::Raced,
        })
    }

    /// Records the end of a job that did its work.
    pub(crate) fn finish(&self, job: &Job, effect: Effect) -> Outcome<Job> {
        let to = if effect.with_issues { JobState::CompletedWithIssues } else { JobState::Completed };
        job::step(job.state, to)?;
        let mut events = effect.events;
        events.push(self.about(job, EventCode::EffectObserved, json!({ "result": effect.result })));
        events.push(
            self.about(job, EventCode::JobFinished, json!({ "from": job.state, "to": to, "result": effect.result, "outputs": effect.outputs })).once(job.move_key()),
        );
        if let Appended::Taken { key, by } = self.cx.journal.try_append(events)?
            && !key.starts_with(job::MOVE_KEY)
        {
            return Err(Failure::new(Code::ApprovalConsumed, format!("already recorded at {} (event {}): {key}", by.ts, by.seq)));
        }
        self.wake();
        kinds::kind_of(job.op)?.finished(&self.cx);
        self.give_back(job.job_id);
        ledger::job(self.cx.ports.recorder.as_ref(), job.job_id)
    }

    /// A job that is over holds no slot; what waits for one may begin.
    pub(crate) fn give_back(&self, job_id: JobId) {
        if self.cx.scheduler.release(job_id) {
            self.lend_slot();
        }
    }

    /// A slot came free, or its session waits for a decision: what waits for one may begin.
    pub(crate) fn lend_slot(&self) {
        if let Some(runner) = self.cx.runner.get().and_then(std::sync::Weak::upgrade) {
            runner.dispatch_waiting();
        }
    }

    /// Records the end of a job that was refused or failed.
    pub(crate) fn end_failed(&self, job: &Job, failure: Failure, events: Vec<NewEvent>) -> Outcome<Job> {
        self.end(job, JobState::Failed, failure, events)
    }

    /// Records the end of a job; the job as it stands when somebody moved it first.
    pub(crate) fn end(&self, job: &Job, to: JobState, failure: Failure, events: Vec<NewEvent>) -> Outcome<Job> {
        self.try_end(job, to, failure, events)?;
        ledger::job(self.cx.ports.recorder.as_ref(), job.job_id)
    }

    /// False when somebody was faster: nothing of it is recorded then.
    pub(crate) fn try_end(&self, job: &Job, to: JobState, failure: Failure, mut events: Vec<NewEvent>) -> Outcome<bool> {
        job::step(job.state, to)?;
        let outcome = if matches!(failure.kind(), dcc_core::failure::Kind::Policy | dcc_core::failure::Kind::Capability) { EventOutcome::Deny } else { EventOutcome::Failed };
        events.push(
            self.about(job, EventCode::JobFinished, json!({ "from": job.state, "to": to, "failure": failure }))
                .outcome(outcome)
                .once(job.move_key()),
        );
        if let Appended::Taken { .. } = self.cx.journal.try_append(events)? {
            return Ok(false);
        }
        self.discard_quarantine(job);
        self.wake();
        if job.state == JobState::Queued {
            kinds::kind_of(job.op)?.gave_up(&self.cx, job, &failure)?;
        }
        self.give_back(job.job_id);
        Ok(true)
    }

    /// A permitted job whose preconditions moved: nothing was done, the approval is spent as stale.
    fn end_stale(&self, job: &Job, basis: &Basis, failure: Failure, mut events: Vec<NewEvent>) -> Outcome<Job> {
        if let Basis::Approval { approval_id } = basis {
            events.push(self.about_approval(job, EventCode::ApprovalStale, *approval_id, json!({ "status": "stale", "reason": failure.message })));
        }
        self.end_failed(job, failure, events)
    }

    fn gate_events(&self, job: &Job, prepared: &Prepared, verdict: &Verdict) -> Vec<NewEvent> {
        let policy_digest = Some(self.cx.policy.digest());
        let mut events: Vec<NewEvent> = verdict
            .records()
            .iter()
            .map(|record| {
                let outcome = match record.outcome {
                    GateOutcome::Pass => EventOutcome::Allow,
                    GateOutcome::Ask => EventOutcome::Ask,
                    GateOutcome::Deny => EventOutcome::Deny,
                };
                self.about(job, EventCode::GateDecided, json!({ "gate": record })).outcome(outcome)
            })
            .collect();
        let outcome = match verdict.resolution() {
            Resolution::Permit(_) => EventOutcome::Allow,
            Resolution::Ask { .. } => EventOutcome::Ask,
            Resolution::Deny(_) => EventOutcome::Deny,
        };
        for capability in &prepared.requirement.capabilities {
            let mut event = self
                .about(job, EventCode::CapabilityAction, json!({ "capability": capability, "tier": prepared.requirement.tier, "op": job.op }))
                .outcome(outcome);
            event.capability_id = Some(capability.to_string());
            event.policy_digest = policy_digest;
            events.push(event);
        }
        events
    }

    /// An event that carries the job's joining ids.
    pub(crate) fn about(&self, job: &Job, code: EventCode, payload: Value) -> NewEvent {
        NewEvent::new(code, job.actor, payload).about(&correlation(job))
    }

    pub(crate) fn about_approval(&self, job: &Job, code: EventCode, approval_id: ApprovalId, payload: Value) -> NewEvent {
        let mut event = self.about(job, code, payload);
        event.correlation.approval_id = Some(approval_id);
        event
    }

    fn guard(&self, lock: Lock) -> Option<MutexGuard<'_, ()>> {
        let mutex = match lock {
            Lock::None => return None,
            Lock::Locus => &self.cx.locus_lock,
            Lock::Git => &self.cx.git_lock,
        };
        // A panic under the lock left canon consistent: every step of it is durable by itself.
        Some(mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells waiters to look again.
    pub(crate) fn wake(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ended.1.notify_all();
    }

    /// Blocks until the job is terminal; `timeout` none waits for ever. Fails when its end could not be recorded.
    pub fn wait(&self, job_id: JobId, timeout: Option<Duration>) -> Outcome<Job> {
        self.wait_or(job_id, timeout, || false)
    }

    /// As [`Runner::wait`], also until `done`, which is looked at whenever waiters are woken.
    pub(crate) fn wait_or(&self, job_id: JobId, timeout: Option<Duration>, done: impl Fn() -> bool) -> Outcome<Job> {
        let deadline = timeout.map(|t| Instant::now() + t);
        let mut seen = *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let job = ledger::job(self.cx.ports.recorder.as_ref(), job_id)?;
            if job.state.is_terminal() || matches!(job.state, JobState::Stalled) || done() {
                return Ok(job);
            }
            if let Some(failure) = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).get(&job_id) {
                return Err(failure.clone());
            }
            let guard = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = deadline.map_or(Duration::from_secs(3600), |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(job);
            }
            let (guard, _) = self.ended.1.wait_timeout_while(guard, left, |n| *n == seen).unwrap_or_else(PoisonError::into_inner);
            seen = *guard;
        }
    }
}
