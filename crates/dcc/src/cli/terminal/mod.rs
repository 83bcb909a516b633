//! The terminal that a person sits at: raw keys, its size, its signals, and a painter for another terminal's screen.
//!
//! Authority: none. Invariants: whatever ends the command, the person's terminal is as it was; nothing that a program
//! wrote reaches it but characters, colours and the modes of keys and mouse.

pub mod painter;
pub mod raw;
