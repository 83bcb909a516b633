//! One packet with everything bound to it.
//!
//! Authority: derived; what may be done is asked of the same rules that authorise it. Failure: HSK-404-WP when there is
//! no such packet; a part that cannot be read stays empty.

use dcc_core::event::EventCode;
use dcc_core::locus::record::{GateInputs, GateResult, GateStatus};
use dcc_core::locus::rules::{self, Packets};
use dcc_core::locus::{MicroTask, WorkPacket};
use dcc_core::ports::{EventFilter, JobFilter, Order};
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome, Timestamp, WpId};

use super::super::App;
use super::super::records::{AtWork, family_of};
use super::changes::commit_row;
use super::checkout::{Checkout, Depth, workspace_row};
use super::names::Names;
use super::packet_parts as parts;
use super::rows::{approval_row, event_row, job_row, session_row};
use crate::view::{ActionView, CommitRow, GateView, PacketView};

/// Jobs read for the history and for evidence.
const JOBS_READ: usize = 200;
const JOBS_SHOWN: usize = 20;
const COMMITS_SHOWN: usize = 100;

impl App {
    pub(super) fn packet_view(&self, wp_id: &WpId) -> Outcome<PacketView> {
        let all = self.all_packets()?;
        let (packet, micro_tasks, drift) = all
            .iter()
            .find(|(p, ..)| p.wp_id.folded() == wp_id.folded())
            .ok_or_else(|| self.no_packet(wp_id))?;
        let packets: Vec<WorkPacket> = all.iter().map(|(p, ..)| p.clone()).collect();
        let at_work = self.at_work()?;
        let names = self.names();
        let mut view = facts(packet);
        let index = Packets::new(&packets);
        let family = family_of(packet, micro_tasks, &index, &at_work);
        family.family.as_str().clone_into(&mut view.family);
        family.reason.as_str().clone_into(&mut view.reason);
        view.why = Some(match drift {
            Some(drift) => format!("{}; drift: {drift}", family.sentence),
            None => family.sentence,
        });
        let worktree = self.bind(&mut view, packet, &at_work, &names);
        let inputs = worktree.as_ref().map(|(workspace, seen)| gate_inputs(workspace, seen));
        view.pre_work = gate_view(&packet.gates.pre_work, inputs.as_ref());
        view.post_work = gate_view(&packet.gates.post_work, inputs.as_ref());
        let jobs = self.cx().ports.store.jobs(&JobFilter { wp_id: Some(packet.wp_id.clone()), limit: JOBS_READ, ..JobFilter::default() }).unwrap_or_default();
        let busy = jobs.iter().filter(|j| !j.state.is_terminal()).count();
        view.evidence_jobs = jobs.iter().filter_map(parts::evidence_of_job).collect();
        view.jobs = jobs.iter().take(JOBS_SHOWN).map(job_row).collect();
        view.micro_tasks = micro_tasks.iter().map(|m| parts::mt_row(m, &names)).collect();
        view.notes = packet.notes.iter().map(|note| parts::note_view(note, note.body.clone().or_else(|| self.text_of(note.body_ref)), &names)).collect();
        view.dependencies = parts::dependencies(packet, &index);
        self.judge(&mut view, packet, micro_tasks, &packets, busy, inputs.as_ref());
        view.readiness = parts::readiness(&view, worktree.as_ref().map(|(_, seen)| seen.dirty));
        self.history(&mut view, packet, worktree.as_ref().map(|(workspace, _)| *workspace));
        Ok(view)
    }

    /// Text kept as an artifact.
    pub(super) fn text_of(&self, sha256: Option<dcc_core::Sha256Hex>) -> Option<String> {
        let bytes = self.cx().ports.artifacts.get(sha256?).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Workspaces, sessions and approvals; the active worktree as it stands now.
    fn bind<'a>(&self, view: &mut PacketView, packet: &WorkPacket, at_work: &'a AtWork, names: &Names) -> Option<(&'a Workspace, Checkout)> {
        let mine = |wp_id: Option<&WpId>| wp_id == Some(&packet.wp_id);
        let workspaces: Vec<&Workspace> = at_work.workspaces.iter().filter(|w| mine(w.wp_id.as_ref()) && w.status != WorkspaceStatus::Archived).collect();
        let active = workspaces.iter().copied().find(|w| w.status == WorkspaceStatus::Active && w.kind == WorkspaceKind::Worktree);
        let now = active.map(|w| (w, self.ask(w, Depth::Whole)));
        let seen = self.checkouts(&workspaces, Depth::Whole);
        view.workspaces = workspaces.iter().map(|w| workspace_row(w, seen.get(&w.workspace_id), names)).collect();
        let mut sessions: Vec<_> = at_work.sessions.iter().filter(|s| mine(s.wp_id.as_ref())).collect();
        sessions.sort_by_key(|s| (s.state.is_terminal(), std::cmp::Reverse(s.created_at)));
        view.sessions = sessions.into_iter().take(30).map(|s| self.session_since(session_row(s, names), s)).collect();
        let mut approvals: Vec<_> = at_work.approvals.iter().filter(|a| mine(a.wp_id.as_ref())).collect();
        approvals.sort_by_key(|a| a.requested_at);
        view.why_since_at_ms = approvals.first().map(|a| a.requested_at.as_ms());
        view.approvals = approvals.into_iter().map(|a| approval_row(a, names, None)).collect();
        now
    }

    /// What may be done now, by the rules that authorise it.
    fn judge(&self, view: &mut PacketView, packet: &WorkPacket, micro_tasks: &[MicroTask], packets: &[WorkPacket], busy: usize, inputs: Option<&GateInputs>) {
        let cx = self.cx();
        let live = view.sessions.iter().filter(|s| !matches!(s.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED")).count();
        let context = rules::Context {
            now: cx.now(),
            author: "operator",
            note_id: dcc_core::NoteId::from(cx.ports.clock.fresh_id()),
            all_packets: packets,
            micro_tasks,
            pending_approvals: view.approvals.len(),
            running: live + busy,
            gate_inputs: inputs,
        };
        let mut actions: Vec<ActionView> = rules::allowed_actions(packet, None, &context).into_iter().map(|a| parts::action(&parts::op_name(&a), a.refused)).collect();
        for mt in micro_tasks {
            actions.extend(rules::allowed_actions(packet, Some(&mt.mt_id), &context).into_iter().map(|a| parts::action(&format!("{}:{}", a.op, mt.mt_id), a.refused)));
        }
        let has_worktree = view.workspaces.iter().any(|w| w.status == "active" && w.kind == "worktree");
        actions.push(parts::action("workspace.create", has_worktree.then(|| Failure::new(Code::WorktreeConflict, format!("{} has a worktree already", packet.wp_id)))));
        actions.push(parts::action("session.start", (!has_worktree).then(|| Failure::new(Code::Scope, "a session works in a worktree; create one first"))));
        view.drift = self.drift_views(packet, &context);
        view.close_refusal = actions.iter().find(|a| a.op == "locus.close_wp").and_then(|a| a.failure.clone());
        view.actions = actions;
    }

    fn history(&self, view: &mut PacketView, packet: &WorkPacket, worktree: Option<&Workspace>) {
        view.commits = worktree.map(|w| self.commits_since_base(w)).unwrap_or_default();
        // Looking at a request is on record, and no news here.
        let codes = EventCode::ALL.iter().copied().filter(|code| *code != EventCode::ApprovalPresented).collect();
        let filter = EventFilter { wp_id: Some(packet.wp_id.clone()), codes, order: Order::Descending, limit: 10, ..EventFilter::default() };
        view.events = self.cx().ports.recorder.read(&filter).unwrap_or_default().iter().map(event_row).collect();
    }

    /// The branch's own commits, newest first.
    pub(super) fn commits_since_base(&self, workspace: &Workspace) -> Vec<CommitRow> {
        let log = dcc_jobs::outside::history(self.cx(), &workspace.binding, COMMITS_SHOWN, &[]).unwrap_or_default();
        log.iter().take_while(|commit| Some(&commit.oid) != workspace.base_oid.as_ref()).map(commit_row).collect()
    }
}

fn facts(packet: &WorkPacket) -> PacketView {
    let ms = |at: Option<Timestamp>| at.map(Timestamp::as_ms);
    let filled = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
    PacketView {
        wp_id: packet.wp_id.to_string(),
        title: packet.title.clone(),
        description: filled(&packet.description),
        status: packet.status.as_str().to_owned(),
        priority: i64::from(packet.priority),
        wp_type: packet.wp_type.as_str().to_owned(),
        phase: packet.phase.clone(),
        routing: packet.routing.as_str().to_owned(),
        labels: packet.labels.clone(),
        assignee: packet.assignee.clone(),
        reporter: packet.reporter.clone(),
        version: packet.version as i64,
        in_scope_paths: packet.in_scope_paths.clone(),
        acceptance_criteria: parts::criteria(packet),
        closure_verdict: packet.closure_verdict.clone(),
        created_at_ms: packet.created_at.as_ms(),
        updated_at_ms: packet.updated_at.as_ms(),
        started_at_ms: ms(packet.started_at),
        completed_at_ms: ms(packet.completed_at),
        due_at_ms: ms(packet.due_at),
        ..PacketView::default()
    }
}

/// What a gate would be judged on now.
fn gate_inputs(workspace: &Workspace, seen: &Checkout) -> GateInputs {
    let head_oid = seen.head_oid().cloned();
    let tree_oid = seen.last_commit.as_ref().filter(|c| Some(&c.oid) == head_oid.as_ref()).map(|c| c.tree_oid.clone());
    GateInputs { worktree: Some(workspace.workspace_id.to_string()), base_oid: workspace.base_oid.clone(), head_oid, tree_oid }
}

fn gate_view(gate: &GateResult, now: Option<&GateInputs>) -> GateView {
    let void = gate.status != GateStatus::Pending && rules::is_void(gate, now);
    GateView {
        status: if void { "void" } else { gate.status.as_str() }.to_owned(),
        reason: gate.reason.clone(),
        validated_by: gate.validated_by.clone(),
        validated_at_ms: gate.validated_at.map(Timestamp::as_ms),
    }
}
