//! What every handler shares: the door, the sessions, the channel it came over.
//!
//! Authority: ephemeral. Invariant: the door is called on threads for blocking work only.
//! Failure: work that panicked is HSK-500-ENGINE; the server goes on.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use dcc_api::door::Screens;
use dcc_core::{Failure, Outcome};

use super::auth::Auth;
use super::problem::Problem;

/// How a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Loopback; anybody on this machine, and any page in a browser, can send here.
    Tcp,
    /// The socket of mode 0600 whose peer was proven to be the same user.
    Unix,
}

#[derive(Clone)]
pub struct App {
    door: Arc<dyn Screens>,
    pub channel: Channel,
    /// The TCP port, whatever channel this is: where a browser goes.
    pub port: u16,
    pub auth: Arc<Auth>,
    /// The command that prints a fresh sign-in link.
    pub link_command: Arc<str>,
    /// Turns true when the server ends; streams end with it.
    pub ending: watch::Receiver<bool>,
    stop: Arc<Notify>,
}

impl App {
    pub fn new(door: Arc<dyn Screens>, port: u16, auth: Arc<Auth>, link_command: String, ending: watch::Receiver<bool>) -> Self {
        Self { door, channel: Channel::Tcp, port, auth, link_command: link_command.into(), ending, stop: Arc::new(Notify::new()) }
    }

    /// The same application over the Unix socket.
    pub fn over_unix(&self) -> Self {
        Self { channel: Channel::Unix, ..self.clone() }
    }

    pub fn stop_signal(&self) -> Arc<Notify> {
        Arc::clone(&self.stop)
    }

    /// Asks the server to end. A permit is kept when nobody waits yet.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Runs blocking work against the door.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&dyn Screens) -> Outcome<T> + Send + 'static) -> Result<T, Problem> {
        let door = Arc::clone(&self.door);
        match tokio::task::spawn_blocking(move || work(door.as_ref())).await {
            Ok(result) => result.map_err(Problem::from),
            Err(_) => Err(Failure::engine("the server's own work for this request broke off")
                .hint("look at the job list: what was accepted is recorded there")
                .into()),
        }
    }
}
