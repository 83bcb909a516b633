//! workspace.repair: one fix for one thing that is wrong with a workspace.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{Sha256Hex, WorkspaceId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RepairPlan {
    pub workspace_id: WorkspaceId,
    /// The worktree's path.
    pub worktree: String,
    pub repair: Repair,
}

/// What is to be set right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "fix", rename_all = "snake_case")]
pub enum Repair {
    /// The repository's configuration, as it is now, is the accepted one.
    AcceptConfig(ConfigAcceptance),
}

/// A configuration that a person is asked to accept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigAcceptance {
    pub digest: Sha256Hex,
    pub accepted_digest: Sha256Hex,
    /// The keys behind the digest, an artifact.
    pub keys_sha256: Sha256Hex,
    /// True: every worktree sees it so; false: this worktree alone does.
    pub is_shared: bool,
    /// What differs from the accepted configuration, at most `limits::OBSERVED_PATHS_LISTED`.
    pub changes: Vec<ConfigChange>,
    pub change_count: usize,
}

/// One key that differs. Values are shown in part and without secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigChange {
    pub key: String,
    pub scope: String,
    /// `file:` and its path: where it stands, or stood.
    pub origin: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl ConfigChange {
    /// `core.hookspath (local, file:.git/config)`.
    pub fn place(&self) -> String {
        format!("{} ({}, {})", self.key, self.scope, self.origin)
    }
}

impl PlanBody for RepairPlan {
    fn preview(&self) -> Preview {
        let Repair::AcceptConfig(acceptance) = &self.repair;
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        let mut exactly: Vec<PreviewItem> = acceptance
            .changes
            .iter()
            .map(|change| PreviewItem::Text { label: change.place(), text: format!("was: {}\nis:  {}", value(&change.old), value(&change.new)) })
            .collect();
        if acceptance.change_count > acceptance.changes.len() {
            exactly.push(PreviewItem::Warning { text: format!("{} more keys differ and are not listed", acceptance.change_count - acceptance.changes.len()) });
        }
        Preview {
            title: format!("Accept the repository's changed configuration, {} {}", acceptance.change_count, if acceptance.change_count == 1 { "key" } else { "keys" }),
            exactly,
            place: vec![
                PreviewFact::new("worktree", &self.worktree),
                PreviewFact::new("holds for", if acceptance.is_shared { "every worktree of the repository" } else { "this worktree alone" }),
                PreviewFact::new("digest", acceptance.digest.to_string()),
            ],
            risk: "commits and new worktrees go on under it; DCC still runs nothing that it names, but your own git will".into(),
            undo: "change the configuration back; that then has to be accepted again".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement {
            capabilities: vec![Capability::plain(Axis::WorktreeManage)],
            tier: Tier::R2,
            // No wider scope: each configuration is looked at by itself.
            intent: IntentClass::Unknown,
            workspace_id: Some(self.workspace_id),
            branch: None,
            paths: Vec::new(),
            command_sha256: None,
        }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        let Repair::AcceptConfig(acceptance) = &self.repair;
        vec![Precondition::ConfigIs { workspace_id: self.workspace_id, sha256: acceptance.digest }]
    }
}
