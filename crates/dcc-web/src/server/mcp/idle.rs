//! Connections that keep a place without asking for anything are closed, so that one agent cannot keep the others out.
//!
//! Authority: ephemeral. Invariants: the head of a request is in within a bound, however slowly it comes; silence is longer
//! than any call takes, so a call that is being worked on is never cut off; of connections that showed no token, and of
//! those of one session, there are few, and the oldest makes room: there is always a place for who comes with a token.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

use dcc_core::{SessionId, limits};

use crate::server::listen::Bounded;

/// A call waits at most this long, and its work takes some time besides.
const SILENCE: Duration = Duration::from_millis(2 * limits::AGENT_TOOL_WAIT_MS_MAX);
/// The head of a request, from its first byte or, of a connection that showed no token, from its beginning.
const HEAD: Duration = Duration::from_secs(10);

/// What is known of the connections, oldest first.
#[derive(Default)]
struct Table {
    last: u64,
    open: BTreeMap<u64, Seat>,
}

#[derive(Default)]
struct Seat {
    /// None until it showed a token.
    session: Option<SessionId>,
    is_out: bool,
    waker: Option<Waker>,
}

type Seats = Arc<Mutex<Table>>;

fn lock(seats: &Mutex<Table>) -> MutexGuard<'_, Table> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Of those like this one the oldest is put out when there are too many.
    fn make_room(&mut self, session: Option<SessionId>) {
        let most = if session.is_some() { limits::AGENT_CONNECTIONS_OF_SESSION_MAX } else { limits::AGENT_CONNECTIONS_UNKNOWN_MAX };
        let alike = self.open.values().filter(|seat| seat.session == session && !seat.is_out).count();
        for seat in self.open.values_mut().filter(|seat| seat.session == session && !seat.is_out).take(alike.saturating_sub(most)) {
            seat.is_out = true;
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A connection's place, which its requests can see.
#[derive(Clone)]
pub struct Place {
    id: u64,
    seats: Seats,
}

impl Place {
    fn take(seats: &Seats) -> Self {
        let mut table = lock(seats);
        table.last += 1;
        let id = table.last;
        table.open.insert(id, Seat::default());
        table.make_room(None);
        Self { id, seats: Arc::clone(seats) }
    }
    /// Its request showed a token of this session.
    pub fn belongs_to(&self, session: SessionId) {
        let mut table = lock(&self.seats);
        if let Some(seat) = table.open.get_mut(&self.id)
            && seat.session != Some(session)
        {
            seat.session = Some(session);
            table.make_room(Some(session));
        }
    }
    fn is_known(&self) -> bool {
        lock(&self.seats).open.get(&self.id).is_some_and(|seat| seat.session.is_some())
    }
    /// True when it has to go; else the task is woken when it has to.
    fn is_out(&self, waker: &Waker) -> bool {
        let mut table = lock(&self.seats);
        let Some(seat) = table.open.get_mut(&self.id) else { return true };
        if !seat.is_out {
            seat.waker = Some(waker.clone());
        }
        seat.is_out
    }
}

impl Connected<IncomingStream<'_, Bounded<Idle<TcpListener>>>> for Place {
    fn connect_info(stream: IncomingStream<'_, Bounded<Idle<TcpListener>>>) -> Self {
        stream.io().io().place.clone()
    }
}

/// A listener of connections that may be silent for so long.
pub struct Idle<L> {
    listener: L,
    seats: Seats,
}

impl<L> Idle<L> {
    pub fn new(listener: L) -> Self {
        Self { listener, seats: Seats::default() }
    }
}

impl<L: Listener> Listener for Idle<L> {
    type Io = Talking<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        (Talking::new(io, Place::take(&self.seats), SILENCE, HEAD), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Where a connection is in its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of a request is in yet.
    Between,
    /// Its head comes, and has to be in by then; so many of its closing line ends are.
    Head(Instant, usize),
    /// The head is in: the rest, the work, the answer.
    Work,
}

/// A connection with a clock.
pub struct Talking<I> {
    io: I,
    place: Place,
    silence: Duration,
    head: Duration,
    stage: Stage,
    until: Pin<Box<Sleep>>,
}

impl<I> Talking<I> {
    fn new(io: I, place: Place, silence: Duration, head: Duration) -> Self {
        // tidy, allowed: the silence after which a connection is let go is a time
        Self { io, place, silence, head, stage: Stage::Between, until: Box::pin(tokio::time::sleep(head.min(silence))) }
    }
    /// Bytes of a request came in.
    fn heard(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        for byte in bytes {
            let (by, seen) = match self.stage {
                Stage::Between => (now + self.head, 0),
                Stage::Head(by, seen) => (by, seen),
                Stage::Work => break,
            };
            let seen = match (byte, seen) {
                (b'\r', 0 | 2) | (b'\n', 1 | 3) => seen + 1,
                (b'\r', _) => 1,
                _ => 0,
            };
            self.stage = if seen == 4 { Stage::Work } else { Stage::Head(by, seen) };
        }
        self.wind();
    }
    /// A part of the answer went out; what comes next is another request.
    fn said(&mut self) {
        self.stage = Stage::Between;
        self.wind();
    }
    fn wind(&mut self) {
        let until = match self.stage {
            Stage::Head(by, _) => by,
            Stage::Between if !self.place.is_known() => Instant::now() + self.head.min(self.silence),
            Stage::Between | Stage::Work => Instant::now() + self.silence,
        };
        self.until.as_mut().reset(until);
    }
}

impl<I> Drop for Talking<I> {
    fn drop(&mut self) {
        lock(&self.place.seats).open.remove(&self.place.id);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Talking<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.place.is_out(context.waker()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // A head that comes byte by byte is late all the same.
        if let Stage::Head(by, _) = self.stage
            && by <= Instant::now()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if polled.is_ready() {
            self.heard(&buffer.filled()[before..]);
        }
        // Looked at also after bytes came, so that its end wakes whoever reads on.
        match (self.until.as_mut().poll(context), polled) {
            (Poll::Ready(()), Poll::Pending) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            (_, polled) => polled,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Talking<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        if polled.is_ready() {
            self.said();
        }
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn talking(silence: u64, head: u64) -> (Talking<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        (Talking::new(near, Place::take(&Seats::default()), Duration::from_millis(silence), Duration::from_millis(head)), far)
    }

    #[tokio::test]
    async fn silence_ends_a_connection_and_a_whole_head_does_not() {
        let (mut talking, mut far) = talking(400, 100);
        far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut head = [0_u8; 18];
        talking.read_exact(&mut head).await.unwrap();
        let since = Instant::now();
        let error = talking.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= Duration::from_millis(300), "the head is in: the work may take its time");
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_late() {
        let (mut talking, mut far) = talking(60_000, 300);
        let since = Instant::now();
        let dribble = tokio::spawn(async move {
            while far.write_all(b"a").await.is_ok() {
                // tidy, allowed: the pace of a caller who dribbles; judged is when he is let go
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let error = loop {
            if let Err(error) = talking.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
        drop(talking);
        dribble.await.unwrap();
    }

    #[test]
    fn the_oldest_of_too_many_makes_room_and_sessions_do_not_push_each_other() {
        let seats = Seats::default();
        let [one, two]: [SessionId; 2] = ["0198c0de-0000-7000-8000-0000000000aa", "0198c0de-0000-7000-8000-0000000000bb"].map(|id| id.parse().unwrap());
        let is_out = |place: &Place| place.is_out(Waker::noop());
        let known = Place::take(&seats);
        known.belongs_to(one);
        let unknown: Vec<Place> = (0..=limits::AGENT_CONNECTIONS_UNKNOWN_MAX).map(|_| Place::take(&seats)).collect();
        assert!(is_out(&unknown[0]) && !is_out(&unknown[1]) && !is_out(&known));
        let greedy: Vec<Place> = (0..=limits::AGENT_CONNECTIONS_OF_SESSION_MAX).map(|_| Place::take(&seats)).collect();
        greedy.iter().for_each(|place| place.belongs_to(two));
        assert!(is_out(&greedy[0]) && !is_out(&greedy[1]) && !is_out(&known));
    }
}
