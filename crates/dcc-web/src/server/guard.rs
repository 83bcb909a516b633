//! The two doors in front of every handler: the outer one for all requests, the inner one by the route's class.
//!
//! Authority: none. Invariants: order is host, credential, origin, write token, media type; a handler that touches the
//! project takes a [`Caller`], and only the inner guard makes one. Failure: refused before the handler runs; pages get
//! the sign-in page, everything else problem+json.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use dcc_core::principal::{Actor, Surface};
use dcc_core::{Code, Failure, Outcome};

use super::app::{App, Channel};
use super::auth::is_same_token;
use super::login::login_page;
use super::problem::Problem;
use super::routes::{Access, Body, Route};
use super::security;

/// The header a page's script puts on writes.
pub const TOKEN_HEADER: &str = "x-dcc-token";
/// A command says here that a person sits at its controlling terminal.
const SURFACE_HEADER: &str = "x-dcc-surface";
/// A page's script asks for the live parts alone.
pub const FRAGMENT_HEADER: &str = "x-dcc-fragment";

/// Who sent the request, as proven.
#[derive(Clone, Debug)]
pub struct Caller {
    pub actor: Actor,
    /// The browser session's write token, for the page to show to its own script.
    pub token: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| unauthenticated().into())
    }
}

fn unauthenticated() -> Failure {
    Failure::new(Code::Unauthenticated, "the request carries no valid credential").hint("a browser signs in with the link that dcc up prints; a command sends its credential as bearer")
}

/// In front of everything, also of addresses that name nothing.
pub async fn outer(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match security::require_host(app.channel, app.port, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => Problem::from(failure).into_response(),
    };
    security::harden(response.headers_mut());
    response
}

/// In front of one route.
pub async fn inner(State((app, route)): State<(App, &'static Route)>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(route);
    match admit(&app, route, request.method(), request.headers()) {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(failure) if route.access == Access::Page => turn_away(&app, request.headers(), failure),
        Err(failure) => refusal(failure, route, request.headers()),
    }
}

fn refusal(failure: Failure, route: &Route, headers: &HeaderMap) -> Response {
    let wrong_media = failure.code == Code::InvalidInput && route.body.media_type().is_some_and(|wanted| security::media_type(headers).as_deref() != Some(wanted));
    if wrong_media { Problem::with_status(failure, StatusCode::UNSUPPORTED_MEDIA_TYPE).into_response() } else { Problem::from(failure).into_response() }
}

/// A screen that may not be shown: the sign-in page, which holds nothing of the project.
fn turn_away(app: &App, headers: &HeaderMap, failure: Failure) -> Response {
    if headers.contains_key(FRAGMENT_HEADER) {
        // The page's script finds no screen in it and loads the address anew.
        return login_page(app, Some(&failure), StatusCode::from_u16(failure.code.http_status()).unwrap_or(StatusCode::FORBIDDEN));
    }
    if failure.code == Code::Unauthenticated {
        return Redirect::to("/login").into_response();
    }
    login_page(app, Some(&failure), StatusCode::FORBIDDEN)
}

/// Judges a request by its route's class; `None` for a public route.
pub fn admit(app: &App, route: &Route, method: &Method, headers: &HeaderMap) -> Outcome<Option<Caller>> {
    let caller = match route.access {
        Access::Public => {
            if !security::is_reading(method) {
                security::require_own_form(method, headers, host(headers))?;
            }
            None
        }
        Access::Page => Some(by_cookie(app, method, headers)?),
        Access::Operator => Some(if headers.contains_key(header::AUTHORIZATION) { by_bearer(app, headers)? } else { by_cookie(app, method, headers)? }),
        Access::Credential => Some(by_bearer(app, headers)?),
    };
    if let Some(wanted) = route.body.media_type()
        && security::media_type(headers).as_deref() != Some(wanted)
    {
        return Err(Failure::invalid(format!("the body must be {wanted}")).hint(format!("send the header Content-Type: {wanted}")));
    }
    Ok(caller)
}

/// Checked by the outer guard already.
fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// A browser session. On writes the header token too: a page that can make the browser send the cookie still cannot
/// read the token.
pub fn by_cookie(app: &App, method: &Method, headers: &HeaderMap) -> Outcome<Caller> {
    if app.channel == Channel::Unix {
        return Err(unauthenticated());
    }
    security::require_own_origin_when_cookied(app.auth.has_cookie(headers), method, headers, host(headers))?;
    let token = app.auth.session(headers).ok_or_else(unauthenticated)?;
    if !security::is_reading(method) {
        let given = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !is_same_token(&token, given) {
            return Err(Failure::new(Code::Origin, "the request does not carry this page's write token").hint("reload the page"));
        }
    }
    Ok(Caller { actor: Actor::operator(Surface::Browser), token: Some(token) })
}

/// The operator's credential. A request that carries our cookie too is refused: a browser never sends both, and
/// whichever of the two were believed, the other would be borrowed.
fn by_bearer(app: &App, headers: &HeaderMap) -> Outcome<Caller> {
    if app.auth.has_cookie(headers) {
        return Err(Failure::new(Code::Unauthenticated, "a request with a credential carries no cookie"));
    }
    security::require_no_foreign_origin(headers, host(headers))?;
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let bearer = match (given.next(), given.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")),
        _ => None,
    };
    if !bearer.is_some_and(|bearer| app.auth.is_operator(bearer.trim())) {
        return Err(unauthenticated());
    }
    Ok(Caller { actor: Actor::operator(surface(app.channel, headers)), token: None })
}

/// `x-dcc-surface: terminal` counts on the Unix socket only. What it proves: the sender runs as the operator's user and
/// holds the credential, which no agent can read; that a person sat at a controlling terminal is that program's word
/// (ours asks /dev/tty). GOVERNANCE 8 says it plainly: an unsandboxed process of the same user that can read the
/// credential is the operator. Over TCP the word proves nothing and counts for nothing.
fn surface(channel: Channel, headers: &HeaderMap) -> Surface {
    let says_terminal = headers.get(SURFACE_HEADER).is_some_and(|value| value == "terminal");
    if channel == Channel::Unix && says_terminal { Surface::Terminal } else { Surface::Bearer }
}

impl Body {
    /// The one media type a body of this kind may have.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json(_) => Some("application/json"),
            Self::Form => Some("application/x-www-form-urlencoded"),
        }
    }
}
