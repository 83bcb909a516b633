//! Acts that change only DCC's own state: workspace status and link, revocation, derived data.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{ApprovalId, GrantId, MtId, WorkspaceId, WpId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewItem, Requirement};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum SimpleAct {
    OpenWorkspace { workspace_id: WorkspaceId },
    CloseWorkspace { workspace_id: WorkspaceId },
    ArchiveWorkspace { workspace_id: WorkspaceId },
    LinkWorkspace { workspace_id: WorkspaceId, wp_id: WpId, mt_id: Option<MtId> },
    UnlinkWorkspace { workspace_id: WorkspaceId },
    RevokeGrant { grant_id: GrantId, approval_id: ApprovalId },
    RebuildStore,
    SyncBoard,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SimplePlan {
    pub act: SimpleAct,
    pub sentence: String,
}

impl PlanBody for SimplePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: self.sentence.clone(),
            exactly: vec![PreviewItem::Fact { label: "act".into(), value: self.sentence.clone() }],
            place: Vec::new(),
            risk: "changes only what DCC knows; no file of the repository".into(),
            undo: "by the opposite act".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        use SimpleAct as A;
        let (axis, intent) = match &self.act {
            A::OpenWorkspace { .. } | A::CloseWorkspace { .. } | A::ArchiveWorkspace { .. } | A::LinkWorkspace { .. } | A::UnlinkWorkspace { .. } => {
                (Axis::LocusWrite, IntentClass::WorkspaceState)
            }
            A::RevokeGrant { .. } => (Axis::SessionControl, IntentClass::GrantRevoke),
            A::RebuildStore => (Axis::StoreMaintain, IntentClass::StoreMaintain),
            A::SyncBoard => (Axis::LocusSync, IntentClass::BoardSync),
        };
        Requirement::of(Capability::plain(axis), Tier::R1, intent)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}
