//! The packet's own moves.

use crate::event::EventCode;
use crate::failure::{Code, Failure, Outcome};
use crate::locus::change::{NewPacket, PacketFields};
use crate::locus::record::{
    GateInputs, GateName, GateResult, GateStatus, Gates, MtStatus, Note, NoteType, Record, WP_SCHEMA_ID, WorkPacket, WpStatus,
};
use crate::locus::rules::{Applied, Context, NOTES_MAX, illegal, is_legal_move, is_void, listed, validate};

pub(super) fn create(new: &NewPacket, packet: Option<&WorkPacket>, ctx: &Context<'_>) -> Outcome<Applied> {
    if let Some(taken) = packet.or_else(|| ctx.all_packets.iter().find(|p| p.wp_id.folded() == new.wp_id.folded())) {
        let how = if taken.tombstone.is_some() { "was deleted, and its id is never given again" } else { "exists already" };
        return Err(Failure::new(Code::VersionConflict, format!("{} {how}", taken.wp_id)).hint("leave wp_id out and the next free one is taken"));
    }
    let record = WorkPacket {
        schema_id: WP_SCHEMA_ID.into(),
        schema_version: "1".into(),
        record_id: new.wp_id.to_string(),
        record_kind: "work_packet".into(),
        project_profile_kind: "software_delivery".into(),
        updated_at: ctx.now,
        authority_refs: Vec::new(),
        evidence_refs: Vec::new(),
        wp_id: new.wp_id.clone(),
        version: 1,
        title: validate::line("title", &new.title)?,
        description: validate::text("description", &new.description)?,
        status: WpStatus::Stub,
        resume_status: None,
        status_reason: None,
        priority: validate::priority(new.priority)?,
        wp_type: new.wp_type,
        phase: None,
        routing: new.routing,
        labels: validate::lines("labels", &new.labels)?,
        assignee: None,
        reporter: ctx.author.to_owned(),
        in_scope_paths: validate::globs("in_scope_paths", &new.in_scope_paths)?,
        acceptance_criteria: validate::criteria("acceptance_criteria", &new.acceptance_criteria)?,
        gates: Gates { pre_work: GateResult::PENDING, post_work: GateResult::PENDING },
        notes: Vec::new(),
        dependencies: Vec::new(),
        base_wp_id: None,
        superseded_by: None,
        closure_verdict: None,
        imported_token: None,
        task_packet_path: None,
        created_at: ctx.now,
        started_at: None,
        completed_at: None,
        due_at: None,
        tombstone: None,
    };
    let sentence = format!("{} created", record.wp_id);
    Ok(done(record, EventCode::WpCreated, sentence))
}

pub(super) fn update(set: &PacketFields, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    require_open(packet, "changed")?;
    let mut next = raised(packet, ctx);
    if let Some(title) = &set.title {
        next.title = validate::line("title", title)?;
    }
    if let Some(description) = &set.description {
        next.description = validate::text("description", description)?;
    }
    if let Some(priority) = set.priority {
        next.priority = validate::priority(priority)?;
    }
    if let Some(wp_type) = set.wp_type {
        next.wp_type = wp_type;
    }
    if let Some(phase) = &set.phase {
        next.phase = line_or_none("phase", phase)?;
    }
    if let Some(labels) = &set.labels {
        next.labels = validate::lines("labels", labels)?;
    }
    if let Some(assignee) = &set.assignee {
        next.assignee = line_or_none("assignee", assignee)?;
    }
    if let Some(criteria) = &set.acceptance_criteria {
        next.acceptance_criteria = validate::criteria("acceptance_criteria", criteria)?;
    }
    if let Some(globs) = &set.in_scope_paths {
        next.in_scope_paths = validate::globs("in_scope_paths", globs)?;
    }
    if let Some(due_at) = set.due_at {
        next.due_at = Some(due_at);
    }
    if next.status != WpStatus::Stub && next.acceptance_criteria.is_empty() {
        return Err(Failure::invalid(format!("{} is {} and keeps at least one acceptance criterion", packet.wp_id, packet.status.as_str())));
    }
    if next == raised(packet, ctx) {
        return Err(Failure::invalid("no field would change").hint("name a field with a new value"));
    }
    let sentence = format!("{} updated", packet.wp_id);
    Ok(done(next, EventCode::WpUpdated, sentence))
}

/// An empty text takes the value away.
fn line_or_none(name: &str, text: &str) -> Outcome<Option<String>> {
    if text.trim().is_empty() { Ok(None) } else { validate::line(name, text).map(Some) }
}

pub(super) fn make_ready(packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    // Only a stub becomes ready this way; the other roads to ready are unblock, release and reopen.
    if packet.status != WpStatus::Stub {
        return Err(illegal(format!("{} is {}; only a stub is made ready", packet.wp_id, packet.status.as_str())));
    }
    require_criteria(packet)?;
    let next = moved(packet, WpStatus::Ready, ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, format!("{} is ready", packet.wp_id)))
}

fn require_criteria(packet: &WorkPacket) -> Outcome<()> {
    if packet.title.trim().is_empty() || packet.acceptance_criteria.is_empty() {
        return Err(illegal(format!("{} needs a title and at least one acceptance criterion to be ready", packet.wp_id))
            .hint("add an acceptance criterion first"));
    }
    Ok(())
}

pub(super) fn gate(
    gate: GateName,
    status: GateStatus,
    reason: Option<&str>,
    inputs: Option<&GateInputs>,
    packet: &WorkPacket,
    ctx: &Context<'_>,
) -> Outcome<Applied> {
    gate_may_be_recorded(gate, packet)?;
    let reason = reason.filter(|r| !r.trim().is_empty()).map(|r| validate::reason("reason", r)).transpose()?;
    match status {
        GateStatus::Pending => return Err(Failure::invalid("a gate result is pass, fail or skip")),
        GateStatus::Skip if reason.is_none() => return Err(Failure::invalid("a gate is skipped with a reason").hint("say why it need not be checked")),
        GateStatus::Skip | GateStatus::Pass | GateStatus::Fail => {}
    }
    let mut next = raised(packet, ctx);
    let result = GateResult {
        status,
        validated_at: Some(ctx.now),
        validated_by: Some(ctx.author.to_owned()),
        reason: reason.clone(),
        report_ref: None,
        inputs: inputs.cloned(),
    };
    match gate {
        GateName::PreWork => next.gates.pre_work = result,
        GateName::PostWork => next.gates.post_work = result,
    }
    if let Some(reason) = &reason {
        note(&mut next, NoteType::Gate, format!("{} {}: {reason}", gate.as_str(), status.as_str()), ctx)?;
    }
    Ok(done(next, EventCode::WpGated, format!("{}: gate {} is {}", packet.wp_id, gate.as_str(), status.as_str())))
}

/// pre_work belongs before the start, post_work after it.
fn gate_may_be_recorded(gate: GateName, packet: &WorkPacket) -> Outcome<()> {
    let at = match packet.status {
        WpStatus::Blocked | WpStatus::Gated => packet.resume_status.unwrap_or(WpStatus::Ready),
        other => other,
    };
    match (gate, at) {
        (GateName::PreWork, WpStatus::Stub | WpStatus::Ready) | (GateName::PostWork, WpStatus::InProgress) => Ok(()),
        (GateName::PreWork, _) => Err(illegal(format!("{} is {}; pre_work is judged before the start", packet.wp_id, packet.status.as_str()))),
        (GateName::PostWork, _) => Err(illegal(format!("{} is {}; post_work is judged on work in progress", packet.wp_id, packet.status.as_str()))),
    }
}

fn require_gate(name: GateName, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<()> {
    let result = match name {
        GateName::PreWork => &packet.gates.pre_work,
        GateName::PostWork => &packet.gates.post_work,
    };
    let why = if is_void(result, ctx.gate_inputs) {
        "void: the work changed after it was judged"
    } else if result.is_passed() {
        return Ok(());
    } else {
        match result.status {
            GateStatus::Fail => "fail",
            GateStatus::Skip => "skip without a reason",
            GateStatus::Pending | GateStatus::Pass => "pending",
        }
    };
    Err(Failure::new(Code::GateNotPassed, format!("{}: gate {} is {why}", packet.wp_id, name.as_str()))
        .hint(format!("record {} as pass, or as skip with a reason", name.as_str())))
}

fn require_unblocked(packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<()> {
    let blockers = ctx.index().blockers(&packet.wp_id);
    if blockers.is_empty() {
        return Ok(());
    }
    let hint = if blockers.iter().any(|b| b.needs_decision) {
        "a cancelled or deleted blocker never finishes: decide, and remove that dependency"
    } else {
        "finish the blockers or remove the dependency"
    };
    Err(illegal(format!("{} waits for {}", packet.wp_id, listed(&blockers))).hint(hint))
}

pub(super) fn start(packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if packet.status != WpStatus::Ready {
        return Err(refused(packet, WpStatus::InProgress));
    }
    require_gate(GateName::PreWork, packet, ctx)?;
    require_unblocked(packet, ctx)?;
    let mut next = moved(packet, WpStatus::InProgress, ctx)?;
    next.started_at = next.started_at.or(Some(ctx.now));
    Ok(done(next, EventCode::WpStatusChanged, format!("{} started", packet.wp_id)))
}

pub(super) fn block(reason: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    let mut next = moved(packet, WpStatus::Blocked, ctx)?;
    let blockers = ctx.index().blockers(&packet.wp_id);
    let reason = if reason.trim().is_empty() && !blockers.is_empty() {
        format!("waits for {}", listed(&blockers))
    } else {
        validate::reason("reason", reason)?
    };
    next.resume_status = Some(packet.status);
    next.status_reason = Some(reason.clone());
    let sentence = format!("{} blocked: {reason}", packet.wp_id);
    note(&mut next, NoteType::Blocker, reason, ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

pub(super) fn unblock(reason: Option<&str>, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if packet.status != WpStatus::Blocked {
        return Err(illegal(format!("{} is {}, not blocked", packet.wp_id, packet.status.as_str())));
    }
    require_unblocked(packet, ctx)?;
    let mut next = resumed(packet, ctx)?;
    if let Some(reason) = reason.filter(|r| !r.trim().is_empty()) {
        let reason = validate::reason("reason", reason)?;
        note(&mut next, NoteType::Blocker, format!("cleared: {reason}"), ctx)?;
    }
    let sentence = format!("{} unblocked, {} again", packet.wp_id, next.status.as_str());
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

pub(super) fn hold(reason: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    let mut next = moved(packet, WpStatus::Gated, ctx)?;
    let reason = validate::reason("reason", reason)?;
    next.resume_status = Some(packet.status);
    next.status_reason = Some(reason.clone());
    let sentence = format!("{} held: {reason}", packet.wp_id);
    note(&mut next, NoteType::Decision, format!("held: {reason}"), ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

pub(super) fn release(reason: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if packet.status != WpStatus::Gated {
        return Err(illegal(format!("{} is {}, not held", packet.wp_id, packet.status.as_str())));
    }
    let reason = validate::reason("reason", reason)?;
    let mut next = resumed(packet, ctx)?;
    let sentence = format!("{} released, {} again: {reason}", packet.wp_id, next.status.as_str());
    note(&mut next, NoteType::Decision, format!("released: {reason}"), ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

/// Back to where it came from. A record without that (written by hand) goes to ready, the weaker of the two.
fn resumed(packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<WorkPacket> {
    let to = packet.resume_status.filter(|s| *s == WpStatus::InProgress).unwrap_or(WpStatus::Ready);
    moved(packet, to, ctx)
}

pub(super) fn close(verdict: Option<&str>, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if packet.status != WpStatus::InProgress {
        return Err(refused(packet, WpStatus::Done));
    }
    require_gate(GateName::PostWork, packet, ctx)?;
    let unfinished: Vec<_> = ctx
        .micro_tasks
        .iter()
        .filter(|m| m.wp_id == packet.wp_id && !matches!(m.status, MtStatus::Completed | MtStatus::Skipped))
        .map(|m| format!("{} ({})", m.mt_id, m.status.as_str()))
        .collect();
    if !unfinished.is_empty() {
        return Err(illegal(format!("{} has unfinished micro-tasks: {}", packet.wp_id, listed(&unfinished))).hint("complete them with evidence, or skip them with a reason"));
    }
    require_quiet(packet, ctx)?;
    let mut next = moved(packet, WpStatus::Done, ctx)?;
    next.completed_at = Some(ctx.now);
    next.closure_verdict = verdict.filter(|v| !v.trim().is_empty()).map(|v| validate::reason("verdict", v)).transpose()?;
    Ok(done(next, EventCode::WpCompleted, format!("{} done", packet.wp_id)))
}

fn require_quiet(packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<()> {
    if ctx.pending_approvals > 0 {
        return Err(illegal(format!("{} has {} waiting for a decision", packet.wp_id, counted(ctx.pending_approvals, "approval"))).hint("approve or deny first"));
    }
    if ctx.running > 0 {
        return Err(illegal(format!("{} has {} still running", packet.wp_id, counted(ctx.running, "session or job"))).hint("end them first"));
    }
    Ok(())
}

fn counted(n: usize, noun: &str) -> String {
    match (n, noun) {
        (1, noun) => format!("1 {noun}"),
        (n, "session or job") => format!("{n} sessions or jobs"),
        (n, noun) => format!("{n} {noun}s"),
    }
}

pub(super) fn cancel(reason: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    let mut next = moved(packet, WpStatus::Cancelled, ctx)?;
    require_quiet(packet, ctx)?;
    let reason = validate::reason("reason", reason)?;
    next.status_reason = Some(reason.clone());
    next.completed_at = Some(ctx.now);
    let sentence = format!("{} cancelled: {reason}", packet.wp_id);
    note(&mut next, NoteType::Decision, format!("cancelled: {reason}"), ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

/// A tombstone: the id stays taken, the history stays where it is. Work under way is cancelled first.
pub(super) fn delete(reason: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if matches!(packet.status, WpStatus::InProgress | WpStatus::Blocked | WpStatus::Gated) {
        return Err(illegal(format!("{} is {} and cannot be deleted", packet.wp_id, packet.status.as_str())).hint("cancel it first: dcc wp cancel WP --reason R"));
    }
    let open: Vec<_> = ctx.micro_tasks.iter().filter(|m| m.wp_id == packet.wp_id && m.status == MtStatus::InProgress).map(|m| m.mt_id.to_string()).collect();
    if !open.is_empty() {
        return Err(illegal(format!("{} has micro-tasks in progress: {}", packet.wp_id, listed(&open))).hint("end them first"));
    }
    require_quiet(packet, ctx)?;
    let reason = validate::reason("reason", reason)?;
    let mut next = WorkPacket { tombstone: Some(ctx.now), ..raised(packet, ctx) };
    let sentence = format!("{} deleted: {reason}", packet.wp_id);
    note(&mut next, NoteType::Decision, format!("deleted: {reason}"), ctx)?;
    Ok(done(next, EventCode::WpDeleted, sentence))
}

/// Reopening to in_progress is also a start, so it asks what a start asks: a stub cancelled and reopened must not get
/// past the first gate.
pub(super) fn reopen(reason: &str, to_in_progress: bool, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if packet.status.is_open() {
        return Err(illegal(format!("{} is {}; only a done or cancelled packet is reopened", packet.wp_id, packet.status.as_str())));
    }
    let reason = validate::reason("reason", reason)?;
    require_criteria(packet)?;
    let to = if to_in_progress {
        require_gate(GateName::PreWork, packet, ctx)?;
        require_unblocked(packet, ctx)?;
        WpStatus::InProgress
    } else {
        WpStatus::Ready
    };
    let mut next = moved(packet, to, ctx)?;
    next.gates.post_work = GateResult::PENDING;
    next.completed_at = None;
    next.closure_verdict = None;
    if to_in_progress {
        next.started_at = next.started_at.or(Some(ctx.now));
    }
    let sentence = format!("{} reopened, {} now: {reason}", packet.wp_id, to.as_str());
    note(&mut next, NoteType::Decision, format!("reopened: {reason}"), ctx)?;
    Ok(done(next, EventCode::WpStatusChanged, sentence))
}

/// Notes may be added to a closed packet too: they are history, not work.
pub(super) fn add_note(note_type: NoteType, body: &str, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if body.trim().is_empty() {
        return Err(Failure::invalid("the note is empty"));
    }
    let body = validate::text("note", body)?;
    let mut next = raised(packet, ctx);
    note(&mut next, note_type, body, ctx)?;
    Ok(done(next, EventCode::WpNoteAdded, format!("{}: {} note added", packet.wp_id, note_type.as_str())))
}

fn note(next: &mut WorkPacket, note_type: NoteType, body: String, ctx: &Context<'_>) -> Outcome<()> {
    if next.notes.len() >= NOTES_MAX {
        return Err(Failure::invalid(format!("{} has {NOTES_MAX} notes, the most a packet holds", next.wp_id)).hint("split the packet"));
    }
    next.notes.push(Note { note_id: ctx.note_id, ts: ctx.now, author: ctx.author.to_owned(), note_type, body: Some(body), body_ref: None });
    Ok(())
}

pub(super) fn require_open(packet: &WorkPacket, what: &str) -> Outcome<()> {
    if packet.status.is_open() {
        return Ok(());
    }
    Err(illegal(format!("{} is {} and cannot be {what}", packet.wp_id, packet.status.as_str())).hint("reopen it first"))
}

/// The record's next version, otherwise as it is.
pub(super) fn raised(packet: &WorkPacket, ctx: &Context<'_>) -> WorkPacket {
    WorkPacket { version: packet.version + 1, updated_at: ctx.now, ..packet.clone() }
}

/// The only place where a packet's status changes.
fn moved(packet: &WorkPacket, to: WpStatus, ctx: &Context<'_>) -> Outcome<WorkPacket> {
    if !is_legal_move(packet.status, to) {
        return Err(refused(packet, to));
    }
    Ok(WorkPacket { status: to, resume_status: None, status_reason: None, ..raised(packet, ctx) })
}

pub(super) fn refused(packet: &WorkPacket, to: WpStatus) -> Failure {
    let ways: Vec<_> = WpStatus::ALL.iter().filter(|s| is_legal_move(packet.status, **s)).map(|s| s.as_str()).collect();
    illegal(format!("{} is {} and cannot become {}", packet.wp_id, packet.status.as_str(), to.as_str()))
        .hint(format!("from {} it can become {}", packet.status.as_str(), ways.join(", ")))
}

pub(super) fn done(record: WorkPacket, event: EventCode, sentence: String) -> Applied {
    Applied { records: vec![Record::Packet(Box::new(record))], event, sentence }
}
