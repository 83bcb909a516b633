//! session.attach: a person at a session's terminal, one job from the first key to the last (decision 13).
//!
//! Invariants: an agent never attaches; the keys are counted and kept nowhere; what the terminal showed meanwhile is the
//! record of them, as an artifact, redacted. Failure: a command that ends ends the attachment, which is then complete.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::{AttachPlan, one_line};
use dcc_core::ports::terminal::{TerminalLink, TerminalSize, plain};
use dcc_core::redact;
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::attachments::{fit, require_terminal};
use crate::context::Context;
use crate::runner::correlation;

pub(super) struct Attach;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// Of the person's own terminal, both or none.
    rows: Option<u16>,
    columns: Option<u16>,
}

impl JobKind for Attach {
    type Plan = AttachPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<AttachPlan>> {
        if !job.actor.is_operator() {
            return Err(Failure::new(Code::Capability, "only the operator attaches to a terminal"));
        }
        let p: Params = params::parse(cx, job)?;
        let size = match (p.rows, p.columns) {
            (Some(rows), Some(columns)) => Some(TerminalSize::new(rows, columns)?),
            (None, None) => None,
            _ => return Err(Failure::invalid("give rows and columns, or neither")),
        };
        let session = params::session(cx, job)?;
        require_terminal(cx, session.session_id)?;
        let body = AttachPlan { session_id: session.session_id, command: one_line(&session.command), size };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    /// As long as the person stays.
    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<AttachPlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let id = plan.session_id;
        let terminal = require_terminal(cx, id)?;
        let from = end_of(terminal.as_ref());
        cx.attachments.begin(job.job_id, id, plan.size)?;
        let begun = NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": { "attached": id, "from": from, "size": plan.size } })).about(&correlation(job));
        let begun = cx.journal.append(vec![begun]).and_then(|_| fit(cx, id, terminal.as_ref()));
        if begun.is_err() || terminal.read(u64::MAX, None, Duration::ZERO).ended {
            cx.attachments.end(job.job_id, crate::attachments::Left::Cancelled);
        } else if let Some(runner) = cx.runner.get().and_then(std::sync::Weak::upgrade) {
            runner.wake();
        }
        let (left, typed_bytes) = cx.attachments.wait(job.job_id);
        begun?;
        // A command that is over has no size to be told.
        let _ = fit(cx, id, terminal.as_ref());
        let to = end_of(terminal.as_ref());
        let mut effect = Effect::default().with("typed_bytes", typed_bytes).with("shown_bytes", to.saturating_sub(from)).with("left", left.as_str());
        if typed_bytes > 0 {
            let (shown, cut) = shown(terminal.as_ref(), from, to);
            let (text, _) = redact::redact_text(&shown);
            let sha256 = cx.ports.artifacts.put(text.as_bytes())?;
            effect = effect.with("transcript_sha256", sha256.to_string()).with("transcript_cut_bytes", cut);
            effect.outputs.push(sha256);
        }
        Ok(Done::Finished(effect))
    }

    /// It ended with the server that held the terminal; how much was typed by then nobody knows any more.
    fn recover(&self, _cx: &Context, _job: &Job, _body: &AttachPlan) -> Outcome<Recovered> {
        Ok(Recovered::Finished(Effect::default().with("left", "the server ended")))
    }
}

/// The place where the output ends now.
fn end_of(terminal: &dyn TerminalLink) -> u64 {
    terminal.read(u64::MAX, None, Duration::ZERO).from
}

/// What was shown between two places, as plain text, and how many bytes at its beginning are no longer kept.
fn shown(terminal: &dyn TerminalLink, from: u64, to: u64) -> (String, u64) {
    let mut bytes = Vec::new();
    let mut at = from;
    let mut cut = 0;
    while at < to {
        let chunk = terminal.read(at, None, Duration::ZERO);
        if chunk.bytes.is_empty() {
            break;
        }
        if chunk.from > at {
            cut += chunk.from - at;
        }
        at = chunk.from + chunk.bytes.len() as u64;
        bytes.extend(chunk.bytes);
    }
    bytes.truncate(usize::try_from((to - from).saturating_sub(cut)).unwrap_or(usize::MAX));
    (plain(&String::from_utf8_lossy(&bytes)), cut)
}
