//! What a program asks of a terminal beside drawing: modes of the keys and the mouse, the second screen, questions.
//!
//! Authority: ephemeral. Invariants: an unfinished sequence is kept up to a bound; an answer to a question holds nothing
//! that the program said and no line end, so that it can not be made to type.

/// Kept of a sequence that is not over; a longer one is known to be one, and what it says is not.
const SEQUENCE_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Within {
    #[default]
    Ground,
    /// After ESC, with or without intermediates.
    Escape,
    /// A control sequence, to its final letter.
    Control,
    /// Text for the terminal (a title, the clipboard), to its terminator.
    Text,
}

/// The modes in which keys and the mouse are told, as numbers of the xterm family.
const KEPT_MODES: [u16; 8] = [1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004];
const BRACKETED_PASTE: u16 = 2004;

/// Something that whoever drives the terminal has to act upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which terminal it is, and which exactly.
    Kind,
    KindExactly,
    Alive,
    /// Where the cursor is; the second with a mark that it is of the DEC kind.
    Cursor,
    CursorDec,
    Size,
}

#[derive(Default)]
pub struct Modes {
    within: Within,
    pending: String,
    /// Of [`KEPT_MODES`], those that are on, in the order of the table.
    on: [bool; KEPT_MODES.len()],
    pub full_screen: bool,
    pub keypad: bool,
}

impl Modes {
    /// Looks at one character of the output; a question when one ended with it.
    pub fn feed(&mut self, c: char) -> Option<Question> {
        match (self.within, c) {
            (_, '\u{18}' | '\u{1a}') => self.over(),
            (Within::Text, '\u{7}' | '\u{9c}') => self.over(),
            (Within::Text, '\\') if self.pending.ends_with('\u{1b}') => self.over(),
            (Within::Text, c) => self.keep(c),
            (_, '\u{1b}') => self.begin(Within::Escape, "\u{1b}"),
            (_, '\u{9b}') => self.begin(Within::Control, "\u{1b}["),
            (Within::Ground, _) => {}
            (Within::Escape, '[') if self.pending.len() == 1 => self.begin(Within::Control, "\u{1b}["),
            (Within::Escape, ']' | 'P' | 'X' | '^' | '_') if self.pending.len() == 1 => {
                self.within = Within::Text;
                self.keep(c);
            }
            (Within::Escape, ' '..='/') => self.keep(c),
            (Within::Escape, _) => {
                self.escape(c);
                self.over();
            }
            (Within::Control, '@'..='~') => {
                let asked = self.control(c);
                self.over();
                return asked;
            }
            (Within::Control, _) => self.keep(c),
        }
        None
    }

    /// What has come of a sequence that is not over.
    pub fn pending(&self) -> &str {
        &self.pending
    }

    pub fn bracketed_paste(&self) -> bool {
        KEPT_MODES.iter().zip(self.on).any(|(mode, on)| *mode == BRACKETED_PASTE && on)
    }

    /// The sequences that bring a terminal from the modes it starts with into these.
    pub fn replay(&self) -> String {
        let mut out: String = KEPT_MODES.iter().zip(self.on).filter(|(_, on)| *on).map(|(mode, _)| format!("\u{1b}[?{mode}h")).collect();
        if self.keypad {
            out.push_str("\u{1b}=");
        }
        out
    }

    /// The sequences that bring a terminal from any modes back to those it starts with.
    pub fn reset() -> String {
        KEPT_MODES.iter().map(|mode| format!("\u{1b}[?{mode}l")).chain(["\u{1b}[?1l\u{1b}>".to_owned()]).collect()
    }

    fn begin(&mut self, within: Within, text: &str) {
        self.within = within;
        self.pending.clear();
        self.pending.push_str(text);
    }

    fn keep(&mut self, c: char) {
        if self.pending.len() >= SEQUENCE_MAX {
            // Its beginning is what tells it from others, its end what may terminate it.
            self.pending.truncate(2);
        }
        self.pending.push(c);
    }

    fn over(&mut self) {
        self.within = Within::Ground;
        self.pending.clear();
    }

    fn escape(&mut self, end: char) {
        match end {
            '=' if self.pending.len() == 1 => self.keypad = true,
            '>' if self.pending.len() == 1 => self.keypad = false,
            'c' if self.pending.len() == 1 => {
                self.on = Default::default();
                self.full_screen = false;
                self.keypad = false;
            }
            _ => {}
        }
    }

    fn control(&mut self, end: char) -> Option<Question> {
        let body = self.pending.get(2..).unwrap_or_default();
        let (mark, numbers) = match body.chars().next() {
            Some(mark @ ('?' | '>' | '=' | '!')) => (Some(mark), &body[1..]),
            _ => (None, body),
        };
        let first = numbers.split(';').next().unwrap_or_default();
        match (mark, end, first) {
            (Some('?'), 'h' | 'l', _) => {
                let modes: Vec<u16> = numbers.split(';').filter_map(|number| number.parse().ok()).collect();
                modes.into_iter().for_each(|mode| self.set(mode, end == 'h'));
                None
            }
            (None, 'c', "" | "0") => Some(Question::Kind),
            (Some('>'), 'c', "" | "0") => Some(Question::KindExactly),
            (None, 'n', "5") => Some(Question::Alive),
            (None, 'n', "6") => Some(Question::Cursor),
            (Some('?'), 'n', "6") => Some(Question::CursorDec),
            (None, 't', "18") => Some(Question::Size),
            _ => None,
        }
    }

    fn set(&mut self, mode: u16, on: bool) {
        if matches!(mode, 47 | 1047 | 1049) {
            self.full_screen = on;
        }
        if let Some(at) = KEPT_MODES.iter().position(|kept| *kept == mode) {
            self.on[at] = on;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(text: &str) -> (Modes, Vec<Question>) {
        let mut modes = Modes::default();
        let asked = text.chars().filter_map(|c| modes.feed(c)).collect();
        (modes, asked)
    }

    #[test]
    fn modes_are_kept_and_come_back() {
        let (modes, asked) = fed("\u{1b}[?1049h\u{1b}[?1000;1006h\u{1b}=\u{1b}[?2004hx");
        assert!(modes.full_screen && modes.bracketed_paste() && asked.is_empty());
        assert_eq!(modes.replay(), "\u{1b}[?1000h\u{1b}[?1006h\u{1b}[?2004h\u{1b}=");
        let (again, _) = fed(&modes.replay());
        assert_eq!(again.replay(), modes.replay());
        assert_eq!(fed("\u{1b}[?2004h\u{1b}c").0.replay(), "");
    }

    #[test]
    fn questions_are_heard_and_text_is_not_taken_for_one() {
        let (_, asked) = fed("\u{1b}[c\u{1b}[>c\u{1b}[5n\u{1b}[6n\u{1b}[?6n\u{1b}[18t\u{9b}6n");
        use Question::*;
        assert_eq!(asked, [Kind, KindExactly, Alive, Cursor, CursorDec, Size, Cursor]);
        assert!(fed("\u{1b}]0;[6n\u{7}[6n\u{1b}P[c\u{1b}\\").1.is_empty());
    }

    #[test]
    fn an_unfinished_sequence_is_kept_within_its_bound() {
        assert_eq!(fed("ab\u{1b}[3").0.pending(), "\u{1b}[3");
        let (mut modes, _) = fed(&format!("\u{1b}]0;{}", "x".repeat(100_000)));
        assert!(modes.pending().len() <= SEQUENCE_MAX);
        modes.feed('\u{7}');
        assert_eq!(modes.pending(), "");
    }
}
