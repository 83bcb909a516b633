//! A child that an agent asks for: a person decides, and nothing about it is wider than the session that asked.

use std::time::Duration;

use dcc_core::approval::{Approval, ApprovalStatus, DecisionRequest, Scope};
use dcc_core::event::EventCode;
use dcc_core::job::{Bindings, Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::AgentReport;
use dcc_core::ports::sessions::SideEffect;
use dcc_core::principal::Actor;
use dcc_core::session::{Lane, SessionState, StateReason};
use dcc_core::{Code, JobId, SessionId};
use serde_json::{Value, json};

use super::puppet::PATIENCE;
use super::rig::Rig;
use crate::context::Limits;
use crate::host::{Host, Intent, ToolUse};
use crate::ledger;

/// The session's agent asks by its tool and does not wait.
fn asks(rig: &Rig, id: SessionId, params: Value) -> Job {
    let used = ToolUse { name: "session.spawn", side_effect: SideEffect::Execute, arguments: params.clone() };
    let host = Host::new(std::sync::Arc::clone(&rig.runner));
    host.asking(id, &used, Intent { op: Op::SessionSpawn, params, mt_id: None }, Duration::ZERO).expect("a job")
}

fn refused(rig: &Rig, id: SessionId, params: Value) -> (Code, String) {
    let job = asks(rig, id, params);
    let failure = job.failure.unwrap_or_else(|| panic!("not refused: {:?}", job.state));
    (failure.code, failure.message)
}

fn helper(prompt: &str) -> Value {
    json!({ "agent": "puppet", "prompt": prompt })
}

fn request_of(rig: &Rig, job: &Job) -> Approval {
    ledger::approval(rig.runner.cx.ports.recorder.as_ref(), job.approval_id.expect("a request")).expect("a request")
}

fn deny(rig: &Rig, job: &Job, reason: &str) {
    let request = DecisionRequest { approve: false, scope: Scope::Once, reason: Some(reason.into()), decider: Rig::operator(), nonce_sha256: None, preview_digest: None, typed: None };
    rig.runner.decide(job.approval_id.expect("a request"), request).expect("decided");
}

fn over(rig: &Rig, job: JobId) -> Job {
    rig.runner.wait(job, Some(PATIENCE)).expect("an end")
}

/// Approved and begun.
fn child_of(rig: &Rig, job: &Job) -> SessionId {
    rig.approve();
    let job = over(rig, job.job_id);
    assert_eq!(job.state, JobState::Completed, "{:?}", job.failure);
    job.result["session_id"].as_str().expect("a session").parse().expect("an id")
}

#[test]
fn an_agent_asks_a_person_approves_and_its_child_runs() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let job = asks(&rig, root, json!({ "agent": "puppet", "prompt": "count them", "purpose": "a count", "role": "orchestrator", "paths": ["docs"] }));
    assert_eq!((job.state, job.actor, job.bindings.session_id), (JobState::AwaitingUser, Actor::agent(root), Some(root)));
    assert_eq!(job.parent_job_id, Some(rig.puppets.turn(root)), "it belongs to the turn in which it was asked for");
    let request = request_of(&rig, &job);
    assert_eq!((request.session_id, request.offered.as_slice(), request.requester), (Some(root), &[Scope::Once][..], Actor::agent(root)));
    assert_eq!(request.capabilities[0].to_string(), "session.spawn");
    let card = serde_json::to_string(&request.preview).unwrap();
    assert!(["count them", "a count", "docs", "under session"].iter().all(|part| card.contains(part)), "{card}");
    assert_eq!(rig.puppets.starts().len(), 1, "nothing has begun");
    let child = child_of(&rig, &job);
    let session = rig.session(child);
    assert_eq!((session.parent_session_id, session.spawn_depth, session.lane, session.purpose.as_deref()), (Some(root), 1, Lane::Subagent, Some("a count")));
    assert_eq!((session.workspace_id, session.paths.clone()), (rig.session(root).workspace_id, vec!["docs".to_owned()]));
    assert_eq!(rig.events(root, EventCode::ChildSpawned).len(), 1);
    rig.until_heard(child, &["count them"]);
    // The words are another session's, sent in the name of the person who approved them.
    let queued = rig.events(child, EventCode::SessionSteered).into_iter().find(|e| e.payload["steer"] == "queued").unwrap().payload;
    assert_eq!((&queued["message"]["source"], &queued["message"]["from"]), (&json!("session"), &json!(Rig::operator())));
    let said = rig.events(child, EventCode::SessionMessage).into_iter().find(|e| e.payload["text"] == "count them").unwrap();
    assert_eq!((said.payload["role"].as_str(), rig.session(child).parent_session_id), (Some("session"), Some(root)), "nobody takes them for the person's");
    assert_eq!(rig.shown(child).turns, 1);
    // Its agent reads how it stands, and nobody else's child.
    rig.puppets.report(child, AgentReport::Message { text: "There are three.".into() });
    rig.puppets.end_turn(child, "end_turn");
    rig.until_state(child, SessionState::Blocked, StateReason::InputWait);
    let host = Host::new(std::sync::Arc::clone(&rig.runner));
    let told = rig.until("its last words", || host.child_for_its_parent(root, child).ok().filter(|told| told["last_words"] == "There are three."));
    assert_eq!((&told["state"], &told["reason"]), (&json!("BLOCKED"), &json!("input_wait")));
    assert_eq!(host.child_for_its_parent(child, root).unwrap_err().code, Code::NotFoundSession);
    // The yes was for that one: the next is asked for anew.
    let again = asks(&rig, root, helper("count again"));
    assert_eq!(again.state, JobState::AwaitingUser);
    assert_ne!(again.approval_id, job.approval_id);
    deny(&rig, &again, "one is enough");
}

#[test]
fn a_denied_child_never_begins_and_is_not_asked_for_again() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let job = asks(&rig, root, helper("help"));
    deny(&rig, &job, "do it yourself");
    assert_eq!(over(&rig, job.job_id).failure.unwrap().code, Code::ApprovalDenied);
    let (code, said) = refused(&rig, root, helper("help"));
    assert!(code == Code::ApprovalDenied && said.contains("do it yourself"), "{said}");
    assert!(rig.pending().is_empty());
    assert_eq!((rig.puppets.starts().len(), rig.events(root, EventCode::ChildSpawned).len()), (1, 0));
}

#[test]
fn no_agent_asks_for_more_than_itself() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let with = |key: &str, value: Value| {
        let mut params = helper("help");
        params[key] = value;
        params
    };
    let wider = [
        (with("command", json!(["sh"])), Code::Capability),
        (with("human", json!(true)), Code::Capability),
        (with("lane", json!("PRIMARY")), Code::Capability),
        (with("budget", json!({ "max_tokens": 5 })), Code::Capability),
        (with("agent", Value::Null), Code::Capability),
        (with("prompt", json!("  ")), Code::InvalidInput),
        (with("role", json!("validator")), Code::RoleSeparation),
        (with("agent", json!("online")), Code::Scope),
        (with("agent", json!("listener")), Code::Scope),
        (with("agent", json!("plain")), Code::Scope),
        (with("agent", json!("absent")), Code::NotFoundAgent),
        (with("workspace_id", json!("x")), Code::InvalidInput),
    ];
    for (params, code) in wider {
        assert_eq!(refused(&rig, root, params.clone()).0, code, "{params}");
    }
    assert!(rig.pending().is_empty(), "nobody is asked about what is refused anyway");
    // A session with that network may have such a child.
    let online = rig.start_job(json!({ "agent": "online", "prompt": "go" })).bindings.session_id.unwrap();
    assert_eq!(asks(&rig, online, with("agent", json!("online"))).state, JobState::AwaitingUser);
    assert_eq!(rig.session(root).state, SessionState::Active);
}

#[test]
fn depth_and_children_are_capped_also_at_the_decision() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    // Idle ones, which hold no slot.
    let spawn = |of: SessionId| rig.act(Op::SessionSpawn, json!({ "agent": "puppet" }), Rig::of(of)).bindings.session_id.unwrap();
    let waiting = asks(&rig, root, helper("help"));
    let deep = spawn(spawn(spawn(root)));
    let (code, said) = refused(&rig, deep, helper("help"));
    assert!(code == Code::PolicyForbidden && said.starts_with("depth_limit_exceeded"), "{said}");
    for _ in 0..3 {
        spawn(root);
    }
    let (code, said) = refused(&rig, root, helper("another"));
    assert!(code == Code::RateLimit && said.starts_with("children_cap_reached"), "{said}");
    let before = rig.puppets.starts().len();
    rig.approve();
    let late = over(&rig, waiting.job_id).failure.unwrap();
    assert!(late.code == Code::RateLimit && late.message.starts_with("children_cap_reached"), "{}", late.message);
    assert_eq!(rig.puppets.starts().len(), before, "it did not begin");
}

#[test]
fn a_request_ends_with_its_session_and_a_child_with_its_parent() {
    let rig = Rig::new();
    let root = rig.start(Some("go"));
    let child = child_of(&rig, &asks(&rig, root, helper("help")));
    rig.until_heard(child, &["help"]);
    let waiting = asks(&rig, root, helper("more help"));
    rig.puppets.end_turn(root, "end_turn");
    rig.until_state(root, SessionState::Blocked, StateReason::InputWait);
    assert_eq!(request_of(&rig, &waiting).status, ApprovalStatus::Pending, "it stands by itself, like a commit");
    rig.ok(Op::SessionCancel, root, json!({}));
    assert_eq!((over(&rig, waiting.job_id).state, request_of(&rig, &waiting).status), (JobState::Cancelled, ApprovalStatus::Cancelled));
    assert_eq!(rig.state(child), (SessionState::Cancelled, StateReason::CancelledByParent));
    assert!(rig.runner.cx.ports.sessions.live().is_empty(), "no agent is left");
}

#[test]
fn its_parents_limit_is_its_own_also_while_it_is_asked_for() {
    let rig = Rig::new();
    let costs = |id: SessionId, cost: &str| rig.puppets.report(id, AgentReport::Usage { used: 1, size: 10, cost: Some(cost.to_owned()) });
    let limit = |id: SessionId, cost: &str| rig.act(Op::BudgetSet, json!({ "budget": { "max_cost": cost } }), Bindings { session_id: Some(id), ..Bindings::default() });
    let root = rig.start(Some("go"));
    limit(root, "1.00");
    let child = child_of(&rig, &asks(&rig, root, helper("help")));
    let waiting = asks(&rig, root, helper("more help"));
    costs(root, "0.60 USD");
    rig.until_heard(child, &["help"]);
    costs(child, "0.50 USD");
    rig.until_state(child, SessionState::Paused, StateReason::BudgetHard);
    rig.until_state(root, SessionState::Paused, StateReason::BudgetHard);
    let starts = rig.puppets.starts().len();
    rig.approve();
    assert_eq!(over(&rig, waiting.job_id).failure.unwrap().code, Code::BudgetExceeded);
    assert_eq!(rig.puppets.starts().len(), starts);
}

#[test]
fn a_child_that_finds_no_slot_is_refused_and_its_yes_is_not_spent_later() {
    let mut limits = Limits::default();
    limits.runs.running = 1;
    let rig = Rig::with(limits);
    let root = rig.start(Some("go"));
    let waiting = asks(&rig, root, helper("help"));
    rig.approve();
    assert_eq!(over(&rig, waiting.job_id).failure.unwrap().code, Code::RateLimit);
    assert_eq!((rig.puppets.starts().len(), rig.events(root, EventCode::ChildSpawned).len()), (1, 0));
}
