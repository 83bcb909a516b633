//! `--headless`: the slice by itself, over HTTP with the bare credential. R1 and R2 only, recorded as unattended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use dcc_api::App;
use dcc_api::door::{DecisionInput, FlatJob, Paging, Query, Verdict};
use dcc_core::approval::{ApprovalStatus, Scope};
use dcc_core::ids::{ApprovalId, JobId, WorkspaceId, WpId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::ports::{EventFilter, JobFilter};
use dcc_core::ports::version::DiffSource;
use dcc_core::{Code, Failure, Outcome};

use super::seed::{job, packets, send};
use crate::cli::output::{Output, failure_of, short};
use crate::link::{Link, Remote};

/// No step of the demo takes longer, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for the job; parked comes back parked, failed is a failure.
pub fn follow(link: &Remote, job: &FlatJob) -> Outcome<Value> {
    let value = link.wait(job.job_id, false)?;
    match value["state"].as_str() {
        Some("completed" | "completed_with_issues" | "awaiting_user") => Ok(value),
        _ => Err(failure_of(&value).unwrap_or_else(|| Failure::engine(format!("the job ended as {}", value["state"])))),
    }
}

/// Decides a parked job and waits for what it released.
pub fn approve(link: &Remote, parked: &Value, scope: &str) -> Outcome<Value> {
    let id: ApprovalId = parked["approval_id"].as_str().and_then(|t| t.parse().ok()).ok_or_else(|| Failure::engine("the job is not parked"))?;
    decide(link, id, Verdict::Approve, scope, None)
}

fn decide(link: &Remote, id: ApprovalId, decision: Verdict, scope: &str, reason: Option<&str>) -> Outcome<Value> {
    let shown = link.present(id)?;
    let scope: Scope = serde_json::from_value(json!(scope)).map_err(|e| Failure::invalid(e.to_string()))?;
    let input = DecisionInput { decision, scope, reason: reason.map(str::to_owned), nonce: Some(shown.nonce), preview_digest: Some(shown.preview_digest), typed: None };
    let decided = link.decide(id, &input)?;
    if decision == Verdict::Deny { link.wait(decided.job_id, false) } else { follow(link, &decided.job) }
}

/// The first pending request of the session, as soon as there is one.
pub fn pending_of(link: &Remote, session_id: &str) -> Outcome<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = link.query(&Query::Approvals { status: Some(ApprovalStatus::Pending), paging: Paging::default() })?;
        if let Some(found) = list["items"].as_array().into_iter().flatten().find(|a| a["session_id"] == session_id) {
            return Ok(found.clone());
        }
        let session = link.query(&Query::Session { session_id: session_id.parse()? })?;
        if session["state"] == "FAILED" {
            return Err(Failure::new(Code::AgentFailed, session["fault"].as_str().unwrap_or("the agent failed").to_owned()));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(Code::AgentFailed, "the agent asked for nothing"));
        }
        // tidy, allowed: the server is another process; a look costs nothing beside the wait
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

struct Steps<'a> {
    out: &'a Output,
    number: u32,
    decisions: u32,
}

impl Steps<'_> {
    /// Prints a step with its evidence, or names the step that failed.
    fn step<T>(&mut self, what: &str, act: impl FnOnce() -> Outcome<(T, String)>) -> Outcome<T> {
        self.number += 1;
        match act() {
            Ok((value, evidence)) => {
                self.out.say(&format!("{:>2}. {what}\n      {evidence}", self.number));
                Ok(value)
            }
            Err(mut failure) => {
                failure.message = format!("step {} ({what}): {}", self.number, failure.message);
                Err(failure)
            }
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The whole slice; every step is checked against the running product.
pub fn slice(link: &Remote, out: &Output, app: &App) -> Outcome<()> {
    let mut s = Steps { out, number: 0, decisions: 0 };
    s.step("fill the board", || packets(link, out).map(|()| ((), "five packets in five lanes, one session waiting".to_owned())))?;
    s.decisions += 1;
    let wp = s.step("create a packet with two micro-tasks", || {
        let made = job(link, Op::LocusCreateWp, None, None, json!({ "title": "Greet people by the demo itself", "acceptance_criteria": ["src/greeting.txt is committed"] }))?;
        let wp = text(&made, "wp_id").to_owned();
        let tasks = json!([{ "name": "Let the agent write", "done_criteria": ["the agent's edits are approved"] }, { "name": "Check", "done_criteria": ["the recipe passes"], "depends_on": ["MT-001"] }]);
        job(link, Op::LocusRegisterMts, Some(&wp), None, json!({ "micro_tasks": tasks }))?;
        Ok((wp.clone(), format!("{wp}, MT-001, MT-002")))
    })?;
    s.step("pass the gate before work and start", || {
        job(link, Op::LocusUpdateWp, Some(&wp), None, json!({ "set": { "status": "ready" } }))?;
        job(link, Op::LocusGateWp, Some(&wp), None, json!({ "gate": "pre_work", "result": "pass" }))?;
        job(link, Op::LocusStartWp, Some(&wp), None, json!({}))?;
        let started = job(link, Op::LocusStartMt, Some(&wp), Some("MT-001"), json!({}))?;
        Ok(((), format!("job {}", short(text(&started, "job_id")))))
    })?;
    let workspace_id = worktree(link, &mut s, &wp)?;
    let session_id = agent(link, &mut s, workspace_id)?;
    let commit_job = review_and_commit(link, &mut s, workspace_id)?;
    check_and_close(link, &mut s, &wp, &session_id, workspace_id, commit_job)?;
    prove(link, &mut s, &wp, app)?;
    out.say(&format!("done: {} steps; no person approved: {} decisions of risk R1 were made unattended by this demo and are recorded so", s.number, s.decisions));
    Ok(())
}

fn worktree(link: &Remote, s: &mut Steps<'_>, wp: &str) -> Outcome<WorkspaceId> {
    let id = s.step("ask for a worktree, approve it once", || {
        let parked = job(link, Op::WorkspaceCreate, Some(wp), None, json!({}))?;
        let made = approve(link, &parked, "once")?;
        let id: WorkspaceId = text(&made, "workspace_id").parse()?;
        Ok((id, format!("{} at {}", text(&made, "branch"), text(&made, "path"))))
    })?;
    s.decisions += 1;
    Ok(id)
}

fn agent(link: &Remote, s: &mut Steps<'_>, workspace_id: WorkspaceId) -> Outcome<String> {
    let session_id = s.step("start the scripted agent in its sandbox", || {
        let bindings = Bindings { workspace_id: Some(workspace_id), mt_id: Some(dcc_core::MtId::parse("MT-001")?), ..Bindings::default() };
        let started = send(link, Op::SessionStart, json!({ "agent": "scripted", "prompt": "Add a greeting and mention it in the README." }), bindings)?;
        let id = text(&started, "session_id").to_owned();
        let session = link.query(&Query::Session { session_id: id.parse()? })?;
        Ok((id.clone(), format!("session {}, sandbox {}", short(&id), session["posture"]["layers"])))
    })?;
    s.step("answer its requests: once, then for the rest of this job", || {
        let first = pending_of(link, &session_id)?;
        decide(link, text(&first, "approval_id").parse()?, Verdict::Approve, "once", None)?;
        let second = pending_of(link, &session_id)?;
        decide(link, text(&second, "approval_id").parse()?, Verdict::Approve, "job", None)?;
        Ok(((), format!("{}; {}", text(&first["preview"], "title"), text(&second["preview"], "title"))))
    })?;
    s.decisions += 2;
    s.step("the turn ends", || {
        let filter = JobFilter { op: Some(Op::SessionRun), session_id: Some(session_id.parse()?), ..JobFilter::default() };
        let turns = link.query(&Query::Jobs { filter })?;
        let turn: JobId = text(&turns["items"][0], "job_id").parse()?;
        let ended = link.wait(turn, false)?;
        if ended["state"] != "completed" {
            return Err(failure_of(&ended).unwrap_or_else(|| Failure::engine(format!("the turn is {}", ended["state"]))));
        }
        let calls = link.query(&Query::ToolCalls { session_id: session_id.parse()?, after_seq: None, limit: 0 })?;
        let gated = calls["items"].as_array().into_iter().flatten().filter(|c| c["observed"] == "gated").count();
        Ok(((), format!("stop reason {}, {gated} gated tool calls", ended["stop_reason"])))
    })?;
    Ok(session_id)
}

fn review_and_commit(link: &Remote, s: &mut Steps<'_>, workspace_id: WorkspaceId) -> Outcome<JobId> {
    let files = s.step("review the difference", || {
        let diff = link.query(&Query::Diff { workspace_id, source: DiffSource::Uncommitted, path: None })?;
        let files: Vec<Value> = diff["items"].as_array().cloned().unwrap_or_default();
        let words: Vec<String> = files.iter().map(|f| format!("{} {} +{}", text(f, "change"), text(f, "path"), f["added"])).collect();
        if files.len() == 2 { Ok((files, words.join(", "))) } else { Err(Failure::engine(format!("two changed files were expected: {}", words.join(", ")))) }
    })?;
    let id = s.step("commit exactly these paths", || {
        let paths: Vec<&Value> = files.iter().map(|f| &f["path"]).collect();
        let expected: serde_json::Map<String, Value> = files.iter().map(|f| (text(f, "path").to_owned(), f["new_oid"].clone())).collect();
        let bindings = Bindings { workspace_id: Some(workspace_id), ..Bindings::default() };
        let parked = send(link, Op::VersionCommit, json!({ "paths": paths, "message": "Greet people in the README", "expected": expected }), bindings)?;
        let shown = link.query(&Query::Approval { approval_id: text(&parked, "approval_id").parse()? })?;
        let tree = shown["preview"]["place"].as_array().into_iter().flatten().find(|f| f["label"] == "tree").map(|f| text(f, "value").to_owned()).unwrap_or_default();
        let done = approve(link, &parked, "once")?;
        if text(&done, "tree_oid") != tree {
            return Err(Failure::new(Code::Integrity, format!("approved tree {tree}, committed tree {}", text(&done, "tree_oid"))));
        }
        let id: JobId = text(&done, "job_id").parse()?;
        Ok((id, format!("commit {}, approved tree = committed tree {}", &text(&done, "commit_oid")[..9], &tree[..9])))
    })?;
    s.decisions += 1;
    Ok(id)
}

fn check_and_close(link: &Remote, s: &mut Steps<'_>, wp: &str, session_id: &str, workspace_id: WorkspaceId, commit_job: JobId) -> Outcome<()> {
    s.step("mark the first micro-task done with the commit as evidence", || {
        let done = job(link, Op::LocusCompleteMt, Some(wp), Some("MT-001"), json!({ "evidence": { "job_id": commit_job } }))?;
        Ok(((), format!("job {}", short(text(&done, "job_id")))))
    })?;
    s.step("run the recipe in the sandbox, use it as evidence", || {
        job(link, Op::LocusStartMt, Some(wp), Some("MT-002"), json!({}))?;
        let bindings = Bindings { workspace_id: Some(workspace_id), ..Bindings::default() };
        let ran = send(link, Op::SandboxRunRecipe, json!({ "recipe": "check" }), bindings)?;
        if ran["exit_code"] != 0 {
            return Err(Failure::engine(format!("the recipe ended with {}", ran["exit_code"])));
        }
        job(link, Op::LocusCompleteMt, Some(wp), Some("MT-002"), json!({ "evidence": { "job_id": text(&ran, "job_id") } }))?;
        Ok(((), format!("{} exit {} under {}", text(&ran, "command"), ran["exit_code"], text(&ran, "sandbox"))))
    })?;
    s.step("close the session and the packet", || {
        let bindings = Bindings { session_id: Some(session_id.parse()?), ..Bindings::default() };
        send(link, Op::SessionClose, json!({ "waive_reason": "the demo hands nothing over" }), bindings)?;
        job(link, Op::LocusGateWp, Some(wp), None, json!({ "gate": "post_work", "result": "pass" }))?;
        let closed = job(link, Op::LocusCloseWp, Some(wp), None, json!({}))?;
        Ok(((), format!("{wp} is {}", text(&closed, "status"))))
    })
}

fn prove(link: &Remote, s: &mut Steps<'_>, wp: &str, app: &App) -> Outcome<()> {
    s.step("the board file is in step", || {
        let board = link.query(&Query::Board)?;
        let state = text(&board, "mirror_state");
        if state == "synchronized" { Ok(((), format!("{state}: {}", text(&board, "path")))) } else { Err(Failure::new(Code::BoardConflict, format!("the board is {state}"))) }
    })?;
    s.step("the Flight Recorder shows every step", || {
        let filter = EventFilter { wp_id: Some(WpId::parse(wp)?), ..EventFilter::default() };
        let events = link.query(&Query::Events { filter })?;
        let items = events["items"].as_array().cloned().unwrap_or_default();
        let codes: std::collections::BTreeSet<&str> = items.iter().map(|e| text(e, "code")).collect();
        for needed in ["FR-EVT-WP-001", "FR-EVT-WP-004", "FR-EVT-WS-001", "FR-EVT-SESS-001", "FR-EVT-APPR-003", "FR-EVT-VCS-001", "FR-EVT-MT-003"] {
            if !codes.contains(needed) {
                return Err(Failure::engine(format!("the timeline of {wp} has no {needed}")));
            }
        }
        Ok(((), format!("{} events of {} kinds, joined by {wp}", items.len(), codes.len())))
    })?;
    s.step("the chain verifies", || {
        let report = app.verify()?;
        match report.first_bad_seq {
            None if report.ok => Ok(((), format!("{} events, head {}", report.events, report.head.hash.short()))),
            seq => Err(Failure::new(Code::Integrity, format!("broken at event {}: {}", seq.unwrap_or(0), report.problem.unwrap_or_default()))),
        }
    })
}
