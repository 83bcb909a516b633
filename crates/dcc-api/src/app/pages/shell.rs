//! The frame of every screen: what waits, what runs, how the record stands.
//!
//! Authority: derived. Failure: never; what cannot be read becomes a notice.

use dcc_core::job::JobState;
use dcc_core::ports::JobFilter;
use dcc_core::session::{Need, Posture, Session, SessionState};
use dcc_core::{Code, limits};

use super::super::App;
use super::rows::{counted, failure_view};
use crate::view::{FailureView, NeedsView, NoticeView, Shell};

impl App {
    pub(super) fn shell_view(&self) -> Shell {
        let cx = self.cx();
        let ports = &cx.ports;
        let head = ports.recorder.head().ok();
        let sessions = ports.store.open_sessions().unwrap_or_default();
        let verified = self.last_verified();
        Shell {
            project_name: cx.config.project_name.clone(),
            instance_id: cx.config.instance_id.to_string(),
            token: String::new(),
            fragment: false,
            seq: head.map_or(0, |h| h.seq as i64),
            last_event_at_ms: head.and_then(|h| ports.recorder.by_seq(h.seq).ok().flatten()).map(|e| e.ts.as_ms()),
            verified_seq: verified.as_ref().filter(|(report, _)| report.ok).map(|(report, _)| report.head.seq as i64),
            verified_at_ms: verified.as_ref().map(|(_, at)| at.as_ms()),
            db_status: if cx.journal.store_fault().is_some() { "behind".to_owned() } else { ports.store.health().status },
            needs: self.needs(&sessions),
            running: sessions.iter().filter(|s| s.state == SessionState::Active).count() as i64,
            running_limit: Some(cx.config.limits.runs.running as i64),
            notices: self.notices(),
            read_only: (!ports.recorder.is_writable()).then(|| FailureView {
                code: Code::Recorder.as_str().to_owned(),
                message: match &cx.config.read_only {
                    Some(why) => format!("Read only: {why}. No record, no action; reading goes on."),
                    None => "The recorder cannot write: no record, no action. Reading goes on.".to_owned(),
                },
                hint: Some("Free disk space or make .handshake writable, then start the server again.".to_owned()),
            }),
            changing_off: cx.config.read_only.is_some(),
            agents: ports.agents.list().into_iter().filter(|agent| agent.installed).map(|agent| agent.name).collect(),
        }
    }

    /// What waits for the operator, oldest first.
    fn needs(&self, sessions: &[Session]) -> NeedsView {
        let store = &self.cx().ports.store;
        let now = self.cx().now();
        let approvals: Vec<_> = store
            .approvals(Some(dcc_core::approval::ApprovalStatus::Pending), limits::PAGE_MAX)
            .unwrap_or_default()
            .into_iter()
            .filter(|a| now < a.expires_at)
            .collect();
        let stalled = store.jobs(&JobFilter { states: vec![JobState::Stalled], ..JobFilter::default() }).unwrap_or_default();
        // Those that wait for a decision count by their requests, which also stand without a session.
        let open = |needs: &[Need]| sessions.iter().filter(|s| s.need().is_some_and(|need| needs.contains(&need))).collect::<Vec<_>>();
        let questions = open(&[Need::Message, Need::Consent]);
        let reviews = open(&[Need::Review]);
        let crashed = open(&[Need::Recovery]);
        let mut waiting: Vec<(i64, String)> = approvals.iter().map(|a| (a.requested_at.as_ms(), format!("/approval/{}", a.approval_id))).collect();
        waiting.extend(questions.iter().chain(&reviews).chain(&crashed).map(|s| (s.last_activity_at.as_ms(), format!("/session/{}", s.session_id))));
        waiting.extend(stalled.iter().map(|j| (j.updated_at.as_ms(), format!("/job/{}", j.job_id))));
        waiting.sort();
        NeedsView {
            approvals: approvals.len() as i64,
            questions: questions.len() as i64,
            reviews: reviews.len() as i64,
            recoveries: (crashed.len() + stalled.len()) as i64,
            hrefs: waiting.into_iter().take(200).map(|(_, href)| href).collect(),
        }
    }

    fn notices(&self) -> Vec<NoticeView> {
        let cx = self.cx();
        let mut notices = Vec::new();
        if let Some(fault) = cx.journal.store_fault() {
            notices.push(notice("bad", "database", &fault.message, Some(fault.code), Some(("/health", "Open Health"))));
        }
        match cx.ports.locus.packets() {
            Ok(packets) => {
                let drifted: Vec<_> = packets.iter().filter(|e| e.drift.is_some()).collect();
                if let Some(first) = drifted.first() {
                    let says = format!("{} not as last accepted: {}", counted(drifted.len(), "packet record"), first.record.wp_id);
                    let href = format!("/wp/{}", first.record.wp_id);
                    notices.push(notice("warn", "drift", &says, Some(Code::Drift), Some((&href, "Open packet"))));
                }
            }
            Err(failure) => {
                let view = failure_view(&failure);
                notices.push(notice("bad", "locus", &view.message, Some(failure.code), Some(("/health", "Open Health"))));
            }
        }
        let waivers = dcc_jobs::waivers::in_force(cx.ports.recorder.as_ref(), cx.now()).unwrap_or_default();
        notices.extend(no_sandbox(&cx.ports.sandbox.posture(), !waivers.is_empty()));
        for waiver in waivers {
            let says = format!("Agents in workspace {} run unconfined until {}: {}", waiver.workspace_id.short(), waiver.expires_at, waiver.reason);
            notices.push(notice("bad", "unenforced", &says, None, Some(("/health", "Revoke it"))));
        }
        if let Some((report, _)) = self.last_verified().filter(|(report, _)| !report.ok) {
            let from = report.first_bad_seq.map_or_else(String::new, |seq| format!(" from seq {seq}"));
            let says = format!("The record does not hold{from}: {}", report.problem.unwrap_or_default());
            notices.push(notice("bad", "chain broken", &says, Some(Code::Integrity), Some(("/timeline", "Open the record"))));
        }
        notices
    }
}

/// What is refused because nothing confines an agent; a waiver in force has a notice of its own.
fn no_sandbox(posture: &Posture, waived: bool) -> Option<NoticeView> {
    if posture.confines_agents() {
        return None;
    }
    let why = posture.notes.first().map_or_else(String::new, |n| format!(": {n}"));
    let refused = if waived { "Recipes are refused, and sessions in other worktrees." } else { "Sessions and recipes are refused." };
    Some(notice("warn", "no sandbox", &format!("The kernel cannot confine agents here{why}. {refused}"), Some(Code::SandboxUnavailable), Some(("/health", "Open Health"))))
}

fn notice(kind: &str, word: &str, message: &str, code: Option<Code>, to: Option<(&str, &str)>) -> NoticeView {
    NoticeView {
        kind: kind.to_owned(),
        word: word.to_owned(),
        message: message.to_owned(),
        code: code.map(|c| c.as_str().to_owned()),
        href: to.map(|(href, _)| href.to_owned()),
        label: to.map(|(_, label)| label.to_owned()),
    }
}
