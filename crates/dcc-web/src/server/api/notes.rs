//! Anchors and handoffs: advisory, beside the packets, never over them.

use axum::extract::State;

use dcc_api::door::Query;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/anchors`
pub async fn anchors(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Anchors { paging: params.paging()? }).await
}

/// `GET /api/v1/handoffs`
pub async fn handoffs(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Handoffs { paging: params.paging()? }).await
}
