//! The door of the process that owns the project: submits to the runner, reads from canon and from the derived store.

mod budgets;
mod agent_door;
mod door;
pub mod pages;
mod queries;
mod records;
mod sessions;
mod watching;

use std::sync::{Arc, Mutex, PoisonError};

use dcc_core::ports::VerifyReport;
use dcc_core::ports::watch::WatchState;
use dcc_core::{Outcome, Timestamp};
use dcc_jobs::{Context, Runner};

use crate::door::{EventLine, Hub};

/// What a health page shows beside the ports' own words; filled in by the binary.
#[derive(Clone, Debug, Default)]
pub struct MachineFacts {
    /// (name, status word, evidence, command that fixes it)
    pub checks: Vec<(String, String, String, Option<String>)>,
}

/// The application of one project in this process.
pub struct App {
    pub runner: Arc<Runner>,
    pub hub: Arc<Hub>,
    /// Last whole verification of the chain and when it was made.
    verified: Mutex<Option<(VerifyReport, Timestamp)>>,
    /// How the file watcher stands; none when this process runs none.
    watching: Mutex<Option<WatchState>>,
    /// Checks of the machine, made at start.
    pub machine: MachineFacts,
}

impl App {
    /// Connects the journal to the live stream.
    pub fn new(runner: Arc<Runner>, machine: MachineFacts) -> Outcome<Arc<Self>> {
        let hub = Arc::new(Hub::default());
        let publisher = Arc::clone(&hub);
        runner.cx.journal.listen(Box::new(move |events| {
            let lines: Vec<EventLine> = events.iter().map(EventLine::from).collect();
            publisher.publish(&lines);
        }))?;
        let screens = Arc::clone(&hub);
        runner.cx.ports.sessions.on_screen(Box::new(move |session_id| {
            screens.screen(session_id);
        }));
        Ok(Arc::new(Self { runner, hub, verified: Mutex::new(None), watching: Mutex::new(None), machine }))
    }

    pub(crate) fn cx(&self) -> &Context {
        &self.runner.cx
    }

    /// Walks the whole chain and remembers the result for the status line.
    pub fn verify(&self) -> Outcome<VerifyReport> {
        let report = self.cx().ports.recorder.verify(None)?;
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some((report.clone(), self.cx().now()));
        Ok(report)
    }

    /// The last verification, if any was made by this process.
    pub fn last_verified(&self) -> Option<(VerifyReport, Timestamp)> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
