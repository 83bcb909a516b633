//! Files of a worktree, read and written beneath its root and never through a symbolic link. Authority: canon (the
//! worktree's files are the person's own).
//!
//! Invariants: the root is the directory that was registered, by device and inode; every component below is opened
//! without following links (openat2 with RESOLVE_BENEATH, or component by component where the kernel has none); a write
//! is a temporary file, synced and renamed in the same directory, so a reader sees the old or the new content whole.
//!
//! On failure nothing has changed: the temporary file is removed, directories made for it stay.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::path::RepoPath;
use dcc_core::plans::FileWritePlan;
use dcc_core::ports::sessions::WorktreeFiles;
use dcc_core::workspace::WorktreeBinding;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// The file engine; holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorktreeFs;

/// What stands at a path of a worktree, seen without following any link.
#[derive(Debug)]
pub(crate) enum Node {
    /// Nothing, or a component above is no directory.
    Absent,
    Regular { file: std::fs::File, is_executable: bool, bytes: u64 },
    /// The link's own text.
    Symlink(Vec<u8>),
    Directory,
    /// FIFO, socket, device.
    Special,
    /// A component above is a symbolic link.
    ThroughLink,
}

/// An open root directory, asserted to be the registered one.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open(binding: &WorktreeBinding) -> Outcome<Self> {
        let path = binding.worktree();
        let fd = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Failure::new(Code::VcsRepoInvalid, format!("{} cannot be opened: {e}", binding.worktree_path)))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| Failure::engine(format!("{}: {e}", binding.worktree_path)))?;
        if (stat.st_dev, stat.st_ino) != (binding.device, binding.inode) {
            return Err(Failure::new(Code::VcsRepoInvalid, format!("{} is not the directory that was registered", binding.worktree_path))
                .hint("nothing was touched; dcc ws list shows the state of each workspace"));
        }
        Ok(Self(fd))
    }

    /// Looks at a path without following links; regular files come opened.
    pub(crate) fn look(&self, path: &RepoPath) -> Outcome<Node> {
        let failed = |e: Errno| Failure::engine(format!("{}: {e}", path.display()));
        let (parent, name) = match self.parent(path, false) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Node::Absent),
            Err(Errno::LOOP) => return Ok(Node::ThroughLink),
            Err(e) => return Err(failed(e)),
        };
        let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Node::Absent),
            Err(e) => return Err(failed(e)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Node::Directory),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(failed)?;
                Ok(Node::Symlink(text.into_bytes()))
            }
            FileType::RegularFile => {
                // NONBLOCK: were it swapped for a FIFO just now, opening it must not wait; the type is checked again.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed)?;
                let stat = rustix::fs::fstat(&fd).map_err(failed)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Ok(Node::Special);
                }
                Ok(Node::Regular { file: fd.into(), is_executable: stat.st_mode & 0o100 != 0, bytes: stat.st_size as u64 })
            }
            _ => Ok(Node::Special),
        }
    }

    /// True when a directory below the root holds anything named `.git`; a link on the way counts as none.
    pub(crate) fn has_dot_git(&self, dir: &[u8]) -> bool {
        let opened = match open_beneath(self.0.as_fd(), dir) {
            Err(Errno::NOSYS | Errno::PERM) => self.walk(dir, false),
            other => other,
        };
        opened.is_ok_and(|fd| rustix::fs::statat(&fd, ".git", AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    /// The directory that holds `path`, and the last component. ELOOP when a component is a symbolic link.
    fn parent<'a>(&self, path: &'a RepoPath, make: bool) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let bytes = path.as_bytes();
        let name = OsStr::from_bytes(path.file_name());
        let above = &bytes[..bytes.len() - name.len()];
        if above.is_empty() {
            return Ok((rustix::io::fcntl_dupfd_cloexec(&self.0, 0)?, name));
        }
        let above = &above[..above.len() - 1];
        if !make {
            match open_beneath(self.0.as_fd(), above) {
                Err(Errno::NOSYS | Errno::PERM) => {}
                other => return Ok((other?, name)),
            }
        }
        Ok((self.walk(above, make)?, name))
    }

    /// Component by component; with `make`, directories that are missing are made.
    fn walk(&self, above: &[u8], make: bool) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = rustix::io::fcntl_dupfd_cloexec(&self.0, 0)?;
        for part in above.split(|b| *b == b'/') {
            let part = OsStr::from_bytes(part);
            if make {
                match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e),
                }
            }
            dir = match rustix::fs::openat(&dir, part, flags, Mode::empty()) {
                Ok(next) => next,
                // O_DIRECTORY with O_NOFOLLOW says ENOTDIR for a link too; the caller wants to know which.
                Err(Errno::NOTDIR | Errno::LOOP) if is_link(&dir, part) => return Err(Errno::LOOP),
                Err(e) => return Err(e),
            };
        }
        Ok(dir)
    }
}

fn is_link(dir: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink)
}

#[cfg(target_os = "linux")]
fn open_beneath(root: std::os::fd::BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(_root: std::os::fd::BorrowedFd<'_>, _path: &[u8]) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Refuses DCC's own directory; `RepoPath` already refuses git's.
pub(crate) fn refuse_own_state(path: &RepoPath) -> Outcome<()> {
    let first = path.as_bytes().split(|b| *b == b'/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case(b".handshake") {
        return Err(Failure::new(Code::VcsPathDenied, format!("{} is DCC's own state", path.display())).hint("leave .handshake out"));
    }
    Ok(())
}

fn through_link(path: &RepoPath) -> Failure {
    Failure::new(Code::VcsPathDenied, format!("{} leads through a symbolic link", path.display())).hint("name the file itself")
}

impl WorktreeFiles for WorktreeFs {
    fn read(&self, worktree: &WorktreeBinding, path: &RepoPath, max: u64) -> Outcome<Option<Vec<u8>>> {
        refuse_own_state(path)?;
        let file = match Root::open(worktree)?.look(path)? {
            Node::Absent => return Ok(None),
            Node::Regular { file, bytes, .. } if bytes <= max => file,
            Node::Regular { bytes, .. } => return Err(Failure::invalid(format!("{} holds {bytes} bytes; at most {max} are read", path.display()))),
            Node::Symlink(_) | Node::ThroughLink => return Err(through_link(path)),
            Node::Directory | Node::Special => return Err(Failure::new(Code::VcsPathDenied, format!("{} is not a regular file", path.display()))),
        };
        let mut content = Vec::new();
        file.take(max + 1).read_to_end(&mut content).map_err(|e| Failure::engine(format!("{}: {e}", path.display())))?;
        if content.len() as u64 > max {
            return Err(Failure::invalid(format!("{} grew beyond {max} bytes while it was read", path.display())));
        }
        Ok(Some(content))
    }

    fn write(&self, worktree: &WorktreeBinding, cleared: Cleared<FileWritePlan>, content: &[u8]) -> Outcome<()> {
        let plan = cleared.body();
        let path = &plan.path;
        refuse_own_state(path)?;
        if Sha256Hex::of(content) != plan.content_sha256 {
            return Err(Failure::new(Code::Integrity, format!("the content for {} is not the one that was approved", path.display())));
        }
        let root = Root::open(worktree)?;
        let failed = |e: Errno| if e == Errno::LOOP { through_link(path) } else { Failure::engine(format!("{} cannot be written: {e}", path.display())) };
        let (parent, name) = root.parent(path, true).map_err(failed)?;
        let mode = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Mode::from_raw_mode(stat.st_mode & 0o777),
                FileType::Symlink => return Err(through_link(path)),
                _ => return Err(Failure::new(Code::VcsPathDenied, format!("{} is not a regular file", path.display()))),
            },
            Err(Errno::NOENT) => Mode::from_raw_mode(0o644),
            Err(e) => return Err(failed(e)),
        };
        replace(&parent, &temporary_name(), name, mode, content).map_err(|e| Failure::engine(format!("{} cannot be written: {e}", path.display())))
    }
}

/// Temporary file, sync, rename, sync of the directory.
fn replace(parent: &OwnedFd, temporary: &str, name: &OsStr, mode: Mode, content: &[u8]) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, temporary, flags, Mode::from_raw_mode(0o600))?;
    let mut file = std::fs::File::from(fd);
    let written = file.write_all(content).and_then(|()| Ok(rustix::fs::fchmod(&file, mode)?)).and_then(|()| file.sync_all());
    dcc_core::failpoint!("before worktree file");
    let renamed = written.and_then(|()| Ok(rustix::fs::renameat(parent, temporary, parent, name)?));
    dcc_core::failpoint!("after worktree file");
    if renamed.is_err() {
        // Nothing else to do when this fails too: the failure that counts is the first.
        let _ = rustix::fs::unlinkat(parent, temporary, AtFlags::empty());
    }
    renamed?;
    Ok(rustix::fs::fsync(parent)?)
}

/// A name that no two writers of this machine use at once.
pub(crate) fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".dcc-tmp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Replaces or makes a file outside a worktree atomically, mode kept or 0644.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    replace_by(path, &temporary_name(), content)
}

/// The same for a file that nobody else of ours writes meanwhile: the temporary has one name, so that what a killed
/// writer left can be told from anybody's files, and goes with the next write or by [`clear_left`].
pub(crate) fn replace_alone(path: &Path, content: &[u8]) -> std::io::Result<()> {
    clear_left(path);
    replace_by(path, &left_name(path.file_name().unwrap_or_default()), content)
}

fn replace_by(path: &Path, temporary: &str, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
    };
    let mode = std::fs::symlink_metadata(path).map_or(0o644, |m| m.mode() & 0o777);
    let parent = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    replace(&parent, temporary, name, Mode::from_raw_mode(mode), content)
}

/// Removes what a [`replace_alone`] that was killed left beside its file.
pub(crate) fn clear_left(path: &Path) {
    if let Some(name) = path.file_name() {
        // One that cannot be removed stops the next write, which says so.
        let _ = std::fs::remove_file(path.with_file_name(left_name(name)));
    }
}

fn left_name(name: &OsStr) -> String {
    format!(".dcc-tmp-{}", name.to_string_lossy())
}
