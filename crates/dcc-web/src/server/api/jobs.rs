//! Jobs: ask, list, look, cancel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use dcc_api::door::{FlatJob, Query};
use dcc_core::job::JobRequest;
use dcc_core::op::Op;
use dcc_core::ports::store::JobFilter;
use dcc_core::{Code, Failure};

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, JsonBody, Params};
use crate::server::problem::Problem;

type Accepted = Result<(StatusCode, Json<FlatJob>), Problem>;

/// `POST /api/v1/jobs`
pub async fn submit(State(app): State<App>, caller: Caller, JsonBody(request): JsonBody<JobRequest>) -> Accepted {
    // A decision echoes a rendering; this address has no place for one.
    if request.op == Op::ApprovalDecide {
        return Err(Failure::new(Code::SameTurnConsent, "a decision is not asked for as a job")
            .hint("POST /api/v1/approvals/{id}/presentation, then POST /api/v1/approvals/{id}/decision")
            .into());
    }
    let job = app.run(move |door| door.submit(caller.actor, request)).await?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

/// `GET /api/v1/jobs`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let filter = JobFilter {
        states: params.words("state")?,
        op: params.word("op")?,
        wp_id: params.parsed("wp_id")?,
        mt_id: params.parsed("mt_id")?,
        session_id: params.parsed("session_id")?,
        workspace_id: params.parsed("workspace_id")?,
        root_job_id: params.parsed("root_job_id")?,
        cursor: params.owned("cursor"),
        limit: params.limit()?,
    };
    answer(app, caller, Query::Jobs { filter }).await
}

/// `GET /api/v1/jobs/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(job_id): Id<dcc_core::JobId>, _: Params) -> Answer {
    answer(app, caller, Query::Job { job_id }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/jobs/{id}/cancel`
pub async fn cancel(State(app): State<App>, caller: Caller, Id(job_id): Id<dcc_core::JobId>, JsonBody(body): JsonBody<Cancel>) -> Accepted {
    let job = app.run(move |door| door.cancel(caller.actor, job_id, body.reason)).await?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}
