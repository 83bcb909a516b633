//! Our end of a confined command's pseudo-terminal.
//!
//! Authority: ephemeral. Reading ends when the last process of the tree has closed its end. The command's end becomes its
//! controlling terminal inside the child, before any restriction.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use dcc_core::failure::Outcome;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::posture::unavailable;

/// A terminal's size in character cells until somebody looks at it.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// Readable and writable; clones are the same terminal.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// A fresh pair: ours, and the command's.
    pub(super) fn open() -> Outcome<(Self, OwnedFd)> {
        let failed = |error: rustix::io::Errno| unavailable("terminal", &std::io::Error::from(error).to_string());
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
        grantpt(&ours).and_then(|()| unlockpt(&ours)).map_err(failed)?;
        let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
        let terminal = Self(File::from(ours));
        terminal.resize(ROWS, COLUMNS)?;
        Ok((terminal, theirs))
    }

    /// Tells the command the size it is looked at in.
    pub fn resize(&self, rows: u16, columns: u16) -> Outcome<()> {
        let size = Winsize { ws_row: rows.max(1), ws_col: columns.max(1), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.0.as_fd(), size).map_err(|error| unavailable("terminal", &std::io::Error::from(error).to_string()))
    }

    pub fn try_clone(&self) -> std::io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Read for Terminal {
    /// A terminal whose other end is closed fails with EIO where a pipe would end.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
            other => other,
        }
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
