//! Jobs: history and inspector.
//!
//! Authority: derived; one job is read from canon. Failure: HSK-404-JOB when there is no such job.

use std::collections::BTreeMap;

use serde_json::Value;

use dcc_core::event::{Event, EventCode};
use dcc_core::failure::Failure;
use dcc_core::gate::GateOutcome;
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::plan::{Preview, PreviewItem};
use dcc_core::ports::{EventFilter, JobFilter};
use dcc_core::{JobId, Outcome, Sha256Hex, limits};
use dcc_jobs::ledger;

use super::super::App;
use super::changes::pretty;
use super::rows::{approval_row, cut, event_row, failure_view, job_row, word};
use crate::door::job_filter;
use crate::view::{AttemptView, FactView, GateDecision, JobView, JobsFilter, JobsView, OutputView, PhaseView, RefView};

const SHOWN: usize = 100;
/// Characters of captured output on the page; the whole is an artifact.
const OUTPUT_SHOWN: usize = 20_000;
const EVENTS_SHOWN: usize = 60;

impl App {
    pub(super) fn jobs_view(&self, filter: JobsFilter, cursor: Option<&str>) -> Outcome<JobsView> {
        let store = &self.cx().ports.store;
        let jobs = store.jobs(&JobFilter { limit: SHOWN, ..job_filter(&filter, cursor)? })?;
        let next_cursor = (jobs.len() == SHOWN).then(|| jobs.last().map(|j| j.job_id.to_string())).flatten();
        Ok(JobsView {
            items: jobs.iter().map(job_row).collect(),
            next_cursor,
            filter,
            ops: Op::ALL.iter().filter(|op| op.is_built()).map(|op| op.as_str().to_owned()).collect(),
            total: None,
        })
    }

    pub(super) fn job_view(&self, id: JobId) -> Outcome<JobView> {
        let ports = &self.cx().ports;
        let job = ledger::job(ports.recorder.as_ref(), id)?;
        let names = self.names();
        let events = ports.recorder.read(&EventFilter { job_id: Some(id), limit: limits::PAGE_MAX, ..EventFilter::default() }).unwrap_or_default();
        let approval = job.approval_id.and_then(|a| ledger::approval(ports.recorder.as_ref(), a).ok());
        let preview = approval.as_ref().and_then(|a| self.runner.whole_preview(a).ok());
        let family = ports.store.jobs(&JobFilter { root_job_id: Some(job.root_job_id), limit: limits::PAGE_MAX, ..JobFilter::default() }).unwrap_or_default();
        Ok(JobView {
            job: job_row(&job),
            idempotency_key: job.idempotency_key.clone(),
            instance_id: job.instance_id.to_string(),
            plan_digest: job.plan_digest.map(|d| d.to_string()),
            phases: phases(&job, &events),
            gates: gates(&job, &events),
            plan: preview.as_ref().map(plan_facts).unwrap_or_default(),
            params_json: self.params_json(&job),
            approvals: approval.iter().map(|a| approval_row(a, &names, Some(&job))).collect(),
            inputs: inputs(&job),
            outputs: outputs(&job),
            attempts: attempts(&job, &events),
            children: family.iter().filter(|j| j.parent_job_id == Some(id)).take(SHOWN).map(job_row).collect(),
            events: events.iter().take(EVENTS_SHOWN).map(event_row).collect(),
            results: results(&job),
            output: self.output(&job),
            next_step: next_step(&job),
            cancellable: !job.state.is_terminal(),
        })
    }

    fn params_json(&self, job: &Job) -> String {
        match self.text_of(job.params_ref) {
            Some(text) => serde_json::from_str::<Value>(&text).map_or(text, |v| pretty(&v)),
            None => pretty(&job.params),
        }
    }

    /// Standard output, and standard error after it, shortened at the front: the end of a run says how it went.
    fn output(&self, job: &Job) -> Option<OutputView> {
        let sha = |key: &str| job.result.get(key).and_then(Value::as_str).and_then(|t| Sha256Hex::parse(t).ok());
        let (out, err) = (sha("stdout_sha256"), sha("stderr_sha256"));
        let text = [out, err].into_iter().filter_map(|s| self.text_of(s)).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n");
        out.or(err)?;
        let count = text.chars().count();
        let tail: String = text.chars().skip(count.saturating_sub(OUTPUT_SHOWN)).collect();
        Some(OutputView {
            exit_code: job.result.get("exit_code").and_then(Value::as_i64),
            truncated: count > OUTPUT_SHOWN,
            text: tail,
            sha256: out.map(|s| s.to_string()),
        })
    }
}

/// A stored payload; its size is not known without reading it.
fn stored(name: &str, sha256: Sha256Hex) -> RefView {
    RefView { name: name.to_owned(), sha256: sha256.to_string(), bytes: None }
}

fn inputs(job: &Job) -> Vec<RefView> {
    let named = [("parameters", job.params_ref), ("plan", job.plan_artifact)];
    let mut refs: Vec<RefView> = named.into_iter().filter_map(|(name, sha256)| sha256.map(|s| stored(name, s))).collect();
    refs.extend(job.inputs.iter().map(|s| stored("input", *s)));
    refs
}

fn outputs(job: &Job) -> Vec<RefView> {
    let is = |key: &str, sha256: &Sha256Hex| job.result.get(key).and_then(Value::as_str) == Some(sha256.to_string().as_str());
    job.outputs
        .iter()
        .map(|s| {
            let name = if is("stdout_sha256", s) { "standard output" } else if is("stderr_sha256", s) { "standard error" } else { "output" };
            stored(name, *s)
        })
        .collect()
}

/// Plan, gate, approve, apply, record: what happened in each.
fn phases(job: &Job, events: &[Event]) -> Vec<PhaseView> {
    let at = |code: EventCode| events.iter().find(|e| e.code == code).map(|e| e.ts.as_ms());
    let over = job.state.is_terminal();
    let (planned, gated) = (at(EventCode::JobPlanned), at(EventCode::GateDecided));
    let (asked, decided) = (at(EventCode::ApprovalRequested), at(EventCode::ApprovalDecided));
    let (applied, observed) = (at(EventCode::EffectPlanned), at(EventCode::EffectObserved));
    let done = matches!(job.state, JobState::Completed | JobState::CompletedWithIssues);
    let phase = |name: &str, status: &str, at_ms: Option<i64>, detail: Option<String>| PhaseView { phase: name.to_owned(), status: status.to_owned(), at_ms, detail };
    let missing = if over { if done { "skipped" } else { "failed" } } else { "open" };
    let denied = job.gates.iter().any(|g| g.outcome == GateOutcome::Deny);
    let approve = match (asked, decided) {
        (_, Some(_)) => "done",
        (Some(_), None) if job.state == JobState::AwaitingUser => "waiting",
        (Some(_), None) => "failed",
        (None, None) if planned.is_some() => "skipped",
        (None, None) => "open",
    };
    let apply = match job.state {
        _ if done || observed.is_some() => "done",
        JobState::Running => "running",
        JobState::Stalled => "failed",
        _ if over && applied.is_some() => "failed",
        _ if over => "skipped",
        _ => "open",
    };
    vec![
        phase("plan", if planned.is_some() { "done" } else { missing }, planned, job.plan_digest.map(|d| d.short())),
        phase("gate", if denied { "failed" } else if gated.is_some() { "done" } else { missing }, gated, job.gates.last().map(|g| g.reason.clone())),
        phase("approve", approve, decided.or(asked), job.basis.as_ref().map(|b| word_of_basis(b).to_owned())),
        phase("apply", apply, applied.or(observed), None),
        phase("record", if over { "done" } else { "open" }, at(EventCode::JobFinished), over.then(|| job.state.as_str().replace('_', " "))),
    ]
}

fn word_of_basis(basis: &dcc_core::gate::Basis) -> &'static str {
    match basis {
        dcc_core::gate::Basis::Policy { .. } => "policy permits it",
        dcc_core::gate::Basis::Grant { .. } => "a grant covers it",
        dcc_core::gate::Basis::Approval { .. } => "approved",
    }
}

fn gates(job: &Job, events: &[Event]) -> Vec<GateDecision> {
    let times: Vec<i64> = events.iter().filter(|e| e.code == EventCode::GateDecided).map(|e| e.ts.as_ms()).collect();
    job.gates
        .iter()
        .enumerate()
        .map(|(at, gate)| GateDecision {
            gate: word(&gate.gate),
            decision: match gate.outcome {
                GateOutcome::Pass => "allow",
                GateOutcome::Ask => "ask",
                GateOutcome::Deny => "deny",
            }
            .to_owned(),
            reason: Some(gate.reason.clone()),
            decided_at_ms: times.get(at).copied(),
        })
        .collect()
}

/// The preview as names and values.
fn plan_facts(preview: &Preview) -> Vec<FactView> {
    let fact = |name: &str, value: String| FactView { name: name.to_owned(), value };
    let mut facts = vec![fact("what", preview.title.clone())];
    for item in &preview.exactly {
        facts.push(match item {
            PreviewItem::Text { label, text } => fact(label, cut(text, 4_000)),
            PreviewItem::Command { argv, cwd } => fact("command", format!("{} (in {cwd})", argv.join(" "))),
            PreviewItem::Paths { paths } => {
                let lines: Vec<String> = paths.iter().take(200).map(|p| format!("{} {}", p.change, p.path.display())).collect();
                fact("paths", lines.join("\n"))
            }
            PreviewItem::Diff { path, text, .. } => fact(&format!("diff of {}", path.display()), cut(text, 4_000)),
            PreviewItem::Fact { label, value } => fact(label, value.clone()),
            PreviewItem::Warning { text } => fact("warning", text.clone()),
        });
    }
    facts.extend(preview.place.iter().map(|p| fact(&p.label, p.value.clone())));
    facts.push(fact("risk", preview.risk.clone()));
    facts.push(fact("undo", preview.undo.clone()));
    facts
}

/// Attempts by the state changes that begin and end them.
fn attempts(job: &Job, events: &[Event]) -> Vec<AttemptView> {
    let mut attempts: Vec<AttemptView> = Vec::new();
    for event in events.iter().filter(|e| matches!(e.code, EventCode::JobStateChange | EventCode::JobFinished)) {
        let to = event.payload["to"].as_str().unwrap_or("");
        if to == "running" {
            let attempt = event.payload["attempt"].as_i64().unwrap_or(attempts.len() as i64 + 1);
            attempts.push(AttemptView { attempt, state: to.to_owned(), started_at_ms: event.ts.as_ms(), ..AttemptView::default() });
        } else if let Some(last) = attempts.last_mut() {
            to.clone_into(&mut last.state);
            last.ended_at_ms = JobState::parse(to).filter(|s| s.is_terminal() || *s == JobState::Stalled).map(|_| event.ts.as_ms());
            last.failure = serde_json::from_value::<Failure>(event.payload["failure"].clone()).ok().as_ref().map(failure_view);
        }
    }
    if attempts.is_empty() {
        attempts.push(AttemptView {
            attempt: i64::from(job.attempt),
            state: job.state.as_str().to_owned(),
            started_at_ms: job.created_at.as_ms(),
            ended_at_ms: job.state.is_terminal().then(|| job.updated_at.as_ms()),
            failure: job.failure.as_ref().map(failure_view),
        });
    }
    attempts
}

fn results(job: &Job) -> BTreeMap<String, String> {
    job.result
        .iter()
        .filter(|(key, value)| !value.is_null() && !matches!(key.as_str(), "stdout_sha256" | "stderr_sha256"))
        .map(|(key, value)| (key.clone(), cut(&value.as_str().map_or_else(|| value.to_string(), str::to_owned), 400)))
        .collect()
}

fn next_step(job: &Job) -> Option<String> {
    match job.state {
        JobState::AwaitingUser => Some("Decide the approval; the job goes on by itself.".to_owned()),
        JobState::Stalled => Some("Look at the evidence, then cancel the job: what it did is not known.".to_owned()),
        JobState::AwaitingValidation => Some("Judge the result.".to_owned()),
        JobState::Failed | JobState::Poisoned => job.failure.as_ref().and_then(|f| f.hint.clone()),
        JobState::CompletedWithIssues => Some("It ended with issues: read its output.".to_owned()),
        _ => None,
    }
}
