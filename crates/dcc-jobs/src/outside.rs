//! Changes made without DCC: found by comparing the world with what was last known, recorded once, never claimed
//! (GOVERNANCE 5).
//!
//! Authority: canon (events). Invariants: heads are compared under the git lock, and a job's own moves are recorded
//! before it lets that lock go, so that no move of ours is taken for an outside one; one event for each finding. What the
//! file watcher says is only a reason to look here. On failure nothing is recorded and the next look finds it.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use serde_json::{Value, json};

use dcc_core::approval::Grant;
use dcc_core::event::{Correlation, Event, EventCode, EventOutcome, NewEvent};
use dcc_core::ids::{JobId, Oid, WorkspaceId};
use dcc_core::job::{Job, JobState};
use dcc_core::locus::scope;
use dcc_core::op::Op;
use dcc_core::outside::{HEAD_CODES, Head, OutsideKind, head_after};
use dcc_core::ports::version::{CommitFacts, FileSeen, HeadState};
use dcc_core::ports::{Appended, EventFilter, JobFilter, Order};
use dcc_core::principal::Actor;
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus, WorktreeBinding};
use dcc_core::{Outcome, RepoPath, Timestamp, limits};

use crate::context::Context;
use crate::ledger;

/// How far back the events of one workspace are read for the last known HEAD and for reported files.
const LOOK_BACK: usize = 200;

/// A worktree whose HEAD is not where it was last known to be.
struct Moved {
    workspace: Workspace,
    /// The event that last said where HEAD is.
    known_seq: u64,
    from: Head,
    to: Head,
}

/// Compares the HEAD of every worktree with what was last known and records what moved without DCC. Answers how many.
pub fn look(cx: &Context) -> Outcome<usize> {
    let _guard = cx.git_lock.lock().unwrap_or_else(PoisonError::into_inner);
    look_under_lock(cx)
}

/// When a process takes the project up: what happened while nobody looked. Files are looked at by a server only; a single
/// command would pay for every worktree. Never fails: what cannot be compared now is compared at the next look.
pub fn take_up(cx: &Context, serving: bool) {
    if let Err(failure) = look(cx) {
        eprintln!("dcc: heads could not be compared with the record: {failure}");
    }
    crate::repo_config::look(cx);
    if serving && cx.ports.recorder.is_writable() {
        for workspace in ledger::workspaces(cx.ports.recorder.as_ref()).unwrap_or_default() {
            look_at_told_files(cx, workspace.workspace_id, None);
        }
    }
}

/// As [`look_at_files`], for a caller that can do nothing about a failure.
pub fn look_at_told_files(cx: &Context, id: WorkspaceId, told: Option<&[RepoPath]>) {
    if let Err(failure) = look_at_files(cx, id, told) {
        eprintln!("dcc: workspace {}: files could not be compared with the scope: {failure}", id.short());
    }
}

/// The same for a caller that holds the git lock.
pub(crate) fn look_under_lock(cx: &Context) -> Outcome<usize> {
    if !cx.ports.recorder.is_writable() {
        // What is found would have nowhere to stand.
        return Ok(0);
    }
    let mut found = 0;
    for moved in moved_heads(cx)? {
        end_grants(cx, &moved)?;
        if matches!(cx.journal.try_append(vec![outside_move(cx, &moved)])?, Appended::Written(_)) {
            found += 1;
        }
    }
    Ok(found)
}

/// After a job that may write git, under its lock: the head that it moved is known from here on, and its own. One that
/// moved elsewhere meanwhile is somebody else's and is found by the next look.
pub(crate) fn keep_heads(cx: &Context, job: &Job) -> Outcome<()> {
    let mut events = Vec::new();
    let own = ledger::job(cx.ports.recorder.as_ref(), job.job_id)?.bindings.workspace_id.or(job.bindings.workspace_id);
    for moved in moved_heads(cx)?.into_iter().filter(|moved| own.is_none_or(|id| id == moved.workspace.workspace_id)) {
        end_grants(cx, &moved)?;
        let mut correlation = crate::runner::correlation(job);
        correlation.workspace_id = Some(moved.workspace.workspace_id);
        events.push(NewEvent::new(EventCode::HeadMoved, job.actor, json!({ "from": moved.from, "to": moved.to })).about(&correlation));
    }
    if events.is_empty() { Ok(()) } else { cx.journal.append(events).map(drop) }
}

/// What was granted on another branch ends with it, and does not live again when somebody comes back to that branch.
fn end_grants(cx: &Context, moved: &Moved) -> Outcome<()> {
    if moved.from.branch == moved.to.branch {
        return Ok(());
    }
    let id = moved.workspace.workspace_id;
    let branch = moved.to.branch.as_ref().map(|name| format!("refs/heads/{name}"));
    let is_over = |grant: &Grant| !grant.revoked && grant.binding.branch.is_some() && grant.binding.branch != branch;
    for grant in ledger::grants_in_time(cx.ports.recorder.as_ref(), id, cx.now())?.into_iter().filter(is_over) {
        let why = format!("HEAD was {}, it is {}", moved.from.text(), moved.to.text());
        let correlation = Correlation { workspace_id: Some(id), approval_id: Some(grant.approval_id), session_id: grant.binding.session_id, ..Correlation::default() };
        let payload = json!({ "grant_id": grant.grant_id, "reason": why });
        let ended = NewEvent::new(EventCode::GrantRevoked, Actor::SYSTEM, payload).about(&correlation).once(format!("revoked:{}", grant.grant_id));
        // Taken: somebody revoked it.
        cx.journal.try_append(vec![ended])?;
    }
    Ok(())
}

fn moved_heads(cx: &Context) -> Outcome<Vec<Moved>> {
    let recorder = cx.ports.recorder.as_ref();
    let workspaces: Vec<Workspace> = ledger::workspaces(recorder)?.into_iter().filter(|w| w.status != WorkspaceStatus::Archived).collect();
    let bindings: Vec<_> = workspaces.iter().map(|w| &w.binding).collect();
    let heads = cx.ports.version.heads(&cx.config.common_dir, &bindings)?;
    let mut moved = Vec::new();
    for (workspace, head) in workspaces.into_iter().zip(heads) {
        // A worktree that git does not list has no HEAD to compare; its health says so.
        let (Some(now), Some((known_seq, from))) = (head, known_head(cx, workspace.workspace_id)?) else { continue };
        let to = Head::from(&now);
        if from != to && !is_under_way(cx, &workspace, &now) {
            moved.push(Moved { workspace, known_seq, from, to });
        }
    }
    Ok(moved)
}

/// The worktree's latest commits. A trailer is text that anybody can write: the trailers of a commit that no job of the
/// record made are left out, so that it shows as what it is.
pub fn history(cx: &Context, worktree: &WorktreeBinding, limit: usize, paths: &[RepoPath]) -> Outcome<Vec<CommitFacts>> {
    let mut commits = cx.ports.version.log(worktree, limit, paths)?;
    for commit in &mut commits {
        if !is_governed(cx, commit)? {
            commit.trailers.clear();
        }
    }
    Ok(commits)
}

fn is_governed(cx: &Context, commit: &CommitFacts) -> Outcome<bool> {
    let named = commit.trailers.iter().find(|(key, _)| key == "DCC-Job").and_then(|(_, id)| id.parse::<JobId>().ok());
    let Some(job_id) = named else { return Ok(false) };
    let codes = vec![EventCode::Committed, EventCode::HeadMoved];
    let made = cx.ports.recorder.read(&EventFilter { job_id: Some(job_id), codes, ..EventFilter::default() })?;
    Ok(made.iter().filter_map(head_after).any(|head| head.oid.as_ref() == Some(&commit.oid)))
}

/// Where HEAD was last known to be, and the event that said so.
fn known_head(cx: &Context, id: WorkspaceId) -> Outcome<Option<(u64, Head)>> {
    let filter = EventFilter { workspace_id: Some(id), codes: HEAD_CODES.to_vec(), order: Order::Descending, limit: LOOK_BACK, ..EventFilter::default() };
    Ok(cx.ports.recorder.read(&filter)?.iter().find_map(|event| Some((event.seq, head_after(event)?))))
}

/// A rebase detaches HEAD for as long as it takes; what it came to is compared at its end.
fn is_under_way(cx: &Context, workspace: &Workspace, now: &HeadState) -> bool {
    matches!(now, HeadState::Detached { .. }) && matches!(cx.ports.version.operation_in_progress(&workspace.binding), Ok(Some(_)))
}

fn outside_move(cx: &Context, moved: &Moved) -> NewEvent {
    let Moved { workspace, from, to, .. } = moved;
    let common = &cx.config.common_dir;
    let is_forward = match (&to.branch, &from.oid) {
        (Some(branch), Some(oid)) => cx.ports.version.has_commit(common, &format!("refs/heads/{branch}"), oid).unwrap_or(false),
        _ => false,
    };
    let kind = OutsideKind::of_move(from, to, is_forward);
    let commits = match (kind, &from.oid, &to.oid) {
        (OutsideKind::Commit, Some(from), Some(to)) => cx.ports.version.ahead_behind(common, to.as_str(), from.as_str()).ok().map(|apart| apart.ahead),
        _ => None,
    };
    let payload = json!({
        "kind": kind, "from_oid": from.oid, "to_oid": to.oid, "from_branch": from.branch, "branch": to.branch, "commits": commits,
        "message": move_sentence(kind, from, to, commits),
    });
    ungoverned(workspace, payload).once(format!("outside:{}:{}", workspace.workspace_id, moved.known_seq))
}

fn move_sentence(kind: OutsideKind, from: &Head, to: &Head, commits: Option<u32>) -> String {
    let short = |oid: &Option<Oid>| oid.as_ref().map_or("nothing", Oid::short).to_owned();
    let branch = to.branch.as_deref().unwrap_or("HEAD");
    match (kind, commits) {
        (OutsideKind::Commit, Some(1)) => format!("{branch} went forward by 1 commit, {} to {}", short(&from.oid), short(&to.oid)),
        (OutsideKind::Commit, Some(n)) => format!("{branch} went forward by {n} commits, {} to {}", short(&from.oid), short(&to.oid)),
        (OutsideKind::Commit, None) => format!("{branch} got its first commit, {}", short(&to.oid)),
        (OutsideKind::Switch, _) => format!("HEAD was {}, it is {}", from.text(), to.text()),
        (OutsideKind::Reset | OutsideKind::Edit, _) => format!("{branch} was moved from {} to {}, which does not follow it", short(&from.oid), short(&to.oid)),
    }
}

/// Nobody decided it and nobody is named for it: who it was is not known.
fn ungoverned(workspace: &Workspace, payload: Value) -> NewEvent {
    let correlation = Correlation {
        wp_id: workspace.wp_id.clone(),
        mt_id: workspace.mt_id.clone(),
        workspace_id: Some(workspace.workspace_id),
        ..Correlation::default()
    };
    NewEvent::new(EventCode::OutOfBandChange, Actor::SYSTEM, payload).about(&correlation).outcome(EventOutcome::Unknown)
}

/// Looks for files outside the packet's scope that were changed in this worktree without DCC. `told` are paths that the
/// watcher named; without them every changed file is looked at, except deleted ones, which keep no time of their change.
pub fn look_at_files(cx: &Context, id: WorkspaceId, told: Option<&[RepoPath]>) -> Outcome<bool> {
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), id)?;
    let Some(wp_id) = workspace.wp_id.clone().filter(|_| workspace.status == WorkspaceStatus::Active && workspace.kind == WorkspaceKind::Worktree) else {
        return Ok(false);
    };
    let globs = cx.ports.locus.packet(&wp_id)?.map(|e| e.record.in_scope_paths).unwrap_or_default();
    if globs.is_empty() || told.is_some_and(|paths| scope::outside(&globs, paths).is_ok_and(|out| out.is_empty())) {
        return Ok(false);
    }
    // While DCC itself is at work there, what changes is judged by whoever watches that work.
    let Some(quiet_since) = quiet_since(cx, id)? else { return Ok(false) };
    let (seen, _) = cx.ports.version.observe(&workspace.binding, None)?;
    let head = Head::from(&seen.head);
    let known = reported_files(cx, id, &head)?;
    let mut fresh = scope::outside(&globs, seen.files.keys())?;
    fresh.retain(|path| !known.contains(path) && seen.files.get(path).is_some_and(|file| is_later(file, quiet_since, told.is_some_and(|t| t.contains(path)))));
    if fresh.is_empty() {
        return Ok(false);
    }
    let listed = &fresh[..fresh.len().min(limits::OBSERVED_PATHS_LISTED)];
    let payload = json!({
        "kind": OutsideKind::Edit, "from_oid": head.oid, "to_oid": head.oid, "branch": head.branch, "paths": listed, "path_count": fresh.len(),
        "message": format!("{} outside the scope of {wp_id} changed: {}", counted(fresh.len(), "file"), names(&fresh)),
    });
    cx.journal.append(vec![ungoverned(&workspace, payload)])?;
    Ok(true)
}

/// True when the file was changed after DCC last worked there. A deleted file keeps no time: it counts when it was named.
fn is_later(file: &FileSeen, quiet_since: Timestamp, was_told: bool) -> bool {
    match file.stamp {
        // The time of the last change to the inode: whoever writes the file cannot set it.
        Some((.., changed_ns)) => changed_ns > i128::from(quiet_since.as_ms()) * 1_000_000,
        None => was_told,
    }
}

/// Since when no job of DCC has been at work in the worktree; none while one is.
fn quiet_since(cx: &Context, id: WorkspaceId) -> Outcome<Option<Timestamp>> {
    let running = JobFilter { states: vec![JobState::Running], workspace_id: Some(id), ..JobFilter::default() };
    if cx.ports.store.jobs(&running)?.iter().any(|job| writes_files(job.op)) {
        return Ok(None);
    }
    let since = ledger::workspace(cx.ports.recorder.as_ref(), id)?.created_at;
    let ended = EventFilter { workspace_id: Some(id), codes: vec![EventCode::JobFinished], order: Order::Descending, limit: LOOK_BACK, ..EventFilter::default() };
    for event in cx.ports.recorder.read(&ended)? {
        if event.job_id.map(|job| ledger::job(cx.ports.recorder.as_ref(), job)).transpose()?.is_some_and(|job| writes_files(job.op)) {
            return Ok(Some(event.ts.max(since)));
        }
    }
    Ok(Some(since))
}

/// Operations that may change files of a worktree.
pub(crate) fn writes_files(op: Op) -> bool {
    match op {
        Op::FsWrite | Op::SessionRun | Op::SandboxRunRecipe | Op::SandboxRunCommand | Op::WorkspaceCreate | Op::WorkspaceImport | Op::WorkspaceRepair => true,
        Op::VersionCommit | Op::VersionBranch => false,
        _ => op.as_str().starts_with("version."),
    }
}

/// Files that were reported on top of this HEAD, as outside changes or as what an agent did without asking.
fn reported_files(cx: &Context, id: WorkspaceId, head: &Head) -> Outcome<BTreeSet<RepoPath>> {
    let filter = EventFilter {
        workspace_id: Some(id),
        codes: vec![EventCode::OutOfBandChange, EventCode::UngatedEffect],
        order: Order::Descending,
        limit: LOOK_BACK,
        ..EventFilter::default()
    };
    let on_this_head = |event: &Event| event.code == EventCode::UngatedEffect || event.payload["to_oid"] == json!(head.oid);
    let events = cx.ports.recorder.read(&filter)?;
    let paths = events.iter().filter(|e| on_this_head(e)).filter_map(|e| serde_json::from_value::<Vec<RepoPath>>(e.payload["paths"].clone()).ok());
    Ok(paths.flatten().collect())
}

/// `1 file`, `3 files`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The first few by name, the others by number.
pub(crate) fn names(paths: &[RepoPath]) -> String {
    let first: Vec<String> = paths.iter().take(3).map(RepoPath::display).collect();
    match paths.len().saturating_sub(3) {
        0 => first.join(", "),
        n => format!("{} and {n} more", first.join(", ")),
    }
}
