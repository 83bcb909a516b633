//! handoff.write: what was done and what remains, for a session that goes on or for a packet. Advisory: no status follows.

use serde::Deserialize;

use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::HandoffPlan;
use dcc_core::{Code, Failure, Outcome};

use super::session_close::{read_handoff, written};
use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;

pub(super) struct WriteHandoff;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    handoff: serde_json::Value,
}

impl JobKind for WriteHandoff {
    type Plan = HandoffPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<HandoffPlan>> {
        let p: Params = params::parse(cx, job)?;
        let handoff = read_handoff(p.handoff)?;
        let mut bindings = job.bindings.clone();
        match (bindings.session_id, &bindings.wp_id) {
            (Some(_), _) => bindings = params::bindings_of(job, &params::session(cx, job)?),
            (None, Some(wp_id)) => {
                let packet = cx.ports.locus.packet(wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")))?;
                bindings.wp_id = Some(packet.record.wp_id);
            }
            (None, None) => return Err(Failure::invalid("a handoff is of a session or of a packet").hint("dcc handoff write --session S|--wp WP --file F")),
        }
        let body = HandoffPlan { session_id: bindings.session_id, wp_id: bindings.wp_id.clone(), handoff };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings, claim: None })
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<HandoffPlan>) -> Outcome<Done> {
        let (event, id) = written(cx, job, &cleared.body().handoff)?;
        let mut effect = Effect::default().with("handoff_id", id.to_string());
        effect.events.push(event);
        Ok(Done::Finished(effect))
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &HandoffPlan) -> Outcome<Recovered> {
        // Its event is written together with the job's end: no end means no handoff.
        Ok(Recovered::Absent)
    }
}
