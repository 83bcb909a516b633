//! Running agents and recipes under the kernel's restrictions (GOVERNANCE 7).
//!
//! Authority: ephemeral. A run leaves nothing behind but what it wrote into its writable directories.
//!
//! How it works: DCC re-executes its own binary as a small single-threaded host ([`host_main`]). The host becomes the
//! reaper of everything below it, confines its one child (namespaces, no new privileges, capabilities, limits, Landlock, seccomp)
//! and starts the command. Where the machine lets it, the child first enters a mount namespace in which everything but
//! the writable directories is read-only. One socket between DCC and the host carries the specification, the host's reports and
//! DCC's commands; when it closes for whatever reason, the host ends the whole tree.
//!
//! Invariants: a restriction that cannot be set up means that the command never runs; nothing is promised in a posture
//! that a self-test did not see refused; the tree is empty when an ending is reported, or the report says what is left.
//!
//! On failure: HSK-503-SANDBOX-UNAVAILABLE names the layer that could not be set up.

mod confine;
mod engine;
mod filter;
mod host;
mod install;
mod mounts;
mod posture;
mod private;
mod probe;
mod profile;
mod run;
mod spawn;
mod spec;
mod terminal;
mod tree;

pub use engine::{LandlockSandbox, run_marker};
pub use host::host_main;
pub use posture::self_test;
pub use private::{PrivateDir, sweep_private};
pub use profile::{Network, Profile};
pub use spawn::{SandboxedChild, reap};
pub use spec::{EndReason, Ending, ExitReport, PORT_WORD, Spec, Stdin, free_port};
pub use terminal::Terminal;
pub use tree::sweep_marker;
