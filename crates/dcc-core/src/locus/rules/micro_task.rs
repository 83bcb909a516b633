//! Micro-tasks: registering and their moves. The packet's own record does not change.

use std::collections::{HashMap, HashSet};

use crate::event::EventCode;
use crate::failure::{Code, Failure, Outcome};
use crate::ids::MtId;
use crate::locus::change::{LocusChange, NewMicroTask};
use crate::locus::record::{Evidence, MT_SCHEMA_ID, MicroTask, MtStatus, Record, WorkPacket, WpStatus};
use crate::locus::rules::packet::require_open;
use crate::locus::rules::{Applied, Context, MAX_ITERATIONS, MICRO_TASKS_MAX, illegal, is_legal_mt_move, listed, numbered, validate};

/// All or nothing.
pub(super) fn register(new: &[NewMicroTask], packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    require_open(packet, "given micro-tasks")?;
    if new.is_empty() {
        return Err(Failure::invalid("no micro-task is given"));
    }
    let own: Vec<&MicroTask> = of(packet, ctx).collect();
    if own.len() + new.len() > MICRO_TASKS_MAX {
        return Err(Failure::invalid(format!("a packet holds at most {MICRO_TASKS_MAX} micro-tasks")).hint("split the packet"));
    }
    let ids = assigned(new, &own)?;
    let mut edges: HashMap<MtId, Vec<MtId>> = own.iter().map(|m| (m.mt_id.clone(), m.depends_on.clone())).collect();
    edges.extend(ids.iter().cloned().zip(new.iter().map(|n| n.depends_on.clone())));
    let records = new.iter().zip(&ids).map(|(n, id)| made(n, id, packet, &edges, ctx)).collect::<Outcome<Vec<_>>>()?;
    if let Some(id) = ids.iter().find(|id| closes_a_circle(id, &edges)) {
        return Err(illegal(format!("{id} would wait for itself")).hint("depends_on may not close a circle"));
    }
    let sentence = format!("{}: {} registered", packet.wp_id, listed(&ids));
    Ok(Applied { records, event: EventCode::MtRegistered, sentence })
}

fn of<'a>(packet: &WorkPacket, ctx: &Context<'a>) -> impl Iterator<Item = &'a MicroTask> {
    ctx.micro_tasks.iter().filter(|m| m.wp_id == packet.wp_id)
}

/// The ids asked for, and the next free ones in the row for the rest. MT-001 and MT-0001 are the same number and would
/// be mistaken for each other, so they count as the same id.
fn assigned(new: &[NewMicroTask], own: &[&MicroTask]) -> Outcome<Vec<MtId>> {
    let number = |id: &MtId| numbered(id.as_str(), "MT-").expect("a micro-task id is MT- and up to 12 digits");
    let mut taken: HashSet<u64> = own.iter().map(|m| number(&m.mt_id)).collect();
    for id in new.iter().filter_map(|n| n.mt_id.as_ref()) {
        if !taken.insert(number(id)) {
            return Err(Failure::new(Code::VersionConflict, format!("micro-task {id} exists already")));
        }
    }
    let mut next = taken.iter().copied().max().unwrap_or(0);
    new.iter()
        .map(|n| {
            if let Some(id) = &n.mt_id {
                return Ok(id.clone());
            }
            next += 1;
            MtId::parse(&format!("MT-{next:03}")).map_err(|_| Failure::invalid("there is no micro-task id above the highest one"))
        })
        .collect()
}

fn made(new: &NewMicroTask, id: &MtId, packet: &WorkPacket, edges: &HashMap<MtId, Vec<MtId>>, ctx: &Context<'_>) -> Outcome<Record> {
    require_targets(id, &new.depends_on, edges)?;
    Ok(Record::MicroTask(Box::new(MicroTask {
        schema_id: MT_SCHEMA_ID.into(),
        schema_version: "1".into(),
        record_id: format!("{}/{id}", packet.wp_id),
        record_kind: "micro_task".into(),
        project_profile_kind: "software_delivery".into(),
        updated_at: ctx.now,
        wp_id: packet.wp_id.clone(),
        mt_id: id.clone(),
        version: 1,
        name: validate::line("name", &new.name)?,
        scope: validate::text("scope", &new.scope)?,
        files: validate::files(&new.files, &packet.in_scope_paths)?,
        done_criteria: validate::done_criteria(&new.done_criteria)?,
        status: MtStatus::Pending,
        status_reason: None,
        depends_on: new.depends_on.clone(),
        verify: validate::verify(&new.verify)?,
        active_session_ids: Vec::new(),
        iterations: Vec::new(),
        max_iterations: MAX_ITERATIONS,
        evidence: None,
        created_at: ctx.now,
        started_at: None,
        completed_at: None,
    })))
}

fn require_targets(id: &MtId, depends_on: &[MtId], edges: &HashMap<MtId, Vec<MtId>>) -> Outcome<()> {
    let mut seen = HashSet::new();
    for on in depends_on {
        if on == id {
            return Err(illegal(format!("{id} cannot depend on itself")));
        }
        if !edges.contains_key(on) {
            return Err(Failure::new(Code::NotFoundMt, format!("{id} depends on {on}, which is not there")));
        }
        if !seen.insert(on) {
            return Err(Failure::invalid(format!("{id} depends on {on} twice")));
        }
    }
    Ok(())
}

/// The edges of one micro-task as they would be: no dangling end, no repetition, no circle.
pub(super) fn require_edges(id: &MtId, depends_on: &[MtId], packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<()> {
    let mut edges: HashMap<MtId, Vec<MtId>> = of(packet, ctx).map(|m| (m.mt_id.clone(), m.depends_on.clone())).collect();
    edges.insert(id.clone(), depends_on.to_vec());
    require_targets(id, depends_on, &edges)?;
    if closes_a_circle(id, &edges) {
        return Err(illegal(format!("{id} would wait for itself")).hint("depends_on may not close a circle"));
    }
    Ok(())
}

fn closes_a_circle(id: &MtId, edges: &HashMap<MtId, Vec<MtId>>) -> bool {
    let mut open: Vec<&MtId> = edges.get(id).into_iter().flatten().collect();
    let mut seen = HashSet::new();
    while let Some(at) = open.pop() {
        if at == id {
            return true;
        }
        if seen.insert(at) {
            open.extend(edges.get(at).into_iter().flatten());
        }
    }
    false
}

/// The packet's own micro-task of that id.
pub(super) fn find<'a>(mt_id: &MtId, packet: &WorkPacket, ctx: &Context<'a>) -> Outcome<&'a MicroTask> {
    of(packet, ctx).find(|m| m.mt_id == *mt_id).ok_or_else(|| Failure::new(Code::NotFoundMt, format!("{} has no micro-task {mt_id}", packet.wp_id)))
}

/// One move of one micro-task.
pub(super) fn step(change: &LocusChange, packet: &WorkPacket, mt_id: Option<&MtId>, ctx: &Context<'_>) -> Outcome<Applied> {
    let mt_id = mt_id.ok_or_else(|| Failure::invalid("the micro-task is not named"))?;
    let task = find(mt_id, packet, ctx)?;
    require_open(packet, "worked on")?;
    let mut next = match change {
        LocusChange::StartMt => started(task, packet, ctx)?,
        LocusChange::CompleteMt { evidence } => completed(evidence, task, ctx)?,
        LocusChange::FailMt { reason } => with_reason(task, MtStatus::Failed, reason, ctx)?,
        LocusChange::BlockMt { reason } => with_reason(task, MtStatus::Blocked, reason, ctx)?,
        LocusChange::SkipMt { reason } => with_reason(task, MtStatus::Skipped, reason, ctx)?,
        LocusChange::ReopenMt { reason } => reopened(reason.as_deref(), task, packet, ctx)?,
        _ => unreachable!("only changes of a micro-task come here"),
    };
    next.version += 1;
    next.updated_at = ctx.now;
    let event = if next.status == MtStatus::Completed { EventCode::MtCompleted } else { EventCode::MtStatusChanged };
    let sentence = match &next.status_reason {
        Some(reason) => format!("{}/{mt_id} is {}: {reason}", packet.wp_id, next.status.as_str()),
        None => format!("{}/{mt_id} is {}", packet.wp_id, next.status.as_str()),
    };
    Ok(Applied { records: vec![Record::MicroTask(Box::new(next))], event, sentence })
}

/// The only place where a micro-task's status changes.
fn moved(task: &MicroTask, to: MtStatus) -> Outcome<MicroTask> {
    require_legal(task, to)?;
    Ok(MicroTask { status: to, status_reason: None, ..task.clone() })
}

/// The pairs of DATA 1, or the refusal that names the legal ones.
pub(super) fn require_legal(task: &MicroTask, to: MtStatus) -> Outcome<()> {
    if is_legal_mt_move(task.status, to) {
        return Ok(());
    }
    let ways: Vec<_> = MtStatus::ALL.iter().filter(|s| is_legal_mt_move(task.status, **s)).map(|s| s.as_str()).collect();
    Err(illegal(format!("{} is {} and cannot become {}", task.mt_id, task.status.as_str(), to.as_str()))
        .hint(format!("from {} it can become {}", task.status.as_str(), ways.join(", "))))
}

fn started(task: &MicroTask, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<MicroTask> {
    let mut next = moved(task, MtStatus::InProgress)?;
    if packet.status != WpStatus::InProgress {
        return Err(illegal(format!("{} is {}; a micro-task starts only while its packet is in progress", packet.wp_id, packet.status.as_str())).hint("start the packet first"));
    }
    let waits: Vec<_> = of(packet, ctx)
        .filter(|m| task.depends_on.contains(&m.mt_id) && !matches!(m.status, MtStatus::Completed | MtStatus::Skipped))
        .map(|m| format!("{} ({})", m.mt_id, m.status.as_str()))
        .collect();
    if !waits.is_empty() {
        return Err(illegal(format!("{} waits for {}", task.mt_id, listed(&waits))));
    }
    next.started_at = next.started_at.or(Some(ctx.now));
    Ok(next)
}

fn with_reason(task: &MicroTask, to: MtStatus, reason: &str, ctx: &Context<'_>) -> Outcome<MicroTask> {
    let mut next = moved(task, to)?;
    next.status_reason = Some(validate::reason("reason", reason)?);
    if to == MtStatus::Skipped {
        next.completed_at = Some(ctx.now);
    }
    Ok(next)
}

fn completed(evidence: &Evidence, task: &MicroTask, ctx: &Context<'_>) -> Outcome<MicroTask> {
    let mut next = moved(task, MtStatus::Completed)?;
    prove(evidence, task)?;
    next.evidence = Some(evidence.clone());
    next.completed_at = Some(ctx.now);
    Ok(next)
}

/// A finished job with its exit code or its commit, or a person's statement. Zero tests run prove nothing.
fn prove(evidence: &Evidence, task: &MicroTask) -> Outcome<()> {
    if evidence.tests_run == Some(0) {
        return Err(Failure::invalid(format!("{}: zero tests ran, which proves nothing", task.mt_id)).hint("name a job whose tests ran, or state in your own words how it was checked"));
    }
    if let Some(statement) = evidence.statement.as_deref().filter(|s| !s.trim().is_empty()) {
        return validate::text("statement", statement).map(|_| ());
    }
    if evidence.job_id.is_none() || (evidence.exit_code.is_none() && evidence.commit_oid.is_none()) {
        return Err(Failure::invalid(format!("{} is completed on evidence only", task.mt_id)).hint("give a finished job with its exit code or commit, or a statement"));
    }
    let wants_failure = task.verify.iter().any(|v| v.expect == "exit_nonzero");
    match evidence.exit_code {
        Some(code) if code != 0 && !wants_failure => {
            Err(Failure::invalid(format!("{}: the job ended with exit code {code}, which proves no success", task.mt_id)).hint("name a job that succeeded, or give a statement"))
        }
        _ => Ok(()),
    }
}

/// Completed and skipped go back to pending and lose their evidence (the recorder keeps it); blocked and failed go on.
fn reopened(reason: Option<&str>, task: &MicroTask, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<MicroTask> {
    let mut next = match task.status {
        MtStatus::Blocked | MtStatus::Failed => started(task, packet, ctx)?,
        MtStatus::Completed | MtStatus::Skipped => MicroTask { evidence: None, completed_at: None, started_at: None, ..moved(task, MtStatus::Pending)? },
        MtStatus::Pending | MtStatus::InProgress => return Err(illegal(format!("{} is {} and need not be reopened", task.mt_id, task.status.as_str()))),
    };
    next.status_reason = reason.filter(|r| !r.trim().is_empty()).map(|r| validate::reason("reason", r)).transpose()?;
    Ok(next)
}
