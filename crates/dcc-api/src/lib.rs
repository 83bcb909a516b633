//! Intents in, view models out: the one door for every surface.
//!
//! Authority: derived for every answer; what changes canon goes through `dcc-jobs`.
//! Invariant: surfaces (web, CLI, MCP) see [`door::Door`] and [`view`] and nothing behind them.

pub mod agent_door;
pub mod app;
pub mod door;
pub mod view;

pub use app::App;
