//! The real server as a child of the test, and a client of its public HTTP interface that knows nothing of the product.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::World;

/// No answer of the product takes longer on a loaded machine; a test that hangs says where.
const ANSWER: Duration = Duration::from_secs(60);

/// `dcc up` as a child of this process; killed when dropped.
pub struct Server {
    child: Child,
    pub http: Http,
}

/// A client: one connection a request, as a script with the credential or as a signed-in browser.
#[derive(Clone)]
pub struct Http {
    pub port: u16,
    pub credential: String,
    /// Cookie and write token; none sends the credential.
    browser: Option<(String, String)>,
}

/// An answer; head and body as they came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.split_once(':').filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
    /// The stable code of a problem, or of a failed job.
    pub fn code_text(&self) -> String {
        let value = self.json();
        let code = if value["code"].is_string() { &value["code"] } else { &value["failure"]["code"] };
        code.as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    /// Starts a server on a free port and waits until it answers.
    pub fn serve(&self) -> Server {
        self.serve_with(|_| {}).expect("the server starts")
    }

    /// The same with more environment or a wrapper; none when the process ended before it was ready.
    pub fn serve_with(&self, change: impl FnOnce(&mut Command)) -> Option<Server> {
        let mut command = self.command();
        command.args(["--json", "up", "--no-open", "--port", "0"]).stdout(Stdio::piped());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path().join("server.log")).expect("a log");
        command.stderr(log);
        change(&mut command);
        let mut child = command.spawn().expect("dcc starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let _ = output.read_line(&mut line);
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(base) = ready["base_url"].as_str() else {
            let _ = child.wait();
            return None;
        };
        let port = base.trim_end_matches('/').rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
        let credential = std::fs::read_to_string(self.path().join("state/dcc/credential")).expect("a credential").trim().to_owned();
        Some(Server { child, http: Http { port, credential, browser: None } })
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the process is gone when this returns.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for an end that something else brings about; true when it was SIGKILL.
    pub fn was_killed(mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.signal() == Some(9))
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory of the process in KiB, from the kernel: now, and the greatest so far.
    pub fn resident_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        (field("VmRSS:").unwrap_or(0), field("VmHWM:").unwrap_or(0))
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Http {
    /// None when the connection failed or broke before the whole answer was there.
    pub fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n", self.port);
        head += &match &self.browser {
            None => format!("authorization: Bearer {}\r\n", self.credential),
            Some((cookie, token)) => {
                format!("cookie: {cookie}\r\nx-dcc-token: {token}\r\norigin: http://127.0.0.1:{}\r\nsec-fetch-site: same-origin\r\n", self.port)
            }
        };
        if body.is_some() {
            head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", text.len());
        }
        stream.write_all(format!("{head}\r\n{text}").as_bytes()).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        parse(&bytes)
    }

    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.try_call(method, path, body).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The same server from a browser that opened a sign-in link.
    pub fn browser(&self) -> Self {
        self.try_browser().expect("the server answers")
    }

    /// The same; none when the server is gone before the page is open.
    pub fn try_browser(&self) -> Option<Self> {
        let link = self.try_call("POST", "/api/v1/login-link", Some(&serde_json::json!({})))?.json();
        let link = ["login_url", "url"].iter().find_map(|key| link[*key].as_str()).expect("a link").to_owned();
        let path = link.split_once(&format!(":{}", self.port)).expect("an address of this server").1;
        let unknown = Self { browser: Some((String::new(), String::new())), ..self.clone() };
        let opened = unknown.try_call("GET", path, None)?;
        let cookie = opened.header("set-cookie").and_then(|c| c.split(';').next()).unwrap_or_else(|| panic!("no cookie: {} {}", opened.status, opened.text())).to_owned();
        let signed_in = Self { browser: Some((cookie.clone(), String::new())), ..self.clone() };
        let page = signed_in.try_call("GET", "/board", None)?.text();
        let meta = page.split("name=\"dcc-token\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
        let token = meta.unwrap_or_else(|| panic!("no token: {page}")).to_owned();
        Some(Self { browser: Some((cookie, token)), ..self.clone() })
    }

    /// The JSON of a GET that succeeds.
    pub fn get(&self, path: &str) -> Value {
        let reply = self.call("GET", path, None);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, Some(body))
    }

    /// Asks for a job.
    pub fn submit(&self, op: &str, bindings: Value, params: Value) -> Reply {
        self.post("/api/v1/jobs", &serde_json::json!({ "op": op, "bindings": bindings, "params": params }))
    }

    /// Renders the request, then decides on that rendering.
    pub fn decide(&self, approval: &str, decision: &str, reason: &str) -> Reply {
        let shown = self.post(&format!("/api/v1/approvals/{approval}/presentation"), &serde_json::json!({})).json();
        let body = serde_json::json!({
            "decision": decision, "scope": "once", "reason": reason, "nonce": shown["nonce"], "preview_digest": shown["preview_digest"],
        });
        self.post(&format!("/api/v1/approvals/{approval}/decision"), &body)
    }
}

/// A whole HTTP/1.1 answer; none when it is cut short.
fn parse(bytes: &[u8]) -> Option<Reply> {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &bytes[split + 4..];
    let header = |name: &str| head.lines().find_map(|l| l.split_once(':').filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()));
    let body = match (header("content-length").and_then(|n| n.parse::<usize>().ok()), header("transfer-encoding")) {
        (Some(length), _) => rest.get(..length)?.to_vec(),
        (None, Some(_)) => unchunk(rest)?,
        (None, None) => rest.to_vec(),
    };
    Some(Reply { status, head: head.to_owned(), body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
