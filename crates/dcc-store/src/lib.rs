//! The derived store: `devcc.db` and the worktrees' `workspace.json`.
//!
//! Authority: derived. Every row is a fold of `dcc-core` over recorder events, or a copy of a Locus record; the file may
//! be deleted at any time, also while in use, and feeding everything again gives the same rows.
//!
//! Invariants: events are applied in sequence without gaps, each exactly once; nothing here reads a clock into a row, so
//! two rebuilds are equal; no record is deleted by a cascade; a damaged file is moved aside and never removed; a file of
//! a newer schema is never written.
//!
//! Failure: a refused or failed apply leaves the rows as they were. Damage found later moves the file aside and starts
//! an empty one, which callers see as a cursor behind the recorder.

mod dump;
mod fault;
mod migrate;
mod open;
mod project;
mod query;
mod schema;
mod store;
#[cfg(test)]
mod tests;
pub mod workspace_json;

pub use open::{Opened, refusal_of};
pub use schema::SCHEMA_VERSION;
pub use store::SqliteStore;
pub use workspace_json::nested_repository;
