//! sandbox launcher
