//! Heartbeats of live runs: the sign that a process lives, apart from what it does.
//!
//! Authority: canon, by the recorder, as telemetry. Invariant: at most one for each session in `limits::HEARTBEAT_MS`, and
//! none for a session that does not run.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::principal::Actor;
use dcc_core::{Outcome, limits};

use super::states::session_correlation;
use crate::context::Context;
use crate::runner::Runner;

/// Has a thread record heartbeats while any agent lives. One thread for all of them.
pub(crate) fn tend(runner: &Arc<Runner>) {
    {
        let mut beating = runner.cx.beating.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *beating, true) {
            return;
        }
    }
    let weak = Arc::downgrade(runner);
    let spawned = std::thread::Builder::new().name("heartbeats".to_owned()).spawn(move || {
        loop {
            // tidy, allowed: a heartbeat is a matter of time
            std::thread::park_timeout(Duration::from_millis(limits::HEARTBEAT_MS));
            let Some(runner) = weak.upgrade() else { return };
            let mut beating = runner.cx.beating.lock().unwrap_or_else(PoisonError::into_inner);
            if runner.cx.ports.sessions.live().is_empty() {
                *beating = false;
                return;
            }
            drop(beating);
            if let Err(failure) = beat(&runner.cx) {
                eprintln!("dcc: heartbeats could not be recorded: {failure}");
            }
        }
    });
    if spawned.is_err() {
        *runner.cx.beating.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// One heartbeat for each session whose agent lives and works.
pub(crate) fn beat(cx: &Context) -> Outcome<()> {
    let live = cx.ports.sessions.live();
    let sessions = cx.ports.store.open_sessions()?;
    let beats: Vec<NewEvent> = sessions
        .iter()
        .filter(|s| s.has_turn() && live.contains(&s.session_id))
        .map(|s| NewEvent::new(EventCode::SessionHeartbeat, Actor::SYSTEM, json!({})).about(&session_correlation(s)))
        .collect();
    if beats.is_empty() { Ok(()) } else { cx.journal.append(beats).map(drop) }
}
