//! Reading what a request asks for: ids in the path, parameters in the query, JSON in the body.
//!
//! Authority: none. Invariants: a parameter that the route's table does not name is refused, so a misspelt filter never
//! answers with everything; a parameter stands once; a body is at most `limits::HTTP_BODY_BYTES_MAX`.
//! Failure: HSK-400-INVALID-INPUT naming the parameter.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query as UrlQuery, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use dcc_api::door::Paging;
use dcc_core::limits::PAGE_MAX;
use dcc_core::path::unbase64;
use dcc_core::ports::version::DiffSource;
use dcc_core::{Failure, Outcome, RepoPath, Timestamp};

use super::problem::Problem;
use super::routes::Route;
use super::unique_keys;

/// The query string of a request.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Splits a query string or a form's body. Empty values count as absent: a form sends every field.
    pub fn parse(encoded: &str) -> Outcome<Self> {
        let bad = || Failure::invalid("the query string cannot be read");
        let uri: Uri = format!("/?{encoded}").parse().map_err(|_| bad())?;
        let UrlQuery(pairs) = UrlQuery::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_| bad())?;
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            if value.is_empty() {
                continue;
            }
            if map.insert(name.clone(), value).is_some() {
                return Err(Failure::invalid(format!("the parameter {name:?} stands twice")));
            }
        }
        Ok(Self(map))
    }

    /// Refuses parameters the route does not know.
    fn require_known(&self, route: &Route) -> Outcome<()> {
        let Some(unknown) = self.0.keys().find(|name| !route.params.iter().any(|param| param.name == name.as_str())) else { return Ok(()) };
        let known: Vec<_> = route.params.iter().map(|param| param.name).collect();
        let hint = if known.is_empty() { "this address takes none".to_owned() } else { format!("known here: {}", known.join(", ")) };
        Err(Failure::invalid(format!("{unknown:?} is not a parameter of {}", route.path)).hint(hint))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// The first of several spellings that is there.
    pub fn any(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.owned(name))
    }

    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Outcome<Option<T>> {
        self.text(name)
            .map(|text| text.parse().map_err(|error| Failure::invalid(format!("{name}: {text:?} cannot be used: {error}"))))
            .transpose()
    }

    /// A value of a closed list, in its wire spelling.
    pub fn word<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        self.text(name).map(|text| word(name, text)).transpose()
    }

    /// Several values of a closed list, with commas between.
    pub fn words<T: DeserializeOwned>(&self, name: &str) -> Outcome<Vec<T>> {
        self.text(name).map_or(Ok(Vec::new()), |text| text.split(',').map(|part| word(name, part)).collect())
    }

    pub fn flag(&self, name: &str) -> Outcome<bool> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(Failure::invalid(format!("{name}: {other:?} is neither true nor false"))),
        }
    }

    pub fn time(&self, name: &str) -> Outcome<Option<Timestamp>> {
        self.text(name)
            .map(|text| Timestamp::parse(text).ok_or_else(|| Failure::invalid(format!("{name}: {text:?} is not an RFC 3339 time"))))
            .transpose()
    }

    /// Items of a page; 0 when not given.
    pub fn limit(&self) -> Outcome<usize> {
        self.limit_up_to(PAGE_MAX)
    }

    pub fn limit_up_to(&self, max: usize) -> Outcome<usize> {
        match self.parsed("limit")? {
            None => Ok(0),
            Some(limit) if limit <= max => Ok(limit),
            Some(limit) => Err(Failure::invalid(format!("limit: {limit} is more than {max}"))),
        }
    }

    pub fn paging(&self) -> Outcome<Paging> {
        Ok(Paging { cursor: self.owned("cursor"), limit: self.limit()? })
    }

    /// `path` as text or `b64` for bytes that are not UTF-8.
    pub fn repo_path(&self) -> Outcome<Option<RepoPath>> {
        match (self.text("path"), self.text("b64")) {
            (Some(_), Some(_)) => Err(Failure::invalid("give path or b64, not both")),
            (Some(text), None) => RepoPath::new(text.as_bytes()).map(Some),
            (None, Some(coded)) => RepoPath::new(unbase64(coded).ok_or_else(|| Failure::invalid("b64 is not base64"))?).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// `source` with `base` or `oid`; uncommitted when absent.
    pub fn diff_source(&self) -> Outcome<DiffSource> {
        let need = |name: &str| self.owned(name).ok_or_else(|| Failure::invalid(format!("this source needs the parameter {name}")));
        match self.text("source") {
            None | Some("uncommitted") => Ok(DiffSource::Uncommitted),
            Some("branch") => Ok(DiffSource::Branch { base: need("base")? }),
            Some("commit") => Ok(DiffSource::Commit { oid: need("oid")?.parse()? }),
            Some(other) => Err(Failure::invalid(format!("{other:?} is not a source of a diff")).hint("uncommitted, branch or commit")),
        }
    }
}

fn word<T: DeserializeOwned>(name: &str, text: &str) -> Outcome<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| Failure::invalid(format!("{name}: {error}")))
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let params = Self::parse(parts.uri.query().unwrap_or(""))?;
        // Screens carry parameters of their own script (theme); the API is strict.
        if let Some(route) = parts.extensions.get::<&'static Route>().filter(|route| route.is_api()) {
            params.require_known(route)?;
        }
        Ok(params)
    }
}

/// The id in the path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err = Failure> + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Failure::invalid("the address cannot be read"))?;
        Ok(Self(text.parse()?))
    }
}

/// A JSON body. An empty one is an empty object, for requests whose fields are all optional.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = bounded(request, dcc_core::limits::HTTP_BODY_BYTES_MAX).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        unique_keys::check(text).map_err(|error| Failure::invalid(format!("the body is ambiguous: {error}")).hint("name each key once"))?;
        serde_json::from_slice(text).map(Self).map_err(|error| Failure::invalid(format!("the body does not fit: {error}")).hint("the shapes stand at /api/v1/openapi.json").into())
    }
}

/// The whole body, up to a bound.
pub async fn bounded(request: Request, limit: usize) -> Result<bytes::Bytes, Problem> {
    to_bytes(request.into_body(), limit).await.map_err(|error| {
        if std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
            return Problem::with_status(
                Failure::invalid(format!("the body is larger than {limit} bytes")).hint("keep large texts as files in the worktree and name them"),
                StatusCode::PAYLOAD_TOO_LARGE,
            );
        }
        Failure::invalid("the body ended early").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_once_and_strictly() {
        let params = Params::parse("status=&limit=5&b64=c3JjL/8ucnM%3D&ready=true&q=a+b%26c").unwrap();
        assert_eq!(params.limit().unwrap(), 5);
        assert_eq!(params.text("status"), None);
        assert_eq!(params.text("q"), Some("a b&c"));
        assert!(params.flag("ready").unwrap());
        assert_eq!(params.repo_path().unwrap().unwrap().as_bytes(), b"src/\xff.rs");
        assert!(Params::parse("a=1&a=2").is_err());
        assert!(Params::parse("limit=x").unwrap().limit().is_err());
        assert!(Params::parse("path=../x").unwrap().repo_path().is_err());
        assert!(Params::parse("source=commit").unwrap().diff_source().is_err());
    }
}
