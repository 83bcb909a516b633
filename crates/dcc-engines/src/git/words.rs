//! Marks inside changed pairs of lines: which words differ. Pure.

use dcc_core::ports::version::DiffLine;
use imara_diff::{Algorithm, Diff, InternedInput, TokenSource};

/// Longer lines are not marked: they are data, and the marks would not help anyone.
const LINE_BYTES_MAX: usize = 2_000;
/// When more than this share of a line differs, marks say nothing.
const CHANGED_PERCENT_MAX: usize = 70;

/// Marks each run of removed lines against the run of added lines that follows, line by line.
pub(super) fn mark(lines: &mut [DiffLine]) {
    let mut at = 0;
    while at < lines.len() {
        let minus = run(&lines[at..], '-');
        let plus = run(&lines[at + minus..], '+');
        if minus > 0 && minus == plus {
            let (removed, added) = lines[at..at + minus + plus].split_at_mut(minus);
            for (old, new) in removed.iter_mut().zip(added) {
                mark_pair(old, new);
            }
        }
        at += (minus + plus).max(1);
    }
}

fn run(lines: &[DiffLine], sign: char) -> usize {
    lines.iter().take_while(|l| l.sign == sign).count()
}

fn mark_pair(old: &mut DiffLine, new: &mut DiffLine) {
    if old.text.len() > LINE_BYTES_MAX || new.text.len() > LINE_BYTES_MAX {
        return;
    }
    let input = InternedInput::new(Words(&old.text), Words(&new.text));
    let diff = Diff::compute(Algorithm::Myers, &input);
    let old_marks = spans(&old.text, |i| diff.is_removed(i));
    let new_marks = spans(&new.text, |i| diff.is_added(i));
    let share = |marks: &[(u32, u32)], text: &str| marks.iter().map(|(a, b)| (b - a) as usize).sum::<usize>() * 100 > CHANGED_PERCENT_MAX * text.len().max(1);
    if share(&old_marks, &old.text) || share(&new_marks, &new.text) {
        return;
    }
    old.marks = old_marks;
    new.marks = new_marks;
}

/// Byte ranges of the changed tokens, neighbours joined.
fn spans(text: &str, changed: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
    let mut marks: Vec<(u32, u32)> = Vec::new();
    let mut at = 0u32;
    for (i, word) in words(text).enumerate() {
        let end = at + word.len() as u32;
        if changed(i as u32) {
            match marks.last_mut() {
                Some(last) if last.1 == at => last.1 = end,
                _ => marks.push((at, end)),
            }
        }
        at = end;
    }
    marks
}

#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> TokenSource for Words<'a> {
    type Token = &'a str;
    type Tokenizer = Box<dyn Iterator<Item = &'a str> + 'a>;
    fn tokenize(&self) -> Self::Tokenizer {
        Box::new(words(self.0))
    }
    fn estimate_tokens(&self) -> u32 {
        (self.0.len() / 4) as u32 + 1
    }
}

/// Runs of word characters, runs of white space, and every other character alone.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let class = class_of(first);
        let end = match class {
            Class::Other => first.len_utf8(),
            _ => rest.find(|c| class_of(c) != class).unwrap_or(rest.len()),
        };
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Space,
    Other,
}

fn class_of(c: char) -> Class {
    if c.is_alphanumeric() || c == '_' {
        Class::Word
    } else if c.is_whitespace() {
        Class::Space
    } else {
        Class::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sign: char, text: &str) -> DiffLine {
        DiffLine { sign, old_line: None, new_line: None, text: text.into(), marks: Vec::new() }
    }

    #[test]
    fn only_the_changed_words_are_marked() {
        let mut lines = vec![line(' ', "x"), line('-', "let größe = 1;"), line('+', "let größe = 22;")];
        mark(&mut lines);
        assert_eq!(&lines[1].text[lines[1].marks[0].0 as usize..lines[1].marks[0].1 as usize], "1");
        assert_eq!(&lines[2].text[lines[2].marks[0].0 as usize..lines[2].marks[0].1 as usize], "22");
    }

    #[test]
    fn unlike_lines_and_unequal_runs_stay_unmarked() {
        let mut lines = vec![line('-', "abc"), line('+', "xyz"), line('-', "a b c d"), line('+', "a b c e"), line('+', "more")];
        mark(&mut lines);
        assert!(lines.iter().all(|l| l.marks.is_empty()));
    }
}
