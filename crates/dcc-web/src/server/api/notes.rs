//! Anchors and handoffs: advisory, beside the packets, never over them.

use axum::extract::State;

use dcc_api::door::Query;
use dcc_core::HandoffId;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};

/// `GET /api/v1/anchors`
pub async fn anchors(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Anchors { paging: params.paging()? }).await
}

/// `GET /api/v1/handoffs`
pub async fn handoffs(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Handoffs { paging: params.paging()? }).await
}

/// `GET /api/v1/handoffs/{id}`
pub async fn handoff(State(app): State<App>, caller: Caller, Id(handoff_id): Id<HandoffId>, _: Params) -> Answer {
    answer(app, caller, Query::Handoff { handoff_id }).await
}
