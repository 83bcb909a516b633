//! fs.write: a file that an agent writes through DCC, inside its own worktree.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::job::Job;
use dcc_core::plans::FileWritePlan;
use dcc_core::ports::sessions::{Observed, SideEffect, ToolReport, ToolStatus};
use dcc_core::{Code, Failure, Outcome, RepoPath, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
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
        let content = cx.ports.artifacts.get(p.content_sha256)?;
        let body = FileWritePlan {
            session_id: session.session_id,
            workspace_id,
            path: p.path,
            content_sha256: p.content_sha256,
            content_bytes: content.len() as u64,
            before_sha256: before.map(|b| Sha256Hex::of(&b)),
        };
        Ok(Planned { body, engine: "worktree", inputs: vec![p.content_sha256], bindings: job.bindings.clone(), claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<FileWritePlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), plan.workspace_id)?;
        let content = cx.ports.artifacts.get(plan.content_sha256)?;
        let id = format!("write-{}", job.job_id);
        let about = |code, payload| {
            let mut event = NewEvent::new(code, job.actor, payload).about(&correlation(job));
            event.correlation.tool_call_id = Some(id.clone());
            event
        };
        let tool = |status| ToolReport {
            tool_call_id: id.clone(),
            title: format!("write {}", plan.path.display()),
            kind: "edit".into(),
            side_effect: SideEffect::Write,
            status,
            locations: vec![plan.path.display()],
            raw_input: Some(json!({ "sha256": plan.content_sha256, "bytes": plan.content_bytes, "before": plan.before_sha256 })),
            raw_output: None,
            content: Vec::new(),
        };
        cx.journal.append(vec![
            about(EventCode::EffectPlanned, json!({ "effect": { "path": plan.path, "sha256": plan.content_sha256 } })),
            about(EventCode::ToolCallStarted, json!({ "tool": tool(ToolStatus::Running), "observed": Observed::Gated })),
        ])?;
        let written = cx.ports.files.write(&workspace.binding, cleared, &content);
        let status = if written.is_ok() { ToolStatus::Ok } else { ToolStatus::Error };
        let finished = about(EventCode::ToolCallFinished, json!({ "tool": tool(status), "observed": Observed::Gated }));
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
            Recovered::Finished(Effect::default().with("path", json!(body.path)))
        } else if now == body.before_sha256 {
            Recovered::Absent
        } else {
            Recovered::Unknown(format!("{} holds neither the old nor the new content", body.path.display()))
        })
    }
}
