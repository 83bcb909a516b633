//! locus.*: parameters to one typed change, judged by the pure rules, written record first, event second, file third.

use serde::Deserialize;
use serde_json::{Value, json};

use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, NoteId, Sha256Hex, WpId};
use dcc_core::job::{Job, JobState};
use dcc_core::locus::change::{NewMicroTask, NewPacket, PacketFields};
use dcc_core::locus::record::{DependencyKind, Evidence, GateInputs, GateName, GateStatus, NoteType, Routing, WpType};
use dcc_core::locus::rules::{self, Applied};
use dcc_core::locus::{LocusChange, MicroTask, Record, RecordKey, WorkPacket};
use dcc_core::op::Op;
use dcc_core::plans::LocusPlan;
use dcc_core::ports::version::HeadState;
use dcc_core::ports::{BoardFacts, JobFilter, LocusEntry, StagedRecord, fresh};
use dcc_core::workspace::WorkspaceStatus;
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct ChangeLocus;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateParams {
    title: String,
    wp_id: Option<WpId>,
    #[serde(rename = "type")]
    wp_type: Option<WpType>,
    priority: Option<u8>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    acceptance_criteria: Vec<String>,
    #[serde(default)]
    in_scope_paths: Vec<String>,
    #[serde(default)]
    labels: Vec<String>,
    routing: Option<Routing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateParams {
    expected_version: Option<u64>,
    set: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateParams {
    gate: GateName,
    result: GateStatus,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonParams {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerdictParams {
    verdict: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReopenParams {
    reason: String,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteParams {
    body: String,
    note_type: Option<NoteType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyParams {
    kind: DependencyKind,
    to_wp_id: WpId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterParams {
    micro_tasks: Vec<NewMicroTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteParams {
    evidence: EvidenceParams,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceParams {
    job_id: Option<JobId>,
    statement: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl JobKind for ChangeLocus {
    type Plan = LocusPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<LocusPlan>> {
        let (wp_id, change) = read_change(cx, job)?;
        let wp_id = canonical_id(cx, wp_id, &change)?;
        let mt_id = if is_micro_task_op(job.op) { Some(params::mt_id(job)?) } else { None };
        // Judged now, so that nobody is asked about what the rules refuse; judged again when it runs.
        let applied = judge(cx, job, &wp_id, mt_id.as_ref(), &change)?;
        let mut base = Vec::new();
        for record in &applied.records {
            base.push((record.key().text(), accepted(cx, &record.key())?));
        }
        let mut bindings = job.bindings.clone();
        bindings.wp_id = Some(wp_id.clone());
        bindings.mt_id.clone_from(&mt_id);
        let body = LocusPlan { op: job.op, wp_id, mt_id, change, base, sentence: applied.sentence };
        Ok(Planned { body, engine: "locus", inputs: Vec::new(), bindings, claim: None })
    }

    fn lock(&self) -> Lock {
        Lock::Locus
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<LocusPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let applied = judge(cx, job, &plan.wp_id, plan.mt_id.as_ref(), &plan.change)?;
        let staged: Vec<StagedRecord> = applied.records.iter().map(|r| cx.ports.locus.stage(r)).collect::<Outcome<_>>()?;
        let keys: Vec<RecordKey> = staged.iter().map(|s| s.key.clone()).collect();
        let mut effect = effect_of(&plan, &applied);
        let versions = staged.iter().map(|s| format!("{}:v{}", s.key.text(), s.version)).collect::<Vec<_>>().join(",");
        let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
        cx.journal.append(vec![
            about(EventCode::EffectPlanned, json!({ "effect": { "records": staged, "result": effect.result } })),
            about(applied.event, json!({ "records": staged, "change": change_payload(&plan.change), "sentence": applied.sentence })).once(format!("wp:{versions}")),
        ])?;
        // The event is the act. A file that could not follow (somebody edited it by hand) is an issue of this job and shows
        // as drift; a failure would have the same change asked for, and recorded, again.
        if let Err(failure) = cx.ports.locus.publish(cleared, &staged) {
            effect.with_issues = true;
            effect = effect.with("message", format!("recorded; the file did not follow: {}", failure.message));
        }
        cx.journal.project_packets(&keys)?;
        sync_board(cx, job)?;
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &LocusPlan) -> Outcome<Recovered> {
        recovered_records(cx, job, body)
    }
}

/// The record's event is the act: when it is in the log, opening Locus has rolled the files forward already.
pub(super) fn recovered_records(cx: &Context, job: &Job, body: &LocusPlan) -> Outcome<Recovered> {
    let Some(effect) = &job.effect else { return Ok(Recovered::Absent) };
    let staged: Vec<StagedRecord> = serde_json::from_value(effect["records"].clone()).map_err(|e| Failure::engine(format!("the planned effect cannot be read: {e}")))?;
    for record in &staged {
        let at = accepted(cx, &record.key)?;
        if at.is_none_or(|(version, _)| version < record.version) {
            return Ok(Recovered::Absent);
        }
    }
    let keys: Vec<RecordKey> = staged.into_iter().map(|s| s.key).collect();
    cx.journal.project_packets(&keys)?;
    sync_board(cx, job)?;
    // Whoever asks with the same key gets the answer that the calm run would have given.
    let mut done = Effect::default().with("wp_id", body.wp_id.to_string());
    done.result.extend(effect["result"].as_object().cloned().unwrap_or_default());
    Ok(Recovered::Finished(done))
}

fn is_micro_task_op(op: Op) -> bool {
    matches!(op, Op::LocusStartMt | Op::LocusCompleteMt | Op::LocusFailMt | Op::LocusBlockMt | Op::LocusSkipMt | Op::LocusReopenMt)
}

/// The id as it is written in the record: ids are the same without regard to case.
fn canonical_id(cx: &Context, wp_id: WpId, change: &LocusChange) -> Outcome<WpId> {
    if matches!(change, LocusChange::CreateWp { .. }) {
        return Ok(wp_id);
    }
    match cx.ports.locus.packet(&wp_id)? {
        Some(entry) => Ok(entry.record.wp_id),
        None => Err(match deleted(cx, &wp_id)?.and_then(|e| e.record.tombstone) {
            Some(at) => Failure::new(Code::NotFoundWp, format!("{wp_id} was deleted at {at}")).hint("its history stays: dcc timeline --wp WP"),
            None => Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")).hint("dcc wp list shows them"),
        }),
    }
}

fn deleted(cx: &Context, wp_id: &WpId) -> Outcome<Option<LocusEntry<WorkPacket>>> {
    Ok(cx.ports.locus.deleted()?.into_iter().find(|e| e.record.wp_id.folded() == wp_id.folded()))
}

/// Version and hash of a record as accepted, a tombstone included.
pub(super) fn accepted(cx: &Context, key: &RecordKey) -> Outcome<Option<(u64, Sha256Hex)>> {
    Ok(match key {
        RecordKey::Packet { wp_id } => cx.ports.locus.packet(wp_id)?.or(deleted(cx, wp_id)?).map(|e| (e.record.version, e.sha256)),
        RecordKey::MicroTask { wp_id, mt_id } => cx.ports.locus.micro_task(wp_id, mt_id)?.map(|e| (e.record.version, e.sha256)),
    })
}

fn read_change(cx: &Context, job: &Job) -> Outcome<(WpId, LocusChange)> {
    if job.op == Op::LocusCreateWp {
        return create(cx, job);
    }
    let wp_id = params::wp_id(job)?;
    let change = match job.op {
        Op::LocusUpdateWp => update(cx, job, &wp_id)?,
        Op::LocusGateWp => {
            let p: GateParams = params::parse(cx, job)?;
            LocusChange::GateWp { gate: p.gate, result: p.result, reason: p.reason, inputs: gate_inputs(cx, &wp_id)? }
        }
        Op::LocusStartWp => {
            params::parse::<Nothing>(cx, job)?;
            LocusChange::StartWp
        }
        Op::LocusBlockWp => LocusChange::BlockWp { reason: reason(cx, job)? },
        Op::LocusUnblockWp => LocusChange::UnblockWp { reason: params::parse::<ReasonParams>(cx, job)?.reason },
        Op::LocusHoldWp => LocusChange::HoldWp { reason: reason(cx, job)? },
        Op::LocusReleaseWp => LocusChange::ReleaseWp { reason: reason(cx, job)? },
        Op::LocusCloseWp => LocusChange::CloseWp { verdict: params::parse::<VerdictParams>(cx, job)?.verdict },
        Op::LocusCancelWp => LocusChange::CancelWp { reason: reason(cx, job)? },
        Op::LocusDeleteWp => LocusChange::DeleteWp { reason: reason(cx, job)? },
        Op::LocusReopenWp => {
            let p: ReopenParams = params::parse(cx, job)?;
            let to_in_progress = match p.to.as_deref() {
                None | Some("ready") => false,
                Some("in_progress") => true,
                Some(other) => return Err(Failure::invalid(format!("reopen goes to ready or in_progress, not {other:?}"))),
            };
            LocusChange::ReopenWp { reason: params::reason(&p.reason)?, to_in_progress }
        }
        Op::LocusAddNote => {
            let p: NoteParams = params::parse(cx, job)?;
            LocusChange::AddNote { note_type: p.note_type.unwrap_or(NoteType::User), body: p.body }
        }
        Op::LocusAddDependency | Op::LocusRemoveDependency => {
            let p: DependencyParams = params::parse(cx, job)?;
            if job.op == Op::LocusAddDependency {
                LocusChange::AddDependency { kind: p.kind, to_wp_id: p.to_wp_id }
            } else {
                LocusChange::RemoveDependency { kind: p.kind, to_wp_id: p.to_wp_id }
            }
        }
        Op::LocusRegisterMts => LocusChange::RegisterMts { micro_tasks: params::parse::<RegisterParams>(cx, job)?.micro_tasks },
        _ => micro_task_change(cx, job)?,
    };
    Ok((wp_id, change))
}

fn micro_task_change(cx: &Context, job: &Job) -> Outcome<LocusChange> {
    Ok(match job.op {
        Op::LocusStartMt => {
            params::parse::<Nothing>(cx, job)?;
            LocusChange::StartMt
        }
        Op::LocusCompleteMt => LocusChange::CompleteMt { evidence: evidence(cx, params::parse::<CompleteParams>(cx, job)?.evidence)? },
        Op::LocusFailMt => LocusChange::FailMt { reason: reason(cx, job)? },
        Op::LocusBlockMt => LocusChange::BlockMt { reason: reason(cx, job)? },
        Op::LocusSkipMt => LocusChange::SkipMt { reason: reason(cx, job)? },
        Op::LocusReopenMt => LocusChange::ReopenMt { reason: params::parse::<ReasonParams>(cx, job)?.reason },
        other => return Err(dcc_core::op::not_built(other)),
    })
}

fn reason(cx: &Context, job: &Job) -> Outcome<String> {
    params::reason(params::parse::<ReasonParams>(cx, job)?.reason.as_deref().unwrap_or(""))
}

fn create(cx: &Context, job: &Job) -> Outcome<(WpId, LocusChange)> {
    let p: CreateParams = params::parse(cx, job)?;
    let wp_id = if let Some(id) = p.wp_id.or_else(|| job.bindings.wp_id.clone()) { id } else {
        // A file that no event names still takes its id: making a packet never covers what somebody wrote.
        let accepted = all_packets(cx)?;
        let unaccepted = ids_on_disk(cx);
        rules::fresh_wp_id(accepted.iter().map(|p| &p.wp_id).chain(&unaccepted))
    };
    let taken = ids_on_disk(cx).into_iter().find(|id| id.folded() == wp_id.folded());
    if let (Some(on_disk), None) = (taken, accepted(cx, &RecordKey::Packet { wp_id: wp_id.clone() })?) {
        return Err(Failure::new(Code::Drift, format!("{on_disk} has a file on disk that was never accepted; it is left alone")).hint("choose another id, or move the file away"));
    }
    let new = NewPacket {
        wp_id: wp_id.clone(),
        title: p.title,
        description: p.description,
        wp_type: p.wp_type.unwrap_or(WpType::Feature),
        priority: p.priority.unwrap_or(2),
        routing: p.routing.unwrap_or(Routing::Standard),
        labels: p.labels,
        acceptance_criteria: p.acceptance_criteria,
        in_scope_paths: p.in_scope_paths,
    };
    Ok((wp_id, LocusChange::CreateWp { new }))
}

/// The packet directories that stand under `gov/`, accepted or not.
fn ids_on_disk(cx: &Context) -> Vec<WpId> {
    let entries = std::fs::read_dir(cx.config.state_dir.join("gov/work_packets")).into_iter().flatten().flatten();
    entries.filter_map(|entry| WpId::parse(&entry.file_name().to_string_lossy()).ok()).collect()
}

fn update(cx: &Context, job: &Job, wp_id: &WpId) -> Outcome<LocusChange> {
    let mut p: UpdateParams = params::parse(cx, job)?;
    if let Some(expected) = p.expected_version {
        let now = cx.ports.locus.packet(wp_id)?.map_or(0, |e| e.record.version);
        if now != expected {
            return Err(Failure::new(Code::VersionConflict, format!("{wp_id} is at version {now}, not {expected}")).hint("read it again and repeat"));
        }
    }
    if let Some(status) = p.set.remove("status") {
        if status != json!("ready") || !p.set.is_empty() {
            return Err(Failure::invalid("update_wp sets status to ready only, and nothing else with it").hint("other moves have operations of their own: start, block, hold, close, cancel"));
        }
        return Ok(LocusChange::MakeReady);
    }
    let set: PacketFields = serde_json::from_value(Value::Object(p.set)).map_err(|e| Failure::invalid(format!("set: {e}")))?;
    Ok(LocusChange::UpdateWp { set })
}

/// The state of the packet's worktree that a gate result is given for.
fn gate_inputs(cx: &Context, wp_id: &WpId) -> Outcome<Option<GateInputs>> {
    let Some(workspace) = ledger::worktree_of(cx.ports.recorder.as_ref(), wp_id)? else { return Ok(None) };
    let head = cx.ports.version.probe(&workspace.binding)?.head;
    let head_oid = match head {
        Some(HeadState::Branch { oid, .. } | HeadState::Detached { oid }) => Some(oid),
        _ => None,
    };
    let tree_oid = match &head_oid {
        Some(oid) => cx.ports.version.log(&workspace.binding, 1, &[])?.into_iter().find(|c| c.oid == *oid).map(|c| c.tree_oid),
        None => None,
    };
    Ok(Some(GateInputs { worktree: Some(workspace.workspace_id.to_string()), base_oid: workspace.base_oid, head_oid, tree_oid }))
}

/// Evidence from a finished job's own record, or a person's statement marked as such.
fn evidence(cx: &Context, p: EvidenceParams) -> Outcome<Evidence> {
    let mut evidence =
        Evidence { job_id: None, command: None, exit_code: None, tests_run: None, commit_oid: None, artifact_refs: Vec::new(), statement: p.statement };
    let Some(job_id) = p.job_id else { return Ok(evidence) };
    let proof = ledger::job(cx.ports.recorder.as_ref(), job_id)?;
    if !matches!(proof.state, JobState::Completed | JobState::CompletedWithIssues) {
        return Err(Failure::new(Code::GateNotPassed, format!("job {} is {}, not finished", job_id.short(), proof.state.as_str())));
    }
    evidence.job_id = Some(job_id);
    evidence.command = proof.result.get("command").and_then(Value::as_str).map(str::to_owned).or_else(|| Some(proof.op.as_str().to_owned()));
    evidence.exit_code = proof.result.get("exit_code").and_then(Value::as_i64).map(|c| c as i32);
    evidence.tests_run = proof.result.get("tests_run").and_then(Value::as_u64);
    evidence.commit_oid = proof.result.get("commit_oid").and_then(Value::as_str).and_then(|t| t.parse().ok());
    evidence.artifact_refs = proof.outputs;
    if evidence.exit_code.is_none() && evidence.commit_oid.is_none() {
        return Err(Failure::invalid(format!("job {} ({}) proves nothing: it has no exit code and no commit", job_id.short(), proof.op)));
    }
    Ok(evidence)
}

/// Every packet, deleted ones too: their ids stay taken, and what waits for them needs a decision.
fn all_packets(cx: &Context) -> Outcome<Vec<WorkPacket>> {
    let live = cx.ports.locus.packets()?;
    Ok(live.into_iter().chain(cx.ports.locus.deleted()?).map(|e| e.record).collect())
}

/// A packet that a workspace names is not deleted under it.
fn require_unbound(cx: &Context, wp_id: &WpId) -> Outcome<()> {
    let bound = ledger::workspaces(cx.ports.recorder.as_ref())?.into_iter().find(|w| w.wp_id.as_ref() == Some(wp_id) && w.status != WorkspaceStatus::Archived);
    match bound {
        None => Ok(()),
        Some(w) => Err(Failure::new(Code::IllegalTransition, format!("{wp_id} is bound to the workspace {}", w.branch.clone().unwrap_or_else(|| w.workspace_id.short())))
            .hint(format!("dcc ws archive {0}, or dcc ws unlink {0}", w.workspace_id.short()))),
    }
}

/// Runs the pure rules over the accepted records.
pub(super) fn judge(cx: &Context, job: &Job, wp_id: &WpId, mt_id: Option<&dcc_core::MtId>, change: &LocusChange) -> Outcome<Applied> {
    use LocusChange::{AcceptEdit, CancelWp, CloseWp, DeleteWp, StartWp};
    if matches!(change, DeleteWp { .. }) {
        require_unbound(cx, wp_id)?;
    }
    let all = all_packets(cx)?;
    let micro_tasks: Vec<MicroTask> = cx.ports.locus.micro_tasks(wp_id)?.into_iter().map(|e| e.record).collect();
    let ends = matches!(change, CloseWp { .. } | CancelWp { .. } | DeleteWp { .. } | AcceptEdit { .. });
    let (pending_approvals, running) = if ends { busy(cx, job, wp_id)? } else { (0, 0) };
    let inputs = if matches!(change, StartWp | CloseWp { .. } | AcceptEdit { .. }) { gate_inputs(cx, wp_id)? } else { None };
    let packet = all.iter().find(|p| p.wp_id == *wp_id);
    let author = job.actor.id();
    rules::apply(
        change,
        packet,
        mt_id,
        &rules::Context {
            now: cx.now(),
            author: &author,
            note_id: fresh::<NoteId>(cx.ports.clock.as_ref()),
            all_packets: &all,
            micro_tasks: &micro_tasks,
            pending_approvals,
            running,
            gate_inputs: inputs.as_ref(),
        },
    )
}

/// What is still at work on the packet: (pending approvals, live sessions and running jobs other than this one).
fn busy(cx: &Context, job: &Job, wp_id: &WpId) -> Outcome<(usize, usize)> {
    let pending = cx.ports.store.pending_approvals()?.into_iter().filter(|a| a.wp_id.as_ref() == Some(wp_id)).count();
    let sessions = cx.ports.store.open_sessions()?.into_iter().filter(|s| s.wp_id.as_ref() == Some(wp_id)).count();
    let jobs = cx
        .ports
        .store
        .jobs(&JobFilter { states: vec![JobState::Queued, JobState::Running, JobState::AwaitingUser, JobState::Stalled], wp_id: Some(wp_id.clone()), ..JobFilter::default() })?
        .into_iter()
        .filter(|j| j.job_id != job.job_id)
        .count();
    Ok((pending, sessions + jobs))
}

fn change_payload(change: &LocusChange) -> Value {
    let value = serde_json::to_value(change).unwrap_or(Value::Null);
    // The record's bytes are an artifact; the event names a large change only.
    if value.to_string().len() > 8 * 1024 { json!({ "change": value["change"] }) } else { value }
}

pub(super) fn effect_of(plan: &LocusPlan, applied: &Applied) -> Effect {
    let mut effect = Effect::default().with("wp_id", plan.wp_id.to_string());
    if let Some(mt_id) = &plan.mt_id {
        effect = effect.with("mt_id", mt_id.to_string());
    }
    if let LocusChange::RegisterMts { .. } = plan.change {
        let ids: Vec<String> = applied
            .records
            .iter()
            .filter_map(|r| match r {
                Record::MicroTask(m) => Some(m.mt_id.to_string()),
                Record::Packet(_) => None,
            })
            .collect();
        if let [only] = ids.as_slice() {
            effect = effect.with("mt_id", only.clone());
        }
        effect = effect.with("mt_ids", ids);
    }
    for record in &applied.records {
        if let Record::Packet(packet) = record {
            effect = effect.with("version", packet.version).with("status", packet.status.as_str());
            if let (LocusChange::AddNote { .. }, Some(note)) = (&plan.change, packet.notes.last()) {
                effect = effect.with("note_id", note.note_id.to_string());
            }
        }
    }
    effect
}

/// Brings the board file in step when the mirror table allows it. Edits by hand are left alone and recorded once.
pub(crate) fn sync_board(cx: &Context, job: &Job) -> Outcome<BoardFacts> {
    use dcc_core::ports::MirrorState;
    let facts = cx.ports.locus.sync_board()?;
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
    match facts.mirror_state {
        // The event is what the next comparison starts from; a crash between file and event leaves it unrecorded.
        MirrorState::Synchronized if facts.unrecorded => {
            let payload = json!({ "sha256": facts.sha256, "zones_sha256": facts.zones_sha256, "path": facts.path });
            cx.journal.append(vec![about(EventCode::BoardWritten, payload)])?;
        }
        MirrorState::AdvisoryEdit | MirrorState::NormalizationRequired => {
            let key = format!("board-edit:{}", facts.sha256.map(|s| s.to_string()).unwrap_or_default());
            // Said once for each state of the file: the key is taken the second time.
            cx.journal.try_append(vec![
                about(EventCode::SyncRefused, json!({ "mirror_state": facts.mirror_state, "message": facts.message }))
                    .outcome(EventOutcome::Deny)
                    .once(key),
            ])?;
        }
        _ => {}
    }
    Ok(facts)
}
