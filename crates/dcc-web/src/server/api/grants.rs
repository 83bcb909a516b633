//! Standing grants. Revoking one is the operation `grant.revoke`.

use axum::extract::State;

use dcc_api::door::Query;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::Params;

/// `GET /api/v1/grants`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Grants { paging: params.paging()? }).await
}
