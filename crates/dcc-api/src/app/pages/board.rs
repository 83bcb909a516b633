//! The board.
//!
//! Authority: derived. Failure: when Locus cannot be read the lanes are empty and the failure says so.

use std::collections::{HashMap, HashSet};

use dcc_core::event::EventCode;
use dcc_core::locus::family::{Family, FamilyName, Reason};
use dcc_core::locus::rules::Packets;
use dcc_core::locus::{MicroTask, WorkPacket, WpStatus};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Outcome, Timestamp, WpId, limits};

use super::super::App;
use super::super::records::{AtWork, family_of};
use super::checkout::Depth;
use super::names::Names;
use super::rows::{approval_row, failure_view, session_ref};
use crate::view::{BoardView, CardView, HealthRow, LaneView, MirrorView};

/// Cards of one lane on the page; a filter finds the others.
const CARDS_MAX: usize = 200;
/// A packet that stands longer in its lane is stale.
const STALE_MS: i64 = 3 * 24 * 60 * 60 * 1000;

impl App {
    pub(super) fn board_view(&self, layout: String, filter: String, q: String) -> BoardView {
        let mut view = BoardView { layout, filter, q, ..BoardView::default() };
        view.mirror = self.mirror();
        if let Err(failure) = self.fill_board(&mut view) {
            view.failure = Some(failure_view(&failure));
        }
        if view.total == 0 && view.failure.is_none() {
            view.machine = self.machine_rows();
        }
        view
    }

    fn mirror(&self) -> Option<MirrorView> {
        let facts = self.cx().ports.locus.board().ok()?;
        Some(MirrorView {
            mirror_state: facts.mirror_state.as_str().to_owned(),
            path: facts.path,
            message: facts.message,
            checked_at_ms: Some(self.cx().now().as_ms()),
        })
    }

    /// Checks of the machine, made at start.
    pub(super) fn machine_rows(&self) -> Vec<HealthRow> {
        self.machine
            .checks
            .iter()
            .map(|(name, status, evidence, fix)| HealthRow {
                name: name.clone(),
                status: status.clone(),
                evidence: evidence.clone(),
                fix: fix.clone().map(|command| crate::view::FixView { label: "Copy the command".to_owned(), command: Some(command), ..crate::view::FixView::default() }),
                ..HealthRow::default()
            })
            .collect()
    }

    fn fill_board(&self, view: &mut BoardView) -> Outcome<()> {
        let all = self.all_packets()?;
        view.total = all.len() as i64;
        view.lanes = WpStatus::ALL.iter().map(|s| LaneView { status: s.as_str().to_owned(), title: lane_title(*s).to_owned(), ..LaneView::default() }).collect();
        let at_work = self.at_work()?;
        let drifted: HashSet<&WpId> = all.iter().filter(|(.., drift)| drift.is_some()).map(|(packet, ..)| &packet.wp_id).collect();
        let names = self.names();
        let index = Packets::new(all.iter().map(|(packet, ..)| packet));
        let since = self.lane_since();
        let shown: Vec<_> = all
            .iter()
            .map(|(packet, mts, _)| (packet, mts, family_of(packet, mts, &index, &at_work)))
            .filter(|(packet, _, family)| matches_text(packet, &view.q) && matches_filter(packet, family, &view.filter, since_of(packet, &since), names.now))
            .collect();
        view.hidden = view.total - shown.len() as i64;
        let bound: HashMap<&WpId, &Workspace> = bound(&at_work);
        let worktrees: Vec<&Workspace> = shown.iter().filter_map(|(packet, ..)| bound.get(&packet.wp_id).copied()).collect();
        let checkouts = self.checkouts(&worktrees, Depth::Status);
        for (lane, status) in view.lanes.iter_mut().zip(WpStatus::ALL) {
            let mut mine: Vec<_> = shown.iter().filter(|(packet, ..)| packet.status == *status).collect();
            lane.count = mine.len() as i64;
            // What is over is read newest first, what is open by priority.
            if status.is_open() {
                mine.sort_by(|a, b| (a.0.priority, &a.0.wp_id).cmp(&(b.0.priority, &b.0.wp_id)));
            } else {
                mine.sort_by_key(|(packet, ..)| std::cmp::Reverse(packet.completed_at.unwrap_or(packet.updated_at)));
            }
            lane.cards = mine
                .into_iter()
                .take(CARDS_MAX)
                .map(|(packet, mts, family)| {
                    let mut card = card(packet, mts, family, &at_work, &names);
                    card.has_drift = drifted.contains(&packet.wp_id);
                    card.lane_since_at_ms = since_of(packet, &since).map(Timestamp::as_ms);
                    if let Some(workspace) = bound.get(&packet.wp_id) {
                        card.workspace_id = Some(workspace.workspace_id.to_string());
                        card.branch.clone_from(&workspace.branch);
                        card.dirty_files = checkouts.get(&workspace.workspace_id).and_then(|c| c.dirty);
                    }
                    card
                })
                .collect();
        }
        Ok(())
    }

    /// When each packet last changed its lane, as far as one page of the record reaches.
    fn lane_since(&self) -> HashMap<WpId, Timestamp> {
        let filter = EventFilter {
            codes: vec![EventCode::WpCreated, EventCode::WpStatusChanged, EventCode::WpCompleted],
            order: Order::Descending,
            limit: limits::PAGE_MAX,
            ..EventFilter::default()
        };
        let mut since = HashMap::new();
        for event in self.cx().ports.recorder.read(&filter).unwrap_or_default() {
            if let Some(wp_id) = event.correlation.wp_id {
                since.entry(wp_id).or_insert(event.ts);
            }
        }
        since
    }
}

fn lane_title(status: WpStatus) -> &'static str {
    match status {
        WpStatus::Stub => "Stub backlog",
        WpStatus::Ready => "Ready for dev",
        WpStatus::InProgress => "In progress",
        WpStatus::Blocked => "Blocked",
        WpStatus::Gated => "Gated",
        WpStatus::Done => "Done",
        WpStatus::Cancelled => "Superseded",
    }
}

/// The record's own times stand in where the log's page does not reach.
fn since_of(packet: &WorkPacket, since: &HashMap<WpId, Timestamp>) -> Option<Timestamp> {
    since.get(&packet.wp_id).copied().or(match packet.status {
        WpStatus::Stub => Some(packet.created_at),
        WpStatus::Done => packet.completed_at,
        _ => None,
    })
}

/// The active worktree of each packet.
fn bound(at_work: &AtWork) -> HashMap<&WpId, &Workspace> {
    at_work
        .workspaces
        .iter()
        .filter(|w| w.status == WorkspaceStatus::Active && w.kind == WorkspaceKind::Worktree)
        .filter_map(|w| Some((w.wp_id.as_ref()?, w)))
        .collect()
}

fn card(packet: &WorkPacket, micro_tasks: &[MicroTask], family: &Family, at_work: &AtWork, names: &Names) -> CardView {
    let mine = |wp_id: Option<&WpId>| wp_id == Some(&packet.wp_id);
    let mut approvals: Vec<_> = at_work.approvals.iter().filter(|a| mine(a.wp_id.as_ref())).collect();
    approvals.sort_by_key(|a| a.requested_at);
    CardView {
        wp_id: packet.wp_id.to_string(),
        title: packet.title.clone(),
        status: packet.status.as_str().to_owned(),
        priority: i64::from(packet.priority),
        wp_type: packet.wp_type.as_str().to_owned(),
        labels: packet.labels.clone(),
        version: packet.version as i64,
        family: family.family.as_str().to_owned(),
        reason: family.reason.as_str().to_owned(),
        why: Some(family.sentence.clone()),
        mt_statuses: micro_tasks.iter().map(|m| m.status.as_str().to_owned()).collect(),
        sessions: at_work.sessions.iter().filter(|s| mine(s.wp_id.as_ref()) && !s.state.is_terminal()).map(session_ref).collect(),
        approvals: approvals.into_iter().map(|a| approval_row(a, names, None)).collect(),
        ..CardView::default()
    }
}

fn matches_text(packet: &WorkPacket, q: &str) -> bool {
    let q = q.trim().to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&q);
    q.is_empty() || holds(packet.wp_id.as_str()) || holds(&packet.title) || packet.labels.iter().any(|l| holds(l))
}

fn matches_filter(packet: &WorkPacket, family: &Family, filter: &str, since: Option<Timestamp>, now: Timestamp) -> bool {
    match filter {
        "waits" => {
            matches!(family.family, FamilyName::Approval | FamilyName::Review | FamilyName::Validation)
                || matches!(family.reason, Reason::DecisionWait | Reason::EscalationWait | Reason::OperatorPause)
        }
        "stale" => packet.status.is_open() && now.as_ms() - since.unwrap_or(packet.updated_at).as_ms() > STALE_MS,
        _ => true,
    }
}
