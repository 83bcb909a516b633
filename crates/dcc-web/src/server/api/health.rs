//! Checks with evidence.

use axum::Json;
use axum::extract::State;

use dcc_api::door::Query;

use super::approvals::Empty;
use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{JsonBody, Params};

/// `GET /api/v1/health`
pub async fn health(State(app): State<App>, caller: Caller, _: Params) -> Answer {
    answer(app, caller, Query::Health).await
}

/// `POST /api/v1/recorder/verify`: a write only of what this server remembers, so that no page can make it work by a link.
pub async fn verify(State(app): State<App>, caller: Caller, _: JsonBody<Empty>) -> Answer {
    app.run(move |door| door.verify_record(caller.actor)).await.map(Json)
}
