//! The file watcher of a server: follows the active worktrees as they come and go, and tells the application.
//!
//! Authority: ephemeral. Failure: without a watcher the server goes on; the health page says why pages do not follow files.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dcc_api::App;
use dcc_api::door::{Door as _, StreamItem, Subscription};
use dcc_core::event::EventCode;
use dcc_core::ports::watch::WatchState;
use dcc_core::workspace::{WorkspaceStatus, WorktreeBinding};
use dcc_core::{Failure, Outcome, WorkspaceId};
use dcc_engines::watch::Watcher;

use super::project::Found;

/// The reader of the event stream sleeps until something is told; this only bounds one sleep.
const SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until the stream of events is closed.
pub struct Watching(Option<JoinHandle<()>>);

/// Starts it. What does not start is said on the health page and is no failure of the server.
pub fn start(found: &Found, app: &Arc<App>) -> Watching {
    match try_start(found, app) {
        Ok(thread) => Watching(Some(thread)),
        Err(failure) => {
            eprintln!("dcc: {failure}");
            app.watching_is(WatchState { fault: Some(failure.message), ..WatchState::default() });
            Watching(None)
        }
    }
}

fn try_start(found: &Found, app: &Arc<App>) -> Outcome<JoinHandle<()>> {
    let (listing, teller) = (Arc::clone(&found.git), Arc::clone(app));
    let list_files = Arc::new(move |worktree: &WorktreeBinding| listing.list_files(worktree));
    // Before the first list of worktrees is read: one made meanwhile is an event of this stream.
    let events = app.subscribe(None)?;
    let watcher = Watcher::start(found.common_dir_path(), list_files, move |seen| teller.seen(&seen))?;
    let app = Arc::clone(app);
    let follow = move || follow(&app, &watcher, events);
    std::thread::Builder::new().name("follow".into()).spawn(follow).map_err(|e| Failure::engine(format!("files cannot be watched: {e}")))
}

fn follow(app: &App, watcher: &Watcher, mut events: Subscription) {
    watcher.follow(active(app));
    loop {
        match events.next_timeout(SLEEP) {
            Ok(Some(StreamItem::Event(line))) if !is_about_worktrees(line.code) => {}
            Ok(Some(StreamItem::Touch { .. } | StreamItem::Screen { .. }) | None) => {}
            Ok(Some(StreamItem::Event(_) | StreamItem::Gap { .. })) => watcher.follow(active(app)),
            Err(_) => return,
        }
    }
}

fn is_about_worktrees(code: EventCode) -> bool {
    code.as_str().starts_with("FR-EVT-WS-") && code != EventCode::OutOfBandChange
}

fn active(app: &App) -> Vec<(WorkspaceId, WorktreeBinding)> {
    let workspaces = dcc_jobs::ledger::workspaces(app.runner.cx.ports.recorder.as_ref()).unwrap_or_default();
    workspaces.into_iter().filter(|w| w.status == WorkspaceStatus::Active).map(|w| (w.workspace_id, w.binding)).collect()
}

impl Watching {
    /// Waits for the end, after the stream of events was closed.
    pub fn join(self) {
        if let Some(thread) = self.0 {
            let _ = thread.join();
        }
    }
}
