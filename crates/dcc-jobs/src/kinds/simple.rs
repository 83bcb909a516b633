//! Acts that change only DCC's own state; each is one event, or a call that the backend proves done.

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::{GrantId, WorkspaceId, WpId};
use dcc_core::job::{Bindings, Job};
use dcc_core::op::Op;
use dcc_core::plans::{SimpleAct, SimplePlan};
use dcc_core::workspace::{Workspace, WorkspaceKind};
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

/// The acts of a workspace are judged and recorded under the lock that new worktrees are made under: of two that would
/// bind one packet, the second sees the first. The others need none; the board writer takes its own.
pub(super) struct Simple(pub Lock);

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
        self.0
    }

    /// No git is written.
    fn needs_accepted_config(&self) -> bool {
        false
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<SimplePlan>) -> Outcome<Done> {
        let event = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
        let mut effect = Effect::default();
        still_free(cx, &cleared.body().act)?;
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
            SimpleAct::RebuildStore => {
                cx.journal.append(vec![event(EventCode::RebuildStarted, json!({}))])?;
                effect = rebuilt(cx, job)?;
            }
            SimpleAct::SyncBoard => effect = board_synced(cx, job)?,
        }
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &SimplePlan) -> Outcome<Recovered> {
        Ok(match body.act {
            // Doing these again gives the same world, and half of them must not stay.
            SimpleAct::SyncBoard => Recovered::Finished(board_synced(cx, job)?),
            SimpleAct::RebuildStore => Recovered::Finished(rebuilt(cx, job)?),
            // The event of the others is written together with the job's end: no end means no act.
            _ => Recovered::Absent,
        })
    }
}

fn rebuilt(cx: &Context, job: &Job) -> Outcome<Effect> {
    cx.ports.store.reset()?;
    let applied = cx.journal.rebuild()?;
    let (left, why) = crate::repairs::refresh_files(cx);
    let mut effect = Effect::default().with("events", applied);
    if let Some(why) = why {
        effect = effect.with("message", format!("{left} workspace.json left alone: {why}"));
    }
    effect.events.push(NewEvent::new(EventCode::RebuildFinished, job.actor, json!({ "events": applied })).about(&correlation(job)));
    Ok(effect)
}

fn board_synced(cx: &Context, job: &Job) -> Outcome<Effect> {
    let facts = super::locus::sync_board(cx, job)?;
    let effect = Effect::default().with("mirror_state", facts.mirror_state.as_str());
    Ok(match facts.message {
        Some(message) => effect.with("message", message),
        None => effect,
    })
}

fn workspace_act(cx: &Context, job: &Job, bindings: &mut Bindings) -> Outcome<(SimpleAct, String)> {
    params::parse::<Nothing>(cx, job)?;
    let workspace = params::workspace(cx, job)?;
    bindings.wp_id = workspace.wp_id.clone();
    bindings.mt_id = workspace.mt_id.clone();
    let workspace_id = workspace.workspace_id;
    let name = workspace.branch.clone().unwrap_or_else(|| workspace_id.short());
    if job.op == Op::WorkspaceArchive {
        require_worktree(&workspace)?;
    }
    let (act, sentence) = match job.op {
        Op::WorkspaceOpen => (SimpleAct::OpenWorkspace { workspace_id }, format!("Open workspace {name}")),
        Op::WorkspaceClose => (SimpleAct::CloseWorkspace { workspace_id }, format!("Close workspace {name}; nothing on disk changes")),
        Op::WorkspaceArchive => (SimpleAct::ArchiveWorkspace { workspace_id }, format!("Archive workspace {name}; nothing on disk changes")),
        _ => (SimpleAct::UnlinkWorkspace { workspace_id }, format!("Unlink workspace {name} from its packet")),
    };
    still_free(cx, &act)?;
    Ok((act, sentence))
}

fn require_worktree(workspace: &Workspace) -> Outcome<()> {
    match workspace.kind {
        WorkspaceKind::Root => Err(Failure::new(Code::IllegalTransition, "the main worktree cannot be archived")),
        WorkspaceKind::Worktree => Ok(()),
    }
}

/// What archiving would do, or why it would be refused. Reads only.
pub fn would_archive(cx: &Context, id: WorkspaceId) -> Outcome<String> {
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), id)?;
    require_worktree(&workspace)?;
    still_free(cx, &SimpleAct::ArchiveWorkspace { workspace_id: id })?;
    let name = workspace.branch.clone().unwrap_or_else(|| id.short());
    let changed = match cx.ports.version.status(&workspace.binding) {
        Ok(status) if status.entries.is_empty() => "no uncommitted change".to_owned(),
        Ok(status) if status.entries.len() == 1 => "1 changed path".to_owned(),
        Ok(status) => format!("{} changed paths", status.entries.len()),
        Err(failure) => format!("what cannot be read now ({})", failure.message),
    };
    let packet = workspace.wp_id.as_ref().map(|wp_id| format!("; {wp_id} could get another worktree")).unwrap_or_default();
    Ok(format!("workspace {name} would be archived: it is followed and repaired no more{packet}; {} with {changed}, its branch and its commits stay as they are", workspace.binding.worktree_path))
}

/// Refuses while a session lives in the workspace: its agent would go on in a directory that is the workspace's no more.
pub(super) fn require_no_session(cx: &Context, id: WorkspaceId) -> Outcome<()> {
    match cx.ports.store.open_sessions()?.into_iter().find(|session| session.workspace_id == Some(id)) {
        Some(session) => Err(Failure::new(Code::IllegalTransition, format!("session {} still lives in the workspace", session.session_id.short())).hint("close or cancel the session first")),
        None => Ok(()),
    }
}

/// What stands against an act of a workspace: a session that lives in it, another worktree of the packet.
fn still_free(cx: &Context, act: &SimpleAct) -> Outcome<()> {
    match act {
        SimpleAct::CloseWorkspace { workspace_id } | SimpleAct::ArchiveWorkspace { workspace_id } | SimpleAct::UnlinkWorkspace { workspace_id } => {
            require_no_session(cx, *workspace_id)
        }
        SimpleAct::LinkWorkspace { workspace_id, wp_id, .. } => match ledger::worktree_of(cx.ports.recorder.as_ref(), wp_id)?.filter(|w| w.workspace_id != *workspace_id) {
            Some(other) => Err(Failure::new(Code::WorktreeConflict, format!("{wp_id} already has the worktree {}", other.binding.worktree_path)).hint("close that one, or unlink it first: dcc ws unlink WS")),
            None => Ok(()),
        },
        SimpleAct::OpenWorkspace { workspace_id } => {
            let workspace = ledger::workspace(cx.ports.recorder.as_ref(), *workspace_id)?;
            let other = workspace.wp_id.as_ref().map(|wp_id| ledger::worktree_of(cx.ports.recorder.as_ref(), wp_id)).transpose()?.flatten().filter(|w| w.workspace_id != *workspace_id);
            match other {
                Some(other) => Err(Failure::new(Code::WorktreeConflict, format!("its packet has the worktree {} now", other.binding.worktree_path)).hint("close that one, or unlink this one first: dcc ws unlink WS")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn link(cx: &Context, job: &Job, bindings: &mut Bindings) -> Outcome<(SimpleAct, String)> {
    let p: LinkParams = params::parse(cx, job)?;
    let workspace = params::workspace(cx, job)?;
    let wp_id = p.wp_id.or_else(|| job.bindings.wp_id.clone()).ok_or_else(|| Failure::invalid("workspace.link needs wp_id"))?;
    let packet = cx.ports.locus.packet(&wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")))?.record;
    if let Some(mt_id) = &p.mt_id {
        cx.ports.locus.micro_task(&packet.wp_id, mt_id)?.ok_or_else(|| Failure::new(Code::NotFoundMt, format!("no micro-task {mt_id} in {wp_id}")))?;
    }
    bindings.wp_id = Some(packet.wp_id.clone());
    bindings.mt_id.clone_from(&p.mt_id);
    let sentence = format!("Link workspace {} to {}", workspace.branch.unwrap_or_default(), packet.wp_id);
    let act = SimpleAct::LinkWorkspace { workspace_id: workspace.workspace_id, wp_id: packet.wp_id, mt_id: p.mt_id };
    still_free(cx, &act)?;
    Ok((act, sentence))
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
