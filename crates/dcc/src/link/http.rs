//! A small HTTP client over the server's Unix socket.

use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use dcc_core::{Code, Failure, Outcome};

/// Where the server listens.
pub enum Target {
    Unix(PathBuf),
    /// A port on 127.0.0.1.
    Tcp(u16),
}

/// Both kinds of stream, as one.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

pub struct Client {
    target: Target,
    credential: String,
    /// Said over the socket only, where the peer's user is proven by the kernel.
    terminal: bool,
}

impl Client {
    pub fn new(target: Target, credential: String, terminal: bool) -> Self {
        Self { target, credential, terminal }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Outcome<Response<Incoming>> {
        let (stream, host): (Box<dyn Stream>, String) = match &self.target {
            Target::Unix(path) => (Box::new(UnixStream::connect(path).await.map_err(|e| transport(&e))?), "localhost".into()),
            Target::Tcp(port) => (Box::new(TcpStream::connect(("127.0.0.1", *port)).await.map_err(|e| transport(&e))?), format!("127.0.0.1:{port}")),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| transport(&e))?;
        tokio::spawn(async move {
            // Ends with the response; a fault shows in the response itself.
            let _ = connection.await;
        });
        let mut request = Request::builder().method(method).uri(path).header("host", host).header("authorization", format!("Bearer {}", self.credential));
        if self.terminal {
            request = request.header("x-dcc-surface", "terminal");
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|e| Failure::engine(format!("the request cannot be built: {e}")))?;
        sender.send_request(request).await.map_err(|e| transport(&e))
    }

    /// Bytes of a successful answer; a problem document becomes its failure.
    pub fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Outcome<Vec<u8>> {
        runtime()?.block_on(self.exchange(method, path, body))
    }

    /// The same for a caller that has a runtime.
    pub async fn exchange(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Outcome<Vec<u8>> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|e| transport(&e))?.to_bytes();
        if status.is_success() { Ok(bytes.to_vec()) } else { Err(problem(status.as_u16(), &bytes)) }
    }

    /// Follows the event stream: `each` gets every data line with a reader for the state meanwhile, and says when to stop.
    pub fn follow(&self, path: &str, read: &str, mut each: impl FnMut(&str, Option<&[u8]>) -> Outcome<Follow>) -> Outcome<()> {
        runtime()?.block_on(async {
            let response = self.send(Method::GET, path, None).await?;
            let status = response.status();
            let mut body = response.into_body();
            if !status.is_success() {
                let bytes = body.collect().await.map_err(|e| transport(&e))?.to_bytes();
                return Err(problem(status.as_u16(), &bytes));
            }
            let mut text = String::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| transport(&e))?;
                let Some(data) = frame.data_ref() else { continue };
                text.push_str(&String::from_utf8_lossy(data));
                while let Some(end) = text.find('\n') {
                    let line: String = text.drain(..=end).collect();
                    let Some(data) = line.strip_prefix("data:") else { continue };
                    let mut next = each(data.trim(), None)?;
                    if matches!(next, Follow::Read) {
                        let answer = self.send(Method::GET, read, None).await?;
                        let bytes = answer.into_body().collect().await.map_err(|e| transport(&e))?.to_bytes();
                        next = each(data.trim(), Some(&bytes))?;
                    }
                    if matches!(next, Follow::Stop) {
                        return Ok(());
                    }
                }
            }
            Err(Failure::new(Code::Engine, "the server ended the event stream").hint("dcc status says whether it still runs"))
        })
    }
}

/// What the reader of a stream wants next.
pub enum Follow {
    Skip,
    Read,
    Stop,
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Failure::engine(format!("no runtime: {e}")))
}

fn transport(error: &dyn std::error::Error) -> Failure {
    Failure::engine(format!("the server does not answer: {error}")).hint("dcc status; dcc up starts it")
}

/// RFC 9457 back to a failure.
fn problem(status: u16, bytes: &[u8]) -> Failure {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let code = text("code").and_then(|c| Code::parse(&c)).unwrap_or(Code::Engine);
    let message = text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("the server answered {status}"));
    Failure { code, message, hint: text("hint") }
}
