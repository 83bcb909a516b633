//! Health: what holds, with evidence, and what a crash left for a person.
//!
//! Authority: derived. Invariant: a check that could not be made is unknown, never ok.

use dcc_core::job::JobState;
use dcc_core::locus::RecordKey;
use dcc_core::ports::{AgentListing, JobFilter, Locus, LoginState, MirrorState};
use dcc_core::session::{Posture, StateReason};
use dcc_core::workspace::{WorkspaceKind, WorkspaceStatus};
use dcc_core::{MtId, WpId, limits};
use serde_json::json;

use super::super::App;
use super::checkout::{command_of, repair_view};
use super::rows::{counted, posture_word};
use crate::view::{FixView, HealthGroup, HealthRow, HealthView, RecoveryRow};

/// Drifted records shown by themselves; more have one cause, and the first ones tell it.
const DRIFT_ROWS: usize = 20;

impl App {
    pub(super) fn health_view(&self) -> HealthView {
        let recovery = self.recovery();
        HealthView {
            groups: vec![
                group("Record", "what happened, append-only", self.record_checks()),
                group("Project", "packets, board, derived data, git", self.project_checks()),
                group("Agents and sandbox", "who can work here, and how confined", self.agent_checks()),
                group("Machine", "checked when the server started", self.machine_rows()),
            ]
            .into_iter()
            .filter(|g| !g.rows.is_empty())
            .collect(),
            recovery_note: (!recovery.is_empty()).then(|| "A process ended while these were at work.".to_owned()),
            recovery,
            checked_at_ms: Some(self.cx().now().as_ms()),
            waivable: self.waivable(),
        }
    }

    fn record_checks(&self) -> Vec<HealthRow> {
        let recorder = &self.cx().ports.recorder;
        let writable = recorder.is_writable();
        let head = match recorder.head() {
            Ok(head) => row("Recorder", if writable { "ok" } else { "fault" }, &format!("seq {}, {}", head.seq, if writable { "writable" } else { "cannot write: no record, no action" })),
            Err(failure) => row("Recorder", "fault", &failure.message),
        };
        let chain = match self.last_verified() {
            Some((report, at)) if report.ok => HealthRow {
                since_at_ms: Some(at.as_ms()),
                word: "verified".to_owned(),
                ..fixed(row("Hash chain", "ok", &format!("{} verified, up to seq {}, {}", counted(report.events as usize, "event"), report.head.seq, report.held_against())), "Verify again", Some("recorder.verify"), None)
            },
            Some((report, at)) => HealthRow {
                since_at_ms: Some(at.as_ms()),
                ..row("Hash chain", "fault", &format!("{}{}", report.first_bad_seq.map_or_else(String::new, |seq| format!("first bad seq {seq}: ")), report.problem.unwrap_or_default()))
            },
            None => fixed(row("Hash chain", "unknown", "not verified by this process yet"), "Verify now", Some("recorder.verify"), None),
        };
        vec![head, chain]
    }

    fn project_checks(&self) -> Vec<HealthRow> {
        let cx = self.cx();
        let ports = &cx.ports;
        let health = ports.store.health();
        let (store, lag) = match cx.journal.store_fault() {
            Some(fault) => ("fault", format!("{}; ", fault.message)),
            None if matches!(health.status.as_str(), "ok" | "rebuilt") => ("ok", String::new()),
            None => ("needs", String::new()),
        };
        // The state column says ok already.
        let word = if health.status == "ok" { String::new() } else { format!("{} ", health.status) };
        let said = format!("{lag}{word}{}, applied to seq {}, {} KB, schema {}", health.message, health.cursor, health.bytes / 1024, health.schema_version);
        let mut rows = vec![row("Derived store", store, &said)];
        rows.extend(self.record_rows());
        rows.push(self.board_check());
        rows.push(match ports.version.identity() {
            Ok((name, mail)) => row("Commit author", "ok", &format!("{name} <{mail}>")),
            Err(failure) => fixed(row("Commit author", "needs", &failure.message), "Copy the command", None, Some("git config --global user.name \"Your Name\"")),
        });
        rows.extend(self.root_check());
        rows.extend(self.repair_rows());
        rows.extend(self.outside_rows());
        rows
    }

    /// One row for each record that differs, with both ways to settle it; a file that no event names is only shown.
    fn record_rows(&self) -> Vec<HealthRow> {
        let locus = &self.cx().ports.locus;
        let drift = match locus.catch_up(&[]) {
            Ok(drift) => drift,
            Err(failure) => return vec![row("Packet records", "fault", &failure.message)],
        };
        let mut rows: Vec<HealthRow> = drift.iter().take(DRIFT_ROWS).map(|(key, sentence)| drift_row(locus.as_ref(), key, sentence)).collect();
        if drift.is_empty() {
            let packets = locus.packets().map_or(0, |p| p.len());
            rows.push(row("Packet records", "ok", &format!("{}, all as last accepted", counted(packets, "packet"))));
        }
        let back = dcc_jobs::ledger::written_back(self.cx().ports.recorder.as_ref(), self.cx().now()).unwrap_or_default();
        rows.extend(back.iter().take(DRIFT_ROWS).map(|(key, said)| row(&format!("Record {key}"), "ok", said)));
        rows
    }

    fn board_check(&self) -> HealthRow {
        match self.cx().ports.locus.board() {
            Ok(facts) => {
                let said = facts.message.clone().unwrap_or_else(|| facts.path.clone());
                match facts.mirror_state {
                    MirrorState::Synchronized => row("Task board file", "ok", &said),
                    MirrorState::Stale => fixed(row("Task board file", "drift", &said), "Write the file", Some("locus.sync_task_board"), None),
                    MirrorState::AdvisoryEdit | MirrorState::NormalizationRequired => row("Task board file", "needs", &said),
                }
            }
            Err(failure) => row("Task board file", "unknown", &failure.message),
        }
    }

    /// What is wrong with the workspaces' own files, each with its repair.
    fn repair_rows(&self) -> Vec<HealthRow> {
        let workspaces = self.cx().ports.store.workspaces().unwrap_or_default();
        let mut rows = Vec::new();
        for workspace in workspaces.iter().filter(|w| w.status != WorkspaceStatus::Archived) {
            let id = workspace.workspace_id;
            let name = workspace.branch.clone().unwrap_or_else(|| id.short());
            // The configuration has a row of its own.
            for finding in dcc_jobs::repairs::findings(self.cx(), workspace).unwrap_or_default().into_iter().filter(|f| f.name != "git configuration") {
                let command = command_of(&finding, id).map(|command| format!(" ({command})")).unwrap_or_default();
                rows.push(HealthRow { fix: repair_view(&finding, id), ..row(&format!("{} of {name}", finding.name), "needs", &format!("{}; would {}{command}", finding.evidence, finding.would)) });
            }
        }
        rows
    }

    /// The main worktree: git answers, and our own directory is not among its changes.
    fn root_check(&self) -> Vec<HealthRow> {
        let ports = &self.cx().ports;
        let Some(root) = ports.store.workspaces().unwrap_or_default().into_iter().find(|w| w.kind == WorkspaceKind::Root) else {
            return vec![row("Repository", "unknown", "the main worktree is not registered")];
        };
        match ports.version.status(&root.binding) {
            Ok(status) => {
                let seen = status.entries.iter().any(|e| e.path.as_bytes().starts_with(b".handshake"));
                vec![
                    row("Repository", "ok", &format!("{} read by {}", counted(status.entries.len(), "changed path"), status.engine)),
                    if seen { row("Exclude rule", "needs", ".handshake shows as a change; git's info/exclude lacks it") } else { row("Exclude rule", "ok", ".handshake is not among git's changes") },
                ]
            }
            Err(failure) => vec![row("Repository", "fault", &failure.message)],
        }
    }

    fn agent_checks(&self) -> Vec<HealthRow> {
        let ports = &self.cx().ports;
        let mut rows = sandbox_rows(&ports.sandbox.posture());
        for waiver in dcc_jobs::waivers::in_force(ports.recorder.as_ref(), self.cx().now()).unwrap_or_default() {
            let evidence = format!("unenforced: agents in workspace {} run unconfined until {}: {}", waiver.workspace_id.short(), waiver.expires_at, waiver.reason);
            let mut revoke = fixed(row("Sandbox waiver", "needs", &evidence), "Revoke", Some("sandbox.revoke"), None);
            if let Some(fix) = &mut revoke.fix {
                fix.bindings = Some(json!({ "workspace_id": waiver.workspace_id }).to_string());
            }
            rows.push(revoke);
        }
        let (here, absent): (Vec<_>, Vec<_>) = ports.agents.list().into_iter().partition(|agent| agent.installed);
        rows.extend(here.into_iter().map(agent_row));
        if !absent.is_empty() {
            let names: Vec<&str> = absent.iter().map(|agent| agent.name.as_str()).collect();
            rows.push(fixed(row("Other agents", "absent", &format!("known and not installed: {}", names.join(", "))), "Copy: dcc agent list", None, Some("dcc agent list")));
        }
        rows
    }

    /// Worktrees that a waiver could be asked for; none where agents are confined.
    fn waivable(&self) -> Option<Vec<(String, String)>> {
        let ports = &self.cx().ports;
        if ports.sandbox.posture().confines_agents() {
            return None;
        }
        let all = ports.store.workspaces().unwrap_or_default();
        let usable = all.into_iter().filter(|w| w.kind == WorkspaceKind::Worktree && w.status == WorkspaceStatus::Active);
        Some(usable.map(|w| (w.workspace_id.to_string(), w.branch.unwrap_or_else(|| w.workspace_id.short()))).collect())
    }

    fn recovery(&self) -> Vec<RecoveryRow> {
        let store = &self.cx().ports.store;
        let stalled = store.jobs(&JobFilter { states: vec![JobState::Stalled], ..JobFilter::default() }).unwrap_or_default();
        let crashed = store.sessions(limits::PAGE_MAX).unwrap_or_default().into_iter().filter(|s| !s.state.is_terminal() && s.state_reason == StateReason::CrashRecovery);
        let mut rows: Vec<RecoveryRow> = crashed
            .map(|s| RecoveryRow {
                session_id: Some(s.session_id.to_string()),
                job_id: None,
                agent: Some(s.agent.clone()),
                wp_id: s.wp_id.as_ref().map(ToString::to_string),
                mt_id: s.mt_id.as_ref().map(ToString::to_string),
                state: s.state_reason.as_str(),
                evidence: format!("{}, last activity {}", counted(s.turns as usize, "turn"), s.last_activity_at),
                since_at_ms: Some(s.last_activity_at.as_ms()),
                safe_to_resume: !stalled.iter().any(|j| j.bindings.session_id == Some(s.session_id)),
            })
            .collect();
        rows.extend(stalled.iter().map(|j| RecoveryRow {
            session_id: None,
            job_id: Some(j.job_id.to_string()),
            agent: None,
            wp_id: j.bindings.wp_id.as_ref().map(ToString::to_string),
            mt_id: j.bindings.mt_id.as_ref().map(ToString::to_string),
            state: j.state.as_str().to_owned(),
            evidence: j.failure.as_ref().map_or_else(|| format!("{} did not end", j.op), |f| f.message.clone()),
            since_at_ms: Some(j.updated_at.as_ms()),
            safe_to_resume: false,
        }));
        rows
    }
}

fn drift_row(locus: &dyn Locus, key: &str, sentence: &str) -> HealthRow {
    let base = row(&format!("Record {key}"), "drift", sentence);
    let (wp, mt) = match key.split_once('/') {
        Some((wp, mt)) => (wp, Some(mt)),
        None => (key, None),
    };
    let (Ok(wp_id), Ok(mt_id)) = (WpId::parse(wp), mt.map(MtId::parse).transpose()) else { return base };
    let named = match &mt_id {
        Some(mt_id) => RecordKey::MicroTask { wp_id: wp_id.clone(), mt_id: mt_id.clone() },
        None => RecordKey::Packet { wp_id: wp_id.clone() },
    };
    let Ok(Some(seen)) = locus.drifted(&named) else { return base };
    let settle = |label: &str, action: &str| FixView {
        label: label.to_owned(),
        op: Some("locus.accept_edit".to_owned()),
        params: Some(json!({ "record": { "wp_id": wp_id, "mt_id": mt_id }, "action": action, "found_sha256": seen.found_sha256() }).to_string()),
        bindings: Some(json!({ "wp_id": wp_id, "mt_id": mt_id }).to_string()),
        ..FixView::default()
    };
    let look = FixView { label: "See both".to_owned(), href: Some(format!("/wp/{wp_id}#drift")), ..FixView::default() };
    let restore = settle("Restore", "restore");
    // What cannot be read as a record can only be restored; whether an edit is legal, its job says.
    if seen.edited.is_ok() { HealthRow { fix: Some(settle("Accept", "accept")), other: Some(restore), ..base } } else { HealthRow { fix: Some(restore), other: Some(look), ..base } }
}

fn group(title: &str, note: &str, rows: Vec<HealthRow>) -> HealthGroup {
    HealthGroup { title: title.to_owned(), note: note.to_owned(), rows }
}

/// What the self-test saw, and where agents are refused for it how a person waives it.
fn sandbox_rows(posture: &Posture) -> Vec<HealthRow> {
    let notes = if posture.notes.is_empty() { String::new() } else { format!(": {}", posture.notes.join("; ")) };
    let status = match (posture.confines_agents(), posture.metadata) {
        (false, _) => "fault",
        (true, false) => "needs",
        (true, true) => "ok",
    };
    let mut rows = vec![row("Sandbox", status, &format!("{}{notes}", posture_word(posture)))];
    if !posture.confines_agents() {
        let ask = FixView { label: "Ask to waive it…".to_owned(), href: Some("/health#waive".to_owned()), ..FixView::default() };
        rows.push(HealthRow { fix: Some(ask), ..row("Waiver", "absent", "agents are refused here unless you waive the sandbox for one worktree and a time") });
    }
    rows
}

fn agent_row(agent: AgentListing) -> HealthRow {
    let evidence = format!("login: {} ({}); {}", agent.login.as_str(), agent.login_evidence, agent.what);
    let listed = row(&format!("Agent {}", agent.name), "ok", &evidence);
    // A login needs a terminal, so the page can only say the command.
    if agent.login == LoginState::NoneStored { fixed(listed, "Log in", None, Some(&format!("dcc agent login {}", agent.name))) } else { listed }
}

fn row(name: &str, status: &str, evidence: &str) -> HealthRow {
    HealthRow { name: name.to_owned(), status: status.to_owned(), evidence: evidence.to_owned(), ..HealthRow::default() }
}

fn fixed(row: HealthRow, label: &str, op: Option<&str>, command: Option<&str>) -> HealthRow {
    HealthRow { fix: Some(FixView { label: label.to_owned(), op: op.map(str::to_owned), command: command.map(str::to_owned), ..FixView::default() }), ..row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_is_offered_only_where_agents_are_refused() {
        let said = |filesystem, network, metadata| {
            let posture = Posture { layers: vec!["landlock".into()], filesystem, network, metadata, ..Posture::default() };
            sandbox_rows(&posture).into_iter().map(|row| (row.name, row.status)).collect::<Vec<_>>()
        };
        let sandbox = |status: &str| ("Sandbox".to_owned(), status.to_owned());
        let waiver = ("Waiver".to_owned(), "absent".to_owned());
        assert_eq!(said(true, true, true), [sandbox("ok")]);
        assert_eq!(said(true, true, false), [sandbox("needs")], "agents run where only the metadata of files is not held");
        assert_eq!(said(true, false, true), [sandbox("fault"), waiver.clone()]);
        assert_eq!(said(false, true, true), [sandbox("fault"), waiver]);
    }
}
