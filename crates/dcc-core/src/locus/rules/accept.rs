//! A record edited by hand: which parts of the edit are legal, and the version that takes it in.
//!
//! Authority: none of its own; it decides what may become canon.
//! Invariants: an edit does what an operation could have done and nothing else; each part is judged by the very step that
//! authorises the operation; what is illegal is named by its field.

use serde_json::{Map, Value};

use crate::event::EventCode;
use crate::failure::{Code, Failure, Outcome};
use crate::locus::change::{LocusChange, PacketFields};
use crate::locus::record::{Evidence, MicroTask, Record, WorkPacket, WpStatus};
use crate::locus::rules::packet::{raised, refused, require_open};
use crate::locus::rules::{Applied, Context, MAX_ITERATIONS_MOST, apply, illegal, is_legal_move, listed, micro_task, packet, validate};

/// Fields that no reader would call a change of the work.
const BOOKKEEPING: [&str; 2] = ["version", "updated_at"];

/// The edited record as the next version of its own.
pub(super) fn accept(edited: &Record, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    let key = edited.key().text();
    let (accepted, next) = match edited {
        Record::Packet(edited) if edited.wp_id == packet.wp_id => (Record::Packet(Box::new(packet.clone())), of_packet(edited, packet, ctx)?),
        Record::MicroTask(edited) if edited.wp_id == packet.wp_id => {
            let task = micro_task::find(&edited.mt_id, packet, ctx)?;
            (Record::MicroTask(Box::new(task.clone())), of_micro_task(edited, task, packet, ctx)?)
        }
        _ => return Err(Failure::invalid(format!("the file holds {key}, which is another record"))),
    };
    let changed = differing(&next, &accepted);
    if changed.is_empty() {
        return Err(Failure::invalid(format!("the file of {key} holds the accepted content in another layout; nothing would change"))
            .hint("restore it: the accepted layout is written back"));
    }
    let sentence = format!("{key}: the edit by hand is accepted ({})", listed(&changed));
    Ok(Applied { records: vec![next], event: EventCode::WpEditAccepted, sentence })
}

/// The names of the fields in which two records differ, bookkeeping left out.
pub fn differing(one: &Record, other: &Record) -> Vec<String> {
    let (one, other) = (fields(one), fields(other));
    let mut names: Vec<String> = one.keys().chain(other.keys()).filter(|k| !BOOKKEEPING.contains(&k.as_str()) && one.get(*k) != other.get(*k)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

fn fields(record: &Record) -> Map<String, Value> {
    match serde_json::from_slice(&record.to_bytes()) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Whoever edits starts from the accepted version; he may have raised the number himself.
fn require_base(key: &str, edited: u64, accepted: u64) -> Outcome<()> {
    if edited == accepted || edited == accepted + 1 {
        return Ok(());
    }
    Err(Failure::new(Code::VersionConflict, format!("the file of {key} was edited from version {edited}; version {accepted} is the accepted one"))
        .hint("restore the file, then make the edit again"))
}

fn require_nothing_else(key: &str, kept: &Record, accepted: &Record, hint: &str) -> Outcome<()> {
    let foreign = differing(kept, accepted);
    if foreign.is_empty() {
        return Ok(());
    }
    Err(illegal(format!("{key}: an edit by hand cannot change {}", listed(&foreign))).hint(hint))
}

fn of_packet(edited: &WorkPacket, accepted: &WorkPacket, ctx: &Context<'_>) -> Outcome<Record> {
    let key = accepted.wp_id.as_str();
    require_base(key, edited.version, accepted.version)?;
    let moves = edited.status != accepted.status;
    let mut kept = WorkPacket {
        title: accepted.title.clone(),
        description: accepted.description.clone(),
        priority: accepted.priority,
        wp_type: accepted.wp_type,
        phase: accepted.phase.clone(),
        labels: accepted.labels.clone(),
        assignee: accepted.assignee.clone(),
        acceptance_criteria: accepted.acceptance_criteria.clone(),
        in_scope_paths: accepted.in_scope_paths.clone(),
        due_at: accepted.due_at,
        status: accepted.status,
        ..edited.clone()
    };
    if moves {
        kept.status_reason.clone_from(&accepted.status_reason);
        kept.resume_status = accepted.resume_status;
    }
    let hint = "gates, notes, links and times have operations of their own: dcc wp gate, dcc wp note, dcc wp dep";
    require_nothing_else(key, &Record::Packet(Box::new(kept)), &Record::Packet(Box::new(accepted.clone())), hint)?;
    let next = if !moves {
        with_fields(edited, accepted, ctx)?
    } else if accepted.status.is_open() {
        moved(edited, &with_fields(edited, accepted, ctx)?, ctx)?
    } else {
        // A closed packet is reopened first; only then its fields may change.
        let reopened = moved(edited, accepted, ctx)?;
        with_fields(edited, &reopened, ctx)?
    };
    Ok(Record::Packet(Box::new(WorkPacket { version: accepted.version + 1, updated_at: ctx.now, ..next })))
}

/// What update_wp may set, taken from the edit.
fn with_fields(edited: &WorkPacket, base: &WorkPacket, ctx: &Context<'_>) -> Outcome<WorkPacket> {
    fn changed<T: PartialEq + Clone>(edited: &T, base: &T) -> Option<T> {
        (edited != base).then(|| edited.clone())
    }
    let emptied = |edited: &Option<String>, base: &Option<String>| (edited != base).then(|| edited.clone().unwrap_or_default());
    let set = PacketFields {
        title: changed(&edited.title, &base.title),
        description: changed(&edited.description, &base.description),
        priority: changed(&edited.priority, &base.priority),
        wp_type: changed(&edited.wp_type, &base.wp_type),
        phase: emptied(&edited.phase, &base.phase),
        labels: changed(&edited.labels, &base.labels),
        assignee: emptied(&edited.assignee, &base.assignee),
        acceptance_criteria: changed(&edited.acceptance_criteria, &base.acceptance_criteria),
        in_scope_paths: changed(&edited.in_scope_paths, &base.in_scope_paths),
        due_at: edited.due_at.filter(|_| edited.due_at != base.due_at),
    };
    let mut next = if set == PacketFields::default() { base.clone() } else { only_packet(packet::update(&set, base, ctx)?)? };
    if edited.due_at.is_none() && base.due_at.is_some() {
        require_open(base, "changed")?;
        next = WorkPacket { due_at: None, ..raised(&next, ctx) };
    }
    Ok(next)
}

/// The edit's status, reached by the operation that leads there, with its conditions.
fn moved(edited: &WorkPacket, base: &WorkPacket, ctx: &Context<'_>) -> Outcome<WorkPacket> {
    use WpStatus::{Blocked, Cancelled, Done, Gated, InProgress, Ready, Stub};
    let (from, to) = (base.status, edited.status);
    if !is_legal_move(from, to) {
        return Err(refused(base, to));
    }
    let only_by = |what: &str, command: &str| Err(illegal(format!("{}: {} becomes {} only by {what}", base.wp_id, from.as_str(), to.as_str())).hint(command.to_owned()));
    let reason = || edited.status_reason.clone().unwrap_or_default();
    let change = match (from, to) {
        (Stub, _) if to == Ready => LocusChange::MakeReady,
        (Ready, InProgress) => LocusChange::StartWp,
        (_, Blocked) => LocusChange::BlockWp { reason: reason() },
        (Blocked, Ready | InProgress) => LocusChange::UnblockWp { reason: None },
        (_, Cancelled) => LocusChange::CancelWp { reason: reason() },
        (Done | Cancelled, _) => LocusChange::ReopenWp { reason: reason(), to_in_progress: to == InProgress },
        (_, Gated) => return only_by("an explicit hold", "dcc wp hold WP --reason R"),
        (Gated, _) => return only_by("a release", "dcc wp release WP --reason R"),
        _ => return only_by("closing", "dcc wp close WP"),
    };
    let next = only_packet(apply(&change, Some(base), None, ctx)?)?;
    if next.status != to {
        return Err(illegal(format!("{}: {} leads to {}, not to {}", base.wp_id, from.as_str(), next.status.as_str(), to.as_str())));
    }
    Ok(next)
}

fn only_packet(applied: Applied) -> Outcome<WorkPacket> {
    match applied.records.into_iter().next() {
        Some(Record::Packet(packet)) => Ok(*packet),
        _ => Err(Failure::engine("a packet's change made no packet")),
    }
}

fn of_micro_task(edited: &MicroTask, accepted: &MicroTask, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Record> {
    let key = format!("{}/{}", accepted.wp_id, accepted.mt_id);
    require_base(&key, edited.version, accepted.version)?;
    require_open(packet, "worked on")?;
    let moves = edited.status != accepted.status;
    let mut kept = MicroTask {
        name: accepted.name.clone(),
        scope: accepted.scope.clone(),
        files: accepted.files.clone(),
        done_criteria: accepted.done_criteria.clone(),
        depends_on: accepted.depends_on.clone(),
        verify: accepted.verify.clone(),
        max_iterations: accepted.max_iterations,
        status: accepted.status,
        ..edited.clone()
    };
    if moves {
        kept.status_reason.clone_from(&accepted.status_reason);
        kept.evidence.clone_from(&accepted.evidence);
    }
    let hint = "iterations, sessions, evidence and times are written by what happens, not by hand";
    require_nothing_else(&key, &Record::MicroTask(Box::new(kept)), &Record::MicroTask(Box::new(accepted.clone())), hint)?;
    if edited.max_iterations == 0 || edited.max_iterations > MAX_ITERATIONS_MOST {
        return Err(Failure::invalid(format!("{key}: max_iterations is between 1 and {MAX_ITERATIONS_MOST}")));
    }
    micro_task::require_edges(&edited.mt_id, &edited.depends_on, packet, ctx)?;
    let mut next = MicroTask {
        name: validate::line("name", &edited.name)?,
        scope: validate::text("scope", &edited.scope)?,
        files: validate::files(&edited.files, &packet.in_scope_paths)?,
        done_criteria: validate::done_criteria(&edited.done_criteria)?,
        depends_on: edited.depends_on.clone(),
        verify: validate::verify(&edited.verify)?,
        max_iterations: edited.max_iterations,
        ..accepted.clone()
    };
    if moves {
        next = micro_task_moved(edited, &next, packet, ctx)?;
    }
    Ok(Record::MicroTask(Box::new(MicroTask { version: accepted.version + 1, updated_at: ctx.now, ..next })))
}

fn micro_task_moved(edited: &MicroTask, base: &MicroTask, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<MicroTask> {
    use crate::locus::record::MtStatus as S;
    micro_task::require_legal(base, edited.status)?;
    let reason = || edited.status_reason.clone().unwrap_or_default();
    let change = match edited.status {
        S::Pending => LocusChange::ReopenMt { reason: edited.status_reason.clone() },
        S::InProgress => LocusChange::StartMt,
        S::Completed => LocusChange::CompleteMt { evidence: statement_only(edited)? },
        S::Failed => LocusChange::FailMt { reason: reason() },
        S::Blocked => LocusChange::BlockMt { reason: reason() },
        S::Skipped => LocusChange::SkipMt { reason: reason() },
    };
    let tasks: Vec<MicroTask> = ctx.micro_tasks.iter().map(|m| if m.mt_id == base.mt_id { base.clone() } else { m.clone() }).collect();
    let applied = apply(&change, Some(packet), Some(&base.mt_id), &Context { micro_tasks: &tasks, ..*ctx })?;
    match applied.records.into_iter().next() {
        Some(Record::MicroTask(task)) => Ok(*task),
        _ => Err(Failure::engine("a micro-task's change made no micro-task")),
    }
}

/// A job's proof is read from the job's own record, never from a file; a person's statement may be written down.
fn statement_only(edited: &MicroTask) -> Outcome<Evidence> {
    let only = |statement: &str| Evidence {
        job_id: None,
        command: None,
        exit_code: None,
        tests_run: None,
        commit_oid: None,
        artifact_refs: Vec::new(),
        statement: Some(statement.to_owned()),
    };
    match &edited.evidence {
        Some(evidence) if evidence.statement.as_deref().is_some_and(|s| *evidence == only(s)) => Ok(evidence.clone()),
        _ => Err(Failure::new(Code::GateNotPassed, format!("{}: completing by hand takes evidence with a statement and nothing else", edited.mt_id))
            .hint("to name a job: restore the file, then dcc mt done WP MT --job JOB")),
    }
}
