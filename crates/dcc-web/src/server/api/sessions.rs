//! Sessions and their tool calls.

use axum::Json;
use axum::extract::State;
use serde_json::json;

use dcc_api::door::{Query, SessionFilter, TerminalInput};
use dcc_core::SessionId;
use dcc_core::ports::terminal::TerminalSize;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, JsonBody, Params};

/// `GET /api/v1/sessions`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let filter = SessionFilter {
        states: params.words("state")?,
        role: params.word("role")?,
        backend: params.owned("backend"),
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
    let size = match (params.parsed("rows")?, params.parsed("columns")?) {
        (Some(rows), Some(columns)) => Some(TerminalSize::new(rows, columns)?),
        _ => None,
    };
    answer(app, caller, Query::Terminal { session_id, from, size }).await
}

/// `GET /api/v1/sessions/{id}/terminal/state`
pub async fn terminal_state(State(app): State<App>, caller: Caller, Id(session_id): Id<SessionId>, _: Params) -> Answer {
    answer(app, caller, Query::TerminalState { session_id }).await
}

/// `POST /api/v1/sessions/{id}/terminal`: into the terminal that an attachment of this session holds.
pub async fn type_in(State(app): State<App>, caller: Caller, Id(session_id): Id<SessionId>, JsonBody(input): JsonBody<TerminalInput>) -> Answer {
    app.run(move |door| door.at_terminal(caller.actor, session_id, input)).await?;
    Ok(Json(json!({})))
}
