//! The operations: one closed table of names for every surface (DATA 2). Pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::failure::{Code, Failure, Outcome};

/// What recovery may do with a job whose effect cannot be proven (DATA 4, GOVERNANCE: at most one effect).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// Repeating gives the same world: the job may be queued again.
    Idempotent,
    /// The effect names itself beforehand (an oid, a path, a record hash): ask the world, finish or fail.
    Provable,
    /// Neither: stalled, for a person.
    Never,
}

macro_rules! ops {
    ($($name:ident $text:literal $repeat:ident $built:literal;)*) => {
        /// One operation.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Op { $($name,)* }
        impl Op {
            pub const ALL: &'static [Op] = &[$(Op::$name,)*];
            pub fn as_str(self) -> &'static str { match self { $(Op::$name => $text,)* } }
            pub fn repeat(self) -> Repeat { match self { $(Op::$name => Repeat::$repeat,)* } }
            /// False: the name is reserved and asking for it says HSK-501-NOT-BUILT.
            pub fn is_built(self) -> bool { match self { $(Op::$name => $built,)* } }
            pub fn parse(text: &str) -> Outcome<Self> {
                match text {
                    $($text => Ok(Op::$name),)*
                    _ => Err(Failure::invalid(format!("{text:?} is not an operation")).hint("the list stands at /api/v1/openapi.json")),
                }
            }
        }
    };
}

ops! {
    LocusCreateWp "locus.create_wp" Provable true;
    LocusUpdateWp "locus.update_wp" Provable true;
    LocusGateWp "locus.gate_wp" Provable true;
    LocusHoldWp "locus.hold_wp" Provable true;
    LocusReleaseWp "locus.release_wp" Provable true;
    LocusStartWp "locus.start_wp" Provable true;
    LocusBlockWp "locus.block_wp" Provable true;
    LocusUnblockWp "locus.unblock_wp" Provable true;
    LocusCloseWp "locus.close_wp" Provable true;
    LocusCancelWp "locus.cancel_wp" Provable true;
    LocusReopenWp "locus.reopen_wp" Provable true;
    LocusDeleteWp "locus.delete_wp" Provable true;
    LocusAddNote "locus.add_note" Provable true;
    LocusRegisterMts "locus.register_mts" Provable true;
    LocusStartMt "locus.start_mt" Provable true;
    LocusCompleteMt "locus.complete_mt" Provable true;
    LocusFailMt "locus.fail_mt" Provable true;
    LocusBlockMt "locus.block_mt" Provable true;
    LocusSkipMt "locus.skip_mt" Provable true;
    LocusReopenMt "locus.reopen_mt" Provable true;
    LocusRecordIteration "locus.record_iteration" Provable false;
    LocusAddDependency "locus.add_dependency" Provable true;
    LocusRemoveDependency "locus.remove_dependency" Provable true;
    LocusSyncTaskBoard "locus.sync_task_board" Idempotent true;
    LocusImportTaskBoard "locus.import_task_board" Never false;
    LocusAcceptEdit "locus.accept_edit" Provable true;
    WorkspaceCreate "workspace.create" Provable true;
    WorkspaceImport "workspace.import" Provable false;
    WorkspaceOpen "workspace.open" Idempotent true;
    WorkspaceClose "workspace.close" Idempotent true;
    WorkspaceArchive "workspace.archive" Idempotent true;
    WorkspacePrune "workspace.prune" Never false;
    WorkspaceRemove "workspace.remove" Never false;
    WorkspaceLink "workspace.link" Idempotent true;
    WorkspaceUnlink "workspace.unlink" Idempotent true;
    WorkspaceRepair "workspace.repair" Provable true;
    SessionStart "session.start" Never true;
    SessionRun "session.run" Never true;
    SessionSpawn "session.spawn" Never true;
    SessionSend "session.send" Never true;
    SessionPause "session.pause" Idempotent true;
    SessionResume "session.resume" Never true;
    SessionCancel "session.cancel" Idempotent true;
    SessionRetry "session.retry" Never true;
    SessionClose "session.close" Idempotent true;
    SessionAttach "session.attach" Never true;
    SessionRoute "session.route" Never true;
    CapabilityRequest "capability.request" Never true;
    FsWrite "fs.write" Provable true;
    VersionCommit "version.commit" Provable true;
    VersionAmend "version.amend" Never false;
    VersionBranch "version.branch" Never false;
    VersionSwitch "version.switch" Never false;
    VersionStash "version.stash" Never false;
    VersionRevertCommit "version.revert_commit" Never false;
    VersionRestore "version.restore" Never false;
    VersionReset "version.reset" Never false;
    VersionClean "version.clean" Never false;
    VersionMerge "version.merge" Never false;
    VersionRebase "version.rebase" Never false;
    VersionUndo "version.undo" Never false;
    CommentAdd "comment.add" Provable false;
    CommentSend "comment.send" Never false;
    ProjectAdd "project.add" Idempotent false;
    BudgetSet "budget.set" Idempotent true;
    SandboxRunRecipe "sandbox.run_recipe" Never true;
    SandboxRunCommand "sandbox.run_command" Never true;
    AgentLogin "agent.login" Never true;
    SandboxWaive "sandbox.waive" Provable true;
    SandboxRevoke "sandbox.revoke" Idempotent true;
    AnchorCreate "anchor.create" Provable false;
    AnchorLink "anchor.link" Provable false;
    AnchorNote "anchor.note" Provable false;
    AnchorSetStatus "anchor.set_status" Provable false;
    HandoffWrite "handoff.write" Provable true;
    HandoffWaive "handoff.waive" Provable false;
    ApprovalDecide "approval.decide" Provable true;
    GrantRevoke "grant.revoke" Idempotent true;
    PolicySet "policy.set" Never false;
    StoreRebuild "store.rebuild" Idempotent true;
    BundleExport "bundle.export" Idempotent false;
    ConversationIngest "conversation.ingest" Never false;
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for Op {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(|f| serde::de::Error::custom(f.message))
    }
}

/// A refused reserved operation.
pub fn not_built(op: Op) -> Failure {
    Failure::new(Code::NotBuilt, format!("{op} is not built yet")).hint("docs/roadmap.md says what is planned; nothing was changed")
}
