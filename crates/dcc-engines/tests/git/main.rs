//! The git engine against real repositories, each in a directory of its own with a HOME of its own.
#![allow(clippy::disallowed_methods, reason = "tests drive git and the file system as a user would")]

#[path = "../shared/clearance.rs"]
mod clearance;
mod commits;
mod files;
mod hostile;
mod observing;
mod odd_paths;
mod publishing;
mod reads;
mod refusals;
mod support;
mod worktrees;
