//! workspace.repair: one fix for one thing that is wrong with a workspace.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{Oid, Sha256Hex, WorkspaceId};
use crate::path::RepoPath;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, PreviewPath, Requirement};
use crate::workspace::{EXCLUDE_LINE, JSON_PATH};

use super::mend::WorktreeMend;

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
    /// A `workspace.json` that this program does not understand is kept under another name and made anew.
    ReinitJson(JsonRenewal),
    /// The index entry of a tracked `workspace.json` is removed; the file stays.
    UntrackJson {
        /// What the index holds now.
        index_oid: Oid,
    },
    /// The worktree's directory and git's registration are brought together again.
    Mend(WorktreeMend),
}

impl Repair {
    /// Its word in parameters and on the command line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::AcceptConfig(_) => "accept_config",
            Self::ReinitJson(_) => "reinit_json",
            Self::UntrackJson { .. } => "untrack_json",
            Self::Mend(mend) => mend.how.word(),
        }
    }
}

/// A `workspace.json` to be made anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JsonRenewal {
    pub found_sha256: Sha256Hex,
    pub found_bytes: u64,
    /// What is wrong with it.
    pub why: String,
    /// The name beside it that keeps its bytes.
    pub kept_as: String,
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
        match &self.repair {
            Repair::AcceptConfig(acceptance) => config_preview(acceptance, &self.worktree),
            Repair::ReinitJson(renewal) => renewal_preview(renewal, &self.worktree),
            Repair::UntrackJson { index_oid } => untrack_preview(index_oid, &self.worktree),
            Repair::Mend(mend) => mend.preview(),
        }
    }
    fn requirement(&self) -> Requirement {
        let (axis, tier) = match &self.repair {
            Repair::AcceptConfig(_) => (Axis::WorktreeManage, Tier::R2),
            Repair::ReinitJson(_) => (Axis::StoreMaintain, Tier::R1),
            // The index is the person's, and other tools read it.
            Repair::UntrackJson { .. } => (Axis::VersionWrite, Tier::R2),
            Repair::Mend(_) => (Axis::WorktreeManage, Tier::R1),
        };
        // No wider scope: each repair is looked at by itself.
        Requirement { workspace_id: Some(self.workspace_id), ..Requirement::of(Capability::plain(axis), tier, IntentClass::Unknown) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        match &self.repair {
            Repair::AcceptConfig(acceptance) => vec![Precondition::ConfigIs { workspace_id: self.workspace_id, sha256: acceptance.digest }],
            // The engines compare hash and index entry just before they act.
            Repair::ReinitJson(_) | Repair::UntrackJson { .. } => Vec::new(),
            Repair::Mend(mend) => mend.preconditions(),
        }
    }
}

fn config_preview(acceptance: &ConfigAcceptance, worktree: &str) -> Preview {
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
            PreviewFact::new("worktree", worktree),
            PreviewFact::new("holds for", if acceptance.is_shared { "every worktree of the repository" } else { "this worktree alone" }),
            PreviewFact::new("digest", acceptance.digest.to_string()),
        ],
        risk: "commits and new worktrees go on under it; DCC still runs nothing that it names, but your own git will".into(),
        undo: "change the configuration back; that then has to be accepted again".into(),
    }
}

fn json_path() -> RepoPath {
    RepoPath::new(JSON_PATH).expect("a relative path")
}

fn renewal_preview(renewal: &JsonRenewal, worktree: &str) -> Preview {
    let JsonRenewal { found_sha256, found_bytes, why, kept_as } = renewal;
    Preview {
        title: "Make workspace.json anew".into(),
        exactly: vec![
            PreviewItem::Fact { label: "what is wrong".into(), value: why.clone() },
            PreviewItem::Fact { label: "its bytes are kept as".into(), value: format!(".handshake/{kept_as}, and as an artifact ({found_bytes} bytes, {})", found_sha256.short()) },
            PreviewItem::Paths { paths: vec![PreviewPath { path: json_path(), change: "modified".into(), mode: None, oid: None, added: None, deleted: None }] },
        ],
        place: vec![PreviewFact::new("worktree", worktree)],
        risk: "replaces one derived file; nothing in it is trusted for a decision".into(),
        undo: "the old bytes stand beside it".into(),
    }
}

fn untrack_preview(index_oid: &Oid, worktree: &str) -> Preview {
    Preview {
        title: format!("Stop tracking {JSON_PATH}"),
        exactly: vec![
            PreviewItem::Paths { paths: vec![PreviewPath { path: json_path(), change: "untracked".into(), mode: None, oid: Some(index_oid.clone()), added: None, deleted: None }] },
            PreviewItem::Fact { label: "index".into(), value: "this one entry is removed; the file stays where it is".into() },
            PreviewItem::Fact { label: "info/exclude".into(), value: format!("the line {EXCLUDE_LINE} is added when it is missing") },
            PreviewItem::Warning { text: "nothing is committed: the removal shows as staged until you commit it yourself".into() },
        ],
        place: vec![PreviewFact::new("worktree", worktree)],
        risk: "changes the worktree's index by one entry".into(),
        undo: format!("git add --force {JSON_PATH} puts the entry back"),
    }
}
