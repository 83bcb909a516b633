//! Wiring: directories, configuration, the project's lock, and the adapters behind the ports. Only this crate sees all.

mod brought_back;
pub mod checkpoint;
pub mod clock;
pub mod config;
pub mod dirs;
pub mod doctor;
#[cfg(debug_assertions)]
pub mod failpoint;
pub mod integrity;
pub mod lock;
pub mod open;
pub mod project;
pub mod read_only;
pub mod watch;

/// One line for the person on standard error, whatever the command prints.
pub fn say(text: &str) {
    eprintln!("dcc: {}", crate::cli::visible(text));
}
