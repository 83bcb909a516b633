//! The screen after what programs write, and the same screen again from its replay.

use super::*;

fn of(rows: u16, columns: u16, text: &str) -> Emulator {
    let mut emulator = Emulator::new(TerminalSize::new(rows, columns).unwrap());
    emulator.feed(text.as_bytes());
    emulator
}

fn text(emulator: &Emulator) -> Vec<String> {
    emulator.lines().iter().map(|line| line.iter().map(|run| run.text.as_str()).collect()).collect()
}

fn assert_same(one: &Emulator, other: &Emulator) {
    assert_eq!(one.screen(5_000), other.screen(5_000));
    assert_eq!(one.key_modes(), other.key_modes());
}

#[test]
fn full_screen_programs_draw_what_they_mean() {
    // Box drawing in the other character set, repetition, insertion of lines: what ncurses writes.
    let drawn = of(4, 12, "\u{1b}[?1049h\u{1b}[H\u{1b}(0lqqk\u{1b}(B\r\nx\u{1b}[3bab\u{1b}[4;1Hend\u{1b}[2;1H\u{1b}[L\u{1b}[31;1mred");
    assert_eq!(text(&drawn), ["┌──┐", "red", "xxxxab", ""]);
    assert!(drawn.is_full_screen() && drawn.scrolled() == 0);
    assert_eq!(drawn.lines()[1][0].style, TerminalStyle { foreground: Some(TerminalColour::Indexed(1)), bold: true, ..TerminalStyle::default() });
    assert_eq!(drawn.cursor(), Some((1, 3)));
    let left = of(2, 12, "shell\r\n\u{1b}[?1049hvi\u{1b}[?1049lback");
    assert_eq!((text(&left), left.is_full_screen()), (vec!["shell".to_owned(), "back".to_owned()], false));
}

#[test]
fn a_screen_comes_back_from_its_replay() {
    let long: String = (0..60).map(|n| format!("\u{1b}[3{}mline {n}\u{1b}[0m\r\n", n % 8)).collect();
    for output in [
        "",
        "one line",
        &long,
        &format!("{long}{}", "wrapped ".repeat(40)),
        &format!("{long}\u{1b}[?1049h\u{1b}[2;3Hin vi\u{1b}[?25l\u{1b}[?1h\u{1b}[?2004h"),
        "\u{1b}[2;4r\u{1b}[3;1Hmargins\u{1b}[7m and more",
        "a title, half\u{1b}]0;ti",
        "\u{65e5}\u{672c}\u{8a9e} wide\r\n",
    ] {
        let first = of(8, 30, output);
        let mut again = of(8, 30, &first.replay());
        assert_same(&first, &again);
        let mut first = first;
        for more in ["tle\u{7}x", "\r\nmore\r\nand more", "\u{1b}[H\u{1b}[Kover"] {
            first.feed(more.as_bytes());
            again.feed(more.as_bytes());
            assert_same(&first, &again);
        }
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let output = "häß \u{1b}[32m日\u{1b}[0m\r\nx";
    let whole = of(3, 20, output);
    let mut bits = of(3, 20, "");
    for byte in output.as_bytes() {
        bits.feed(&[*byte]);
    }
    assert_same(&whole, &bits);
    let mut broken = of(1, 20, "");
    broken.feed(b"a\xffb\xe6");
    assert_eq!((text(&broken), broken.undrawn()), (vec!["a\u{fffd}b".to_owned()], 1));
}

#[test]
fn what_a_program_writes_does_not_act() {
    let hostile = of(2, 20, "\u{1b}[8;9999;9999ta\u{202e}b\u{200b}c\u{85}e\u{301}\u{1b}]52;c;cm0gLXJm\u{7}");
    assert_eq!(hostile.size(), TerminalSize { rows: 2, columns: 20 });
    let shown: String = hostile.lines().iter().map(dressed).collect();
    assert!(!shown.contains(['\u{202e}', '\u{200b}', '\u{301}', '\u{85}']) && !shown.contains("52;"), "{shown:?}");
}

#[test]
fn questions_are_answered_and_only_so_many() {
    let mut emulator = of(5, 20, "ab\r\ncd");
    assert_eq!(emulator.feed(b"\x1b[6n\x1b[c\x1b[5n"), "\u{1b}[2;3R\u{1b}[?62;22c\u{1b}[0n");
    assert_eq!(emulator.feed("\u{1b}[5n".repeat(1_000).as_bytes()), "\u{1b}[0n".repeat(ANSWERS_MAX));
}

#[test]
fn history_is_bounded_and_counted() {
    let lines = TERMINAL_HISTORY_LINES + 50;
    let mut emulator = of(3, 20, "");
    for n in 0..lines {
        emulator.feed(format!("{n}\r\n").as_bytes());
    }
    assert_eq!(emulator.scrolled(), lines as u64 - 2);
    let screen = emulator.screen(10);
    assert_eq!((screen.history.len(), screen.history_left_out), (10, TERMINAL_HISTORY_LINES - 10));
    assert_eq!(screen.history[9][0].text, (lines - 3).to_string());
    emulator.resize(TerminalSize { rows: 4, columns: 10 });
    assert_eq!(emulator.lines().len(), 4);
    let small = of(3, 20, "short");
    assert_eq!(small.history(5), Vec::<TerminalLine>::new());
}

#[test]
fn a_line_is_dressed_and_ends_plain() {
    let drawn = of(1, 40, "a\u{1b}[1;38;5;200;44mb\u{1b}[0m c\u{1b}[91md");
    assert_eq!(dressed(&drawn.lines()[0]), "\u{1b}[0ma\u{1b}[0;1;38;5;200;44mb\u{1b}[0m c\u{1b}[0;91md\u{1b}[0m");
    assert_eq!(dressed(&Vec::new()), "");
}
