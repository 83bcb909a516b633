//! Work packets.

use axum::extract::State;

use dcc_api::door::Query;
use dcc_core::WpId;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};

/// `GET /api/v1/wps`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let query = Query::Wps { status: params.word("status")?, ready: params.flag("ready")?, all: params.flag("all")?, paging: params.paging()? };
    answer(app, caller, query).await
}

/// `GET /api/v1/wps/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(wp_id): Id<WpId>, _: Params) -> Answer {
    answer(app, caller, Query::Wp { wp_id }).await
}
