//! Reading git's unified patches. Pure.
//!
//! Invariants: a section starts only where a line starts with `diff --git `, which no body line can, because each has its
//! sign first; counts in `@@` are followed, so text that looks like a header inside a hunk stays text.

use dcc_core::ids::Oid;
use dcc_core::limits;
use dcc_core::ports::version::{DiffLine, Hunk};

use super::{quote, words};

/// One file's part of a patch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Section {
    /// The path after the change, or before it when the file was deleted.
    pub(super) path: Vec<u8>,
    /// From the index line; none when the patch has none.
    pub(super) new_oid: Option<Oid>,
    pub(super) is_binary: bool,
    pub(super) hunks: Vec<Hunk>,
    pub(super) cut: bool,
    /// Only carriage returns at line ends differ.
    pub(super) crlf_only: bool,
}

/// Splits a patch and reads each section.
pub(super) fn parse(patch: &[u8]) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut rest = patch;
    while !rest.is_empty() {
        let start = find_section(rest);
        let Some(start) = start else { break };
        let body = &rest[start..];
        let end = find_section(&body[1..]).map_or(body.len(), |e| e + 1);
        sections.push(section(&body[..end]));
        rest = &body[end..];
    }
    sections
}

fn find_section(bytes: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"diff --git ";
    if bytes.starts_with(MARK) {
        return Some(0);
    }
    bytes.windows(MARK.len() + 1).position(|w| w[0] == b'\n' && &w[1..] == MARK).map(|at| at + 1)
}

fn section(bytes: &[u8]) -> Section {
    let mut found = Section::default();
    let mut lines = Lines(bytes);
    let first = lines.next().unwrap_or_default();
    let mut name = symmetrical(first.strip_prefix(b"diff --git ").unwrap_or_default());
    let mut budget = limits::DIFF_FILE_BYTES_MAX;
    let mut sides = Sides::default();
    while let Some(line) = lines.next() {
        if let Some(header) = line.strip_prefix(b"@@ ") {
            if let Some(hunk) = hunk(header, &mut lines, &mut budget, &mut sides) {
                found.hunks.push(hunk);
            }
        } else if let Some(to) = line.strip_prefix(b"rename to ").or_else(|| line.strip_prefix(b"copy to ")) {
            name = Some(unquoted(to));
        } else if let Some(oids) = line.strip_prefix(b"index ") {
            found.new_oid = index_line(oids);
        } else if let Some(side) = line.strip_prefix(b"+++ ").or_else(|| line.strip_prefix(b"--- ")) {
            name = side_name(side).or(name);
        } else if line.starts_with(b"Binary files ") || line.starts_with(b"GIT binary patch") {
            found.is_binary = true;
        }
    }
    found.cut = budget == 0;
    found.crlf_only = sides.changed && sides.old == sides.new && !found.cut;
    found.path = name.unwrap_or_default();
    found
}

/// Lines without their line feed.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|b| *b == b'\n').unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(line)
    }
}

/// Hashes of both sides with carriage returns at line ends left out, to tell a change of line endings alone.
#[derive(Default)]
struct Sides {
    changed: bool,
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
}

/// `a/NAME b/NAME` of a change without rename: both halves are the same name.
fn symmetrical(text: &[u8]) -> Option<Vec<u8>> {
    if text.starts_with(b"\"") {
        let (first, _) = quote::unquote(text)?;
        return first.get(2..).map(<[u8]>::to_vec);
    }
    let half = text.len().checked_sub(1)? / 2;
    text.get(2..half).map(<[u8]>::to_vec)
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    quote::unquote(text).map_or_else(|| text.to_vec(), |(name, _)| name)
}

/// The name of a `---` or `+++` line; none for /dev/null. Git ends a name that has a blank with a tab.
fn side_name(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"/dev/null" {
        return None;
    }
    let name = if text.starts_with(b"\"") { unquoted(text) } else { text.strip_suffix(b"\t").unwrap_or(text).to_vec() };
    name.get(2..).map(<[u8]>::to_vec)
}

/// The second id of `index OLD..NEW MODE`.
fn index_line(text: &[u8]) -> Option<Oid> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, after) = text.split_once("..")?;
    Oid::parse(after.split(' ').next()?).ok().filter(|oid| !oid.is_zero())
}

/// Reads one hunk by its counts. Text beyond the budget is passed over; the budget then stands at zero.
fn hunk(header: &[u8], lines: &mut Lines<'_>, budget: &mut usize, sides: &mut Sides) -> Option<Hunk> {
    let header = String::from_utf8_lossy(header);
    let (ranges, heading) = header.split_once(" @@")?;
    let (old, new) = ranges.split_once(' ')?;
    let (old_start, old_lines) = range(old.strip_prefix('-')?)?;
    let (new_start, new_lines) = range(new.strip_prefix('+')?)?;
    let mut hunk = Hunk { old_start, old_lines, new_start, new_lines, heading: heading.trim_start().to_owned(), lines: Vec::new() };
    let (mut old_left, mut new_left) = (old_lines, new_lines);
    let (mut old_at, mut new_at) = (old_start, new_start);
    loop {
        let next_is_note = lines.0.starts_with(b"\\");
        if old_left == 0 && new_left == 0 && !next_is_note {
            break;
        }
        let Some(line) = lines.next() else { break };
        let (sign, text) = match line.split_first() {
            Some((sign, text)) => (*sign, text),
            None => (b' ', line),
        };
        let (mut old_line, mut new_line) = (None, None);
        if matches!(sign, b' ' | b'-') {
            old_line = Some(old_at);
            old_at += 1;
            old_left = old_left.saturating_sub(1);
        }
        if matches!(sign, b' ' | b'+') {
            new_line = Some(new_at);
            new_at += 1;
            new_left = new_left.saturating_sub(1);
        }
        if *budget < line.len() {
            *budget = 0;
        }
        if *budget == 0 {
            continue;
        }
        *budget -= line.len().min(*budget - 1);
        note_side(sign, text, sides);
        hunk.lines.push(DiffLine { sign: char::from(sign), old_line, new_line, text: String::from_utf8_lossy(text).into_owned(), marks: Vec::new() });
    }
    words::mark(&mut hunk.lines);
    Some(hunk)
}

fn note_side(sign: u8, text: &[u8], sides: &mut Sides) {
    let bare = text.strip_suffix(b"\r").unwrap_or(text);
    match sign {
        b'-' => sides.old.push(bare.to_vec()),
        b'+' => sides.new.push(bare.to_vec()),
        _ => return,
    }
    sides.changed = true;
}

/// `start,count`; the count is one when left out.
fn range(text: &str) -> Option<(u32, u32)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/a b b/a b\nindex 1111111111111111111111111111111111111111..2222222222222222222222222222222222222222 100644\n--- a/a b\t\n+++ b/a b\t\n@@ -1,2 +1,2 @@ fn x\n one\n-diff --git a/x b/x\n+two\n\\ No newline at end of file\ndiff --git \"a/n\\nl\" \"b/n\\nl\"\nold mode 100644\nnew mode 100755\ndiff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\ndiff --git a/c b/c\nindex 1..2\n--- a/c\n+++ b/c\n@@ -1 +1 @@\n-x\r\n+x\n";

    #[test]
    fn sections_are_found_by_their_names() {
        let sections = parse(PATCH.as_bytes());
        let names: Vec<_> = sections.iter().map(|s| String::from_utf8_lossy(&s.path).into_owned()).collect();
        assert_eq!(names, ["a b", "n\nl", "new", "c"]);
        let hunk = &sections[0].hunks[0];
        assert_eq!(hunk.heading, "fn x");
        assert_eq!(hunk.lines.iter().map(|l| (l.sign, l.old_line, l.new_line)).collect::<Vec<_>>(), [(' ', Some(1), Some(1)), ('-', Some(2), None), ('+', None, Some(2)), ('\\', None, None)]);
        assert_eq!(sections[0].new_oid.as_ref().unwrap().as_str(), "2".repeat(40));
        assert!(sections[3].crlf_only && !sections[0].crlf_only);
    }
}
