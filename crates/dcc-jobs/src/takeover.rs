//! A worktree's `workspace.json` taken up when the project is opened: one of version 0 is brought to version 1.0, one that
//! is gone is made anew (DATA 7).
//!
//! Authority: derived for the file; canon for what is taken over of the old one, once. Invariants: what git and the record
//! say stands, and a difference is said; a link that the file alone names is a hint and binds nothing, because an agent can
//! write the file. On failure the file is as it was and the next opening tries again.

use serde_json::{Map, Value, json};

use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::ids::WpId;
use dcc_core::ports::{Appended, JsonBefore, JsonStanding};
use dcc_core::principal::Actor;
use dcc_core::workspace::{Workspace, WorkspaceHealth, WorkspaceStatus};
use dcc_core::Outcome;

use crate::context::Context;
use crate::{ledger, repairs};

/// Looks at the file of every worktree that stands where it should; answers what a person should know.
pub fn all(cx: &Context) -> Vec<String> {
    let workspaces = cx.ports.store.workspaces().unwrap_or_default();
    let of_each = workspaces.iter().filter(|w| w.status != WorkspaceStatus::Archived).map(|workspace| {
        one(cx, workspace).unwrap_or_else(|failure| vec![format!("{}: workspace.json: {}", workspace.binding.worktree_path, failure.message)])
    });
    of_each.flatten().collect()
}

/// The same for one. A file that is up to date costs one look.
pub fn one(cx: &Context, workspace: &Workspace) -> Outcome<Vec<String>> {
    let before = match cx.ports.store.look_workspace_json(workspace)? {
        JsonStanding::Absent if workspace.binding.worktree().is_dir() => None,
        JsonStanding::VersionZero(before) => Some(before),
        // Health and the repairs name what is left alone.
        _ => return Ok(Vec::new()),
    };
    let health = cx.ports.version.probe(&workspace.binding)?.health;
    if !matches!(health, WorkspaceHealth::Ok | WorkspaceHealth::Locked) {
        return Ok(Vec::new());
    }
    let mut said = Vec::new();
    if let Some(before) = before {
        let (taken, differing) = taken(cx, workspace, &before)?;
        record(cx, workspace, taken)?;
        said.push("version 0 was brought to version 1.0".to_owned());
        said.extend(differing);
    }
    let now = ledger::workspace(cx.ports.recorder.as_ref(), workspace.workspace_id)?;
    if let Some(why) = cx.ports.store.write_workspace_json(&now, repairs::head_of(cx, &now)?.as_ref())? {
        said = vec![why];
    }
    Ok(said.into_iter().map(|said| format!("{}: workspace.json: {said}", workspace.binding.worktree_path)).collect())
}

/// What is taken over of the old file, and where the record says otherwise.
fn taken(cx: &Context, workspace: &Workspace, before: &JsonBefore) -> Outcome<(Map<String, Value>, Vec<String>)> {
    let (mut taken, mut differing) = (Map::new(), Vec::new());
    if before.workspace_id != workspace.workspace_id || before.project_id != workspace.project_id {
        differing.push(format!("it named the workspace {}; {} stands", before.workspace_id, workspace.workspace_id));
    }
    if before.modified_at < workspace.created_at {
        taken.insert("created_at".to_owned(), json!(before.modified_at));
    }
    if let Some(branch) = before.branch.as_ref().filter(|branch| workspace.branch.as_ref() != Some(*branch)) {
        differing.push(format!("it named the branch {branch}; {} stands", workspace.branch.as_deref().unwrap_or("a detached head")));
    }
    if let Some(named) = &before.linked_wp_id {
        let packet = WpId::parse(named).ok().map(|wp_id| cx.ports.locus.packet(&wp_id)).transpose()?.flatten().map(|entry| entry.record.wp_id);
        match (&workspace.wp_id, packet) {
            (Some(own), Some(packet)) if *own == packet => {}
            (Some(own), _) => differing.push(format!("it named the packet {named}; {own} stands")),
            (None, None) => differing.push(format!("it named the packet {named}, which is none of this project; nothing stands for it")),
            (None, Some(packet)) => {
                differing.push(format!("it named the packet {packet}, which is kept as a hint and binds nothing: dcc ws link {} {packet} does", workspace.workspace_id.short()));
                taken.insert("hinted_wp_id".to_owned(), json!(packet));
            }
        }
    }
    Ok((taken, differing))
}

/// Once for each file, so that the same one put there again adds nothing.
fn record(cx: &Context, workspace: &Workspace, taken: Map<String, Value>) -> Outcome<()> {
    let mut payload = taken;
    payload.insert("fix".to_owned(), json!("upgrade_json"));
    let about = Correlation { workspace_id: Some(workspace.workspace_id), ..Correlation::default() };
    let digest = dcc_core::canonical::digest("dcc.workspace_json.v0", &(workspace.workspace_id, &payload))?;
    let event = NewEvent::new(EventCode::WorkspaceRepaired, Actor::SYSTEM, Value::Object(payload)).about(&about).once(format!("workspace-json-0:{digest}"));
    match cx.journal.try_append(vec![event])? {
        Appended::Written(_) | Appended::Taken { .. } => Ok(()),
    }
}
