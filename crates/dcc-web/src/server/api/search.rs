//! Search, and what short ids stand for.

use axum::extract::State;

use dcc_api::door::Query;
use dcc_core::limits::SEARCH_HITS_MAX;
use dcc_core::{Code, Failure};

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/search`
pub async fn search(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let query = Query::Search {
        q: params.owned("q").ok_or_else(|| Failure::new(Code::CtxQueryError, "the search has no text").hint("give it as the parameter q"))?,
        scope: params.word("scope")?.unwrap_or_default(),
        workspace_id: params.parsed("workspace_id")?,
        regex: params.flag("regex")?,
        limit: params.limit_up_to(SEARCH_HITS_MAX)?,
    };
    answer(app, caller, query).await
}

/// `GET /api/v1/resolve`
pub async fn resolve(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let short = params.owned("short").ok_or_else(|| Failure::invalid("give the short id as the parameter short"))?;
    answer(app, caller, Query::Resolve { short }).await
}
