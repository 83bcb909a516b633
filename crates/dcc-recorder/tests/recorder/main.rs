//! Tests of the recorder and the artifact store, by topic.
#![allow(clippy::disallowed_methods, reason = "tests damage files on purpose and start themselves as a process to kill")]

mod appends;
mod artifacts;
mod common;
mod faults;
mod kill;
mod outside;
mod slices;
mod tamper;
