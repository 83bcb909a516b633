//! The machine of a session (SESSIONS 2): which state may follow which, and which reason fits which state. Pure.

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Outcome};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SessionState {
    Created,
    Active,
    Paused,
    Blocked,
    Completed,
    Failed,
    Cancelled,
}

impl SessionState {
    pub const ALL: [Self; 7] = [Self::Created, Self::Active, Self::Paused, Self::Blocked, Self::Completed, Self::Failed, Self::Cancelled];
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Blocked => "BLOCKED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
    /// Reads the wire spelling, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(text))
    }
}

/// What a session waits for from a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Decision,
    Consent,
    Message,
    Review,
    /// It rests after a crash.
    Recovery,
}

/// Why a session is in its state; a closed list (SESSIONS 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateReason {
    /// Being set up, or a run of it waits for a slot.
    Dispatching,
    Running,
    ApprovalWait,
    ConsentMissing,
    ConsentRevoked,
    InputWait,
    ReviewWait,
    LockConflict,
    IsolationMissing,
    CapabilityMissing,
    MergeConflict,
    BudgetSoft,
    BudgetHard,
    RateLimited,
    OperatorPause,
    PolicyPause,
    CrashRecovery,
    CheckpointInvalid,
    DependencyWait,
    ApprovalDenied,
    ApprovalExpired,
    ToolError,
    AgentExit,
    Timeout,
    CancelledByOperator,
    CancelledByParent,
    CancelledByPolicy,
    Done,
}

impl StateReason {
    pub const ALL: [Self; 28] = [
        Self::Dispatching,
        Self::Running,
        Self::ApprovalWait,
        Self::ConsentMissing,
        Self::ConsentRevoked,
        Self::InputWait,
        Self::ReviewWait,
        Self::LockConflict,
        Self::IsolationMissing,
        Self::CapabilityMissing,
        Self::MergeConflict,
        Self::BudgetSoft,
        Self::BudgetHard,
        Self::RateLimited,
        Self::OperatorPause,
        Self::PolicyPause,
        Self::CrashRecovery,
        Self::CheckpointInvalid,
        Self::DependencyWait,
        Self::ApprovalDenied,
        Self::ApprovalExpired,
        Self::ToolError,
        Self::AgentExit,
        Self::Timeout,
        Self::CancelledByOperator,
        Self::CancelledByParent,
        Self::CancelledByPolicy,
        Self::Done,
    ];
    /// The wire spelling.
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
    /// Reads the wire spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
    /// What an open session of this reason needs of a person; none when it goes on, rests or ends without him. Every count, filter
    /// and colour of "needs you" is this one.
    pub fn need(self) -> Option<Need> {
        match self {
            Self::ApprovalWait => Some(Need::Decision),
            Self::ConsentMissing | Self::ConsentRevoked => Some(Need::Consent),
            Self::InputWait => Some(Need::Message),
            Self::ReviewWait => Some(Need::Review),
            Self::CrashRecovery => Some(Need::Recovery),
            _ => None,
        }
    }
    /// True when a session in this state can have this reason; anything else would be a lie on every screen.
    pub fn fits(self, state: SessionState) -> bool {
        use StateReason as R;
        match state {
            SessionState::Created => self == R::Dispatching,
            SessionState::Active => self == R::Running,
            SessionState::Blocked => matches!(
                self,
                R::Dispatching
                    | R::ApprovalWait
                    | R::ConsentMissing
                    | R::ConsentRevoked
                    | R::InputWait
                    | R::ReviewWait
                    | R::LockConflict
                    | R::IsolationMissing
                    | R::CapabilityMissing
                    | R::MergeConflict
                    | R::BudgetSoft
                    | R::BudgetHard
                    | R::RateLimited
                    | R::DependencyWait
                    | R::ToolError
                    | R::Timeout
            ),
            SessionState::Paused => matches!(self, R::OperatorPause | R::PolicyPause | R::CrashRecovery | R::BudgetSoft | R::BudgetHard | R::RateLimited),
            SessionState::Completed => self == R::Done,
            SessionState::Failed => matches!(
                self,
                R::ApprovalDenied | R::ApprovalExpired | R::ToolError | R::AgentExit | R::Timeout | R::CheckpointInvalid | R::IsolationMissing | R::CapabilityMissing | R::BudgetHard
            ),
            SessionState::Cancelled => matches!(self, R::CancelledByOperator | R::CancelledByParent | R::CancelledByPolicy),
        }
    }
}

/// One move of the machine (SESSIONS 2). Everything not in the table is refused with HSK-409-ILLEGAL-TRANSITION.
pub fn step(from: SessionState, to: SessionState) -> Outcome<SessionState> {
    use SessionState::{Active, Blocked, Cancelled, Completed, Created, Failed, Paused};
    let legal = match from {
        Created => matches!(to, Active | Blocked | Paused | Failed | Cancelled),
        Active => matches!(to, Blocked | Paused | Completed | Failed | Cancelled),
        Blocked => matches!(to, Active | Blocked | Paused | Completed | Failed | Cancelled),
        Paused => matches!(to, Active | Blocked | Completed | Cancelled | Failed),
        Completed | Failed | Cancelled => false,
    };
    if legal {
        Ok(to)
    } else {
        Err(Failure::new(Code::IllegalTransition, format!("a session cannot go from {} to {}", from.as_str(), to.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_person_is_open_and_said_by_its_reason() {
        use StateReason::{ApprovalWait, ConsentMissing, ConsentRevoked, CrashRecovery, InputWait, ReviewWait};
        let needing: Vec<_> = StateReason::ALL.into_iter().filter(|reason| reason.need().is_some()).collect();
        assert_eq!(needing, [ApprovalWait, ConsentMissing, ConsentRevoked, InputWait, ReviewWait, CrashRecovery]);
        for reason in needing {
            assert_eq!(StateReason::parse(&reason.as_str()), Some(reason));
            let states: Vec<_> = SessionState::ALL.into_iter().filter(|state| reason.fits(*state)).collect();
            let wanted = if reason == CrashRecovery { SessionState::Paused } else { SessionState::Blocked };
            assert_eq!(states, [wanted], "{reason:?}: a page tells them by reason and state");
        }
    }

    #[test]
    fn the_table_is_the_machine() {
        use SessionState::{Active, Blocked, Cancelled, Completed, Created, Failed, Paused};
        let legal = [
            (Created, vec![Active, Blocked, Paused, Failed, Cancelled]),
            (Active, vec![Blocked, Paused, Completed, Failed, Cancelled]),
            (Blocked, vec![Active, Blocked, Paused, Completed, Failed, Cancelled]),
            (Paused, vec![Active, Blocked, Completed, Cancelled, Failed]),
        ];
        for from in SessionState::ALL {
            for to in SessionState::ALL {
                let want = legal.iter().any(|(f, tos)| *f == from && tos.contains(&to));
                assert_eq!(step(from, to).is_ok(), want, "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn every_state_and_every_reason_has_a_partner() {
        for state in SessionState::ALL {
            assert!(StateReason::ALL.iter().any(|r| r.fits(state)), "{state:?}");
        }
        for reason in StateReason::ALL {
            assert!(SessionState::ALL.iter().any(|s| reason.fits(*s)), "{reason:?}");
        }
        assert!(!StateReason::Done.fits(SessionState::Failed) && !StateReason::Running.fits(SessionState::Blocked));
    }
}
