//! A terminal's screen, made from what a program wrote to it.
//!
//! Authority: ephemeral. Invariants: its size is what [`Emulator::resize`] said and nothing that the program writes; lines
//! above the screen are kept up to `limits::TERMINAL_HISTORY_LINES`; no cell holds a character that acts, hides or has no
//! width; fed to another emulator, [`Emulator::replay`] gives the same screen.
//! Failure: none; any bytes draw something.

use std::fmt::Write as _;

use avt::parser::{Function, Parser};
use avt::terminal::Terminal;
use avt::{Color, Line, Pen};

use dcc_core::limits::TERMINAL_HISTORY_LINES;
use dcc_core::ports::terminal::{TerminalColour, TerminalLine, TerminalRun, TerminalScreen, TerminalSize, TerminalStyle};

use super::modes::{Modes, Question};

/// Answers of one piece of output; a program that asks more has no use for them.
const ANSWERS_MAX: usize = 16;

pub struct Emulator {
    parser: Parser,
    terminal: Terminal,
    modes: Modes,
    size: TerminalSize,
    /// Bytes of a character whose other bytes have not come.
    cut: Vec<u8>,
    /// Lines that went off the first screen, those no longer kept included.
    dropped: u64,
}

impl Emulator {
    pub fn new(size: TerminalSize) -> Self {
        let terminal = Terminal::new((size.columns.into(), size.rows.into()), Some(TERMINAL_HISTORY_LINES));
        Self { parser: Parser::new(), terminal, modes: Modes::default(), size, cut: Vec::new(), dropped: 0 }
    }

    /// Draws; the answers to what the program asked, to be written back to it.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut held = std::mem::take(&mut self.cut);
        held.extend_from_slice(bytes);
        let mut answers = String::new();
        let mut count = 0;
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let (text, used) = match std::str::from_utf8(rest) {
                Ok(text) => (text, rest.len()),
                Err(error) if error.valid_up_to() > 0 => (std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(), error.valid_up_to()),
                Err(error) => if let Some(wrong) = error.error_len() { ("\u{fffd}", wrong) } else {
                    self.cut = rest.to_vec();
                    break;
                },
            };
            for c in text.chars() {
                if let Some(question) = self.one(c)
                    && count < ANSWERS_MAX
                {
                    count += 1;
                    self.answer(question, &mut answers);
                }
            }
            rest = &rest[used..];
        }
        self.tidy();
        answers
    }

    fn one(&mut self, c: char) -> Option<Question> {
        match self.parser.feed(c) {
            // Its size is ours to say.
            Some(Function::Xtwinops(_)) | None => {}
            // A combining mark has no cell of its own here; without it the line keeps its shape.
            Some(Function::Print(c)) if has_no_cell(c) => {}
            Some(function) => self.terminal.execute(function),
        }
        self.modes.feed(c)
    }

    /// Once for each piece of output: history beyond the bound goes.
    fn tidy(&mut self) {
        self.terminal.changes();
        self.dropped += self.terminal.gc().count() as u64;
    }

    fn answer(&self, question: Question, out: &mut String) {
        let cursor = self.terminal.cursor();
        let (row, column) = (cursor.row + 1, cursor.col.min(usize::from(self.size.columns) - 1) + 1);
        // Writing to a string cannot fail.
        let _ = match question {
            Question::Kind => write!(out, "\u{1b}[?62;22c"),
            Question::KindExactly => write!(out, "\u{1b}[>1;10;0c"),
            Question::Alive => write!(out, "\u{1b}[0n"),
            Question::Cursor => write!(out, "\u{1b}[{row};{column}R"),
            Question::CursorDec => write!(out, "\u{1b}[?{row};{column}R"),
            Question::Size => write!(out, "\u{1b}[8;{};{}t", self.size.rows, self.size.columns),
        };
    }

    pub fn resize(&mut self, size: TerminalSize) {
        if size != self.size {
            self.size = size;
            self.terminal.resize(size.columns.into(), size.rows.into());
            self.tidy();
        }
    }

    pub fn size(&self) -> TerminalSize {
        self.size
    }

    /// Bytes at the end of what was fed that are not drawn yet.
    pub fn undrawn(&self) -> usize {
        self.cut.len()
    }

    /// True while the program draws on the second screen.
    pub fn is_full_screen(&self) -> bool {
        self.modes.full_screen
    }

    /// Lines that went off the first screen so far; of the second none do.
    pub fn scrolled(&self) -> u64 {
        self.dropped + self.above() as u64
    }

    fn above(&self) -> usize {
        if self.is_full_screen() { 0 } else { self.terminal.lines().count().saturating_sub(self.size.rows.into()) }
    }

    /// The last lines above the screen.
    pub fn history(&self, max: usize) -> Vec<TerminalLine> {
        let above = self.above();
        self.terminal.lines().take(above).skip(above.saturating_sub(max)).map(line).collect()
    }

    pub fn lines(&self) -> Vec<TerminalLine> {
        self.terminal.view().map(line).collect()
    }

    /// Row and column from 0; none while it is hidden.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        let cursor = self.terminal.cursor();
        cursor.visible.then(|| (cursor.row as u16, (cursor.col as u16).min(self.size.columns - 1)))
    }

    /// The modes of keys and mouse, for a terminal that is to send what the program expects.
    pub fn key_modes(&self) -> String {
        let arrows = if self.terminal.cursor_keys_app_mode() { "\u{1b}[?1h" } else { "" };
        format!("{}{arrows}", self.modes.replay())
    }

    pub fn screen(&self, history_max: usize) -> TerminalScreen {
        let history = self.history(history_max);
        TerminalScreen {
            size: self.size,
            history_left_out: self.above() - history.len(),
            history,
            lines: self.lines(),
            cursor: self.cursor(),
            full_screen: self.is_full_screen(),
            application_cursor: self.terminal.cursor_keys_app_mode(),
            bracketed_paste: self.modes.bracketed_paste(),
            ended: false,
        }
    }

    /// What draws this screen on a fresh one of the same size, with the lines above it.
    pub fn replay(&self) -> String {
        let mut out = String::new();
        let history = self.history(TERMINAL_HISTORY_LINES);
        for line in &history {
            out.push_str(&dressed(line));
            out.push_str("\r\n");
        }
        if !history.is_empty() {
            // Until the last of them is off the screen.
            out.push_str(&"\n".repeat(usize::from(self.size.rows) - 1));
            out.push_str("\u{1b}[H");
        }
        out.push_str(&self.terminal.dump());
        out.push_str(&self.modes.replay());
        out.push_str(self.modes.pending());
        out
    }
}

/// A line as a terminal shows it: text and how it looks, ending in plain.
pub fn dressed(line: &TerminalLine) -> String {
    let mut out = String::new();
    for run in line {
        out.push_str(&look(&run.style));
        out.push_str(&run.text);
    }
    if line.iter().any(|run| run.style != TerminalStyle::default()) {
        out.push_str("\u{1b}[0m");
    }
    out
}

fn look(style: &TerminalStyle) -> String {
    let mut out = "\u{1b}[0".to_owned();
    let flags = [(style.bold, 1), (style.faint, 2), (style.italic, 3), (style.underline, 4), (style.inverse, 7), (style.strikethrough, 9)];
    for (_, number) in flags.iter().filter(|(on, _)| *on) {
        let _ = write!(out, ";{number}");
    }
    for (colour, base) in [(style.foreground, 30), (style.background, 40)] {
        let _ = match colour {
            None => Ok(()),
            Some(TerminalColour::Indexed(n @ 0..=7)) => write!(out, ";{}", base + u16::from(n)),
            Some(TerminalColour::Indexed(n @ 8..=15)) => write!(out, ";{}", base + 52 + u16::from(n)),
            Some(TerminalColour::Indexed(n)) => write!(out, ";{};5;{n}", base + 8),
            Some(TerminalColour::Rgb(r, g, b)) => write!(out, ";{};2;{r};{g};{b}", base + 8),
        };
    }
    out.push('m');
    if *style == TerminalStyle::default() { "\u{1b}[0m".to_owned() } else { out }
}

fn line(line: &Line) -> TerminalLine {
    let cells = line.cells();
    let used = cells.iter().rposition(|cell| !cell.is_default()).map_or(0, |at| at + 1);
    let mut runs: TerminalLine = Vec::new();
    // The second half of a wide character has no width.
    for cell in cells[..used].iter().filter(|cell| cell.width() > 0) {
        let style = style(cell.pen());
        match runs.last_mut() {
            Some(run) if run.style == style => run.text.push(cell.char()),
            _ => runs.push(TerminalRun { text: cell.char().to_string(), style }),
        }
    }
    runs
}

fn style(pen: &Pen) -> TerminalStyle {
    let colour = |colour| match colour {
        Color::Indexed(n) => TerminalColour::Indexed(n),
        Color::RGB(rgb) => TerminalColour::Rgb(rgb.r, rgb.g, rgb.b),
    };
    TerminalStyle {
        foreground: pen.foreground().map(colour),
        background: pen.background().map(colour),
        bold: pen.is_bold(),
        faint: pen.is_faint(),
        italic: pen.is_italic(),
        underline: pen.is_underline(),
        strikethrough: pen.is_strikethrough(),
        inverse: pen.is_inverse(),
    }
}

/// Combining marks, joiners, direction marks, variation selectors, controls: nothing that stands in a cell.
fn has_no_cell(c: char) -> bool {
    matches!(c,
        '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{61c}' | '\u{64b}'..='\u{65f}'
        | '\u{115f}' | '\u{1160}'..='\u{11ff}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302d}' | '\u{3099}' | '\u{309a}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
