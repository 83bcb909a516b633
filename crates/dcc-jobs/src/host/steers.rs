//! Who steers a session now: pause, resume and close of one session are done one after another, and whoever comes second
//! is told who was first. Cancelling waits for nobody.
//!
//! Authority: ephemeral.

use std::sync::PoisonError;

use dcc_core::ids::SessionId;
use dcc_core::job::Job;
use dcc_core::{Code, Failure, Outcome};

use crate::context::Context;

/// The right to steer one session, given back when dropped.
pub(crate) struct Steers<'a> {
    cx: &'a Context,
    id: SessionId,
}

impl<'a> Steers<'a> {
    /// HSK-423-LOCKED names the job that steers it now.
    pub fn take(cx: &'a Context, id: SessionId, job: &Job) -> Outcome<Self> {
        let mut steered = cx.steered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((by, op)) = steered.get(&id) {
            return Err(Failure::new(Code::Locked, format!("job {} is carrying out {op} on session {}", by.short(), id.short())).hint("wait for it: dcc job wait J"));
        }
        steered.insert(id, (job.job_id, job.op));
        Ok(Self { cx, id })
    }
}

impl Drop for Steers<'_> {
    fn drop(&mut self) {
        self.cx.steered.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
