//! Plans: what exactly will run, frozen and hashed before anybody is asked (GOVERNANCE 2). Pure.
//!
//! Invariant: `plan_digest` covers operation, parameters, requirement, preconditions and inputs, and nothing that changes
//! from one asking to the next (no job id, no time, no requester's prose). The preview is computed from the plan alone.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::canonical;
use crate::capability::{Capability, Tier};
use crate::failure::Outcome;
use crate::ids::{Oid, Sha256Hex, WorkspaceId, WpId};
use crate::op::Op;
use crate::path::RepoPath;

const PLAN_DOMAIN: &str = "dcc.plan.v1";
const PREVIEW_DOMAIN: &str = "dcc.preview.v1";

/// The body of a plan, one type per operation. Bodies carry fully resolved parameters only.
pub trait PlanBody: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// What a person sees, computed from the body alone.
    fn preview(&self) -> Preview;
    /// What the operation needs; derived here, never taken from the request.
    fn requirement(&self) -> Requirement;
    /// What must still hold under the lock just before the first effect.
    fn preconditions(&self) -> Vec<Precondition>;
}

/// Closed list of what a wider scope may cover (GOVERNANCE 2): never a command prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "class", content = "scope", rename_all = "snake_case")]
pub enum IntentClass {
    LocusWrite,
    LocusGate,
    BoardSync,
    WorktreeCreate,
    WorkspaceState,
    SessionStart,
    /// A child of a session that asks for it.
    SessionSpawn,
    SessionControl,
    SessionTurn,
    /// A commit on the workspace's own feature branch.
    CommitOwnBranch,
    /// A recipe by its name.
    Recipe(String),
    /// Writing files inside the session's own worktree.
    EditOwnWorktree,
    /// A command that stays inside the session's own sandbox profile.
    CommandInSandbox,
    /// An agent asks for something without details we can judge.
    Unknown,
    GrantRevoke,
    StoreMaintain,
    AgentLogin,
    SandboxWaive,
}

impl IntentClass {
    /// One phrase for a scope button: "commits on its own branch".
    pub fn phrase(&self) -> String {
        match self {
            Self::LocusWrite => "changes to packets".into(),
            Self::LocusGate => "gate results".into(),
            Self::BoardSync => "board renderings".into(),
            Self::WorktreeCreate => "new worktrees".into(),
            Self::WorkspaceState => "workspace states".into(),
            Self::SessionStart => "session starts".into(),
            Self::SessionSpawn => "this one child".into(),
            Self::SessionControl => "session controls".into(),
            Self::SessionTurn => "turns of this session".into(),
            Self::CommitOwnBranch => "commits on its own branch".into(),
            Self::Recipe(name) => format!("runs of the recipe {name}"),
            Self::EditOwnWorktree => "file edits in its own worktree".into(),
            Self::CommandInSandbox => "commands inside its sandbox".into(),
            Self::Unknown => "this one request".into(),
            Self::GrantRevoke => "revocations".into(),
            Self::StoreMaintain => "maintenance of derived data".into(),
            Self::SandboxWaive => "waivers of the sandbox".into(),
            Self::AgentLogin => "logins of agents".into(),
        }
    }
}

/// What an operation needs to be cleared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Requirement {
    pub capabilities: Vec<Capability>,
    pub tier: Tier,
    pub intent: IntentClass,
    /// The workspace that will be read or written, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    /// The branch that would be written, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Paths that would be written, for the scope gate; empty when none or unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<RepoPath>,
    /// The command that would run, by the hash of its line; a grant for one command covers no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_sha256: Option<Sha256Hex>,
}

impl Requirement {
    /// Of one capability, in no workspace and about no branch, path or command; who needs those names them.
    pub fn of(capability: Capability, tier: Tier, intent: IntentClass) -> Self {
        Self { capabilities: vec![capability], tier, intent, workspace_id: None, branch: None, paths: Vec::new(), command_sha256: None }
    }
}

/// A fact that must still hold under the lock just before the first effect; else HSK-409-STALE-PREVIEW or a narrower code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "precondition", rename_all = "snake_case")]
pub enum Precondition {
    /// A ref of the repository points to exactly this.
    RefIs { name: String, oid: Oid },
    /// The ref does not exist.
    RefAbsent { name: String },
    /// The worktree's HEAD is this symbolic ref.
    HeadIs { workspace_id: WorkspaceId, name: String },
    /// Nothing exists at this absolute path.
    PathAbsent { path: String },
    /// No merge, rebase, cherry-pick or bisect runs in the worktree.
    NoOperationInProgress { workspace_id: WorkspaceId },
    /// A Locus record is at this version with this hash; absent when both are none.
    RecordIs { key: String, version: Option<u64>, sha256: Option<Sha256Hex> },
    /// The file of a Locus record holds exactly these bytes; none when it is gone or nothing that can be read.
    RecordFileIs { key: String, sha256: Option<Sha256Hex> },
    /// No other active worktree is bound to the packet.
    PacketUnbound { wp_id: WpId },
    /// A file of the worktree has this blob hash, or does not exist.
    FileIs { workspace_id: WorkspaceId, path: RepoPath, sha256: Option<Sha256Hex> },
    /// A session is in one of these states.
    SessionIn { session_id: crate::ids::SessionId, states: Vec<crate::session::SessionState> },
    /// The repository's configuration, as this worktree sees it, has this digest.
    ConfigIs { workspace_id: WorkspaceId, sha256: Sha256Hex },
    /// The self-test sees no sandbox on this machine.
    NoSandbox,
    /// This waiver of the worktree's sandbox holds now, and there is still no sandbox.
    Waived { workspace_id: WorkspaceId, waiver_id: crate::ids::JobId },
    /// The executable that would run has this hash.
    ExecutableIs { path: String, sha256: Sha256Hex },
}

/// A plan: the body with what was derived from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan<P> {
    pub op: Op,
    /// Which engine will execute it, named in results.
    pub engine: String,
    pub requirement: Requirement,
    pub preconditions: Vec<Precondition>,
    /// Artifacts the plan reads: message, script, patch.
    #[serde(default)]
    pub inputs: Vec<Sha256Hex>,
    pub body: P,
}

/// A plan that can no longer change, with its digest and the digest of its preview.
#[derive(Clone, Debug)]
pub struct Frozen<P> {
    plan: Plan<P>,
    plan_digest: Sha256Hex,
    preview: Preview,
    preview_digest: Sha256Hex,
}

impl<P: PlanBody> Frozen<P> {
    /// Derives requirement, preconditions and preview from the body and hashes them.
    pub fn freeze(op: Op, engine: &str, inputs: Vec<Sha256Hex>, body: P) -> Outcome<Self> {
        let plan = Plan {
            op,
            engine: engine.to_owned(),
            requirement: body.requirement(),
            preconditions: body.preconditions(),
            inputs,
            body,
        };
        Self::from_plan(plan)
    }
    /// Takes up a stored plan again; everything derived is derived anew, so a stored plan cannot claim less than it needs.
    pub fn from_plan(plan: Plan<P>) -> Outcome<Self> {
        if plan.requirement != plan.body.requirement() || plan.preconditions != plan.body.preconditions() {
            return Err(crate::Failure::new(crate::Code::Underdeclared, "the stored plan declares other needs than its body has"));
        }
        let plan_digest = canonical::digest(PLAN_DOMAIN, &plan)?;
        let preview = plan.body.preview();
        let preview_digest = canonical::digest(PREVIEW_DOMAIN, &preview)?;
        Ok(Self { plan, plan_digest, preview, preview_digest })
    }
    pub fn plan(&self) -> &Plan<P> {
        &self.plan
    }
    pub fn body(&self) -> &P {
        &self.plan.body
    }
    pub fn plan_digest(&self) -> Sha256Hex {
        self.plan_digest
    }
    pub fn preview(&self) -> &Preview {
        &self.preview
    }
    pub fn preview_digest(&self) -> Sha256Hex {
        self.preview_digest
    }
    pub(crate) fn into_plan(self) -> Plan<P> {
        self.plan
    }
}

/// What a person is shown before deciding, in the fixed order of the approval card (UX 2.5). Rendered by us from the
/// plan; a requester's words are never in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Preview {
    /// One sentence: "Commit 3 paths on dcc/WP-0001-x".
    pub title: String,
    /// What exactly.
    pub exactly: Vec<PreviewItem>,
    /// Where: worktree, branch, parent.
    pub place: Vec<PreviewFact>,
    /// What could go wrong and how far it reaches.
    pub risk: String,
    /// How it is undone, or that it cannot be.
    pub undo: String,
}

/// One labelled fact of a preview.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviewFact {
    pub label: String,
    pub value: String,
}

impl PreviewFact {
    pub fn new(label: &str, value: impl Into<String>) -> Self {
        Self { label: label.to_owned(), value: value.into() }
    }
}

/// A part of "what exactly".
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum PreviewItem {
    /// Text shown verbatim: a commit message, a prompt.
    Text { label: String, text: String },
    /// A command with its directory; argv as it will be passed, no shell.
    Command { argv: Vec<String>, cwd: String },
    /// Paths with what happens to each.
    Paths { paths: Vec<PreviewPath> },
    /// A unified diff of one file, cut at a limit and then marked as cut.
    Diff { path: RepoPath, text: String, cut: bool },
    Fact { label: String, value: String },
    /// Something the person must not miss.
    Warning { text: String },
}

/// One path of a preview.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviewPath {
    pub path: RepoPath,
    /// added, modified, deleted, renamed, mode, typechange.
    pub change: String,
    /// Git mode after, six octal digits; none when deleted.
    pub mode: Option<String>,
    /// Blob id after; none when deleted.
    pub oid: Option<Oid>,
    /// Lines; none for binary.
    pub added: Option<u32>,
    pub deleted: Option<u32>,
}
