//! Records as the API's JSON: the record's own fields plus what is derived from it, ids under their product names.

use serde_json::{Map, Value, json};

use dcc_core::approval::{Approval, ApprovalStatus, Grant, Scope};
use dcc_core::event::Event;
use dcc_core::job::Job;
use dcc_core::locus::family::{self, Facts};
use dcc_core::locus::rules::Packets;
use dcc_core::locus::{MicroTask, MtStatus, WorkPacket};
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{Outcome, Timestamp, limits};

use super::App;

/// What is at work on the packets, read once for a list.
pub struct AtWork {
    pub approvals: Vec<Approval>,
    pub sessions: Vec<Session>,
    pub workspaces: Vec<Workspace>,
}

impl App {
    pub(crate) fn at_work(&self) -> Outcome<AtWork> {
        let store = &self.cx().ports.store;
        Ok(AtWork {
            approvals: store.approvals(Some(ApprovalStatus::Pending), limits::PAGE_MAX)?,
            sessions: store.sessions(limits::PAGE_MAX)?,
            workspaces: store.workspaces()?,
        })
    }
}

/// Family, reason and sentence of one packet, by the one pure function.
pub(crate) fn family_of(packet: &WorkPacket, micro_tasks: &[MicroTask], packets: &Packets<'_>, at_work: &AtWork) -> family::Family {
    let mut pending: Vec<&Approval> = at_work.approvals.iter().filter(|a| a.wp_id.as_ref() == Some(&packet.wp_id)).collect();
    pending.sort_by_key(|a| a.requested_at);
    let live: Vec<&Session> = at_work.sessions.iter().filter(|s| s.wp_id.as_ref() == Some(&packet.wp_id) && !s.state.is_terminal()).collect();
    let facts = facts_of(&pending, &live);
    family::family(packet, micro_tasks, &packets.blockers(&packet.wp_id), &facts)
}

fn facts_of<'a>(pending: &[&'a Approval], live: &[&'a Session]) -> Facts<'a> {
    use dcc_core::session::SessionState;
    Facts {
        pending_approvals: pending.len(),
        oldest_approval: pending.first().map(|a| a.preview.title.as_str()),
        sessions_active: live.iter().filter(|s| s.state == SessionState::Active).count(),
        sessions_paused: live.iter().filter(|s| s.state == SessionState::Paused).count(),
        ..Facts::default()
    }
}

pub(crate) fn packet_json(packet: &WorkPacket, micro_tasks: &[MicroTask], packets: &Packets<'_>, at_work: &AtWork) -> Value {
    let family = family_of(packet, micro_tasks, packets, at_work);
    let mut map = object(packet);
    map.insert("workflow_state_family".into(), json!(family.family));
    map.insert("queue_reason_code".into(), json!(family.reason));
    map.insert("why".into(), json!(family.sentence));
    let done = micro_tasks.iter().filter(|m| matches!(m.status, MtStatus::Completed | MtStatus::Skipped)).count();
    map.insert("micro_tasks_total".into(), json!(micro_tasks.len()));
    map.insert("micro_tasks_done".into(), json!(done));
    map.insert("task_board_status".into(), json!(packet.status));
    let workspace = at_work.workspaces.iter().find(|w| w.wp_id.as_ref() == Some(&packet.wp_id));
    map.insert("workspace_id".into(), json!(workspace.map(|w| w.workspace_id)));
    Value::Object(map)
}

/// The flat job with what the inspector needs.
pub(crate) fn job_json(job: &Job) -> Value {
    let mut map = object(&job.flat());
    for (key, value) in [
        ("params", job.params.clone()),
        ("params_ref", json!(job.params_ref)),
        ("actor", json!(job.actor)),
        ("attempt", json!(job.attempt)),
        ("parent_job_id", json!(job.parent_job_id)),
        ("workflow_run_id", json!(job.root_job_id)),
        ("plan_digest", json!(job.plan_digest)),
        ("plan_ref", json!(job.plan_artifact)),
        ("basis", json!(job.basis)),
        ("gates", json!(job.gates)),
        ("inputs_ref", json!(job.inputs)),
        ("outputs_ref", json!(job.outputs)),
        ("instance_id", json!(job.instance_id)),
        ("created_at", json!(job.created_at)),
        ("updated_at", json!(job.updated_at)),
    ] {
        map.insert(key.into(), value);
    }
    Value::Object(map)
}

pub(crate) fn approval_json(approval: &Approval) -> Value {
    Value::Object(object(approval))
}

/// A grant with its derived status.
pub(crate) fn grant_json(grant: &Grant, session: Option<&Session>, now: Timestamp) -> Value {
    let mut map = object(grant);
    map.insert("status".into(), json!(grant_status(grant, session, now)));
    map.insert("covers".into(), json!(grant.intent.phrase()));
    Value::Object(map)
}

/// What becomes of a grant without anybody's doing: `session` is the one it is bound to.
pub(crate) fn grant_status(grant: &Grant, session: Option<&Session>, now: Timestamp) -> &'static str {
    let is_over = session.is_some_and(|s| s.state.is_terminal() || (grant.scope == Scope::Job && grant.binding.by_agent && s.running_job_id != grant.binding.root_job_id));
    if grant.revoked {
        "revoked"
    } else if is_over {
        "ended"
    } else if grant.used >= grant.max_uses {
        "used_up"
    } else if now >= grant.expires_at {
        "expired"
    } else {
        "active"
    }
}

pub(crate) fn event_json(event: &Event) -> Value {
    let mut map = object(event);
    // On the wire the class of a code goes along, so that a reader knows what may be purged.
    map.insert("class".into(), json!(event.code.class()));
    Value::Object(map)
}

/// A value's JSON object; anything else becomes an empty one.
pub(crate) fn object(value: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
