//! Steering held against the real corridor: recorder, artifacts, Locus, store and git are real, the agents are puppets.

#![allow(clippy::disallowed_methods, reason = "tests start git and write files of their own")]

mod budgeting;
mod calls;
mod families;
mod fulfilled;
mod moves;
mod pausing;
mod puppet;
mod races;
mod refusals;
mod rig;
mod scheduling;
mod sending;
mod spawning;
mod waiving;
