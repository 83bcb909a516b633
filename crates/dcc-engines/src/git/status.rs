//! A worktree's state at once. Authority: derived.
//!
//! Invariants: no optional lock, so the index is not refreshed on disk; submodules and nested repositories are compared by
//! their recorded commit only and never entered, because a status inside one would obey its configuration.

use std::path::Path;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::version::{HeadState, Status, StatusEntry};
use dcc_core::workspace::{WorktreeBinding, escape_path};

use super::GitCli;
use super::builder::{Access, Repo};

impl GitCli {
    pub(super) fn status_of(&self, binding: &WorktreeBinding) -> Outcome<Status> {
        let repo = self.open(binding, Access::Read)?;
        let out = self
            .tool
            .command(&repo, Access::Read, "status")
            .args(["--porcelain=v2", "-z", "--branch", "--untracked-files=all", "--ignore-submodules=dirty", "--find-renames", "--no-ahead-behind"])
            .output()?;
        let mut parsed = parse(&out)?;
        let head = match (parsed.head.take(), parsed.branch.take()) {
            // A branch may be named "(detached)"; HEAD itself knows.
            (_, Some(name)) if name == "(detached)" => self.head(&repo)?,
            (Some(oid), Some(name)) => HeadState::Branch { name, oid },
            (None, Some(name)) => HeadState::Unborn { name },
            (_, None) => self.head(&repo)?,
        };
        Ok(Status {
            head,
            operation: self.operation(&repo)?,
            index_lock: index_lock(&repo),
            entries: parsed.entries,
            cut: parsed.cut,
            engine: self.engine(),
        })
    }
}

/// A present index.lock with its age in seconds.
pub(super) fn index_lock(repo: &Repo) -> Option<(String, u64)> {
    let path = repo.git_dir.join("index.lock");
    let meta = std::fs::symlink_metadata(&path).ok()?;
    let age = meta.modified().ok().and_then(|t| t.elapsed().ok()).map_or(0, |d| d.as_secs());
    Some((shown(&path), age))
}

pub(super) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    escape_path(path.as_os_str().as_bytes())
}

#[derive(Debug, Default)]
struct Parsed {
    head: Option<Oid>,
    branch: Option<String>,
    entries: Vec<StatusEntry>,
    cut: bool,
}

fn parse(bytes: &[u8]) -> Outcome<Parsed> {
    let mut parsed = Parsed::default();
    let mut fields = bytes.split(|b| *b == 0);
    while let Some(field) = fields.next() {
        let entry = match field.first() {
            None => continue,
            Some(b'#') => {
                header(field, &mut parsed);
                continue;
            }
            Some(b'1') => ordinary(field, 8, None)?,
            Some(b'2') => ordinary(field, 9, fields.next())?,
            Some(b'u') => ordinary(field, 10, None)?,
            Some(b'?') => untracked(field.get(2..).unwrap_or_default()),
            Some(b'!') => continue,
            Some(_) => return Err(unknown_form()),
        };
        // A name that could be taken for a git directory cannot be shown as a path; the list says that it is not whole.
        match entry {
            Some(_) if parsed.entries.len() >= limits::STATUS_ENTRIES_MAX => parsed.cut = true,
            Some(entry) => parsed.entries.push(entry),
            None => parsed.cut = true,
        }
    }
    Ok(parsed)
}

fn unknown_form() -> Failure {
    Failure::engine("git status answered in an unknown form")
}

fn header(field: &[u8], parsed: &mut Parsed) {
    let text = String::from_utf8_lossy(field);
    if let Some(oid) = text.strip_prefix("# branch.oid ") {
        parsed.head = Oid::parse(oid).ok();
    } else if let Some(name) = text.strip_prefix("# branch.head ") {
        parsed.branch = Some(name.to_owned());
    }
}

/// Lines `1`, `2` and `u`: the path follows after `spaces` blanks. None when the path cannot be held.
fn ordinary(field: &[u8], spaces: usize, origin: Option<&[u8]>) -> Outcome<Option<StatusEntry>> {
    let mut parts = field.splitn(spaces + 1, |b| *b == b' ');
    let _kind = parts.next();
    let letters = parts.next().ok_or_else(unknown_form)?;
    let submodule = parts.next().ok_or_else(unknown_form)?;
    let path = parts.nth(spaces - 3).ok_or_else(unknown_form)?;
    let &[index, worktree] = letters else { return Err(unknown_form()) };
    let Ok(path) = RepoPath::new(path) else { return Ok(None) };
    let renamed_from = match origin.map(RepoPath::new) {
        Some(Ok(origin)) => Some(origin),
        Some(Err(_)) => return Ok(None),
        None => None,
    };
    Ok(Some(StatusEntry {
        path,
        renamed_from,
        index: char::from(index),
        worktree: char::from(worktree),
        is_submodule: submodule.first() == Some(&b'S'),
        is_unmerged: field[0] == b'u',
    }))
}

/// A nested repository comes with a slash at its end and is one entry.
fn untracked(path: &[u8]) -> Option<StatusEntry> {
    let (path, is_submodule) = match path.strip_suffix(b"/") {
        Some(dir) => (dir, true),
        None => (path, false),
    };
    let path = RepoPath::new(path).ok()?;
    Some(StatusEntry { path, renamed_from: None, index: '?', worktree: '?', is_submodule, is_unmerged: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read_as_bytes() {
        let oid = "a".repeat(40);
        let text = format!(
            "# branch.oid {oid}\0# branch.head main\01 .M N... 100644 100644 100644 {oid} {oid} a b\nc\0\
             2 R. N... 100644 100644 100644 {oid} {oid} R100 new name\0old name\0\
             u UU N... 100644 100644 100644 100644 {oid} {oid} {oid} both\0? -rf\0? nested/\0? GIT~1/x\0"
        );
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.branch.as_deref(), Some("main"));
        let paths: Vec<_> = parsed.entries.iter().map(|e| e.path.display()).collect();
        assert_eq!(paths, ["a b\nc", "new name", "both", "-rf", "nested"]);
        assert_eq!(parsed.entries[1].renamed_from.as_ref().unwrap().display(), "old name");
        assert!(parsed.entries[2].is_unmerged && parsed.entries[4].is_submodule && parsed.cut);
    }
}
