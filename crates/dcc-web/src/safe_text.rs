//! Text from repositories, agents and people, made harmless before it is shown.
//!
//! Authority: derived (a rendering; the stored text is never changed).
//! Invariants: what reaches the page holds no control character, no escape sequence, no character
//! that reorders or hides text; each such character becomes a visible token such as `⟨U+202E⟩`.
//! The result is escaped for HTML and may stand in an element and in an attribute alike.
//! Failure: none; any string has a rendering.

use std::fmt::Write as _;

use maud::{Escaper, Render};

/// Longest escape sequence that is shown as one token; a longer one is shown in pieces.
const SEQUENCE_MAX: usize = 64;

/// A string shown with every invisible or active character as a visible token.
///
/// Line ends and tabs are kept only by [`SafeText::block`]; in one line they are shown as `⏎` and a
/// space, so that a name with a line end in it can not draw a second row.
#[derive(Debug, Clone, Copy)]
pub struct SafeText<'a> {
    text: &'a str,
    block: bool,
}

impl<'a> SafeText<'a> {
    /// Text within one line.
    #[must_use]
    pub const fn line(text: &'a str) -> Self {
        Self { text, block: false }
    }

    /// Text that may hold several lines, shown where white space is kept.
    #[must_use]
    pub const fn block(text: &'a str) -> Self {
        Self { text, block: true }
    }

    /// The visible form, not yet escaped for HTML.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some(ch) = rest.chars().next() {
            let used = if ch == '\u{1b}' || ch == '\u{9b}' {
                push_sequence(&mut out, rest)
            } else {
                self.push_char(&mut out, ch, rest);
                ch.len_utf8()
            };
            rest = &rest[used..];
        }
        out
    }

    fn push_char(&self, out: &mut String, ch: char, rest: &str) {
        match ch {
            '\n' | '\t' if self.block => out.push(ch),
            '\n' => out.push('⏎'),
            '\t' => out.push(' '),
            // A line end of two characters is one line end; a lone one would overwrite on a terminal.
            '\r' if self.block && rest.as_bytes().get(1) == Some(&b'\n') => {}
            _ if is_hidden(ch) => push_token(out, ch),
            _ => out.push(ch),
        }
    }
}

impl Render for SafeText<'_> {
    fn render_to(&self, buffer: &mut String) {
        let _ = Escaper::new(buffer).write_str(&self.plain());
    }
}

/// Shows one line of text. Short name because every screen says it many times.
#[must_use]
pub const fn t(text: &str) -> SafeText<'_> {
    SafeText::line(text)
}

/// Writes an escape sequence as one token and returns how many bytes it took.
fn push_sequence(out: &mut String, rest: &str) -> usize {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    let length = sequence_length(rest).unwrap_or(first);
    out.push_str("⟨ESC");
    for ch in rest[first..length].chars() {
        if is_hidden(ch) {
            let _ = write!(out, "\\x{:02X}", ch as u32);
        } else {
            out.push(ch);
        }
    }
    out.push('⟩');
    length
}

/// Length in bytes of the terminal sequence at the start of `rest`, when it is complete and short.
fn sequence_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (start, kind) = if bytes[0] == 0x1b { (2, *bytes.get(1)?) } else { (2, b'[') };
    let body = bytes.get(start..)?;
    let window = &body[..body.len().min(SEQUENCE_MAX)];
    let end = match kind {
        b'[' => window.iter().position(|byte| (0x40..=0x7e).contains(byte))? + 1,
        b']' | b'P' | b'_' | b'^' => window
            .iter()
            .position(|byte| *byte == 0x07)
            .map(|at| at + 1)
            .or_else(|| window.windows(2).position(|pair| pair == b"\x1b\\").map(|at| at + 2))?,
        _ => return None,
    };
    let length = start + end;
    rest.is_char_boundary(length).then_some(length)
}

fn push_token(out: &mut String, ch: char) {
    let _ = write!(out, "⟨U+{:04X}⟩", ch as u32);
}

/// True for characters that act, reorder or hide instead of showing.
#[must_use]
pub fn is_hidden(ch: char) -> bool {
    matches!(ch,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fe00}'..='\u{fe0e}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::html;

    #[test]
    fn controls_and_direction_marks_become_tokens() {
        assert_eq!(t("a\u{202e}b").plain(), "a⟨U+202E⟩b");
        assert_eq!(t("zero\u{200b}width\u{feff}").plain(), "zero⟨U+200B⟩width⟨U+FEFF⟩");
        assert_eq!(t("bell\u{7}").plain(), "bell⟨U+0007⟩");
        assert_eq!(t("tag\u{e0041}").plain(), "tag⟨U+E0041⟩");
    }

    #[test]
    fn terminal_sequences_become_one_token() {
        assert_eq!(t("\u{1b}[31mred\u{1b}[0m").plain(), "⟨ESC[31m⟩red⟨ESC[0m⟩");
        assert_eq!(t("\u{1b}]0;title\u{7}x").plain(), "⟨ESC]0;title\\x07⟩x");
        assert_eq!(t("\u{9b}2Jx").plain(), "⟨ESC2J⟩x");
        assert_eq!(t("\u{1b}").plain(), "⟨ESC⟩");
        assert_eq!(t("\u{1b}[").plain(), "⟨ESC⟩[");
        assert_eq!(t("\u{1b}ä").plain(), "⟨ESC⟩ä");
    }

    #[test]
    fn lines_stay_lines_only_in_blocks() {
        assert_eq!(t("a\nb\tc").plain(), "a⏎b c");
        assert_eq!(SafeText::block("a\r\nb\tc\rd").plain(), "a\nb\tc⟨U+000D⟩d");
    }

    #[test]
    fn html_is_escaped_in_elements_and_attributes() {
        let hostile = "\"><script>alert(1)</script>&'\u{202e}";
        let page = html! { p title=(t(hostile)) { (t(hostile)) } }.into_string();
        assert!(!page.contains("<script"));
        assert!(!page.contains('\u{202e}'));
        assert!(page.contains("title=\"&quot;&gt;&lt;script&gt;"));
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in ["Größe", "日本語", "a b", "👍️", "x→y", "± 3 −2"] {
            assert_eq!(t(text).plain(), text);
        }
    }
}
