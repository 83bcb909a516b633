//! What concerns an agent: its start, its turns, what it asks for, the files it writes through us.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::capability::{Axis, Capability, Tier};
use crate::ids::{JobId, MessageId, SessionId, Sha256Hex, WorkspaceId};
use crate::path::RepoPath;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, PreviewPath, Requirement};
use crate::ports::sessions::Driver;
use crate::principal::Role;
use crate::session::{Lane, SessionState};

/// How an agent process comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    #[default]
    Fresh,
    /// A new session for the work of one that ended.
    Successor { of: SessionId },
    /// A session spawned by another, never wider than it.
    Child { of: SessionId },
    /// The session itself goes on: its agent still lives, or is started again.
    Resumed { session_id: SessionId, in_place: bool },
}

/// session.start, retry, spawn, resume: one agent process in one worktree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionStartPlan {
    pub workspace_id: WorkspaceId,
    pub agent: String,
    /// argv; no secret ever stands here.
    pub command: Vec<String>,
    /// Absolute path of the program.
    pub executable: String,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    pub git_dir: String,
    pub common_dir: String,
    pub read_paths: Vec<String>,
    pub connect_ports: Vec<u16>,
    pub role: Role,
    pub prompt: Option<String>,
    /// What drives it.
    #[serde(default)]
    pub driver: Driver,
    /// The agent's own id of an earlier conversation that is to be taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    #[serde(default)]
    pub origin: Origin,
    /// Which queue its runs wait in.
    #[serde(default)]
    pub lane: Lane,
    /// What it is for, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Globs it may write inside, besides the packet's scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// One free TCP port is chosen at the start, to listen on; `{port}` in command and environment stands for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listens: bool,
    /// Without a sandbox, because there is none here and a person waived it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<JobId>,
}

impl SessionStartPlan {
    /// True when no process is started: the agent lives.
    pub fn is_in_place(&self) -> bool {
        matches!(self.origin, Origin::Resumed { in_place: true, .. })
    }
    fn is_child(&self) -> bool {
        matches!(self.origin, Origin::Child { .. })
    }
    fn title(&self) -> String {
        match self.origin {
            Origin::Fresh => format!("Start {} as {}", self.agent, self.role.as_str()),
            Origin::Successor { of } => format!("Start {} again, as the successor of session {}", self.agent, of.short()),
            Origin::Child { of } => format!("Start {} as {} under session {}", self.agent, self.role.as_str(), of.short()),
            Origin::Resumed { session_id, in_place: true } => format!("Let session {} go on", session_id.short()),
            Origin::Resumed { session_id, in_place: false } => format!("Resume session {} with a new process of {}", session_id.short(), self.agent),
        }
    }
}

impl PlanBody for SessionStartPlan {
    fn preview(&self) -> Preview {
        let mut exactly = vec![PreviewItem::Command { argv: self.command.clone(), cwd: self.cwd.clone() }];
        if let Some(purpose) = self.purpose.as_ref().filter(|_| self.is_child()) {
            exactly.push(PreviewItem::Text { label: "what for".into(), text: purpose.clone() });
        }
        if let Some(prompt) = &self.prompt {
            exactly.push(PreviewItem::Text { label: "first prompt".into(), text: prompt.clone() });
        }
        if self.waiver.is_some() {
            exactly.push(PreviewItem::Warning { text: "unenforced: there is no sandbox here, and a person waived it".into() });
        }
        Preview {
            title: self.title(),
            exactly,
            place: vec![
                PreviewFact::new("worktree", &self.cwd),
                PreviewFact::new("program", &self.executable),
                // The port of DCC's own tools changes with each server, so it is no part of a plan.
                PreviewFact::new("network", if self.connect_ports.is_empty() { "none but the port of DCC's own tools".to_owned() } else { format!("TCP ports {:?} and the port of DCC's own tools", self.connect_ports) }),
            ]
            .into_iter()
            .chain((self.is_child() && !self.paths.is_empty()).then(|| PreviewFact::new("may write inside", self.paths.join(", "))))
            .chain(self.listens.then(|| PreviewFact::new("listens", "on one free TCP port, chosen at the start, and connects to it")))
            .collect(),
            risk: match self.waiver {
                None => "runs inside the sandbox: it writes its worktree and cannot commit".into(),
                Some(_) => "runs unconfined: it can do whatever you can".into(),
            },
            undo: "cancel the session; its file changes stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        let (axis, intent) = if self.is_child() { (Axis::SessionSpawn, IntentClass::SessionSpawn) } else { (Axis::SessionStart, IntentClass::SessionStart) };
        Requirement { workspace_id: Some(self.workspace_id), ..Requirement::of(Capability::plain(axis), Tier::R1, intent) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        use SessionState::{Active, Blocked, Created, Paused};
        let mut needs = match self.origin {
            Origin::Fresh | Origin::Successor { .. } => Vec::new(),
            Origin::Child { of } => vec![Precondition::SessionIn { session_id: of, states: vec![Created, Active, Paused, Blocked] }],
            Origin::Resumed { session_id, .. } => vec![Precondition::SessionIn { session_id, states: vec![Paused, Blocked] }],
        };
        needs.extend(self.waiver.map(|waiver_id| Precondition::Waived { workspace_id: self.workspace_id, waiver_id }));
        needs
    }
}

/// session.run: one turn, from prompt to end of turn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TurnPlan {
    pub session_id: SessionId,
    pub workspace_id: WorkspaceId,
    /// DCC's own words to the agent, before the first prompt of a conversation; never the person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preamble: Option<String>,
    pub prompt: String,
    /// The waiting message that this is, and as which revision it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<(MessageId, u32)>,
}

impl TurnPlan {
    /// What is sent, each a piece of its own.
    pub fn texts(&self) -> Vec<&str> {
        self.preamble.iter().chain([&self.prompt]).map(String::as_str).collect()
    }
}

impl PlanBody for TurnPlan {
    fn preview(&self) -> Preview {
        let preamble = self.preamble.iter().map(|text| PreviewItem::Text { label: "said by DCC before it".into(), text: text.clone() });
        Preview {
            title: "Send a prompt".into(),
            exactly: preamble.chain([PreviewItem::Text { label: "prompt".into(), text: self.prompt.clone() }]).collect(),
            place: Vec::new(),
            risk: "the agent works in its sandbox until the turn ends".into(),
            undo: "cancel the turn; its file changes stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { workspace_id: Some(self.workspace_id), ..Requirement::of(Capability::plain(Axis::SessionSend), Tier::R1, IntentClass::SessionTurn) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::SessionIn { session_id: self.session_id, states: vec![SessionState::Created, SessionState::Blocked, SessionState::Active] }]
    }
}

/// What sort of thing an agent asks to do, judged by us from kind, locations and raw input; a lower class is never
/// chosen from shell text (SESSIONS 5, fact 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    Edit,
    Execute,
    Read,
    Unknown,
}

/// capability.request: an agent's permission request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentRequestPlan {
    pub session_id: SessionId,
    pub workspace_id: WorkspaceId,
    pub tool_call_id: String,
    pub kind: AskKind,
    /// Paths inside the worktree that it names.
    pub paths: Vec<RepoPath>,
    /// Those of them where nothing stands yet, by our own look.
    pub created: Vec<RepoPath>,
    /// Paths it names that lie elsewhere; any makes the request unknown.
    pub foreign_paths: Vec<String>,
    /// The command it shows, as given; shown, never parsed to lower a class.
    pub command: Option<String>,
    /// Unified diffs of the edits it shows, rendered by us from its old and new text, per path, cut at a limit.
    pub diffs: Vec<(RepoPath, String)>,
    /// What else is known of it, (label, text): its input where nothing above says the same, where its command stands. The
    /// agent's own words are a claim and stand elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
    /// SHA-256 of the raw request, so that the digest binds to everything it said.
    pub raw_sha256: Sha256Hex,
    pub cwd: String,
}

impl PlanBody for AgentRequestPlan {
    fn preview(&self) -> Preview {
        let mut exactly = Vec::new();
        if let Some(command) = &self.command {
            exactly.push(PreviewItem::Command { argv: vec![command.clone()], cwd: self.cwd.clone() });
        }
        if !self.paths.is_empty() {
            let change = match self.kind {
                AskKind::Edit => "edit",
                AskKind::Read => "read",
                AskKind::Execute | AskKind::Unknown => "named",
            };
            exactly.push(PreviewItem::Paths {
                paths: self
                    .paths
                    .iter()
                    .map(|path| {
                        let change = if self.kind == AskKind::Edit && self.created.contains(path) { "added" } else { change };
                        PreviewPath { path: path.clone(), change: change.into(), mode: None, oid: None, added: None, deleted: None }
                    })
                    .collect(),
            });
        }
        for (path, text) in &self.diffs {
            exactly.push(PreviewItem::Diff { path: path.clone(), text: text.clone(), cut: text.len() >= AGENT_DIFF_BYTES_MAX });
        }
        for (label, text) in &self.details {
            exactly.push(PreviewItem::Text { label: label.clone(), text: text.clone() });
        }
        for path in &self.foreign_paths {
            exactly.push(PreviewItem::Warning { text: format!("it names {path}, which is outside its worktree") });
        }
        if self.kind == AskKind::Unknown {
            exactly.push(PreviewItem::Warning { text: "the agent gave no details that can be judged".into() });
        }
        let title = match (self.kind, self.paths.len()) {
            (AskKind::Edit, 1) if self.created.contains(&self.paths[0]) => format!("Create {}", self.paths[0].display()),
            (AskKind::Edit, 1) => format!("Edit {}", self.paths[0].display()),
            (AskKind::Edit, n) => format!("Edit {n} files"),
            (AskKind::Execute, _) => "Run a command in the sandbox".to_owned(),
            (AskKind::Read, _) => "Read files".to_owned(),
            (AskKind::Unknown, _) => "Something the agent does not explain".to_owned(),
        };
        Preview {
            title,
            exactly,
            place: vec![PreviewFact::new("worktree", &self.cwd)],
            risk: match self.kind {
                AskKind::Unknown => "unknown: treat it as the worst it could be inside the sandbox".into(),
                _ => "stays inside the session's sandbox and worktree".into(),
            },
            undo: "its file changes show in the review and can be left out of the commit".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        let (capability, tier, intent) = match self.kind {
            AskKind::Edit => (Capability::scoped(Axis::FsWrite, "own_worktree"), Tier::R1, IntentClass::EditOwnWorktree),
            AskKind::Execute => (Capability::plain(Axis::ShellSandboxed), Tier::R1, IntentClass::CommandInSandbox),
            AskKind::Read => (Capability::plain(Axis::ReadRepo), Tier::R0, IntentClass::CommandInSandbox),
            AskKind::Unknown => (Capability::plain(Axis::AgentUnknown), Tier::R2, IntentClass::Unknown),
        };
        Requirement {
            workspace_id: Some(self.workspace_id),
            paths: if self.kind == AskKind::Edit { self.paths.clone() } else { Vec::new() },
            command_sha256: self.command.as_ref().filter(|_| self.kind == AskKind::Execute).map(|command| Sha256Hex::of(command.as_bytes())),
            ..Requirement::of(capability, tier, intent)
        }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// A diff inside a permission preview is cut here: a preview has to fit an event payload.
pub const AGENT_DIFF_BYTES_MAX: usize = 8 * 1024;

/// fs.write: a file the agent writes through DCC (ACP fs/write_text_file).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileWritePlan {
    pub session_id: SessionId,
    pub workspace_id: WorkspaceId,
    pub path: RepoPath,
    /// The content, an artifact.
    pub content_sha256: Sha256Hex,
    pub content_bytes: u64,
    /// What stands there now; none when it does not exist.
    pub before_sha256: Option<Sha256Hex>,
}

impl PlanBody for FileWritePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Write {}", self.path.display()),
            exactly: vec![PreviewItem::Paths {
                paths: vec![PreviewPath {
                    path: self.path.clone(),
                    change: if self.before_sha256.is_some() { "modified" } else { "added" }.into(),
                    mode: None,
                    oid: None,
                    added: None,
                    deleted: None,
                }],
            }],
            place: vec![PreviewFact::new("content sha256", self.content_sha256.to_string()), PreviewFact::new("bytes", self.content_bytes.to_string())],
            risk: "changes one file of the session's own worktree".into(),
            undo: "the file shows as a change and can be left out of the commit".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { workspace_id: Some(self.workspace_id), paths: vec![self.path.clone()], ..Requirement::of(Capability::scoped(Axis::FsWrite, "own_worktree"), Tier::R1, IntentClass::EditOwnWorktree) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::FileIs { workspace_id: self.workspace_id, path: self.path.clone(), sha256: self.before_sha256 }]
    }
}
