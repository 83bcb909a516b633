//! Sign-in links for browsers.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::approvals::Empty;
use crate::server::app::App;
use crate::server::auth::LINK_TTL_MS;
use crate::server::guard::Caller;
use crate::server::params::JsonBody;

/// `POST /api/v1/login-link`: the one way to a browser session, and only the credential opens it.
pub async fn issue(State(app): State<App>, _: Caller, _: JsonBody<Empty>) -> Json<Value> {
    let url = format!("http://127.0.0.1:{}/login?token={}", app.port, app.auth.issue_link());
    Json(json!({"url": url, "expires_in_ms": LINK_TTL_MS}))
}
