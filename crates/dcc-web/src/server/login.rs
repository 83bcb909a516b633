//! Signing a browser in: the page, the one-time link, the pasted code.
//!
//! Authority: ephemeral. Invariants: a link is redeemed only for the person's own navigation, never for a page of
//! another site or for a fetch ahead of the wish; the answer to a good link is a redirect, so that the token does not
//! stay in the address. Failure: the page says why and how to get a new link; it holds nothing of the project but,
//! in a demo, the directory that the demo was made in.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use dcc_api::view::{FailureView, LoginView};
use dcc_core::{Failure, Outcome};

use super::app::App;
use super::params::{Params, bounded};
use super::problem::Problem;
use super::security;
use crate::ui;

/// A code is 64 characters; a pasted link is little more.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// The sign-in page.
pub fn login_page(app: &App, failure: Option<&Failure>, status: StatusCode) -> Response {
    let view = LoginView {
        server: format!("127.0.0.1:{}", app.port),
        command: app.link_command.to_string(),
        failure: failure.map(|failure| FailureView { code: failure.code.to_string(), message: failure.message.clone(), hint: failure.hint.clone() }),
    };
    (status, Html(ui::login(&view).into_string())).into_response()
}

/// `GET /login`, with `token` when it is a link.
pub async fn login(State(app): State<App>, method: Method, params: Params, headers: HeaderMap) -> Response {
    let own_wish = security::require_own_site(&headers);
    match params.text("token") {
        None if own_wish.is_ok() && app.auth.session(&headers).is_some() => Redirect::to("/board").into_response(),
        None => login_page(&app, None, StatusCode::OK),
        // A look ahead, by the browser or by whatever watches links, must not use the link up.
        Some(_) if method != Method::GET || security::is_prefetch(&headers) => login_page(&app, None, StatusCode::SERVICE_UNAVAILABLE),
        Some(token) => match own_wish.and_then(|()| sign_in(&app, token)) {
            Ok(response) => response,
            Err(failure) => login_page(&app, Some(&failure), StatusCode::from_u16(failure.code.http_status()).unwrap_or(StatusCode::FORBIDDEN)),
        },
    }
}

/// `POST /login` from our own page.
pub async fn login_form(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let body = bounded(request, FORM_BYTES_MAX).await?;
    let form = std::str::from_utf8(&body).map_err(|_| Failure::invalid("the form is not text")).and_then(Params::parse)?;
    let pasted = form.text("code").unwrap_or("").trim();
    // Whole links are pasted too.
    let token = pasted.rsplit_once("token=").map_or(pasted, |(_, token)| token);
    Ok(sign_in(&app, token).unwrap_or_else(|failure| login_page(&app, Some(&failure), StatusCode::UNAUTHORIZED)))
}

fn sign_in(app: &App, token: &str) -> Outcome<Response> {
    let cookie = app.auth.set_cookie(&app.auth.redeem(token)?)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/board")).into_response())
}
