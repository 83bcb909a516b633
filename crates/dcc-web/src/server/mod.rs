//! The web server: one router for the browser and for commands, behind one table of routes.
//!
//! Authority: ephemeral (browser sessions, sign-in links); every effect goes through the door, which writes canon.
//! Invariants: it listens on the loopback address and on a socket of its own user only; the Host header is judged before
//! anything else; no request without a credential reaches the door; reading requests change no state of the project.
//! Failure: every refusal and every failure is problem+json with a stable code, or a page that says the same.

mod api;
mod app;
mod auth;
mod guard;
mod listen;
mod login;
mod mcp;
mod openapi;
mod pages;
mod params;
mod problem;
mod routes;
mod schemas;
mod security;
mod sse;
#[cfg(test)]
mod tests;
mod unique_keys;

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use dcc_api::door::Screens;
use dcc_core::{Code, Failure, Outcome};

use app::App;
use auth::Auth;
use listen::{Bounded, OwnUser};

pub use mcp::{ADDRESS_VARIABLE, AgentListener, TOKEN_VARIABLE};
pub use problem::Problem;

/// Time that open requests get after the end was asked for. Streams end at once; what is left then is a job that runs
/// on by itself and is found again by recovery.
const END_GRACE_MS: u64 = 5_000;

/// What a server needs.
pub struct ServeOptions {
    pub door: Arc<dyn Screens>,
    /// TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The operator's credential, as it stands in its 0600 file without the line end.
    pub credential: String,
    /// The command that prints a fresh sign-in link of this server.
    pub link_command: String,
    /// Where the Unix socket is made, mode 0600. Its folder is made with 0700 when absent.
    pub socket_path: PathBuf,
    /// Told once both listeners accept.
    pub ready: oneshot::Sender<Ready>,
}

/// A server that accepts.
#[derive(Clone, Debug)]
pub struct Ready {
    pub port: u16,
    /// `http://127.0.0.1:PORT`.
    pub base_url: String,
    /// A first sign-in link: 60 seconds, once. Further ones: `POST /api/v1/login-link` with the credential.
    pub login_url: String,
}

/// Serves until `shutdown` is done or `POST /api/v1/stop` arrives. HSK-423-LOCKED when the port is taken.
pub async fn serve(options: ServeOptions, shutdown: impl Future<Output = ()> + Send) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(|error| port_failure(options.port, &error))?;
    let port = listener.local_addr().map_err(|error| port_failure(options.port, &error))?.port();
    let socket = OwnUser::bind(&options.socket_path)?;
    let auth = Arc::new(Auth::new(&options.credential, options.door.project().instance_id)?);
    let (end, ending) = watch::channel(false);
    let over_tcp = App::new(Arc::clone(&options.door), port, Arc::clone(&auth), options.link_command, ending.clone());
    let over_unix = over_tcp.over_unix();
    let stop = over_tcp.stop_signal();
    let base_url = format!("http://127.0.0.1:{port}");
    let login_url = format!("{base_url}/login?token={}", auth.issue_link());
    let ended = |mut ending: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is the end too.
        let _ = ending.wait_for(|end| *end).await;
    };
    // Small frames of the event stream must not wait for the next one.
    let tcp = Bounded::new(listener.tap_io(|stream| drop(stream.set_nodelay(true))));
    let tcp = axum::serve(tcp, routes::router(&over_tcp)).with_graceful_shutdown(ended(ending.clone()));
    let unix = axum::serve(Bounded::new(socket), routes::router(&over_unix)).with_graceful_shutdown(ended(ending.clone()));
    let _ = options.ready.send(Ready { port, base_url, login_url });
    let end_once = async move {
        tokio::select! { () = shutdown => {}, () = stop.notified() => {} }
        let _ = end.send(true);
        // tidy, allowed: connections that do not end by themselves have this long
        tokio::time::sleep(Duration::from_millis(END_GRACE_MS)).await;
    };
    let both = async { tokio::join!(tcp.into_future(), unix.into_future()) };
    tokio::select! { _ = both => {}, () = end_once => {} }
    Ok(())
}

fn port_failure(port: u16, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        Failure::new(Code::Locked, format!("port {port} on 127.0.0.1 is taken by another program"))
            .hint("choose another with --port N, or --port 0 for a free one")
    } else {
        Failure::engine(format!("cannot listen on 127.0.0.1 port {port}: {error}"))
    }
}
