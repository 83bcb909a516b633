//! The only crate that spawns a process or touches a worktree: git, code search, sandboxed commands, the file watcher.
//!
//! Invariants: nothing outside `exec` and the sandbox's own start calls `Command::new`; what causes an effect takes a `Cleared` plan by value; reads
//! change nothing and take no optional locks.

pub mod exec;
pub mod files;
pub mod git;
pub mod sandbox;
pub mod search;
pub mod watch;
