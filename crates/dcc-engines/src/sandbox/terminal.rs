//! Our end of a confined command's pseudo-terminal.
//!
//! Authority: ephemeral. Reading ends when the last process of the tree has closed its end. The command's end becomes its
//! controlling terminal inside the child, before any restriction.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::limits;
use dcc_core::ports::terminal::TerminalSize;
use rustix::fs::{Mode, OFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::posture::unavailable;

/// How long a write waits for a command that reads nothing.
const WRITE_WAIT: Timespec = Timespec { tv_sec: limits::TERMINAL_WRITE_WAIT_S, tv_nsec: 0 };

/// Readable and writable; clones are the same terminal.
#[derive(Debug)]
pub struct Terminal(File);

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Terminal {
    /// A fresh pair: ours, and the command's.
    pub fn open() -> Outcome<(Self, OwnedFd)> {
        let failed = |error: rustix::io::Errno| unavailable("terminal", &std::io::Error::from(error).to_string());
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
        grantpt(&ours).and_then(|()| unlockpt(&ours)).map_err(failed)?;
        let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(failed)?;
        let terminal = Self(File::from(ours));
        let TerminalSize { rows, columns } = TerminalSize::USUAL;
        terminal.resize(rows, columns)?;
        Ok((terminal, theirs))
    }

    /// The command's end of a terminal that another process of this user opened, by its path. HSK-400-INVALID-INPUT for
    /// anything but a pseudo-terminal of this very user.
    pub fn of_path(path: &str) -> Outcome<OwnedFd> {
        let refuse = |why: &str| Failure::invalid(format!("{path:?} is no pseudo-terminal of yours: {why}"));
        if !path.strip_prefix("/dev/pts/").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
            return Err(refuse("it is named by /dev/pts and a number"));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let theirs = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| refuse(&std::io::Error::from(error).to_string()))?;
        let owner = rustix::fs::fstat(&theirs).map_err(|error| refuse(&std::io::Error::from(error).to_string()))?.st_uid;
        if !rustix::termios::isatty(&theirs) || owner != rustix::process::getuid().as_raw() {
            return Err(refuse("it belongs to somebody else"));
        }
        Ok(theirs)
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

impl Terminal {
    /// Until the kernel has something to say of our end, or takes more; false when the time is over.
    fn ready(&self, flags: PollFlags, limit: Option<&Timespec>) -> std::io::Result<bool> {
        let mut ours = [PollFd::new(&self.0, flags)];
        match poll(&mut ours, limit) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Terminal {
    /// A terminal whose other end is closed fails with EIO where a pipe would end.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(0),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.ready(PollFlags::IN, None)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for Terminal {
    /// A command that does not read holds nobody for ever: the write fails when nothing was taken for [`WRITE_WAIT`].
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if !self.ready(PollFlags::OUT, Some(&WRITE_WAIT))? {
                        return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the command does not read its terminal"));
                    }
                }
                other => return other,
            }
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
