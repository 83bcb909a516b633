//! What every screen carries: place, needs-you counts, the state of the stream and of the store;
//! and the two pages that stand outside the shell, sign-in and problem.
//!
//! Authority: derived. The browser's write token travels here and is never serialised.

use serde::{Deserialize, Serialize};

use super::FailureView;

/// The frame of a screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shell {
    pub project_name: String,
    /// Changes with each server start; a page of another instance reloads itself.
    pub instance_id: String,
    /// Value of `<meta name="dcc-token">`; left out of JSON.
    #[serde(skip)]
    pub token: String,
    /// True when the request carried `x-dcc-fragment: main`: only the live parts are rendered.
    #[serde(skip)]
    pub fragment: bool,
    pub seq: i64,
    pub last_event_at_ms: Option<i64>,
    pub verified_seq: Option<i64>,
    pub verified_at_ms: Option<i64>,
    /// `ok` or a short word that names the trouble.
    pub db_status: String,
    pub needs: NeedsView,
    pub running: i64,
    pub running_limit: Option<i64>,
    /// Banners shown under the header on every screen.
    pub notices: Vec<NoticeView>,
    /// Set when nothing may be changed (read-only store, newer schema); shown as the reason.
    pub read_only: Option<FailureView>,
    /// True when this process will never write: what changes something is switched off, with the reason. Otherwise a
    /// recorder that could not write is tried again with the next request.
    pub changing_off: bool,
    /// Names of the agent presets a session can start with.
    pub agents: Vec<String>,
}

/// How many things wait for the operator, by kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NeedsView {
    pub approvals: i64,
    pub questions: i64,
    pub reviews: i64,
    pub recoveries: i64,
    /// Addresses of the waiting things, oldest first; the keys n and N walk them.
    pub hrefs: Vec<String>,
}

impl NeedsView {
    /// All kinds together.
    #[must_use]
    pub const fn total(&self) -> i64 {
        self.approvals + self.questions + self.reviews + self.recoveries
    }
}

/// One banner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoticeView {
    /// warn (a person is needed), bad (a fault), stale (not live), info.
    pub kind: String,
    /// One word: `drift`, `stale`, `read-only`.
    pub word: String,
    pub message: String,
    pub code: Option<String>,
    pub href: Option<String>,
    pub label: Option<String>,
}

/// The sign-in page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoginView {
    /// Host and port.
    pub server: String,
    /// The command that prints a fresh link of this very server.
    pub command: String,
    /// Why the link did not open: code, sentence, next step.
    pub failure: Option<FailureView>,
}

/// The problem page: what happened, why, and what to do next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProblemView {
    /// HTTP status.
    pub status: u16,
    pub code: String,
    /// What: `Packet WP-099 is not in this project`.
    pub title: String,
    /// Cause, in a sentence.
    pub cause: Option<String>,
    /// Next step, in a sentence.
    pub hint: Option<String>,
    pub job_id: Option<String>,
}
