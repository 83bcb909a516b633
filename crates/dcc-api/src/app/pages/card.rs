//! The approval card: one request, rendered from its frozen plan.
//!
//! Authority: derived; the lines of the card come from the plan's preview, the requester's words stand apart as a claim.
//! Failure: HSK-404-APPROVAL when there is no such request; a preview that cannot be read keeps the card undecidable.

use dcc_core::approval::{Approval, ApprovalStatus, Scope};
use dcc_core::capability::Tier;
use dcc_core::event::EventCode;
use dcc_core::job::Job;
use dcc_core::op::Op;
use dcc_core::plan::{Preview, PreviewItem};
use dcc_core::ports::version::{DiffSource, FileDiff as Changed};
use dcc_core::ports::{EventFilter, JobFilter};
use dcc_core::principal::Principal;
use dcc_core::{ApprovalId, Code, Failure, Outcome, RepoPath};
use dcc_jobs::ledger;

use super::super::App;
use super::card_parts as parts;
use super::changes::{file_diff, file_row};
use super::names::Names;
use super::rows::{approval_row, counted, failure_view, job_row};
use super::write_diff::{BYTES_MAX, write_diff};
use crate::view::{ApprovalCard, FailureView, JobRow, ScopeView};

/// Lines of a diff on a card; the whole opens with the review.
const CARD_LINES: usize = 60;

impl App {
    pub(super) fn approval_card(&self, id: ApprovalId) -> Outcome<ApprovalCard> {
        let approval = ledger::approval(self.cx().ports.recorder.as_ref(), id)?;
        Ok(self.card(&approval, &self.names()))
    }

    pub(super) fn card(&self, approval: &Approval, names: &Names) -> ApprovalCard {
        let job = self.cx().ports.store.job(approval.job_id).ok().flatten();
        let mut card = parts::card_of(approval, approval_row(approval, names, job.as_ref()), names);
        let whole = self.runner.whole_preview(approval);
        let preview = whole.as_ref().unwrap_or(&approval.preview);
        parts::fill_preview(&mut card, preview);
        if approval.op == Op::FsWrite {
            self.fill_write(&mut card, approval, job.as_ref());
        } else {
            self.fill_diff(&mut card, approval, preview);
        }
        card.diff_href = (approval.op == Op::VersionCommit).then_some(approval.workspace_id).flatten().map(|id| format!("/ws/{id}"));
        if card.workspace_path.is_none() {
            card.workspace_path = approval.workspace_id.and_then(|id| names.workspaces.get(&id)).map(|w| w.binding.worktree_path.clone());
        }
        card.refusal = match &whole {
            Err(failure) => Some(failure_view(failure)),
            Ok(_) if approval.status == ApprovalStatus::Pending && !self.cx().ports.recorder.is_writable() => {
                Some(failure_view(&Failure::recorder("The recorder cannot write, so no decision can be kept.")))
            }
            Ok(_) => undecidable(approval, names),
        };
        card.decidable = card.refusal.is_none() && approval.status == ApprovalStatus::Pending;
        card.scopes = scopes(approval, names);
        card.mt_name = self.mt_name(approval);
        card.grant_miss = grant_miss(approval, names);
        self.fill_before(&mut card, approval, names);
        card.released = self.released(approval, job.as_ref());
        card
    }

    fn mt_name(&self, approval: &Approval) -> Option<String> {
        let (wp_id, mt_id) = (approval.wp_id.as_ref()?, approval.mt_id.as_ref()?);
        Some(self.cx().ports.locus.micro_task(wp_id, mt_id).ok()??.record.name)
    }

    /// What the session did before it asked, and what it was told last.
    fn fill_before(&self, card: &mut ApprovalCard, approval: &Approval, names: &Names) {
        let Some(session) = approval.session_id else { return };
        let filter = EventFilter { approval_id: Some(approval.approval_id), codes: vec![EventCode::ApprovalRequested], limit: 1, ..EventFilter::default() };
        let asked = self.cx().ports.recorder.read(&filter).ok().and_then(|events| events.first().map(|e| e.seq));
        (card.before, card.last_instruction) = self.before(session, asked, names);
    }

    /// The requested lines: those the plan shows, or git's for the first path of a commit while it holds the planned bytes.
    fn fill_diff(&self, card: &mut ApprovalCard, approval: &Approval, preview: &Preview) {
        let mut shown = preview.exactly.iter().filter_map(|item| match item {
            PreviewItem::Diff { path, text, cut } => Some((path, text, *cut)),
            _ => None,
        });
        if let Some((path, text, cut)) = shown.next() {
            card.diff = Some(parts::diff_of_text(path, text, cut, CARD_LINES));
            card.facts.extend(shown.map(|(path, text, _)| crate::view::FactView { name: format!("diff of {}", path.display()), value: text.clone() }));
            return;
        }
        if approval.op != Op::VersionCommit || approval.status != ApprovalStatus::Pending {
            return;
        }
        let Some(planned) = parts::first_path(preview) else { return };
        let Some(file) = self.git_file(approval, &planned.path) else { return };
        if planned.oid.is_some() && file.new_oid != planned.oid {
            card.risk_notes.push(format!("{} changed since this was asked; the commit would still write the bytes that were planned, or be refused", planned.path.display()));
            return;
        }
        let mut diff = file_diff(&file, file_row(&file, false));
        parts::shorten(&mut diff, CARD_LINES);
        card.diff = Some(diff);
    }

    /// A write through us: the content that was handed in against the file that stands there now.
    fn fill_write(&self, card: &mut ApprovalCard, approval: &Approval, job: Option<&Job>) {
        let read = |key: &str| job.map(|j| j.params[key].clone()).unwrap_or_default();
        let path: Option<RepoPath> = serde_json::from_value(read("path")).ok();
        let content: Option<dcc_core::Sha256Hex> = serde_json::from_value(read("content_sha256")).ok();
        let (Some(path), Some(content)) = (path, content) else { return };
        let Ok(new) = self.cx().written(content) else { return };
        if let Some(form) = dcc_core::redact::known_in(&String::from_utf8_lossy(&new)) {
            card.risk_notes.push(format!("the content holds what looks like a secret ({form}); it is kept nowhere but in the file"));
        }
        card.facts.retain(|fact| fact.name != "bytes" && fact.name != "content sha256");
        card.facts.push(crate::view::FactView { name: "content".to_owned(), value: format!("{}, sha256 {content}", counted(new.len(), "byte")) });
        // Once it is decided the file is no longer what it was; the content stands under its hash.
        if approval.status != ApprovalStatus::Pending {
            return;
        }
        let Some(workspace) = approval.workspace_id.and_then(|id| self.workspace(id).ok()) else { return };
        let file = crate::view::FileRow { path: super::rows::path_view(&path), kind: "modified".to_owned(), group: "source".to_owned(), in_scope: true, ..crate::view::FileRow::default() };
        let diff = match self.cx().ports.files.read(&workspace.binding, &path, BYTES_MAX as u64) {
            Ok(old) => write_diff(file, old.as_deref(), &new, CARD_LINES),
            Err(failure) => crate::view::FileDiff { file, failure: Some(failure_view(&failure)), ..crate::view::FileDiff::default() },
        };
        if let Some(effect) = card.paths.first_mut() {
            effect.additions = diff.file.additions;
            effect.deletions = diff.file.deletions;
        }
        card.diff = Some(diff);
    }

    fn git_file(&self, approval: &Approval, path: &RepoPath) -> Option<Changed> {
        let workspace = self.workspace(approval.workspace_id?).ok()?;
        let files = self.cx().ports.version.diff(&workspace.binding, &DiffSource::Uncommitted, std::slice::from_ref(path), true).ok()?;
        files.into_iter().find(|f| f.path == *path)
    }

    /// The job that was decided on and what ran under it afterwards.
    fn released(&self, approval: &Approval, job: Option<&Job>) -> Vec<JobRow> {
        let Some(decision) = approval.decision.as_ref().filter(|d| d.approve) else { return Vec::new() };
        let mut rows: Vec<JobRow> = job.map(job_row).into_iter().collect();
        if let Some(grant) = approval.grant_id {
            let filter = JobFilter { workspace_id: approval.workspace_id, limit: 200, ..JobFilter::default() };
            let jobs = self.cx().ports.store.jobs(&filter).unwrap_or_default();
            let under = |j: &&Job| matches!(j.basis, Some(dcc_core::gate::Basis::Grant { grant_id, .. }) if grant_id == grant) && j.updated_at >= decision.decided_at && j.job_id != approval.job_id;
            rows.extend(jobs.iter().filter(under).take(10).map(job_row));
        }
        rows
    }
}

/// All four scopes: what each covers, or why it is not offered.
fn scopes(approval: &Approval, names: &Names) -> Vec<ScopeView> {
    [Scope::Once, Scope::Job, Scope::Session, Scope::Workspace]
        .into_iter()
        .map(|scope| {
            let offered = approval.offered.contains(&scope);
            ScopeView {
                scope: super::rows::word(&scope),
                offered,
                covers: parts::covers(approval, scope),
                until_at_ms: parts::ends(scope, names.now),
                releases: if offered { parts::releases(approval, scope, &names.pending) } else { 0 },
                refusal: (!offered).then(|| parts::not_offered(approval, scope)),
            }
        })
        .collect()
}

/// Why a request cannot be decided now; none for one that can.
fn undecidable(approval: &Approval, names: &Names) -> Option<FailureView> {
    let view = |code: Code, message: &str, hint: &str| Some(FailureView { code: code.as_str().to_owned(), message: message.to_owned(), hint: Some(hint.to_owned()) });
    match approval.status {
        ApprovalStatus::Pending if names.now >= approval.expires_at => view(Code::ApprovalExpired, "The request has expired.", "Ask again: a new request shows the state of now."),
        ApprovalStatus::Stale => view(Code::StalePreview, "What it showed is no longer what would happen.", "Ask again: a new request shows the state of now."),
        ApprovalStatus::Expired => view(Code::ApprovalExpired, "The request expired undecided.", "Ask again: a new request shows the state of now."),
        _ => None,
    }
}

/// Why a standing grant did not cover the request.
fn grant_miss(approval: &Approval, names: &Names) -> Option<String> {
    if approval.tier == Tier::R3 {
        return Some("R3 is never granted".to_owned());
    }
    let by_agent = matches!(approval.requester.principal, Principal::Agent { .. });
    let near: Vec<_> = names
        .grants
        .iter()
        .filter(|g| g.intent == approval.intent && g.binding.by_agent == by_agent && g.binding.workspace_id == approval.workspace_id && g.issued_at < approval.requested_at)
        .collect();
    let last = near.iter().max_by_key(|g| g.issued_at)?;
    Some(match (last.revoked, last.used >= last.max_uses, last.expires_at <= approval.requested_at) {
        (true, ..) => "the grant for this was revoked".to_owned(),
        (_, true, _) => "the grant for this was used up".to_owned(),
        (_, _, true) => "the grant for this had expired".to_owned(),
        _ => "the grant for this is bound to another session, branch, packet or path".to_owned(),
    })
}
