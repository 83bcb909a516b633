//! Content-addressed files: `sha256/ab/cdef...`. Authority: canon.
//!
//! Invariants: a file appears under its name complete and synced or not at all; files 0600, directories 0700; every
//! step goes through open directories without following links, so nothing can be swapped in between; what is read is
//! checked against its name. Failure: HSK-404-ARTIFACT, HSK-500-INTEGRITY for bytes that do not match or a link in the
//! way, HSK-500-RECORDER when nothing can be stored.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dcc_core::ports::ArtifactStore;
use dcc_core::{Code, Failure, Outcome, Sha256Hex, limits};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// Two stores in one process may share a directory; their temporary names must not meet.
static TEMPORARY_COUNT: AtomicU64 = AtomicU64::new(0);

/// The artifact store of one project.
pub struct FileArtifacts {
    path: PathBuf,
    shards: OwnedFd,
    /// None when the store was opened for reading.
    temporary: Option<OwnedFd>,
    /// Shards whose own entry is known to be durable.
    synced: Mutex<[bool; 256]>,
}

impl FileArtifacts {
    /// Opens the store, making its directories when they are missing. A link in place of one is refused.
    pub fn open(dir: impl AsRef<Path>) -> Outcome<Self> {
        let path = dir.as_ref().to_owned();
        let cannot = |e: &dyn std::fmt::Display| Failure::recorder(format!("the artifact store {} cannot be opened: {e}", path.display()));
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(in_the_way(&path)),
            Err(_) => std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| cannot(&e))?,
        }
        let root = rustix::fs::open(&path, DIR_FLAGS, Mode::empty()).map_err(|e| if is_link(e) { in_the_way(&path) } else { cannot(&e) })?;
        let shards = open_dir(&root, "sha256", &path)?;
        let temporary = open_dir(&root, "tmp", &path)?;
        rustix::fs::fsync(&root).map_err(|e| cannot(&e))?;
        remove_leftovers(&temporary);
        Ok(Self { path, shards, temporary: Some(temporary), synced: Mutex::new([false; 256]) })
    }

    /// Opens an existing store for reading only: makes nothing, stores nothing.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Outcome<Self> {
        let path = dir.as_ref().to_owned();
        let cannot = |e: Errno| if is_link(e) { in_the_way(&path) } else { Failure::recorder(format!("the artifact store {} cannot be opened: {e}", path.display())) };
        let root = rustix::fs::open(&path, DIR_FLAGS, Mode::empty()).map_err(cannot)?;
        let shards = rustix::fs::openat(&root, "sha256", DIR_FLAGS, Mode::empty()).map_err(cannot)?;
        Ok(Self { path, shards, temporary: None, synced: Mutex::new([false; 256]) })
    }

    /// The shard's directory, durable in its parent.
    fn shard(&self, sha256: Sha256Hex) -> Outcome<OwnedFd> {
        let shard = open_dir(&self.shards, &shard_name(sha256), &self.path)?;
        let at = usize::from(sha256.0[0]);
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if !synced[at] {
            rustix::fs::fsync(&self.shards).map_err(|e| self.cannot_store(&e))?;
            synced[at] = true;
        }
        Ok(shard)
    }

    fn existing_shard(&self, sha256: Sha256Hex) -> Outcome<Option<OwnedFd>> {
        match rustix::fs::openat(&self.shards, shard_name(sha256), DIR_FLAGS, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) if is_link(e) => Err(in_the_way(&self.path)),
            Err(e) => Err(Failure::new(Code::Integrity, format!("the artifact store {} cannot be read: {e}", self.path.display()))),
        }
    }

    /// Writes under a temporary name, syncs, renames, syncs the directory.
    fn store(&self, folder: &OwnedFd, shard: &OwnedFd, name: &str, bytes: &[u8]) -> Outcome<()> {
        let temporary = format!("{}-{}", std::process::id(), TEMPORARY_COUNT.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = || -> std::io::Result<()> {
            let fd = rustix::fs::openat(folder, &temporary, flags, FILE_MODE)?;
            // The process's umask may have taken bits away.
            rustix::fs::fchmod(&fd, FILE_MODE)?;
            let mut file = File::from(fd);
            file.write_all(bytes)?;
            file.sync_all()?;
            dcc_core::failpoint!("before artifact");
            rustix::fs::renameat(folder, &temporary, shard, name)?;
            rustix::fs::fsync(shard)?;
            dcc_core::failpoint!("after artifact");
            Ok(())
        };
        write().map_err(|e| {
            let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
            self.cannot_store(&e)
        })
    }

    /// The file's bytes; None when it is not there.
    fn load(&self, shard: &OwnedFd, name: &str) -> Outcome<Option<Vec<u8>>> {
        let cannot = |e: &dyn std::fmt::Display| {
            Failure::new(Code::Integrity, format!("artifact {name} of {} cannot be read: {e}", self.path.display()))
        };
        // NONBLOCK: a named pipe put here must not stop the reader.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(shard, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(cannot(&e)),
        };
        let meta = file.metadata().map_err(|e| cannot(&e))?;
        if !meta.is_file() || meta.len() > limits::ARTIFACT_BYTES_MAX as u64 {
            return Err(cannot(&"it is not a file of the store"));
        }
        let mut bytes = Vec::with_capacity(meta.len() as usize);
        file.take(limits::ARTIFACT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
        Ok(Some(bytes))
    }

    fn cannot_store(&self, e: &dyn std::fmt::Display) -> Failure {
        Failure::recorder(format!("an artifact could not be stored in {}: {e}", self.path.display()))
    }
}

impl ArtifactStore for FileArtifacts {
    fn put(&self, bytes: &[u8]) -> Outcome<Sha256Hex> {
        if bytes.len() > limits::ARTIFACT_BYTES_MAX {
            return Err(Failure::invalid(format!("an artifact of {} bytes, {} are allowed", bytes.len(), limits::ARTIFACT_BYTES_MAX)));
        }
        let temporary = self.temporary.as_ref().ok_or_else(|| self.cannot_store(&"it was opened for reading"))?;
        let sha256 = Sha256Hex::of(bytes);
        let shard = self.shard(sha256)?;
        let name = file_name(sha256);
        // Damaged bytes under this name are replaced by the right ones; a link is replaced too, never followed.
        if self.load(&shard, &name).is_ok_and(|found| found.as_deref() == Some(bytes)) {
            // Whoever renamed it may not have synced the directory yet.
            rustix::fs::fsync(&shard).map_err(|e| self.cannot_store(&e))?;
            return Ok(sha256);
        }
        self.store(temporary, &shard, &name, bytes)?;
        Ok(sha256)
    }

    fn get(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        let missing = || Failure::new(Code::NotFoundArtifact, format!("there is no artifact {sha256}"));
        let shard = self.existing_shard(sha256)?.ok_or_else(missing)?;
        let bytes = self.load(&shard, &file_name(sha256))?.ok_or_else(missing)?;
        if Sha256Hex::of(&bytes) == sha256 {
            Ok(bytes)
        } else {
            Err(Failure::new(Code::Integrity, format!("artifact {sha256} does not match its name"))
                .hint("its bytes were changed on disk; restore the file from a copy"))
        }
    }

    fn has(&self, sha256: Sha256Hex) -> bool {
        let Ok(Some(shard)) = self.existing_shard(sha256) else { return false };
        rustix::fs::statat(&shard, file_name(sha256), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }
}

fn shard_name(sha256: Sha256Hex) -> String {
    hex::encode(&sha256.0[..1])
}

fn file_name(sha256: Sha256Hex) -> String {
    hex::encode(&sha256.0[1..])
}

fn is_link(e: Errno) -> bool {
    matches!(e, Errno::LOOP | Errno::NOTDIR)
}

fn in_the_way(path: &Path) -> Failure {
    let message = format!("something that is not a directory stands where the artifact store {} has one", path.display());
    Failure::new(Code::Integrity, message).hint("look at it, move it away, and restore the directory")
}

/// Opens a directory of the store, making it when it is missing.
fn open_dir(parent: &impl AsFd, name: &str, path: &Path) -> Outcome<OwnedFd> {
    let cannot = |e: Errno| match e {
        e if is_link(e) => in_the_way(path),
        e => Failure::recorder(format!("the artifact store {} cannot be opened: {e}", path.display())),
    };
    match rustix::fs::openat(parent, name, DIR_FLAGS, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(cannot),
    }
    match rustix::fs::mkdirat(parent, name, DIR_MODE) {
        // Somebody else was faster.
        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(parent, name, DIR_FLAGS, Mode::empty()).map_err(cannot),
        Err(e) => Err(cannot(e)),
    }
}

/// Removes temporary files of processes that are gone. What cannot be told stays.
fn remove_leftovers(temporary: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(temporary) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 0);
        let owner = owner.and_then(rustix::process::Pid::from_raw);
        let is_gone = owner.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH));
        if is_gone {
            let _ = rustix::fs::unlinkat(temporary, &name, AtFlags::empty());
        }
    }
}
