//! workspace.create: a new branch and worktree for a packet (GOVERNANCE 5).

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{Oid, WpId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};
use crate::principal::Role;

/// Everything about the worktree to be made; paths absolute, escaped as in `workspace::escape_path`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorktreePlan {
    pub wp_id: WpId,
    pub common_dir: String,
    pub path: String,
    /// Short branch name, checked by git's own rules.
    pub branch: String,
    pub base: String,
    pub base_oid: Oid,
    pub role: Role,
}

impl PlanBody for WorktreePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Create worktree {} for {}", self.branch, self.wp_id),
            exactly: vec![
                PreviewItem::Fact { label: "new directory".into(), value: self.path.clone() },
                PreviewItem::Fact { label: "new branch".into(), value: self.branch.clone() },
                PreviewItem::Fact { label: "from".into(), value: format!("{} at {}", self.base, self.base_oid) },
            ],
            place: vec![PreviewFact::new("repository", &self.common_dir), PreviewFact::new("base commit", self.base_oid.as_str())],
            risk: "adds one branch and one directory beside the repository; nothing that exists is changed".into(),
            undo: "close or archive the workspace; the branch and directory stay until you remove them".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { branch: Some(self.branch.clone()), ..Requirement::of(Capability::plain(Axis::WorktreeManage), Tier::R1, IntentClass::WorktreeCreate) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![
            Precondition::PacketUnbound { wp_id: self.wp_id.clone() },
            Precondition::PathAbsent { path: self.path.clone() },
            Precondition::RefAbsent { name: format!("refs/heads/{}", self.branch) },
        ]
    }
}
