//! What concerns an agent: its start, its turns, what it asks for, the files it writes through us.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{SessionId, Sha256Hex, WorkspaceId};
use crate::path::RepoPath;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, PreviewPath, Requirement};
use crate::ports::sessions::Driver;
use crate::principal::Role;
use crate::session::SessionState;

/// session.start: one agent process in one worktree.
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
}

impl PlanBody for SessionStartPlan {
    fn preview(&self) -> Preview {
        let mut exactly = vec![PreviewItem::Command { argv: self.command.clone(), cwd: self.cwd.clone() }];
        if let Some(prompt) = &self.prompt {
            exactly.push(PreviewItem::Text { label: "first prompt".into(), text: prompt.clone() });
        }
        Preview {
            title: format!("Start {} as {}", self.agent, self.role.as_str()),
            exactly,
            place: vec![
                PreviewFact::new("worktree", &self.cwd),
                PreviewFact::new("program", &self.executable),
                PreviewFact::new("network", if self.connect_ports.is_empty() { "none".to_owned() } else { format!("TCP ports {:?}", self.connect_ports) }),
            ],
            risk: "runs inside the sandbox: it writes its worktree and cannot commit".into(),
            undo: "cancel the session; its file changes stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement {
            capabilities: vec![Capability::plain(Axis::SessionStart)],
            tier: Tier::R1,
            intent: IntentClass::SessionStart,
            workspace_id: Some(self.workspace_id),
            branch: None,
            paths: Vec::new(),
        }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// session.run: one turn, from prompt to end of turn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TurnPlan {
    pub session_id: SessionId,
    pub workspace_id: WorkspaceId,
    pub prompt: String,
}

impl PlanBody for TurnPlan {
    fn preview(&self) -> Preview {
        Preview {
            title: "Send a prompt".into(),
            exactly: vec![PreviewItem::Text { label: "prompt".into(), text: self.prompt.clone() }],
            place: Vec::new(),
            risk: "the agent works in its sandbox until the turn ends".into(),
            undo: "cancel the turn; its file changes stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement {
            capabilities: vec![Capability::plain(Axis::SessionSend)],
            tier: Tier::R1,
            intent: IntentClass::SessionTurn,
            workspace_id: Some(self.workspace_id),
            branch: None,
            paths: Vec::new(),
        }
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
            capabilities: vec![capability],
            tier,
            intent,
            workspace_id: Some(self.workspace_id),
            branch: None,
            paths: if self.kind == AskKind::Edit { self.paths.clone() } else { Vec::new() },
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
        Requirement {
            capabilities: vec![Capability::scoped(Axis::FsWrite, "own_worktree")],
            tier: Tier::R1,
            intent: IntentClass::EditOwnWorktree,
            workspace_id: Some(self.workspace_id),
            branch: None,
            paths: vec![self.path.clone()],
        }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::FileIs { workspace_id: self.workspace_id, path: self.path.clone(), sha256: self.before_sha256 }]
    }
}
