//! What a request must look like before anybody asks who sent it, and what every answer carries.
//!
//! Authority: none; pure functions over headers (source of the rules: GOVERNANCE 8).
//! Invariants: the Host allow-list comes first, so a name that was re-bound to this address reads nothing, not even an
//! error that names the project; a request with a cookie shows that our own page sent it; there is no CORS answer.
//! Failure: HSK-403-ORIGIN with the header that did not fit.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use dcc_core::{Code, Failure, Outcome};

use super::app::Channel;

/// No inline script or style, nothing from elsewhere, no frame around us.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; \
     worker-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const FETCH_SITE: &str = "sec-fetch-site";

fn refuse(what: impl Into<String>) -> Failure {
    Failure::new(Code::Origin, what).hint("open the address that dcc up prints, in the browser's address bar")
}

/// The one value of a header; a header given twice is refused, because two readers could pick different ones.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Outcome<Option<&'h str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(format!("the header {name} stands twice")));
    }
    value.to_str().map(Some).map_err(|_| refuse(format!("the header {name} is not plain text")))
}

/// The Host header, when it is one of ours. Defeats DNS re-binding.
pub fn require_host(channel: Channel, port: u16, uri: &Uri, headers: &HeaderMap) -> Outcome<()> {
    let host = single(headers, &header::HOST)?.ok_or_else(|| refuse("the request names no host"))?;
    let is_ours = |name: &str| match channel {
        Channel::Tcp => ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(&format!("{own}:{port}"))),
        Channel::Unix => name.eq_ignore_ascii_case("localhost"),
    };
    if !is_ours(host) {
        return Err(refuse("the request names a host that is not this server"));
    }
    // The absolute form of a request line names the host a second time.
    if uri.authority().is_some_and(|authority| !is_ours(authority.as_str())) {
        return Err(refuse("the request line names a host that is not this server"));
    }
    Ok(())
}

/// True for methods that never change state.
pub fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Shows that our own page, or the person's own navigation, sent a request that carries our cookie. `host` is the
/// checked Host header: the origin must be the very one the page was opened under.
pub fn require_own_origin(method: &Method, headers: &HeaderMap, host: &str) -> Outcome<()> {
    match single(headers, &header::ORIGIN)? {
        Some(origin) if !is_own(origin, host) => return Err(refuse("the request was sent by a page of another origin")),
        None if !is_reading(method) => return Err(refuse("the request names no origin")),
        _ => {}
    }
    require_own_site(headers)
}

/// Shows that our own sign-in form was sent. A form of a page with `no-referrer` names the origin `null`; then only the
/// browser's own word that the page was ours counts, which no page can set and no sandboxed frame gets.
pub fn require_own_form(method: &Method, headers: &HeaderMap, host: &str) -> Outcome<()> {
    if single(headers, &header::ORIGIN)? == Some("null") && single(headers, &HeaderName::from_static(FETCH_SITE))? == Some("same-origin") {
        return Ok(());
    }
    require_own_origin(method, headers, host)
}

/// The same as [`require_own_origin`], for a request that may come without our cookie: then there is nothing to borrow, and the answer is that
/// nobody is signed in; but what a foreign page caused is named as such all the same.
pub fn require_own_origin_when_cookied(has_cookie: bool, method: &Method, headers: &HeaderMap, host: &str) -> Outcome<()> {
    if has_cookie {
        return require_own_origin(method, headers, host);
    }
    require_no_foreign_origin(headers, host)?;
    require_own_site(headers)
}

/// Browsers of today say where a request came from; what says nothing is not one of them. `none` is the address bar.
pub fn require_own_site(headers: &HeaderMap) -> Outcome<()> {
    match single(headers, &HeaderName::from_static(FETCH_SITE))? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(refuse("the request was caused by a page of another site")),
    }
}

/// A bearer request needs no origin; one that names a foreign one comes from a page that should not know the credential.
pub fn require_no_foreign_origin(headers: &HeaderMap, host: &str) -> Outcome<()> {
    match single(headers, &header::ORIGIN)? {
        Some(origin) if !is_own(origin, host) => Err(refuse("the request was sent by a page of another origin")),
        _ => Ok(()),
    }
}

fn is_own(origin: &str, host: &str) -> bool {
    origin.strip_prefix("http://").is_some_and(|name| name.eq_ignore_ascii_case(host))
}

/// The media type, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
}

/// True for a fetch ahead of the person's wish.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose"].iter().any(|name| headers.get(*name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("prefetch")))
}

/// Headers of every answer. `Cache-Control` stays when the handler set one (assets).
pub fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
