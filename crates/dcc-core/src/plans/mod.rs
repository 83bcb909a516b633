//! The plan bodies, one per kind of effect. Each says itself what it needs, what must hold, and what a person sees.

mod agent;
mod commit;
mod locus;
mod recipe;
mod simple;
mod worktree;

pub use agent::{AGENT_DIFF_BYTES_MAX, AgentRequestPlan, AskKind, FileWritePlan, SessionStartPlan, TurnPlan};
pub use commit::{CommitChange, CommitPath, CommitPlan};
pub use locus::LocusPlan;
pub use recipe::RecipePlan;
pub use simple::{SimpleAct, SimplePlan};
pub use worktree::WorktreePlan;
