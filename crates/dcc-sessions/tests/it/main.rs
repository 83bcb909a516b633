//! The backend against the scripted agent in its own process.

mod conversations;
mod ending;
mod fake;
mod faults;
mod misbehaviour;
mod permissions;
mod sandboxed;
mod start;
mod support;
mod transcripts;
mod turns;
