//! Approvals: look, render, decide.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use dcc_api::door::{Decided, DecisionInput, Presentation, Query};
use dcc_core::ApprovalId;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, JsonBody, Params};
use crate::server::problem::Problem;

/// `GET /api/v1/approvals`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let query = Query::Approvals { status: params.word("status")?, paging: params.paging()? };
    answer(app, caller, query).await
}

/// `GET /api/v1/approvals/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(approval_id): Id<ApprovalId>, _: Params) -> Answer {
    answer(app, caller, Query::Approval { approval_id }).await
}

/// No fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// `POST /api/v1/approvals/{id}/presentation`
pub async fn present(State(app): State<App>, caller: Caller, Id(approval): Id<ApprovalId>, _: JsonBody<Empty>) -> Result<Json<Presentation>, Problem> {
    app.run(move |door| door.present(caller.actor, approval)).await.map(Json)
}

/// `POST /api/v1/approvals/{id}/decision`: handed on as it came; what may be left out is not this layer's to say.
pub async fn decide(State(app): State<App>, caller: Caller, Id(approval): Id<ApprovalId>, JsonBody(decision): JsonBody<DecisionInput>) -> Result<Json<Decided>, Problem> {
    app.run(move |door| door.decide(caller.actor, approval, decision)).await.map(Json)
}
