//! Tool calls as agents tell of them: some several times in one status, some for the first time when they run or are over.

use dcc_core::event::{Event, EventCode};
use dcc_core::ports::sessions::{AgentReport, SessionHost as _, ToolStatus};

use super::puppet::Puppets;
use super::rig::Rig;
use crate::host::Host;

#[test]
fn a_call_begins_once_whatever_status_comes_first() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    let told: [(&str, &[ToolStatus]); 3] = [
        ("again", &[ToolStatus::Requested, ToolStatus::Requested, ToolStatus::Requested, ToolStatus::Ok]),
        ("running", &[ToolStatus::Running, ToolStatus::Running, ToolStatus::Ok]),
        ("over", &[ToolStatus::Error]),
    ];
    for (call, statuses) in told {
        for status in statuses {
            rig.puppets.tell(id, call, *status);
        }
    }
    let of = |code| rig.events(id, code).into_iter().filter_map(|e| e.tool_call_id.clone()).collect::<Vec<_>>();
    assert_eq!(of(EventCode::ToolCallStarted), ["again", "running", "over"]);
    assert_eq!(of(EventCode::ToolCallProgress), ["again", "again", "running"]);
    assert_eq!(of(EventCode::ToolCallFinished), ["again", "running", "over"]);
    assert_eq!(rig.shown(id).tool_calls, 3);
    // The same name in the next turn is another call.
    rig.puppets.end_turn(id, "end_turn");
    rig.send(id, "second");
    rig.puppets.finish_tool(id, "again");
    assert_eq!(rig.shown(id).tool_calls, 4);
}

/// Code and call of each event after this one, of speech and calls.
fn said_after(rig: &Rig, id: dcc_core::SessionId, seq: u64) -> Vec<(EventCode, String)> {
    let codes = [EventCode::SessionMessage, EventCode::ToolCallStarted, EventCode::ToolCallProgress, EventCode::ToolCallFinished, EventCode::SessionUpdate];
    let mut events: Vec<Event> = codes.into_iter().flat_map(|code| rig.events(id, code)).filter(|e| e.seq > seq).collect();
    events.sort_by_key(|e| e.seq);
    events.into_iter().map(|e| (e.code, e.tool_call_id.clone().unwrap_or_default())).collect()
}

#[test]
fn what_comes_together_is_recorded_together_in_its_order() {
    use EventCode::{SessionMessage, SessionUpdate, ToolCallFinished, ToolCallProgress, ToolCallStarted};
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.puppets.turn(id);
    let begun = rig.runner.cx.ports.recorder.head().unwrap().seq;
    let tool = |call, status| AgentReport::Tool(Puppets::tool(call, status));
    let reports = || vec![
        tool("a", ToolStatus::Requested),
        AgentReport::Message { text: "between".into() },
        tool("a", ToolStatus::Running),
        tool("b", ToolStatus::Ok),
        AgentReport::Title { title: "alone".into() },
        tool("a", ToolStatus::Ok),
    ];
    rig.puppets.report_together(id, reports());
    let name = |call: &str| call.to_owned();
    let rest = [(SessionMessage, name("")), (ToolCallProgress, name("a"))];
    let calls = [(ToolCallStarted, name("a")), rest[0].clone(), rest[1].clone(), (ToolCallStarted, name("b")), (ToolCallFinished, name("b")), (SessionUpdate, name("")), (ToolCallFinished, name("a"))];
    assert_eq!(said_after(&rig, id, begun), calls);
    // One who has not seen the turn finds on record what began before; together with a call that is new.
    let begun = rig.runner.cx.ports.recorder.head().unwrap().seq;
    let mut again = reports();
    again.insert(0, tool("c", ToolStatus::Requested));
    Host::new(std::sync::Arc::clone(&rig.runner)).reports(id, again);
    let calls = [(ToolCallStarted, name("c")), (ToolCallProgress, name("a")), rest[0].clone(), rest[1].clone(), (ToolCallFinished, name("b")), (SessionUpdate, name("")), (ToolCallFinished, name("a"))];
    assert_eq!(said_after(&rig, id, begun), calls);
    assert!(rig.runner.cx.ports.recorder.verify(None).unwrap().ok);
}

#[test]
fn no_report_is_left_out_whatever_its_agent_puts_beside_it() {
    use EventCode::{SessionMessage, ToolCallFinished, ToolCallStarted};
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.puppets.turn(id);
    let begun = rig.runner.cx.ports.recorder.head().unwrap().seq;
    // Each is within its own bound as text, and far above an event's as it is written.
    let signs = "\u{1}".repeat(16_000);
    let mut odd = Puppets::tool(&signs, ToolStatus::Ok);
    odd.title = signs.clone();
    odd.raw_input = Some(serde_json::json!(signs));
    rig.puppets.report_together(id, vec![
        AgentReport::Tool(Puppets::tool("plain", ToolStatus::Ok)),
        AgentReport::Message { text: signs.clone() },
        AgentReport::Tool(odd),
        AgentReport::Message { text: "the last".into() },
    ]);
    let codes: Vec<EventCode> = said_after(&rig, id, begun).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [ToolCallStarted, ToolCallFinished, SessionMessage, ToolCallStarted, ToolCallFinished, SessionMessage]);
}

#[test]
fn an_event_that_cannot_be_written_takes_no_other_with_it() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    rig.puppets.turn(id);
    let begun = rig.runner.cx.ports.recorder.head().unwrap().seq;
    let mut huge = Puppets::tool("huge", ToolStatus::Ok);
    // What only a backend of ours could hand over.
    huge.kind = "k".repeat(40_000);
    let plain = |call| AgentReport::Tool(Puppets::tool(call, ToolStatus::Ok));
    rig.puppets.report_together(id, vec![plain("a"), AgentReport::Tool(huge), plain("b")]);
    let calls: Vec<String> = said_after(&rig, id, begun).into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls, ["a", "a", "b", "b"]);
}
