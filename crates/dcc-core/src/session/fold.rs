//! The one fold from events to the record of a session. Pure.

use serde_json::Value;

use crate::budget::Totals;
use crate::event::{Event, EventCode};
use crate::principal::ActorKind;

use super::{CheckpointMark, Pausing, QueuedRun, Session, SessionState, StateReason, Steering, messages};

/// The codes that decide what a session is and may do. The others only count and date; a session's turn carries
/// thousands of them.
pub const DECISIVE_CODES: [EventCode; 11] = [
    EventCode::SessionCreated,
    EventCode::SessionStateChange,
    EventCode::SessionCompleted,
    EventCode::SessionSteered,
    EventCode::SessionNoted,
    EventCode::RunQueued,
    EventCode::RunDispatched,
    EventCode::RunDropped,
    EventCode::SessionSucceeded,
    EventCode::HandoffWritten,
    EventCode::HandoffWaived,
];

/// Takes the next event of this session in; `None` until the creating event.
pub fn apply(session: &mut Option<Session>, event: &Event) {
    if event.code == EventCode::SessionCreated {
        *session = serde_json::from_value(event.payload["session"].clone()).ok();
        return;
    }
    let Some(s) = session else { return };
    date(s, event);
    match event.code {
        EventCode::SessionStateChange | EventCode::SessionCompleted => state(s, event),
        EventCode::SessionNoted => facts(s, &event.payload),
        EventCode::SessionSteered => {
            // An act of a newer program means nothing here and is kept in the log.
            if let Ok(steering) = serde_json::from_value::<Steering>(event.payload.clone()) {
                steer(s, event, &steering);
            }
        }
        EventCode::RunQueued => {
            if let Some(job_id) = event.job_id {
                let why = event.payload["why"].as_str().unwrap_or_default().to_owned();
                let since = s.queued_run.as_ref().filter(|q| q.job_id == job_id).map_or(event.ts, |q| q.since);
                s.queued_run = Some(QueuedRun { job_id, since, why });
            }
        }
        EventCode::RunDispatched | EventCode::RunDropped => s.queued_run = None,
        EventCode::SessionSucceeded => s.succeeded_by = serde_json::from_value(event.payload["succeeded_by"].clone()).ok(),
        EventCode::HandoffWritten => s.last_handoff_id = serde_json::from_value(event.payload["handoff"]["handoff_id"].clone()).ok().or(s.last_handoff_id),
        EventCode::SessionCheckpoint => {
            let count = s.checkpoint.map_or(0, |c| c.count) + 1;
            s.checkpoint = Some(CheckpointMark { seq: event.seq, at: event.ts, count });
        }
        EventCode::SessionMessage if event.payload["role"].as_str().is_some_and(super::is_prompt) => s.turns += 1,
        EventCode::SessionUpdate => usage(s, &event.payload),
        // A write in the name of a call is part of it.
        EventCode::ToolCallStarted if event.payload["write"].is_null() => s.tool_calls += 1,
        _ => {}
    }
}

/// Signs of life and signs of work are two things.
fn date(s: &mut Session, event: &Event) {
    if event.actor_kind == ActorKind::Agent || event.code == EventCode::SessionHeartbeat {
        s.last_heartbeat_at = Some(event.ts);
    }
    // Whoever looks at a request does nothing to its session.
    if !matches!(event.code, EventCode::SessionHeartbeat | EventCode::SessionCheckpoint | EventCode::ApprovalPresented) {
        s.last_activity_at = event.ts;
    }
}

fn state(s: &mut Session, event: &Event) {
    if let Ok(to) = serde_json::from_value::<SessionState>(event.payload["to"].clone()) {
        s.state = to;
    }
    if let Ok(reason) = serde_json::from_value(event.payload["reason"].clone()) {
        s.state_reason = reason;
    }
    if let Some(text) = event.payload["closing"].as_str() {
        s.closing = Some(text.to_owned());
    }
    facts(s, &event.payload);
    if s.state == SessionState::Active {
        s.started_at.get_or_insert(event.ts);
        s.running_job_id = event.job_id;
        s.cut_turn = None;
        s.fault = None;
    } else if s.state == SessionState::Paused {
        s.pausing = None;
        s.cut_turn = serde_json::from_value(event.payload["cut_turn"].clone()).ok().or(s.cut_turn);
        if s.state_reason == StateReason::CrashRecovery {
            s.process = None;
            s.frozen_until = None;
            s.running_job_id = None;
        }
    } else if s.state != SessionState::Blocked || s.state_reason != StateReason::ApprovalWait {
        s.running_job_id = None;
    }
    if s.state.is_terminal() {
        s.frozen_until = None;
        s.ended_at.get_or_insert(event.ts);
        s.process = None;
        s.queued_run = None;
        s.pausing = None;
    }
}

/// What became known of the session without a move: its agent, its use. A key that is absent says nothing, null says that there is none.
fn facts(s: &mut Session, payload: &Value) {
    for (key, slot) in [("agent_session_id", &mut s.agent_session_id), ("briefed", &mut s.briefed), ("model_id", &mut s.model_id), ("fault", &mut s.fault)] {
        if let Some(text) = payload[key].as_str() {
            *slot = Some(text.to_owned());
        }
    }
    if let Some(value) = payload.get("process") {
        s.process = serde_json::from_value(value.clone()).ok();
        // What stood still is gone, and what came in its place runs.
        s.frozen_until = None;
    }
    if let Some(value) = payload.get("seed") {
        s.seed = serde_json::from_value(value.clone()).ok();
    }
    if let Ok(posture) = serde_json::from_value(payload["posture"].clone()) {
        s.posture = Some(posture);
    }
    if payload["capabilities"].is_object()
        && let Ok(capabilities) = serde_json::from_value(payload["capabilities"].clone())
    {
        s.capabilities = Some(capabilities);
    }
    if let Some(tools) = payload["tools"].as_bool() {
        s.tools = tools;
    }
    if let Ok(totals) = serde_json::from_value::<Totals>(payload["totals"].clone()) {
        s.tokens_in = totals.tokens_in;
        s.tokens_out = totals.tokens_out;
        s.totals = totals;
    }
}

fn steer(s: &mut Session, event: &Event, steering: &Steering) {
    match steering {
        Steering::Pausing { .. } => s.pausing = Some(Pausing { since: event.ts, job_id: event.job_id }),
        Steering::PauseDropped { .. } => s.pausing = None,
        Steering::Frozen { until } => s.frozen_until = Some(*until),
        Steering::Thawed { .. } => s.frozen_until = None,
        Steering::TurnCut { turn_job_id, .. } => s.cut_turn = Some(*turn_job_id),
        Steering::Routed { wp_id, mt_id } => {
            s.wp_id.clone_from(wp_id);
            s.mt_id.clone_from(mt_id);
        }
        Steering::Delivered { .. } => s.seed = None,
        _ => {}
    }
    messages::apply(&mut s.waiting, steering);
}

/// What the agent says of itself, where the record keeps it.
fn usage(s: &mut Session, payload: &Value) {
    match payload["kind"].as_str() {
        Some("usage") => {
            s.context_used = payload["used"].as_u64().or(s.context_used);
            s.context_size = payload["size"].as_u64().or(s.context_size);
        }
        Some("capabilities") => {
            if let Ok(capabilities) = serde_json::from_value(payload["capabilities"].clone()) {
                s.capabilities = Some(capabilities);
            }
        }
        _ => {}
    }
}
