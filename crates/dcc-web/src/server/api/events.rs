//! Slices of the Flight Recorder.

use axum::extract::State;

use dcc_api::door::{Query, event_codes};
use dcc_core::ports::{EventFilter, Order};
use dcc_core::{EventId, Failure, Outcome};

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};

/// `GET /api/v1/events`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Events { filter: filter(&params)? }).await
}

fn filter(params: &Params) -> Outcome<EventFilter> {
    let mut filter = EventFilter {
        after_seq: params.parsed("after_seq")?,
        before_seq: params.parsed("before_seq")?,
        wp_id: params.parsed("wp_id")?,
        mt_id: params.parsed("mt_id")?,
        session_id: params.parsed("session_id")?,
        // The recorder's column is called so.
        workspace_id: params.parsed("workspace_id")?.or(params.parsed("wsid")?),
        job_id: params.parsed("job_id")?,
        workflow_run_id: params.parsed("workflow_run_id")?,
        approval_id: params.parsed("approval_id")?,
        tool_call_id: params.owned("tool_call_id"),
        codes: params.text("code").map(event_codes).transpose()?.unwrap_or_default(),
        actor_kind: params.word("actor_kind")?,
        actor_id: params.owned("actor_id"),
        principal: params.owned("principal"),
        trace_id: params.owned("trace_id"),
        span_id: params.owned("span_id"),
        parent_span_id: params.owned("parent_span_id"),
        project_id: params.parsed("project_id")?,
        policy_digest: params.parsed("policy_digest")?,
        outcome: params.word("outcome")?,
        capability_id: params.owned("capability_id"),
        text: params.owned("text"),
        since: params.time("since")?,
        until: params.time("until")?,
        order: params.word("order")?.unwrap_or_default(),
        limit: params.limit()?,
    };
    // The cursor of this list is the sequence of its last item; it takes the place of the bound it moves.
    if let Some(cursor) = params.parsed("cursor")? {
        let bound = if filter.order == Order::Descending { &mut filter.before_seq } else { &mut filter.after_seq };
        if bound.is_some() {
            return Err(Failure::invalid("cursor and the bound that it moves stand side by side").hint("page on with cursor alone, or with after_seq or before_seq alone"));
        }
        *bound = Some(cursor);
    }
    Ok(filter)
}

/// `GET /api/v1/events/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(event_id): Id<EventId>, _: Params) -> Answer {
    answer(app, caller, Query::Event { event_id }).await
}
