//! The task board mirror (DATA 3): Locus is the desired state, `TASK_BOARD.md` an observed projection.
//!
//! Authority: derived. Invariants: only what stands inside the fenced zones is ours; all other bytes stay identical, line
//! endings and byte order mark included; rendering a rendering changes nothing.
//! On failure: a file that is not understood is never written; the message says why.

mod differences;
mod mirror;
mod render;
mod zones;

#[cfg(test)]
mod tests;

use dcc_core::WpId;
use dcc_core::locus::WpStatus;

pub(crate) use mirror::{Mirror, Written};
pub use render::render;

/// The board's name below `gov/`.
pub const BOARD_FILE: &str = "TASK_BOARD.md";
/// A larger file is no board that people read.
pub const BOARD_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// What the board shows of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoardEntry {
    pub wp_id: WpId,
    pub status: WpStatus,
    /// 0 (highest) to 4: the order in a lane, then the id.
    pub priority: u8,
    pub title: String,
}

/// Why a board file cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Heading of a lane (DATA 3).
pub(crate) fn heading(lane: WpStatus) -> &'static str {
    match lane {
        WpStatus::Stub => "Stub Backlog (Not Activated)",
        WpStatus::Ready => "Ready for Dev",
        WpStatus::InProgress => "In Progress",
        WpStatus::Blocked => "Blocked",
        WpStatus::Gated => "Gated (Awaiting Decision)",
        WpStatus::Done => "Done",
        WpStatus::Cancelled => "Superseded (Archive)",
    }
}

/// Token of a lane's entries (DATA 3).
pub(crate) fn token(lane: WpStatus) -> &'static str {
    match lane {
        WpStatus::Stub => "STUB",
        WpStatus::Ready => "READY_FOR_DEV",
        WpStatus::InProgress => "IN_PROGRESS",
        WpStatus::Blocked => "BLOCKED",
        WpStatus::Gated => "GATED",
        WpStatus::Done => "VALIDATED",
        WpStatus::Cancelled => "SUPERSEDED",
    }
}
