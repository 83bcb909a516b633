//! Workspaces and what git says of them.

use axum::extract::State;

use dcc_api::door::Query;
use dcc_core::WorkspaceId;

use super::{Answer, answer};
use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};

/// `GET /api/v1/workspaces`
pub async fn list(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    answer(app, caller, Query::Workspaces { paging: params.paging()? }).await
}

/// `GET /api/v1/workspaces/{id}`
pub async fn one(State(app): State<App>, caller: Caller, Id(workspace_id): Id<WorkspaceId>, _: Params) -> Answer {
    answer(app, caller, Query::Workspace { workspace_id }).await
}

/// `GET /api/v1/workspaces/{id}/status`
pub async fn status(State(app): State<App>, caller: Caller, Id(workspace_id): Id<WorkspaceId>, _: Params) -> Answer {
    answer(app, caller, Query::Status { workspace_id }).await
}

/// `GET /api/v1/workspaces/{id}/diff`
pub async fn diff(State(app): State<App>, caller: Caller, Id(workspace_id): Id<WorkspaceId>, params: Params) -> Answer {
    let query = Query::Diff { workspace_id, source: params.diff_source()?, path: params.repo_path()? };
    answer(app, caller, query).await
}

/// `GET /api/v1/workspaces/{id}/repairs`
pub async fn repairs(State(app): State<App>, caller: Caller, Id(workspace_id): Id<WorkspaceId>, _: Params) -> Answer {
    answer(app, caller, Query::Repairs { workspace_id }).await
}

/// `GET /api/v1/workspaces/{id}/log`
pub async fn log(State(app): State<App>, caller: Caller, Id(workspace_id): Id<WorkspaceId>, params: Params) -> Answer {
    let query = Query::Log { workspace_id, path: params.repo_path()?, limit: params.limit()? };
    answer(app, caller, query).await
}
