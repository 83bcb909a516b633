//! Agents: the client side of the Agent Client Protocol, the presets, and the scripted agent of demo and tests.
//!
//! Authority: ephemeral. Nothing here is canon: what an agent says or asks is handed to the `SessionHost`, which records it
//! before it returns. Synchronous threads only.
//!
//! Invariants: no permission is answered by anything but the host's decision or a withdrawal; only `allow_once` and
//! `reject_once` are ever chosen, by kind; no queue, buffer or thread count grows without a bound; an agent that breaks the
//! protocol costs its own session at most.

pub mod acp;
pub mod backends;
pub mod launch;
pub mod presets;
pub mod pty;
pub mod sandbox;
pub mod scripted;

pub use acp::{AcpBackend, AcpOptions, AgentTraits};
pub use backends::Backends;
pub use launch::{AgentExit, AgentProcess, Launched, Launcher};
