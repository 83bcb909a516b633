//! A child that an agent asks for by its tool: asked, shown, decided, run, told about, and gone with its parent.

use dcc_core::op::Op;
use serde_json::{Value, json};

use crate::contract::assert_table;
use crate::mcp::{Played, call, handout, http, play_beside};
use crate::{pending, session_state, until};

/// Asks for a helper, then gives away what it was handed and waits.
fn asking() -> Value {
    let ask = json!({ "tool": "session_spawn", "args": { "agent": "helper", "prompt": "Count them.", "purpose": "A count", "mt_id": "MT-001", "wait_ms": 1000 }, "wait": true });
    json!({ "turns": [{ "steps": [{ "mcp": ask }, { "leak_handout": "handout.json" }, { "wait_for": "cancel" }] }] })
}

fn helping() -> Value {
    json!({ "turns": [{ "steps": [{ "say": "There are three." }] }, { "steps": [{ "wait_for": "cancel" }] }] })
}

#[test]
fn an_agent_gets_the_child_that_a_person_approves_and_none_beside_it() {
    let Played { world, wp, ws, path, session } = play_beside(&asking(), &[("helper", &helping())]);
    let approval = until("the agent's request", || pending(&world));
    until("the wait of the session", || (session_state(&world, &session).1 == "approval_wait").then_some(()));
    let shown = world.ok(&["approvals", "show", &approval]);
    assert_eq!((&shown["requester"]["principal"], &shown["session_id"], &shown["offered"]), (&json!("agent"), &json!(session), &json!(["once"])), "{shown}");
    assert!(shown["preview"].to_string().contains("Count them."), "{shown}");
    let done = world.ok(&["approvals", "approve", &approval]);
    let job = done["job_id"].as_str().unwrap();
    let child = done["session_id"].as_str().unwrap_or_else(|| panic!("{done}")).to_owned();
    assert_ne!(child, session);
    until("the child's turn", || (session_state(&world, &child).1 == "input_wait").then_some(()));
    let of_child = world.ok(&["session", "show", &child]);
    assert_eq!((&of_child["parent_session_id"], &of_child["spawn_depth"], &of_child["lane"]), (&json!(session), &json!(1), &json!("SUBAGENT")), "{of_child}");
    assert_eq!((&of_child["wp_id"], &of_child["mt_id"], &of_child["workspace_id"]), (&json!(wp), &json!("MT-001"), &json!(ws)), "{of_child}");
    assert_eq!(world.ok(&["job", "show", job])["actor"]["session_id"], session.as_str(), "asked for by the agent");
    assert!(world.dcc(&["session", "tree", &session]).stdout.contains(&child[child.len() - 8..]));
    let said = world.ok(&["timeline", "--session", &child, "--code", "FR-EVT-SESS-004"]);
    let said: Vec<&str> = said["items"].as_array().unwrap().iter().map(|e| e["payload"]["text"].as_str().unwrap()).collect();
    assert!(said[0].contains("session_spawn") && said[1..] == ["Count them.", "There are three."], "{said:?}");
    assert_table(&world, Op::SessionSpawn);

    let (port, token, _) = handout(&path);
    let listed = http(port, "GET", "/mcp/v1/tools", &token, "").1;
    assert!(listed["items"].as_array().unwrap().iter().any(|tool| tool["name"] == "session_spawn"), "{listed}");
    let told = call(port, &token, "job_get", json!({ "job_id": job, "wait_ms": 0 })).1;
    assert_eq!((&told["result"]["child"]["session_id"], &told["result"]["child"]["last_words"]), (&json!(child), &json!("There are three.")), "{told}");
    // What it may not say at all, and what a person says no to.
    for more in [json!({ "command": ["sh"] }), json!({ "lane": "PRIMARY" }), json!({ "budget": {} }), json!({ "human": true }), json!({ "session_id": child })] {
        let mut arguments = json!({ "agent": "helper", "prompt": "x", "wait_ms": 0 });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(call(port, &token, "session_spawn", arguments).1["code"], "HSK-400-INVALID-INPUT", "{more}");
    }
    let asked = call(port, &token, "session_spawn", json!({ "agent": "helper", "prompt": "Again.", "wait_ms": 0 })).1;
    assert_eq!(asked["result"]["state"], "awaiting_user", "{asked}");
    world.json(&["approvals", "deny", asked["result"]["approval_id"].as_str().unwrap(), "--reason", "one is enough"]);
    let denied = call(port, &token, "job_get", json!({ "job_id": asked["result"]["job_id"], "wait_ms": 0 })).1;
    assert_eq!((&denied["failed"], &denied["result"]["failure"]["code"]), (&json!(true), &json!("HSK-403-APPROVAL-DENIED")), "{denied}");
    // Four at once, whoever asked for them.
    for _ in 0..3 {
        world.ok(&["session", "spawn", &session, "--agent", "helper"]);
    }
    let over = call(port, &token, "session_spawn", json!({ "agent": "helper", "prompt": "Yet another.", "wait_ms": 0 })).1;
    assert!(over["result"]["failure"]["message"].as_str().is_some_and(|said| said.starts_with("children_cap_reached")), "{over}");
    assert_eq!(pending(&world), None);
    world.ok(&["session", "cancel", &session]);
    assert_eq!(session_state(&world, &child), ("CANCELLED".to_owned(), "cancelled_by_parent".to_owned()));
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}
