//! Checks of the machine: what a person would look at when something does not work.

use std::sync::Arc;

use dcc_core::ports::{JsonStanding, Locus as _, VersionEngine as _};
use dcc_core::workspace::{JSON_PATH, Workspace, WorkspaceKind, WorkspaceStatus, WorktreeBinding};
use dcc_core::{Outcome, RepoPath};

use super::project::Found;

/// One check: name, status word (ok, needs, fault, absent), evidence, and the command that mends it.
pub type Check = (String, String, String, Option<String>);

/// Cheap checks made when a project is opened.
pub fn machine_checks(found: &Found) -> Vec<Check> {
    let facts = &found.facts;
    let mut checks = vec![
        ("git".to_owned(), "ok".to_owned(), format!("{}, objects {}, refs {}", facts.git_version, facts.object_format, facts.ref_format), None),
        exclude_check(found),
    ];
    if found.is_initialised() {
        checks.push(match super::read_only::probe(&found.state_dir) {
            Ok(()) => ("project files".to_owned(), "ok".to_owned(), format!("{} can be written", found.state_dir.display()), None),
            Err(failure) => ("project files".to_owned(), "fault".to_owned(), format!("read only: {}", failure.message), failure.hint),
        });
    }
    if !facts.executable_keys.is_empty() {
        checks.push((
            "git configuration".to_owned(),
            "ok".to_owned(),
            format!("{} keys could run something and are neutralised: {}", facts.executable_keys.len(), facts.executable_keys.join(", ")),
            None,
        ));
    }
    checks
}

fn exclude_check(found: &Found) -> Check {
    let path = found.common_dir_path().join("info/exclude");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let there = super::project::EXCLUDE_LINES.iter().all(|line| text.lines().any(|l| l == *line));
    let (status, evidence) = if there { ("ok", "/.handshake/ is excluded in info/exclude") } else { ("needs", "/.handshake/ is not excluded") };
    ("exclude".to_owned(), status.to_owned(), evidence.to_owned(), (!there).then(|| "dcc init".to_owned()))
}

/// Every worktree where and as it was registered, and its linkage file: not tracked by git, and of a form that this
/// program knows. Asked of canon and of
/// the files themselves, so that it works while nobody can own the project.
pub fn workspace_checks(found: &Found) -> Vec<Check> {
    let registered = if found.is_initialised() {
        dcc_recorder::SqliteRecorder::open_read_only(found.state_dir.join("recorder.db")).and_then(|recorder| dcc_jobs::ledger::workspaces(&recorder)).unwrap_or_default()
    } else {
        Vec::new()
    };
    let mut checks = Vec::new();
    if !registered.iter().any(|w| w.kind == WorkspaceKind::Root) {
        checks.extend(workspace_check(found, &found.main, "workspace.json", None));
    }
    for workspace in registered.iter().filter(|w| w.status != WorkspaceStatus::Archived) {
        let name = match workspace.kind {
            WorkspaceKind::Root => "workspace.json".to_owned(),
            WorkspaceKind::Worktree => format!("workspace.json {}", workspace.branch.clone().unwrap_or_else(|| workspace.workspace_id.short())),
        };
        checks.extend(worktree_check(found, workspace).map_or_else(|| workspace_check(found, &workspace.binding, &name, Some(&workspace.workspace_id.short())), |broken| vec![broken]));
    }
    checks
}

/// How many records are shown by themselves; more have one cause.
const RECORD_ROWS: usize = 20;

/// Packet and micro-task files that are not as accepted, files that no event names, and those that were written back
/// lately. Canon is read as it stands: what is missing stays so until somebody opens the project for work.
pub fn record_checks(found: &Found) -> Outcome<Vec<Check>> {
    let recorder = Arc::new(dcc_recorder::SqliteRecorder::open_read_only(found.state_dir.join("recorder.db"))?);
    let artifacts = Arc::new(dcc_recorder::FileArtifacts::open_read_only(found.state_dir.join("artifacts"))?);
    let locus = dcc_locus::LocusStore::open_read_only(&found.state_dir.join("gov"), Arc::clone(&recorder) as _, artifacts)?;
    let (drift, strangers) = (locus.catch_up(&[])?, locus.strangers()?);
    let mut checks: Vec<Check> = drift
        .iter()
        .take(RECORD_ROWS)
        .map(|(key, sentence)| {
            let record = key.replace('/', " ");
            let fix = if strangers.iter().any(|(stranger, _)| stranger == key) {
                "move it away; dcc wp create makes packets".to_owned()
            } else {
                format!("dcc wp show {}, then dcc wp accept|restore {record}", record.split(' ').next().unwrap_or_default())
            };
            (format!("record {key}"), "needs".to_owned(), sentence.clone(), Some(fix))
        })
        .collect();
    if drift.len() > RECORD_ROWS {
        checks.push(("records".to_owned(), "needs".to_owned(), format!("{} more are not as accepted", drift.len() - RECORD_ROWS), None));
    }
    if drift.is_empty() {
        checks.push(("records".to_owned(), "ok".to_owned(), "packets and micro-tasks are as last accepted".to_owned(), None));
    }
    checks.extend(dcc_jobs::ledger::written_back(recorder.as_ref(), found.clock.now())?.into_iter().map(|(key, said)| (format!("record {key}"), "ok".to_owned(), said, None)));
    Ok(checks)
}

/// A worktree that does not stand as it was registered; none for one that does.
fn worktree_check(found: &Found, workspace: &Workspace) -> Option<Check> {
    let name = format!("worktree {}", workspace.branch.clone().unwrap_or_else(|| workspace.workspace_id.short()));
    match found.git.probe(&workspace.binding) {
        Ok(probe) if dcc_jobs::repairs::is_whole(&probe) => None,
        Ok(probe) => {
            let evidence = format!("{}: {}", probe.health.as_str().replace('_', " "), probe.message);
            Some((name, "needs".to_owned(), evidence, Some(format!("dcc ws repair {}", workspace.workspace_id.short()))))
        }
        Err(failure) => Some((name, "unknown".to_owned(), failure.message, failure.hint)),
    }
}

fn workspace_check(found: &Found, binding: &WorktreeBinding, name: &str, short: Option<&str>) -> Vec<Check> {
    let check = |status: &str, evidence: String, fix: Option<String>| (name.to_owned(), status.to_owned(), evidence, fix);
    let repair = |flag: &str| Some(short.map_or_else(|| "dcc init".to_owned(), |id| format!("dcc ws repair {id} --{flag}")));
    let mut checks = Vec::new();
    let tracked = || -> Outcome<bool> { found.git.is_tracked(binding, &RepoPath::new(JSON_PATH)?) };
    match tracked() {
        Ok(false) => {}
        Ok(true) => checks.push(check("needs", format!("git tracks {JSON_PATH}; it is derived and changes by itself"), repair("untrack-json"))),
        Err(failure) => checks.push(check("unknown", failure.message, failure.hint)),
    }
    match dcc_store::workspace_json::look(&binding.worktree()) {
        Ok(JsonStanding::Absent | JsonStanding::Known | JsonStanding::VersionZero(_)) => {}
        Ok(JsonStanding::Unknown { why, .. }) => checks.push(check("needs", format!("{why}; it is left alone"), repair("reinit-json"))),
        Ok(JsonStanding::Refused(sentence)) => checks.push(check("needs", sentence, None)),
        Err(failure) => checks.push(check("unknown", failure.message, failure.hint)),
    }
    if checks.is_empty() {
        checks.push(check("ok", "not tracked by git, and of a known form".to_owned(), None));
    }
    checks
}
