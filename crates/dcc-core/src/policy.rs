//! The built-in policy as a table (GOVERNANCE 1). Pure and order-free: forbid over ask over permit.
//!
//! Policy files (operator, project) come later; they slot in behind the same [`Policy`] and may only be consulted through
//! [`Policy::rule`].

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::capability::{Axis, Capability};
use crate::ids::Sha256Hex;
use crate::principal::{Principal, Role};

/// What one rule says about one capability.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Rule {
    /// Known, and not something this principal can hold.
    NotHeld { capability: Capability, who: String },
    Forbid { capability: Capability, who: String },
    Ask { capability: Capability, who: String },
    Permit { capability: Capability, who: String },
}

impl Rule {
    /// One sentence naming capability, subject, decision and source.
    pub fn reason(&self) -> String {
        let (capability, who, word) = match self {
            Self::NotHeld { capability, who } => (capability, who, "not held"),
            Self::Forbid { capability, who } => (capability, who, "forbid"),
            Self::Ask { capability, who } => (capability, who, "ask"),
            Self::Permit { capability, who } => (capability, who, "permit"),
        };
        format!("{capability}, {who}: {word} (built-in policy)")
    }
}

/// The effective policy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Policy {
    /// Revision of the built-in table; part of the digest recorded with each decision.
    revision: u32,
}

impl Policy {
    pub fn built_in() -> Self {
        Self { revision: 6 }
    }
    /// Recorded with every decision, so that one can tell which rules were in force.
    pub fn digest(&self) -> Sha256Hex {
        canonical::digest("dcc.policy.v1", self).expect("the policy holds no floating-point number")
    }
    /// The rule for one capability; every axis is listed, so a new one cannot fall through to a permit.
    pub fn rule(&self, capability: &Capability, principal: Principal, role: Role) -> Rule {
        let capability = capability.clone();
        let who = match principal {
            Principal::Operator => "operator".to_owned(),
            Principal::System => "dcc".to_owned(),
            Principal::Agent { .. } => role.as_str().to_owned(),
        };
        match principal {
            Principal::Operator => operator(capability, who),
            Principal::System => system(capability, who),
            Principal::Agent { .. } => agent(capability, who, role),
        }
    }
}

/// The operator is asked for what changes a repository, for a command word for word, and for what leaves the sandbox.
fn operator(capability: Capability, who: String) -> Rule {
    match capability.axis {
        Axis::ReadRepo | Axis::VersionRead | Axis::LocusRead | Axis::LocusWrite | Axis::LocusReport | Axis::LocusGate | Axis::LocusSync | Axis::ShellRun
        | Axis::SessionStart | Axis::SessionSpawn | Axis::SessionSend | Axis::SessionControl | Axis::StoreMaintain | Axis::PolicyEdit | Axis::ApprovalDecide
        | Axis::FsWrite | Axis::AgentLogin => Rule::Permit { capability, who },
        // No configuration names a command that is typed: a person looks at what it resolved to, once or for the worktree.
        Axis::ShellSandboxed | Axis::VersionWrite | Axis::WorktreeManage | Axis::VersionRewrite | Axis::MergeProtected | Axis::ShellCustom | Axis::LogsIngest
        | Axis::McpEnable | Axis::NetHttp | Axis::SecretsUse | Axis::LocusDelete | Axis::AgentUnknown | Axis::SandboxWaive => Rule::Ask { capability, who },
    }
}

/// DCC itself only tends derived data.
fn system(capability: Capability, who: String) -> Rule {
    match capability.axis {
        Axis::LocusRead | Axis::ReadRepo | Axis::VersionRead | Axis::LocusSync | Axis::StoreMaintain | Axis::SessionControl => Rule::Permit { capability, who },
        _ => Rule::NotHeld { capability, who },
    }
}

fn agent(capability: Capability, who: String, role: Role) -> Rule {
    match capability.axis {
        Axis::ReadRepo | Axis::VersionRead | Axis::LocusRead | Axis::LocusReport | Axis::ShellRun => Rule::Permit { capability, who },
        Axis::VersionWrite | Axis::WorktreeManage | Axis::VersionRewrite | Axis::ShellCustom | Axis::ShellSandboxed | Axis::FsWrite
        | Axis::LogsIngest | Axis::McpEnable | Axis::NetHttp | Axis::SecretsUse | Axis::AgentUnknown | Axis::SessionSpawn => Rule::Ask { capability, who },
        Axis::MergeProtected if matches!(role, Role::Validator) => Rule::Ask { capability, who },
        Axis::MergeProtected | Axis::PolicyEdit | Axis::ApprovalDecide | Axis::AgentLogin | Axis::SandboxWaive => Rule::Forbid { capability, who },
        Axis::LocusWrite | Axis::LocusGate | Axis::LocusDelete | Axis::LocusSync | Axis::SessionStart | Axis::SessionSend
        | Axis::SessionControl | Axis::StoreMaintain => Rule::NotHeld { capability, who },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_command_word_for_word_asks_and_a_recipe_does_not() {
        let rule = |capability: &Capability| Policy::built_in().rule(capability, Principal::Operator, Role::Human);
        for axis in [Axis::ShellSandboxed, Axis::ShellCustom] {
            assert!(matches!(rule(&Capability::plain(axis)), Rule::Ask { .. }), "{axis:?}");
        }
        assert!(matches!(rule(&Capability::scoped(Axis::ShellRun, "test")), Rule::Permit { .. }));
    }

    /// The golden corpus: what nobody may ever turn into a permit.
    #[test]
    fn agents_never_decide_or_edit_policy() {
        let agent = Principal::Agent { session_id: Uuid::nil().into() };
        for role in [Role::Coder, Role::Validator, Role::Human, Role::Orchestrator] {
            for axis in [Axis::PolicyEdit, Axis::ApprovalDecide, Axis::AgentLogin, Axis::SandboxWaive] {
                assert!(matches!(Policy::built_in().rule(&Capability::plain(axis), agent, role), Rule::Forbid { .. }));
            }
        }
        assert!(matches!(Policy::built_in().rule(&Capability::plain(Axis::MergeProtected), agent, Role::Coder), Rule::Forbid { .. }));
        for asked in [Axis::VersionWrite, Axis::SessionSpawn] {
            assert!(matches!(Policy::built_in().rule(&Capability::plain(asked), agent, Role::Coder), Rule::Ask { .. }));
        }
        for not_held in [Axis::SessionStart, Axis::SessionSend, Axis::SessionControl] {
            assert!(matches!(Policy::built_in().rule(&Capability::plain(not_held), agent, Role::Coder), Rule::NotHeld { .. }));
        }
    }
}
