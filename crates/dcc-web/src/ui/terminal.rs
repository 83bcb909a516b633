//! The screen of a session's terminal, and the field that its keys are typed into.
//!
//! Authority: derived. Invariants: every character passes through `SafeText`; colours are classes, each of sixteen names,
//! so that the page's themes choose what is seen; the field is the only thing that takes keys, and one key leaves it.

use maud::{Markup, html};

use dcc_api::view::{Shell, TerminalView};
use dcc_core::ports::terminal::{TerminalColour, TerminalLine, TerminalScreen, TerminalStyle};

use super::components::path::query;
use super::components::state::session_state;
use super::components::{icon, short};
use super::shell::{Place, page};
use crate::safe_text::t;

/// Keys that a touch screen does not have: what stands on the button, and the key's name for the script.
const KEYS: [(&str, &str); 9] =
    [("Esc", "Escape"), ("Tab", "Tab"), ("Ctrl C", "ctrl-c"), ("Ctrl D", "ctrl-d"), ("←", "ArrowLeft"), ("↑", "ArrowUp"), ("↓", "ArrowDown"), ("→", "ArrowRight"), ("Enter", "Enter")];

/// A parser drops a line end that stands first in a `pre`: this one, not that of an empty first line.
const BEGIN: &str = "\n";

/// The page of a terminal.
#[must_use]
pub fn terminal(shell: &Shell, view: &TerminalView, now_ms: i64) -> Markup {
    let row = &view.session;
    let body = html! {
        div.head data-copy=(row.session_id) {
            h1.cut { (t(&row.agent)) } span.m.mut title=(t(&row.session_id)) { (t(short(&row.session_id))) }
            (session_state(row))
            (tabs(&row.session_id, true))
        }
        @match &view.screen {
            Some(screen) => (pane(view, screen)),
            None => p.pad { "No command runs in a terminal of this session. What it showed stands in the record: " a.link href={ "/timeline?session=" (query(&row.session_id)) } { "its events" } "." },
        }
    };
    let title = format!("Terminal of {} {}", row.agent, short(&row.session_id));
    let session = format!("/session/{}", row.session_id);
    let crumbs = [("/sessions", "Sessions"), (session.as_str(), "Session")];
    page(shell, Place { rail: "sessions", title: &title, crumbs: &crumbs, screen: "terminal" }, now_ms, &body)
}

/// The two sides of a session in a terminal.
#[must_use]
pub fn tabs(session_id: &str, on_terminal: bool) -> Markup {
    let current = |is: bool| is.then_some("page");
    html! {
        nav.seg aria-label="Session" {
            a href={ "/session/" (query(session_id)) } aria-current=[current(!on_terminal)] { "Feed" }
            a href={ "/session/" (query(session_id)) "/terminal" } aria-current=[current(on_terminal)] { "Terminal" }
        }
    }
}

fn pane(view: &TerminalView, screen: &TerminalScreen) -> Markup {
    let why = view.why_not.as_deref();
    html! {
        section.term.fill aria-label="Terminal" data-takes-keys {
            div.term-view.scroll id="terminal-view" tabindex="0" role="region" aria-label={ "Screen of " (t(&view.session.agent)) ", " (screen.size.rows) " rows of " (screen.size.columns) " columns" } {
                @if !screen.history.is_empty() {
                    details id="terminal-history" { summary.lab { (icon("right")) (screen.history.len()) " earlier lines" @if screen.history_left_out > 0 { ", " (screen.history_left_out) " more in " code { "dcc session attach" } } }
                        pre.term-lines { (BEGIN) @for line in &screen.history { (row(line, None)) } }
                    }
                }
                (lines(view, screen))
            }
            div.term-keys {
                label.lab for="terminal-keys" { "Keys go to the program. " kbd { "Ctrl ]" } " leaves the field." }
                div.row.wrap {
                    textarea.field id="terminal-keys" rows="1" data-session=(view.session.session_id) autocomplete="off" autocapitalize="off" autocorrect="off" spellcheck="false"
                        placeholder="Type here" aria-describedby="terminal-said" autofocus[why.is_none()] disabled[why.is_some()] {}
                    div.seg role="group" aria-label="Keys" id="terminal-buttons" {
                        @for (label, key) in KEYS { button type="button" data-terminal-key=(key) disabled[why.is_some()] { (label) } }
                    }
                }
                @if let Some(why) = why { p.lab { (t(why)) } }
                p.lab id="terminal-said" data-local role="status" {}
            }
        }
    }
}

/// The part that is drawn again as the screen changes; nothing when no terminal is open.
#[must_use]
pub fn terminal_screen(view: &TerminalView) -> Markup {
    html! { @if let Some(screen) = &view.screen { (lines(view, screen)) } }
}

fn lines(view: &TerminalView, screen: &TerminalScreen) -> Markup {
    html! {
        pre.term-lines id="terminal-screen" data-session=(view.session.session_id) data-application-cursor[screen.application_cursor] data-bracketed-paste[screen.bracketed_paste] data-ended[screen.ended] {
            (BEGIN)
            @for (at, line) in screen.lines.iter().enumerate() { (row(line, screen.cursor.filter(|(row, _)| usize::from(*row) == at).map(|(_, column)| column.into()))) }
        }
    }
}

/// One line; the character under the cursor stands apart.
fn row(line: &TerminalLine, cursor: Option<usize>) -> Markup {
    let mut place = 0;
    let mut cells: Vec<(String, String)> = Vec::new();
    for run in line {
        let class = class(&run.style);
        for c in run.text.chars() {
            let is_cursor = cursor == Some(place);
            let class = if is_cursor { format!("{class} tc") } else { class.clone() };
            match cells.last_mut() {
                Some((last, text)) if !is_cursor && *last == class => text.push(c),
                _ => cells.push((class, c.to_string())),
            }
            place += width(c);
        }
    }
    if let Some(cursor) = cursor.filter(|cursor| *cursor >= place) {
        let gap = cursor - place;
        if gap > 0 {
            cells.push((String::new(), " ".repeat(gap)));
        }
        cells.push(("tc".to_owned(), " ".to_owned()));
    }
    html! {
        @for (class, text) in &cells { @if class.is_empty() { (t(text)) } @else { span class=(class.trim()) { (t(text)) } } }
        "\n"
    }
}

/// Columns of a character: of those that take two the common ones, which is enough to place the cursor.
fn width(c: char) -> usize {
    1 + usize::from(matches!(c, '\u{1100}'..='\u{115e}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1f64f}' | '\u{1f900}'..='\u{1f9ff}' | '\u{20000}'..='\u{3fffd}'))
}

fn class(style: &TerminalStyle) -> String {
    let (front, back) = if style.inverse { ("tfi", "tbi") } else { ("tf", "tb") };
    let mut out = String::new();
    let mut add = |name: &str| {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(name);
    };
    if let Some(colour) = style.foreground {
        add(&format!("{front}{}", named(colour)));
    } else if style.inverse {
        add("tfi");
    }
    if let Some(colour) = style.background {
        add(&format!("{back}{}", named(colour)));
    }
    let flags = [(style.bold, "tw"), (style.faint, "th"), (style.italic, "ti"), (style.underline, "tu"), (style.strikethrough, "ts")];
    flags.iter().filter(|(on, _)| *on).for_each(|(_, name)| add(name));
    out
}

/// The nearest of the sixteen names: themes give each a colour that can be read.
fn named(colour: TerminalColour) -> u8 {
    let (r, g, b) = match colour {
        TerminalColour::Indexed(n @ 0..=15) => return n,
        TerminalColour::Indexed(n @ 16..=231) => {
            let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = n - 16;
            (step(n / 36), step(n / 6 % 6), step(n % 6))
        }
        TerminalColour::Indexed(n) => {
            let grey = 8 + 10 * (n - 232);
            (grey, grey, grey)
        }
        TerminalColour::Rgb(r, g, b) => (r, g, b),
    };
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most - least < 48 {
        return match most {
            0..=63 => 0,
            64..=143 => 8,
            144..=215 => 7,
            _ => 15,
        };
    }
    // A part belongs to the name when it is nearer to the strongest than to the weakest.
    let strong = |part: u8| u8::from(u16::from(part) * 2 > u16::from(most) + u16::from(least));
    let name = strong(r) | strong(g) << 1 | strong(b) << 2;
    if most > 191 { name + 8 } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcc_core::ports::terminal::{TerminalRun, TerminalSize};

    fn run(text: &str, style: TerminalStyle) -> TerminalRun {
        TerminalRun { text: text.to_owned(), style }
    }

    #[test]
    fn hostile_text_is_shown_and_does_nothing() {
        let screen = TerminalScreen {
            size: TerminalSize { rows: 1, columns: 40 },
            history: Vec::new(),
            history_left_out: 0,
            lines: vec![vec![run("<script>\u{202e}&", TerminalStyle { foreground: Some(TerminalColour::Indexed(1)), bold: true, ..TerminalStyle::default() })]],
            cursor: Some((0, 12)),
            full_screen: false,
            application_cursor: true,
            bracketed_paste: false,
            ended: false,
        };
        let html = lines(&TerminalView::default(), &screen).into_string();
        assert!(html.contains("<span class=\"tf1 tw\">&lt;script&gt;⟨U+202E⟩&amp;</span>") && html.contains("<span class=\"tc\"> </span>"), "{html}");
        assert!(html.contains(">\n<span class=\"tf1"), "a parser drops the first line end: {html}");
        assert!(html.contains(" data-application-cursor") && !html.contains("style="), "{html}");
    }

    #[test]
    fn the_cursor_stands_on_its_character_also_behind_a_wide_one() {
        let line = vec![run("日b", TerminalStyle::default())];
        assert_eq!(row(&line, Some(2)).into_string(), "日<span class=\"tc\">b</span>\n");
        assert_eq!(row(&line, Some(4)).into_string(), "日b <span class=\"tc\"> </span>\n");
        assert_eq!(row(&Vec::new(), None).into_string(), "\n");
    }

    #[test]
    fn colours_become_the_nearest_name() {
        use TerminalColour::{Indexed, Rgb};
        let names: Vec<u8> = [Indexed(3), Indexed(196), Indexed(28), Indexed(250), Rgb(30, 30, 200), Rgb(255, 120, 0), Rgb(20, 20, 20), Rgb(250, 250, 250)].map(named).to_vec();
        assert_eq!(names, [3, 9, 2, 7, 12, 9, 0, 15]);
        assert_eq!(class(&TerminalStyle { inverse: true, background: Some(Indexed(2)), ..TerminalStyle::default() }), "tfi tbi2");
    }
}
