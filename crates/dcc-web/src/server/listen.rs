//! Listeners: bounded connections, and the Unix socket that only its own user may use.
//!
//! Authority: ephemeral. Invariants: never more than `CONNECTIONS_MAX` connections of one listener at once; the socket's
//! file is 0600 before its name exists, and a peer of another user is dropped unread.
//! Failure: a socket that cannot be made is a failure naming its path; a failing accept is tried again.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use dcc_core::{Failure, Outcome};

/// `limits::STREAM_READERS_MAX` streams and their pages; below the usual 1,024 file descriptors of a process.
const CONNECTIONS_MAX: usize = 400;

/// A listener that waits for a free place before it accepts.
pub struct Bounded<L> {
    listener: L,
    places: Arc<Semaphore>,
}

impl<L> Bounded<L> {
    pub fn new(listener: L) -> Self {
        Self::with_places(listener, CONNECTIONS_MAX)
    }
    /// With a bound of its own.
    pub fn with_places(listener: L, places: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(places)) }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Held<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        let (io, address) = self.listener.accept().await;
        (Held { io, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its place.
pub struct Held<I> {
    io: I,
    _place: OwnedSemaphorePermit,
}

impl<I> Held<I> {
    pub fn io(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Held<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Held<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// The socket of this user.
pub struct OwnUser {
    listener: UnixListener,
    path: PathBuf,
    /// Of the file we made, so that the end of this server never removes another's socket.
    inode: u64,
    uid: u32,
}

impl OwnUser {
    /// Makes the socket under a temporary name, closes it to others, then gives it its name. A left-over of a server
    /// that is gone is replaced; that no other server lives is the project lock's to say, not a file's.
    pub fn bind(path: &Path) -> Outcome<Self> {
        let failed = |error: io::Error| Failure::engine(format!("cannot make the socket {}: {error}", path.display())).hint("its folder must be yours and writable, and the path shorter than 100 bytes");
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut making = path.as_os_str().to_owned();
        making.push(".new");
        let making = PathBuf::from(making);
        match fs::remove_file(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&making).map_err(failed)?;
        fs::set_permissions(&making, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let inode = fs::symlink_metadata(&making).map_err(failed)?.ino();
        fs::rename(&making, path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), inode, uid: rustix::process::geteuid().as_raw() })
    }
}

impl Drop for OwnUser {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener for OwnUser {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // SO_PEERCRED: the kernel's word at connect time. Root may connect anywhere; it is not this user either.
            if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.uid) {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
