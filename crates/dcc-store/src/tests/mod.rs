//! Tests of the whole store, by topic.

mod documents;
mod files;
pub(crate) mod fixtures;
mod hostile;
mod packets;
mod projections;
mod rebuild;
mod v1_rows;
