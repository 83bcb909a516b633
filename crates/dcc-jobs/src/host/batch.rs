//! What a busy agent said while the last of it was being written, recorded as one append.
//!
//! Authority: canon, by the recorder. Invariants: the order of the reports is the order of the events; a batch holds
//! speech, tool calls and updates only, whatever may change a session's state is taken alone after what came before it;
//! a tool call begins in a turn once, which the recorder's unique key decides.
//!
//! On failure nothing of the batch is recorded, and nothing of it is shown. A report that makes no event, whatever its agent
//! put into it, takes no other with it.

use std::collections::HashSet;
use std::sync::PoisonError;

use serde_json::Value;

use dcc_core::{Code, Failure, Outcome};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::JobId;
use dcc_core::ports::Appended;
use dcc_core::principal::Actor;
use dcc_core::session::Session;

use super::checkpoints::{self, Why};
use super::states::session_correlation;
use super::Host;
use crate::delivery;

/// Calls of a turn that are remembered as begun; beyond, the recorder is asked again.
const CALLS_MAX: usize = 4_096;

/// Calls that began in the turn, as far as this host has seen it.
#[derive(Default)]
pub(super) struct Begun {
    turn: Option<JobId>,
    ids: HashSet<String>,
}

/// One report.
enum Item {
    Event(NewEvent),
    Call { id: String, payload: Value, is_over: bool },
}

/// Reports of one session in one turn that are to be recorded together.
#[derive(Default)]
pub(super) struct Batch {
    /// As it was when the first of them came.
    session: Option<Session>,
    items: Vec<Item>,
    /// A message of the stream made a checkpoint due.
    is_due: bool,
}

impl Batch {
    /// True when what is gathered is of another turn than this session's.
    pub(super) fn is_of_another_turn(&self, session: &Session) -> bool {
        self.session.as_ref().is_some_and(|before| before.running_job_id != session.running_job_id)
    }

    fn push(&mut self, session: &Session, item: Item) {
        self.session.get_or_insert_with(|| session.clone());
        self.items.push(item);
    }

    pub(super) fn said(&mut self, host: &Host, session: &Session, bytes: usize, payload: Value) {
        self.is_due |= host.cx().pace.count(session.session_id, bytes);
        self.event(session, EventCode::SessionMessage, payload);
    }

    pub(super) fn event(&mut self, session: &Session, code: EventCode, payload: Value) {
        self.push(session, Item::Event(NewEvent::new(code, Actor::agent(session.session_id), payload).about(&session_correlation(session))));
    }

    pub(super) fn call(&mut self, session: &Session, id: String, payload: Value, is_over: bool) {
        self.push(session, Item::Call { id, payload, is_over });
    }
}

impl Host {
    /// Records what was gathered, and does what follows from it.
    pub(super) fn flush(&self, batch: &mut Batch) -> Outcome<()> {
        let Batch { session: Some(session), items, is_due } = std::mem::take(batch) else { return Ok(()) };
        let session = &session;
        let recorded = match self.append(session, &items) {
            Err(failure) if failure.code == Code::InvalidEvent => items.iter().map(|item| self.append(session, std::slice::from_ref(item))).fold(Ok(()), Outcome::and),
            recorded => Ok(recorded?),
        };
        let has_ended = items.iter().any(|item| matches!(item, Item::Call { is_over: true, .. }));
        if is_due {
            checkpoints::make(self.cx(), session, Why::Stream)?;
        }
        if has_ended {
            checkpoints::make(self.cx(), session, Why::ToolCall)?;
            delivery::at_boundary(&self.runner, session, "a finished tool call")?;
        }
        recorded
    }

    fn append(&self, session: &Session, items: &[Item]) -> Outcome<()> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.turn != session.running_job_id || begun.ids.len() > CALLS_MAX {
            *begun = Begun { turn: session.running_job_id, ids: HashSet::new() };
        }
        loop {
            let mut seen = HashSet::new();
            let events = items.iter().flat_map(|item| events_of(session, item, |id| !begun.ids.contains(id) && seen.insert(id.to_owned()))).collect();
            match self.cx().journal.try_append(events)? {
                Appended::Written(_) => {
                    begun.ids.extend(seen);
                    return Ok(());
                }
                // It began before this host could see it: a permission that was asked for it, or an earlier process.
                Appended::Taken { key, .. } => match seen.into_iter().find(|id| key_of(session, id) == key) {
                    Some(id) => _ = begun.ids.insert(id),
                    None => return Err(Failure::engine(format!("already recorded: {key}"))),
                },
            }
        }
    }
}

/// The events of one report. Agents tell of one call several times, and some for the first time when it runs or is over:
/// it began when its id was first seen in the turn, whatever its status.
fn events_of(session: &Session, item: &Item, mut is_first: impl FnMut(&str) -> bool) -> Vec<NewEvent> {
    let (id, payload, is_over) = match item {
        Item::Event(event) => return vec![event.clone()],
        Item::Call { id, payload, is_over } => (id, payload, *is_over),
    };
    let mut correlation = session_correlation(session);
    correlation.tool_call_id = Some(id.clone());
    let event = |code| NewEvent::new(code, Actor::agent(session.session_id), payload.clone()).about(&correlation);
    let is_first = is_first(id);
    let mut events = Vec::new();
    if is_first {
        events.push(event(EventCode::ToolCallStarted).once(key_of(session, id)));
    }
    if is_over {
        events.push(event(EventCode::ToolCallFinished));
    } else if !is_first {
        events.push(event(EventCode::ToolCallProgress));
    }
    events
}

/// A call begins once in a turn.
pub(super) fn key_of(session: &Session, tool_call_id: &str) -> String {
    let turn = session.running_job_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    format!("call:{}:{turn}:{tool_call_id}", session.session_id)
}
