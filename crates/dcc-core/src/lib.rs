//! The nouns, the pure decisions and the ports of the Dev Command Center.
//!
//! No IO, no async, no clock: everything here can be tested with values alone. Adapters (recorder, Locus, store,
//! engines) implement the traits of [`ports`]; `dcc-jobs` drives them; only the binary wires both together.

pub mod approval;
pub mod budget;
pub mod canonical;
pub mod capability;
pub mod contract;
pub mod event;
pub mod failpoint;
pub mod failure;
pub mod gate;
pub mod ids;
pub mod job;
pub mod limits;
pub mod lines;
pub mod locus;
pub mod op;
pub mod outside;
pub mod path;
pub mod plain_diff;
pub mod plan;
pub mod plans;
pub mod policy;
pub mod ports;
pub mod principal;
pub mod redact;
pub mod session;
pub mod time;
pub mod waiver;
pub mod workspace;

pub use failure::{Code, Failure, Outcome};
pub use ids::*;
pub use path::RepoPath;
pub use time::Timestamp;
