//! From waiting messages to turns: one message is one turn, in the order of the queue (SESSIONS 4).
//!
//! Authority: canon, by the recorder: a message waits from the event that brought it until the event that says what became
//! of it. Invariants: a message is on disk before anything is cancelled for it; of two acts upon one revision of a message
//! the recorder's unique key lets one win; what may have reached the agent is never sent again by itself.

use std::sync::{Arc, PoisonError};

use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::{JobId, MessageId, SessionId};
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::sessions::Steer;
use dcc_core::ports::{Appended, JobFilter, fresh};
use dcc_core::principal::Actor;
use dcc_core::session::{Delivery, Session, SessionState, Source, StateReason, Steering, WaitingMessage, position_of};
use dcc_core::{Code, Failure, Outcome, Sha256Hex, limits};

use crate::context::Context;
use crate::host::{self, checkpoints, session_correlation};
use crate::ledger;
use crate::runner::Runner;

/// Why the queue is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occasion {
    /// A turn ended well, or an agent has just been started.
    TurnOver,
    /// A person wants it to go on, also after a fault.
    Person,
}

/// Beginning of a message that is shown with the session.
const SHOWN_BYTES: usize = 400;

/// What is to be queued.
pub(crate) struct Outgoing<'a> {
    pub text: &'a str,
    pub when: Steer,
    pub source: Source,
    pub from: Actor,
    pub job_id: JobId,
}

/// The message as it will wait; its whole text is an artifact from here on.
pub(crate) fn compose(cx: &Context, out: &Outgoing<'_>) -> Outcome<WaitingMessage> {
    Ok(WaitingMessage {
        message_id: fresh::<MessageId>(cx.ports.clock.as_ref()),
        when: out.when,
        text: host::cut_text(out.text, SHOWN_BYTES),
        text_ref: cx.ports.artifacts.put(out.text.as_bytes())?,
        bytes: out.text.len() as u64,
        source: out.source,
        from: out.from,
        job_id: out.job_id,
        queued_at: cx.now(),
        revision: 0,
        delivery: Delivery::Waiting,
    })
}

/// The event that brings a message.
pub(crate) fn queued(actor: Actor, session: &Session, message: WaitingMessage, job: &Job) -> NewEvent {
    let position = position_of(&session.waiting, message.when);
    steering(actor, session, &Steering::Queued { message, position }, Some(job.job_id))
}

/// A steering act as an event about the session.
pub(crate) fn steering(actor: Actor, session: &Session, act: &Steering, job_id: Option<JobId>) -> NewEvent {
    let mut correlation = session_correlation(session);
    if job_id.is_some() {
        correlation.job_id = job_id;
        correlation.workflow_run_id = job_id;
    }
    NewEvent::new(EventCode::SessionSteered, actor, serde_json::to_value(act).unwrap_or_default()).about(&correlation)
}

/// Puts a message into the queue, durable when it returns.
pub(crate) fn enqueue(cx: &Context, id: SessionId, job: &Job, out: &Outgoing<'_>) -> Outcome<WaitingMessage> {
    let _one = cx.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    if session.state.is_terminal() {
        return Err(Failure::new(Code::IllegalTransition, format!("session {} has ended ({})", id.short(), session.state.as_str())));
    }
    if session.waiting.len() >= limits::SESSION_QUEUE_MAX {
        return Err(Failure::new(Code::RateLimit, format!("{} messages wait for the session already", session.waiting.len())).hint("remove some: dcc session send S --message M --remove"));
    }
    let message = compose(cx, out)?;
    cx.journal.append(vec![queued(out.from, &session, message.clone(), job)])?;
    checkpoints::make(cx, &session, checkpoints::Why::Steering)?;
    Ok(message)
}

/// Does something with a waiting message that was seen as this revision; whoever comes second is told who was first.
pub(crate) fn act_upon(runner: &Arc<Runner>, id: SessionId, actor: Actor, job: &Job, act: &Steering, revision: u32) -> Outcome<()> {
    let cx = &runner.cx;
    let _one = cx.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    // A turn that waits for a slot with this message holds its old text and place.
    if let Some(turn) = drop_queued_turns(runner, id, "its message was changed")? {
        return Err(Failure::new(Code::VersionConflict, format!("turn {} began meanwhile", turn.short())).hint("look at it again: dcc session show S"));
    }
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    let Some(message_id) = act.message_id() else { return Err(Failure::engine("the act names no message")) };
    let Some(message) = session.waiting.iter().find(|m| m.message_id == message_id) else {
        return Err(Failure::new(Code::VersionConflict, format!("message {} does not wait any more", message_id.short())).hint("dcc session show S lists what waits"));
    };
    if let Delivery::Delivering { turn_job_id } = message.delivery {
        return Err(Failure::new(Code::VersionConflict, format!("message {} is being delivered as turn {}", message_id.short(), turn_job_id.short())));
    }
    let event = steering(actor, &session, act, Some(job.job_id)).once(format!("message:{message_id}:{}", revision + 1));
    match cx.journal.try_append(vec![event])? {
        Appended::Written(_) => Ok(()),
        Appended::Taken { by, .. } => Err(Failure::new(
            Code::VersionConflict,
            format!("message {} was changed meanwhile by {} at {}", message_id.short(), by.actor_id, by.ts),
        )
        .hint("look at it again: dcc session show S")),
    }
}

/// Makes the next message a turn, when the session can take one. None when nothing is to be delivered now.
pub(crate) fn next(runner: &Arc<Runner>, id: SessionId, occasion: Occasion) -> Outcome<Option<Job>> {
    let cx = &runner.cx;
    let _one = cx.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
    let is_ready = match (session.state, session.state_reason) {
        (SessionState::Created, _) | (SessionState::Blocked, StateReason::InputWait | StateReason::Dispatching) => true,
        (SessionState::Blocked, StateReason::ApprovalWait) => false,
        (SessionState::Blocked, _) => occasion == Occasion::Person,
        _ => false,
    };
    if !is_ready || host::is_stopping(cx, id) || cx.holds.asked(id).is_some() || !cx.ports.sessions.live().contains(&id) || has_turn_job(cx, id)? {
        return Ok(None);
    }
    let Some(message) = session.next_message() else { return Ok(None) };
    let request = JobRequest {
        op: Op::SessionRun,
        params: json!({ "message_id": message.message_id }),
        bindings: Bindings { wp_id: session.wp_id.clone(), mt_id: session.mt_id.clone(), session_id: Some(id), workspace_id: session.workspace_id },
        idempotency_key: None,
    };
    runner.submit_under(message.from, request, None).map(Some)
}

/// The text of a waiting message, whole and verified.
pub(crate) fn text_of(cx: &Context, sha256: Sha256Hex) -> Outcome<String> {
    String::from_utf8(cx.ports.artifacts.get(sha256)?).map_err(|_| Failure::new(Code::Integrity, format!("the message {sha256} is not text")))
}

/// Turns of the session that run or wait for a slot.
fn has_turn_job(cx: &Context, id: SessionId) -> Outcome<bool> {
    let filter = JobFilter { states: vec![JobState::Running, JobState::Queued, JobState::AwaitingUser], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    Ok(!cx.ports.store.jobs(&filter)?.is_empty())
}

/// Cancels turns that wait for a slot; their messages go on waiting in the session. Answers the turn that began before it
/// could be cancelled, if one did.
pub(crate) fn drop_queued_turns(runner: &Runner, id: SessionId, why: &str) -> Outcome<Option<JobId>> {
    let filter = JobFilter { states: vec![JobState::Queued], op: Some(Op::SessionRun), session_id: Some(id), ..JobFilter::default() };
    let mut began = None;
    for found in runner.cx.ports.store.jobs(&filter)? {
        let job = ledger::job(runner.cx.ports.recorder.as_ref(), found.job_id)?;
        if job.state == JobState::Queued && !runner.try_end(&job, JobState::Cancelled, Failure::new(Code::Canceled, why.to_owned()), Vec::new())? {
            began = Some(job.job_id);
        }
    }
    Ok(began)
}

/// The agent is where it can be interrupted: a message that waits for a boundary has the turn cancelled, once. True when
/// the turn is being cancelled.
pub(crate) fn at_boundary(runner: &Runner, session: &Session, boundary: &str) -> Outcome<bool> {
    let Some(message) = session.waiting.iter().find(|m| m.is_waiting() && m.when == Steer::Boundary) else { return Ok(false) };
    interrupt(runner, session, message.message_id, boundary)
}

/// Answers what is pending as cancelled and cancels the turn politely. False when no turn runs; done once for each turn.
pub(crate) fn interrupt(runner: &Runner, session: &Session, message_id: MessageId, boundary: &str) -> Outcome<bool> {
    let cx = &runner.cx;
    let Some(turn) = host::running_turn(cx, session.session_id)? else { return Ok(false) };
    let act = Steering::Interrupted { message_id, boundary: boundary.to_owned() };
    let event = steering(Actor::SYSTEM, session, &act, Some(turn)).once(format!("interrupted:{turn}"));
    if let Appended::Taken { .. } = cx.journal.try_append(vec![event])? {
        return Ok(true);
    }
    host::cancel_answers(runner, session.session_id, "the operator interrupted the turn")?;
    cx.ports.sessions.cancel_turn(session.session_id)?;
    cx.holds.wake();
    Ok(true)
}
