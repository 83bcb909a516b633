//! The server against a door that only remembers what it was asked.

mod matrix;
mod pages;
mod requests;
mod sign_in;
mod socket;
mod stream;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use dcc_api::door::{
    Decided, DecisionInput, Door, EventLine, FlatJob, Hub, Page, PageQuery, Presentation, ProjectFacts, Query, Screens, StreamItem, Subscription, TerminalInput, Verdict,
};
use dcc_api::view::Shell;
use dcc_core::approval::ApprovalStatus;
use dcc_core::event::EventCode;
use dcc_core::job::{JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::principal::Actor;
use dcc_core::{ApprovalId, Code, Failure, InstanceId, JobId, Outcome, SessionId, Sha256Hex, Timestamp};

use super::app::App;
use super::auth::Auth;
use super::routes;

pub const ID: &str = "0198c0de-0000-7000-8000-0000ab12cd34";
pub const CREDENTIAL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const PORT: u16 = 7777;
pub const HOST: &str = "127.0.0.1:7777";

/// What reached the door.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    Submit(Actor, JobRequest),
    Cancel(Actor, JobId, Option<String>),
    Present(Actor, ApprovalId),
    Decide(Actor, ApprovalId, DecisionInput),
    Query(Actor, Query),
    Artifact(Actor, Sha256Hex),
    Page(Actor, PageQuery),
    Subscribe(Option<u64>),
    Verify(Actor),
    AtTerminal(Actor, SessionId, TerminalInput),
}

impl Call {
    pub fn is_writing(&self) -> bool {
        matches!(self, Self::Submit(..) | Self::Cancel(..) | Self::Present(..) | Self::Decide(..) | Self::Verify(..) | Self::AtTerminal(..))
    }
}

#[derive(Default)]
pub struct Fake {
    pub calls: Mutex<Vec<Call>>,
    /// The failure of the next call, if any.
    pub fails: Mutex<Option<Failure>>,
    pub hub: Hub,
    /// The recorder.
    pub lines: Mutex<Vec<EventLine>>,
}

pub fn line(seq: u64) -> EventLine {
    EventLine {
        seq,
        code: EventCode::JobAccepted,
        ts: Timestamp(0),
        wp_id: Some("WP-0001".parse().unwrap()),
        mt_id: None,
        session_id: None,
        workspace_id: None,
        job_id: None,
        approval_id: None,
    }
}

impl Fake {
    fn note(&self, call: Call) -> Outcome<()> {
        self.calls.lock().unwrap().push(call);
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)
    }
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
    pub fn fail_next(&self, failure: Failure) {
        *self.fails.lock().unwrap() = Some(failure);
    }
    /// Records and publishes.
    pub fn happen(&self, seq: u64) {
        self.lines.lock().unwrap().push(line(seq));
        self.hub.publish(&[line(seq)]);
    }
    /// A file changed in a worktree.
    pub fn touch(&self) {
        self.hub.touch(&[ID.parse().unwrap()]);
    }
}

fn job(op: Op, state: JobState) -> FlatJob {
    let results = json!({"wp_id": "WP-0001"}).as_object().unwrap().clone();
    FlatJob { job_id: ID.parse().unwrap(), op, state, approval_id: None, failure: None, results }
}

impl Door for Fake {
    fn submit(&self, actor: Actor, request: JobRequest) -> Outcome<FlatJob> {
        let op = request.op;
        self.note(Call::Submit(actor, request))?;
        Ok(job(op, JobState::Completed))
    }
    fn cancel(&self, actor: Actor, id: JobId, reason: Option<String>) -> Outcome<FlatJob> {
        self.note(Call::Cancel(actor, id, reason))?;
        Ok(job(Op::SessionStart, JobState::Cancelled))
    }
    fn present(&self, actor: Actor, approval: ApprovalId) -> Outcome<Presentation> {
        self.note(Call::Present(actor, approval))?;
        Err(Failure::new(Code::NotFoundApproval, "this door holds no approvals"))
    }
    fn decide(&self, actor: Actor, approval_id: ApprovalId, decision: DecisionInput) -> Outcome<Decided> {
        let status = if decision.decision == Verdict::Approve { ApprovalStatus::Approved } else { ApprovalStatus::Denied };
        self.note(Call::Decide(actor, approval_id, decision))?;
        Ok(Decided { approval_id, status, job_id: ID.parse().unwrap(), job: job(Op::VersionCommit, JobState::Completed) })
    }
    fn at_terminal(&self, actor: Actor, session: SessionId, input: TerminalInput) -> Outcome<()> {
        self.note(Call::AtTerminal(actor, session, input))
    }
    fn query(&self, actor: Actor, query: Query) -> Outcome<Value> {
        self.note(Call::Query(actor, query))?;
        Ok(json!({"items": [], "next_cursor": null}))
    }
    fn artifact(&self, actor: Actor, sha256: Sha256Hex) -> Outcome<Vec<u8>> {
        self.note(Call::Artifact(actor, sha256))?;
        Ok(b"<script>alert(1)</script>".to_vec())
    }
    fn subscribe(&self, after_seq: Option<u64>) -> Outcome<Subscription> {
        self.note(Call::Subscribe(after_seq))?;
        let head = || Ok(self.lines.lock().unwrap().last().map_or(0, |line| line.seq));
        let backlog = |after: u64, limit: usize| Ok(self.lines.lock().unwrap().iter().filter(|line| line.seq > after).take(limit).cloned().collect());
        self.hub.subscribe(after_seq, head, backlog)
    }
    fn verify_record(&self, actor: Actor) -> Outcome<Value> {
        self.note(Call::Verify(actor))?;
        Ok(json!({"ok": true}))
    }
    fn project(&self) -> ProjectFacts {
        ProjectFacts { name: "demo".into(), root_path: "/srv/demo".into(), project_id: ID.parse().unwrap(), instance_id: instance(), read_only: None }
    }
}

impl Screens for Fake {
    fn page(&self, actor: Actor, page: PageQuery) -> Outcome<Page> {
        let answer = match &page {
            PageQuery::Board { .. } => Page::Board(Box::default()),
            PageQuery::Packet { .. } => Page::Packet(Box::default()),
            PageQuery::Workspaces { .. } => Page::Workspaces(Box::default()),
            PageQuery::Review { .. } => Page::Review(Box::default()),
            PageQuery::ReviewFile { .. } => Page::ReviewFile(Box::default()),
            PageQuery::Sessions { .. } => Page::Sessions(Box::default()),
            PageQuery::Terminal { .. } => Page::Terminal(Box::default()),
            PageQuery::Session { .. } => Page::Session(Box::default()),
            PageQuery::Inbox { .. } => Page::Inbox(Box::default()),
            PageQuery::Approval { .. } => Page::Approval(Box::default()),
            PageQuery::Jobs { .. } => Page::Jobs(Box::default()),
            PageQuery::Job { .. } => Page::Job(Box::default()),
            PageQuery::Timeline { .. } => Page::Timeline(Box::default()),
            PageQuery::Event { .. } => Page::Event(Box::default()),
            PageQuery::Search { .. } => Page::Search(Box::default()),
            PageQuery::Health => Page::Health(Box::default()),
        };
        self.note(Call::Page(actor, page))?;
        Ok(answer)
    }
    fn shell(&self) -> Shell {
        Shell { project_name: "demo-project".into(), ..Shell::default() }
    }
}

pub fn instance() -> InstanceId {
    ID.parse().unwrap()
}

/// A server without listeners.
pub struct Site {
    pub router: Router,
    pub unix: Router,
    pub fake: Arc<Fake>,
    pub app: App,
    pub clock: Arc<Mutex<Instant>>,
    pub end: watch::Sender<bool>,
}

/// A signed-in browser.
#[derive(Clone)]
pub struct Browser {
    pub cookie: String,
    pub token: String,
}

impl Site {
    pub fn new() -> Self {
        let fake = Arc::new(Fake::default());
        let clock = Arc::new(Mutex::new(Instant::now()));
        let hand = Arc::clone(&clock);
        let auth = Auth::with_clock(CREDENTIAL, instance(), Box::new(move || *hand.lock().unwrap())).unwrap();
        let (end, ending) = watch::channel(false);
        let app = App::new(fake.clone(), PORT, Arc::new(auth), "dcc up --detach".into(), ending);
        Self { router: routes::router(&app), unix: routes::router(&app.over_unix()), fake, app, clock, end }
    }

    pub fn pass(&self, time_ms: u64) {
        *self.clock.lock().unwrap() += Duration::from_millis(time_ms);
    }

    pub fn browser(&self) -> Browser {
        let value = self.app.auth.redeem(&self.app.auth.issue_link()).unwrap();
        let cookie = format!("{}={value}", self.app.auth.cookie_name());
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        Browser { cookie, token: self.app.auth.session(&headers).unwrap() }
    }

    pub async fn send(&self, ask: Ask) -> Reply {
        Reply::of(self.router.clone(), ask).await
    }

    pub async fn send_unix(&self, ask: Ask) -> Reply {
        Reply::of(self.unix.clone(), ask).await
    }
}

/// A request under construction; `Host` is right unless said otherwise.
#[derive(Clone)]
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub fn ask(method: &str, path: &str) -> Ask {
    Ask { method: method.into(), path: path.into(), headers: vec![("host".into(), HOST.into())], body: Vec::new() }
}

pub fn get(path: &str) -> Ask {
    ask("GET", path)
}

pub fn post(path: &str, body: &Value) -> Ask {
    ask("POST", path).with("content-type", "application/json").body(body.to_string())
}

impl Ask {
    /// Sets a header in place of an earlier one; an empty value leaves it out.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        if value.is_empty() { self } else { self.also(name, value) }
    }
    /// Adds a header beside an earlier one.
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
    pub fn bearer(self) -> Self {
        self.with("authorization", &format!("Bearer {CREDENTIAL}"))
    }
    /// As a page of ours sends it.
    pub fn by(self, browser: &Browser) -> Self {
        let ask = self.with("cookie", &browser.cookie).with("sec-fetch-site", "same-origin");
        if ask.method == "GET" { ask } else { ask.with("origin", &format!("http://{HOST}")).with("x-dcc-token", &browser.token) }
    }
    pub fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    async fn of(router: Router, ask: Ask) -> Self {
        let response = router.oneshot(ask.request()).await.unwrap();
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap().to_vec() }
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// Status and stable code of a problem answer.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }
}

#[test]
fn the_fake_streams_what_happens() {
    let fake = Fake::default();
    let mut stream = fake.subscribe(None).unwrap();
    fake.happen(1);
    assert_eq!(stream.next_timeout(Duration::ZERO), Ok(Some(StreamItem::Event(line(1)))));
}
