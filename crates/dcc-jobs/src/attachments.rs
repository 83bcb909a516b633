//! People at the terminals of sessions: each attachment is one job that runs from the first key to the last.
//!
//! Authority: ephemeral; the job's events are canon. Invariants: nobody but the operator types; what was typed is counted
//! and never kept; the screen has the size of the smallest terminal that is attached with a size of its own; an
//! attachment that nobody hears of any more ends by itself.
//! Failure: what is typed into an attachment that has ended is refused with HSK-409-ILLEGAL-TRANSITION.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::ids::{JobId, SessionId};
use dcc_core::ports::sessions::{TerminalLink, TerminalSize};
use dcc_core::principal::Actor;
use dcc_core::session::SessionState;
use dcc_core::{Code, Failure, Outcome, limits};

use crate::context::Context;
use crate::runner::Runner;

/// What a person at a terminal does: types, has another size, leaves; nothing of it says that he is still there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Typing {
    pub bytes: Vec<u8>,
    pub size: Option<TerminalSize>,
    pub leave: bool,
}

/// Why an attachment is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Detached,
    /// Nothing was heard for longer than the lease.
    Silent,
    CommandOver,
    Cancelled,
}

impl Left {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Silent => "not heard of any more",
            Self::CommandOver => "the command ended",
            Self::Cancelled => "cancelled",
        }
    }
}

struct Attachment {
    session_id: SessionId,
    size: Option<TerminalSize>,
    typed_bytes: u64,
    heard: Instant,
    lease: Duration,
    left: Option<Left>,
}

#[derive(Default)]
pub(crate) struct Attachments {
    all: Mutex<HashMap<JobId, Attachment>>,
    changed: Condvar,
}

impl Attachments {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Attachment>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, job_id: JobId, session_id: SessionId, size: Option<TerminalSize>) -> Outcome<()> {
        let mut all = self.lock();
        if all.values().filter(|a| a.session_id == session_id).count() >= limits::SESSION_ATTACHMENTS_MAX {
            return Err(Failure::new(Code::RateLimit, format!("{} people are at this terminal already", limits::SESSION_ATTACHMENTS_MAX)).hint("one of them leaves first: Ctrl ] in his terminal"));
        }
        let lease = Duration::from_millis(if size.is_some() { limits::ATTACHMENT_LEASE_MS } else { limits::ATTACHMENT_IDLE_MS });
        all.insert(job_id, Attachment { session_id, size, typed_bytes: 0, heard: Instant::now(), lease, left: None });
        Ok(())
    }

    /// Something was heard of it.
    fn heard(&self, job_id: JobId, session_id: SessionId, typing: &Typing) -> Outcome<()> {
        let mut all = self.lock();
        let found = all.get_mut(&job_id).filter(|a| a.session_id == session_id && a.left.is_none());
        let attachment = found.ok_or_else(|| {
            Failure::new(Code::IllegalTransition, format!("attachment {} is over", job_id.short())).hint("attach again: dcc session attach S, or type into the terminal's page anew")
        })?;
        attachment.heard = Instant::now();
        attachment.typed_bytes += typing.bytes.len() as u64;
        if attachment.size.is_some() && typing.size.is_some() {
            attachment.size = typing.size;
        }
        if typing.leave {
            attachment.left = Some(Left::Detached);
            self.changed.notify_all();
        }
        Ok(())
    }

    /// False when it is no attachment, or over.
    pub fn end(&self, job_id: JobId, left: Left) -> bool {
        let mut all = self.lock();
        let Some(attachment) = all.get_mut(&job_id).filter(|a| a.left.is_none()) else { return false };
        attachment.left = Some(left);
        self.changed.notify_all();
        true
    }

    /// True when somebody was there.
    pub fn end_session(&self, session_id: SessionId) -> bool {
        let mut is_attended = false;
        for attachment in self.lock().values_mut().filter(|a| a.session_id == session_id && a.left.is_none()) {
            attachment.left = Some(Left::CommandOver);
            is_attended = true;
        }
        self.changed.notify_all();
        is_attended
    }

    /// Blocks until it is over, and forgets it: why, and how many bytes were typed.
    pub fn wait(&self, job_id: JobId) -> (Left, u64) {
        let mut all = self.lock();
        loop {
            let Some(attachment) = all.get(&job_id) else { return (Left::Cancelled, 0) };
            let quiet = attachment.heard.elapsed();
            let silent = (quiet >= attachment.lease).then_some(Left::Silent);
            if let Some(left) = attachment.left.or(silent) {
                let typed = attachment.typed_bytes;
                all.remove(&job_id);
                return (left, typed);
            }
            let left = attachment.lease.saturating_sub(quiet);
            all = self.changed.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The size that everybody who sits at a terminal of his own sees whole.
    fn size_of(&self, session_id: SessionId) -> Option<TerminalSize> {
        self.lock().values().filter(|a| a.session_id == session_id && a.left.is_none()).filter_map(|a| a.size).reduce(TerminalSize::smaller)
    }
}

/// The terminal of a session that has one open.
pub fn require_terminal(cx: &Context, session_id: SessionId) -> Outcome<Arc<dyn TerminalLink>> {
    cx.ports.sessions.terminal(session_id).ok_or_else(|| {
        Failure::new(Code::IllegalTransition, format!("session {} has no terminal open", session_id.short()))
            .hint("a terminal is open while a plain command runs in it: dcc session start --ws WS -- COMMAND")
    })
}

/// Gives the terminal the size of those who are attached; without any it keeps the one it has.
pub(crate) fn fit(cx: &Context, session_id: SessionId, terminal: &dyn TerminalLink) -> Outcome<()> {
    match cx.attachments.size_of(session_id) {
        Some(size) if size != terminal.state().size => terminal.resize(size),
        _ => Ok(()),
    }
}

impl Runner {
    /// What a person does at the terminal that he is attached to.
    pub fn at_terminal(&self, actor: Actor, session_id: SessionId, attachment: JobId, typing: &Typing) -> Outcome<()> {
        if !actor.is_operator() {
            return Err(Failure::new(Code::Capability, "only the operator types into a terminal"));
        }
        let cx = &self.cx;
        let terminal = require_terminal(cx, session_id)?;
        if !typing.bytes.is_empty() {
            let session = cx.ports.store.session(session_id)?;
            if session.is_some_and(|s| s.state == SessionState::Paused) {
                return Err(Failure::new(Code::IllegalTransition, "the session is paused; nothing is typed into it").hint("dcc session resume S lets it go on"));
            }
        }
        cx.attachments.heard(attachment, session_id, typing)?;
        if typing.size.is_some() {
            fit(cx, session_id, terminal.as_ref())?;
        }
        if typing.bytes.is_empty() { Ok(()) } else { terminal.write(&typing.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u8) -> JobId {
        format!("0198c0de-0000-7000-8000-0000000000{n:02x}").parse().unwrap()
    }
    fn session(n: u8) -> SessionId {
        format!("0198c0de-0000-7000-8000-0000000001{n:02x}").parse().unwrap()
    }
    fn size(rows: u16, columns: u16) -> Option<TerminalSize> {
        Some(TerminalSize { rows, columns })
    }

    #[test]
    fn the_smallest_terminal_decides_and_a_page_does_not() {
        let people = Attachments::default();
        people.begin(job(1), session(1), size(50, 200)).unwrap();
        people.begin(job(2), session(1), None).unwrap();
        people.begin(job(3), session(2), size(5, 5)).unwrap();
        assert_eq!(people.size_of(session(1)), size(50, 200));
        people.begin(job(4), session(1), size(60, 80)).unwrap();
        assert_eq!(people.size_of(session(1)), size(50, 80));
        people.heard(job(2), session(1), &Typing { size: size(1, 1), ..Typing::default() }).unwrap();
        assert_eq!(people.size_of(session(1)), size(50, 80), "a page takes the size as it is");
        assert!(people.end(job(4), Left::Detached));
        assert_eq!(people.size_of(session(1)), size(50, 200));
    }

    #[test]
    fn it_ends_once_and_nothing_is_typed_into_it_after_that() {
        let people = Attachments::default();
        people.begin(job(1), session(1), None).unwrap();
        let typed = Typing { bytes: b"secret".to_vec(), ..Typing::default() };
        people.heard(job(1), session(1), &typed).unwrap();
        assert!(people.heard(job(1), session(2), &typed).is_err(), "another session's");
        people.heard(job(1), session(1), &Typing { leave: true, ..Typing::default() }).unwrap();
        assert_eq!(people.heard(job(1), session(1), &typed).unwrap_err().code, Code::IllegalTransition);
        assert!(!people.end(job(1), Left::Cancelled));
        assert_eq!(people.wait(job(1)), (Left::Detached, 6));
        assert!(!people.end(job(1), Left::Cancelled));
    }

    #[test]
    fn who_is_not_heard_of_is_gone_and_there_is_a_bound() {
        let people = Attachments::default();
        for n in 0..limits::SESSION_ATTACHMENTS_MAX as u8 {
            people.begin(job(n), session(1), None).unwrap();
        }
        assert_eq!(people.begin(job(99), session(1), None).unwrap_err().code, Code::RateLimit);
        people.lock().get_mut(&job(0)).unwrap().lease = Duration::from_millis(1);
        assert_eq!(people.wait(job(0)).0, Left::Silent);
        people.end_session(session(1));
        assert_eq!(people.wait(job(1)).0, Left::CommandOver);
    }
}
