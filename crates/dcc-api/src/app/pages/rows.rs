//! Records as the rows that several screens share.
//!
//! Authority: derived. Invariant: pure but for what is handed in; an unknown value stays `None`.

use serde_json::Value;

use dcc_core::budget::{Budget, Crossing, Level, Measure, Totals};
use dcc_core::ports::Driver;
use dcc_core::approval::{Approval, ApprovalStatus, Grant};
use dcc_core::event::{Event, EventOutcome};
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::sessions::{SideEffect, ToolReport, ToolStatus};
use dcc_core::ports::store::ToolCall;
use dcc_core::principal::{Actor, ActorKind, Principal};
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::{Failure, RepoPath};

use super::costs::{cost_view, provider};
use super::names::Names;
use super::sentence::sentence;
use crate::view::{ApprovalRow, BudgetView, EventRow, FailureView, GrantRow, JobRow, PathView, SessionRef, SessionRow, ToolCallRow};

/// The wire word of a unit enum.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The first line, cut at a length that a row can show.
pub(super) fn line(text: &str) -> String {
    cut(text.lines().find(|l| !l.trim().is_empty()).unwrap_or("").trim(), 200)
}

/// At most this many characters, marked where it was cut.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// `1 path`, `3 paths`.
pub(super) fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

pub(super) fn failure_view(failure: &Failure) -> FailureView {
    FailureView { code: failure.code.as_str().to_owned(), message: failure.message.clone(), hint: failure.hint.clone() }
}

pub(super) fn path_view(path: &RepoPath) -> PathView {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => PathView::Text(text.to_owned()),
        Err(_) => PathView::Bytes { b64: dcc_core::path::base64(path.as_bytes()) },
    }
}

pub(super) fn kind_word(actor: &Actor) -> String {
    word(&actor.kind())
}

/// An approval with what its job came to, when that is known.
pub(super) fn approval_row(approval: &Approval, names: &Names, job: Option<&Job>) -> ApprovalRow {
    let decision = approval.decision.as_ref();
    let ended = approval.status != ApprovalStatus::Pending;
    // A commit of the operator is bound to the session whose work it holds; that session did not ask.
    let asked = approval.session_id.filter(|_| matches!(approval.requester.principal, Principal::Agent { .. }));
    ApprovalRow {
        approval_id: approval.approval_id.to_string(),
        status: word(&approval.status),
        tier: approval.tier.as_str().to_owned(),
        op: approval.op.as_str().to_owned(),
        title: approval.preview.title.clone(),
        wp_id: approval.wp_id.as_ref().map(ToString::to_string),
        mt_id: approval.mt_id.as_ref().map(ToString::to_string),
        session_id: asked.map(|id| id.to_string()),
        agent: names.agent(asked),
        workspace_id: approval.workspace_id.map(|id| id.to_string()),
        job_id: Some(approval.job_id.to_string()),
        requested_at_ms: approval.requested_at.as_ms(),
        expires_at_ms: Some(approval.expires_at.as_ms()),
        decided_at_ms: decision.map(|d| d.decided_at.as_ms()),
        scope: decision.filter(|d| d.approve).map(|d| word(&d.scope)),
        decided_by: decision.map(|d| format!("{} over {}", d.decider.id(), word(&d.decider.surface))),
        reason: decision.and_then(|d| d.reason.clone()).or_else(|| approval.ended_reason.clone()),
        outcome: job.filter(|_| ended).map(job_outcome),
        failure: job.filter(|_| ended).and_then(|j| j.failure.as_ref()).map(failure_view),
    }
}

/// What a job came to, in a few words.
pub(super) fn job_outcome(job: &Job) -> String {
    let took = job.updated_at.as_ms() - job.created_at.as_ms();
    if let Some(exit) = job.result.get("exit_code").and_then(Value::as_i64) {
        return format!("exit {exit}");
    }
    if let Some(oid) = job.result.get("commit_oid").and_then(Value::as_str) {
        return format!("commit {}", oid.get(..9).unwrap_or(oid));
    }
    match job.state {
        JobState::Completed | JobState::CompletedWithIssues if took < 3_600_000 => format!("ran, {}.{} s after asking", took / 1000, took % 1000 / 100),
        state => state.as_str().replace('_', " "),
    }
}

pub(super) fn event_row(event: &Event) -> EventRow {
    let text = |key: &str| event.payload[key].as_str().map(str::to_owned);
    EventRow {
        seq: event.seq as i64,
        event_id: event.event_id.to_string(),
        recorded_at_ms: event.ts.as_ms(),
        code: event.code.as_str().to_owned(),
        name: event.name.clone(),
        outcome: outcome_word(event),
        what: sentence(event),
        actor_kind: match event.actor_kind {
            ActorKind::Human => "human",
            ActorKind::Agent => "agent",
            ActorKind::System => "system",
        }
        .to_owned(),
        actor_id: event.actor_id.clone(),
        observed: text("observed"),
        wp_id: event.wp_id.as_ref().map(ToString::to_string),
        mt_id: event.mt_id.as_ref().map(ToString::to_string),
        session_id: event.session_id.map(|id| id.to_string()),
        workspace_id: event.workspace_id.map(|id| id.to_string()),
        job_id: event.job_id.map(|id| id.to_string()),
        approval_id: event.approval_id.map(|id| id.to_string()),
        tool_call_id: event.tool_call_id.clone(),
    }
}

/// `ok` says nothing on an event that reports no result, so it is left out there.
fn outcome_word(event: &Event) -> Option<String> {
    use dcc_core::event::EventCode::{GateDecided, JobFinished, RecipeFinished, ToolCallFinished};
    let carries = matches!(event.code, GateDecided | JobFinished | RecipeFinished | ToolCallFinished);
    match event.outcome {
        EventOutcome::Ok if !carries => None,
        EventOutcome::Ok => Some("ok"),
        EventOutcome::Allow => Some("allow"),
        EventOutcome::Ask => Some("waiting"),
        EventOutcome::Deny => Some("denied"),
        EventOutcome::Failed => Some("error"),
        EventOutcome::Unknown => Some("unknown"),
    }
    .map(str::to_owned)
}

pub(super) fn job_row(job: &Job) -> JobRow {
    JobRow {
        job_id: job.job_id.to_string(),
        op: job.op.as_str().to_owned(),
        state: job.state.as_str().to_owned(),
        summary: job_summary(job),
        actor_kind: kind_word(&job.actor),
        actor_id: job.actor.id(),
        wp_id: job.bindings.wp_id.as_ref().map(ToString::to_string),
        mt_id: job.bindings.mt_id.as_ref().map(ToString::to_string),
        session_id: job.bindings.session_id.map(|id| id.to_string()),
        workspace_id: job.bindings.workspace_id.map(|id| id.to_string()),
        approval_id: job.approval_id.map(|id| id.to_string()),
        parent_job_id: job.parent_job_id.map(|id| id.to_string()),
        attempt: i64::from(job.attempt),
        created_at_ms: job.created_at.as_ms(),
        updated_at_ms: job.updated_at.as_ms(),
        finished_at_ms: job.state.is_terminal().then(|| job.updated_at.as_ms()),
        failure: job.failure.as_ref().map(failure_view),
    }
}

/// What a job does or did, from its parameters and its result.
pub(super) fn job_summary(job: &Job) -> String {
    let param = |key: &str| job.params[key].as_str().map(line).filter(|t| !t.is_empty());
    let result = |key: &str| job.result.get(key).and_then(Value::as_str);
    let target = match (&job.bindings.wp_id, &job.bindings.mt_id) {
        (Some(wp), Some(mt)) => format!("{wp} {mt}"),
        (Some(wp), None) => wp.to_string(),
        _ => result("wp_id").unwrap_or("").to_owned(),
    };
    match job.op {
        Op::LocusCreateWp => format!("{target} {}", param("title").unwrap_or_default()).trim().to_owned(),
        Op::LocusUpdateWp => {
            let set: Vec<String> = job.params["set"].as_object().into_iter().flatten().map(|(key, value)| value.as_str().filter(|_| key == "status").map_or_else(|| key.replace('_', " "), |to| format!("{key} {to}"))).collect();
            format!("{target}: {}", set.join(", ")).trim_end_matches(": ").to_owned()
        }
        Op::LocusRegisterMts => format!("{target}: {}", counted(job.params["micro_tasks"].as_array().map_or(0, Vec::len), "micro-task")),
        Op::LocusGateWp => format!("{target}: {} {}", param("gate").unwrap_or_default(), param("result").unwrap_or_default()),
        Op::VersionCommit => {
            let paths = job.params["paths"].as_array().map_or(0, Vec::len);
            let on = result("branch").map_or_else(String::new, |b| format!(" on {b}"));
            format!("{}{on}: {}", counted(paths, "path"), param("message").unwrap_or_default())
        }
        Op::SandboxRunRecipe => match job.result.get("exit_code").and_then(Value::as_i64) {
            Some(exit) => format!("recipe {}, exit {exit}", param("recipe").unwrap_or_default()),
            None => format!("recipe {}", param("recipe").unwrap_or_default()),
        },
        Op::WorkspaceCreate => format!("{target} {}", result("branch").unwrap_or("")).trim().to_owned(),
        Op::SessionStart => format!("{} {target}", param("agent").unwrap_or_else(|| "command".to_owned())).trim().to_owned(),
        Op::SessionRun => param("prompt").unwrap_or(target),
        Op::SessionSend => param("text").unwrap_or(target),
        Op::CapabilityRequest => param("claim").or_else(|| param("command")).unwrap_or(target),
        Op::FsWrite => job.params["path"].as_str().map_or(target, str::to_owned),
        _ => {
            let said = param("reason").or_else(|| param("body")).or_else(|| param("title")).map_or_else(String::new, |t| format!(": {t}"));
            format!("{target}{said}").trim_start_matches(": ").to_owned()
        }
    }
}

pub(super) fn tool_call_row(call: &ToolCall) -> ToolCallRow {
    let tool = &call.tool;
    let input = tool.raw_input.as_ref();
    let command = input.and_then(|v| v["command"].as_str().or_else(|| v["cmd"].as_str())).map(str::to_owned);
    let output = tool.raw_output.as_ref();
    let exit = output.and_then(|v| v["exit_code"].as_i64());
    let tests = output.and_then(|v| v["tests_run"].as_i64());
    // What DCC wrote for the call, beside what the agent says of it.
    let writes = (!call.writes.is_empty()).then(|| serde_json::to_value(&call.writes).unwrap_or_default());
    let detail: Vec<String> = [("arguments", input), ("result", output), ("written by DCC", writes.as_ref())]
        .into_iter()
        .filter_map(|(name, value)| value.filter(|v| !v.is_null()).map(|v| format!("{name}\n{}", serde_json::to_string_pretty(v).unwrap_or_default())))
        .collect();
    ToolCallRow {
        tool_call_id: tool.tool_call_id.clone(),
        started_at_ms: call.started_at.as_ms(),
        tool: tool_name(tool).to_owned(),
        target: command.map(|c| line(&c)).or_else(|| tool.locations.first().cloned()).unwrap_or_else(|| line(&tool.title)),
        side_effect: effect_word(tool.side_effect).to_owned(),
        status: word(&tool.status),
        result: match (tool.status, tests, exit) {
            (ToolStatus::Ok, Some(n), _) => Some(counted(n.max(0) as usize, "test")),
            (_, _, Some(code)) => Some(format!("exit {code}")),
            _ => None,
        },
        duration_ms: duration_ms(call),
        observed: word(&call.observed),
        approval_id: call.approval_id.map(|id| id.to_string()),
        job_id: call.job_id.map(|id| id.to_string()),
        detail: (!detail.is_empty()).then(|| cut(&detail.join("\n\n"), 8_000)),
        failure: None,
    }
}

/// What the ledger calls the tool.
pub(super) fn tool_name(tool: &ToolReport) -> &str {
    if tool.tool_call_id.starts_with("recipe-") { "recipe" } else { tool_word(&tool.kind) }
}

pub(super) fn effect_word(effect: SideEffect) -> &'static str {
    match effect {
        SideEffect::Read => "READ",
        SideEffect::Write => "WRITE",
        SideEffect::Execute => "EXECUTE",
    }
}

pub(super) fn duration_ms(call: &ToolCall) -> Option<i64> {
    call.finished_at.map(|end| (end.as_ms() - call.started_at.as_ms()).max(0))
}

fn tool_word(kind: &str) -> &str {
    match kind {
        "execute" => "command",
        other => other,
    }
}

pub(super) fn grant_row(grant: &Grant, names: &Names) -> GrantRow {
    let binding = &grant.binding;
    GrantRow {
        grant_id: grant.grant_id.to_string(),
        status: names.grant_status(grant).to_owned(),
        capability_id: grant.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        scope: word(&grant.scope),
        covers: match &binding.branch {
            Some(branch) => format!("{} on {branch}", grant.intent.phrase()),
            None => grant.intent.phrase(),
        },
        approval_id: Some(grant.approval_id.to_string()),
        wp_id: binding.wp_id.as_ref().map(ToString::to_string),
        session_id: binding.session_id.map(|id| id.to_string()),
        workspace_id: binding.workspace_id.map(|id| id.to_string()),
        agent: names.agent(binding.session_id),
        issued_at_ms: grant.issued_at.as_ms(),
        expires_at_ms: Some(grant.expires_at.as_ms()),
        revoked_at_ms: None,
        uses: i64::from(grant.used),
        max_uses: Some(i64::from(grant.max_uses)),
    }
}

pub(super) fn session_ref(session: &Session) -> SessionRef {
    SessionRef {
        session_id: session.session_id.to_string(),
        agent: session.agent.clone(),
        role: session.role.as_str().to_owned(),
        state: session.state.as_str().to_owned(),
        state_reason: Some(reason_word(session)),
        since_at_ms: session.ended_at.map(dcc_core::Timestamp::as_ms),
    }
}

/// A session; when its present state began is the caller's to add.
pub(super) fn session_row(session: &Session, names: &Names) -> SessionRow {
    let reported = session.tokens_in > 0 || session.tokens_out > 0;
    let waiting = names.pending_of(session.session_id).min_by_key(|a| a.requested_at);
    SessionRow {
        session_id: session.session_id.to_string(),
        parent_session_id: session.parent_session_id.map(|id| id.to_string()),
        depth: i64::from(session.spawn_depth),
        lane: session.lane.as_str().to_owned(),
        provider: provider(session),
        driver: driver_word(session.driver()).to_owned(),
        role: session.role.as_str().to_owned(),
        agent: session.agent.clone(),
        model_id: session.model_id.clone(),
        backend: session.backend.clone(),
        state: session.state.as_str().to_owned(),
        state_reason: Some(reason_word(session)),
        state_detail: state_detail(session, waiting),
        state_since_at_ms: session.ended_at.map(dcc_core::Timestamp::as_ms),
        wp_id: session.wp_id.as_ref().map(ToString::to_string),
        wp_title: names.title(session.wp_id.as_ref()),
        mt_id: session.mt_id.as_ref().map(ToString::to_string),
        workspace_id: session.workspace_id.map(|id| id.to_string()),
        branch: names.branch(session.workspace_id),
        purpose: session.purpose.clone(),
        grants: names.grants_of(session).count() as i64,
        approvals: names.pending_of(session.session_id).count() as i64,
        queued_messages: session.waiting.iter().filter(|m| m.is_waiting()).count() as i64,
        tokens_in: reported.then_some(session.tokens_in as i64),
        tokens_out: reported.then_some(session.tokens_out as i64),
        tool_calls: session.tool_calls as i64,
        cost: session.totals.cost.as_ref().map(cost_view),
        budget: None,
        sandbox_posture: session.posture.as_ref().map_or_else(String::new, posture_word),
        created_at_ms: session.created_at.as_ms(),
        started_at_ms: session.started_at.map(dcc_core::Timestamp::as_ms),
        ended_at_ms: session.ended_at.map(dcc_core::Timestamp::as_ms),
        last_activity_at_ms: Some(session.last_activity_at.as_ms()),
        ..SessionRow::default()
    }
}

/// The reason of its state; a command whose terminal is open, and a person at work, wait for no message.
pub(super) fn reason_word(session: &Session) -> String {
    match (session.state_reason, session.driver()) {
        (StateReason::InputWait, Driver::Pty) => "terminal_open".to_owned(),
        (StateReason::InputWait, Driver::Human) => "a_person_works".to_owned(),
        (reason, _) => reason.as_str(),
    }
}

fn driver_word(driver: Driver) -> &'static str {
    match driver {
        Driver::Acp => "acp",
        Driver::Pty => "pty",
        Driver::Human => "human",
    }
}

/// The limit of a budget that is nearest to being used up.
pub(super) fn budget_view(budget: &Budget, totals: &Totals) -> Option<BudgetView> {
    let cost = totals.costs().find(|(currency, _)| *currency == budget.currency).map_or(0, |(_, amount)| amount.0);
    let measures = [
        (Measure::Tokens, totals.tokens(), budget.max_tokens),
        (Measure::Cost, cost, budget.max_cost.map(|a| a.0)),
        (Measure::WallTime, totals.wall_ms, budget.max_wall_ms),
    ];
    let (measure, spent, limit) = measures.into_iter().filter_map(|(m, spent, limit)| Some((m, spent, limit?))).max_by_key(|(_, spent, limit)| u128::from(*spent) * 1000 / u128::from((*limit).max(1)))?;
    let crossing = budget.crossings(totals).into_iter().next();
    let level = match crossing.map(|c| c.level) {
        Some(Level::Hard) => "hard",
        Some(Level::Soft) => "soft",
        None => "within",
    };
    let foreign = budget.crossings(totals).into_iter().find(|crossing| crossing.foreign.is_some());
    let words = foreign.unwrap_or(Crossing { measure, level: Level::Soft, spent, limit, foreign: None }).sentence(&budget.currency);
    Some(BudgetView { percent: i64::try_from(u128::from(spent) * 100 / u128::from(limit.max(1))).unwrap_or(i64::MAX), words, level: level.to_owned() })
}

pub(super) fn posture_word(posture: &dcc_core::session::Posture) -> String {
    if !posture.confines_agents() {
        return "unenforced".to_owned();
    }
    if posture.layers.is_empty() { "none".to_owned() } else { posture.layers.join("+") }
}

fn state_detail(session: &Session, waiting: Option<&Approval>) -> Option<String> {
    match (session.state, session.state_reason, waiting) {
        (_, _, Some(approval)) if !session.state.is_terminal() => Some(format!("approval: {}", approval.preview.title)),
        (SessionState::Failed, ..) => session.fault.as_deref().map(line),
        (_, StateReason::ToolError | StateReason::CrashRecovery | StateReason::ReviewWait, _) => session.fault.as_deref().map(line),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("ab", 2), "ab");
        assert_eq!(line("\n  first \nsecond"), "first");
        assert_eq!((counted(1, "path"), counted(0, "path")), ("1 path".to_owned(), "0 paths".to_owned()));
    }

    #[test]
    fn paths_that_are_no_text_travel_as_base64() {
        let path = RepoPath::new(vec![b'a', 0xff, b'b']).unwrap();
        assert_eq!(path_view(&path), PathView::Bytes { b64: "Yf9i".into() });
        assert_eq!(path_view(&RepoPath::new("a/b").unwrap()), PathView::from("a/b"));
    }
}
