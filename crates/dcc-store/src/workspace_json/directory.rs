//! A worktree's `.handshake/` directory and the one file in it, reached without following a link.
//!
//! Authority: derived. Invariants: the directory is opened once and everything happens below that handle, so a link put
//! in its place meanwhile leads nowhere; it is made with mode 0700 and files with 0600; a file is replaced by a synced
//! temporary file and a rename; it holds an empty git repository, which makes `git clean -fdx` and `git stash -a` pass it
//! by.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dcc_core::{Failure, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: &CStr = c".handshake";
const FILE: &CStr = c"workspace.json";
/// Fixed, so that a crash leaves at most one; the store writes one document at a time.
const TEMPORARY: &CStr = c".workspace.json.new";
const MARKER: &CStr = c".git";
const MARKER_TEMPORARY: &CStr = c".git.new";

/// A file beyond this is not one we wrote.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the smallest repository that git recognises needs besides the directories `objects` and `refs`. The head names a
/// branch that never comes to be, so an accidental `git add` of the outer repository is refused.
const MARKER_FILES: [(&CStr, &str); 2] =
    [(c"HEAD", "ref: refs/heads/none\n"), (c"config", "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n")];
const MARKER_DIRECTORIES: [&CStr; 2] = [c"objects", c"refs"];

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why nothing was written.
pub(super) enum Refusal {
    /// Left alone on purpose: a sentence for a person.
    Leave(String),
    Failed(Failure),
}

impl From<Refusal> for Failure {
    /// For callers that cannot go on without the directory.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Leave(sentence) => Failure::engine(sentence),
            Refusal::Failed(failure) => failure,
        }
    }
}

/// What stands at the file's place.
pub(super) enum Found {
    Nothing,
    /// With the time of its last change.
    Bytes(Vec<u8>, Timestamp),
    Refused(String),
}

/// Opens, or makes, the worktree's `.handshake/` with its marker repository.
pub(super) fn open_handshake(worktree: &Path) -> Result<OwnedFd, Refusal> {
    let root = match rustix::fs::openat(CWD, worktree, OPEN_DIRECTORY, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Err(leave("the worktree's directory is gone; workspace.json was not written")),
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(leave("the worktree's path is not a directory; workspace.json was not written")),
        Err(errno) => return Err(failed("the worktree cannot be opened", errno)),
    };
    match rustix::fs::mkdirat(&root, DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("the directory .handshake cannot be made in the worktree", errno)),
    }
    let directory = match rustix::fs::openat(&root, DIRECTORY, OPEN_DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(leave(".handshake in the worktree is a symbolic link or a file; workspace.json was not written"));
        }
        Err(errno) => return Err(failed("the worktree's .handshake cannot be opened", errno)),
    };
    ensure_marker(&directory)?;
    Ok(directory)
}

/// Opens the worktree's `.handshake/` when it is there, and makes nothing.
pub(super) fn open_existing(worktree: &Path) -> Result<Option<OwnedFd>, Refusal> {
    let root = match rustix::fs::openat(CWD, worktree, OPEN_DIRECTORY, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(failed("the worktree cannot be opened", errno)),
    };
    match rustix::fs::openat(&root, DIRECTORY, OPEN_DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(leave(".handshake in the worktree is a symbolic link or a file")),
        Err(errno) => Err(failed("the worktree's .handshake cannot be opened", errno)),
    }
}

/// Puts the empty repository into an existing state directory; idempotent. A symbolic link is refused.
pub fn nested_repository(state_dir: &Path) -> Result<(), Failure> {
    let opened = rustix::fs::openat(CWD, state_dir, OPEN_DIRECTORY, Mode::empty());
    let directory = opened.map_err(|errno| failure(&format!("{} cannot be opened as a directory", state_dir.display()), errno))?;
    Ok(ensure_marker(&directory)?)
}

/// Puts the empty repository into an open `.handshake/`, unless something stands at its place.
fn ensure_marker(directory: &impl AsFd) -> Result<(), Refusal> {
    let directory = directory.as_fd();
    match rustix::fs::statat(directory, MARKER, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("the worktree's .handshake cannot be read", errno)),
    }
    // Filled under another name and renamed whole: half a repository would not be passed by.
    fill_marker(directory).map_err(|errno| failed("the marker repository in .handshake cannot be made", errno))
}

fn fill_marker(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    make_directory(directory, MARKER_TEMPORARY)?;
    let inside = rustix::fs::openat(directory, MARKER_TEMPORARY, OPEN_DIRECTORY, Mode::empty())?;
    for name in MARKER_DIRECTORIES {
        make_directory(inside.as_fd(), name)?;
    }
    for (name, text) in MARKER_FILES {
        write_new(inside.as_fd(), name, text.as_bytes())?;
    }
    rustix::fs::fsync(&inside)?;
    match rustix::fs::renameat(directory, MARKER_TEMPORARY, directory, MARKER) {
        // Another process was faster; its marker serves as well.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn make_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Writes a synced file that did not exist; one left by a crash goes first.
fn write_new(parent: BorrowedFd<'_>, name: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// Reads the file, when it is a plain one of reasonable size.
pub(super) fn read(directory: &OwnedFd) -> Result<Found, Failure> {
    // Not blocking: a named pipe put there must not hang us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, FILE, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(Errno::LOOP) => return Ok(refused("is a symbolic link")),
        Err(Errno::ACCESS | Errno::NXIO) => return Ok(refused("cannot be read")),
        Err(errno) => return Err(failure("workspace.json cannot be opened", errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| failure("workspace.json cannot be read", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(refused("is not a plain file"));
    }
    let mut bytes = Vec::new();
    let read = File::from(file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::engine(format!("workspace.json cannot be read: {e}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(refused("is far too large to be ours"));
    }
    let modified_at = Timestamp(stat.st_mtime.saturating_mul(1_000).saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000));
    Ok(Found::Bytes(bytes, modified_at))
}

/// Gives the file another name beside it; a name that is taken holds the same bytes, because it is made from their hash.
pub(super) fn keep(directory: &OwnedFd, name: &str) -> Result<(), Failure> {
    let aside = || -> Result<(), Errno> {
        match rustix::fs::renameat_with(directory, FILE, directory, name, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(directory, FILE, AtFlags::empty())?,
            other => other?,
        }
        rustix::fs::fsync(directory)
    };
    aside().map_err(|errno| failure("workspace.json cannot be kept under another name", errno))
}

/// Replaces the file: temporary file, sync, rename, sync of the directory.
pub(super) fn replace(directory: &OwnedFd, bytes: &[u8]) -> Result<(), Failure> {
    let swap = || -> Result<(), Errno> {
        write_new(directory.as_fd(), TEMPORARY, bytes)?;
        rustix::fs::renameat(directory, TEMPORARY, directory, FILE)?;
        rustix::fs::fsync(directory)
    };
    swap().map_err(|errno| {
        // Best effort: the next write removes it too.
        let _ = rustix::fs::unlinkat(directory, TEMPORARY, AtFlags::empty());
        failure("workspace.json cannot be written", errno)
    })
}

fn refused(why: &str) -> Found {
    Found::Refused(format!("workspace.json {why}; it was left alone (remove it to have it made anew)"))
}

fn leave(sentence: &str) -> Refusal {
    Refusal::Leave(sentence.to_owned())
}

fn failed(what: &str, errno: Errno) -> Refusal {
    Refusal::Failed(failure(what, errno))
}

fn failure(what: &str, errno: Errno) -> Failure {
    let hint = match errno {
        Errno::NOSPC => "free disk space; the file is derived and written again",
        Errno::ROFS | Errno::ACCESS | Errno::PERM => "make the worktree writable; the file is derived and written again",
        _ => "the file is derived and written again with the next change",
    };
    Failure::engine(format!("{what}: {}", std::io::Error::from(errno))).hint(hint)
}
