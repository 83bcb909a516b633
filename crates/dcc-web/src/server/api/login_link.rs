//! Sign-in links for browsers.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use dcc_core::Failure;

use super::approvals::Empty;
use crate::server::app::{App, Channel};
use crate::server::auth::LINK_TTL_MS;
use crate::server::guard::Caller;
use crate::server::params::JsonBody;
use crate::server::problem::Problem;

/// `POST /api/v1/login-link`: the one way to a browser session, and only the credential opens it.
pub async fn issue(State(app): State<App>, _: Caller, _: JsonBody<Empty>) -> Result<Json<Value>, Problem> {
    let Channel::Tcp { port } = app.browser_channel else {
        return Err(Failure::engine("this server has no address for browsers").into());
    };
    let token = app.auth.issue_link();
    Ok(Json(json!({
        "url": format!("http://127.0.0.1:{port}/login?token={token}"),
        "expires_in_ms": LINK_TTL_MS,
    })))
}
