//! The self-test's inner half: runs confined, tries what must not work, and says what happened.
//!
//! Authority: ephemeral. "Refused" means that the kernel said no (permission), not that it failed some other way.

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::spec::path_of;

/// What to try; paths in the lossless escape. No secret: it stands in argv.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub inside: String,
    pub outside: String,
    /// A listener on the loopback address.
    pub port: u16,
    /// A process outside that would accept a signal from this user.
    pub process: u32,
}

/// What the kernel refused.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub write_inside_works: bool,
    pub write_outside_refused: bool,
    pub read_outside_refused: bool,
    pub tcp_refused: bool,
    pub udp_refused: bool,
    /// A TCP listener that was not bound to a port.
    pub listen_refused: bool,
    /// A connection, and a datagram.
    pub unix_refused: bool,
    /// Mode, times, owner and attributes.
    pub metadata_refused: bool,
    pub set_id_refused: bool,
    pub scheduling_refused: bool,
    pub signal_refused: bool,
    pub inspect_refused: bool,
}

/// Tries everything and prints the findings.
pub fn inner(text: &str) -> ExitCode {
    let Ok(attempt) = serde_json::from_str::<Attempt>(text) else { return ExitCode::from(2) };
    let findings = serde_json::to_string(&attempt.findings()).expect("plain data");
    match std::io::stdout().write_all(findings.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refused<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|error| matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}

/// A pair of datagram sockets can send anywhere; one that cannot be had sends nothing.
fn datagram_refused(path: &Path) -> bool {
    match UnixDatagram::pair() {
        Ok((socket, _)) => refused(socket.send_to(b"probe", path)),
        Err(error) => refused::<()>(Err(error)),
    }
}

fn listen_refused() -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    refused(socket.and_then(|socket| rustix::net::listen(&socket, 1)).map_err(std::io::Error::from))
}

fn metadata_refused(path: &Path) -> bool {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::utimensat(CWD, path, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty());
    let attribute = rustix::fs::setxattr(path, "user.probe", b"1", XattrFlags::empty());
    refused(std::fs::set_permissions(path, Permissions::from_mode(0o600)))
        && refused(std::os::unix::fs::chown(path, Some(user), Some(group)))
        && refused(times.map_err(std::io::Error::from))
        && refused(attribute.map_err(std::io::Error::from))
}

/// The same values again: nothing is changed where it is not refused.
fn scheduling_refused(process: Pid) -> bool {
    let priority = rustix::process::getpriority_process(Some(process)).and_then(|now| rustix::process::setpriority_process(Some(process), now));
    let processors = rustix::thread::sched_getaffinity(Some(process)).and_then(|now| rustix::thread::sched_setaffinity(Some(process), &now));
    priority == Err(Errno::PERM) && processors == Err(Errno::PERM)
}

impl Attempt {
    fn findings(&self) -> Findings {
        let (inside, outside) = (path_of(&self.inside), path_of(&self.outside));
        let make = |path: std::path::PathBuf| std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let process = rustix::process::Pid::from_raw(self.process as i32);
        Findings {
            write_inside_works: make(inside.join("made")).is_ok(),
            write_outside_refused: refused(make(outside.join("made"))),
            read_outside_refused: refused(std::fs::read_dir(outside.join("readable"))),
            tcp_refused: refused(TcpStream::connect_timeout(&address, Duration::from_secs(2))),
            udp_refused: refused(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))),
            listen_refused: listen_refused(),
            unix_refused: refused(UnixStream::connect(outside.join("s"))) && datagram_refused(&outside.join("d")),
            metadata_refused: metadata_refused(&outside.join("file")),
            set_id_refused: refused(std::fs::set_permissions(inside.join("made"), Permissions::from_mode(0o4700))),
            scheduling_refused: process.is_some_and(scheduling_refused),
            signal_refused: process.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::PERM)),
            inspect_refused: refused(std::fs::read(format!("/proc/{}/environ", self.process))),
        }
    }
}
