//! Review of a workspace: what changed, its lines, and what a commit would carry.
//!
//! Authority: derived from git as it answers now. Failure: HSK-404-WORKSPACE when there is no such workspace; a worktree
//! that cannot be read says so and the page still renders.

use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::ports::version::{DiffSource, HeadState, Status};
use dcc_core::workspace::{Workspace, WorkspaceStatus};
use dcc_core::{Code, Outcome, RepoPath, WorkspaceId};

use super::super::App;
use super::changes::{commit_row, file_diff, file_row, file_rows};
use super::checkout::{Depth, health_failure, workspace_row};
use super::rows::{approval_row, failure_view, job_row};
use crate::view::{CheckView, FailureView, FileDiff, ReviewView, WpRef};

/// Changed files of one page: more is a megabyte of rows that nobody reads; the command line lists all.
const FILES_SHOWN: usize = 2_000;
const COMMITS_SHOWN: usize = 20;
const JOBS_READ: usize = 50;
const JOBS_SHOWN: usize = 10;

impl App {
    pub(super) fn review_view(&self, id: WorkspaceId, source: &DiffSource, file: Option<RepoPath>) -> Outcome<ReviewView> {
        let workspace = self.workspace(id)?;
        let names = self.names();
        let seen = self.ask(&workspace, Depth::Whole);
        let version = &self.cx().ports.version;
        let mut view = ReviewView {
            workspace: workspace_row(&workspace, Some(&seen), &names),
            mt_id: workspace.mt_id.as_ref().map(ToString::to_string),
            source: source_word(source).to_owned(),
            failure: health_failure(&seen, workspace.workspace_id).filter(|_| !seen.is_readable()),
            recipes: self.cx().config.recipes.keys().cloned().collect(),
            ..ReviewView::default()
        };
        let packet = workspace.wp_id.as_ref().and_then(|wp_id| self.cx().ports.locus.packet(wp_id).ok().flatten()).map(|e| e.record);
        view.wp = packet.as_ref().map(|p| WpRef { wp_id: p.wp_id.to_string(), title: p.title.clone(), status: p.status.as_str().to_owned() });
        let scope = packet.map(|p| p.in_scope_paths).unwrap_or_default();
        if view.failure.is_none() {
            view.failure = match version.status(&workspace.binding) {
                Ok(status) => in_the_way(&status),
                Err(failure) => Some(failure_view(&failure)),
            };
            self.fill_changes(&mut view, &workspace, source, file, &scope);
            view.commits = dcc_jobs::outside::history(self.cx(), &workspace.binding, COMMITS_SHOWN, &[]).unwrap_or_default().iter().map(commit_row).collect();
        }
        self.fill_commit(&mut view, &workspace);
        let jobs = self.cx().ports.store.jobs(&JobFilter { workspace_id: Some(id), limit: JOBS_READ, ..JobFilter::default() }).unwrap_or_default();
        view.checks = checks(&jobs);
        view.jobs = jobs.iter().filter(|j| j.op != Op::CapabilityRequest).take(JOBS_SHOWN).map(job_row).collect();
        let mut pending: Vec<_> = names.pending.iter().filter(|a| a.workspace_id == Some(id)).collect();
        pending.sort_by_key(|a| a.requested_at);
        view.approvals = pending.into_iter().map(|a| approval_row(a, &names, None)).collect();
        if view.wp.is_none() {
            view.packets = self.free_packets(&self.cx().ports.store.workspaces().unwrap_or_default());
        }
        Ok(view)
    }

    /// Files with counts; the lines of one.
    fn fill_changes(&self, view: &mut ReviewView, workspace: &Workspace, source: &DiffSource, file: Option<RepoPath>, scope: &[String]) {
        let files = match self.cx().ports.version.diff(&workspace.binding, source, &[], false) {
            Ok(files) => files,
            Err(failure) => {
                view.failure.get_or_insert_with(|| failure_view(&failure));
                return;
            }
        };
        view.files = file_rows(&files, scope);
        view.additions = view.files.iter().filter_map(|f| f.additions).sum();
        view.deletions = view.files.iter().filter_map(|f| f.deletions).sum();
        // The first file as the screen lists them: the packet's own work before what supports it.
        let first = ["source", "supporting", "unexpected"].iter().find_map(|group| view.files.iter().position(|f| f.group == *group)).and_then(|at| files.get(at));
        let open = file.as_ref().and_then(|path| files.iter().find(|f| f.path == *path)).or(first);
        if let Some(open) = open {
            view.diffs = vec![self.lines_of(workspace, source, &open.path, scope)];
        }
        if view.files.len() > FILES_SHOWN {
            view.files_cut = view.files.len() - FILES_SHOWN;
            // What the packet is about stays.
            view.files.sort_by_key(|f| !matches!(f.group.as_str(), "source"));
            view.files.truncate(FILES_SHOWN);
        }
    }

    fn lines_of(&self, workspace: &Workspace, source: &DiffSource, path: &RepoPath, scope: &[String]) -> FileDiff {
        let outside = dcc_core::locus::scope::outside(scope, [path]).is_ok_and(|out| !out.is_empty());
        match self.cx().ports.version.diff(&workspace.binding, source, std::slice::from_ref(path), true) {
            Ok(files) => match files.iter().find(|f| f.path == *path) {
                Some(file) => file_diff(file, file_row(file, outside)),
                None => FileDiff {
                    file: crate::view::FileRow { path: super::rows::path_view(path), in_scope: !outside, ..crate::view::FileRow::default() },
                    failure: Some(FailureView { code: Code::NotFound.as_str().to_owned(), message: format!("{} has no change now", path.display()), hint: Some("load the page again".to_owned()) }),
                    ..FileDiff::default()
                },
            },
            Err(failure) => FileDiff {
                file: crate::view::FileRow { path: super::rows::path_view(path), in_scope: !outside, ..crate::view::FileRow::default() },
                failure: Some(failure_view(&failure)),
                ..FileDiff::default()
            },
        }
    }

    pub(super) fn review_file(&self, id: WorkspaceId, source: &DiffSource, path: &RepoPath) -> Outcome<FileDiff> {
        let workspace = self.workspace(id)?;
        let packet = workspace.wp_id.as_ref().and_then(|wp_id| self.cx().ports.locus.packet(wp_id).ok().flatten());
        Ok(self.lines_of(&workspace, source, path, &packet.map(|e| e.record.in_scope_paths).unwrap_or_default()))
    }

    /// What a commit would carry, and why none is possible now.
    fn fill_commit(&self, view: &mut ReviewView, workspace: &Workspace) {
        let cx = self.cx();
        if let Some(wp) = &view.wp {
            let step = workspace.mt_id.as_ref().and_then(|mt| cx.ports.locus.micro_task(workspace.wp_id.as_ref()?, mt).ok().flatten()).map(|e| e.record.name);
            view.message = format!("{}: {}", wp.wp_id, step.unwrap_or_default());
            view.trailers.push(format!("DCC-WP: {}", wp.wp_id));
        }
        view.trailers.extend(workspace.mt_id.as_ref().map(|mt| format!("DCC-MT: {mt}")));
        view.trailers.push("DCC-Job: set by the job".to_owned());
        match cx.ports.version.identity_for(&workspace.binding) {
            Ok((name, mail)) => view.author = Some(format!("{name} <{mail}>")),
            Err(failure) => view.commit_refusal = Some(failure_view(&failure)),
        }
        if workspace.status != WorkspaceStatus::Active {
            view.commit_refusal.get_or_insert_with(|| FailureView {
                code: Code::IllegalTransition.as_str().to_owned(),
                message: format!("the workspace is {}", workspace.status.as_str()),
                hint: Some("open it again first".to_owned()),
            });
        }
        if view.source != "uncommitted" {
            view.commit_refusal.get_or_insert_with(|| FailureView {
                code: Code::VcsNothingToCommit.as_str().to_owned(),
                message: "this compares committed work; only uncommitted changes can be committed".to_owned(),
                hint: Some("compare uncommitted changes".to_owned()),
            });
        }
        if let Some(failure) = &view.failure {
            view.commit_refusal.get_or_insert_with(|| failure.clone());
        }
    }
}

fn source_word(source: &DiffSource) -> &'static str {
    match source {
        DiffSource::Uncommitted => "uncommitted",
        DiffSource::Branch { .. } => "branch",
        DiffSource::Commit { .. } => "commit",
    }
}

/// What keeps a commit from being made in this worktree, with one fix.
fn in_the_way(status: &Status) -> Option<FailureView> {
    let view = |code: Code, message: String, hint: &str| Some(FailureView { code: code.as_str().to_owned(), message, hint: Some(hint.to_owned()) });
    if let Some(operation) = &status.operation {
        return view(Code::VcsConflict, format!("a {operation} is in progress in this worktree"), "finish it or abort it in a terminal, then load the page again");
    }
    if let Some((path, age)) = &status.index_lock {
        return view(Code::Locked, format!("{path} exists, {age} s old: another git process is at work or died"), "when no git runs there, remove the file");
    }
    match &status.head {
        HeadState::Detached { oid } => view(Code::VcsRepoInvalid, format!("HEAD is detached at {}: a commit would belong to no branch", oid.short()), "switch to a branch: git switch BRANCH"),
        HeadState::Unborn { name } => view(Code::VcsRepoInvalid, format!("{name} has no commit yet"), "make the first commit in a terminal"),
        HeadState::Branch { .. } => None,
    }
}

/// The last run of each recipe on this workspace.
fn checks(jobs: &[Job]) -> Vec<CheckView> {
    let mut checks: Vec<CheckView> = Vec::new();
    for job in jobs.iter().filter(|j| j.op == Op::SandboxRunRecipe) {
        let name = job.params["recipe"].as_str().unwrap_or("recipe").to_owned();
        if checks.iter().any(|c| c.name == name) {
            continue;
        }
        let number = |key: &str| job.result.get(key).and_then(serde_json::Value::as_i64);
        let mut said: Vec<String> = Vec::new();
        said.extend(number("exit_code").map(|exit| format!("exit {exit}")));
        said.extend(number("tests_run").map(|n| super::rows::counted(n.max(0) as usize, "test")));
        said.extend(job.failure.as_ref().map(|f| f.message.clone()));
        if said.is_empty() {
            said.push(job.state.as_str().replace('_', " "));
        }
        let status = match job.state {
            JobState::Completed if number("exit_code") == Some(0) => "done",
            JobState::Completed | JobState::CompletedWithIssues | JobState::Failed | JobState::Poisoned => "failed",
            JobState::Running | JobState::Queued => "running",
            _ => "open",
        };
        checks.push(CheckView { name, status: status.to_owned(), detail: said.join(", "), job_id: Some(job.job_id.to_string()) });
    }
    checks
}
