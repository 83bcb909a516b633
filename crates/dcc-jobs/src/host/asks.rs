//! Permission requests: judged by us, decided as jobs, answered after the decision is durable.

use serde_json::{Value, json};

use dcc_core::event::EventCode;
use dcc_core::job::{Bindings, Job, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::ports::sessions::{Observed, ToolStatus};
use dcc_core::ports::{PermissionAsk, ToolReport};
use dcc_core::principal::Actor;
use dcc_core::ids::SessionId;
use dcc_core::session::{Session, SessionState};
use dcc_core::{Code, Failure, Outcome};

use super::checkpoints;
use super::judge::{judge, side_effect};
use super::moves::{Move, move_if};
use super::states::{running_turn, wait_decided, workspace_of};
use super::Host;
use crate::{delivery, ledger};

impl Host {
    pub(super) fn request(&self, session: &Session, op: Op, params: Value) -> Outcome<Job> {
        crate::observe::at_decision(&self.runner, session)?;
        let turn = running_turn(self.cx(), session.session_id)?.ok_or_else(|| Failure::new(Code::IllegalTransition, "the session has no running turn"))?;
        let parent = ledger::job(self.cx().ports.recorder.as_ref(), turn)?;
        let request = JobRequest {
            op,
            params,
            bindings: Bindings {
                wp_id: session.wp_id.clone(),
                mt_id: session.mt_id.clone(),
                session_id: Some(session.session_id),
                workspace_id: session.workspace_id,
            },
            idempotency_key: None,
        };
        self.runner.submit_under(Actor::agent(session.session_id), request, Some(&parent))
    }

    /// The call ends as denied by us, whatever the agent says of it afterwards.
    fn refused(&self, session: &Session, ask: &PermissionAsk, job: &Job) -> Outcome<()> {
        let status = if job.state == JobState::Cancelled { ToolStatus::Cancelled } else { ToolStatus::Denied };
        let tool = ToolReport {
            tool_call_id: ask.tool_call_id.clone(),
            title: ask.title.clone(),
            kind: ask.kind.clone().unwrap_or_else(|| "other".into()),
            side_effect: side_effect(ask.kind.as_deref()),
            status,
            locations: ask.locations.clone(),
            raw_input: None,
            raw_output: job.failure.as_ref().map(|f| json!({ "code": f.code, "message": f.message })),
            content: Vec::new(),
        };
        self.record(session, EventCode::ToolCallFinished, json!({ "tool": tool, "observed": Observed::Gated }), Some(&ask.tool_call_id))
    }

    pub(super) fn decide(&self, session: &Session, ask: &PermissionAsk) -> Outcome<bool> {
        if !ask.can_allow {
            return Ok(false);
        }
        super::flood::count(self.cx(), session.session_id)?;
        if delivery::at_boundary(&self.runner, session, "a permission request")? {
            // The turn is being cancelled, and with it this request.
            return Ok(false);
        }
        let workspace = workspace_of(self.cx(), session)?;
        let params = judge(&workspace, ask);
        let job = self.request(session, Op::CapabilityRequest, params)?;
        if job.state == JobState::AwaitingUser {
            let held = ToolReport {
                tool_call_id: ask.tool_call_id.clone(),
                title: ask.title.clone(),
                kind: ask.kind.clone().unwrap_or_else(|| "other".into()),
                side_effect: side_effect(ask.kind.as_deref()),
                status: ToolStatus::Held,
                locations: ask.locations.clone(),
                raw_input: None,
                raw_output: None,
                content: Vec::new(),
            };
            self.record(session, EventCode::ToolCallProgress, json!({ "tool": held, "observed": Observed::Gated, "approval_id": job.approval_id }), Some(&ask.tool_call_id))?;
        }
        let job = if job.state == JobState::AwaitingUser {
            wait_decided(&self.runner, session.session_id, &job, None, || !ask.withdrawn.is_set())?
        } else {
            self.runner.wait(job.job_id, None)?
        };
        if job.state != JobState::Completed {
            self.refused(session, ask, &job)?;
        }
        checkpoints::make(self.cx(), session, checkpoints::Why::Approval)?;
        self.rest_here(session.session_id, || ask.withdrawn.is_set())?;
        Ok(job.state == JobState::Completed && !ask.withdrawn.is_set())
    }

    /// A boundary: the session rests here when that was asked for, and whoever comes here while it rests waits until it
    /// goes on or `is_over` says that nobody wants the answer any more.
    pub(super) fn rest_here(&self, id: SessionId, is_over: impl Fn() -> bool) -> Outcome<()> {
        let cx = self.cx();
        if let Some(reason) = cx.holds.asked(id) {
            move_if(cx, id, None, |s| s.has_turn().then(|| Move::new(SessionState::Paused, reason)))?;
            cx.holds.reach(id);
        }
        cx.holds.wait_released(id, None, is_over);
        Ok(())
    }
}
