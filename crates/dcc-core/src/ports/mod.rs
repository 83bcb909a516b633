//! The ports: what the inside needs of the outside. Adapters implement them; only the binary wires both together.
//!
//! Invariants: a port that causes an effect takes a `Cleared` plan by value; reading ports take none and change nothing.
//! All calls are blocking; none assumes that one process owns the data for ever.

pub mod locus;
pub mod recorder;
pub mod reports;
pub mod sandbox;
pub mod search;
pub mod sessions;
pub mod store;
pub mod terminal;
pub mod version;
pub mod watch;

use crate::ids::{EventId, InstanceId};
use crate::time::Timestamp;
use uuid::Uuid;

pub use locus::{BoardFacts, Drifted, Locus, LocusEntry, MirrorState, StagedRecord, set_aside_path};
pub use recorder::{Appended, ArtifactStore, ChainHead, Checkpoint, EventFilter, Order, OutsideHead, Recorder, VerifyReport};
pub use sandbox::{Recent, RunReport, RunningCommand, Sandbox};
pub use search::{CodeHit, CodeQuery, CodeResults, CodeSearch};
pub use sessions::{
    AgentCatalogue, AgentDoor, AgentListing, AgentReport, AgentSpec, BackendCapabilities, Callback, Driver, LoginReport, LoginSpec, LoginState, McpHandout, PermissionAnswer, PermissionAsk, SessionBackend, SessionHost, StartExtras, Steer, TerminalExit,
    TerminalOutput, TerminalSpec, ToolReport, WorktreeFiles,
};
pub use store::{JobFilter, JsonBefore, JsonStanding, Store, StoreHealth};
pub use version::VersionEngine;

/// Time and fresh ids, given in so that tests decide both.
pub trait Clock: Send + Sync {
    /// Wall clock, UTC. May go backwards; nothing orders by it.
    fn now(&self) -> Timestamp;
    /// A fresh UUIDv7.
    fn fresh_id(&self) -> Uuid;
    /// Random bytes for a nonce or a token.
    fn random(&self) -> [u8; 32];
}

/// Which process this is, for the recorder.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub instance_id: InstanceId,
}

/// Convenience over [`Clock::fresh_id`].
pub fn fresh<T: From<Uuid>>(clock: &dyn Clock) -> T {
    T::from(clock.fresh_id())
}

/// An event's own id source; kept apart so that tests can pin it.
pub fn fresh_event_id(clock: &dyn Clock) -> EventId {
    fresh(clock)
}
