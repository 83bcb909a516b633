//! session.route: a packet or a micro-task becomes the session's, and a message made from the records says so to its agent.

use serde::Deserialize;

use dcc_core::gate::Cleared;
use dcc_core::ids::{MtId, Sha256Hex, WpId};
use dcc_core::job::Job;
use dcc_core::locus::{MicroTask, WorkPacket};
use dcc_core::plans::RoutePlan;
use dcc_core::ports::sessions::Steer;
use dcc_core::session::{Session, Source, Steering, delivery_of};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::delivery::{self, Occasion, Outgoing};
use crate::ledger;

pub(super) struct Route;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    wp_id: Option<WpId>,
    mt_id: Option<MtId>,
    when: Option<Steer>,
}

impl JobKind for Route {
    type Plan = RoutePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<RoutePlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        let wanted = p.wp_id.or_else(|| job.bindings.wp_id.clone()).or_else(|| session.wp_id.clone());
        let wp_id = wanted.ok_or_else(|| Failure::invalid("name the packet").hint("dcc session route S WP [MT]"))?;
        let packet = cx.ports.locus.packet(&wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")))?.record;
        require_own_worktree(cx, &session, &packet)?;
        let mt_id = p.mt_id.or_else(|| job.bindings.mt_id.clone());
        let task = match &mt_id {
            Some(id) => Some(cx.ports.locus.micro_task(&packet.wp_id, id)?.ok_or_else(|| Failure::new(Code::NotFoundMt, format!("no micro-task {id} in {}", packet.wp_id)))?.record),
            None => None,
        };
        let when = p.when.unwrap_or(Steer::Queue);
        let delivery = delivery_of(&session, when).map_err(|why| Failure::new(Code::IllegalTransition, format!("session {}: {why}", session.session_id.short())))?;
        let text = text(&packet, task.as_ref());
        let mut bindings = params::bindings_of(job, &session);
        bindings.wp_id = Some(packet.wp_id.clone());
        bindings.mt_id.clone_from(&mt_id);
        let body = RoutePlan { session_id: session.session_id, wp_id: packet.wp_id, mt_id, text_sha256: Sha256Hex::of(text.as_bytes()), text, when, delivery };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings, claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<RoutePlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let runner = cx.require_runner()?;
        let session = ledger::session(cx.ports.recorder.as_ref(), plan.session_id)?;
        let routed = Steering::Routed { wp_id: Some(plan.wp_id.clone()), mt_id: plan.mt_id.clone() };
        let mut event = delivery::steering(job.actor, &session, &routed, Some(job.job_id));
        event.correlation.wp_id = Some(plan.wp_id.clone());
        event.correlation.mt_id.clone_from(&plan.mt_id);
        cx.journal.append(vec![event])?;
        let out = Outgoing { text: &plan.text, when: plan.when, source: Source::Dcc, from: job.actor, job_id: job.job_id };
        let message = delivery::enqueue(cx, plan.session_id, job, &out)?;
        let mut effect = Effect::default().with("message_id", message.message_id.to_string()).with("delivery", plan.delivery.clone());
        if let Some(turn) = delivery::next(&runner, plan.session_id, Occasion::Person)? {
            effect = effect.with("turn_job_id", turn.job_id.to_string());
        }
        Ok(Done::Finished(effect))
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &RoutePlan) -> Outcome<Recovered> {
        Ok(Recovered::Unknown("the packet may have been routed; the session shows it".to_owned()))
    }
}

/// One active packet has one worktree: a session works on the packet its worktree is bound to.
fn require_own_worktree(cx: &Context, session: &Session, packet: &WorkPacket) -> Outcome<()> {
    let id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), id)?;
    if workspace.wp_id.as_ref() == Some(&packet.wp_id) {
        return Ok(());
    }
    let bound = workspace.wp_id.map_or_else(|| "no packet".to_owned(), |wp| wp.to_string());
    Err(Failure::new(Code::WorktreeConflict, format!("the session's worktree is bound to {bound}, not to {}", packet.wp_id)).hint("dcc ws link WS WP first, or start a session in that packet's worktree"))
}

/// The packet, or one task of it, as a message; long descriptions are cut and can be read by the agent's tools.
fn text(packet: &WorkPacket, task: Option<&MicroTask>) -> String {
    let list = |title: &str, points: &[String]| {
        let lines: Vec<String> = points.iter().map(|p| format!("- {p}")).collect();
        (!lines.is_empty()).then(|| format!("{title}:\n{}", lines.join("\n")))
    };
    let head = match task {
        Some(task) => format!("Work on the micro-task {} of {}: {}", task.mt_id, packet.wp_id, task.name),
        None => format!("Work on the packet {}: {}", packet.wp_id, packet.title),
    };
    let parts = [
        Some(head),
        task.and_then(|t| list("Done when", &t.done_criteria)),
        task.map(|t| t.scope.as_str()).filter(|s| !s.is_empty()).map(|s| format!("Scope: {s}")),
        Some(format!("The packet: {}\n{}", packet.title, packet.description)),
        list("Acceptance", &packet.acceptance_criteria),
        list("Paths in scope", &packet.in_scope_paths),
    ];
    let out = parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
    crate::host::cut_text(&out, limits::TEXT_BYTES_MAX)
}
