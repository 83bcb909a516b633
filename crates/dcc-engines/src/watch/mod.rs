//! Telling when files change: one watcher over all followed worktrees and the shared git directory.
//!
//! Authority: ephemeral. What is told is a reason to look and never a fact.
//!
//! Invariants: no clock wakes anything while nothing changes; `.handshake`, objects and ignored directories are not
//! watched; changes are gathered and told together, in batches that grow with the rush; what was missed (the kernel's
//! queue or ours ran over) is told as a sweep. Sweeps that follow each other are spaced, so that the looking, which the
//! kernel reports too, cannot feed itself.
//!
//! On failure: HSK-500-ENGINE when no watcher can be had; a worktree that is not followed as a whole is in the state.

mod cover;
#[cfg(test)]
mod tests;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::ids::WorkspaceId;
use dcc_core::limits;
use dcc_core::ports::watch::Seen;
use dcc_core::workspace::WorktreeBinding;
use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};
use notify::{Config, RecommendedWatcher, Watcher as _};

use crate::search::ListFiles;
use cover::{Batch, Cover, Kind};

const GATHER: Duration = Duration::from_millis(limits::WATCH_GATHER_MS);
const GATHER_MAX: Duration = Duration::from_millis(limits::WATCH_GATHER_MS_MAX);
/// Between two sweeps; doubles while they follow each other.
const SWEEP_APART: Duration = Duration::from_millis(200);
const SWEEP_APART_MAX: Duration = Duration::from_secs(60);

enum Message {
    Change(PathBuf, Kind),
    /// Something was missed; the flag says so too.
    Missed,
    Follow(Vec<(WorkspaceId, WorktreeBinding)>),
    Stop,
}

/// The running watcher; dropping it ends its threads.
pub struct Watcher {
    inbox: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
    #[cfg(test)]
    missed: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts with the shared git directory and no worktree. `tell` is called on the watcher's own thread and may block:
    /// what happens meanwhile waits, within a bound.
    pub fn start(common_dir: PathBuf, list_files: ListFiles, tell: impl FnMut(Seen) + Send + 'static) -> Outcome<Self> {
        Self::start_within(limits::WATCH_DIRECTORIES_MAX, common_dir, list_files, tell)
    }

    fn start_within(directories_max: usize, common_dir: PathBuf, list_files: ListFiles, tell: impl FnMut(Seen) + Send + 'static) -> Outcome<Self> {
        let (inbox, outbox) = sync_channel(limits::WATCH_QUEUE_MAX);
        let missed = Arc::new(AtomicBool::new(false));
        let (to, flag) = (inbox.clone(), Arc::clone(&missed));
        let handler = move |event| hand_over(event, &to, &flag);
        let no_watcher = |why: &dyn std::fmt::Display| {
            Failure::engine(format!("files cannot be watched: {why}")).hint("pages show changes when they are loaded; on Linux see fs.inotify.max_user_instances")
        };
        let watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false)).map_err(|e| no_watcher(&e))?;
        #[cfg(test)]
        let seen_by_tests = Arc::clone(&missed);
        let cover = Cover::new(watcher, directories_max, common_dir, list_files);
        let run = Run { cover, missed, outbox, tell, swept: None, apart: SWEEP_APART, owed: None };
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || run.run()).map_err(|e| no_watcher(&e))?;
        Ok(Self {
            inbox,
            thread: Some(thread),
            #[cfg(test)]
            missed: seen_by_tests,
        })
    }

    /// Follows exactly these worktrees from now on; answers before they are watched. How it stands is told.
    pub fn follow(&self, worktrees: Vec<(WorkspaceId, WorktreeBinding)>) {
        // A watcher that ended has nobody to tell.
        let _ = self.inbox.send(Message::Follow(worktrees));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.inbox.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// On the kernel's side of the queue: leaves out what is no change and never waits.
fn hand_over(event: notify::Result<Event>, inbox: &SyncSender<Message>, missed: &AtomicBool) {
    let miss = || {
        missed.store(true, Ordering::Release);
        let _ = inbox.try_send(Message::Missed);
    };
    let event = match event {
        Ok(event) if event.need_rescan() => return miss(),
        Ok(event) => event,
        Err(_) => return miss(),
    };
    let kind = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Kind::Changed,
        // Both halves of a rename come by themselves as well.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Kind::Made,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Kind::Gone,
        _ => Kind::Changed,
    };
    for path in event.paths {
        if let Err(TrySendError::Full(_)) = inbox.try_send(Message::Change(path, kind)) {
            missed.store(true, Ordering::Release);
        }
    }
}

/// The watcher's own thread.
struct Run<T> {
    cover: Cover,
    missed: Arc<AtomicBool>,
    outbox: Receiver<Message>,
    tell: T,
    swept: Option<Instant>,
    apart: Duration,
    /// When the sweep that is owed may be made.
    owed: Option<Instant>,
}

impl<T: FnMut(Seen)> Run<T> {
    fn run(mut self) {
        let mut gather = GATHER;
        let mut was_busy = false;
        loop {
            let first = match self.wait(was_busy.then_some(GATHER)) {
                Ok(first) => {
                    gather = if was_busy { (gather * 2).min(GATHER_MAX) } else { GATHER };
                    Some(first)
                }
                Err(RecvTimeoutError::Timeout) if self.owed.is_none_or(|at| Instant::now() < at) => {
                    was_busy = false;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.batch(first, gather).is_none() {
                return;
            }
            was_busy = true;
        }
    }

    /// The next message; with a time limit after a batch, to see whether the rush goes on, and while a sweep is owed; else
    /// for as long as it takes.
    fn wait(&self, after_rush: Option<Duration>) -> Result<Message, RecvTimeoutError> {
        let until_sweep = self.owed.map(|at| at.saturating_duration_since(Instant::now()));
        match after_rush.into_iter().chain(until_sweep).min() {
            Some(limit) => self.outbox.recv_timeout(limit),
            None => self.outbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Gathers what comes within the time and tells it; none at the end.
    fn batch(&mut self, first: Option<Message>, gather: Duration) -> Option<()> {
        let mut batch = Batch::default();
        let mut must_tell = false;
        let until = Instant::now() + gather;
        let mut next = first.ok_or(RecvTimeoutError::Timeout);
        loop {
            match next {
                Ok(Message::Change(path, kind)) => self.cover.take(&path, kind, &mut batch),
                Ok(Message::Missed) => {}
                Ok(Message::Follow(worktrees)) => {
                    self.cover.follow(worktrees);
                    must_tell = true;
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => break,
            }
            let left = until.saturating_duration_since(Instant::now());
            // What goes on beyond the time waits for the next batch.
            next = if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { self.outbox.recv_timeout(left) };
        }
        self.sweep_when_due(&mut batch);
        self.cover.settle(&mut batch);
        if must_tell || !batch.is_empty() {
            batch.seen.state = self.cover.state();
            (self.tell)(batch.seen);
        }
        Some(())
    }

    fn sweep_when_due(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        if self.missed.swap(false, Ordering::AcqRel) {
            self.cover.overflows += 1;
            let since = self.swept.map_or(SWEEP_APART_MAX, |at| now - at);
            self.apart = if since > self.apart * 4 { SWEEP_APART } else { (self.apart * 2).min(SWEEP_APART_MAX) };
            let at = self.swept.map_or(now, |at| at + self.apart);
            self.owed = Some(self.owed.map_or(at, |owed| owed.min(at)));
        }
        if self.owed.is_some_and(|at| at <= now) {
            self.owed = None;
            self.swept = Some(now);
            self.cover.sweep(batch);
        }
    }
}
