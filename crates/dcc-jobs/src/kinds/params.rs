//! Reading a request's parameters: unknown keys and wrong types are refused with the field's name.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use dcc_core::ids::{MtId, SessionId, WorkspaceId, WpId};
use dcc_core::job::{Bindings, Job};
use dcc_core::plans::{Origin, SessionStartPlan};
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{Failure, Outcome, limits};

use crate::context::Context;
use crate::ledger;

/// Parses the parameters into their type; null counts as an empty object.
pub(crate) fn parse<T: DeserializeOwned>(cx: &Context, job: &Job) -> Outcome<T> {
    let value = match (&job.params, job.params_ref) {
        (Value::Null, Some(sha256)) => {
            let bytes = cx.ports.artifacts.get(sha256)?;
            serde_json::from_slice(&bytes).map_err(|e| Failure::invalid(format!("the stored parameters cannot be read: {e}")))?
        }
        (Value::Null, None) => json!({}),
        (value, _) => value.clone(),
    };
    serde_json::from_value(value).map_err(|e| Failure::invalid(format!("{}: {e}", job.op)))
}

pub(crate) fn wp_id(job: &Job) -> Outcome<WpId> {
    job.bindings.wp_id.clone().ok_or_else(|| missing(job, "wp_id"))
}
pub(crate) fn mt_id(job: &Job) -> Outcome<MtId> {
    job.bindings.mt_id.clone().ok_or_else(|| missing(job, "mt_id"))
}
pub(crate) fn workspace_id(job: &Job) -> Outcome<WorkspaceId> {
    job.bindings.workspace_id.ok_or_else(|| missing(job, "workspace_id"))
}
pub(crate) fn session_id(job: &Job) -> Outcome<SessionId> {
    job.bindings.session_id.ok_or_else(|| missing(job, "session_id"))
}
fn missing(job: &Job, what: &str) -> Failure {
    Failure::invalid(format!("{} needs the binding {what}", job.op))
}

pub(crate) fn workspace(cx: &Context, job: &Job) -> Outcome<Workspace> {
    ledger::workspace(cx.ports.recorder.as_ref(), workspace_id(job)?)
}
pub(crate) fn session(cx: &Context, job: &Job) -> Outcome<Session> {
    ledger::session(cx.ports.recorder.as_ref(), session_id(job)?)
}

/// The session that a plan of an agent process is about.
pub(crate) fn session_of(job: &Job, plan: &SessionStartPlan) -> Outcome<SessionId> {
    match plan.origin {
        Origin::Resumed { session_id, .. } => Ok(session_id),
        _ => session_id(job),
    }
}

/// The job's bindings, completed by the session's own.
pub(crate) fn bindings_of(job: &Job, session: &Session) -> Bindings {
    Bindings { wp_id: session.wp_id.clone(), mt_id: session.mt_id.clone(), workspace_id: session.workspace_id, ..job.bindings.clone() }
}

/// A reason that says something, within one line's bound.
pub(crate) fn reason(text: &str) -> Outcome<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::invalid("a reason is needed"));
    }
    bounded("reason", text, limits::LINE_BYTES_MAX)?;
    Ok(text.to_owned())
}

pub(crate) fn bounded(name: &str, text: &str, max: usize) -> Outcome<()> {
    if text.len() > max {
        return Err(Failure::invalid(format!("{name} is {} bytes long; at most {max} are allowed", text.len())));
    }
    Ok(())
}
