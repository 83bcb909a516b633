//! The sandbox from outside and from inside. Threat model: the command is hostile and knows everything about DCC; it
//! runs as the operator's user (here often root) and wants to reach what its profile does not give.

#![cfg(target_os = "linux")]

#[path = "sandbox/attacks.rs"]
mod attacks;
#[path = "shared/clearance.rs"]
mod clearance;
#[path = "sandbox/commands.rs"]
mod commands;
#[path = "sandbox/freezing.rs"]
mod freezing;
#[path = "sandbox/lifetime.rs"]
mod lifetime;
#[path = "sandbox/metadata.rs"]
mod metadata;
#[path = "sandbox/profile.rs"]
mod profile;
#[path = "sandbox/terminal.rs"]
mod terminal;
#[path = "sandbox/world.rs"]
mod world;
