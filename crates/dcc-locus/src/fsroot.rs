//! The directory `gov/`: reads and atomic replacements that never follow a symbolic link below it.
//!
//! Authority: none; it moves bytes. Invariants: every component is opened by itself with NOFOLLOW; a file is read only when
//! it is a regular one; a replacement is written to a temporary file, synced, renamed, and its directory synced.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use dcc_core::{Code, Failure, Outcome, Sha256Hex};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// One temporary name a directory: only the holder of the project lock writes, and a leftover is simply replaced.
const TEMPORARY: &str = ".dcc-replacement.tmp";

/// What stands where something is to be replaced is read up to here; a larger file is told by how it looks.
const REPLACED_BYTES_MAX: u64 = dcc_core::limits::ARTIFACT_BYTES_MAX as u64;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a file looked like, to tell without reading that it is still the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signature([i128; 7]);

impl Signature {
    fn of(stat: &Stat) -> Self {
        Self([
            i128::from(stat.st_dev),
            i128::from(stat.st_ino),
            i128::from(stat.st_size),
            i128::from(stat.st_mtime),
            i128::from(stat.st_mtime_nsec),
            i128::from(stat.st_ctime),
            i128::from(stat.st_ctime_nsec),
        ])
    }

    fn seal(&self) -> Sha256Hex {
        Sha256Hex::of(format!("large {:?}", self.0).as_bytes())
    }
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Missing,
    File { bytes: Vec<u8>, signature: Signature },
    /// A regular file of more than is read. The seal is a hash of how it looks: any write to it changes the seal.
    Large { seal: Sha256Hex, signature: Signature, bytes_max: u64 },
    /// Something that is not read: a link, a directory, a device. The sentence's second half: "is a directory".
    Refused(String),
}

impl Found {
    /// What tells it from any other content; none for what has none.
    pub(crate) fn sha256(&self) -> Option<Sha256Hex> {
        match self {
            Self::File { bytes, .. } => Some(Sha256Hex::of(bytes)),
            Self::Large { seal, .. } => Some(*seal),
            Self::Missing | Self::Refused(_) => None,
        }
    }
}

pub(crate) struct FsRoot {
    path: PathBuf,
}

impl FsRoot {
    /// Opens the directory, and makes it when that is allowed. A symbolic link in its place is refused.
    pub(crate) fn open(path: &Path, may_make: bool) -> Outcome<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => return Err(Failure::new(Code::Drift, format!("{} is a symbolic link", path.display())).hint("Locus lives in a directory of its own: move it there")),
            Ok(found) if !found.is_dir() => return Err(Failure::new(Code::Drift, format!("{} is not a directory", path.display()))),
            Ok(_) => {}
            Err(_) if !may_make => {}
            Err(_) => std::fs::create_dir_all(path).map_err(|e| Failure::engine(format!("{} cannot be made: {e}", path.display())))?,
        }
        let root = Self { path: path.to_owned() };
        root.directory()?;
        Ok(root)
    }

    pub(crate) fn path_of(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    /// Opened each time: a directory that was moved away must not go on being written.
    fn directory(&self) -> Outcome<OwnedFd> {
        rustix::fs::openat(CWD, &self.path, DIRECTORY, Mode::empty()).map_err(|e| Failure::engine(format!("{} cannot be opened: {e}", self.path.display())))
    }

    /// Reads a regular file of at most `bytes_max` bytes.
    pub(crate) fn read(&self, relative: &str, bytes_max: u64) -> Outcome<Found> {
        let (folder, name) = split(relative);
        let folder = match self.folder(&folder, false)? {
            Folder::Open(fd) => fd,
            Folder::Missing => return Ok(Found::Missing),
            Folder::Refused(why) => return Ok(Found::Refused(why)),
        };
        self.read_in(&folder, name, bytes_max)
    }

    fn read_in(&self, folder: &OwnedFd, name: &str, bytes_max: u64) -> Outcome<Found> {
        let describe = |e: Errno| Failure::engine(format!("{name} in {} cannot be read: {e}", self.path.display()));
        // NONBLOCK: opening a named pipe must not wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Found::Missing),
            Err(Errno::LOOP | Errno::MLINK) => return Ok(Found::Refused("is a symbolic link".into())),
            Err(Errno::NXIO) => return Ok(Found::Refused("is not a regular file".into())),
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Found::Refused("cannot be read: permission denied".into())),
            Err(e) => return Err(describe(e)),
        };
        let stat = rustix::fs::fstat(&file).map_err(describe)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Found::Refused("is a directory".into())),
            _ => return Ok(Found::Refused("is not a regular file".into())),
        }
        let signature = Signature::of(&stat);
        let large = || Found::Large { seal: signature.seal(), signature, bytes_max };
        if u64::try_from(stat.st_size).is_ok_and(|size| size > bytes_max) {
            return Ok(large());
        }
        let mut bytes = Vec::new();
        let read = File::from(file).take(bytes_max + 1).read_to_end(&mut bytes);
        read.map_err(|e| Failure::engine(format!("{name} in {} cannot be read: {e}", self.path.display())))?;
        if bytes.len() as u64 > bytes_max {
            return Ok(large());
        }
        Ok(Found::File { bytes, signature })
    }

    /// For many looks in a row below one top directory; none when it is missing or not a directory.
    pub(crate) fn glance(&self, top: &str) -> Outcome<Option<Glance>> {
        Ok(match self.folder(&[top], false)? {
            Folder::Open(fd) => Some(Glance(fd)),
            Folder::Missing | Folder::Refused(_) => None,
        })
    }

    /// The names of the directories below a directory, sorted; empty when it is missing.
    pub(crate) fn names(&self, relative: &[&str]) -> Outcome<Vec<String>> {
        let Folder::Open(fd) = self.folder(relative, false)? else { return Ok(Vec::new()) };
        let describe = |e: Errno| Failure::engine(format!("{} cannot be listed: {e}", self.path.join(relative.join("/")).display()));
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).map_err(describe)? {
            let name = entry.map_err(describe)?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Replaces a file when `expected` says yes to what stands there just before the rename; answers what stood there
    /// otherwise. Mode 0600 for a new file, the old one's mode for an existing one.
    pub(crate) fn replace(&self, relative: &str, bytes: &[u8], expected: &dyn Fn(&Found) -> bool) -> Outcome<Option<Found>> {
        let (folder, name) = split(relative);
        let path = self.path_of(relative);
        let fd = match self.folder(&folder, true)? {
            Folder::Open(fd) => fd,
            Folder::Missing => return Err(Failure::engine(format!("the directory of {} vanished", path.display()))),
            Folder::Refused(why) => return Err(Failure::new(Code::Drift, format!("a directory on the way to {} {why}", path.display())).hint("move it away and try again")),
        };
        let describe = |e: std::io::Error| Failure::engine(format!("{} cannot be written: {e}", path.display()));
        Self::write_temporary(&fd, name, bytes).map_err(describe)?;
        let now = self.read_in(&fd, name, REPLACED_BYTES_MAX)?;
        if !expected(&now) {
            let _ = rustix::fs::unlinkat(&fd, TEMPORARY, AtFlags::empty());
            return Ok(Some(now));
        }
        dcc_core::failpoint!("before record file");
        rustix::fs::renameat(&fd, TEMPORARY, &fd, name).map_err(|e| describe(e.into()))?;
        rustix::fs::fsync(&fd).map_err(|e| describe(e.into()))?;
        dcc_core::failpoint!("after record file");
        Ok(None)
    }

    /// Gives a file another name beside its own, when `expected` says yes to what stands there.
    pub(crate) fn set_aside(&self, relative: &str, aside: &str, expected: &dyn Fn(&Found) -> bool) -> Outcome<bool> {
        let ((folder, name), (_, aside)) = (split(relative), split(aside));
        let Folder::Open(fd) = self.folder(&folder, false)? else { return Ok(false) };
        if !expected(&self.read_in(&fd, name, REPLACED_BYTES_MAX)?) {
            return Ok(false);
        }
        let describe = |e: Errno| Failure::engine(format!("{} cannot be set aside: {e}", self.path_of(relative).display()));
        rustix::fs::renameat_with(&fd, name, &fd, aside, rustix::fs::RenameFlags::NOREPLACE).map_err(describe)?;
        rustix::fs::fsync(&fd).map_err(describe)?;
        Ok(true)
    }

    fn write_temporary(folder: &OwnedFd, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        match rustix::fs::unlinkat(folder, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let mode = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .ok()
            .filter(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
            .map_or(Mode::RUSR | Mode::WUSR, |s| Mode::from_raw_mode(s.st_mode & 0o777));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(folder, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        rustix::fs::fchmod(&file, mode)?;
        file.sync_all()
    }

    fn folder(&self, parts: &[&str], make: bool) -> Outcome<Folder> {
        let mut at = self.directory()?;
        for part in parts {
            let describe = |e: Errno| Failure::engine(format!("{part} in {} cannot be opened: {e}", self.path.display()));
            let next = match rustix::fs::openat(&at, *part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&at, *part, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(describe(e)),
                    }
                    rustix::fs::fsync(&at).map_err(describe)?;
                    rustix::fs::openat(&at, *part, DIRECTORY, Mode::empty())
                }
                other => other,
            };
            at = match next {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(Folder::Missing),
                Err(Errno::LOOP | Errno::MLINK) => return Ok(Folder::Refused(format!("({part}) is a symbolic link"))),
                Err(Errno::NOTDIR) => return Ok(Folder::Refused(format!("({part}) is a symbolic link or not a directory"))),
                Err(Errno::ACCESS | Errno::PERM) => return Ok(Folder::Refused(format!("({part}) cannot be entered: permission denied"))),
                Err(e) => return Err(describe(e)),
            };
        }
        Ok(Folder::Open(at))
    }
}

enum Folder {
    Open(OwnedFd),
    Missing,
    Refused(String),
}

/// An open top directory, for looks without reading.
pub(crate) struct Glance(OwnedFd);

impl Glance {
    /// The signature of the file at the path below. A link on the way cannot deceive: the signature names device and inode of
    /// the bytes that were checked.
    pub(crate) fn signature(&self, below: &str) -> Option<Signature> {
        rustix::fs::statat(self.0.as_fd(), below, AtFlags::SYMLINK_NOFOLLOW).ok().map(|s| Signature::of(&s))
    }
}

/// `a/b/c.json` as its directories and its name. Paths of records are made by us: no empty, `.` or `..` component.
fn split(relative: &str) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = relative.split('/').collect();
    let name = parts.pop().expect("split gives at least one part");
    (parts, name)
}
