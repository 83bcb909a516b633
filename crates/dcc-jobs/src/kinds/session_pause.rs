//! session.pause: soft at the next boundary; when none comes, the processes stand still for a while; then the turn is
//! cancelled, to be taken up when the session is resumed. Each step is an event.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use dcc_core::gate::Cleared;
use dcc_core::ids::{JobId, SessionId};
use dcc_core::job::Job;
use dcc_core::plans::PausePlan;
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState, StateReason, Steering};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::host::steers::Steers;
use crate::host::{self, Move, move_if, require_move};
use crate::runner::Runner;
use crate::{delivery, ledger};

pub(super) struct Pause;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    reason: Option<String>,
}

impl JobKind for Pause {
    type Plan = PausePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<PausePlan>> {
        let p: Params = params::parse(cx, job)?;
        let session = params::session(cx, job)?;
        require_move(cx, &session, SessionState::Paused)?;
        if let Some(reason) = &p.reason {
            params::bounded("reason", reason, limits::LINE_BYTES_MAX)?;
        }
        let limits = &cx.config.limits;
        let body = PausePlan { session_id: session.session_id, reason: p.reason, bound_ms: limits.pause_bound_ms, freeze_ms: limits.freeze_ms.min(limits::FREEZE_MS_MAX) };
        Ok(Planned { body, engine: "dcc", inputs: Vec::new(), bindings: params::bindings_of(job, &session), claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<PausePlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let runner = cx.require_runner()?;
        let _steers = Steers::take(cx, plan.session_id, job)?;
        let how = rest(&runner, job, plan)?;
        Ok(Done::Finished(Effect::default().with("how", how)))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &PausePlan) -> Outcome<Recovered> {
        let rests = ledger::session(cx.ports.recorder.as_ref(), body.session_id)?.state == SessionState::Paused;
        Ok(if rests { Recovered::Finished(Effect::default().with("how", "the session rests")) } else { Recovered::Unknown(format!("job {} was pausing the session", job.job_id.short())) })
    }
}

/// Brings the session to rest and says how it was done.
fn rest(runner: &Arc<Runner>, job: &Job, plan: &PausePlan) -> Outcome<&'static str> {
    let cx = &runner.cx;
    let id = plan.session_id;
    delivery::drop_queued_turns(runner, id, "the session was paused; the message waits")?;
    cx.holds.ask(id, StateReason::OperatorPause);
    let reason = json!({ "paused_for": plan.reason });
    let at_once = |s: &Session| (s.state != SessionState::Active).then(|| Move::new(SessionState::Paused, StateReason::OperatorPause).with(reason.clone()));
    let moved = move_if(cx, id, Some(job.job_id), at_once).inspect_err(|_| cx.holds.release(id))?;
    if moved.is_some() {
        cx.holds.reach(id);
        return Ok("at once: no turn was working");
    }
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    let asked = Steering::Pausing { reason: plan.reason.clone(), bound_ms: plan.bound_ms };
    cx.journal.append(vec![delivery::steering(job.actor, &session, &asked, Some(job.job_id))])?;
    if cx.holds.wait_reached(id, Duration::from_millis(plan.bound_ms)) {
        let now = ledger::session(cx.ports.recorder.as_ref(), id)?;
        if now.state == SessionState::Paused {
            return Ok("at a boundary of its turn");
        }
        cx.holds.release(id);
        let dropped = Steering::PauseDropped { why: format!("the session is {}", now.state.as_str()) };
        cx.journal.append(vec![delivery::steering(Actor::SYSTEM, &now, &dropped, Some(job.job_id))])?;
        return Err(Failure::new(Code::IllegalTransition, format!("the session did not come to rest: it is {}", now.state.as_str())));
    }
    let Some(turn) = host::running_turn(cx, id)? else { return settle(cx, id, job, "its turn has just ended") };
    match cx.ports.sessions.freeze(id).and_then(|()| cx.commands.freeze(id)) {
        Ok(()) => frozen(runner, id, turn, job, plan),
        Err(failure) => {
            // Some of it may stand still already, and nobody would let it go on.
            for thawed in [cx.ports.sessions.thaw(id), cx.commands.thaw(id)] {
                if let Err(failure) = thawed {
                    eprintln!("dcc: session {}: {failure}", id.short());
                }
            }
            cut(runner, id, turn, &format!("it reached no boundary, and its processes cannot stand still: {}", failure.message))?;
            settle(cx, id, job, "its turn was cancelled, to be taken up when it is resumed")
        }
    }
}

/// The turn is over or gone: what is left to do is the move.
fn settle(cx: &Context, id: SessionId, job: &Job, how: &'static str) -> Outcome<&'static str> {
    let rests = |s: &Session| (!s.state.is_terminal() && s.state != SessionState::Paused).then(|| Move::new(SessionState::Paused, StateReason::OperatorPause));
    move_if(cx, id, Some(job.job_id), rests)?;
    cx.holds.reach(id);
    Ok(how)
}

/// The processes stand still. They go on when the session is resumed in time; else the turn is cancelled.
fn frozen(runner: &Arc<Runner>, id: SessionId, turn: JobId, job: &Job, plan: &PausePlan) -> Outcome<&'static str> {
    let cx = &runner.cx;
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    let until = cx.now().plus_ms(i64::try_from(plan.freeze_ms).unwrap_or(i64::MAX));
    settle(cx, id, job, "")?;
    cx.journal.append(vec![delivery::steering(Actor::SYSTEM, &session, &Steering::Frozen { until }, Some(job.job_id))])?;
    let watcher = Arc::clone(runner);
    let limit = Duration::from_millis(plan.freeze_ms);
    let spawned = std::thread::Builder::new().name("session-frozen".to_owned()).spawn(move || {
        if watcher.cx.holds.wait_released(id, Some(limit), || false) {
            return;
        }
        // Resumed and paused again meanwhile, it stands still by another order with a watcher of its own.
        let is_this_one = ledger::session(watcher.cx.ports.recorder.as_ref(), id).is_ok_and(|s| s.frozen_until == Some(until));
        if !is_this_one {
            return;
        }
        if let Err(failure) = cut(&watcher, id, turn, "its processes stood still for as long as they may") {
            eprintln!("dcc: session {}: {failure}", id.short());
        }
    });
    if let Err(e) = spawned {
        cut(runner, id, turn, &format!("nobody could watch its processes stand still: {e}"))?;
    }
    Ok("its processes stand still, because its turn reached no boundary in time")
}

/// Ends the turn so that the session rests: politely, then with the whole process tree.
fn cut(runner: &Arc<Runner>, id: SessionId, turn: JobId, why: &str) -> Outcome<()> {
    let cx = &runner.cx;
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if session.state.is_terminal() {
        return Ok(());
    }
    let mut events = vec![delivery::steering(Actor::SYSTEM, &session, &Steering::TurnCut { turn_job_id: turn, why: why.to_owned() }, Some(turn))];
    if session.frozen_until.is_some() {
        events.insert(0, delivery::steering(Actor::SYSTEM, &session, &Steering::Thawed { why: why.to_owned() }, Some(turn)));
    }
    cx.journal.append(events)?;
    // Answers first, so that nothing is allowed between thawing and cancelling.
    host::cancel_answers(runner, id, "the session was paused")?;
    cx.ports.sessions.cancel_turn(id)?;
    if session.frozen_until.is_some() {
        cx.ports.sessions.thaw(id)?;
        cx.commands.thaw(id)?;
    }
    cx.holds.wake();
    let ended = runner.wait(turn, Some(Duration::from_millis(limits::AGENT_CANCEL_GRACE_MS)))?;
    if !ended.state.is_terminal() {
        host::stop_agent(cx, id)?;
        super::end_turn(runner, turn, Ok("cancelled".into()))?;
    }
    Ok(())
}
