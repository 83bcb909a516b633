//! version.commit: exactly the selected paths, as the approved tree (GOVERNANCE 4).

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{MtId, Oid, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::path::RepoPath;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, PreviewPath, Requirement};

/// What happens to one selected path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitChange {
    Added,
    Modified,
    Deleted,
    TypeChanged,
}

/// One selected path with the entry it gets in the tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitPath {
    pub path: RepoPath,
    pub change: CommitChange,
    /// Git mode after, such as 100644; none when deleted.
    pub mode: Option<String>,
    /// Blob (or gitlink) id after; none when deleted.
    pub oid: Option<Oid>,
    /// Lines added and deleted against the parent; none for binary.
    pub added: Option<u32>,
    pub deleted: Option<u32>,
    /// The other half when git sees a rename.
    pub renamed_from: Option<RepoPath>,
}

/// A commit whose tree is already built, in quarantine, from the bytes that were read at plan time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitPlan {
    pub workspace_id: WorkspaceId,
    /// Full ref that HEAD names, such as refs/heads/x.
    pub branch_ref: String,
    pub parent_oid: Oid,
    pub parent_tree_oid: Oid,
    pub tree_oid: Oid,
    pub paths: Vec<CommitPath>,
    pub message_sha256: Sha256Hex,
    /// The message itself for the preview, at most limits::TEXT_BYTES_MAX.
    pub message: String,
    pub author_name: String,
    pub author_email: String,
    /// Findings of the secret scan, one sentence each.
    pub secret_findings: Vec<String>,
    /// What else to look at twice, one sentence each: modes that change, names that are one on other file systems, files
    /// that usually hold secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Trailers that name the work; the job's own is added when it runs.
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub session_id: Option<SessionId>,
    /// Selected paths outside the packet's scope, for the warning.
    pub out_of_scope: Vec<RepoPath>,
}

impl CommitPlan {
    /// The branch's short name.
    pub fn branch(&self) -> &str {
        self.branch_ref.strip_prefix("refs/heads/").unwrap_or(&self.branch_ref)
    }
}

impl PlanBody for CommitPlan {
    fn preview(&self) -> Preview {
        let count = self.paths.len();
        let noun = if count == 1 { "path" } else { "paths" };
        let mut exactly = vec![
            PreviewItem::Text { label: "message".into(), text: self.message.clone() },
            PreviewItem::Paths {
                paths: self
                    .paths
                    .iter()
                    .map(|p| PreviewPath {
                        path: p.path.clone(),
                        change: match p.change {
                            CommitChange::Added => "added",
                            CommitChange::Modified => "modified",
                            CommitChange::Deleted => "deleted",
                            CommitChange::TypeChanged => "type changed",
                        }
                        .to_owned(),
                        mode: p.mode.clone(),
                        oid: p.oid.clone(),
                        added: p.added,
                        deleted: p.deleted,
                    })
                    .collect(),
            },
        ];
        for finding in self.secret_findings.iter().chain(&self.warnings) {
            exactly.push(PreviewItem::Warning { text: finding.clone() });
        }
        for path in &self.out_of_scope {
            exactly.push(PreviewItem::Warning { text: format!("{} is outside the packet's scope", path.display()) });
        }
        Preview {
            title: format!("Commit {count} {noun} on {}", self.branch()),
            exactly,
            place: vec![
                PreviewFact::new("branch", self.branch()),
                PreviewFact::new("parent", self.parent_oid.as_str()),
                PreviewFact::new("tree", self.tree_oid.as_str()),
                PreviewFact::new("author", format!("{} <{}>", self.author_name, self.author_email)),
                PreviewFact::new("hooks", "user hooks do not run on this path"),
            ],
            risk: format!("writes one commit on {}; nothing outside the {count} {noun} changes", self.branch()),
            undo: "a revert commit".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement {
            workspace_id: Some(self.workspace_id),
            branch: Some(self.branch().to_owned()),
            paths: self.paths.iter().map(|p| p.path.clone()).collect(),
            ..Requirement::of(Capability::plain(Axis::VersionWrite), Tier::R1, IntentClass::CommitOwnBranch)
        }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![
            Precondition::HeadIs { workspace_id: self.workspace_id, name: self.branch_ref.clone() },
            Precondition::RefIs { name: self.branch_ref.clone(), oid: self.parent_oid.clone() },
            Precondition::NoOperationInProgress { workspace_id: self.workspace_id },
        ]
    }
}
