//! The board.

use axum::extract::State;

use dcc_api::door::Query;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/board`
pub async fn board(State(app): State<App>, caller: Caller, _: Params) -> Answer {
    answer(app, caller, Query::Board).await
}
