//! What changed in a worktree between two looks, by bytes. Authority: derived; evidence for what agents did.
//!
//! Invariants: contents are read beneath the worktree without following links; a file is read again unless inode, size,
//! and both times stayed (the time of the last change to an inode cannot be set by whoever writes the file); a path that
//! only looks changed because HEAD moved is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::ids::Sha256Hex;
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::version::{Difference, FileSeen, HeadState, Observation};
use dcc_core::workspace::WorktreeBinding;
use sha2::{Digest as _, Sha256};

use super::GitCli;
use super::builder::{Access, Repo};
use crate::files::{Node, Root};

impl GitCli {
    pub(super) fn observe_worktree(&self, binding: &WorktreeBinding, before: Option<&Observation>) -> Outcome<(Observation, Difference)> {
        let repo = self.open(binding, Access::Read)?;
        let head = self.head(&repo)?;
        let out = self
            .tool
            .command(&repo, Access::Read, "status")
            .args(["--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=dirty", "--no-renames"])
            .output()?;
        let listed = parse(&out)?;
        let root = Root::open(binding)?;
        let mut now = Observation { head, index_sha256: listed.index_sha256, files: BTreeMap::new(), cut: listed.cut };
        let earlier = before.map(|b| b.files.keys()).into_iter().flatten();
        for path in listed.paths.iter().chain(earlier) {
            if now.files.len() >= limits::OBSERVED_FILES_MAX {
                now.cut = true;
                break;
            }
            if !now.files.contains_key(path) {
                let known = before.and_then(|b| b.files.get(path));
                now.files.insert(path.clone(), look(&root, path, known));
            }
        }
        let difference = match before {
            Some(before) => self.difference(&repo, before, &now)?,
            None => Difference::default(),
        };
        Ok((now, difference))
    }

    fn difference(&self, repo: &Repo, before: &Observation, now: &Observation) -> Outcome<Difference> {
        let head_moved = before.head != now.head;
        let mut paths = Vec::new();
        let mut new = Vec::new();
        for (path, seen) in &now.files {
            match before.files.get(path) {
                Some(then) if then.content != seen.content => paths.push(path.clone()),
                Some(_) => {}
                None => new.push(path.clone()),
            }
        }
        // A path that was as in HEAD and no longer is changed, unless only HEAD did.
        if head_moved && !new.is_empty() {
            let then = self.differing_from(repo, &before.head, &new, now)?;
            new.retain(|path| then.contains(path));
        }
        paths.extend(new);
        paths.sort();
        Ok(Difference { paths, head_moved, index_changed: before.index_sha256 != now.index_sha256, cut: before.cut || now.cut })
    }

    /// Which of these paths differ from what an earlier HEAD held: compared as a commit would store them.
    fn differing_from(&self, repo: &Repo, head: &HeadState, paths: &[RepoPath], now: &Observation) -> Outcome<BTreeSet<RepoPath>> {
        let mut differing: BTreeSet<RepoPath> = paths.iter().cloned().collect();
        let (HeadState::Branch { oid, .. } | HeadState::Detached { oid }) = head else { return Ok(differing) };
        let out = self.tool.command(repo, Access::Read, "ls-tree").args(["-r", "-z", "--full-tree", "--format=%(objectname) %(path)", oid.as_str()]).output()?;
        let mut held: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for line in out.split(|b| *b == 0) {
            if let Some(space) = line.iter().position(|b| *b == b' ') {
                held.insert(&line[space + 1..], &line[..space]);
            }
        }
        let there: Vec<&RepoPath> = paths.iter().filter(|path| held.contains_key(path.as_bytes()) && now.files.get(path).is_some_and(|seen| seen.stamp.is_some())).collect();
        let mut input = Vec::new();
        for path in &there {
            input.extend(super::quote::quote(path.as_bytes()));
            input.push(b'\n');
        }
        if input.is_empty() {
            return Ok(differing);
        }
        let run = self.tool.command(repo, Access::Read, "hash-object").arg("--stdin-paths").stdin(input).run()?;
        for (path, oid) in there.into_iter().zip(run.done.stdout.split(|b| *b == b'\n')) {
            if held.get(path.as_bytes()) == Some(&oid) {
                differing.remove(path);
            }
        }
        Ok(differing)
    }
}

#[derive(Debug)]
struct Listed {
    paths: Vec<RepoPath>,
    index_sha256: Sha256Hex,
    cut: bool,
}

/// Paths, and a digest over what the index holds of them.
fn parse(bytes: &[u8]) -> Outcome<Listed> {
    let unknown = || Failure::engine("git status answered in an unknown form");
    let mut index = Sha256::new();
    let mut paths = Vec::new();
    let mut cut = false;
    for field in bytes.split(|b| *b == 0) {
        let path = match field.first() {
            None | Some(b'#' | b'!') => continue,
            Some(b'?') => field.get(2..).unwrap_or_default().strip_suffix(b"/").unwrap_or(field.get(2..).unwrap_or_default()),
            Some(kind @ (b'1' | b'u')) => {
                let count = if *kind == b'1' { 9 } else { 11 };
                let parts: Vec<&[u8]> = field.splitn(count, |b| *b == b' ').collect();
                let (Some(letters), Some(path)) = (parts.get(1).copied(), parts.get(count - 1).copied()) else { return Err(unknown()) };
                // Mode and id in the index; all stages of a conflict.
                let staged = if *kind == b'1' { vec![parts[4], parts[7]] } else { parts[3..10].to_vec() };
                if *kind == b'u' || letters.first() != Some(&b'.') {
                    for part in staged.into_iter().chain([path]) {
                        index.update(part);
                        index.update([0]);
                    }
                }
                path
            }
            Some(_) => return Err(unknown()),
        };
        match RepoPath::new(path) {
            Ok(path) if paths.len() < limits::STATUS_ENTRIES_MAX => paths.push(path),
            _ => cut = true,
        }
    }
    Ok(Listed { paths, index_sha256: Sha256Hex(index.finalize().into()), cut })
}

/// What stands at the path; a file that cannot be read counts by its stamp.
fn look(root: &Root, path: &RepoPath, known: Option<&FileSeen>) -> FileSeen {
    let of = |kind: &str, bytes: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(kind.as_bytes());
        hash.update(bytes);
        FileSeen { content: Some(Sha256Hex(hash.finalize().into())), stamp: None }
    };
    let (mut file, is_executable, bytes) = match root.look(path) {
        Ok(Node::Absent) => return FileSeen { content: None, stamp: None },
        Ok(Node::Symlink(text)) => return of("link ", &text),
        Ok(Node::Directory) => return of("directory", b""),
        Ok(Node::Special) => return of("special", b""),
        Ok(Node::ThroughLink) => return of("through a link", b""),
        Ok(Node::Regular { file, is_executable, bytes }) => (file, is_executable, bytes),
        Err(_) => return of("unreadable", b""),
    };
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let stamp = file.metadata().ok().map(|m| (m.ino(), m.len(), nanoseconds(m.mtime(), m.mtime_nsec()), nanoseconds(m.ctime(), m.ctime_nsec())));
    if let Some(known) = known.filter(|known| stamp.is_some() && known.stamp == stamp) {
        return known.clone();
    }
    let kind = if is_executable { "program " } else { "file " };
    let mut seen = if bytes > limits::OBSERVED_FILE_BYTES_MAX {
        of("large ", format!("{stamp:?}").as_bytes())
    } else {
        let mut hash = Sha256::new();
        hash.update(kind.as_bytes());
        match std::io::copy(&mut file, &mut Sink(&mut hash)) {
            Ok(_) => FileSeen { content: Some(Sha256Hex(hash.finalize().into())), stamp: None },
            Err(_) => of("unreadable", format!("{stamp:?}").as_bytes()),
        }
    };
    seen.stamp = stamp;
    seen
}

struct Sink<'a>(&'a mut Sha256);

impl std::io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
