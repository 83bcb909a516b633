//! One confined run that DCC waits for: its private directory, its output as it comes, its end.
//!
//! Authority: ephemeral. Invariants: memory holds the end of the output only; what is kept is on disk, out of reach of the
//! command, and goes with the run; every process of it is gone when it is reported as over. Dropping it ends it.
//!
//! On failure: output that cannot be kept is counted as cut; the run goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::limits;
use dcc_core::ports::sandbox::{Recent, RunReport, RunningCommand};
use dcc_core::session::Posture;

use super::private::PrivateDir;
use super::spawn::SandboxedChild;
use super::spec::{EndReason, Ending, ExitReport};

/// A run's directory; goes with it. The command sees `tmp` below it and nothing else.
pub struct Private(PrivateDir);

impl Private {
    pub fn make(run_dir: &Path, name: &str) -> Outcome<Self> {
        let private = Self(PrivateDir::make(run_dir, name)?);
        let tmp = private.tmp();
        std::fs::DirBuilder::new().mode(0o700).create(&tmp).map_err(|error| Failure::engine(format!("cannot make {}: {error}", tmp.display())))?;
        Ok(private)
    }
    pub fn tmp(&self) -> PathBuf {
        self.0.path().join("tmp")
    }
    fn spool(&self, name: &str) -> Option<File> {
        std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.0.path().join(name)).ok()
    }
}

/// The end of the output, standard output and error in the order they came.
#[derive(Default)]
struct Ring {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Ring {
    fn push(&mut self, chunk: &[u8]) {
        let kept = &chunk[chunk.len().saturating_sub(limits::COMMAND_RECENT_BYTES_MAX)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(limits::COMMAND_RECENT_BYTES_MAX);
        self.cut |= over > 0 || kept.len() < chunk.len();
        self.bytes.drain(..over);
        self.bytes.extend(kept);
    }
}

type Capture = JoinHandle<(Option<File>, u64)>;

/// A run that has begun.
pub struct Run {
    /// Dropped first: the tree is gone before its directory goes.
    child: SandboxedChild,
    captures: Mutex<Vec<Capture>>,
    recent: Arc<Mutex<Ring>>,
    posture: Posture,
    timeout: Duration,
    begun: Instant,
    _private: Private,
}

impl Run {
    /// Takes a started command over; `kept_max` bytes of each of its streams are kept.
    pub fn new(mut child: SandboxedChild, private: Private, posture: Posture, timeout: Duration, kept_max: u64) -> Self {
        let recent = Arc::<Mutex<Ring>>::default();
        let stdout = child.stdout.take().map(|pipe| capture(pipe, private.spool("stdout"), kept_max, Arc::clone(&recent)));
        let stderr = child.stderr.take().map(|pipe| capture(pipe, private.spool("stderr"), kept_max, Arc::clone(&recent)));
        let captures = Mutex::new(stdout.into_iter().chain(stderr).collect());
        Self { child, captures, recent, posture, timeout, begun: Instant::now(), _private: private }
    }
}

impl RunningCommand for Run {
    fn finish(&self) -> Outcome<RunReport> {
        let (report, timed_out) = await_end(&self.child, self.timeout)?;
        let mut posture = self.posture.clone();
        posture.notes.extend(watchdog_note(&report));
        // The tree is gone, so the pipes have ended.
        let mut captures = std::mem::take(&mut *lock(&self.captures)).into_iter().map(kept);
        let (stdout, stdout_cut) = captures.next().unwrap_or_default();
        let (stderr, stderr_cut) = captures.next().unwrap_or_default();
        Ok(RunReport {
            exit_code: report.exit_code,
            signal: report.signal,
            timed_out,
            duration_ms: self.begun.elapsed().as_millis() as u64,
            stdout,
            stderr,
            stdout_cut,
            stderr_cut,
            survivors: report.survivors,
            posture,
        })
    }
    fn end(&self) {
        self.child.end(Ending::Terminate);
    }
    fn recent(&self) -> Recent {
        let ring = lock(&self.recent);
        Recent { bytes: ring.bytes.iter().copied().collect(), cut: ring.cut }
    }
    fn freeze(&self) -> Outcome<()> {
        self.child.freeze()
    }
    fn thaw(&self) -> Outcome<()> {
        self.child.thaw()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn await_end(child: &SandboxedChild, timeout: Duration) -> Outcome<(ExitReport, bool)> {
    let in_time = child.wait_timeout(timeout)?;
    let report = if let Some(report) = in_time {
        report
    } else {
        child.end(Ending::Terminate);
        child.wait()?
    };
    if report.left > 0 {
        return Err(Failure::engine(format!("{} processes of the run could not be ended", report.left)).hint("they hang in the kernel; look for them with ps"));
    }
    Ok((report, in_time.is_none()))
}

fn watchdog_note(report: &ExitReport) -> Option<String> {
    match report.ended_by? {
        EndReason::Processes => Some("ended by the watchdog: too many processes".into()),
        EndReason::Disk => Some("ended by the watchdog: the disk is nearly full".into()),
        EndReason::Asked | EndReason::ParentGone => None,
    }
}

/// Reads to the end, keeps what fits, counts the rest: a flood costs time, not memory.
fn capture<R: Read + Send + 'static>(mut pipe: R, mut spool: Option<File>, kept_max: u64, recent: Arc<Mutex<Ring>>) -> Capture {
    std::thread::spawn(move || {
        let (mut kept, mut cut) = (0u64, 0u64);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let count = match pipe.read(&mut chunk) {
                Ok(0) => return (spool, cut),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return (spool, cut),
            };
            lock(&recent).push(&chunk[..count]);
            let room = (kept_max - kept).min(count as u64) as usize;
            let written = spool.as_mut().is_some_and(|spool| spool.write_all(&chunk[..room]).is_ok());
            if written {
                kept += room as u64;
                cut += (count - room) as u64;
            } else {
                // A disk that takes nothing takes nothing later either: what follows would not be what came next.
                spool = None;
                cut += count as u64;
            }
        }
    })
}

/// What was kept of a stream, and how much was not.
fn kept(capture: Capture) -> (Vec<u8>, u64) {
    let Ok((Some(mut spool), cut)) = capture.join() else { return (Vec::new(), 0) };
    let mut bytes = Vec::new();
    let read = std::io::Seek::rewind(&mut spool).and_then(|()| spool.read_to_end(&mut bytes));
    // What was written and cannot be read back is lost, and said so by the count.
    if read.is_err() { (Vec::new(), cut + bytes.len() as u64) } else { (bytes, cut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_end() {
        let mut ring = Ring::default();
        ring.push(b"beginning");
        assert!(!ring.cut);
        ring.push(&vec![b'x'; limits::COMMAND_RECENT_BYTES_MAX - 1]);
        assert!(ring.cut && ring.bytes.len() == limits::COMMAND_RECENT_BYTES_MAX && ring.bytes[0] == b'g');
        ring.push(&vec![b'y'; 3 * limits::COMMAND_RECENT_BYTES_MAX]);
        assert!(ring.bytes.len() == limits::COMMAND_RECENT_BYTES_MAX && ring.bytes.iter().all(|byte| *byte == b'y'));
    }

    #[test]
    fn a_stream_is_kept_up_to_its_bound_and_counted_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let private = Private::make(dir.path(), "command").unwrap();
        let recent = Arc::<Mutex<Ring>>::default();
        let (bytes, cut) = kept(capture(&b"0123456789"[..], private.spool("stdout"), 4, Arc::clone(&recent)));
        assert_eq!((bytes.as_slice(), cut, lock(&recent).bytes.len()), (&b"0123"[..], 6, 10));
        let root = private.0.path().to_owned();
        drop(private);
        assert!(!root.exists());
    }

    #[test]
    fn output_that_cannot_be_kept_is_counted() {
        let (spool, cut) = capture(&b"0123456789"[..], None, 100, Arc::default()).join().unwrap();
        assert!(spool.is_none() && cut == 10);
    }
}
