//! What a standing permission covers, and until when it is shown to.

use dcc_testkit::World;

use crate::{DCC, asking_session, pending, session_state, until};

#[test]
fn a_grant_ends_with_its_session() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let (session, _) = asking_session(&world);
    world.ok(&["approvals", "approve", &pending(&world).unwrap(), "--scope", "session"]);
    until("the end of the turn", || (session_state(&world, &session).1 == "input_wait").then_some(()));
    let status = || world.ok(&["grants", "list"])["items"][0]["status"].as_str().unwrap().to_owned();
    assert_eq!(status(), "active");
    world.ok(&["session", "close", &session, "--waive", "nothing to hand over"]);
    assert_eq!(status(), "ended");
    assert_eq!(world.ok(&["session", "show", &session])["grants"][0]["status"], "ended");
}

#[test]
fn a_grant_for_a_turn_ends_with_the_turn() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let (session, _) = asking_session(&world);
    world.ok(&["approvals", "approve", &pending(&world).unwrap(), "--scope", "job"]);
    until("the end of the turn", || {
        // The first edit's grant names its path: the second edit asks anew.
        if let Some(next) = pending(&world) {
            world.ok(&["approvals", "approve", &next]);
        }
        (session_state(&world, &session).1 == "input_wait").then_some(())
    });
    let grants = world.ok(&["grants", "list"]);
    let of_the_turn = grants["items"].as_array().unwrap().iter().find(|g| g["scope"] == "job").unwrap();
    assert_eq!(of_the_turn["status"], "ended");
}
