//! Locus on disk: one JSON record a file under `gov/`, and the task board mirror.
//!
//! Authority: canon for packets and micro-tasks; the board file is derived.
//! Invariants: the accepted version of a record is the one the latest recorder event names, and its bytes are an
//! artifact; the file is a copy of them. A file is replaced only when it is missing, holds the predecessor, or a person
//! restores it. Nothing outside `gov/` is read or written: no symbolic link is followed below it.
//! On failure: what cannot be read or differs is drift, told in a sentence; the accepted record goes on being used.

mod board;
mod fsroot;
mod index;
mod record_file;
mod store;

pub use board::{BOARD_BYTES_MAX, BOARD_FILE, BoardEntry, Problem, render};
pub use store::LocusStore;
