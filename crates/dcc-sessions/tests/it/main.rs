//! The backend against the scripted agent in its own process.

mod ending;
mod misbehaviour;
mod permissions;
mod sandboxed;
mod start;
mod support;
mod turns;
