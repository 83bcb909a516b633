//! Budgets and totals. Setting one is the operation `budget.set`.

use axum::extract::State;

use dcc_api::door::Query;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/budgets`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Budgets { paging: params.paging()? }).await
}
