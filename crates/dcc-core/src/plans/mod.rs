//! The plan bodies, one per kind of effect. Each says itself what it needs, what must hold, and what a person sees.

mod agent;
mod attach;
mod budget;
mod command;
mod commit;
mod locus;
mod mend;
mod login;
mod recipe;
mod repair;
mod simple;
mod steer;
mod waiver;
mod worktree;

pub use agent::{AGENT_DIFF_BYTES_MAX, AgentRequestPlan, AskKind, FileWritePlan, Origin, SessionStartPlan, TurnPlan};
pub use attach::AttachPlan;
pub use budget::BudgetPlan;
pub use command::{CommandPlan, one_line};
pub use commit::{CommitChange, CommitPath, CommitPlan};
pub use locus::LocusPlan;
pub use mend::{Mending, WorktreeMend};
pub use login::LoginPlan;
pub use recipe::RecipePlan;
pub use repair::{ConfigAcceptance, ConfigChange, JsonRenewal, Repair, RepairPlan};
pub use simple::{SimpleAct, SimplePlan};
pub use steer::{CancelPlan, ClosePlan, Descendant, Ending, HandoffPlan, PausePlan, RoutePlan, SendAct, SendPlan, Uncommitted};
pub use waiver::{WaivePlan, WaiverEndPlan};
pub use worktree::WorktreePlan;
