//! Draws the screen of a session's terminal on the person's own, as a difference to what stands there.
//!
//! Authority: derived. Invariants: lines that go off the screen go into the person's own history, once; what stood on his
//! terminal before is pushed there too; nothing is drawn outside the screen's rows and columns.

use std::fmt::Write as _;

use dcc_core::limits;
use dcc_core::ports::terminal::{TerminalLine, TerminalRun, TerminalSize};
use dcc_sessions::pty::{Emulator, Modes, dressed};

pub struct Painter {
    /// Of the person's terminal.
    size: TerminalSize,
    drawn: Option<Drawn>,
    modes: String,
}

struct Drawn {
    lines: Vec<String>,
    full_screen: bool,
    /// Lines of the first screen that have gone into the person's history.
    scrolled: u64,
    /// Of the screen that was drawn.
    of: TerminalSize,
}

impl Painter {
    pub fn new(size: TerminalSize) -> Self {
        Self { size, drawn: None, modes: String::new() }
    }

    /// The person's terminal has another size: everything is drawn anew.
    pub fn resize(&mut self, size: TerminalSize) {
        self.size = size;
        self.forget();
    }

    /// The screen comes from another emulator: what it has above the screen was drawn before, but for the first time.
    pub fn take_up(&mut self, emulator: &Emulator) {
        self.forget();
        if let Some(drawn) = &mut self.drawn {
            drawn.scrolled = emulator.scrolled();
        }
    }

    /// What stands on the person's terminal is no longer known.
    fn forget(&mut self) {
        if let Some(drawn) = &mut self.drawn {
            drawn.lines.clear();
        }
    }

    /// The bytes that make the person's terminal show this screen.
    pub fn frame(&mut self, emulator: &Emulator) -> String {
        let lines = self.visible(emulator);
        let full_screen = emulator.is_full_screen();
        let mut out = "\u{1b}[?25l".to_owned();
        let before = self.drawn.take();
        let was_full = before.as_ref().is_some_and(|d| d.full_screen);
        let mut scrolled = before.as_ref().map_or(0, |d| d.scrolled);
        if full_screen != was_full {
            out.push_str(if full_screen { "\u{1b}[?1049h" } else { "\u{1b}[?1049l" });
        }
        let known = before.filter(|d| d.full_screen == full_screen && d.of == emulator.size() && !d.lines.is_empty());
        if full_screen {
            if let Some(drawn) = &known { self.differences(&mut out, &drawn.lines, &lines) } else {
                out.push_str("\u{1b}[0m\u{1b}[2J");
                self.differences(&mut out, &[], &lines);
            }
        } else {
            let is_first = scrolled == 0 && known.is_none() && !was_full;
            let gone = emulator.scrolled().saturating_sub(scrolled);
            scrolled = emulator.scrolled();
            match &known {
                Some(drawn) if gone == 0 => self.differences(&mut out, &drawn.lines, &lines),
                _ => self.whole(&mut out, emulator, gone, &lines, is_first),
            }
        }
        self.modes_and_cursor(&mut out, emulator, lines.len());
        self.drawn = Some(Drawn { lines, full_screen, scrolled, of: emulator.size() });
        out
    }

    /// Leaves the cursor below what was drawn.
    pub fn end(&self) -> String {
        let Some(drawn) = &self.drawn else { return String::new() };
        if drawn.full_screen {
            return String::new();
        }
        let used = drawn.lines.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
        let row = (self.top(drawn.lines.len()) + used).min(usize::from(self.size.rows));
        format!("\u{1b}[{row};1H\r\n")
    }

    /// The person's row, from 1, that the first of so many lines stands in: at the bottom, so that what goes off goes on above.
    fn top(&self, lines: usize) -> usize {
        usize::from(self.size.rows).saturating_sub(lines) + 1
    }

    /// The lines as they fit: the last rows, the first columns.
    fn visible(&self, emulator: &Emulator) -> Vec<String> {
        let lines = emulator.lines();
        let skip = lines.len().saturating_sub(self.size.rows.into());
        lines.iter().skip(skip).map(|line| self.cut(line, emulator.size().columns)).collect()
    }

    fn cut(&self, line: &TerminalLine, columns: u16) -> String {
        if columns <= self.size.columns {
            return dressed(line);
        }
        // Only between a change of size and what follows from it: characters are counted, wide ones too small.
        let mut left = usize::from(self.size.columns);
        let mut kept = TerminalLine::new();
        for run in line {
            let text: String = run.text.chars().take(left).collect();
            left -= text.chars().count();
            kept.push(TerminalRun { text, style: run.style });
        }
        dressed(&kept)
    }

    fn differences(&self, out: &mut String, before: &[String], now: &[String]) {
        let top = self.top(now.len());
        for (at, line) in now.iter().enumerate() {
            let old = before.get(at).map_or("", String::as_str);
            if old != line {
                // Erased first: behind the last column there is nothing to erase from.
                let _ = write!(out, "\u{1b}[{};1H\u{1b}[0m\u{1b}[2K{line}", top + at);
            }
        }
    }

    /// Lets the terminal scroll by itself, so that its own history gets what went off.
    fn whole(&self, out: &mut String, emulator: &Emulator, gone: u64, lines: &[String], is_first: bool) {
        if is_first {
            // What stood there is history too.
            let _ = write!(out, "\u{1b}[{};1H{}", self.size.rows, "\n".repeat(self.size.rows.into()));
        }
        let _ = write!(out, "\u{1b}[{};1H\u{1b}[0m\u{1b}[J", self.top(lines.len()));
        let most = usize::try_from(gone).unwrap_or(usize::MAX).min(limits::TERMINAL_HISTORY_LINES);
        for line in emulator.history(most) {
            out.push_str(&self.cut(&line, emulator.size().columns));
            out.push_str("\r\n");
        }
        out.push_str(&lines.join("\r\n"));
    }

    fn modes_and_cursor(&mut self, out: &mut String, emulator: &Emulator, lines: usize) {
        let modes = emulator.key_modes();
        if modes != self.modes {
            out.push_str(&Modes::reset());
            out.push_str(&modes);
            self.modes = modes;
        }
        if let Some((row, column)) = emulator.cursor() {
            let hidden = usize::from(emulator.size().rows) - lines;
            let row = (self.top(lines) + usize::from(row)).saturating_sub(hidden).max(1);
            let _ = write!(out, "\u{1b}[{row};{}H\u{1b}[?25h", column.min(self.size.columns - 1) + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: u16, columns: u16) -> TerminalSize {
        TerminalSize { rows, columns }
    }

    fn text(emulator: &Emulator) -> Vec<String> {
        emulator.lines().iter().map(|line| line.iter().map(|run| run.text.as_str()).collect::<String>().trim_end().to_owned()).collect()
    }

    /// A session's terminal and a person's, joined by a painter.
    struct Joined {
        session: Emulator,
        person: Emulator,
        painter: Painter,
    }

    impl Joined {
        fn new(session: TerminalSize, person: TerminalSize) -> Self {
            let mut own = Emulator::new(person);
            own.feed(b"$ dcc session attach S\r\n");
            let mut joined = Self { session: Emulator::new(session), person: own, painter: Painter::new(person) };
            joined.write("");
            joined
        }
        fn write(&mut self, output: &str) {
            self.session.feed(output.as_bytes());
            let frame = self.painter.frame(&self.session);
            self.person.feed(frame.as_bytes());
        }
        fn assert_shows(&self) {
            assert_eq!(self.person.lines(), self.session.lines());
            assert_eq!((self.person.cursor(), self.person.key_modes()), (self.session.cursor(), self.session.key_modes()));
        }
    }

    #[test]
    fn the_person_sees_what_the_session_shows() {
        let mut joined = Joined::new(size(6, 20), size(6, 20));
        for output in ["$ ls\r\n", "\u{1b}[31ma\u{1b}[0m b\r\n", "\u{1b}[1;1Htop\u{1b}[K", "\u{1b}[?1049h\u{1b}[Hvi\u{1b}[?2004h\u{1b}[?1h", "\u{1b}[3;3Hx\u{1b}[?25l", "\u{1b}[?25h\u{1b}[?1049l\u{1b}[?1l", "日本\r\n", "12345678901234567890"] {
            joined.write(output);
            joined.assert_shows();
        }
    }

    #[test]
    fn what_goes_off_the_screen_goes_into_the_persons_history_once() {
        let mut joined = Joined::new(size(4, 20), size(4, 20));
        for n in 0..30 {
            joined.write(&format!("line {n}\r\n"));
            if n == 10 {
                joined.write("\u{1b}[?1049hin between\u{1b}[?1049l");
            }
            joined.assert_shows();
        }
        let history: Vec<String> = joined.person.history(1_000).iter().map(|l| l.iter().map(|r| r.text.as_str()).collect()).collect();
        assert_eq!(history.iter().filter(|l| l.starts_with("$ dcc")).count(), 1);
        let lines: Vec<&String> = history.iter().filter(|l| l.starts_with("line")).collect();
        assert_eq!(lines, (0..27).map(|n| format!("line {n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_larger_terminal_shows_it_at_the_bottom_and_a_smaller_one_in_part() {
        let mut large = Joined::new(size(3, 10), size(6, 30));
        large.write("a\r\nb\r\nc\r\nd");
        assert_eq!(text(&large.person)[3..], ["b", "c", "d"]);
        assert_eq!(large.person.cursor(), Some((5, 1)));
        let mut small = Joined::new(size(5, 30), size(2, 4));
        small.write("one\r\ntwo\r\nthree\r\nfour\r\nfive");
        assert_eq!(text(&small.person), ["four", "five"]);
        small.painter.resize(size(5, 30));
        small.person.resize(size(5, 30));
        small.write("");
        small.assert_shows();
    }

    #[test]
    fn nothing_that_a_program_says_to_a_terminal_reaches_the_persons() {
        let mut joined = Joined::new(size(3, 40), size(3, 40));
        joined.session.feed(b"\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x07\x1b[6n\x1b[5i\x1bP+q544e\x1b\\ok");
        let frame = joined.painter.frame(&joined.session);
        assert!(frame.contains("ok") && !frame.contains("\u{1b}]") && !frame.contains("\u{1b}P") && !frame.contains("[6n") && !frame.contains("[5i"), "{frame:?}");
    }
}
