//! Connections that say nothing are closed, so that one agent cannot keep the others out with silence.
//!
//! Authority: ephemeral. Invariant: the time begins anew with each byte in either direction; it is longer than any call
//! takes, so a call that is being worked on is never cut off.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use dcc_core::limits;

/// A call waits at most this long, and its work takes some time besides.
const SILENCE: Duration = Duration::from_millis(2 * limits::AGENT_TOOL_WAIT_MS_MAX);

/// A listener of connections that may be silent for so long.
pub struct Idle<L> {
    listener: L,
}

impl<L> Idle<L> {
    pub fn new(listener: L) -> Self {
        Self { listener }
    }
}

impl<L: Listener> Listener for Idle<L> {
    type Io = Talking<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        (Talking::new(io, SILENCE), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection with a clock.
pub struct Talking<I> {
    io: I,
    silence: Duration,
    until: Pin<Box<Sleep>>,
}

impl<I> Talking<I> {
    fn new(io: I, silence: Duration) -> Self {
        Self { io, silence, until: Box::pin(tokio::time::sleep(silence)) }
    }
    fn heard(&mut self) {
        let until = Instant::now() + self.silence;
        self.until.as_mut().reset(until);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Talking<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if polled.is_ready() {
            self.heard();
            return polled;
        }
        match self.until.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Talking<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        if polled.is_ready() {
            self.heard();
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

    #[tokio::test]
    async fn silence_ends_a_connection_and_talk_does_not() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut talking = Talking::new(near, Duration::from_millis(200));
        far.write_all(b"x").await.unwrap();
        let mut byte = [0_u8; 1];
        talking.read_exact(&mut byte).await.unwrap();
        let since = Instant::now();
        let error = talking.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= Duration::from_millis(150), "the time began anew with the byte");
    }
}
