//! Screens by name: what an address asks for, and the view model that answers.
//!
//! Authority: derived. Filters arrive as text, as they stand in the address, because the screen shows them again;
//! [`job_filter`] and [`event_filter`] turn them into the store's and the recorder's filters.
//! Failure: a filter value that cannot be read is HSK-400-INVALID-INPUT naming the value.

use dcc_core::event::EventCode;
use dcc_core::failure::Failure;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::store::JobFilter;
use dcc_core::ports::version::DiffSource;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::{ApprovalId, EventId, JobId, Outcome, RepoPath, SessionId, WorkspaceId, WpId};

use super::SearchKind;
use crate::view::{
    ApprovalCard, BoardView, CallsFilter, EventView, FileDiff, HealthView, InboxView, JobView, JobsFilter, JobsView, PacketView, ReviewView, SearchView, SessionView,
    SessionsFilter, SessionsView, TerminalView, TimelineFilter, TimelineView, WorkspacesView,
};

/// Which screen, with what stands in its address.
#[derive(Clone, PartialEq, Debug)]
pub enum PageQuery {
    /// `layout` lanes or list; `filter` all, waits or stale; `q` a text filter.
    Board { layout: String, filter: String, q: String },
    Packet { wp_id: WpId },
    Workspaces { archived: bool },
    /// `file` is the file to open, when the address names one.
    Review { workspace_id: WorkspaceId, source: DiffSource, file: Option<RepoPath> },
    /// The lines of one file.
    ReviewFile { workspace_id: WorkspaceId, source: DiffSource, path: RepoPath },
    /// `group` wp, role, model, tree or flat.
    Sessions { group: String, filter: SessionsFilter, cursor: Option<String> },
    /// `tab` is the part at the side; `calls` filters its ledger.
    Session { session_id: SessionId, tab: String, calls: CallsFilter },
    /// The screen of its terminal.
    Terminal { session_id: SessionId },
    /// `tab` open, decided or grants.
    Inbox { tab: String, selected: Option<ApprovalId> },
    Approval { approval_id: ApprovalId },
    Jobs { filter: JobsFilter, cursor: Option<String> },
    Job { job_id: JobId },
    /// `layout` list or lanes.
    Timeline { filter: TimelineFilter, layout: String, cursor: Option<String> },
    Event { event_id: EventId },
    Search { q: String, scope: SearchKind, workspace_id: Option<WorkspaceId>, regex: bool },
    Health,
}

/// The answer to a [`PageQuery`] of the same name.
#[derive(Clone, PartialEq, Debug)]
pub enum Page {
    Board(Box<BoardView>),
    Packet(Box<PacketView>),
    Workspaces(Box<WorkspacesView>),
    Review(Box<ReviewView>),
    ReviewFile(Box<FileDiff>),
    Sessions(Box<SessionsView>),
    Session(Box<SessionView>),
    Terminal(Box<TerminalView>),
    Inbox(Box<InboxView>),
    Approval(Box<ApprovalCard>),
    Jobs(Box<JobsView>),
    Job(Box<JobView>),
    Timeline(Box<TimelineView>),
    Event(Box<EventView>),
    Search(Box<SearchView>),
    Health(Box<HealthView>),
}

fn read<T>(text: Option<&String>, parse: impl Fn(&str) -> Outcome<T>) -> Outcome<Option<T>> {
    text.map(|t| t.trim()).filter(|t| !t.is_empty()).map(parse).transpose()
}

/// The store's filter for the jobs screen; newest first, one page.
pub fn job_filter(filter: &JobsFilter, cursor: Option<&str>) -> Outcome<JobFilter> {
    let states = read(filter.state.as_ref(), |text| {
        text.split(',').map(|s| JobState::parse(s).ok_or_else(|| Failure::invalid(format!("{s:?} is not a job state")))).collect::<Outcome<Vec<_>>>()
    })?;
    Ok(JobFilter {
        states: states.unwrap_or_default(),
        op: read(filter.op.as_ref(), Op::parse)?,
        wp_id: read(filter.wp_id.as_ref(), str::parse)?,
        mt_id: read(filter.mt_id.as_ref(), str::parse)?,
        session_id: read(filter.session_id.as_ref(), str::parse)?,
        workspace_id: read(filter.workspace_id.as_ref(), str::parse)?,
        root_job_id: None,
        cursor: cursor.map(str::to_owned),
        limit: 0,
    })
}

/// The recorder's filter for the timeline; newest first. The cursor is the sequence of the last event of the page before.
pub fn event_filter(filter: &TimelineFilter, cursor: Option<&str>) -> Outcome<EventFilter> {
    let before_seq = cursor
        .map(|text| text.parse().map_err(|_| Failure::invalid(format!("{text:?} is not a cursor of the timeline"))))
        .transpose()?;
    Ok(EventFilter {
        before_seq,
        wp_id: read(filter.wp.as_ref(), str::parse)?,
        mt_id: read(filter.mt.as_ref(), str::parse)?,
        session_id: read(filter.session.as_ref(), str::parse)?,
        workspace_id: read(filter.ws.as_ref(), str::parse)?,
        job_id: read(filter.job.as_ref(), str::parse)?,
        approval_id: read(filter.approval.as_ref(), str::parse)?,
        codes: read(filter.code.as_ref(), event_codes)?.unwrap_or_default(),
        text: read(filter.q.as_ref(), |text| Ok(text.to_owned()))?,
        order: Order::Descending,
        ..EventFilter::default()
    })
}

/// Codes, names of codes, or fronts of several codes (`FR-EVT-APPR`), with commas between: on every surface the same.
pub fn event_codes(text: &str) -> Outcome<Vec<EventCode>> {
    let mut codes: Vec<EventCode> = Vec::new();
    for word in text.split(',').map(str::trim) {
        let named: Vec<EventCode> = EventCode::ALL.iter().copied().filter(|code| code.as_str().starts_with(word) || code.name() == word).collect();
        if named.is_empty() || word.is_empty() {
            return Err(Failure::invalid(format!("{word:?} is no event code and no front of one")).hint("such as FR-EVT-APPR for all approval events"));
        }
        codes.extend(named);
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_read_what_the_address_says() {
        let jobs = JobsFilter { state: Some("failed,stalled".into()), op: Some(" ".into()), ..JobsFilter::default() };
        assert_eq!(job_filter(&jobs, Some("x")).unwrap().states, [JobState::Failed, JobState::Stalled]);
        assert!(job_filter(&JobsFilter { state: Some("nope".into()), ..JobsFilter::default() }, None).is_err());
        let slice = TimelineFilter { code: Some("FR-EVT-APPR".into()), wp: Some("WP-1".into()), ..TimelineFilter::default() };
        let filter = event_filter(&slice, Some("18")).unwrap();
        assert_eq!((filter.codes.len(), filter.before_seq), (9, Some(18)));
        assert!(event_filter(&slice, Some("x")).is_err());
    }
}
