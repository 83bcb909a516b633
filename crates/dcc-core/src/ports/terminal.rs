//! A session's terminal as seen from outside: bytes for whoever has a terminal of his own, a drawn screen for who has none.
//!
//! Authority: ephemeral. What a terminal showed becomes canon as a transcript, when its command or an attachment ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::ids::SessionId;
use crate::limits;

/// What a terminal showed from a place in its output on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TerminalChunk {
    /// Place of the first byte, counted from the terminal's beginning; later than asked for when that is no longer kept.
    pub from: u64,
    pub bytes: Vec<u8>,
    /// No more will come.
    pub ended: bool,
    /// Of the screen now. Output that is read across a change of it does not draw the same screen: see [`TerminalState`].
    pub size: TerminalSize,
}

/// Character cells. Within bounds, so that nobody can make a screen that no memory holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

impl TerminalSize {
    /// What a terminal has until somebody looks at it, or when it does not say.
    pub const USUAL: Self = Self { rows: 24, columns: 80 };

    /// HSK-400-INVALID-INPUT for a size that no screen has.
    pub fn new(rows: u16, columns: u16) -> Outcome<Self> {
        if rows == 0 || columns == 0 || rows > limits::TERMINAL_ROWS_MAX || columns > limits::TERMINAL_COLUMNS_MAX {
            let most = format!("1 to {} rows of 1 to {} columns", limits::TERMINAL_ROWS_MAX, limits::TERMINAL_COLUMNS_MAX);
            return Err(Failure::invalid(format!("{rows} rows of {columns} columns are no terminal; it has {most}")));
        }
        Ok(Self { rows, columns })
    }
    /// What fits into both.
    pub fn smaller(self, other: Self) -> Self {
        Self { rows: self.rows.min(other.rows), columns: self.columns.min(other.columns) }
    }
}

/// All that it takes to draw the terminal anew: fed to a fresh emulator of this size it gives the same screen, with the
/// lines above it; output from `next` on follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TerminalState {
    pub size: TerminalSize,
    pub next: u64,
    pub replay: String,
    pub ended: bool,
}

/// A colour of the terminal's own palette, or one given by its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalColour {
    /// 0 to 15 are named colours, 16 to 231 a cube of six steps, 232 to 255 greys.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// How a run of characters looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TerminalStyle {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreground: Option<TerminalColour>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<TerminalColour>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bold: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faint: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub italic: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub underline: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strikethrough: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inverse: bool,
}

/// Characters side by side that look alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalRun {
    pub text: String,
    #[serde(flatten)]
    pub style: TerminalStyle,
}

/// A line, blanks at its end left out.
pub type TerminalLine = Vec<TerminalRun>;

/// The screen as a picture of character cells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalScreen {
    pub size: TerminalSize,
    /// Lines that went off at the top, oldest first; a part when fewer were asked for.
    pub history: Vec<TerminalLine>,
    /// Those that are kept besides.
    pub history_left_out: usize,
    pub lines: Vec<TerminalLine>,
    /// Row and column from 0; none while it is hidden.
    pub cursor: Option<(u16, u16)>,
    /// The program draws the whole screen: it is on the second one, which has no history.
    pub full_screen: bool,
    /// Arrow keys are sent as `ESC O A` instead of `ESC [ A`.
    pub application_cursor: bool,
    /// What is pasted is put between marks.
    pub bracketed_paste: bool,
    pub ended: bool,
}

/// A session's terminal, to look at and to type into.
pub trait TerminalLink: Send + Sync {
    /// Output from this place on; waits at most so long for more when there is none yet and the size is `known` to the reader.
    fn read(&self, from: u64, known: Option<TerminalSize>, wait: Duration) -> TerminalChunk;
    /// For a screen of one's own.
    fn state(&self) -> TerminalState;
    /// The screen with at most so many lines of its history.
    fn screen(&self, history_max: usize) -> TerminalScreen;
    fn write(&self, bytes: &[u8]) -> Outcome<()>;
    fn resize(&self, size: TerminalSize) -> Outcome<()>;
}

/// Told when the screen of a session has changed; often, so it must be cheap.
pub type ScreenListener = Box<dyn Fn(SessionId) + Send + Sync>;

/// Text without escape sequences and control characters, for a sentence about it.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Past one escape sequence: CSI to its final letter, OSC to its terminator, else one character.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        Some('[') => {
            while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        }
        Some(']') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_holds_no_escape() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7} \u{1b}(Bend\r\n"), "red Bend\n");
    }

    #[test]
    fn a_size_is_within_its_bounds() {
        assert!(TerminalSize::new(1, 1).is_ok() && TerminalSize::new(300, 600).is_ok());
        for (rows, columns) in [(0, 80), (24, 0), (301, 80), (24, 601)] {
            assert!(TerminalSize::new(rows, columns).is_err(), "{rows} {columns}");
        }
    }
}
