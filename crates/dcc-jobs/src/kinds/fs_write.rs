//! fs.write: a file that an agent writes through DCC, inside its own worktree.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::job::Job;
use dcc_core::plans::FileWritePlan;
use dcc_core::ports::{Appended, EventFilter};
use dcc_core::ports::sessions::{FulfilledWrite, Observed, SideEffect, ToolReport, ToolStatus};
use dcc_core::{Code, Failure, Outcome, RepoPath, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, fulfilled, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct WriteFile;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    path: RepoPath,
    content_sha256: Sha256Hex,
}

impl JobKind for WriteFile {
    type Plan = FileWritePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<FileWritePlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
        let before = cx.ports.files.read(&workspace.binding, &p.path, limits::ARTIFACT_BYTES_MAX as u64)?;
        let is_kept = !cx.unkept.holds(p.content_sha256);
        let content = cx.written(p.content_sha256)?;
        let body = FileWritePlan {
            session_id: session.session_id,
            workspace_id,
            path: p.path,
            content_sha256: p.content_sha256,
            content_bytes: content.len() as u64,
            before_sha256: before.map(|b| Sha256Hex::of(&b)),
        };
        Ok(Planned { body, engine: "worktree", inputs: is_kept.then_some(p.content_sha256).into_iter().collect(), bindings: job.bindings.clone(), claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<FileWritePlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), plan.workspace_id)?;
        let content = cx.written(plan.content_sha256)?;
        let row = begin(cx, job, &plan)?;
        let written = cx.ports.files.write(&workspace.binding, cleared, &content);
        let finished = row.finished(if written.is_ok() { ToolStatus::Ok } else { ToolStatus::Error });
        if let Err(failure) = written {
            cx.journal.append(vec![finished])?;
            return Err(failure);
        }
        let mut effect = Effect::default().with("path", json!(plan.path));
        effect.events.push(finished);
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &FileWritePlan) -> Outcome<Recovered> {
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), body.workspace_id)?;
        let now = cx.ports.files.read(&workspace.binding, &body.path, limits::ARTIFACT_BYTES_MAX as u64)?.map(|b| Sha256Hex::of(&b));
        Ok(if now == Some(body.content_sha256) {
            let mut effect = Effect::default().with("path", json!(body.path));
            effect.events.push(begun(cx, job, body)?.finished(ToolStatus::Ok));
            Recovered::Finished(effect)
        } else if now == body.before_sha256 {
            Recovered::Absent
        } else {
            Recovered::Unknown(format!("{} holds neither the old nor the new content", body.path.display()))
        })
    }
}

/// Records what is about to be written, in the row of the call that it fulfils where that is known. A call's permission
/// covers each of its paths once, and so does its row: whoever writes the path again has a row of his own.
fn begin<'a>(cx: &Context, job: &'a Job, plan: &'a FileWritePlan) -> Outcome<Row<'a>> {
    let planned = || NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": { "path": plan.path, "sha256": plan.content_sha256 } })).about(&correlation(job));
    if let Some(call) = fulfilled::call_of(cx, job, &plan.path)? {
        let turn = job.parent_job_id.unwrap_or(job.root_job_id);
        let key = format!("fulfils:{turn}:{}", Sha256Hex::of(format!("{call}\0{}", plan.path.display()).as_bytes()));
        let row = Row { job, plan, call: Some(call) };
        if matches!(cx.journal.try_append(vec![planned(), row.started().once(key)])?, Appended::Written(_)) {
            return Ok(row);
        }
    }
    let row = Row { job, plan, call: None };
    cx.journal.append(vec![planned(), row.started()])?;
    Ok(row)
}

/// The row in which an earlier process recorded the write.
fn begun<'a>(cx: &Context, job: &'a Job, plan: &'a FileWritePlan) -> Outcome<Row<'a>> {
    let events = cx.ports.recorder.read(&EventFilter { job_id: Some(job.job_id), codes: vec![EventCode::ToolCallStarted], limit: 1, ..EventFilter::default() })?;
    let call = events.into_iter().find(|event| event.payload["write"].is_object()).and_then(|event| event.tool_call_id.clone());
    Ok(Row { job, plan, call })
}

/// Where the write stands in the ledger of tool calls.
struct Row<'a> {
    job: &'a Job,
    plan: &'a FileWritePlan,
    /// The agent's call that it fulfils; a row of its own when none.
    call: Option<String>,
}

impl Row<'_> {
    fn started(&self) -> NewEvent {
        self.event(EventCode::ToolCallStarted, ToolStatus::Running)
    }

    fn finished(&self, status: ToolStatus) -> NewEvent {
        self.event(EventCode::ToolCallFinished, status)
    }

    fn event(&self, code: EventCode, status: ToolStatus) -> NewEvent {
        let (job, plan) = (self.job, self.plan);
        let write_id = format!("write-{}", job.job_id);
        let tool = ToolReport {
            tool_call_id: self.call.clone().unwrap_or_else(|| write_id.clone()),
            title: format!("write {}", plan.path.display()),
            kind: "edit".into(),
            side_effect: SideEffect::Write,
            // Of a call it tells how far the write is; the call itself goes on until the agent says that it is over.
            status: if self.call.is_some() { ToolStatus::Running } else { status },
            locations: vec![plan.path.display()],
            raw_input: Some(json!({ "sha256": plan.content_sha256, "bytes": plan.content_bytes, "before": plan.before_sha256 })),
            raw_output: None,
            content: Vec::new(),
        };
        let mut about = correlation(job);
        about.tool_call_id = Some(tool.tool_call_id.clone());
        let mut payload = json!({ "tool": tool, "observed": Observed::Gated });
        if self.call.is_some() {
            let write = FulfilledWrite { write_id, job_id: job.job_id, path: plan.path.clone(), status, sha256: plan.content_sha256, bytes: plan.content_bytes, before: plan.before_sha256 };
            payload["write"] = json!(write);
        }
        NewEvent::new(code, job.actor, payload).about(&about)
    }
}
