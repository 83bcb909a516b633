//! What is wrong with a workspace's own files, and the repair that each finding offers. Reads only, but for
//! [`refresh_files`], which writes derived files again.
//!
//! Authority: derived. Invariant: a finding without a repair says so; nothing is guessed.

use serde::Serialize;

use dcc_core::ids::Oid;
use dcc_core::plans::{ConfigChange, JsonRenewal, Repair};
use dcc_core::ports::JsonStanding;
use dcc_core::ports::version::{HeadState, WorktreeProbe};
use dcc_core::workspace::{JSON_PATH, Workspace, WorkspaceHealth, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome, RepoPath, Sha256Hex};

use crate::context::Context;
use crate::ledger;
use crate::repo_config;

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub evidence: String,
    /// The repair's word for `workspace.repair`; none when there is none.
    pub fix: Option<&'static str>,
    /// What would be done, or what a person can do himself.
    pub would: String,
}

/// Everything found, worst first; empty when nothing is wrong.
pub fn findings(cx: &Context, workspace: &Workspace) -> Outcome<Vec<Finding>> {
    let mut found = Vec::new();
    let probe = cx.ports.version.probe(&workspace.binding)?;
    if !is_whole(&probe) {
        found.push(worktree_finding(cx, workspace, &probe));
        return Ok(found);
    }
    let now = cx.ports.version.config_facts(&cx.config.common_dir, Some(&workspace.binding))?;
    let accepted = repo_config::accepted(cx, Some(workspace.workspace_id))?;
    if now.digest != accepted.digest {
        let changes = repo_config::changes(cx, &accepted, &now)?;
        let keys: Vec<String> = changes.iter().take(5).map(ConfigChange::place).collect();
        found.push(Finding {
            name: "git configuration",
            evidence: format!("it is not the accepted one: {}", keys.join(", ")),
            fix: Some("accept_config"),
            would: "take it for accepted as it is now, after your approval of each key".to_owned(),
        });
    }
    match cx.ports.store.look_workspace_json(workspace)? {
        JsonStanding::Absent | JsonStanding::Known | JsonStanding::VersionZero(_) => {}
        JsonStanding::Unknown { bytes, why } => {
            let repair = renewal(&bytes, why);
            if let Repair::ReinitJson(JsonRenewal { why, kept_as, .. }) = &repair {
                let would = format!("keep its bytes as .handshake/{kept_as} and as an artifact, then make it anew");
                found.push(Finding { name: "workspace.json", evidence: format!("{why}; it is left alone"), fix: Some(repair.word()), would });
            }
        }
        JsonStanding::Refused(sentence) => {
            found.push(Finding { name: "workspace.json", evidence: sentence, fix: None, would: "nothing: remove it yourself, and the next start makes it anew".to_owned() });
        }
    }
    if let Some(index_oid) = cx.ports.version.index_entry(&workspace.binding, &RepoPath::new(JSON_PATH)?)? {
        found.push(Finding {
            name: "workspace.json in git",
            evidence: format!("git tracks {JSON_PATH} ({}); it is derived and changes by itself", index_oid.short()),
            fix: Some(Repair::UntrackJson { index_oid }.word()),
            would: "remove its index entry and keep the file, after your approval; nothing is committed".to_owned(),
        });
    }
    Ok(found)
}

/// True for a worktree that stands where and as it was registered; a lock only keeps git from moving it.
pub fn is_whole(probe: &WorktreeProbe) -> bool {
    matches!(probe.health, WorkspaceHealth::Ok | WorkspaceHealth::Locked)
}

/// The worktree as it is, when work may go on in it.
pub(crate) fn require_whole(cx: &Context, workspace: &Workspace) -> Outcome<WorktreeProbe> {
    let probe = cx.ports.version.probe(&workspace.binding)?;
    if is_whole(&probe) {
        return Ok(probe);
    }
    Err(Failure::new(Code::VcsRepoInvalid, probe.message).hint(format!("dcc ws repair {} says what mends it", workspace.workspace_id.short())))
}

/// A worktree that does not stand as registered, and what mends it.
pub fn worktree_finding(cx: &Context, workspace: &Workspace, probe: &WorktreeProbe) -> Finding {
    let evidence = format!("{}: {}", probe.health.as_str().replace('_', " "), probe.message);
    match cx.ports.version.plan_mend(&workspace.binding, workspace.branch.as_deref(), None) {
        Ok(mend) => Finding { name: "worktree", evidence, fix: Some(mend.how.word()), would: format!("{}, after your approval", mend.would()) },
        Err(refusal) => {
            let hint = refusal.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            Finding { name: "worktree", evidence, fix: None, would: format!("nothing: {}{hint}", refusal.message) }
        }
    }
}

/// How bytes that are not understood are kept and replaced.
pub(crate) fn renewal(bytes: &[u8], why: String) -> Repair {
    let found_sha256 = Sha256Hex::of(bytes);
    let kept_as = format!("workspace.json.kept-{}", &found_sha256.to_string()[..12]);
    Repair::ReinitJson(JsonRenewal { found_sha256, found_bytes: bytes.len() as u64, why, kept_as })
}

/// The commit that the worktree's HEAD names.
pub(crate) fn head_of(cx: &Context, workspace: &Workspace) -> Outcome<Option<Oid>> {
    Ok(match cx.ports.version.probe(&workspace.binding)?.head {
        Some(HeadState::Branch { oid, .. } | HeadState::Detached { oid }) => Some(oid),
        _ => None,
    })
}

/// Writes the `workspace.json` of every worktree that stands where it should: one that was deleted comes back. What cannot
/// be written is left; the file is derived and no decision rests on it. Answers how many were left, and why the last one was.
pub fn refresh_files(cx: &Context) -> (usize, Option<String>) {
    let mut left = (0, None);
    let workspaces = ledger::workspaces(cx.ports.recorder.as_ref()).unwrap_or_default();
    for workspace in workspaces.iter().filter(|w| w.status != WorkspaceStatus::Archived) {
        let healthy = cx.ports.version.probe(&workspace.binding).is_ok_and(|p| is_whole(&p));
        if !healthy {
            continue;
        }
        let head = head_of(cx, workspace).unwrap_or_default();
        match cx.ports.store.write_workspace_json(workspace, head.as_ref()) {
            Ok(None) => {}
            Ok(Some(why)) => left = (left.0 + 1, Some(why)),
            Err(failure) => left = (left.0 + 1, Some(failure.message)),
        }
    }
    left
}
