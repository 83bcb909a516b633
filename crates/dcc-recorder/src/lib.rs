//! The Flight Recorder and the artifact store. Authority: canon.
//!
//! Invariants: what `append` acknowledged is durable and chained; headers are never changed or removed; secrets are
//! redacted before anything is hashed; an existing file that is not a sound recorder is refused, never overwritten.
//! Failure: a write that cannot be made durable answers HSK-500-RECORDER and leaves nothing behind; reads go on.
//!
//! | module | holds |
//! |---|---|
//! | `schema` | tables, triggers, creation, the checks made when a file is opened |
//! | `row` | one header, its hash, its way to and from [`dcc_core::event::Event`] |
//! | `writer` | the one writing thread with group commit |
//! | `outside` | when the head is kept outside the log |
//! | `read` | slices, single events, the pool of reading connections |
//! | `verify` | the walk over the whole chain |
//! | `export` | JSON Lines and mirrors |
//! | `artifacts` | content-addressed files |

mod artifacts;
mod export;
mod outside;
mod read;
mod recorder;
mod row;
mod schema;
mod verify;
mod writer;

pub use artifacts::FileArtifacts;
pub use recorder::{RecorderOptions, SqliteRecorder, project_id_of};
