//! Events and records with recognisable values.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use dcc_core::event::{Correlation, Event, EventCode, EventOutcome};
use dcc_core::ports::Clock;
use dcc_core::principal::{Actor, Surface};
use dcc_core::{Sha256Hex, Timestamp, WpId};
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Opened, SqliteStore};

pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_769_850_611_120)
    }
    fn fresh_id(&self) -> Uuid {
        Uuid::from_u128(0xffff)
    }
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

/// A database in a directory of its own.
pub(crate) struct Bench {
    pub(crate) root: tempfile::TempDir,
    pub(crate) store: SqliteStore,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (store, opened) = open(&database(root.path()));
        assert_eq!(opened, Opened::Fresh);
        Self { root, store }
    }
    pub(crate) fn path(&self) -> PathBuf {
        database(self.root.path())
    }
    /// One row as `column=value` pairs.
    pub(crate) fn row(&self, sql: &str) -> Vec<(String, SqlValue)> {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}");
        rows.remove(0)
    }
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<(String, SqlValue)>> {
        let conn = Connection::open(self.path()).unwrap();
        let mut statement = conn.prepare(sql).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| (0..names.len()).map(|i| Ok((names[i].clone(), row.get(i)?))).collect()).unwrap();
        rows.map(Result::unwrap).collect()
    }
    /// One text value.
    pub(crate) fn text(&self, sql: &str) -> String {
        match self.row(sql).remove(0).1 {
            SqlValue::Text(text) => text,
            other => panic!("{sql}: {other:?}"),
        }
    }
}

pub(crate) fn database(root: &Path) -> PathBuf {
    let home = root.join("repo/.handshake");
    std::fs::create_dir_all(&home).unwrap();
    home.join("devcc.db")
}

pub(crate) fn open(path: &Path) -> (SqliteStore, Opened) {
    SqliteStore::open(path, id(900), Arc::new(StillClock)).unwrap()
}

pub(crate) fn id<T: From<Uuid>>(n: u64) -> T {
    T::from(Uuid::parse_str(&uuid_text(n)).unwrap())
}

pub(crate) fn uuid_text(n: u64) -> String {
    format!("0190aaaa-0000-7000-8000-{n:012x}")
}

pub(crate) fn wp(text: &str) -> WpId {
    WpId::from_str(text).unwrap()
}

/// The time of event `seq`.
pub(crate) fn at(seq: u64) -> Timestamp {
    Timestamp(1_769_850_000_000 + seq as i64 * 1000)
}

pub(crate) fn event(seq: u64, code: EventCode, correlation: Correlation, payload: Value) -> Event {
    Event {
        seq,
        event_id: id(0x00e0_0000_0000 + seq),
        ts: at(seq),
        code,
        name: code.name().to_owned(),
        actor_kind: Actor::SYSTEM.kind(),
        actor_id: Actor::SYSTEM.id(),
        actor: Actor::SYSTEM,
        correlation,
        capability_id: None,
        policy_digest: None,
        outcome: EventOutcome::Ok,
        payload_sha256: Sha256Hex::of(payload.to_string().as_bytes()),
        payload,
        unique_key: None,
        project_id: id(900),
        instance_id: id(901),
        prev_hash: Sha256Hex::ZERO,
        hash: Sha256Hex::ZERO,
    }
}

/// Numbers the events of a list from 1.
pub(crate) fn numbered(events: Vec<(EventCode, Correlation, Value)>) -> Vec<Event> {
    events.into_iter().zip(1..).map(|((code, correlation, payload), seq)| event(seq, code, correlation, payload)).collect()
}

pub(crate) fn of_job(n: u64) -> Correlation {
    Correlation { job_id: Some(id(n)), workflow_run_id: Some(id(n)), ..Correlation::default() }
}
pub(crate) fn of_session(n: u64) -> Correlation {
    Correlation { session_id: Some(id(n)), ..Correlation::default() }
}
pub(crate) fn of_workspace(n: u64) -> Correlation {
    Correlation { workspace_id: Some(id(n)), ..Correlation::default() }
}
pub(crate) fn of_approval(n: u64, job: u64) -> Correlation {
    Correlation { approval_id: Some(id(n)), ..of_job(job) }
}
pub(crate) fn of_call(session: u64, call: &str) -> Correlation {
    Correlation { tool_call_id: Some(call.to_owned()), ..of_session(session) }
}

pub(crate) fn job_json(n: u64) -> Value {
    json!({
        "job_id": uuid_text(n), "op": "locus.create_wp", "params": {"title": "x"}, "params_ref": null, "actor": Actor::operator(Surface::Terminal),
        "bindings": {"wp_id": "WP-0001"}, "state": "queued", "attempt": 1, "parent_job_id": null, "root_job_id": uuid_text(n),
        "idempotency_key": format!("key-{n}"), "plan_digest": null, "plan_artifact": null, "approval_id": null, "basis": null, "gates": [],
        "effect": null, "result": {}, "failure": null, "inputs": [], "outputs": [], "instance_id": uuid_text(901),
        "created_at": at(1), "updated_at": at(1)
    })
}

pub(crate) fn approval_json(n: u64) -> Value {
    json!({
        "approval_id": uuid_text(n), "job_id": uuid_text(10), "root_job_id": uuid_text(10), "op": "version.commit", "status": "pending", "tier": "R2",
        "intent": {"class": "commit_own_branch"}, "capabilities": ["dev.version.write"], "plan_digest": Sha256Hex::ZERO, "plan_artifact": Sha256Hex::ZERO,
        "preview": {"title": "Commit 1 path", "exactly": [], "place": [], "risk": "", "undo": ""}, "preview_digest": Sha256Hex::ZERO, "rule": "ask",
        "offered": ["once", "job"], "requester": Actor::operator(Surface::Terminal), "role": "coder", "model": null, "claim": null, "wp_id": "WP-0001",
        "mt_id": null, "session_id": uuid_text(20), "workspace_id": uuid_text(30), "branch": "dcc/WP-0001-x", "paths": ["src/a.rs"], "requested_at": at(1),
        "expires_at": at(100_000), "presented": null, "decision": null, "ended_reason": null, "grant_id": null
    })
}

pub(crate) fn decision_json(approve: bool, reason: Option<&str>) -> Value {
    json!({
        "approve": approve, "scope": "once", "reason": reason, "decider": Actor::operator(Surface::Browser), "decided_at": at(50),
        "seen_preview_digest": Sha256Hex::ZERO, "policy_digest": Sha256Hex::ZERO
    })
}

pub(crate) fn grant_json(n: u64, approval: u64) -> Value {
    json!({
        "grant_id": uuid_text(n), "approval_id": uuid_text(approval), "scope": "session",
        "binding": {
            "root_job_id": null, "session_id": uuid_text(20), "workspace_id": uuid_text(30), "model": null, "role": null, "branch": null, "wp_id": null,
            "by_agent": true, "paths": []
        },
        "capabilities": ["dev.fs.write:workspace", "session.send"], "intent": {"class": "edit_own_worktree"}, "tier": "R1", "issued_at": at(60),
        "expires_at": at(90_000), "max_uses": 100
    })
}

pub(crate) fn session_json(n: u64) -> Value {
    json!({
        "session_id": uuid_text(n), "parent_session_id": null, "spawn_depth": 0, "state": "CREATED", "state_reason": "dispatching", "role": "coder",
        "agent": "scripted", "command": ["scripted", "--play", "Fähre.json"], "model_id": null, "backend": "local", "wp_id": "WP-0001", "mt_id": "MT-001",
        "workspace_id": uuid_text(30), "posture": null, "agent_session_id": null, "process": null, "tool_calls": 0, "turns": 0, "tokens_in": 0,
        "tokens_out": 0, "running_job_id": null, "handoff_required": true, "closing": null, "created_at": at(1), "started_at": null, "ended_at": null,
        "last_activity_at": at(1), "fault": null
    })
}

pub(crate) fn workspace_json(n: u64, path: &str) -> Value {
    json!({
        "workspace_id": uuid_text(n), "project_id": uuid_text(900), "kind": "worktree", "role": "coder", "status": "active",
        "binding": {"worktree_path": path, "git_dir": "/r/repo/.git/worktrees/x", "common_dir": "/r/repo/.git", "device": 1, "inode": 2},
        "branch": "dcc/WP-0001-x", "base_branch": "main", "base_oid": "1".repeat(40), "wp_id": "WP-0001", "mt_id": null, "created_at": at(1),
        "updated_at": at(1), "last_opened_at": null
    })
}

pub(crate) fn tool_json(call: &str, status: &str) -> Value {
    json!({
        "tool_call_id": call, "title": "Edit a.rs", "kind": "edit", "side_effect": "WRITE", "status": status, "locations": ["src/a.rs"],
        "raw_input": {"path": "src/a.rs"}, "raw_output": null
    })
}

/// A working day: project, workspace, session, and `jobs` jobs of ten events each.
pub(crate) fn story(jobs: u64) -> Vec<Event> {
    use EventCode as C;
    let mut told = vec![
        (C::ProjectCreated, Correlation::default(), json!({"name": "repo", "root_path": "/r/repo", "default_base_branch": "main"})),
        (C::WorkspaceCreated, of_workspace(30), json!({"workspace": workspace_json(30, "/r/x")})),
        (C::SessionCreated, of_session(20), json!({"session": session_json(20)})),
        (C::SessionStateChange, of_session(20), json!({"from": "CREATED", "to": "ACTIVE", "reason": "running"})),
        (C::WorkspaceOpened, of_workspace(30), json!({})),
        (C::WorkspaceLinked, of_workspace(30), json!({"wp_id": "WP-0002", "mt_id": "MT-003"})),
    ];
    for n in 0..jobs {
        told.extend(one_job(n));
    }
    numbered(told)
}

fn one_job(n: u64) -> Vec<(EventCode, Correlation, Value)> {
    use EventCode as C;
    let (job, approval, call) = (1_000_000 + n, 2_000_000 + n, format!("call-{n}"));
    let mut accepted = job_json(job);
    accepted["bindings"] = json!({"session_id": uuid_text(20), "workspace_id": uuid_text(30), "wp_id": "WP-0001"});
    let mut asked = approval_json(approval);
    asked["job_id"] = json!(uuid_text(job));
    let about = Correlation { session_id: Some(id(20)), workspace_id: Some(id(30)), wp_id: Some(wp("WP-0001")), ..of_job(job) };
    let consent = Correlation { approval_id: Some(id(approval)), ..about.clone() };
    let tool = Correlation { tool_call_id: Some(call.clone()), ..about.clone() };
    let end = if n.is_multiple_of(3) { "failed" } else { "completed" };
    vec![
        (C::JobAccepted, about.clone(), json!({"job": accepted})),
        (C::GateDecided, about.clone(), json!({"gate": {"gate": "schema", "outcome": "pass", "reason": "well formed"}})),
        (C::ApprovalRequested, consent.clone(), json!({"approval": asked})),
        (C::JobStateChange, about.clone(), json!({"from": "queued", "to": "awaiting_user"})),
        (C::ApprovalDecided, consent, json!({"decision": decision_json(end == "completed", Some("seen"))})),
        (C::SessionMessage, about.clone(), json!({"role": "agent", "text": format!("message {n}")})),
        (C::ToolCallStarted, tool.clone(), json!({"tool": tool_json(&call, "running"), "observed": "reported"})),
        (C::ToolCallFinished, tool, json!({"tool": tool_json(&call, "ok"), "observed": "gated"})),
        (C::EffectPlanned, about.clone(), json!({"effect": {"oid": "1".repeat(40)}})),
        (C::JobFinished, about, json!({"from": "running", "to": end, "result": {"n": n}})),
    ]
}
