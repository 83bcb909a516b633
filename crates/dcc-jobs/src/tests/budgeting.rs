//! Budgets against the corridor: what is counted when a turn is ended by force, shared limits, limits set while turns run,
//! costs that cannot be compared, and who inherits a limit.

use dcc_core::budget::{Amount, BudgetScope};
use dcc_core::event::EventCode;
use dcc_core::job::{Bindings, Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::AgentReport;
use dcc_core::session::{SessionState, StateReason};
use dcc_core::{Code, SessionId};
use serde_json::{Value, json};

use super::rig::Rig;

fn limit(rig: &Rig, of: Bindings, budget: &Value) {
    let job = rig.act(Op::BudgetSet, json!({ "budget": budget }), of);
    assert_eq!(job.state, JobState::Completed, "{:?}", job.failure);
}

fn costs(rig: &Rig, id: SessionId, cost: &str) {
    rig.puppets.report(id, AgentReport::Usage { used: 1, size: 10, cost: Some(cost.to_owned()) });
}

fn cost_of(rig: &Rig, id: SessionId) -> Option<Amount> {
    rig.session(id).totals.cost.map(|cost| cost.amount)
}

fn stopped(rig: &Rig, id: SessionId) {
    rig.until_state(id, SessionState::Paused, StateReason::BudgetHard);
}

fn spawn(rig: &Rig, parent: SessionId) -> Job {
    rig.act(Op::SessionSpawn, json!({ "agent": "puppet", "prompt": "help" }), Rig::of(parent))
}

#[test]
fn a_turn_that_is_ended_with_its_session_is_counted() {
    let rig = Rig::new();
    let closed = rig.start(Some("go"));
    costs(&rig, closed, "0.25 USD");
    rig.ok(Op::SessionClose, closed, json!({ "waive_reason": "enough", "stop": true }));
    let cancelled = rig.start(Some("go"));
    costs(&rig, cancelled, "0.50 USD");
    rig.ok(Op::SessionCancel, cancelled, json!({}));
    assert_eq!((cost_of(&rig, closed), cost_of(&rig, cancelled)), (Some(Amount(250_000)), Some(Amount(500_000))));
    let all = crate::budgets::totals_of(&rig.runner.cx, &BudgetScope::Project).unwrap();
    assert_eq!(all.cost.unwrap().amount, Amount(750_000));
    limit(&rig, Bindings::default(), &json!({ "max_cost": "0.75" }));
    assert_eq!(rig.start_job(json!({ "agent": "puppet" })).failure.unwrap().code, Code::BudgetExceeded, "what was thrown away was paid all the same");
}

#[test]
fn a_shared_limit_of_time_is_used_by_all_turns_at_once_and_may_be_set_while_they_run() {
    const MORE_MS: u64 = 4_000;
    let rig = Rig::new();
    let ids = [0; 4].map(|_| rig.start(Some("go")));
    // A busy machine takes its time to start four: what they used so far is no part of the question.
    let before = crate::budgets::totals_of(&rig.runner.cx, &BudgetScope::Project).unwrap().wall_ms;
    limit(&rig, Bindings::default(), &json!({ "max_wall_ms": before + MORE_MS }));
    for id in ids {
        stopped(&rig, id);
    }
    let used: u64 = ids.iter().map(|id| rig.session(*id).totals.wall_ms).sum();
    assert!((before + MORE_MS..before + 3 * MORE_MS).contains(&used), "four clocks that know nothing of each other let 16,000 ms more pass: {used} after {before}");
}

#[test]
fn any_limit_that_is_set_during_a_turn_holds_for_it() {
    let rig = Rig::new();
    let id = rig.start(Some("go"));
    costs(&rig, id, "2 USD");
    assert!(rig.puppets.has_turn(id));
    limit(&rig, Rig::of(id), &json!({ "max_cost": "1.00" }));
    stopped(&rig, id);
}

#[test]
fn a_cost_that_cannot_be_compared_or_held_stops_the_turn_and_is_named() {
    let rig = Rig::new();
    for (cost, said) in [("500 EUR", "500.00 EUR, which cannot be compared with the limit of 1.00 USD"), ("100000000000000000000 USD", "of 1.00 USD"), ("5 usd", "5.00 of 1.00 USD")] {
        let id = rig.start(Some("go"));
        limit(&rig, Rig::of(id), &json!({ "max_cost": "1.00" }));
        costs(&rig, id, cost);
        stopped(&rig, id);
        let warnings = rig.events(id, EventCode::SessionBudgetWarning);
        assert!(warnings.iter().any(|e| e.payload["message"].as_str().unwrap().contains(said)), "{cost}: {warnings:#?}");
    }
}

#[test]
fn a_limit_covers_what_the_session_spawned_and_what_succeeds_it() {
    let rig = Rig::new();
    let parent = rig.start(Some("go"));
    limit(&rig, Rig::of(parent), &json!({ "max_cost": "1.00" }));
    costs(&rig, parent, "0.60 USD");
    let child = spawn(&rig, parent).bindings.session_id.unwrap();
    costs(&rig, child, "0.50 USD");
    stopped(&rig, child);
    let (code, said) = rig.refused(Op::SessionResume, child, json!({}));
    assert_eq!(code, Code::BudgetExceeded);
    assert!(said.contains(&parent.short().clone()), "{said}");
    assert_eq!(rig.state(child), (SessionState::Paused, StateReason::BudgetHard), "it says so, and goes on resting for its reason");
    stopped(&rig, parent);
    assert_eq!(spawn(&rig, parent).failure.unwrap().code, Code::BudgetExceeded);
    assert_eq!(rig.state(parent), (SessionState::Paused, StateReason::BudgetHard), "a refused child is no fault of its parent");
    rig.ok(Op::SessionCancel, parent, json!({}));
    assert_eq!(rig.refused(Op::SessionRetry, parent, json!({})).0, Code::BudgetExceeded);
    limit(&rig, Rig::of(parent), &json!({ "max_cost": "2.00" }));
    let successor = rig.ok(Op::SessionRetry, parent, json!({})).result["session_id"].as_str().unwrap().parse().unwrap();
    costs(&rig, successor, "0.95 USD");
    stopped(&rig, successor);
}
