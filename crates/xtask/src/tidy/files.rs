//! Rules that hold for a file by itself: its length and that of its functions, words that must not stand in it, paths of somebody's machine.

use std::path::Path;

use anyhow::{Result, ensure};

use super::Finding;
use crate::tree::{self, SourceFile};

/// House style: a file is read in one sitting.
const LINES_MAX: usize = 500;
/// And a function on one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Tests are tables and stories, also the examples that serve them; they may be longer.
const TEST_LINES_MAX: usize = 900;

/// Written in pieces, so that this file does not find itself.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("todo", "!("), "answer HSK-501-NOT-BUILT and say so in docs/roadmap.md"),
    (concat!("unimplemented", "!("), "answer HSK-501-NOT-BUILT and say so in docs/roadmap.md"),
    (concat!("thread::", "sleep"), "wait for the event itself, with a deadline"),
    (concat!("park_", "timeout("), "wait for the event itself, with a deadline"),
    (concat!("time::", "sleep("), "wait for the event itself, with a deadline"),
];

/// On the line above, it lets one use pass, with the reason that follows it.
const EXPLAINED: &str = "// tidy, allowed:";

/// Fronts of paths that exist on one machine only.
const MACHINE: [&str; 4] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/ho", "me/")];
/// Names under a home directory that everybody reads as an example.
const EXAMPLE_HOMES: [&str; 8] = ["alex", "me", "op", "operator", "u", "user", "x", "you"];

fn sources(root: &Path) -> Result<Vec<SourceFile>> {
    let found = tree::files(root, "crates", &[".rs", ".js", ".css"])?;
    ensure!(!found.is_empty(), "no source file was found under crates/");
    Ok(found.into_iter().filter(|f| !f.path.contains("/vendor/")).collect())
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/examples/")
}

/// Files that are too long to be read in one sitting, and functions that do not fit on a screen.
pub fn lengths(root: &Path) -> Result<Vec<Finding>> {
    let sources = sources(root)?;
    Ok(sources.iter().filter_map(length).chain(sources.iter().flat_map(functions)).collect())
}

/// A function ends with the brace that stands as far in as it does: the layout is not the compiler's, but it is ours.
fn functions(file: &SourceFile) -> Vec<Finding> {
    if is_test(&file.path) || !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (n, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line) && line.ends_with('{')) {
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let count = lines[n..].iter().position(|line| **line == end).map_or(0, |at| at + 1);
        if count > FUNCTION_LINES_MAX {
            findings.push(format!("{}:{}: a function of {count} lines, at most {FUNCTION_LINES_MAX}: split it by what it does", file.path, n + 1));
        }
    }
    findings
}

fn begins_function(line: &str) -> bool {
    let before = line.split("fn ").next().unwrap_or_default();
    before.len() < line.len() && before.split_whitespace().all(|word| matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub"))
}

fn length(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let most = if is_test(&file.path) { TEST_LINES_MAX } else { LINES_MAX };
    (lines > most).then(|| format!("{}: {lines} lines, at most {most}: split it by noun or use case", file.path))
}

/// Unfinished code, and sleeps where an event should be waited for.
pub fn words(root: &Path) -> Result<Vec<Finding>> {
    Ok(sources(root)?.iter().flat_map(forbidden).collect())
}

fn forbidden(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut above = "";
    for (n, line) in file.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let is_explained = above.contains(EXPLAINED);
        for (word, instead) in FORBIDDEN.iter().filter(|(word, _)| !is_explained && code.contains(word)) {
            findings.push(format!("{}:{}: {word}: {instead}, or say why in a line above: {EXPLAINED} REASON", file.path, n + 1));
        }
        above = line;
    }
    findings
}

/// Paths that name a machine or a person instead of an example.
pub fn machine_paths(root: &Path) -> Result<Vec<Finding>> {
    let mut all = sources(root)?;
    all.extend(tree::files(root, "docs", &[".md"])?);
    all.extend(tree::files(root, "crates", &[".toml", ".json", ".md", ".sql", ".html"])?);
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let ending = Path::new(&name).extension().and_then(std::ffi::OsStr::to_str);
        if matches!(ending, Some("md" | "toml")) {
            all.push(SourceFile { text: tree::load(root, &name)?, path: name });
        }
    }
    Ok(all.iter().flat_map(named_paths).collect())
}

fn named_paths(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        for front in MACHINE {
            for (at, _) in line.match_indices(front) {
                if starts_a_path(line, at) && !is_example(&line[at + front.len()..], front) {
                    findings.push(format!("{}:{}: names {front}..., a path of one machine", file.path, n + 1));
                }
            }
        }
    }
    findings
}

/// True when the slash begins a path; inside a relative one it follows a name.
fn starts_a_path(line: &str, at: usize) -> bool {
    line[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*' | '~')))
}

fn is_example(rest: &str, front: &str) -> bool {
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    // A dot file of the superuser exists everywhere; attacks in tests reach for it.
    if front.starts_with("/r") {
        return rest.starts_with('.');
    }
    front.starts_with("/h") && (name.is_empty() || EXAMPLE_HOMES.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn long_files_are_found_and_tests_may_be_longer() {
        let text = "line\n".repeat(501);
        assert!(length(&file("crates/a/src/b.rs", &text)).is_some());
        assert!(length(&file("crates/a/tests/b.rs", &text)).is_none());
        assert!(length(&file("crates/a/src/tests.rs", &"line\n".repeat(901))).is_some());
    }

    #[test]
    fn long_functions_are_found() {
        let text = |lines: usize| format!("impl A {{\n    pub(super) async fn a(\n        b: u8,\n    ) {{}}\n    pub fn c() {{\n{}    }}\n}}\n", "        line();\n".repeat(lines));
        assert!(functions(&file("crates/a/src/b.rs", &text(68))).is_empty());
        assert!(functions(&file("crates/a/src/b.rs", &text(69)))[0].starts_with("crates/a/src/b.rs:5: a function of 71 lines"));
        assert!(functions(&file("crates/a/src/tests/b.rs", &text(69))).is_empty());
    }

    #[test]
    fn words_count_in_code_and_not_in_comments() {
        let text = format!("{}\"later\");\n// {}\n", FORBIDDEN[0].0, FORBIDDEN[2].0);
        let findings = forbidden(&file("a.rs", &text));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("a.rs:1: "));
        let word = FORBIDDEN[2].0;
        let explained = format!("{EXPLAINED} the kernel tells nobody\n{word}(pause);\n{word}(pause);\n");
        assert_eq!(forbidden(&file("a.rs", &explained)).len(), 1);
    }

    #[test]
    fn a_machine_is_named_and_an_example_is_not() {
        let named = |text: &str| named_paths(&file("a.md", text)).len();
        assert_eq!(named(&format!("see {}thing", MACHINE[0])), 1);
        assert_eq!(named(&format!("see {}jane/code", MACHINE[3])), 1);
        assert_eq!(named(&format!("see {}you/code and src{}x", MACHINE[3], MACHINE[0])), 0);
    }
}
