//! Which events each operation writes and which joining ids they carry (DATA 5). One table; a test from outside runs
//! every operation of a built kind against it.

use crate::event::EventCode;
use crate::op::Op;

/// The joining ids an event may have to carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Id {
    Wp,
    Mt,
    Session,
    Workspace,
    Job,
}

impl Id {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wp => "wp_id",
            Self::Mt => "mt_id",
            Self::Session => "session_id",
            Self::Workspace => "workspace_id",
            Self::Job => "job_id",
        }
    }
}

/// What every completed job writes.
pub const EVERY_JOB: [EventCode; 7] = [
    EventCode::JobAccepted,
    EventCode::JobPlanned,
    EventCode::GateDecided,
    EventCode::CapabilityAction,
    EventCode::JobStateChange,
    EventCode::EffectObserved,
    EventCode::JobFinished,
];

/// What a completed job of this operation writes besides, with the ids of each; all carry the job's.
pub fn events_of(op: Op) -> Vec<(EventCode, Vec<Id>)> {
    use Id::{Job, Mt, Session, Workspace, Wp};
    let one = |code, ids: &[Id]| vec![(code, ids.iter().copied().chain([Job]).collect())];
    match op {
        Op::LocusCreateWp => one(EventCode::WpCreated, &[Wp]),
        Op::LocusGateWp => one(EventCode::WpGated, &[Wp]),
        Op::LocusCloseWp => one(EventCode::WpCompleted, &[Wp]),
        Op::LocusStartWp | Op::LocusBlockWp | Op::LocusUnblockWp | Op::LocusHoldWp | Op::LocusReleaseWp | Op::LocusCancelWp | Op::LocusReopenWp => {
            one(EventCode::WpStatusChanged, &[Wp])
        }
        Op::LocusDeleteWp => one(EventCode::WpDeleted, &[Wp]),
        // Accepting writes FR-EVT-WP-008 besides; restoring changes no record.
        Op::LocusAcceptEdit => one(EventCode::DriftSettled, &[Wp]),
        Op::LocusAddNote => one(EventCode::WpNoteAdded, &[Wp]),
        Op::LocusAddDependency => one(EventCode::DependencyAdded, &[Wp]),
        Op::LocusRemoveDependency => one(EventCode::DependencyRemoved, &[Wp]),
        Op::LocusRegisterMts => one(EventCode::MtRegistered, &[Wp]),
        Op::LocusStartMt | Op::LocusFailMt | Op::LocusBlockMt | Op::LocusSkipMt | Op::LocusReopenMt => one(EventCode::MtStatusChanged, &[Wp, Mt]),
        Op::LocusCompleteMt => one(EventCode::MtCompleted, &[Wp, Mt]),
        Op::WorkspaceCreate => vec![(EventCode::EffectPlanned, vec![Wp, Workspace, Job]), (EventCode::WorkspaceCreated, vec![Wp, Workspace, Job])],
        Op::WorkspaceOpen => one(EventCode::WorkspaceOpened, &[Workspace]),
        Op::WorkspaceClose => one(EventCode::WorkspaceClosed, &[Workspace]),
        Op::WorkspaceArchive => one(EventCode::WorkspaceArchived, &[Workspace]),
        // What the fix itself records comes besides.
        Op::WorkspaceRepair => one(EventCode::WorkspaceRepaired, &[Workspace]),
        Op::WorkspaceLink | Op::WorkspaceUnlink => one(EventCode::WorkspaceLinked, &[Workspace]),
        Op::VersionCommit => vec![(EventCode::EffectPlanned, vec![Wp, Workspace, Job]), (EventCode::Committed, vec![Wp, Workspace, Job])],
        Op::SandboxRunRecipe => vec![
            (EventCode::ToolCallStarted, vec![Wp, Workspace, Job]),
            (EventCode::ToolCallFinished, vec![Wp, Workspace, Job]),
            (EventCode::RecipeFinished, vec![Wp, Workspace, Job]),
        ],
        Op::SandboxRunCommand => vec![
            (EventCode::ToolCallStarted, vec![Wp, Workspace, Job]),
            (EventCode::ToolCallFinished, vec![Wp, Workspace, Job]),
            (EventCode::CommandFinished, vec![Wp, Workspace, Job]),
        ],
        Op::SessionStart => vec![(EventCode::SessionCreated, vec![Wp, Session, Workspace, Job])],
        Op::SessionRun => vec![(EventCode::SessionMessage, vec![Wp, Session, Workspace, Job]), (EventCode::SessionStateChange, vec![Wp, Session, Workspace, Job])],
        Op::FsWrite => vec![(EventCode::ToolCallStarted, vec![Wp, Session, Workspace, Job]), (EventCode::ToolCallFinished, vec![Wp, Session, Workspace, Job])],
        Op::SessionCancel | Op::SessionSend | Op::SessionResume | Op::SessionRoute => one(EventCode::SessionSteered, &[Session]),
        // A turn that works makes it FR-EVT-SESS-STEER-001 besides; the move is what every pause leaves.
        Op::SessionPause => one(EventCode::SessionStateChange, &[Session]),
        Op::SessionRetry | Op::SessionSpawn => one(EventCode::SessionCreated, &[Session, Workspace]),
        Op::HandoffWrite => one(EventCode::HandoffWritten, &[Session]),
        Op::SessionClose => one(EventCode::HandoffWaived, &[Session]),
        Op::SessionAttach => one(EventCode::EffectPlanned, &[Session, Workspace]),
        Op::SandboxWaive => one(EventCode::SandboxWaived, &[Workspace]),
        Op::SandboxRevoke => one(EventCode::SandboxWaiverEnded, &[Workspace]),
        Op::AgentLogin => one(EventCode::EffectPlanned, &[]),
        Op::BudgetSet => one(EventCode::BudgetSet, &[]),
        Op::GrantRevoke => one(EventCode::GrantRevoked, &[]),
        Op::StoreRebuild => vec![(EventCode::RebuildStarted, vec![Job]), (EventCode::RebuildFinished, vec![Job])],
        _ => Vec::new(),
    }
}
