//! Wiring: directories, configuration, the project's lock, and the adapters behind the ports. Only this crate sees all.

pub mod checkpoint;
pub mod clock;
pub mod config;
pub mod dirs;
pub mod doctor;
#[cfg(debug_assertions)]
pub mod failpoint;
pub mod lock;
pub mod open;
pub mod project;
pub mod read_only;
pub mod watch;
