//! The screen of a session's terminal.

use serde::{Deserialize, Serialize};

use dcc_core::ports::terminal::TerminalScreen;

use super::SessionRow;

/// A terminal as a page shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminalView {
    /// Only what its head names.
    pub session: SessionRow,
    /// None when no terminal is open.
    pub screen: Option<TerminalScreen>,
    /// Why nothing can be typed; none when it can.
    pub why_not: Option<String>,
}
