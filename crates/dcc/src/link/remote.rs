//! The running server over its socket.

use hyper::Method;
use serde_json::{Value, json};

use dcc_api::door::{Decided, DecisionInput, FlatJob, Presentation, ProjectFacts, Query, TerminalInput, artifact_path};
use dcc_core::job::JobRequest;
use dcc_core::{ApprovalId, Failure, JobId, Outcome, SessionId, Sha256Hex};

use super::http::{Client, Follow, Target};
use super::{Link, is_settled, state_of};
use crate::wire::project::Found;

pub struct Remote {
    client: Client,
}

impl Remote {
    /// None when no server answers for this project.
    pub fn connect(found: &Found, attended: bool) -> Outcome<Option<Self>> {
        let (Some(project_id), Some(credential)) = (found.project_id()?, found.dirs.credential()?) else { return Ok(None) };
        let socket = found.dirs.socket(project_id);
        if std::os::unix::net::UnixStream::connect(&socket).is_err() {
            return Ok(None);
        }
        Ok(Some(Self { client: Client::new(Target::Unix(socket), credential, attended) }))
    }

    /// The public API on its TCP port, with the bare credential: what a script would use.
    pub fn over_tcp(port: u16, credential: String) -> Self {
        Self { client: Client::new(Target::Tcp(port), credential, false) }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        parse(&self.client.call(Method::GET, path, None)?)
    }

    fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Outcome<T> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::engine(format!("the request cannot be written: {e}")))?;
        parse(&self.client.call(Method::POST, path, Some(body))?)
    }

    /// A fresh sign-in link for the browser.
    pub fn login_url(&self) -> Outcome<String> {
        let answer: Value = self.post("/api/v1/login-link", &json!({}))?;
        ["login_url", "url"].iter().find_map(|key| answer[*key].as_str()).map(str::to_owned).ok_or_else(|| Failure::engine("the server gave no link"))
    }

    /// Asks the server to end.
    pub fn stop(&self) -> Outcome<()> {
        self.client.call(Method::POST, "/api/v1/stop", Some(b"{}".to_vec())).map(|_| ())
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    serde_json::from_slice(bytes).map_err(|e| Failure::engine(format!("the server's answer cannot be read: {e}")).hint("is the server of another version? dcc up --stop, then dcc up"))
}

impl Link for Remote {
    fn submit(&self, request: &JobRequest) -> Outcome<FlatJob> {
        self.post("/api/v1/jobs", request)
    }
    fn cancel(&self, job: JobId, reason: Option<&str>) -> Outcome<FlatJob> {
        self.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({ "reason": reason }))
    }
    fn present(&self, approval: ApprovalId) -> Outcome<Presentation> {
        self.post(&format!("/api/v1/approvals/{approval}/presentation"), &json!({}))
    }
    fn decide(&self, approval: ApprovalId, decision: &DecisionInput) -> Outcome<Decided> {
        self.post(&format!("/api/v1/approvals/{approval}/decision"), decision)
    }
    fn at_terminal(&self, session: SessionId, input: &TerminalInput) -> Outcome<()> {
        self.post::<Value>(&format!("/api/v1/sessions/{session}/terminal"), input).map(drop)
    }
    fn events(&self, after: u64, each: &mut dyn FnMut(&Value) -> Outcome<bool>) -> Outcome<()> {
        self.client.follow(&format!("/api/v1/events/stream?after={after}"), "", |data, _| {
            let line: Value = serde_json::from_str(data).unwrap_or_default();
            Ok(if each(&line)? { Follow::Skip } else { Follow::Stop })
        })
    }
    fn query(&self, query: &Query) -> Outcome<Value> {
        self.get(&query.to_path())
    }
    fn artifact(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        self.client.call(Method::GET, &artifact_path(sha256), None)
    }
    fn wait(&self, job: JobId, decided: bool) -> Outcome<Value> {
        let query = Query::Job { job_id: job };
        let mut last = self.query(&query)?;
        if is_settled(state_of(&last)?, decided) {
            return Ok(last);
        }
        // The stream's first line is the server's hello, upon which the state is read again: an end between the read
        // above and the subscription is not missed.
        self.client.follow("/api/v1/events/stream", &query.to_path(), |data, answer| {
            if let Some(bytes) = answer {
                last = parse(bytes)?;
                return Ok(if is_settled(state_of(&last)?, decided) { Follow::Stop } else { Follow::Skip });
            }
            let line: Value = serde_json::from_str(data).unwrap_or_default();
            Ok(if line["job_id"].as_str().is_none_or(|id| id == job.to_string()) { Follow::Read } else { Follow::Skip })
        })?;
        Ok(last)
    }
    fn read_only(&self) -> Outcome<Option<String>> {
        Ok(self.get::<ProjectFacts>("/api/v1/project")?.read_only)
    }
    fn is_served(&self) -> bool {
        true
    }
}
