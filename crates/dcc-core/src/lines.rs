//! The lines in which two texts differ, in hunks with three lines around them. Pure.

use imara_diff::{Algorithm, Diff, InternedInput};

use crate::ports::version::{DiffLine, Hunk};

/// Lines shown around a change.
const AROUND: u32 = 3;

/// From the lines of `old` to those of `new`.
pub fn hunks(old: &[&str], new: &[&str]) -> Vec<Hunk> {
    let mut input = InternedInput::default();
    input.update_before(old.iter().copied());
    input.update_after(new.iter().copied());
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let mut groups: Vec<Vec<imara_diff::Hunk>> = Vec::new();
    for change in diff.hunks() {
        match groups.last_mut() {
            Some(group) if change.before.start - group[group.len() - 1].before.end <= 2 * AROUND => group.push(change),
            _ => groups.push(vec![change]),
        }
    }
    groups.iter().map(|group| hunk(group, old, new)).collect()
}

/// Changes that stand near each other, with the lines around and between them.
fn hunk(group: &[imara_diff::Hunk], old: &[&str], new: &[&str]) -> Hunk {
    let (first, last) = (&group[0], &group[group.len() - 1]);
    let lead = first.before.start.min(AROUND);
    let tail = (old.len() as u32 - last.before.end).min(AROUND);
    let (old_start, new_start) = (first.before.start - lead, first.after.start - lead);
    let mut lines = Vec::new();
    let (mut old_at, mut new_at) = (old_start, new_start);
    for change in group {
        same(&mut lines, old, old_at..change.before.start, new_at);
        lines.extend(change.before.clone().map(|at| line('-', Some(at), None, old[at as usize])));
        lines.extend(change.after.clone().map(|at| line('+', None, Some(at), new[at as usize])));
        (old_at, new_at) = (change.before.end, change.after.end);
    }
    same(&mut lines, old, old_at..old_at + tail, new_at);
    let (old_lines, new_lines) = (old_at + tail - old_start, new_at + tail - new_start);
    Hunk { old_start: old_start + 1, old_lines, new_start: new_start + 1, new_lines, heading: String::new(), lines }
}

fn same(lines: &mut Vec<DiffLine>, old: &[&str], range: std::ops::Range<u32>, new_from: u32) {
    lines.extend((new_from..).zip(range).map(|(new, at)| line(' ', Some(at), Some(new), old[at as usize])));
}

fn line(sign: char, old: Option<u32>, new: Option<u32>, text: &str) -> DiffLine {
    DiffLine { sign, old_line: old.map(|n| n + 1), new_line: new.map(|n| n + 1), text: text.to_owned(), marks: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The new text is what is left when removed lines are taken out.
    #[test]
    fn hunks_tell_the_change_and_join_when_near() {
        let old: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
        let mut new = old.clone();
        new[4] = "five".into();
        new.insert(6, "between".into());
        new.remove(25);
        new.push("end".into());
        let found = hunks(&old.iter().map(String::as_str).collect::<Vec<_>>(), &new.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.len(), 2, "{found:#?}");
        for hunk in &found {
            let before: Vec<&str> = hunk.lines.iter().filter(|l| l.sign != '+').map(|l| l.text.as_str()).collect();
            let after: Vec<&str> = hunk.lines.iter().filter(|l| l.sign != '-').map(|l| l.text.as_str()).collect();
            let at = |text: &[String], from: u32, count: u32| text[from as usize - 1..(from + count) as usize - 1].to_vec();
            assert_eq!(before, at(&old, hunk.old_start, hunk.old_lines));
            assert_eq!(after, at(&new, hunk.new_start, hunk.new_lines));
            for line in &hunk.lines {
                assert!(line.old_line.is_none_or(|n| old[n as usize - 1] == line.text));
                assert!(line.new_line.is_none_or(|n| new[n as usize - 1] == line.text));
            }
        }
        assert!(hunks(&["a", "b"], &["a", "b"]).is_empty());
        assert_eq!(hunks(&[], &["a"])[0].lines.len(), 1);
        assert_eq!(hunks(&["a"], &[])[0].lines[0].sign, '-');
    }
}
