//! Who asks, who decides, over which surface. Pure.

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;

/// The three principals (GOVERNANCE 1). Only the operator decides or edits policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "principal", rename_all = "snake_case")]
pub enum Principal {
    /// Whoever holds the operator credential.
    Operator,
    /// An agent inside a session; it decides nothing.
    Agent { session_id: SessionId },
    /// DCC itself: recovery, expiry, derived work.
    System,
}

/// The recorder's actor_kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    Human,
    Agent,
    System,
}

/// Where an intent or a decision came in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// A controlling terminal of a command.
    Terminal,
    /// A same-origin browser session.
    Browser,
    /// The credential alone: scripts, `--json`, no terminal.
    Bearer,
    /// DCC's own work.
    Internal,
}

impl Surface {
    /// For a sentence: decided over ...
    pub fn words(self) -> &'static str {
        match self {
            Self::Terminal => "a terminal",
            Self::Browser => "a browser",
            Self::Bearer => "the credential",
            Self::Internal => "DCC's own work",
        }
    }
}

/// An intent's sender as the surface established it, never as the sender says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Actor {
    #[serde(flatten)]
    pub principal: Principal,
    pub surface: Surface,
    /// A person sat there: a browser session or a terminal. R3 needs it.
    pub attended: bool,
}

impl Actor {
    pub const SYSTEM: Self = Self { principal: Principal::System, surface: Surface::Internal, attended: false };
    pub fn operator(surface: Surface) -> Self {
        Self { principal: Principal::Operator, surface, attended: matches!(surface, Surface::Terminal | Surface::Browser) }
    }
    pub fn agent(session_id: SessionId) -> Self {
        Self { principal: Principal::Agent { session_id }, surface: Surface::Internal, attended: false }
    }
    /// The recorder's actor_kind. An operator over a bare credential still counts as the human who owns it.
    pub fn kind(&self) -> ActorKind {
        match self.principal {
            Principal::Operator => ActorKind::Human,
            Principal::Agent { .. } => ActorKind::Agent,
            Principal::System => ActorKind::System,
        }
    }
    /// The recorder's actor_id.
    pub fn id(&self) -> String {
        match self.principal {
            Principal::Operator => "operator".to_owned(),
            Principal::Agent { session_id } => session_id.to_string(),
            Principal::System => "dcc".to_owned(),
        }
    }
    pub fn is_operator(&self) -> bool {
        self.principal == Principal::Operator
    }
}

/// What a session, or the person, acts as (GOVERNANCE 1 and 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Coder,
    Validator,
    Human,
    /// A coder's rights without commit.
    Orchestrator,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coder => "coder",
            Self::Validator => "validator",
            Self::Human => "human",
            Self::Orchestrator => "orchestrator",
        }
    }
}
