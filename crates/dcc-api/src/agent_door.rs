//! What the agent inside a session may ask of DCC, as tools: a closed table and the door behind it.
//!
//! Authority: derived for reads; jobs write canon. Invariants: which session calls was established by the surface (a
//! token), never by the agent's words; a tool reaches that session's workspace and packet and nothing else; there is no
//! tool that decides, edits policy or grants, and the one that leads to a session asks a person for a child of this one. A tool's name is its operation with `_` for the dot.
//! Failure: one failure with its code, recorded in the session's ledger.

use std::sync::Arc;

use serde_json::{Map, Value};

use dcc_core::op::Op;
use dcc_core::ports::AgentDoor;
use dcc_core::ports::sessions::SideEffect;
use dcc_core::{Outcome, SessionId};

/// The door for agents.
pub trait AgentTools: Send + Sync {
    /// Takes the server's way of handing out tokens; sessions that start from now on get one. A second server is refused.
    fn attach(&self, door: Arc<dyn AgentDoor>) -> Outcome<()>;
    /// Calls a tool for a session. Blocks, at most `limits::AGENT_TOOL_WAIT_MS_MAX` longer than the work itself.
    fn call(&self, session_id: SessionId, tool: AgentTool, arguments: Map<String, Value>) -> Outcome<ToolReply>;
}

/// What a tool answered.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolReply {
    pub result: Value,
    /// True for a job that ended without doing what was asked; its failure stands in the result.
    pub has_failed: bool,
}

macro_rules! tools {
    ($($name:ident $operation:literal $tool:literal $effect:ident $op:expr, $what:literal;)*) => {
        /// One tool.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum AgentTool { $(#[doc = $what] $name,)* }
        impl AgentTool {
            pub const ALL: &'static [AgentTool] = &[$(AgentTool::$name,)*];
            /// The name over MCP, which knows no dots.
            pub fn name(self) -> &'static str { match self { $(Self::$name => $tool,)* } }
            /// The name on every other surface.
            pub fn operation(self) -> &'static str { match self { $(Self::$name => $operation,)* } }
            /// The operation of the job it asks for; none for a read.
            pub fn op(self) -> Option<Op> { match self { $(Self::$name => $op,)* } }
            pub fn side_effect(self) -> SideEffect { match self { $(Self::$name => SideEffect::$effect,)* } }
            /// Said to the agent.
            pub fn what(self) -> &'static str { match self { $(Self::$name => $what,)* } }
        }
    };
}

tools! {
    GetWp "locus.get_wp" "locus_get_wp" Read None,
        "Your work packet with its micro-tasks, and what this session is bound to.";
    Search "context.search" "context_search" Read None,
        "Search the files of your worktree: tracked ones, and untracked ones that are not ignored. Files that look like secrets are left out.";
    OpenRef "context.open_ref" "context_open_ref" Read None,
        "Read a text file of your worktree, or some of its lines. Files that look like secrets are refused.";
    Status "version.status" "version_status" Read None,
        "The changed paths of your worktree.";
    Diff "version.diff" "version_diff" Read None,
        "Changed files with counts; the lines of one file when you name its path.";
    Commit "version.commit" "version_commit" Write Some(Op::VersionCommit),
        "Ask for a commit of exactly these paths on your branch, as they are now. A person sees the very bytes and decides. The answer is a job: state awaiting_user means that it waits for that person; poll job_get with its job_id and do not ask again.";
    RunRecipe "sandbox.run_recipe" "sandbox_run_recipe" Execute Some(Op::SandboxRunRecipe),
        "Run a recipe of the operator by its name, in a sandbox without network. The answer is a job with its exit code and the end of its output; state running means that it is not over: poll job_get.";
    RequestCapability "capability.request" "capability_request" Execute Some(Op::CapabilityRequest),
        "Ask a person for a yes to something that you describe in your own words. The answer is a job: completed means yes, failed means no with the reason, awaiting_user means that nobody has decided yet. A yes changes nothing about what your sandbox enforces.";
    Spawn "session.spawn" "session_spawn" Execute Some(Op::SessionSpawn),
        "Ask for another agent as a child of this session: it works in this worktree and packet, with your prompt, never wider than you, and what it uses counts for you. A person sees the prompt and decides. The answer is a job: awaiting_user means that nobody has decided yet. Once it is completed, job_get tells how the child stands and what it said last.";
    WriteHandoff "handoff.write" "handoff_write" Write Some(Op::HandoffWrite),
        "Write down what you hand over: what is done, what remains, decisions, uncertainties, blockers.";
    AddNote "locus.add_note" "locus_add_note" Write Some(Op::LocusAddNote),
        "Add a note to your work packet.";
    StartMt "locus.start_mt" "locus_start_mt" Write Some(Op::LocusStartMt),
        "Report that you began a micro-task of your packet. Only a person or a check says that one is done.";
    BlockMt "locus.block_mt" "locus_block_mt" Write Some(Op::LocusBlockMt),
        "Report that a micro-task of your packet is blocked, and why.";
    Restore "version.restore" "version_restore" Write Some(Op::VersionRestore),
        "Restore paths of your worktree.";
    GetJob "job.get" "job_get" Read None,
        "How a job that you asked for stands; waits for its end up to wait_ms milliseconds.";
}

impl AgentTool {
    /// By its name over MCP.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.name() == name)
    }

    /// False: it is not listed, and calling it says HSK-501-NOT-BUILT.
    pub fn is_built(self) -> bool {
        self.op().is_none_or(Op::is_built)
    }

    /// Those that an agent is told of.
    pub fn listed() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|tool| tool.is_built())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_operations_and_nothing_decides() {
        for tool in AgentTool::ALL {
            assert_eq!(tool.name(), tool.operation().replace('.', "_"));
            assert!(tool.name().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{tool:?}");
            assert_eq!(AgentTool::parse(tool.name()), Some(*tool));
            if let Some(op) = tool.op() {
                assert_eq!(op.as_str(), tool.operation());
            }
        }
        for never in ["approval_decide", "policy_set", "grant_revoke", "session_start", "session_run", "session_resume", "session_retry", "session_close", "session_send", "session_cancel", "locus_complete_mt", "fs_write", "store_rebuild", "sandbox_waive", "sandbox_revoke", "agent_login"] {
            assert_eq!(AgentTool::parse(never), None, "{never}");
        }
    }

    #[test]
    fn what_is_not_built_is_not_listed() {
        assert!(AgentTool::listed().all(AgentTool::is_built));
        assert!(AgentTool::listed().any(|tool| tool == AgentTool::Commit));
    }
}
