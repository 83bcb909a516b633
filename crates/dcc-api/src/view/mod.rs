//! View models: one plain structure a screen, filled by the application and shown by every surface.
//!
//! Authority: derived. A view model is a copy made for reading; nothing is decided from it.
//! Invariants: ids are strings under their product names, times are milliseconds since 1970 UTC in
//! fields that end in `_at_ms`, jobs and sessions carry `state`, everything else `status`. Text that
//! came from a repository, an agent or a person is carried as it is; each surface makes it harmless.
//! Failure: a part that could not be read is `None` or carries a `FailureView`, never a guess.

mod board;
mod common;
mod health;
mod inbox;
mod jobs;
mod packet;
mod review;
mod search;
mod session;
mod sessions;
mod shell;
mod terminal;
mod timeline;
mod workspaces;

pub use board::*;
pub use common::*;
pub use health::*;
pub use inbox::*;
pub use jobs::*;
pub use packet::*;
pub use review::*;
pub use search::*;
pub use session::*;
pub use sessions::*;
pub use shell::*;
pub use terminal::*;
pub use timeline::*;
pub use workspaces::*;
