//! sandbox.waive, sandbox.revoke: agents without a sandbox in one worktree for a time, and the end of that.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{JobId, WorkspaceId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaivePlan {
    pub workspace_id: WorkspaceId,
    pub worktree: String,
    pub for_ms: i64,
    pub reason: String,
    /// Why no sandbox can be had, as the self-test says.
    pub missing: String,
}

impl PlanBody for WaivePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Let agents run without a sandbox for {}", exact_time(self.for_ms)),
            exactly: vec![
                PreviewItem::Fact { label: "for".into(), value: exact_time(self.for_ms) },
                PreviewItem::Text { label: "reason".into(), text: self.reason.clone() },
                PreviewItem::Fact { label: "why there is no sandbox".into(), value: self.missing.clone() },
                PreviewItem::Warning { text: "agents in this worktree could read and write all your files, your keys among them, and reach every network".into() },
                PreviewItem::Warning { text: "an agent that can read DCC's credential can act as you: nothing that DCC decides holds it any more".into() },
            ],
            place: vec![PreviewFact::new("worktree", &self.worktree)],
            risk: "no confinement at all for the agents of this worktree; recipes and commands stay refused".into(),
            undo: "dcc sandbox revoke ends it and the agents that run under it; what they did outside the worktree cannot be undone".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { workspace_id: Some(self.workspace_id), ..Requirement::of(Capability::plain(Axis::SandboxWaive), Tier::R3, IntentClass::SandboxWaive) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::NoSandbox]
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaiverEndPlan {
    /// (waiver, its worktree): one event for each.
    pub waivers: Vec<(JobId, WorkspaceId)>,
}

impl PlanBody for WaiverEndPlan {
    fn preview(&self) -> Preview {
        Preview {
            title: "End the waiver of the sandbox".into(),
            exactly: self.waivers.iter().map(|(waiver, _)| PreviewItem::Fact { label: "waiver".into(), value: waiver.to_string() }).collect(),
            place: Vec::new(),
            risk: "ends the agents that run without a sandbox".into(),
            undo: "ask for another waiver".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement::of(Capability::plain(Axis::PolicyEdit), Tier::R1, IntentClass::SandboxWaive)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// `1 hour 30 minutes`, `59 seconds`; nothing is rounded away, for a person decides by it.
fn exact_time(ms: i64) -> String {
    let units = [(3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "millisecond")];
    let mut left = ms;
    let mut words = Vec::new();
    for (unit, name) in units {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_says_the_time_exactly() {
        let said = |for_ms| {
            let ids = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
            let preview = WaivePlan { workspace_id: ids, worktree: "/w".into(), for_ms, reason: "r".into(), missing: "m".into() }.preview();
            let PreviewItem::Fact { value, .. } = &preview.exactly[0] else { panic!("{preview:?}") };
            assert_eq!(preview.title, format!("Let agents run without a sandbox for {value}"));
            value.clone()
        };
        assert_eq!((said(59_000), said(90_000), said(7_200_000)), ("59 seconds".into(), "1 minute 30 seconds".into(), "2 hours".into()));
        assert_eq!((said(1_000), said(5_430_500)), ("1 second".into(), "1 hour 30 minutes 30 seconds 500 milliseconds".into()));
    }
}
