//! The job pipeline: every stateful operation of DCC walks plan -> gate -> approve -> apply -> record here.
//!
//! Authority: none of its own; it writes canon through the recorder and Locus ports and feeds the derived store.
//! Invariants: acceptance, decisions and planned effects are durable before the next step or the reply; an effect runs
//! with a `Cleared` plan or not at all; a denied, expired or stale job has had no writer in scope.
//! On failure of the recorder nothing stateful starts and reads go on.

pub mod approvals;
pub mod attachments;
pub mod budgets;
mod commands;
pub mod context;
mod correlation;
mod delivery;
pub mod facts;
mod holds;
pub mod host;
pub mod journal;
pub mod kinds;
pub mod ledger;
mod meters;
pub mod observe;
pub mod outside;
pub mod preconditions;
mod recent;
pub mod recovery;
pub mod repairs;
pub mod repo_config;
pub mod runner;
mod scheduler;
pub mod takeover;
mod unkept;
pub mod waivers;

pub use context::{Config, Context, Limits, Ports, Recipe};
pub use runner::Runner;

#[cfg(test)]
mod tests;
