//! Sessions and their tool calls.

use axum::extract::State;

use dcc_api::door::{Query, SessionFilter};
use dcc_core::SessionId;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};

/// `GET /api/v1/sessions`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let filter = SessionFilter {
        states: params.words("state")?,
        role: params.word("role")?,
        wp_id: params.parsed("wp_id")?,
        parent_session_id: params.parsed("parent_session_id")?,
        recovery: params.flag("recovery")?,
    };
    answer(app, caller, Query::Sessions { filter, paging: params.paging()? }).await
}

/// `GET /api/v1/sessions/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(session_id): Id<SessionId>, _: Params) -> Answer {
    answer(app, caller, Query::Session { session_id }).await
}

/// `GET /api/v1/sessions/{id}/tool-calls`
pub async fn tool_calls(State(app): State<App>, caller: Caller, Id(session_id): Id<SessionId>, params: Params) -> Answer {
    let query = Query::ToolCalls { session_id, after_seq: params.parsed("after_seq")?, limit: params.limit()? };
    answer(app, caller, query).await
}

/// `GET /api/v1/sessions/{id}/terminal`
pub async fn terminal(State(app): State<App>, caller: Caller, Id(session_id): Id<SessionId>, params: Params) -> Answer {
    let from = params.parsed("from")?.unwrap_or(0);
    answer(app, caller, Query::Terminal { session_id, from }).await
}
