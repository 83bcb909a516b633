//! Acts that change only DCC's own state; each is one event, or a call that the backend proves done.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::EventCode;
use dcc_core::gate::Cleared;
use dcc_core::ids::{GrantId, WpId};
use dcc_core::job::{Bindings, Job, JobRequest};
use dcc_core::op::Op;
use dcc_core::plans::{SimpleAct, SimplePlan};
use dcc_core::ports::Steer;
use dcc_core::session::StateReason;
use dcc_core::session::SessionState;
use dcc_core::workspace::WorkspaceKind;
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::host;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct Simple;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkParams {
    wp_id: Option<WpId>,
    mt_id: Option<dcc_core::MtId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendParams {
    text: String,
    when: Option<Steer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonParams {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseParams {
    handoff: Option<serde_json::Value>,
    waive_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeParams {
    grant_id: GrantId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RebuildParams {
    #[serde(default)]
    dry_run: bool,
}

impl JobKind for Simple {
    type Plan = SimplePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<SimplePlan>> {
        let mut bindings = job.bindings.clone();
        let (act, sentence) = match job.op {
            Op::WorkspaceOpen | Op::WorkspaceClose | Op::WorkspaceArchive | Op::WorkspaceUnlink => workspace_act(cx, job, &mut bindings)?,
            Op::WorkspaceLink => link(cx, job, &mut bindings)?,
            Op::SessionSend | Op::SessionCancel | Op::SessionClose => session_act(cx, job, &mut bindings)?,
            Op::GrantRevoke => revoke(cx, job)?,
            Op::StoreRebuild => {
                let p: RebuildParams = params::parse(cx, job)?;
                if p.dry_run {
                    return Err(Failure::invalid("a dry run is a read").hint("dcc rebuild --dry-run"));
                }
                (SimpleAct::RebuildStore, "Rebuild all derived data".to_owned())
            }
            Op::LocusSyncTaskBoard => {
                params::parse::<Nothing>(cx, job)?;
                (SimpleAct::SyncBoard, "Bring TASK_BOARD.md in step".to_owned())
            }
            other => return Err(dcc_core::op::not_built(other)),
        };
        Ok(Planned { body: SimplePlan { act, sentence }, engine: "dcc", inputs: Vec::new(), bindings, claim: None })
    }

    fn lock(&self) -> Lock {
        // None of these writes Locus records or refs; the board writer takes its own lock.
        Lock::None
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SimplePlan>) -> Outcome<Done> {
        let event = |code, payload| dcc_core::event::NewEvent::new(code, job.actor, payload).about(&correlation(job));
        let mut effect = Effect::default();
        match &cleared.body().act {
            SimpleAct::OpenWorkspace { .. } => effect.events.push(event(EventCode::WorkspaceOpened, json!({}))),
            SimpleAct::CloseWorkspace { .. } => effect.events.push(event(EventCode::WorkspaceClosed, json!({}))),
            SimpleAct::ArchiveWorkspace { .. } => effect.events.push(event(EventCode::WorkspaceArchived, json!({}))),
            SimpleAct::LinkWorkspace { wp_id, mt_id, .. } => effect.events.push(event(EventCode::WorkspaceLinked, json!({ "wp_id": wp_id, "mt_id": mt_id }))),
            SimpleAct::UnlinkWorkspace { .. } => effect.events.push(event(EventCode::WorkspaceLinked, json!({ "wp_id": null, "mt_id": null }))),
            SimpleAct::RevokeGrant { grant_id, approval_id } => {
                let mut revoked = event(EventCode::GrantRevoked, json!({ "grant_id": grant_id })).once(format!("revoked:{grant_id}"));
                revoked.correlation.approval_id = Some(*approval_id);
                effect.events.push(revoked);
                effect = effect.with("grant_id", grant_id.to_string());
            }
            SimpleAct::SendMessage { session_id, text } => {
                let turn = send(cx, job, *session_id, text)?;
                effect = effect.with("turn_job_id", turn.job_id.to_string());
            }
            SimpleAct::CancelSession { session_id, reason } => {
                host::cancel_session(cx, job, *session_id, StateReason::CancelledByOperator, reason.clone())?;
            }
            SimpleAct::CloseSession { session_id, waived, text } => host::close_session(cx, job, *session_id, *waived, text)?,
            SimpleAct::RebuildStore => {
                cx.journal.append(vec![event(EventCode::RebuildStarted, json!({}))])?;
                cx.ports.store.reset()?;
                let applied = cx.journal.rebuild()?;
                effect.events.push(event(EventCode::RebuildFinished, json!({ "events": applied })));
                effect = effect.with("events", applied);
            }
            SimpleAct::SyncBoard => {
                let facts = super::locus::sync_board(cx, job)?;
                effect = effect.with("mirror_state", facts.mirror_state.as_str());
                if let Some(message) = facts.message {
                    effect = effect.with("message", message);
                }
            }
        }
        Ok(Done::Finished(effect))
    }

    fn recover(&self, _cx: &Context, job: &Job, body: &SimplePlan) -> Outcome<Recovered> {
        // The event of these acts is written together with the job's end: no end means no act.
        Ok(match body.act {
            SimpleAct::SendMessage { .. } => Recovered::Unknown(format!("whether the message of job {} reached the agent is not known", job.job_id.short())),
            _ => Recovered::Absent,
        })
    }
}

fn workspace_act(cx: &Context, job: &Job, bindings: &mut Bindings) -> Outcome<(SimpleAct, String)> {
    params::parse::<Nothing>(cx, job)?;
    let workspace = params::workspace(cx, job)?;
    bindings.wp_id = workspace.wp_id.clone();
    bindings.mt_id = workspace.mt_id.clone();
    let workspace_id = workspace.workspace_id;
    let name = workspace.branch.clone().unwrap_or_else(|| workspace_id.short());
    if workspace.kind == WorkspaceKind::Root && job.op == Op::WorkspaceArchive {
        return Err(Failure::new(Code::IllegalTransition, "the main worktree cannot be archived"));
    }
    if job.op != Op::WorkspaceOpen {
        let busy = cx.ports.store.sessions(limits::PAGE_MAX)?.into_iter().find(|s| s.workspace_id == Some(workspace_id) && !s.state.is_terminal());
        if let Some(session) = busy {
            return Err(Failure::new(Code::IllegalTransition, format!("session {} still lives in the workspace", session.session_id.short())).hint("close or cancel the session first"));
        }
    }
    Ok(match job.op {
        Op::WorkspaceOpen => (SimpleAct::OpenWorkspace { workspace_id }, format!("Open workspace {name}")),
        Op::WorkspaceClose => (SimpleAct::CloseWorkspace { workspace_id }, format!("Close workspace {name}; nothing on disk changes")),
        Op::WorkspaceArchive => (SimpleAct::ArchiveWorkspace { workspace_id }, format!("Archive workspace {name}; nothing on disk changes")),
        _ => (SimpleAct::UnlinkWorkspace { workspace_id }, format!("Unlink workspace {name} from its packet")),
    })
}

fn link(cx: &Context, job: &Job, bindings: &mut Bindings) -> Outcome<(SimpleAct, String)> {
    let p: LinkParams = params::parse(cx, job)?;
    let workspace = params::workspace(cx, job)?;
    let wp_id = p.wp_id.or_else(|| job.bindings.wp_id.clone()).ok_or_else(|| Failure::invalid("workspace.link needs wp_id"))?;
    let packet = cx.ports.locus.packet(&wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")))?.record;
    if let Some(other) = ledger::worktree_of(cx.ports.recorder.as_ref(), &packet.wp_id)?.filter(|w| w.workspace_id != workspace.workspace_id) {
        return Err(Failure::new(Code::WorktreeConflict, format!("{wp_id} already has the worktree {}", other.binding.worktree_path)));
    }
    if let Some(mt_id) = &p.mt_id {
        cx.ports.locus.micro_task(&packet.wp_id, mt_id)?.ok_or_else(|| Failure::new(Code::NotFoundMt, format!("no micro-task {mt_id} in {wp_id}")))?;
    }
    bindings.wp_id = Some(packet.wp_id.clone());
    bindings.mt_id.clone_from(&p.mt_id);
    let sentence = format!("Link workspace {} to {}", workspace.branch.unwrap_or_default(), packet.wp_id);
    Ok((SimpleAct::LinkWorkspace { workspace_id: workspace.workspace_id, wp_id: packet.wp_id, mt_id: p.mt_id }, sentence))
}

fn session_act(cx: &Context, job: &Job, bindings: &mut Bindings) -> Outcome<(SimpleAct, String)> {
    let session = params::session(cx, job)?;
    bindings.wp_id = session.wp_id.clone();
    bindings.mt_id = session.mt_id.clone();
    bindings.workspace_id = session.workspace_id;
    let session_id = session.session_id;
    let name = session_id.short();
    if session.state.is_terminal() {
        return Err(Failure::new(Code::IllegalTransition, format!("session {name} has ended ({})", session.state.as_str())));
    }
    Ok(match job.op {
        Op::SessionSend => {
            let p: SendParams = params::parse(cx, job)?;
            if p.text.trim().is_empty() {
                return Err(Failure::invalid("the message is empty"));
            }
            params::bounded("text", &p.text, limits::TEXT_BYTES_MAX)?;
            if !matches!(p.when, None | Some(Steer::Queue)) {
                return Err(Failure::new(Code::NotBuilt, "only queued messages are built yet").hint("send with --when queue after the turn has ended"));
            }
            if session.state == SessionState::Active || session.state_reason == StateReason::ApprovalWait {
                return Err(Failure::new(Code::IllegalTransition, "a turn is running").hint("wait for its end, or cancel it; queueing behind a running turn is not built yet"));
            }
            (SimpleAct::SendMessage { session_id, text: p.text }, format!("Send a message to session {name}"))
        }
        Op::SessionCancel => {
            let p: ReasonParams = params::parse(cx, job)?;
            (SimpleAct::CancelSession { session_id, reason: p.reason }, format!("Cancel session {name}; its file changes stay"))
        }
        _ => {
            let p: CloseParams = params::parse(cx, job)?;
            if session.state == SessionState::Active {
                return Err(Failure::new(Code::IllegalTransition, "a turn is running").hint("wait for its end, or cancel the session"));
            }
            let (waived, text) = match (p.handoff, p.waive_reason) {
                (Some(handoff), None) => (false, handoff_text(&handoff)?),
                (None, Some(reason)) => (true, params::reason(&reason)?),
                _ => return Err(Failure::invalid("closing needs a handoff or a waiver's reason").hint("dcc session close S --handoff FILE, or --waive REASON")),
            };
            (SimpleAct::CloseSession { session_id, waived, text }, format!("Close session {name}"))
        }
    })
}

fn handoff_text(handoff: &serde_json::Value) -> Outcome<String> {
    let text = match handoff {
        serde_json::Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).map_err(|e| Failure::invalid(format!("the handoff cannot be read: {e}")))?,
    };
    if text.trim().is_empty() {
        return Err(Failure::invalid("the handoff is empty"));
    }
    params::bounded("handoff", &text, limits::TEXT_BYTES_MAX)?;
    Ok(text)
}

fn revoke(cx: &Context, job: &Job) -> Outcome<(SimpleAct, String)> {
    let p: RevokeParams = params::parse(cx, job)?;
    let grant = cx.ports.store.grant(p.grant_id)?.ok_or_else(|| Failure::new(Code::NotFoundGrant, format!("no grant {}", p.grant_id)))?;
    let fold = ledger::approval_fold(cx.ports.recorder.as_ref(), grant.approval_id)?;
    if fold.grant.is_some_and(|g| g.revoked) {
        return Err(Failure::new(Code::GrantRevoked, "the grant is revoked already"));
    }
    Ok((SimpleAct::RevokeGrant { grant_id: p.grant_id, approval_id: grant.approval_id }, format!("Revoke grant {}", p.grant_id.short())))
}

fn send(cx: &Context, job: &Job, session_id: dcc_core::SessionId, text: &str) -> Outcome<Job> {
    let runner = cx.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| Failure::engine("no runner"))?;
    let request = JobRequest {
        op: Op::SessionRun,
        params: json!({ "prompt": text }),
        bindings: Bindings { session_id: Some(session_id), ..job.bindings.clone() },
        idempotency_key: None,
    };
    let turn = runner.submit_under(job.actor, request, None)?;
    match turn.failure {
        Some(failure) => Err(failure),
        None => Ok(turn),
    }
}
