//! Which project this is, and the end of its server.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use dcc_api::door::ProjectFacts;

use super::approvals::Empty;
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{JsonBody, Params};
use crate::server::problem::Problem;

/// `GET /api/v1/project`
pub async fn project(State(app): State<App>, _: Caller, _: Params) -> Result<Json<ProjectFacts>, Problem> {
    app.run(|door| Ok(door.project())).await.map(Json)
}

/// `POST /api/v1/stop`: the answer is sent, then the server ends. What runs is found again by recovery.
pub async fn stop(State(app): State<App>, _: Caller, _: JsonBody<Empty>) -> (StatusCode, Json<Value>) {
    app.stop();
    (StatusCode::ACCEPTED, Json(json!({"status": "stopping"})))
}
