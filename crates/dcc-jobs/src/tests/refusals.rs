//! What is asked for and must not be kept, and grants that must not come back.

use dcc_core::Code;
use dcc_core::approval::{DecisionRequest, Scope};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::EventFilter;
use dcc_core::principal::Actor;
use serde_json::json;

use super::rig::Rig;

/// A rig whose repository knows who commits, with its configuration accepted.
fn committing() -> Rig {
    let rig = Rig::new();
    rig.place.git(&["config", "user.name", "Test Person"]);
    rig.place.git(&["config", "user.email", "test@example.invalid"]);
    let cx = &rig.runner.cx;
    let binding = crate::ledger::workspace(cx.ports.recorder.as_ref(), rig.place.workspace_id).unwrap().binding;
    let facts = cx.ports.version.config_facts(&cx.config.common_dir, Some(&binding)).unwrap();
    cx.journal.append(vec![NewEvent::new(EventCode::ProjectCreated, Actor::SYSTEM, json!({ "config_digest": facts.digest }))]).unwrap();
    rig
}

fn commit(rig: &Rig, path: &str, message: &str) -> Job {
    std::fs::write(rig.place.worktree().join(path), message).unwrap();
    let of = Bindings { workspace_id: Some(rig.place.workspace_id), ..Bindings::default() };
    rig.act(Op::VersionCommit, json!({ "paths": [path], "message": message }), of)
}

#[test]
fn a_grant_dies_with_its_branch_and_does_not_come_back_with_it() {
    let rig = committing();
    let asked = commit(&rig, "b.txt", "one");
    assert_eq!(asked.state, JobState::AwaitingUser, "{:?}", asked.failure);
    let request = DecisionRequest { approve: true, scope: Scope::Workspace, reason: None, decider: Rig::operator(), nonce_sha256: None, preview_digest: None, typed: None };
    rig.runner.decide(rig.pending()[0], request).unwrap();
    rig.until("the commit", || rig.pending().is_empty().then_some(()));
    assert_eq!(commit(&rig, "c.txt", "two").state, JobState::Completed, "the grant covers it");
    rig.place.git(&["checkout", "--quiet", "-b", "other"]);
    crate::outside::look(&rig.runner.cx).unwrap();
    rig.place.git(&["checkout", "--quiet", "work"]);
    assert_eq!(commit(&rig, "d.txt", "three").state, JobState::AwaitingUser);
    let ended = rig.runner.cx.ports.recorder.read(&EventFilter { codes: vec![EventCode::GrantRevoked], ..EventFilter::default() }).unwrap();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].payload["reason"].as_str().unwrap().contains("it is other at"), "{}", ended[0].payload);
}

#[test]
fn a_secret_in_a_commit_message_is_not_written_down() {
    let rig = committing();
    let secret = format!("ghp_{}", "a1B2c3D4e5".repeat(4).split_at(36).0);
    let job = commit(&rig, "b.txt", "plain");
    assert_eq!(job.state, JobState::AwaitingUser);
    std::fs::write(rig.place.worktree().join("c.txt"), "plain").unwrap();
    let of = Bindings { workspace_id: Some(rig.place.workspace_id), ..Bindings::default() };
    let request = JobRequest { op: Op::VersionCommit, params: json!({ "paths": ["c.txt"], "message": format!("use {secret}") }), bindings: of, idempotency_key: None };
    let failure = rig.runner.submit(Rig::operator(), request).unwrap_err();
    assert_eq!(failure.code, Code::InvalidInput);
    assert!(failure.message.starts_with("message holds"), "{failure}");
    assert!(!format!("{failure:?}").contains(&secret));
    kept_nowhere(&rig, &secret);
}

fn kept_nowhere(rig: &Rig, secret: &str) {
    let mut folders = vec![rig.place.dir.path().join("repo/.handshake")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", entry.path().display());
            }
        }
    }
}

#[test]
fn no_operation_takes_a_secret_in_any_field() {
    let rig = Rig::new();
    let secret = format!("ghp_{}", "a1B2c3D4e5".repeat(3));
    for op in Op::ALL.iter().filter(|op| op.is_built() && **op != Op::ApprovalDecide) {
        let texts = [json!({ "any_field": secret }), json!({ "deep": [{ "er": format!("a line\nwith {secret} in it") }] }), json!([secret]), json!({ secret.clone(): true })];
        for params in texts {
            let request = JobRequest { op: *op, params, bindings: Bindings::default(), idempotency_key: None };
            // What an agent tells of its own call is kept without the secret, and refused for its shape.
            match rig.runner.submit_under(Rig::operator(), request, None) {
                Err(failure) => assert!(failure.code == Code::InvalidInput && failure.message.contains("secret: a key that begins with ghp_"), "{op}: {failure}"),
                Ok(job) => assert!(*op == Op::CapabilityRequest && job.state == JobState::Failed, "{op}: {job:?}"),
            }
        }
    }
    let request = JobRequest { op: Op::LocusSyncTaskBoard, params: json!({}), bindings: Bindings::default(), idempotency_key: Some(secret.clone()) };
    assert!(rig.runner.submit(Rig::operator(), request).unwrap_err().message.starts_with("idempotency_key holds"));
    kept_nowhere(&rig, &secret);
}

#[test]
fn a_parameter_with_a_fraction_is_named_and_refused() {
    let rig = Rig::new();
    let request = JobRequest { op: Op::BudgetSet, params: json!({ "budget": { "max_tokens": 1.5 } }), bindings: Bindings::default(), idempotency_key: None };
    let failure = rig.runner.submit(Rig::operator(), request).unwrap_err();
    assert_eq!(failure.code, Code::InvalidInput);
    assert!(failure.message.contains("budget.max_tokens"), "{}", failure.message);
    assert!(failure.hint.unwrap().contains("whole number"));
}
