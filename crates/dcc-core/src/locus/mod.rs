//! Locus: work packets, micro-tasks and their rules (DATA 1). Pure; records on disk are `dcc-locus`'s.

pub mod change;
pub mod family;
pub mod record;
pub mod rules;
pub mod scope;

pub use change::LocusChange;
pub use record::*;
