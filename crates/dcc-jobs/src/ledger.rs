//! Objects as canon says: folds over the recorder's events, by id. What a gate needs is read here, never from devcc.db.

use dcc_core::approval::{Approval, ApprovalFold, Grant};
use dcc_core::event::{Event, EventCode};
use dcc_core::ids::{ApprovalId, JobId, SessionId, WorkspaceId, WpId};
use dcc_core::job::{self, Job};
use dcc_core::ports::{EventFilter, Order, Recorder};
use dcc_core::session::{self, Session};
use dcc_core::workspace::{self, Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome, Timestamp, limits};

/// Reads a whole slice, page by page.
pub fn read_all(recorder: &dyn Recorder, mut filter: EventFilter) -> Outcome<Vec<Event>> {
    filter.limit = limits::PAGE_MAX;
    let mut all = Vec::new();
    loop {
        let page = recorder.read(&filter)?;
        let Some(last) = page.last() else { return Ok(all) };
        let full = page.len() == limits::PAGE_MAX;
        match filter.order {
            Order::Ascending => filter.after_seq = Some(last.seq),
            Order::Descending => filter.before_seq = Some(last.seq),
        }
        all.extend(page);
        if !full {
            return Ok(all);
        }
    }
}

/// Records whose file was missing and was written back within the last day: key and sentence, the latest first.
pub fn written_back(recorder: &dyn Recorder, now: Timestamp) -> Outcome<Vec<(String, String)>> {
    let since = Some(now.plus_ms(-limits::WRITTEN_BACK_SHOWN_MS));
    let filter = EventFilter { codes: vec![EventCode::DriftFound], since, order: Order::Descending, limit: limits::PAGE_MAX, ..EventFilter::default() };
    let text = |event: &Event, name: &str| event.payload[name].as_str().unwrap_or_default().to_owned();
    let events = recorder.read(&filter)?;
    Ok(events.iter().filter(|e| e.payload["action"] == "written_back").map(|e| (text(e, "key"), format!("{} at {}", text(e, "message"), e.ts))).collect())
}

pub fn job(recorder: &dyn Recorder, id: JobId) -> Outcome<Job> {
    let events = read_all(
        recorder,
        EventFilter { job_id: Some(id), codes: JOB_CODES.to_vec(), ..EventFilter::default() },
    )?;
    let mut state = None;
    for event in &events {
        job::apply(&mut state, event);
    }
    state.ok_or_else(|| Failure::new(Code::NotFoundJob, format!("no job {id}")))
}

/// The codes that a job's fold reads; a session's turn carries thousands of others.
const JOB_CODES: [EventCode; 7] = [
    EventCode::JobAccepted,
    EventCode::JobStateChange,
    EventCode::JobFinished,
    EventCode::JobPlanned,
    EventCode::GateDecided,
    EventCode::EffectPlanned,
    EventCode::ApprovalRequested,
];

pub fn approval_fold(recorder: &dyn Recorder, id: ApprovalId) -> Outcome<ApprovalFold> {
    let codes = EventCode::ALL.iter().copied().filter(|c| c.as_str().starts_with("FR-EVT-APPR-")).collect();
    let events = read_all(recorder, EventFilter { approval_id: Some(id), codes, ..EventFilter::default() })?;
    let mut fold = ApprovalFold::default();
    for event in &events {
        fold.apply(event);
    }
    Ok(fold)
}

pub fn approval(recorder: &dyn Recorder, id: ApprovalId) -> Outcome<Approval> {
    approval_fold(recorder, id)?.approval.ok_or_else(|| Failure::new(Code::NotFoundApproval, format!("no approval {id}")))
}

/// Grants issued for a workspace whose time is not over, newest first. Those of an edit last seconds and are many: whose
/// time is over by the event that issued it is not read any further.
pub fn grants_in_time(recorder: &dyn Recorder, workspace_id: WorkspaceId, now: Timestamp) -> Outcome<Vec<Grant>> {
    let in_time = |event: &Event| serde_json::from_value::<Timestamp>(event.payload["grant"]["expires_at"].clone()).map_or(true, |until| now < until);
    read_grants(recorder, Some(workspace_id), now, in_time)
}

/// Grants issued for a workspace that may still live, newest first. No grant outlives 24 hours.
pub fn grants(recorder: &dyn Recorder, workspace_id: Option<WorkspaceId>, now: Timestamp) -> Outcome<Vec<Grant>> {
    read_grants(recorder, workspace_id, now, |_| true)
}

fn read_grants(recorder: &dyn Recorder, workspace_id: Option<WorkspaceId>, now: Timestamp, is_meant: impl Fn(&Event) -> bool) -> Outcome<Vec<Grant>> {
    let issued = read_all(
        recorder,
        EventFilter {
            workspace_id,
            codes: vec![EventCode::GrantIssued],
            since: Some(now.plus_ms(-2 * limits::WORKSPACE_GRANT_TTL_MS)),
            order: Order::Descending,
            ..EventFilter::default()
        },
    )?;
    let stepped_back = clock_stepped_back(recorder)?;
    let mut grants = Vec::new();
    for event in issued.into_iter().filter(|e| e.seq > stepped_back && is_meant(e)) {
        if let Some(id) = event.approval_id
            && let Some(grant) = approval_fold(recorder, id)?.grant
        {
            grants.push(grant);
        }
    }
    Ok(grants)
}

/// The codes that a session's fold reads.
/// What decides; counts and dates of a session are the store's.
const SESSION_CODES: [EventCode; 11] = session::DECISIVE_CODES;

/// The sequence of the last time that the clock was set back, 0 for never. What was limited in time before it counts as
/// run out: the clock cannot say any more that it has not.
pub fn clock_stepped_back(recorder: &dyn Recorder) -> Outcome<u64> {
    let noted = read_all(recorder, EventFilter { codes: vec![EventCode::ClockWentBack], order: Order::Descending, ..EventFilter::default() })?;
    let is_step = |e: &&Event| e.payload["back_ms"].as_i64().is_none_or(|ms| ms > limits::SAME_TURN_START_MS);
    Ok(noted.iter().find(is_step).map_or(0, |e| e.seq))
}

/// True when the last rendering of the request was recorded before the clock was set back.
pub fn was_shown_before_step(recorder: &dyn Recorder, id: ApprovalId) -> Outcome<bool> {
    let stepped_back = clock_stepped_back(recorder)?;
    let filter = EventFilter { approval_id: Some(id), codes: vec![EventCode::ApprovalPresented], order: Order::Descending, limit: 1, ..EventFilter::default() };
    Ok(stepped_back > 0 && recorder.read(&filter)?.first().is_some_and(|shown| shown.seq < stepped_back))
}

pub fn session(recorder: &dyn Recorder, id: SessionId) -> Outcome<Session> {
    let events = read_all(recorder, EventFilter { session_id: Some(id), codes: SESSION_CODES.to_vec(), ..EventFilter::default() })?;
    let mut state = None;
    for event in &events {
        session::apply(&mut state, event);
    }
    state.ok_or_else(|| Failure::new(Code::NotFoundSession, format!("no session {id}")))
}

/// Every session, in the order of creation.
pub fn sessions(recorder: &dyn Recorder) -> Outcome<Vec<Session>> {
    let events = read_all(recorder, EventFilter { codes: SESSION_CODES.to_vec(), ..EventFilter::default() })?;
    let mut order: Vec<SessionId> = Vec::new();
    let mut states = std::collections::HashMap::new();
    for event in &events {
        let Some(id) = event.session_id else { continue };
        let slot = states.entry(id).or_insert_with(|| {
            order.push(id);
            None
        });
        session::apply(slot, event);
    }
    Ok(order.into_iter().filter_map(|id| states.remove(&id).flatten()).collect())
}

const WORKSPACE_CODES: [EventCode; 8] = [
    EventCode::WorkspaceCreated,
    EventCode::WorkspaceImported,
    EventCode::WorkspaceOpened,
    EventCode::WorkspaceClosed,
    EventCode::WorkspaceArchived,
    EventCode::WorkspacePruned,
    EventCode::WorkspaceRepaired,
    EventCode::WorkspaceLinked,
];

pub fn workspace(recorder: &dyn Recorder, id: WorkspaceId) -> Outcome<Workspace> {
    let events = read_all(
        recorder,
        EventFilter { workspace_id: Some(id), codes: WORKSPACE_CODES.to_vec(), ..EventFilter::default() },
    )?;
    let mut state = None;
    for event in &events {
        workspace::apply(&mut state, event);
    }
    state.ok_or_else(|| Failure::new(Code::NotFoundWorkspace, format!("no workspace {id}")))
}

/// Every workspace, in the order of registration.
pub fn workspaces(recorder: &dyn Recorder) -> Outcome<Vec<Workspace>> {
    let events = read_all(recorder, EventFilter { codes: WORKSPACE_CODES.to_vec(), ..EventFilter::default() })?;
    let mut order: Vec<WorkspaceId> = Vec::new();
    let mut states = std::collections::HashMap::new();
    for event in &events {
        let Some(id) = event.workspace_id else { continue };
        let slot = states.entry(id).or_insert_with(|| {
            order.push(id);
            None
        });
        workspace::apply(slot, event);
    }
    Ok(order.into_iter().filter_map(|id| states.remove(&id).flatten()).collect())
}

/// The active worktree of a packet, if it has one (one active packet, one worktree).
pub fn worktree_of(recorder: &dyn Recorder, wp_id: &WpId) -> Outcome<Option<Workspace>> {
    Ok(workspaces(recorder)?
        .into_iter()
        .find(|w| w.wp_id.as_ref() == Some(wp_id) && w.status == WorkspaceStatus::Active && w.kind == WorkspaceKind::Worktree))
}
