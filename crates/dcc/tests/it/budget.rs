//! Budgets over a real agent process: one warning, the hard stop, the clock, and who is refused afterwards.

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, session_state, started_packet, until};

/// A world whose scripted agent plays these turns; (world, packet, workspace).
fn world_with(turns: &Value, more: &str) -> (World, String, String) {
    let world = World::new(DCC);
    world.configure(&format!("{}{more}", crate::scripted(&world, &json!({ "turns": turns }).to_string())));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    (world, wp, ws)
}

fn start(world: &World, ws: &str) -> String {
    world.ok(&["session", "start", "--ws", ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().unwrap().to_owned()
}

fn until_state(world: &World, session: &str, state: &str, reason: &str) {
    until(&format!("{state} {reason}"), || (session_state(world, session) == (state.to_owned(), reason.to_owned())).then_some(()));
}

fn warnings(world: &World, session: &str) -> Vec<(String, String)> {
    let events = world.ok(&["timeline", "--session", session, "--code", "FR-EVT-SESS-005"]);
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    events["items"].as_array().unwrap().iter().map(|e| (word(&e["payload"]["crossing"]["measure"]), word(&e["payload"]["crossing"]["level"]))).collect()
}

fn cost(amount: f64) -> Value {
    json!({ "usage": { "used": 10, "size": 100, "cost": { "amount": amount, "currency": "USD" } } })
}

#[test]
fn a_cost_warns_once_and_stops_the_turn_at_its_limit() {
    let (world, wp, ws) = world_with(&json!([{ "steps": [cost(0.60), cost(0.70), cost(1.20), { "wait_for": "cancel" }] }, { "steps": [{ "say": "on" }] }]), "");
    world.ok(&["budget", "set", "--wp", &wp, "--max-cost", "1.00", "--soft", "50"]);
    let session = start(&world, &ws);
    until_state(&world, &session, "PAUSED", "budget_hard");
    assert_eq!(warnings(&world, &session), [("cost".into(), "soft".into()), ("cost".into(), "hard".into())]);
    let turn = &world.ok(&["job", "list", "--op", "session.run"])["items"][0];
    assert_eq!((turn["state"].as_str(), turn["failure"]["code"].as_str()), (Some("cancelled"), Some("HSK-402-BUDGET-EXCEEDED")), "{turn}");
    let shown = world.ok(&["session", "show", &session]);
    assert_eq!(shown["totals"]["cost"], json!({ "amount": "1.20", "currency": "USD", "source": "reported" }));
    let rows = world.ok(&["budget", "show"]);
    let packet = rows["items"].as_array().unwrap().iter().find(|r| r["wp_id"] == wp.as_str()).unwrap();
    assert_eq!((packet["crossings"][0]["level"].as_str(), packet["totals"]["cost"]["amount"].as_str()), (Some("hard"), Some("1.20")));
    // Nothing more is started on that packet until a person raises the limit.
    let another = world.json(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "go"]);
    assert_eq!((another.code, another.code_text().as_str()), (3, "HSK-402-BUDGET-EXCEEDED"), "{another:?}");
    world.ok(&["budget", "set", "--wp", &wp, "--max-cost", "5.00"]);
    let allowed = world.ok(&["session", "start", "--ws", &ws, "--agent", "tester"]);
    assert_eq!(allowed["state"], "completed", "{allowed}");
}

#[test]
fn tokens_are_counted_at_the_end_of_each_turn() {
    let turn = |input: u64, output: u64| json!({ "steps": [{ "say": "done" }], "tokens": { "input": input, "output": output } });
    let (world, _, ws) = world_with(&json!([turn(600, 100), turn(400, 100)]),
        "[budgets.session]\nmax_tokens = 1100\nsoft_percent = 60\n[budgets.prices]\nversion = \"test\"\n[budgets.prices.models.\"*\"]\ninput_per_million = \"10\"\noutput_per_million = \"20\"\n",
    );
    let session = start(&world, &ws);
    until_state(&world, &session, "BLOCKED", "input_wait");
    until("the warning", || (warnings(&world, &session) == [("tokens".to_owned(), "soft".to_owned())]).then_some(()));
    world.ok(&["session", "send", &session, "again"]);
    until_state(&world, &session, "PAUSED", "budget_hard");
    let shown = world.ok(&["session", "show", &session]);
    assert_eq!((shown["totals"]["tokens_in"].as_u64(), shown["totals"]["tokens_out"].as_u64()), (Some(1_000), Some(200)));
    assert_eq!(warnings(&world, &session).last().unwrap().1, "hard");
}

#[test]
fn time_is_a_limit_of_its_own() {
    let (world, wp, ws) = world_with(&json!([{ "steps": [{ "wait_for": "cancel" }] }]), "");
    world.ok(&["budget", "set", "--max-wall", "1"]);
    let session = start(&world, &ws);
    until_state(&world, &session, "PAUSED", "budget_hard");
    assert_eq!(warnings(&world, &session), [("wall_time".into(), "soft".into()), ("wall_time".into(), "hard".into())]);
    assert!(world.ok(&["session", "show", &session])["totals"]["wall_ms"].as_u64().unwrap() >= 1_000);
    let seen = world.ok(&["timeline", "--wp", &wp, "--code", "FR-EVT-SESS-005"]);
    assert_eq!(seen["items"].as_array().unwrap().len(), 2, "joined to the packet as well");
}

#[test]
fn a_limit_that_says_nothing_is_refused() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    for words in [vec!["budget", "set"], vec!["budget", "set", "--max-cost", "1,5"], vec!["budget", "set", "--max-tokens", "0"], vec!["budget", "set", "--max-tokens", "5", "--soft", "100"], vec!["budget", "set", "--max-cost", "1", "--currency", "usd"]] {
        let ran = world.json(&words);
        assert_eq!((ran.code, ran.code_text().as_str()), (2, "HSK-400-INVALID-INPUT"), "{words:?}: {ran:?}");
    }
    let ran = world.json(&["budget", "set", "--wp", "WP-9999", "--max-tokens", "5"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (6, "HSK-404-WP"), "{ran:?}");
}
