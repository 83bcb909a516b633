//! What a write would change: the content it brings against the file that stands there, line by line, rendered by us.
//!
//! Authority: derived from the artifact and the file; nothing of it comes from the requester's own words. Invariant: bounded
//! on both sides before anything is compared. Failure: a sentence in place of the lines.

use dcc_core::lines::hunks;

use super::changes::hunk_view;
use crate::view::{FileDiff, FileRow};

/// Bytes of either side that are compared; a larger file is named with its size.
pub(super) const BYTES_MAX: usize = 512 * 1024;

/// The diff of one file; `old` is none where nothing stands yet. At most `max` lines.
pub(super) fn write_diff(row: FileRow, old: Option<&[u8]>, new: &[u8], max: usize) -> FileDiff {
    let mut diff = FileDiff { file: row, ..FileDiff::default() };
    let larger = old.map_or(0, <[u8]>::len).max(new.len());
    if larger > BYTES_MAX {
        diff.file.plain = Some(format!("{} KB: too large to be shown here", larger / 1024));
        return diff;
    }
    let (Some(old), Some(new)) = (text(old.unwrap_or_default()), text(new)) else {
        diff.file.plain = Some(format!("binary, {} bytes", new.len()));
        return diff;
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let hunks = hunks(&old, &new);
    let count = |sign| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.sign == sign).count();
    diff.file.additions = Some(count('+') as i64);
    diff.file.deletions = Some(count('-') as i64);
    diff.hunks = hunks.iter().map(|hunk| hunk_view(hunk, hunk.lines.len())).collect();
    super::card_parts::shorten(&mut diff, max);
    diff
}

/// UTF-8 without a zero byte.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: Option<&str>, new: &str) -> FileDiff {
        write_diff(FileRow::default(), old.map(str::as_bytes), new.as_bytes(), 60)
    }

    fn shape(diff: &FileDiff) -> String {
        diff.hunks.iter().flat_map(|h| &h.lines).map(|l| match l.kind.as_str() { "add" => format!("+{} ", l.text), "del" => format!("-{} ", l.text), _ => format!("{} ", l.text) }).collect()
    }

    #[test]
    fn what_changes_is_shown_with_its_surroundings_and_nothing_else() {
        let old: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\nfive\n").replace("\n25\n", "\n");
        let diff = of(Some(&old), &new);
        assert_eq!(diff.hunks.len(), 2);
        assert_eq!(shape(&diff), "2 3 4 -5 +five 6 7 8 22 23 24 -25 26 27 28 ");
        assert_eq!((diff.file.additions, diff.file.deletions), (Some(1), Some(2)));
        assert_eq!(diff.hunks[0].header, "@@ -2,7 +2,7 @@");
        assert_eq!((diff.hunks[1].lines[4].old_number, diff.hunks[1].lines[4].new_number), (Some(26), Some(25)));
    }

    #[test]
    fn a_new_file_is_all_added_and_what_is_no_text_is_named() {
        assert_eq!(shape(&of(None, "a\nb\n")), "+a +b ");
        assert_eq!(of(Some("x"), "a\0b").file.plain.as_deref(), Some("binary, 3 bytes"));
        assert!(of(None, &"x".repeat(BYTES_MAX + 1)).file.plain.unwrap().contains("too large"));
        let long: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(of(None, &long).truncated.as_deref(), Some("first 60 of 100 lines"));
    }
}
