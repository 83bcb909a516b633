//! The JSON API: one file a noun; each handler turns a request into one call of the door.
//!
//! Authority: none. Invariant: nothing is decided here; ids, filters and bodies are read strictly and handed on.
//! Failure: the door's failure as problem+json.

pub mod approvals;
pub mod artifacts;
pub mod board;
pub mod budgets;
pub mod events;
pub mod grants;
pub mod health;
pub mod jobs;
pub mod login_link;
pub mod notes;
pub mod project;
pub mod search;
pub mod sessions;
pub mod wps;
pub mod workspaces;

use axum::Json;
use serde_json::Value;

use dcc_api::door::Query;

use super::app::App;
use super::guard::Caller;
use super::problem::Problem;

/// What a reading handler answers.
pub type Answer = Result<Json<Value>, Problem>;

/// Asks the door.
async fn answer(app: App, caller: Caller, query: Query) -> Answer {
    app.run(move |door| door.query(caller.actor, query)).await.map(Json)
}
