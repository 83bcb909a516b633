//! Tool calls as agents tell of them: some several times in one status, some for the first time when they run or are over.

use dcc_core::event::EventCode;
use dcc_core::ports::sessions::ToolStatus;

use super::rig::Rig;

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
