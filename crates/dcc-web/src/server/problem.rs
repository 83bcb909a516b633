//! Failures on the wire: RFC 9457 problem+json with the stable code.
//!
//! Authority: derived. Invariant: what a client reads back is the failure that was sent.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use dcc_core::{Code, Failure, JobId};

/// The body of every error answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:dcc:error:CODE`; the page of that code stands under docs/errors.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// The thing and the cause.
    pub detail: String,
    pub code: Code,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
}

impl Problem {
    /// A failure whose HTTP status says more than its code: 404 for an address, 413, 415.
    pub fn with_status(failure: Failure, status: StatusCode) -> Self {
        Self { status: status.as_u16(), ..failure.into() }
    }
    /// What the sender meant; for clients.
    pub fn into_failure(self) -> Failure {
        Failure { code: self.code, message: self.detail, hint: self.hint }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self {
            kind: format!("urn:dcc:error:{}", failure.code),
            title: failure.code.title().to_owned(),
            status: failure.code.http_status(),
            detail: failure.message,
            code: failure.code,
            hint: failure.hint,
            job_id: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dcc\""));
        }
        response
    }
}
