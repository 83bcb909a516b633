//! Waivers of the sandbox in force, what runs under them, and their end.
//!
//! Authority: canon decides; remembered here are the thread that waits for an end, and the starts under way. Invariants: no
//! agent runs unconfined a second longer than its waiver holds, give or take [`LOOK_EVERY`], however the clock is set
//! meanwhile; a waiver from before the clock was set back does not hold; one that ended never holds again.
//!
//! On failure: what cannot be read counts as no waiver.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::event::{Correlation, EventCode, NewEvent};
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::{Driver, EventFilter, Recorder};
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::waiver::{self, Waiver};
use dcc_core::{Code, Failure, JobId, Outcome, SessionId, Timestamp, WorkspaceId, limits};

use crate::context::Context;
use crate::host::{self, Move, move_if};
use crate::runner::Runner;
use crate::{delivery, kinds, ledger};

const LOOK_EVERY: Duration = Duration::from_millis(limits::WAIVER_LOOK_MS);

/// What was waived and not revoked, in or out of time.
fn standing(recorder: &dyn Recorder) -> Outcome<Vec<Waiver>> {
    let codes = vec![EventCode::SandboxWaived, EventCode::SandboxWaiverEnded, EventCode::ClockWentBack];
    Ok(waiver::standing(&ledger::read_all(recorder, EventFilter { codes, ..EventFilter::default() })?))
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
            .hint(format!("dcc doctor says what is missing; a person may waive it: dcc sandbox waive --ws {} --for 30m --reason R", body.workspace_id.short())));
    };
    body.waiver = Some(waiver.waiver_id);
    Ok(body)
}

/// Starts of agents without a sandbox that are under way in this process.
#[derive(Default)]
pub(crate) struct Starts {
    under_way: Mutex<HashMap<SessionId, WorkspaceId>>,
    over: Condvar,
}

/// One of them, until it is dropped.
pub(crate) struct UnderWay<'a> {
    starts: &'a Starts,
    session: SessionId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.starts.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session);
        self.starts.over.notify_all();
    }
}

impl Starts {
    /// The start counts from here on; whoever ends the waiver afterwards waits for it. None: it is over already.
    pub(crate) fn begin<'a>(&'a self, cx: &Context, session: SessionId, workspace: WorkspaceId, waiver: JobId) -> Outcome<Option<UnderWay<'a>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(session, workspace);
        let begun = UnderWay { starts: self, session };
        Ok(holds(cx, workspace, waiver)?.then_some(begun))
    }

    /// Ends those of a worktree, and returns when none is left. The waiver is over before, so none follows.
    fn end(&self, cx: &Context, workspace: WorkspaceId) -> Outcome<()> {
        loop {
            let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            let of_it: Vec<SessionId> = under_way.iter().filter(|(_, at)| **at == workspace).map(|(session, _)| *session).collect();
            if of_it.is_empty() {
                return Ok(());
            }
            // An agent can be ended from the moment on that it has a process, of which nobody is told.
            drop(self.over.wait_timeout(under_way, LOOK_EVERY / 10));
            for session in of_it {
                host::stop_agent(cx, session)?;
            }
        }
    }
}

/// True while this very waiver is in force.
pub(crate) fn holds(cx: &Context, workspace: WorkspaceId, waiver: JobId) -> Outcome<bool> {
    Ok(of_workspace(cx, workspace)?.is_some_and(|found| found.waiver_id == waiver))
}

/// True for a session whose agent runs, or ran last, unconfined.
fn is_unconfined(session: &Session) -> bool {
    session.posture.as_ref().is_some_and(|posture| !posture.confines_agents()) && session.process.is_some()
}

/// Ends the agents of a worktree that run unconfined; their sessions rest and say why.
pub(crate) fn end_agents(runner: &Arc<Runner>, id: WorkspaceId, why: &str) -> Outcome<usize> {
    let cx = &runner.cx;
    cx.unconfined_starts.end(cx, id)?;
    let live = cx.ports.sessions.live();
    let ending: Vec<SessionId> = cx.ports.store.open_sessions()?.iter().filter(|s| s.workspace_id == Some(id) && is_unconfined(s) && live.contains(&s.session_id)).map(|s| s.session_id).collect();
    for session in &ending {
        // All of them first: the slot of one that ends is not for another's turn.
        host::mark_stopping(cx, *session);
        delivery::drop_queued_turns(runner, *session, why)?;
    }
    for session in &ending {
        let turn = host::running_turn(cx, *session)?;
        host::stop_agent(cx, *session)?;
        if let Some(turn) = turn {
            kinds::end_turn(runner, turn, Ok("cancelled".into()))?;
        }
        let rests = |s: &Session| (!s.state.is_terminal()).then(|| Move::new(SessionState::Blocked, StateReason::IsolationMissing).with(json!({ "fault": why })));
        move_if(cx, *session, None, rests)?;
    }
    Ok(ending.len())
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
        let mut seen = HashMap::new();
        loop {
            let Some(runner) = weak.upgrade() else { return };
            let mut watching = runner.cx.watching_waivers.lock().unwrap_or_else(PoisonError::into_inner);
            match sweep(&runner, &mut seen) {
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

/// When each waiver was first looked at, by a clock that nobody sets and by the one of its times.
type Seen = HashMap<JobId, (Instant, Timestamp)>;

/// Ends what has run out; true while any waiver still stands.
fn sweep(runner: &Arc<Runner>, seen: &mut Seen) -> Outcome<bool> {
    let cx = &runner.cx;
    let recorder = cx.ports.recorder.as_ref();
    // Those from before the clock was set back are over too, so the whole list is taken.
    let events = ledger::read_all(recorder, EventFilter { codes: vec![EventCode::SandboxWaived, EventCode::SandboxWaiverEnded], ..EventFilter::default() })?;
    let now = cx.now();
    // Steps back that are too small, or fall between two events, are on no record.
    let mut felt = |waiver: &Waiver| {
        let (since, then) = *seen.entry(waiver.waiver_id).or_insert_with(|| (Instant::now(), now));
        now.max(then.plus_ms(i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)))
    };
    let mut holds = in_force(recorder, now)?;
    holds.retain(|waiver| felt(waiver) < waiver.expires_at);
    for waiver in waiver::standing(&events) {
        if holds.contains(&waiver) {
            continue;
        }
        let why = if felt(&waiver) >= waiver.expires_at { "its time is over" } else { "the clock was set back" };
        cx.journal.try_append(vec![ended(Actor::SYSTEM, waiver.waiver_id, waiver.workspace_id, why)])?;
        end_agents(runner, waiver.workspace_id, "the waiver of the sandbox is over")?;
    }
    Ok(!holds.is_empty())
}
