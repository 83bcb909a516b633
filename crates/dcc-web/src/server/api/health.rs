//! Checks with evidence.

use axum::extract::State;

use dcc_api::door::Query;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/health`
pub async fn health(State(app): State<App>, caller: Caller, _: Params) -> Answer {
    answer(app, caller, Query::Health).await
}
