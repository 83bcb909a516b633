//! Reading one listed file: below the root, no symbolic link followed, plain text only.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::limits;
use dcc_core::path::RepoPath;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

/// An opened worktree: what happens to the path of its directory afterwards does not matter.
pub struct Root(OwnedFd);

impl Root {
    pub fn open(worktree: &Path) -> Outcome<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(worktree, flags, Mode::empty());
        opened.map(Self).map_err(|error| {
            Failure::new(Code::NotFoundWorkspace, format!("cannot open {}: {}", worktree.display(), std::io::Error::from(error)))
                .hint("the worktree's directory may be gone or moved; see its health")
        })
    }

    /// The bytes of a text file; none for whatever is not one or is no longer there. Fails only when the kernel cannot
    /// keep the lookup inside the worktree.
    pub fn read_text(&self, path: &RepoPath) -> Outcome<Option<Vec<u8>>> {
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // Not blocking: a named pipe in the worktree must not hold the search up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = match openat2(&self.0, path.to_os_path(), flags, Mode::empty(), within) {
            Ok(opened) => File::from(opened),
            Err(Errno::NOSYS) => return Err(Failure::engine("the kernel cannot open files strictly below a directory (Linux 5.6 is needed)")),
            Err(_) => return Ok(None),
        };
        let Ok(metadata) = opened.metadata() else { return Ok(None) };
        if !metadata.is_file() || metadata.len() > limits::SEARCH_FILE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
        // It may grow while it is read.
        let read = opened.take(limits::SEARCH_FILE_BYTES_MAX).read_to_end(&mut bytes);
        Ok((read.is_ok() && !bytes.contains(&0)).then_some(bytes))
    }
}
