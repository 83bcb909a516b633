//! The project lock: an OS lock on `.handshake/project.lock`. Whoever holds it owns the project; a pid or a file's
//! existence never counts. The pid inside is for messages only.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use dcc_core::{Code, Failure, Outcome};

/// Held until dropped.
#[derive(Debug)]
pub struct ProjectLock {
    _file: File,
}

fn path_of(state_dir: &Path) -> PathBuf {
    state_dir.join("project.lock")
}

fn open(state_dir: &Path) -> Outcome<File> {
    let path = path_of(state_dir);
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| Failure::new(Code::Recorder, format!("{} cannot be opened: {e}", path.display())).hint("no record, no action: make the project's directory writable"))
}

/// Takes the lock, waiting up to `wait`; HSK-423-LOCKED names the holder.
pub fn acquire(state_dir: &Path, what: &str, wait: Duration) -> Outcome<ProjectLock> {
    let mut file = open(state_dir)?;
    let deadline = Instant::now() + wait;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            // tidy, allowed: the kernel's own wait for a lock has no deadline
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(25)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(locked(&mut file, state_dir)),
            Err(e) => return Err(Failure::engine(format!("{} cannot be locked: {e}", path_of(state_dir).display()))),
        }
    }
    let note = format!("{} {what}\n", std::process::id());
    // Only a message for others; the lock is the kernel's.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    Ok(ProjectLock { _file: file })
}

/// Takes the lock without leaving a note, through a descriptor that only reads; none when there is no file to lock. For a
/// server over files that cannot be written.
pub fn acquire_unmarked(state_dir: &Path) -> Outcome<Option<ProjectLock>> {
    let Ok(mut file) = File::open(path_of(state_dir)) else { return Ok(None) };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(ProjectLock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(locked(&mut file, state_dir)),
        // A file system that knows no locks has no second server by this way either.
        Err(_) => Ok(None),
    }
}

/// True when somebody holds it now.
pub fn is_held(state_dir: &Path) -> bool {
    File::open(path_of(state_dir)).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn locked(file: &mut File, state_dir: &Path) -> Failure {
    let mut holder = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
    let holder = holder.trim();
    // A sign-in link lasts a minute; whoever starts a second server often only wants a fresh one.
    let hint = match (holder.split_once(' '), state_dir.ancestors().nth(2)) {
        (Some((_, "up")), _) => "a fresh sign-in link: dcc up --detach; dcc up --stop ends the server".to_owned(),
        (Some((_, "demo")), Some(dir)) => format!("a fresh sign-in link: dcc demo --dir {}; Ctrl C in its terminal ends the demo", dir.display()),
        _ => "wait for it, or stop the server with dcc up --stop".to_owned(),
    };
    let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
    Failure::new(Code::Locked, format!("{} is held by {holder}", path_of(state_dir).display()))
        .hint(hint)
}
