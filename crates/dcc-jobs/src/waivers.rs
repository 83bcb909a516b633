//! Waivers of the sandbox in force, what runs under them, and their end.
//!
//! Authority: canon decides; nothing is remembered here but the thread that waits for an end. Invariants: no agent runs
//! unconfined a second longer than its waiver holds, give or take [`LOOK_EVERY`]; a waiver from before the clock was set
//! back does not hold; one that ended never holds again.
//!
//! On failure: what cannot be read counts as no waiver.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::json;

use dcc_core::event::{Correlation, Event, EventCode, NewEvent};
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::{Driver, EventFilter, Recorder};
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::waiver::{self, Waiver};
use dcc_core::{Code, Failure, Outcome, Timestamp, WorkspaceId, limits};

use crate::context::Context;
use crate::host::{self, Move, move_if};
use crate::runner::Runner;
use crate::{kinds, ledger};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was waived and not revoked, in or out of time.
fn standing(recorder: &dyn Recorder) -> Outcome<Vec<Waiver>> {
    let events = ledger::read_all(recorder, EventFilter { codes: vec![EventCode::SandboxWaived, EventCode::SandboxWaiverEnded], ..EventFilter::default() })?;
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let stepped_back = ledger::clock_stepped_back(recorder)?;
    let since: Vec<Event> = events.into_iter().filter(|e| e.seq > stepped_back).collect();
    Ok(waiver::standing(&since))
}

/// The waivers that hold now.
pub fn in_force(recorder: &dyn Recorder, now: Timestamp) -> Outcome<Vec<Waiver>> {
    let mut waivers = standing(recorder)?;
    if waivers.is_empty() {
        return Ok(waivers);
    }
    // Nothing may have been recorded yet since the clock was set back.
    let head = recorder.head()?;
    let last = recorder.by_seq(head.seq)?.map_or(now, |event| event.ts);
    let is_back = last.as_ms() > now.as_ms() + limits::SAME_TURN_START_MS;
    waivers.retain(|waiver| !is_back && waiver.is_in_time(now));
    Ok(waivers)
}

pub(crate) fn of_workspace(cx: &Context, id: WorkspaceId) -> Outcome<Option<Waiver>> {
    Ok(in_force(cx.ports.recorder.as_ref(), cx.now())?.into_iter().find(|waiver| waiver.workspace_id == id))
}

/// True when the self-test saw held what confines an agent.
pub(crate) fn has_sandbox(cx: &Context) -> bool {
    cx.ports.sandbox.posture().confines_agents()
}

/// The plan of an agent as this machine can confine it: in the sandbox; or, where there is none, under the waiver of its
/// worktree; or refused.
pub(crate) fn confined(cx: &Context, mut body: SessionStartPlan) -> Outcome<SessionStartPlan> {
    if body.driver == Driver::Human || body.is_in_place() || has_sandbox(cx) {
        return Ok(body);
    }
    let Some(waiver) = of_workspace(cx, body.workspace_id)? else {
        return Err(Failure::new(Code::SandboxUnavailable, "no sandbox can be had here, and none was waived for this worktree")
            .hint("dcc doctor says what is missing; a person may waive it: dcc sandbox waive --ws WS --for 30m --reason R"));
    };
    body.waiver = Some(waiver.waiver_id);
    Ok(body)
}

/// True for a session whose agent runs, or ran last, unconfined.
fn is_unconfined(session: &Session) -> bool {
    session.posture.as_ref().is_some_and(|posture| !posture.confines_agents()) && session.process.is_some()
}

/// Ends the agents of a worktree that run unconfined; their sessions rest and say why.
pub(crate) fn end_agents(runner: &Arc<Runner>, id: WorkspaceId, why: &str) -> Outcome<usize> {
    let cx = &runner.cx;
    let mut ended = 0;
    for derived in cx.ports.store.open_sessions()? {
        if derived.workspace_id != Some(id) || derived.state.is_terminal() || !is_unconfined(&derived) || !cx.ports.sessions.live().contains(&derived.session_id) {
            continue;
        }
        let session = derived.session_id;
        let turn = host::running_turn(cx, session)?;
        host::stop_agent(cx, session)?;
        if let Some(turn) = turn {
            kinds::end_turn(runner, turn, Ok("cancelled".into()))?;
        }
        let rests = |s: &Session| (!s.state.is_terminal()).then(|| Move::new(SessionState::Blocked, StateReason::IsolationMissing).with(json!({ "fault": why })));
        move_if(cx, session, None, rests)?;
        ended += 1;
    }
    Ok(ended)
}

/// The event that ends a waiver, once.
pub(crate) fn ended(actor: Actor, waiver: dcc_core::JobId, workspace: WorkspaceId, why: &str) -> NewEvent {
    let correlation = Correlation { workspace_id: Some(workspace), ..Correlation::default() };
    NewEvent::new(EventCode::SandboxWaiverEnded, actor, json!({ "waiver_id": waiver, "why": why })).about(&correlation).once(format!("waiver:{waiver}"))
}

/// Has a thread wait for the end of every waiver that stands. One thread for all of them.
pub(crate) fn watch(runner: &Arc<Runner>) {
    if runner.cx.config.read_only.is_some() || standing(runner.cx.ports.recorder.as_ref()).map_or(true, |waivers| waivers.is_empty()) {
        return;
    }
    {
        let mut watching = runner.cx.watching_waivers.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *watching, true) {
            return;
        }
    }
    let weak = Arc::downgrade(runner);
    let spawned = std::thread::Builder::new().name("waivers".to_owned()).spawn(move || {
        loop {
            let Some(runner) = weak.upgrade() else { return };
            let mut watching = runner.cx.watching_waivers.lock().unwrap_or_else(PoisonError::into_inner);
            match sweep(&runner) {
                Ok(true) => drop(watching),
                Ok(false) => {
                    *watching = false;
                    return;
                }
                Err(failure) => {
                    drop(watching);
                    eprintln!("dcc: waivers of the sandbox could not be looked at: {failure}");
                }
            }
            drop(runner);
            // tidy, allowed: an end in time is a matter of time, and the clock may be set meanwhile
            std::thread::park_timeout(LOOK_EVERY);
        }
    });
    if spawned.is_err() {
        *runner.cx.watching_waivers.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// Ends what has run out; true while any waiver still stands.
fn sweep(runner: &Arc<Runner>) -> Outcome<bool> {
    let cx = &runner.cx;
    let recorder = cx.ports.recorder.as_ref();
    // Those from before the clock was set back are over too, so the whole list is taken.
    let events = ledger::read_all(recorder, EventFilter { codes: vec![EventCode::SandboxWaived, EventCode::SandboxWaiverEnded], ..EventFilter::default() })?;
    let holds = in_force(recorder, cx.now())?;
    for waiver in waiver::standing(&events) {
        if holds.contains(&waiver) {
            continue;
        }
        let why = if cx.now() >= waiver.expires_at { "its time is over" } else { "the clock was set back" };
        cx.journal.try_append(vec![ended(Actor::SYSTEM, waiver.waiver_id, waiver.workspace_id, why)])?;
        end_agents(runner, waiver.workspace_id, "the waiver of the sandbox is over")?;
    }
    Ok(!holds.is_empty())
}
