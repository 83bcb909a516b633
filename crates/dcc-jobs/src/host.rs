//! DCC's side of an agent's conversation: every report is journalled before it counts, every request is a job.
//!
//! Invariants: the decision and its event commit before the answer goes out; a request whose agent is gone is cancelled
//! and never answered later; nothing an agent says changes a state that only a person may change.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::ids::{JobId, SessionId, Sha256Hex};
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::plans::{AGENT_DIFF_BYTES_MAX, AskKind};
use dcc_core::ports::sessions::{Observed, SideEffect, ToolStatus};
use dcc_core::ports::{AgentReport, JobFilter, PermissionAnswer, PermissionAsk, SessionHost, ToolReport};
use dcc_core::principal::Actor;
use dcc_core::session::{self, Session, SessionState, StateReason};
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, Outcome, RepoPath, limits};

use crate::context::Context;
use crate::runner::Runner;
use crate::{kinds, ledger};

/// Text above this goes by artifact.
const INLINE_TEXT_BYTES: usize = 16 * 1024;

pub struct Host {
    runner: Arc<Runner>,
}

impl Host {
    pub fn new(runner: Arc<Runner>) -> Self {
        Self { runner }
    }

    fn cx(&self) -> &Context {
        &self.runner.cx
    }

    fn record(&self, session: &Session, code: EventCode, payload: Value, tool_call_id: Option<&str>) -> Outcome<()> {
        let mut correlation = session_correlation(session);
        correlation.tool_call_id = tool_call_id.map(str::to_owned);
        let event = NewEvent::new(code, Actor::agent(session.session_id), payload).about(&correlation);
        self.cx().journal.append(vec![event]).map(|_| ())
    }

    fn take(&self, session: &Session, report: AgentReport) -> Outcome<()> {
        match report {
            AgentReport::Message { text } => self.record(session, EventCode::SessionMessage, message_payload(self.cx(), "agent", &text)?, None),
            AgentReport::Thought { text } => self.record(session, EventCode::SessionMessage, message_payload(self.cx(), "thought", &text)?, None),
            AgentReport::Tool(tool) => self.tool(session, tool),
            AgentReport::Plan { entries } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "plan", "entries": entries }), None),
            AgentReport::Usage { used, size, cost } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "usage", "used": used, "size": size, "cost": cost }), None),
            AgentReport::Other { kind } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "other", "what": cut_text(&kind, 200) }), None),
            AgentReport::Noise { sample } => self.record(session, EventCode::SessionUpdate, json!({ "kind": "noise", "sample": cut_text(&sample, 400) }), None),
            AgentReport::TurnEnded { turn, stop_reason } => self.turn_over(session, turn, Ok(stop_reason)),
            AgentReport::TurnFailed { turn, failure } => self.turn_over(session, turn, Err(failure)),
            AgentReport::Exited { exit_code, stderr_head } => self.exited(session, exit_code, &stderr_head),
        }
    }

    fn tool(&self, session: &Session, mut tool: ToolReport) -> Outcome<()> {
        let code = match tool.status {
            ToolStatus::Requested | ToolStatus::Held => EventCode::ToolCallStarted,
            ToolStatus::Running => EventCode::ToolCallProgress,
            _ => EventCode::ToolCallFinished,
        };
        for slot in [&mut tool.raw_input, &mut tool.raw_output] {
            if slot.as_ref().is_some_and(|v| v.to_string().len() > INLINE_TEXT_BYTES / 2) {
                let bytes = slot.as_ref().map(ToString::to_string).unwrap_or_default();
                *slot = Some(json!({ "ref": self.cx().ports.artifacts.put(dcc_core::redact::redact_text(&bytes).0.as_bytes())? }));
            }
        }
        tool.title = cut_text(&tool.title, limits::LINE_BYTES_MAX);
        tool.locations.truncate(100);
        let id = cut_text(&tool.tool_call_id, 200);
        self.record(session, code, json!({ "tool": tool, "observed": Observed::Reported }), Some(&id))
    }

    fn turn_over(&self, session: &Session, turn: JobId, ended: Result<String, Failure>) -> Outcome<()> {
        // Whoever still waits for an answer in this turn waits for nobody.
        cancel_pending(&self.runner, session.session_id, "the turn ended")?;
        kinds::end_turn(&self.runner, turn, ended)?;
        let now = ledger::session(self.cx().ports.recorder.as_ref(), session.session_id)?;
        if now.state == SessionState::Active || now.state_reason == StateReason::ApprovalWait {
            change_state(self.cx(), session.session_id, SessionState::Blocked, StateReason::InputWait, json!({}))?;
        }
        Ok(())
    }

    fn exited(&self, session: &Session, exit_code: Option<i32>, stderr_head: &str) -> Outcome<()> {
        let (stderr_head, _) = dcc_core::redact::redact_text(&cut_text(stderr_head, 4000));
        let code = exit_code.map_or("a signal".to_owned(), |c| format!("exit code {c}"));
        cancel_pending(&self.runner, session.session_id, "the agent is gone")?;
        if let Some(turn) = running_turn(self.cx(), session.session_id)? {
            kinds::end_turn(&self.runner, turn, Err(Failure::new(Code::AgentFailed, format!("the agent ended with {code} during the turn"))))?;
        }
        let now = ledger::session(self.cx().ports.recorder.as_ref(), session.session_id)?;
        let expected = self.cx().stopping.lock().unwrap_or_else(PoisonError::into_inner).contains(&session.session_id);
        if !now.state.is_terminal() && !expected {
            let fault = if stderr_head.is_empty() { format!("the agent ended with {code}") } else { format!("the agent ended with {code}:\n{stderr_head}") };
            change_state(self.cx(), session.session_id, SessionState::Failed, StateReason::AgentExit, json!({ "fault": fault }))?;
        }
        Ok(())
    }

    fn request(&self, session: &Session, op: Op, params: Value) -> Outcome<Job> {
        let turn = running_turn(self.cx(), session.session_id)?.ok_or_else(|| Failure::new(Code::IllegalTransition, "the session has no running turn"))?;
        let parent = ledger::job(self.cx().ports.recorder.as_ref(), turn)?;
        let request = JobRequest {
            op,
            params,
            bindings: Bindings {
                wp_id: session.wp_id.clone(),
                mt_id: session.mt_id.clone(),
                session_id: Some(session.session_id),
                workspace_id: session.workspace_id,
            },
            idempotency_key: None,
        };
        self.runner.submit_under(Actor::agent(session.session_id), request, Some(&parent))
    }

    /// The call ends as denied by us, whatever the agent says of it afterwards.
    fn refused(&self, session: &Session, ask: &PermissionAsk, job: &Job) -> Outcome<()> {
        let status = if job.state == JobState::Cancelled { ToolStatus::Cancelled } else { ToolStatus::Denied };
        let tool = ToolReport {
            tool_call_id: ask.tool_call_id.clone(),
            title: ask.title.clone(),
            kind: ask.kind.clone().unwrap_or_else(|| "other".into()),
            side_effect: side_effect(ask.kind.as_deref()),
            status,
            locations: ask.locations.clone(),
            raw_input: None,
            raw_output: job.failure.as_ref().map(|f| json!({ "code": f.code, "message": f.message })),
        };
        self.record(session, EventCode::ToolCallFinished, json!({ "tool": tool, "observed": Observed::Gated }), Some(&ask.tool_call_id))
    }

    fn decide(&self, session: &Session, ask: &PermissionAsk) -> Outcome<bool> {
        if !ask.can_allow {
            return Ok(false);
        }
        let workspace = workspace_of(self.cx(), session)?;
        let params = judge(&workspace, ask);
        let job = self.request(session, Op::CapabilityRequest, params)?;
        if job.state == JobState::AwaitingUser {
            let held = ToolReport {
                tool_call_id: ask.tool_call_id.clone(),
                title: ask.title.clone(),
                kind: ask.kind.clone().unwrap_or_else(|| "other".into()),
                side_effect: side_effect(ask.kind.as_deref()),
                status: ToolStatus::Held,
                locations: ask.locations.clone(),
                raw_input: None,
                raw_output: None,
            };
            self.record(session, EventCode::ToolCallProgress, json!({ "tool": held, "observed": Observed::Gated, "approval_id": job.approval_id }), Some(&ask.tool_call_id))?;
            change_state_for(self.cx(), session.session_id, SessionState::Blocked, StateReason::ApprovalWait, json!({}), Some(job.root_job_id))?;
        }
        let job = self.runner.wait(job.job_id, None)?;
        if job.state != JobState::Completed {
            self.refused(session, ask, &job)?;
        }
        if ask.withdrawn.is_set() {
            return Ok(false);
        }
        let now = ledger::session(self.cx().ports.recorder.as_ref(), session.session_id)?;
        if now.state_reason == StateReason::ApprovalWait && !has_pending(self.cx(), session.session_id)? {
            change_state_for(self.cx(), session.session_id, SessionState::Active, StateReason::Running, json!({}), Some(job.root_job_id))?;
        }
        Ok(job.state == JobState::Completed)
    }
}

impl SessionHost for Host {
    fn report(&self, session_id: SessionId, report: AgentReport) {
        let result = ledger::session(self.cx().ports.recorder.as_ref(), session_id).and_then(|s| self.take(&s, report));
        if let Err(failure) = result {
            // No record, no action: what cannot be recorded is not shown as having happened.
            eprintln!("dcc: session {}: {failure}", session_id.short());
        }
    }

    fn ask(&self, session_id: SessionId, ask: PermissionAsk) -> PermissionAnswer {
        let decided = ledger::session(self.cx().ports.recorder.as_ref(), session_id).and_then(|s| self.decide(&s, &ask));
        match decided {
            _ if ask.withdrawn.is_set() => PermissionAnswer::Cancelled,
            Ok(true) => PermissionAnswer::AllowOnce,
            // Silence, error, expiry: rejection.
            Ok(false) | Err(_) => PermissionAnswer::RejectOnce,
        }
    }

    fn read_file(&self, session_id: SessionId, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String> {
        let session = ledger::session(self.cx().ports.recorder.as_ref(), session_id)?;
        let workspace = workspace_of(self.cx(), &session)?;
        let path = inside(&workspace, path).ok_or_else(|| Failure::new(Code::Scope, format!("{path} is outside the session's worktree")))?;
        if looks_secret(&path) {
            return Err(Failure::new(Code::Scope, format!("{} looks like a secret and is not read for agents", path.display())));
        }
        let bytes = self
            .cx()
            .ports
            .files
            .read(&workspace.binding, &path, limits::AGENT_LINE_BYTES_MAX as u64)?
            .ok_or_else(|| Failure::new(Code::NotFound, format!("no file {}", path.display())))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if line.is_none() && limit.is_none() {
            return Ok(text);
        }
        let skip = line.unwrap_or(1).saturating_sub(1) as usize;
        Ok(text.split_inclusive('\n').skip(skip).take(limit.map_or(usize::MAX, |l| l as usize)).collect())
    }

    fn write_file(&self, session_id: SessionId, path: &str, content: &str) -> Outcome<()> {
        let session = ledger::session(self.cx().ports.recorder.as_ref(), session_id)?;
        let workspace = workspace_of(self.cx(), &session)?;
        let path = inside(&workspace, path).ok_or_else(|| Failure::new(Code::Scope, format!("{path} is outside the session's worktree")))?;
        let sha256 = self.cx().ports.artifacts.put(content.as_bytes())?;
        let job = self.request(&session, Op::FsWrite, json!({ "path": path, "content_sha256": sha256 }))?;
        let job = if job.state == JobState::AwaitingUser {
            change_state_for(self.cx(), session_id, SessionState::Blocked, StateReason::ApprovalWait, json!({}), Some(job.root_job_id))?;
            let job = self.runner.wait(job.job_id, None)?;
            let now = ledger::session(self.cx().ports.recorder.as_ref(), session_id)?;
            if now.state_reason == StateReason::ApprovalWait && !has_pending(self.cx(), session_id)? {
                change_state_for(self.cx(), session_id, SessionState::Active, StateReason::Running, json!({}), Some(job.root_job_id))?;
            }
            job
        } else {
            job
        };
        match (job.state, job.failure) {
            (JobState::Completed, _) => Ok(()),
            (_, Some(failure)) => Err(failure),
            (state, None) => Err(Failure::new(Code::AgentFailed, format!("the write ended as {}", state.as_str()))),
        }
    }
}

/// What a kind of tool does; whatever is not known to be harmless counts as execution.
fn side_effect(kind: Option<&str>) -> SideEffect {
    match kind {
        Some("read" | "search" | "think" | "fetch") => SideEffect::Read,
        Some("edit" | "delete" | "move") => SideEffect::Write,
        _ => SideEffect::Execute,
    }
}

/// Our judgement of a request: kind, paths and command as parameters of capability.request.
fn judge(workspace: &Workspace, ask: &PermissionAsk) -> Value {
    let mut paths: Vec<RepoPath> = Vec::new();
    let mut foreign: Vec<String> = Vec::new();
    for location in ask.locations.iter().chain(ask.diffs.iter().map(|d| &d.0)) {
        match inside(workspace, location) {
            Some(path) if paths.contains(&path) => {}
            Some(path) => paths.push(path),
            None if foreign.contains(location) => {}
            None => foreign.push(cut_text(location, 400)),
        }
    }
    let kind = match ask.kind.as_deref() {
        Some("edit") if !paths.is_empty() => AskKind::Edit,
        Some("execute") if ask.command.is_some() => AskKind::Execute,
        Some("read" | "search") if !paths.is_empty() => AskKind::Read,
        // Delete and move lose content; without details, and for kinds that reach outside, the worst class.
        _ => AskKind::Unknown,
    };
    let diffs: Vec<(RepoPath, String)> = ask
        .diffs
        .iter()
        .filter_map(|(path, old, new)| Some((inside(workspace, path)?, cut_text(&plain_diff(old.as_deref(), new), AGENT_DIFF_BYTES_MAX))))
        .take(8)
        .collect();
    json!({
        "tool_call_id": cut_text(&ask.tool_call_id, 200), "kind": kind, "paths": paths.iter().take(100).collect::<Vec<_>>(), "foreign_paths": foreign.iter().take(20).collect::<Vec<_>>(),
        "command": ask.command.as_ref().map(|c| cut_text(c, 4000)), "diffs": diffs, "raw_sha256": ask.raw_sha256, "claim": cut_text(&ask.title, limits::LINE_BYTES_MAX),
    })
}

/// Lines taken away and added, without the common head and tail; enough for a preview, exact in what it shows.
fn plain_diff(old: Option<&str>, new: &str) -> String {
    let old: Vec<&str> = old.unwrap_or("").lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut out = format!("@@ -{},{} +{},{} @@\n", head + 1, old.len() - head - tail, head + 1, new.len() - head - tail);
    for line in &old[head..old.len() - tail] {
        out.push_str(&format!("-{line}\n"));
    }
    for line in &new[head..new.len() - tail] {
        out.push_str(&format!("+{line}\n"));
    }
    out
}

/// A path inside the worktree, compared by component; none when it lies elsewhere. Symbolic links are the file engine's
/// to refuse.
fn inside(workspace: &Workspace, text: &str) -> Option<RepoPath> {
    let root = workspace.binding.worktree();
    let given = Path::new(text);
    let joined = if given.is_absolute() { given.to_path_buf() } else { root.join(given) };
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir => return None,
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    let relative = clean.strip_prefix(&root).ok()?;
    RepoPath::new(relative.as_os_str().as_encoded_bytes()).ok()
}

/// Names that usually hold credentials; an agent has no business reading them through us.
fn looks_secret(path: &RepoPath) -> bool {
    let name = String::from_utf8_lossy(path.file_name()).to_ascii_lowercase();
    name == ".env" || name.starts_with(".env.") || name.ends_with(".pem") || name.ends_with(".key") || name.starts_with("id_rsa") || name.starts_with("id_ed25519") || name == ".netrc"
}

fn workspace_of(cx: &Context, session: &Session) -> Outcome<Workspace> {
    let id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
    ledger::workspace(cx.ports.recorder.as_ref(), id)
}

fn session_correlation(session: &Session) -> Correlation {
    Correlation {
        wp_id: session.wp_id.clone(),
        mt_id: session.mt_id.clone(),
        session_id: Some(session.session_id),
        workspace_id: session.workspace_id,
        job_id: session.running_job_id,
        workflow_run_id: session.running_job_id,
        approval_id: None,
        tool_call_id: None,
    }
}

/// A message's payload; large text goes by artifact with its beginning inline.
pub(crate) fn message_payload(cx: &Context, role: &str, text: &str) -> Outcome<Value> {
    if text.len() <= INLINE_TEXT_BYTES {
        return Ok(json!({ "role": role, "text": text, "sha256": Sha256Hex::of(text.as_bytes()) }));
    }
    let sha256 = cx.ports.artifacts.put(dcc_core::redact::redact_text(text).0.as_bytes())?;
    Ok(json!({ "role": role, "text": cut_text(text, 2000), "text_ref": sha256 }))
}

pub(crate) fn cut_text(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

/// Moves a session, refused when the machine does not know the move.
pub(crate) fn change_state(cx: &Context, id: SessionId, to: SessionState, reason: StateReason, extra: Value) -> Outcome<()> {
    change_state_for(cx, id, to, reason, extra, None)
}

/// As [`change_state`], naming the run that it happens for.
pub(crate) fn change_state_for(cx: &Context, id: SessionId, to: SessionState, reason: StateReason, extra: Value, run: Option<JobId>) -> Outcome<()> {
    let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
    session::step(now.state, to).or_else(|f| if now.state == to { Ok(to) } else { Err(f) })?;
    let mut payload = json!({ "from": now.state, "to": to, "reason": reason });
    if let (Value::Object(target), Value::Object(more)) = (&mut payload, extra) {
        target.extend(more);
    }
    let mut correlation = session_correlation(&now);
    if run.is_some() {
        correlation.job_id = run;
        correlation.workflow_run_id = run;
    }
    let code = if to.is_terminal() { EventCode::SessionCompleted } else { EventCode::SessionStateChange };
    cx.journal.append(vec![NewEvent::new(code, Actor::SYSTEM, payload).about(&correlation)]).map(|_| ())
}

/// The turn that runs in the session, by canon.
pub(crate) fn running_turn(cx: &Context, id: SessionId) -> Outcome<Option<JobId>> {
    let filter = JobFilter { states: vec![JobState::Running], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    Ok(cx.ports.store.jobs(&filter)?.first().map(|j| j.job_id))
}

fn has_pending(cx: &Context, id: SessionId) -> Outcome<bool> {
    let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
    Ok(!cx.ports.store.jobs(&filter)?.is_empty())
}

/// Cancels the requests of a session that nobody will answer any more.
pub(crate) fn cancel_pending(runner: &Runner, id: SessionId, why: &str) -> Outcome<()> {
    let filter = JobFilter { states: vec![JobState::AwaitingUser], session_id: Some(id), ..JobFilter::default() };
    for job in runner.cx.ports.store.jobs(&filter)? {
        // A person's own request that names the session (a commit) is not the agent's and stays.
        if job.actor.is_operator() {
            continue;
        }
        if let Some(approval_id) = job.approval_id {
            let failure = Failure::new(Code::Canceled, why.to_owned());
            runner.end_pending(approval_id, EventCode::ApprovalStale, "cancelled", JobState::Cancelled, failure)?;
        }
    }
    Ok(())
}

/// session.cancel: pending requests first, then the agent and its process tree; said only when the tree is empty.
pub(crate) fn cancel_session(cx: &Context, job: &Job, id: SessionId, reason: StateReason, text: Option<String>) -> Outcome<()> {
    let runner = cx.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| Failure::engine("no runner"))?;
    cx.journal.append(vec![
        NewEvent::new(EventCode::SessionSteered, job.actor, json!({ "steer": "cancel", "reason": text })).about(&crate::runner::correlation(job)),
    ])?;
    cancel_pending(&runner, id, "the session was cancelled")?;
    stop_agent(cx, id)?;
    if let Some(turn) = running_turn(cx, id)? {
        kinds::end_turn(&runner, turn, Ok("cancelled".into()))?;
    }
    let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if !now.state.is_terminal() {
        change_state(cx, id, SessionState::Cancelled, reason, json!({ "closing": text }))?;
    }
    Ok(())
}

/// session.close: the agent is stopped, the handoff or the waiver recorded, the session completed.
pub(crate) fn close_session(cx: &Context, job: &Job, id: SessionId, waived: bool, text: &str) -> Outcome<()> {
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&crate::runner::correlation(job));
    let closing = if waived {
        cx.journal.append(vec![about(EventCode::HandoffWaived, json!({ "reason": text }))])?;
        format!("handoff waived: {text}")
    } else {
        let sha256 = cx.ports.artifacts.put(text.as_bytes())?;
        cx.journal.append(vec![about(EventCode::HandoffWritten, json!({ "sha256": sha256, "text": cut_text(text, 4000) }))])?;
        cut_text(text, 4000)
    };
    // The terminal state first: the exit that follows is then expected, not a fault.
    change_state(cx, id, SessionState::Completed, StateReason::Done, json!({ "closing": closing }))?;
    stop_agent(cx, id)
}

/// Ends the agent and its tree; the exit that follows is expected.
pub(crate) fn stop_agent(cx: &Context, id: SessionId) -> Outcome<()> {
    if !cx.ports.sessions.live().contains(&id) {
        return Ok(());
    }
    cx.stopping.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    cx.ports.sessions.stop(id)
}
