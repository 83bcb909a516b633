//! Files git does not know yet, as additions. Authority: derived.
//!
//! Invariants: contents are read beneath the worktree without following links; nested repositories are named, not entered.

use std::io::Read as _;

use dcc_core::failure::Outcome;
use dcc_core::ids::Oid;
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::version::{DiffLine, FileDiff, Hunk};
use dcc_core::workspace::WorktreeBinding;

use super::builder::{Access, Repo};
use super::diff::{TEXT_BYTES_MAX, text_budget};
use super::{GitCli, quote};
use crate::files::{Node, Root};

/// Bytes read to count lines in one list; files beyond have no counts.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Where git looks for a NUL to call a file binary.
const BINARY_LOOK_BYTES: usize = 8_000;
const NAMED_PATHS_MAX: usize = 400;

/// Untracked files with counts, text and the id a commit would give them.
pub(super) fn list(git: &GitCli, repo: &Repo, binding: &WorktreeBinding, paths: &[RepoPath]) -> Outcome<Vec<FileDiff>> {
    let named = if paths.len() > NAMED_PATHS_MAX { &[] } else { paths };
    let out = git.tool.command(repo, Access::Read, "ls-files").args(["--others", "--exclude-standard", "-z"]).paths(named).output()?;
    let root = Root::open(binding)?;
    let mut files = Vec::new();
    let mut budget = READ_BYTES_MAX;
    for name in out.split(|b| *b == 0).filter(|n| !n.is_empty()).take(limits::STATUS_ENTRIES_MAX) {
        let (name, is_nested) = name.strip_suffix(b"/").map_or((name, false), |dir| (dir, true));
        let Ok(path) = RepoPath::new(name) else { continue };
        if is_nested {
            let mut file = blank(path, "160000");
            file.is_submodule = true;
            files.push(file);
            continue;
        }
        if let Some(file) = read_one(&root, path, &mut budget) {
            files.push(file);
        }
    }
    fill_oids(git, repo, &mut files)?;
    Ok(files)
}

fn blank(path: RepoPath, mode: &str) -> FileDiff {
    FileDiff {
        path,
        renamed_from: None,
        change: "untracked".into(),
        old_mode: None,
        new_mode: Some(mode.into()),
        old_oid: None,
        new_oid: None,
        added: None,
        deleted: None,
        is_binary: false,
        is_submodule: false,
        crlf_only: false,
        hunks: Vec::new(),
        cut: false,
    }
}

/// None when it is gone by now, or nothing git would store.
fn read_one(root: &Root, path: RepoPath, budget: &mut u64) -> Option<FileDiff> {
    match root.look(&path) {
        Ok(Node::Regular { file, is_executable, bytes }) => {
            let mut found = blank(path, if is_executable { "100755" } else { "100644" });
            if bytes > TEXT_BYTES_MAX {
                found.is_binary = true;
                found.cut = true;
            } else if bytes > *budget {
                found.cut = true;
            } else {
                *budget -= bytes;
                let mut content = Vec::new();
                if file.take(TEXT_BYTES_MAX).read_to_end(&mut content).is_ok() {
                    describe(&mut found, &content);
                }
            }
            Some(found)
        }
        Ok(Node::Symlink(text)) => {
            let mut found = blank(path, "120000");
            describe(&mut found, &text);
            Some(found)
        }
        Ok(Node::Absent | Node::Directory | Node::Special | Node::ThroughLink) => None,
        // A file that may not be read is still an untracked file.
        Err(_) => Some(blank(path, "100644")),
    }
}

fn describe(found: &mut FileDiff, content: &[u8]) {
    if content.iter().take(BINARY_LOOK_BYTES).any(|b| *b == 0) {
        found.is_binary = true;
        return;
    }
    let count = content.split_inclusive(|b| *b == b'\n').count() as u32;
    found.added = Some(count);
    found.deleted = Some(0);
    if count == 0 {
        return;
    }
    let mut budget = text_budget();
    let mut lines = Vec::new();
    for (i, line) in content.split_inclusive(|b| *b == b'\n').enumerate() {
        if line.len() >= budget {
            found.cut = true;
            break;
        }
        budget -= line.len();
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        lines.push(DiffLine { sign: '+', old_line: None, new_line: Some(i as u32 + 1), text: String::from_utf8_lossy(bare).into_owned(), marks: Vec::new() });
    }
    if !found.cut && !content.ends_with(b"\n") {
        lines.push(DiffLine { sign: '\\', old_line: None, new_line: None, text: " No newline at end of file".into(), marks: Vec::new() });
    }
    found.hunks = vec![Hunk { old_start: 0, old_lines: 0, new_start: 1, new_lines: count, heading: String::new(), lines }];
}

/// Ids as a commit would store the files; nothing is written. A file that vanishes meanwhile leaves the rest without ids.
fn fill_oids(git: &GitCli, repo: &Repo, files: &mut [FileDiff]) -> Outcome<()> {
    let is_plain = |f: &FileDiff| f.new_mode.as_deref().is_some_and(|m| m.starts_with("100")) && (f.added.is_some() || f.is_binary || f.cut);
    let mut input = Vec::new();
    for file in files.iter().filter(|f| is_plain(f)) {
        input.extend(quote::quote(file.path.as_bytes()));
        input.push(b'\n');
    }
    if !input.is_empty() {
        let run = git.tool.command(repo, Access::Read, "hash-object").arg("--stdin-paths").stdin(input).run()?;
        let text = String::from_utf8_lossy(&run.done.stdout).into_owned();
        for (file, oid) in files.iter_mut().filter(|f| is_plain(f)).zip(text.lines()) {
            file.new_oid = Oid::parse(oid).ok();
        }
    }
    for file in files.iter_mut().filter(|f| f.new_mode.as_deref() == Some("120000")) {
        let text: Vec<u8> = file.hunks.iter().flat_map(|h| h.lines.iter()).filter(|l| l.sign == '+').map(|l| l.text.clone()).collect::<Vec<_>>().join("\n").into_bytes();
        // Text that was not UTF-8 was replaced above and would hash to something else.
        if !text.is_empty() && !String::from_utf8_lossy(&text).contains('\u{fffd}') {
            let oid = git.tool.command(repo, Access::Read, "hash-object").args(["--stdin", "--no-filters"]).stdin(text).line()?;
            file.new_oid = Oid::parse(&oid).ok();
        }
    }
    Ok(())
}
