//! Git's changes as rows: files in their groups, lines, commits.
//!
//! Authority: derived. Invariant: a count that git does not give (binary, submodule) stays unknown.

use serde_json::Value;

use dcc_core::RepoPath;
use dcc_core::locus::scope;
use dcc_core::ports::version::{CommitFacts, FileDiff as Changed, Hunk};

use super::rows::path_view;
use crate::view::{CommitRow, DiffLine, FileDiff, FileRow, HunkView};

/// Lines of one file that a page carries; the rest is said to be left out.
const LINES_MAX: usize = 2_000;

/// Changed files with their group, those of the packet's own work first.
pub(super) fn file_rows(files: &[Changed], in_scope_paths: &[String]) -> Vec<FileRow> {
    let paths: Vec<&RepoPath> = files.iter().map(|f| &f.path).collect();
    // A scope that cannot be read hides nothing: the commit's own gate refuses it by name.
    let outside = scope::outside(in_scope_paths, paths).unwrap_or_default();
    files.iter().map(|file| file_row(file, outside.contains(&file.path))).collect()
}

pub(super) fn file_row(file: &Changed, outside: bool) -> FileRow {
    let kind = kind_of(file);
    FileRow {
        path: path_view(&file.path),
        old_path: file.renamed_from.as_ref().map(path_view),
        plain: plain(file, &kind),
        kind,
        additions: file.added.map(i64::from),
        deletions: file.deleted.map(i64::from),
        blob_oid: if file.change == "deleted" { "deleted".to_owned() } else { file.new_oid.as_ref().map_or_else(String::new, ToString::to_string) },
        group: group_of(&file.path.display(), outside).to_owned(),
        in_scope: !outside,
        touched_by: None,
    }
}

fn kind_of(file: &Changed) -> String {
    if file.is_submodule {
        return "submodule".to_owned();
    }
    match file.change.as_str() {
        "type changed" => "type_changed",
        "mode" => "mode_changed",
        "conflict" => "conflicted",
        "copied" => "added",
        other => other,
    }
    .to_owned()
}

fn plain(file: &Changed, kind: &str) -> Option<String> {
    let modes = match (&file.old_mode, &file.new_mode) {
        (Some(old), Some(new)) if old != new => Some(format!("mode {} to {}", short_mode(old), short_mode(new))),
        _ => None,
    };
    match kind {
        "submodule" => Some("submodule: its commit changed".to_owned()),
        _ if file.is_binary => Some("binary".to_owned()),
        _ if file.crlf_only => Some("line endings only".to_owned()),
        _ => modes,
    }
}

fn short_mode(mode: &str) -> &str {
    mode.get(mode.len().saturating_sub(3)..).unwrap_or(mode)
}

const LOCKS: [&str; 7] = ["package-lock.json", "pnpm-lock.yaml", "go.sum", "bun.lockb", "npm-shrinkwrap.json", "gradle.lockfile", "flake.lock"];
const FOLDERS: [&str; 10] = ["test", "tests", "__tests__", "testdata", "fixtures", "snapshots", "generated", "dist", "vendor", "__snapshots__"];

/// source, supporting (tests, generated, lock files), unexpected (outside the scope).
pub(super) fn group_of(path: &str, outside: bool) -> &'static str {
    if outside {
        return "unexpected";
    }
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let stem = name.split('.').next().unwrap_or(name);
    let folder = lower.rsplit_once('/').map_or("", |(folder, _)| folder);
    let ends = |fronts: &[&str]| fronts.iter().any(|end| name.ends_with(end));
    let lock = LOCKS.contains(&name) || ends(&[".lock"]);
    let test = stem.starts_with("test_") || stem.ends_with("_test") || stem.ends_with("_tests") || stem == "tests" || name.contains(".test.") || name.contains(".spec.");
    let made = name.contains(".generated.") || name.contains(".min.") || ends(&[".snap", ".pb.go", "_pb2.py"]);
    let placed = folder.split('/').any(|part| FOLDERS.contains(&part));
    if lock || test || made || placed { "supporting" } else { "source" }
}

/// The lines of one file.
pub(super) fn file_diff(file: &Changed, row: FileRow) -> FileDiff {
    let total: usize = file.hunks.iter().map(|h| h.lines.len()).sum();
    let mut room = LINES_MAX;
    let mut hunks = Vec::new();
    for hunk in &file.hunks {
        if room == 0 {
            break;
        }
        let shown = hunk.lines.len().min(room);
        room -= shown;
        hunks.push(hunk_view(hunk, shown));
    }
    let truncated = match (total > LINES_MAX, file.cut) {
        (true, _) => Some(format!("first {LINES_MAX} of {total} lines")),
        (_, true) => Some(format!("the file is larger than is shown: first {total} lines")),
        _ => None,
    };
    FileDiff { file: row, hunks, truncated, failure: None }
}

pub(super) fn hunk_view(hunk: &Hunk, shown: usize) -> HunkView {
    let heading = if hunk.heading.is_empty() { String::new() } else { format!(" {}", hunk.heading) };
    HunkView {
        header: format!("@@ -{},{} +{},{} @@{heading}", hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines),
        note: None,
        lines: hunk
            .lines
            .iter()
            .take(shown)
            .map(|line| DiffLine {
                kind: line_kind(line.sign).to_owned(),
                old_number: line.old_line.map(i64::from),
                new_number: line.new_line.map(i64::from),
                text: line.text.clone(),
                marks: line.marks.iter().map(|(start, end)| (*start as usize, *end as usize)).collect(),
            })
            .collect(),
    }
}

fn line_kind(sign: char) -> &'static str {
    match sign {
        '+' => "add",
        '-' => "del",
        '\\' => "no_newline",
        _ => "context",
    }
}

/// The hunks of a unified diff given as text, at most `max` lines; the second part says whether lines were left out.
pub(super) fn parse_unified(text: &str, max: usize) -> (Vec<HunkView>, bool) {
    let mut hunks: Vec<HunkView> = Vec::new();
    let (mut old, mut new) = (1i64, 1i64);
    // Only in front of the first hunk are these headers; inside one they are a removed or an added line.
    let body = text.lines().skip_while(|l| ["diff ", "index ", "--- ", "+++ "].iter().any(|front| l.starts_with(front)));
    for (shown, line) in body.enumerate() {
        if shown >= max {
            return (hunks, true);
        }
        if line.starts_with("@@") {
            (old, new) = starts(line).unwrap_or((1, 1));
            hunks.push(HunkView { header: line.to_owned(), ..HunkView::default() });
            continue;
        }
        let sign = line.chars().next().unwrap_or(' ');
        let kind = line_kind(sign);
        let text = if matches!(sign, '+' | '-' | ' ' | '\\') { line.get(1..).unwrap_or("") } else { line };
        let numbers = match kind {
            "add" => (None, Some(new)),
            "del" => (Some(old), None),
            "context" => (Some(old), Some(new)),
            _ => (None, None),
        };
        old += i64::from(numbers.0.is_some());
        new += i64::from(numbers.1.is_some());
        if hunks.is_empty() {
            hunks.push(HunkView::default());
        }
        if let Some(hunk) = hunks.last_mut() {
            hunk.lines.push(DiffLine { kind: kind.to_owned(), old_number: numbers.0, new_number: numbers.1, text: text.to_owned(), marks: Vec::new() });
        }
    }
    (hunks, false)
}

/// Where the two sides of a hunk start.
fn starts(header: &str) -> Option<(i64, i64)> {
    let mut parts = header.split(' ').skip(1);
    let side = |part: &str, sign: char| part.strip_prefix(sign)?.split(',').next()?.parse().ok();
    Some((side(parts.next()?, '-')?, side(parts.next()?, '+')?))
}

pub(super) fn commit_row(commit: &CommitFacts) -> CommitRow {
    let trailer = |key: &str| commit.trailers.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let job_id = trailer("DCC-Job");
    CommitRow {
        commit_oid: commit.oid.to_string(),
        subject: commit.subject.clone(),
        author: commit.author.clone(),
        committed_at_ms: commit.committed_at.as_ms(),
        governed: job_id.is_some(),
        job_id,
        approval_id: trailer("DCC-Approval"),
    }
}

/// Indented JSON, for the pages that show a record whole.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_grouped_by_what_they_are_for() {
        for (path, group) in [
            ("src/lib.rs", "source"),
            ("src/latest.rs", "source"),
            ("Cargo.lock", "supporting"),
            ("a/package-lock.json", "supporting"),
            ("crates/x/tests/door.rs", "supporting"),
            ("src/foo_test.go", "supporting"),
            ("web/a.spec.ts", "supporting"),
            ("x/__snapshots__/a.snap", "supporting"),
        ] {
            assert_eq!(group_of(path, false), group, "{path}");
        }
        assert_eq!(group_of("Cargo.lock", true), "unexpected");
    }

    #[test]
    fn a_unified_diff_keeps_its_numbers() {
        let (hunks, cut) = parse_unified("--- a\n+++ b\n@@ -3,2 +3,2 @@ fn x\n same\n-old\n+new\n\\ No newline at end of file\n", 50);
        assert!(!cut);
        let lines = &hunks[0].lines;
        assert_eq!((lines[0].old_number, lines[0].new_number, lines[0].text.as_str()), (Some(3), Some(3), "same"));
        assert_eq!((lines[1].old_number, lines[1].new_number, lines[1].kind.as_str()), (Some(4), None, "del"));
        assert_eq!((lines[2].old_number, lines[2].new_number, lines[2].kind.as_str()), (None, Some(4), "add"));
        assert_eq!(lines[3].kind, "no_newline");
        let (hunks, _) = parse_unified("@@ -1,1 +1,1 @@\n--- a comment\n+++ b\n", 50);
        assert_eq!(hunks[0].lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["-- a comment", "++ b"]);
        assert!(parse_unified("+a\n+b\n", 1).1);
    }
}
