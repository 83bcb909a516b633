//! The record: a slice of it, and one event with what stood around it.
//!
//! Authority: derived from the recorder. Failure: HSK-404-NOT-FOUND when there is no such event.

use serde_json::Value;

use dcc_core::event::{Event, EventCode};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::session::StateReason;
use dcc_core::{Code, EventId, Failure, Outcome, limits};

use super::super::App;
use super::changes::pretty;
use super::names::Names;
use super::rows::event_row;
use crate::door::event_filter;
use crate::view::{ChainBreak, EventView, FactView, TimelineFilter, TimelineLane, TimelineMark, TimelineSpan, TimelineView};

const SHOWN: usize = 200;
/// Neighbours on each side of an event.
const AROUND: u64 = 5;
const LANES_MAX: usize = 12;
/// What stands in a lane: states of sessions, questions, answers, calls, and what ended badly.
const DRAWN: [EventCode; 7] = [
    EventCode::SessionCreated,
    EventCode::SessionStateChange,
    EventCode::SessionCompleted,
    EventCode::ApprovalRequested,
    EventCode::ApprovalDecided,
    EventCode::ToolCallStarted,
    EventCode::JobFinished,
];

impl App {
    pub(super) fn timeline_view(&self, filter: TimelineFilter, layout: String, cursor: Option<&str>) -> Outcome<TimelineView> {
        let events = self.cx().ports.recorder.read(&EventFilter { limit: SHOWN, ..event_filter(&filter, cursor)? })?;
        let verified = self.last_verified();
        let bad = verified.as_ref().filter(|(report, _)| !report.ok).map(|(report, _)| ChainBreak {
            seq: report.first_bad_seq.unwrap_or(0) as i64,
            message: report.problem.clone().unwrap_or_else(|| "the chain does not hold".to_owned()),
        });
        // What a lane draws is asked for by itself: gates and heartbeats between would leave it a few minutes only.
        let drawn = if layout == "lanes" && cursor.is_none() && filter.code.is_none() { self.cx().ports.recorder.read(&EventFilter { limit: limits::PAGE_MAX, codes: DRAWN.to_vec(), ..event_filter(&filter, cursor)? })? } else { Vec::new() };
        let drawn = if drawn.is_empty() { &events } else { &drawn };
        let lanes = if layout == "lanes" { lanes(drawn, &self.names()) } else { Vec::new() };
        Ok(TimelineView {
            filter,
            next_cursor: (events.len() == SHOWN).then(|| events.last().map(|e| e.seq.to_string())).flatten(),
            total: None,
            verified_seq: verified.as_ref().filter(|(report, _)| report.ok).map(|(report, _)| report.head.seq as i64),
            verified_at_ms: verified.as_ref().map(|(_, at)| at.as_ms()),
            broken: bad,
            layout,
            lanes,
            from_at_ms: drawn.iter().map(|e| e.ts.as_ms()).min(),
            to_at_ms: if cursor.is_some() { events.iter().map(|e| e.ts.as_ms()).max() } else { None },
            items: events.iter().map(event_row).collect(),
        })
    }

    pub(super) fn event_view(&self, id: EventId) -> Outcome<EventView> {
        let recorder = &self.cx().ports.recorder;
        let event = recorder.event(id)?.ok_or_else(|| Failure::new(Code::NotFound, format!("no event {id}")))?;
        let from = event.seq.saturating_sub(AROUND + 1);
        let around = EventFilter { after_seq: Some(from), before_seq: Some(event.seq + AROUND + 1), limit: (2 * AROUND + 1) as usize, order: Order::Ascending, ..EventFilter::default() };
        let context = recorder.read(&around).unwrap_or_else(|_| vec![event.clone()]);
        let gone = event.payload.is_null();
        let lies = ["text_ref", "plan_artifact", "ref"].iter().find_map(|key| event.payload[*key].as_str());
        Ok(EventView {
            event: event_row(&event),
            header: header(&event),
            payload_json: (!gone).then(|| pretty(&event.payload)),
            payload_note: match (gone, lies) {
                (true, _) => Some("The payload was purged by retention; its hash still stands in the chain.".to_owned()),
                (_, Some(sha)) => Some(format!("More of it lies in the artifact {sha}.")),
                _ => None,
            },
            payload_sha256: event.payload_sha256.to_string(),
            prev_hash: event.prev_hash.to_string(),
            hash: event.hash.to_string(),
            context: context.iter().map(event_row).collect(),
        })
    }
}

const HEADER: [&str; 20] = [
    "seq", "event_id", "ts", "code", "name", "actor_kind", "actor_id", "wp_id", "mt_id", "session_id", "workspace_id", "job_id", "workflow_run_id", "approval_id", "tool_call_id",
    "capability_id", "policy_digest", "outcome", "unique_key", "instance_id",
];

/// Every header column that is set, in the order of the record.
fn header(event: &Event) -> Vec<FactView> {
    let value = serde_json::to_value(event).unwrap_or(Value::Null);
    let mut facts: Vec<FactView> = HEADER
        .iter()
        .filter_map(|key| {
            let value = &value[*key];
            let text = if value.is_null() { return None } else { value.as_str().map_or_else(|| value.to_string(), str::to_owned) };
            Some(FactView { name: key.replace('_', " "), value: text })
        })
        .collect();
    facts.push(FactView { name: "surface".to_owned(), value: super::rows::word(&event.actor.surface) });
    facts
}

/// One lane a session with its states as spans, one for the operator, one for the system.
fn lanes(events: &[Event], names: &Names) -> Vec<TimelineLane> {
    let mut lanes: Vec<TimelineLane> = Vec::new();
    for event in events.iter().rev() {
        let at = lane_of(&mut lanes, event, names);
        if let Some(mark) = mark(event) {
            lanes[at].marks.push(mark);
        }
        if matches!(event.code, EventCode::SessionStateChange | EventCode::SessionCompleted) {
            change_span(&mut lanes[at].spans, event);
        }
    }
    // A lane that nothing stands in says nothing.
    lanes.retain(|lane| !lane.spans.is_empty() || !lane.marks.is_empty());
    // The latest are kept.
    let older = lanes.len().saturating_sub(LANES_MAX);
    lanes.split_off(older)
}

fn lane_of(lanes: &mut Vec<TimelineLane>, event: &Event, names: &Names) -> usize {
    // What the operator did stands in his lane, what became of a session in the session's.
    let state = matches!(event.code, EventCode::SessionCreated | EventCode::SessionStateChange | EventCode::SessionCompleted);
    let session = event.session_id.filter(|_| state || event.actor_id != "operator");
    let session_id = session.map(|id| id.to_string());
    let name = match (session, event.actor_id.as_str()) {
        (Some(id), _) => names.agent(Some(id)).map_or_else(|| id.short(), |agent| format!("{agent} {}", id.short())),
        (None, "operator") => "operator".to_owned(),
        (None, _) => "dcc".to_owned(),
    };
    lanes.iter().position(|l| l.name == name).unwrap_or_else(|| {
        lanes.push(TimelineLane { name, session_id, note: event.wp_id.as_ref().map(ToString::to_string).unwrap_or_default(), ..TimelineLane::default() });
        lanes.len() - 1
    })
}

fn mark(event: &Event) -> Option<TimelineMark> {
    use dcc_core::event::EventOutcome::{Deny, Failed};
    let kind = match event.code {
        EventCode::ApprovalRequested => "ask",
        EventCode::ApprovalDecided => "decision",
        EventCode::ToolCallStarted => "call",
        _ if matches!(event.outcome, Failed | Deny) => "error",
        _ => return None,
    };
    Some(TimelineMark { kind: kind.to_owned(), label: super::sentence::sentence(event), at_ms: event.ts.as_ms(), event_id: event.event_id.to_string() })
}

/// Ends the span that runs and begins the next, unless the session is over.
fn change_span(spans: &mut Vec<TimelineSpan>, event: &Event) {
    if let Some(last) = spans.last_mut().filter(|s| s.to_at_ms.is_none()) {
        last.to_at_ms = Some(event.ts.as_ms());
    }
    let reason = event.payload["reason"].as_str().unwrap_or("");
    let kind = match event.payload["to"].as_str().unwrap_or("") {
        "ACTIVE" => "run",
        "PAUSED" => "pause",
        "BLOCKED" if StateReason::parse(reason).is_some_and(|reason| reason.need().is_some()) => "wait",
        "BLOCKED" => "blocked",
        _ => return,
    };
    spans.push(TimelineSpan { kind: kind.to_owned(), label: reason.replace('_', " "), from_at_ms: event.ts.as_ms(), to_at_ms: None });
}
