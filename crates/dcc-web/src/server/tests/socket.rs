//! Real listeners: the loopback port, the Unix socket, and how both end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dcc_core::principal::Surface;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::server::{Ready, ServeOptions, serve};

struct Running {
    fake: Arc<Fake>,
    ready: Ready,
    socket: PathBuf,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Outcome<()>>,
    _folder: tempfile::TempDir,
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/dcc.sock");
    let fake = Arc::new(Fake::default());
    let (ready, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let options = ServeOptions { door: fake.clone(), port: 0, credential: CREDENTIAL.into(), link_command: "dcc up --detach".into(), socket_path: socket.clone(), ready };
    let server = tokio::spawn(serve(options, async { stopped.await.unwrap_or(()) }));
    Running { fake, ready: told.await.unwrap(), socket, stop, server, _folder: folder }
}

/// One request over a connection that is closed after the answer: status and body.
async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &str) -> (u16, String) {
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn both_listeners_serve_and_the_socket_is_ours_alone() {
    let running = start().await;
    assert_eq!((mode(&running.socket), mode(running.socket.parent().unwrap())), (0o600, 0o700));

    let host = format!("127.0.0.1:{}", running.ready.port);
    assert_eq!(running.ready.base_url, format!("http://{host}"));
    let tcp = || TcpStream::connect(&host);
    let (status, _) = speak(tcp().await.unwrap(), &format!("GET /api/v1/board HTTP/1.1\r\nHost: {host}"), "").await;
    assert_eq!(status, 401);
    let link = running.ready.login_url.strip_prefix(&running.ready.base_url).unwrap();
    let (status, _) = speak(tcp().await.unwrap(), &format!("GET {link} HTTP/1.1\r\nHost: {host}"), "").await;
    assert_eq!(status, 303);
    let (status, _) = speak(tcp().await.unwrap(), "GET /login HTTP/1.1\r\nHost: evil.test", "").await;
    assert_eq!(status, 403);

    let unix = || UnixStream::connect(&running.socket);
    let head = format!("GET /api/v1/project HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {CREDENTIAL}");
    let (status, body) = speak(unix().await.unwrap(), &head, "").await;
    assert_eq!(status, 200);
    assert!(body.contains("\"name\":\"demo\""), "{body}");
    let head = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {CREDENTIAL}\r\nContent-Type: application/json\r\nX-Dcc-Surface: terminal"
    );
    let (status, _) = speak(unix().await.unwrap(), &head, r#"{"op":"locus.sync_task_board"}"#).await;
    assert_eq!(status, 202);
    assert!(matches!(&running.fake.take()[..], [Call::Submit(actor, _)] if *actor == Actor::operator(Surface::Terminal)));
    let (status, _) = speak(unix().await.unwrap(), "GET /api/v1/project HTTP/1.1\r\nHost: localhost", "").await;
    assert_eq!(status, 401);

    running.stop.send(()).unwrap();
    assert_eq!(running.server.await.unwrap(), Ok(()));
    assert!(!running.socket.exists(), "the socket goes with its server");
}

#[tokio::test]
async fn a_taken_port_is_named_and_a_stale_socket_is_replaced() {
    let running = start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dcc.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let options = |port| {
        let (ready, told) = oneshot::channel();
        (ServeOptions { door: Arc::new(Fake::default()), port, credential: CREDENTIAL.into(), link_command: "dcc up --detach".into(), socket_path: socket.clone(), ready }, told)
    };
    let failure = serve(options(running.ready.port).0, std::future::pending()).await.unwrap_err();
    assert_eq!(failure.code, Code::Locked);
    assert!(failure.message.contains(&running.ready.port.to_string()), "{failure}");

    let (options, told) = options(0);
    let server = tokio::spawn(serve(options, std::future::pending()));
    told.await.unwrap();
    let head = format!("POST /api/v1/stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {CREDENTIAL}\r\nContent-Type: application/json");
    let (status, body) = speak(UnixStream::connect(&socket).await.unwrap(), &head, "{}").await;
    assert_eq!((status, body.as_str()), (202, r#"{"status":"stopping"}"#));
    assert_eq!(server.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_open_stream_does_not_hold_the_server() {
    let running = start().await;
    let host = format!("127.0.0.1:{}", running.ready.port);
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let head = format!("GET /api/v1/events/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {CREDENTIAL}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("event: hello") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    running.stop.send(()).unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "the stream ends in order: {text}");
    assert_eq!(running.server.await.unwrap(), Ok(()));
}
