//! The listener for agents inside sessions: DCC's tools and nothing else, on a port of its own.
//!
//! Authority: ephemeral. Invariants: it listens on the loopback address; the Host header comes first; no browser is
//! answered (a request that names an origin, a site or a cookie is refused); the session is the token's, and a token that
//! was replaced or whose session ended is none; no route of the operator's server stands here.
//! Failure: problem+json with the stable code, as everywhere.

mod idle;
mod schema;
mod tokens;

use std::future::IntoFuture as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path as UrlPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use dcc_api::agent_door::{AgentTool, AgentTools};
use dcc_core::{Code, Failure, Outcome, SessionId, limits};

use super::app::Channel;
use super::listen::Bounded;
use super::params::bounded;
use super::problem::Problem;
use super::security;
use super::unique_keys;
use idle::{Idle, Place};
use tokens::{Admitted, Tokens};

pub use tokens::{ADDRESS_VARIABLE, TOKEN_VARIABLE};

/// Whose request it is, and its place among the session's calls.
#[derive(Clone)]
struct Caller(Arc<Admitted>);

impl Caller {
    fn session_id(&self) -> SessionId {
        self.0.session_id
    }
}

#[derive(Clone)]
struct Mcp {
    tools: Arc<dyn AgentTools>,
    tokens: Arc<Tokens>,
    port: u16,
}

/// The bound listener. From here on sessions that start are handed a token.
pub struct AgentListener {
    listener: TcpListener,
    mcp: Mcp,
}

impl AgentListener {
    /// Takes a free port. `program` is this program, which agents start as `dcc mcp`.
    pub async fn bind(tools: Arc<dyn AgentTools>, program: &Path) -> Outcome<Self> {
        let failed = |error: std::io::Error| Failure::engine(format!("cannot listen for agents on 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let tokens = Arc::new(Tokens::new(port, program)?);
        tools.attach(Arc::clone(&tokens) as _)?;
        Ok(Self { listener, mcp: Mcp { tools, tokens, port } })
    }

    pub fn port(&self) -> u16 {
        self.mcp.port
    }

    /// Serves until it is dropped. A call that is being worked on then goes on as a job and is found by its id.
    pub async fn serve(self) {
        let bounded = Bounded::with_places(Idle::new(self.listener), limits::AGENT_CONNECTIONS_MAX);
        // A failing accept is tried again inside; this future has no end of its own.
        let service = router(self.mcp).into_make_service_with_connect_info::<Place>();
        let _ = axum::serve(bounded, service).into_future().await;
    }
}

/// Everything that is served to agents.
fn router(mcp: Mcp) -> Router {
    Router::new()
        .route("/mcp/v1/tools", get(list))
        .route("/mcp/v1/tools/{name}", post(call))
        .layer(from_fn_with_state(mcp.clone(), authenticate))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(from_fn_with_state(mcp.clone(), outer))
        .with_state(mcp)
}

async fn nothing() -> Problem {
    Problem::with_status(Failure::new(Code::NotFound, "no such address on the agents' port"), StatusCode::NOT_FOUND)
}

/// Before anything else: our own host, and no browser.
async fn outer(State(mcp): State<Mcp>, request: Request, next: Next) -> Response {
    let fits = security::require_host(Channel::Tcp, mcp.port, request.uri(), request.headers()).and_then(|()| require_no_browser(request.headers()));
    let mut response = match fits {
        Ok(()) => next.run(request).await,
        Err(failure) => Problem::from(failure).into_response(),
    };
    security::harden(response.headers_mut());
    response
}

/// A page has no business here, whatever it holds.
fn require_no_browser(headers: &HeaderMap) -> Outcome<()> {
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key(header::COOKIE) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    if is_page { Err(Failure::new(Code::Origin, "the agents' port answers no browser")) } else { Ok(()) }
}

async fn authenticate(State(mcp): State<Mcp>, mut request: Request, next: Next) -> Response {
    let admitted = bearer(request.headers()).ok_or_else(unauthenticated).and_then(|token| mcp.tokens.admit(token));
    match admitted {
        Ok(admitted) => {
            if let Some(ConnectInfo(place)) = request.extensions().get::<ConnectInfo<Place>>() {
                place.belongs_to(admitted.session_id);
            }
            request.extensions_mut().insert(Caller(Arc::new(admitted)));
            next.run(request).await
        }
        Err(failure) => Problem::from(failure).into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (Some(value), None) => value.to_str().ok()?.strip_prefix("Bearer ").map(str::trim),
        _ => None,
    }
}

/// One message for none, wrong, replaced and ended alike.
fn unauthenticated() -> Failure {
    Failure::new(Code::Unauthenticated, "the request carries no token of a session that runs").hint("the token ends with its session; a new session is handed a new one")
}

fn caller(request: &Request) -> Outcome<Caller> {
    request.extensions().get::<Caller>().cloned().ok_or_else(unauthenticated)
}

/// `GET /mcp/v1/tools`
async fn list(request: Request) -> Result<Json<Value>, Problem> {
    let caller = caller(&request)?;
    let tools: Vec<Value> = AgentTool::listed().map(schema::described).collect();
    Ok(Json(json!({ "session_id": caller.session_id(), "items": tools, "next_cursor": null })))
}

/// `POST /mcp/v1/tools/{name}`: the body holds the arguments.
async fn call(State(mcp): State<Mcp>, UrlPath(name): UrlPath<String>, request: Request) -> Result<Json<Value>, Problem> {
    let caller = caller(&request)?;
    if security::media_type(request.headers()).as_deref() != Some("application/json") {
        return Err(Problem::with_status(Failure::invalid("the body must be application/json"), StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let tool = AgentTool::parse(&name).ok_or_else(|| Failure::new(Code::NotFound, format!("there is no tool {:?}", name.chars().take(64).collect::<String>())))?;
    let token = bearer(request.headers()).unwrap_or_default().to_owned();
    let bytes = bounded(request, limits::HTTP_BODY_BYTES_MAX).await?;
    let text = if bytes.is_empty() { "{}".into() } else { String::from_utf8_lossy(&bytes) };
    // What is called goes on record; the token does not, whatever an agent does with it.
    let text = text.replace(&token, "[token]");
    unique_keys::check(text.as_bytes()).map_err(|error| Failure::invalid(format!("the arguments are ambiguous: {error}")).hint("name each key once"))?;
    let arguments: Map<String, Value> = serde_json::from_str(&text).map_err(|error| Failure::invalid(format!("the arguments are no JSON object: {error}")))?;
    // The caller goes along: its place is free again when the work is over, not when the client loses interest.
    let work = tokio::task::spawn_blocking(move || mcp.tools.call(caller.session_id(), tool, arguments));
    let reply = work.await.map_err(|_| Failure::engine("the work for this call broke off"))??;
    Ok(Json(json!({ "result": reply.result, "failed": reply.has_failed })))
}

#[cfg(test)]
mod tests;
