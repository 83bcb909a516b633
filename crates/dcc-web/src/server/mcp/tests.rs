//! The agents' listener against tools that only remember what they were asked.

use std::sync::{Condvar, Mutex};

use axum::body::{Body, to_bytes};
use dcc_api::agent_door::ToolReply;
use dcc_core::ports::AgentDoor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::*;
use crate::server::routes::ROUTES;

const SESSION: &str = "0198c0de-0000-7000-8000-0000000000aa";
const OTHER: &str = "0198c0de-0000-7000-8000-0000000000bb";
const PORT: u16 = 7778;
const HOST: &str = "127.0.0.1:7778";

#[derive(Default)]
struct Fake {
    door: Mutex<Option<Arc<dyn AgentDoor>>>,
    calls: Mutex<Vec<(SessionId, AgentTool, Map<String, Value>)>>,
    /// While true, calls of `version_commit` wait.
    holds: Mutex<bool>,
    released: Condvar,
}

impl AgentTools for Fake {
    fn attach(&self, door: Arc<dyn AgentDoor>) -> Outcome<()> {
        *self.door.lock().unwrap() = Some(door);
        Ok(())
    }
    fn call(&self, session_id: SessionId, tool: AgentTool, arguments: Map<String, Value>) -> Outcome<ToolReply> {
        self.calls.lock().unwrap().push((session_id, tool, arguments));
        if tool == AgentTool::Commit {
            let held = self.holds.lock().unwrap();
            drop(self.released.wait_while(held, |held| *held).unwrap());
        }
        if tool == AgentTool::RunRecipe {
            return Err(Failure::new(Code::NotFoundRecipe, "no recipe \"x\""));
        }
        Ok(ToolReply { result: json!({ "state": "completed" }), has_failed: false })
    }
}

fn session(id: &str) -> SessionId {
    id.parse().unwrap()
}

struct World {
    fake: Arc<Fake>,
    tokens: Arc<Tokens>,
    router: Router,
}

impl World {
    fn new() -> Self {
        let fake = Arc::new(Fake::default());
        let tokens = Arc::new(Tokens::new(PORT, Path::new("/usr/bin/dcc")).unwrap());
        let router = router(Mcp { tools: Arc::clone(&fake) as _, tokens: Arc::clone(&tokens), port: PORT });
        Self { fake, tokens, router }
    }
    fn token(&self, id: &str) -> String {
        token_of(self.tokens.as_ref(), id)
    }
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("content-security-policy"));
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
    async fn call(&self, tool: &str, token: &str, body: &str) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        self.send("POST", &format!("/mcp/v1/tools/{tool}"), &[("host", HOST), ("authorization", &bearer), ("content-type", "application/json")], body.to_owned()).await
    }
    fn calls(&self) -> usize {
        self.fake.calls.lock().unwrap().len()
    }
}

fn token_of(door: &dyn AgentDoor, id: &str) -> String {
    door.hand_out(session(id)).unwrap().mcp.unwrap().env[1].1.clone()
}

#[tokio::test]
async fn the_token_says_whose_call_it_is() {
    let world = World::new();
    let (mine, other) = (world.token(SESSION), world.token(OTHER));
    assert_eq!(world.call("locus_get_wp", &mine, "{}").await, (200, json!({ "result": { "state": "completed" }, "failed": false })));
    assert_eq!(world.call("version_commit", &other, r#"{"paths":["a"],"session_id":"x"}"#).await.0, 200);
    let calls = world.fake.calls.lock().unwrap().clone();
    assert_eq!((calls[0].0, calls[1].0), (session(SESSION), session(OTHER)));
    assert_eq!(calls[1].2["session_id"], "x", "arguments go through as they are: the tools judge them");
}

#[tokio::test]
async fn no_other_credential_opens_it() {
    let world = World::new();
    let old = world.token(SESSION);
    let token = world.token(SESSION);
    let basic = format!("Basic {token}");
    let operator = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for bad in [old.as_str(), "", operator, &token[1..], &format!("{token}0")] {
        assert_eq!(world.call("locus_get_wp", bad, "{}").await.0, 401, "{bad:?}");
    }
    let headers = [("host", HOST), ("authorization", basic.as_str()), ("content-type", "application/json")];
    assert_eq!(world.send("POST", "/mcp/v1/tools/locus_get_wp", &headers, "{}").await.0, 401);
    let twice = format!("Bearer {token}");
    let headers = [("host", HOST), ("authorization", twice.as_str()), ("authorization", twice.as_str()), ("content-type", "application/json")];
    assert_eq!(world.send("POST", "/mcp/v1/tools/locus_get_wp", &headers, "{}").await.0, 401);
    world.tokens.revoke(session(SESSION));
    let (status, problem) = world.call("locus_get_wp", &token, "{}").await;
    assert_eq!((status, &problem["code"]), (401, &json!("HSK-401-UNAUTHENTICATED")));
    assert_eq!(world.calls(), 0);
}

#[tokio::test]
async fn neither_pages_nor_foreign_names_are_answered() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.token(SESSION));
    let good = [("host", HOST), ("authorization", bearer.as_str()), ("content-type", "application/json")];
    assert_eq!(world.send("POST", "/mcp/v1/tools/version_status", &good, "{}").await.0, 200);
    let before = world.calls();
    for host in ["evil.example", "127.0.0.1", "127.0.0.1:7777", "localhost.evil.example:7778"] {
        let headers = [("host", host), good[1], good[2]];
        let (status, problem) = world.send("POST", "/mcp/v1/tools/version_status", &headers, "{}").await;
        assert_eq!((status, &problem["code"]), (403, &json!("HSK-403-ORIGIN")), "{host}");
    }
    for (name, value) in [("origin", "http://127.0.0.1:7778"), ("origin", "null"), ("cookie", "dcc_0=1"), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")] {
        let headers = [good[0], good[1], good[2], (name, value)];
        assert_eq!(world.send("POST", "/mcp/v1/tools/version_status", &headers, "{}").await.0, 403, "{name}: {value}");
    }
    assert_eq!(world.calls(), before);
}

#[tokio::test]
async fn bodies_and_names_are_read_strictly() {
    let world = World::new();
    let token = world.token(SESSION);
    let huge = format!("{{\"q\":\"{}\"}}", "x".repeat(limits::HTTP_BODY_BYTES_MAX));
    assert_eq!(world.call("context_search", &token, &huge).await.0, 413);
    for bad in ["[]", "null", "{", "\"x\"", "{\"a\":1}{}"] {
        assert_eq!(world.call("context_search", &token, bad).await.0, 400, "{bad}");
    }
    let bearer = format!("Bearer {token}");
    let plain = [("host", HOST), ("authorization", bearer.as_str()), ("content-type", "text/plain")];
    assert_eq!(world.send("POST", "/mcp/v1/tools/context_search", &plain, "{}").await.0, 415);
    for never in ["approval_decide", "session_start", "grant_revoke", "policy_set", "locus.add_note", "nothing", ".."] {
        assert_eq!(world.call(never, &token, "{}").await.0, 404, "{never}");
    }
    assert_eq!(world.calls(), 0);
    let (status, problem) = world.call("sandbox_run_recipe", &token, "{}").await;
    assert_eq!((status, &problem["code"]), (404, &json!("HSK-404-RECIPE")), "a tool's failure keeps its code");
}

#[tokio::test]
async fn nothing_of_the_operators_server_stands_here() {
    let world = World::new();
    for route in ROUTES {
        let bearer = format!("Bearer {}", world.token(SESSION));
        let headers = [("host", HOST), ("authorization", bearer.as_str()), ("content-type", "application/json")];
        let path = route.path.replace("{id}", SESSION).replace("{sha256}", &"0".repeat(64)).replace("{name}", "main.js");
        assert_eq!(world.send(route.method, &path, &headers, "{}").await.0, 404, "{} {path}", route.method);
    }
    assert_eq!(world.send("GET", "/mcp/v1/tools/version_status", &[("host", HOST)], "").await.0, 404, "a tool is called by POST only");
    assert_eq!(world.calls(), 0);
}

#[tokio::test]
async fn the_list_names_the_session_and_the_schemas() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.token(SESSION));
    let (status, list) = world.send("GET", "/mcp/v1/tools", &[("host", HOST), ("authorization", &bearer)], "").await;
    assert_eq!((status, &list["session_id"]), (200, &json!(SESSION)));
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in ["locus_get_wp", "context_search", "version_commit", "capability_request", "job_get"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"version_restore"), "what is not built is not offered");
}

#[tokio::test]
async fn a_session_that_calls_too_often_is_told() {
    let world = World::new();
    let token = world.token(SESSION);
    let mut refused = None;
    for _ in 0..=limits::AGENT_CALLS_BURST + limits::AGENT_CALLS_PER_SECOND * 30 {
        let (status, problem) = world.call("version_status", &token, "{}").await;
        if status != 200 {
            refused = Some((status, problem["code"].clone()));
            break;
        }
    }
    assert_eq!(refused, Some((429, json!("HSK-429-RATE-LIMIT"))));
    assert_eq!(world.call("version_status", &world.token(OTHER), "{}").await.0, 200, "another session is not held up");
}

async fn raw(port: u16, token: &str, tool: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("POST /mcp/v1/tools/{tool} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Lets the held calls go, also when the test fails: the runtime waits for their threads.
struct Release(Arc<Fake>);

impl Drop for Release {
    fn drop(&mut self) {
        *self.0.holds.lock().unwrap() = false;
        self.0.released.notify_all();
    }
}

/// Waits until so many calls have arrived.
async fn arrived(fake: &Fake, count: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while fake.calls.lock().unwrap().len() < count {
        assert!(std::time::Instant::now() < deadline, "no call arrived");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_side_by_side_and_a_client_may_leave() {
    let fake = Arc::new(Fake { holds: Mutex::new(true), ..Fake::default() });
    let listener = AgentListener::bind(Arc::clone(&fake) as _, Path::new("/usr/bin/dcc")).await.unwrap();
    let port = listener.port();
    let served = tokio::spawn(listener.serve());
    let door = fake.door.lock().unwrap().clone().expect("the listener attached itself");
    let token = token_of(door.as_ref(), SESSION);
    let release = Release(Arc::clone(&fake));
    let leaving = raw(port, &token, "version_commit").await;
    arrived(&fake, 1).await;
    drop(leaving);
    let waiting = raw(port, &token, "version_commit").await;
    arrived(&fake, 2).await;
    // A third call is answered while both others wait.
    assert!(answer(raw(port, &token, "version_status").await).await.starts_with("HTTP/1.1 200"));
    // Whoever left still holds a place until the work is over: leaving does not make room for more.
    for already in 2..limits::AGENT_CALLS_AT_ONCE_MAX {
        let leaving = raw(port, &token, "version_commit").await;
        // One of the calls that have arrived is the one that was answered.
        arrived(&fake, already as usize + 2).await;
        drop(leaving);
    }
    assert!(answer(raw(port, &token, "version_status").await).await.starts_with("HTTP/1.1 429"));
    drop(release);
    assert!(answer(waiting).await.starts_with("HTTP/1.1 200"));
    served.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_requests_shut_nobody_out() {
    let fake = Arc::new(Fake::default());
    let listener = AgentListener::bind(Arc::clone(&fake) as _, Path::new("/usr/bin/dcc")).await.unwrap();
    let port = listener.port();
    let served = tokio::spawn(listener.serve());
    let door = fake.door.lock().unwrap().clone().expect("the listener attached itself");
    let token = token_of(door.as_ref(), SESSION);
    let mut unfinished = Vec::new();
    for _ in 0..limits::AGENT_CONNECTIONS_MAX + 16 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /mcp/v1/tools HTTP/1.1\r\nx: a").await.unwrap();
        unfinished.push(stream);
    }
    let answered = tokio::time::timeout(std::time::Duration::from_secs(8), answer(raw(port, &token, "version_status").await)).await;
    assert!(answered.expect("within less than the time of a head").starts_with("HTTP/1.1 200"));
    served.abort();
}
