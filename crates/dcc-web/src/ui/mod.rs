//! Server-rendered screens.
//!
//! Authority: derived. Each screen is a pure function from a view model to HTML. With
//! `Shell::fragment` only the live parts are rendered, with the same ids, so that the page's script
//! can put them in place without losing focus, scroll or typed text.
//! Invariants: no inline style or script, unique ids, every string through [`crate::safe_text`].

pub mod board;
pub mod components;
pub mod health;
pub mod inbox;
pub mod jobs;
pub mod moves;
pub mod packet;
mod packet_drift;
mod packet_forms;
mod packet_side;
mod peek;
pub mod pages;
pub mod review;
pub mod search;
pub mod session;
mod session_composer;
mod session_ledger;
mod session_panels;
mod session_side;
pub mod sessions;
mod sessions_costs;
pub mod shell;
pub mod terminal;
pub mod timeline;
pub mod workspaces;

#[cfg(test)]
#[path = "../../examples/gallery_data/mod.rs"]
mod sample;
#[cfg(test)]
mod tests;

pub use board::board;
pub use health::health;
pub use inbox::{approval_page, inbox};
pub use jobs::{job_page, jobs};
pub use packet::packet;
pub use peek::peek;
pub use pages::{login, not_found, problem};
pub use review::{file_fragment, review};
pub use search::search;
pub use session::session;
pub use sessions::sessions;
pub use terminal::{terminal, terminal_screen};
pub use timeline::{event_page, timeline};
pub use workspaces::workspaces;
