//! Parts of the packet screen: micro-tasks, evidence, notes, links, what stands before closing.
//!
//! Authority: derived. Pure.

use serde_json::Value;

use dcc_core::job::Job;
use dcc_core::locus::record::{Dependency, DependencyKind, Evidence, Note};
use dcc_core::locus::rules::{Action, Packets};
use dcc_core::locus::{MicroTask, MtStatus, WorkPacket, WpStatus};
use dcc_core::op::Op;
use dcc_core::{Code, Failure};

use super::names::Names;
use super::rows::{counted, failure_view, line};
use crate::view::{ActionView, CriterionView, DependencyView, EvidenceView, FailureView, MtRow, NoteView, PacketView, ReadinessView, WpRef};

pub(super) fn action(op: &str, refused: Option<Failure>) -> ActionView {
    ActionView { op: op.to_owned(), enabled: refused.is_none(), failure: refused.as_ref().map(failure_view) }
}

/// The name under which a surface asks whether it may: the operation, with the parameter that matters.
pub(super) fn op_name(action: &Action) -> String {
    match action.name {
        "make_ready" => "locus.update_wp:ready".to_owned(),
        "gate_pre_work" => "locus.gate_wp:pre_work".to_owned(),
        "gate_post_work" => "locus.gate_wp:post_work".to_owned(),
        "reopen_wp_in_progress" => "locus.reopen_wp:in_progress".to_owned(),
        _ => action.op.as_str().to_owned(),
    }
}

/// A finished job that proves something: it has an exit code or a commit.
pub(super) fn evidence_of_job(job: &Job) -> Option<EvidenceView> {
    let text = |key: &str| job.result.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| job.result.get(key).and_then(Value::as_i64);
    let (exit_code, commit_oid) = (number("exit_code"), text("commit_oid"));
    if !job.state.is_terminal() || (exit_code.is_none() && commit_oid.is_none()) {
        return None;
    }
    let command = text("command").or_else(|| (job.op == Op::VersionCommit).then(|| format!("commit on {}", text("branch").unwrap_or_default())));
    Some(EvidenceView {
        job_id: Some(job.job_id.to_string()),
        command,
        exit_code,
        tests_run: number("tests_run"),
        commit_oid,
        statement: None,
        recorded_at_ms: Some(job.updated_at.as_ms()),
    })
}

fn evidence_view(evidence: &Evidence, mt: &MicroTask) -> EvidenceView {
    EvidenceView {
        job_id: evidence.job_id.map(|id| id.to_string()),
        command: evidence.command.clone(),
        exit_code: evidence.exit_code.map(i64::from),
        tests_run: evidence.tests_run.map(|n| n as i64),
        commit_oid: evidence.commit_oid.as_ref().map(ToString::to_string),
        statement: evidence.statement.clone(),
        recorded_at_ms: mt.completed_at.map(dcc_core::Timestamp::as_ms),
    }
}

pub(super) fn mt_row(mt: &MicroTask, names: &Names) -> MtRow {
    let sessions: Vec<_> = names.sessions.values().filter(|s| s.wp_id.as_ref() == Some(&mt.wp_id) && s.mt_id.as_ref() == Some(&mt.mt_id)).collect();
    let last = sessions.iter().max_by_key(|s| s.created_at);
    let failed = matches!(mt.status, MtStatus::Failed | MtStatus::Blocked);
    MtRow {
        mt_id: mt.mt_id.to_string(),
        name: mt.name.clone(),
        scope: (!mt.scope.is_empty()).then(|| mt.scope.clone()),
        status: mt.status.as_str().to_owned(),
        done_criteria: mt.done_criteria.clone(),
        depends_on: mt.depends_on.iter().map(ToString::to_string).collect(),
        files: mt.files.modify.iter().chain(&mt.files.create).chain(&mt.files.read).cloned().collect(),
        iterations: mt.iterations.len() as i64,
        max_iterations: i64::from(mt.max_iterations),
        agent: last.map(|s| s.agent.clone()),
        session_ids: sessions.iter().map(|s| s.session_id.to_string()).collect(),
        evidence: mt.evidence.as_ref().map(|e| evidence_view(e, mt)),
        waits: match mt.status {
            MtStatus::InProgress => Some("waits for evidence: a finished job or a statement".to_owned()),
            MtStatus::Skipped => mt.status_reason.as_deref().map(|r| format!("skipped: {}", line(r))),
            _ if failed => mt.status_reason.as_deref().map(line),
            _ => None,
        },
        failure: mt.status_reason.as_ref().filter(|_| mt.status == MtStatus::Failed).map(|reason| FailureView {
            code: Code::IllegalTransition.as_str().to_owned(),
            message: reason.clone(),
            hint: Some("start it again, or skip it with a reason".to_owned()),
        }),
    }
}

/// The author is the operator or a session's id.
pub(super) fn note_view(note: &Note, body: Option<String>, names: &Names) -> NoteView {
    let session = note.author.parse().ok().and_then(|id: dcc_core::SessionId| names.agent(Some(id)).map(|agent| (agent, id)));
    let kind = match (&session, note.author.as_str()) {
        (Some(_), _) => "agent",
        (None, "dcc") => "system",
        _ => "human",
    };
    NoteView {
        note_id: note.note_id.to_string(),
        written_at_ms: note.ts.as_ms(),
        author: session.map_or_else(|| note.author.clone(), |(agent, id)| format!("{agent} {}", id.short())),
        author_kind: kind.to_owned(),
        note_type: note.note_type.as_str().to_owned(),
        body: body.unwrap_or_else(|| "the text of this note could not be read".to_owned()),
    }
}

/// Own edges, then the blocking ones that other packets hold, each as seen from here.
pub(super) fn dependencies(packet: &WorkPacket, packets: &Packets<'_>) -> Vec<DependencyView> {
    let named = |id: &dcc_core::WpId| match packets.any(id) {
        Some(other) => WpRef {
            wp_id: other.wp_id.to_string(),
            title: other.title.clone(),
            status: if other.tombstone.is_some() { "deleted" } else { other.status.as_str() }.to_owned(),
        },
        None => WpRef { wp_id: id.to_string(), title: "not in this project any more".to_owned(), status: "unknown".to_owned() },
    };
    let view = |edge: &Dependency, kind: &str, other| DependencyView { dependency_id: edge.dependency_id.clone(), kind: kind.to_owned(), wp: named(other) };
    let mut all: Vec<DependencyView> = packet.dependencies.iter().map(|edge| view(edge, edge.kind.as_str(), &edge.to_wp_id)).collect();
    for other in packets.all() {
        for edge in other.dependencies.iter().filter(|e| e.to_wp_id.folded() == packet.wp_id.folded()) {
            let kind = match edge.kind {
                DependencyKind::Blocks => "blocked_by",
                DependencyKind::BlockedBy | DependencyKind::DependsOn => "blocks",
                _ => continue,
            };
            all.push(view(edge, kind, &other.wp_id));
        }
    }
    all
}

/// A criterion counts as met when a person closed the packet: nothing else judges it.
pub(super) fn criteria(packet: &WorkPacket) -> Vec<CriterionView> {
    let met = packet.status == WpStatus::Done;
    packet
        .acceptance_criteria
        .iter()
        .map(|text| CriterionView {
            text: text.clone(),
            status: if met { "met" } else { "open" }.to_owned(),
            proof: packet.closure_verdict.as_deref().filter(|_| met).map(line),
        })
        .collect()
}

/// What stands between the packet and done, besides the two gates that the screen draws itself. `dirty` is none without a
/// worktree, and its inside is none when the changes are unknown.
#[allow(clippy::option_option)]
pub(super) fn readiness(view: &PacketView, dirty: Option<Option<i64>>) -> Vec<ReadinessView> {
    let row = |name: &str, done: bool, detail: String| ReadinessView { name: name.to_owned(), status: if done { "done" } else { "open" }.to_owned(), detail: Some(detail) };
    let total = view.micro_tasks.len();
    let over = view.micro_tasks.iter().filter(|m| matches!(m.status.as_str(), "completed" | "skipped")).count();
    let failed = view.micro_tasks.iter().filter(|m| m.status == "failed").count();
    let live = view.sessions.iter().filter(|s| !matches!(s.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED")).count();
    let jobs = view.jobs.iter().filter(|j| matches!(j.state.as_str(), "queued" | "running" | "awaiting_user" | "awaiting_validation" | "stalled")).count();
    let mut rows = vec![
        row("micro-tasks", over == total, if total == 0 { "none registered".to_owned() } else { format!("{over} of {total} done") }),
        row("sessions", live == 0, if live == 0 { "none open".to_owned() } else { format!("{} open", counted(live, "session")) }),
        row("jobs", jobs == 0, if jobs == 0 { "none open".to_owned() } else { format!("{} open", counted(jobs, "job")) }),
        row("approvals", view.approvals.is_empty(), if view.approvals.is_empty() { "none waits".to_owned() } else { format!("{} waiting", counted(view.approvals.len(), "approval")) }),
    ];
    if failed > 0 {
        "failed".clone_into(&mut rows[0].status);
    }
    match dirty {
        None => {}
        Some(None) => rows.push(ReadinessView { name: "clean worktree".to_owned(), status: "unknown".to_owned(), detail: Some("the worktree could not be read".to_owned()) }),
        Some(Some(0)) => rows.push(row("clean worktree", true, "nothing uncommitted".to_owned())),
        Some(Some(n)) => rows.push(row("clean worktree", false, format!("{} uncommitted", counted(n.max(0) as usize, "file")))),
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_worktree_is_not_clean() {
        let view = PacketView::default();
        assert_eq!(readiness(&view, None).len(), 4);
        assert_eq!(readiness(&view, Some(None))[4].status, "unknown");
        assert_eq!(readiness(&view, Some(Some(2)))[4].status, "open");
        assert_eq!(readiness(&view, Some(Some(0)))[4].status, "done");
    }
}
