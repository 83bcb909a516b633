//! The self-test's inner half: runs confined, tries what must not work, and says what happened.
//!
//! Authority: ephemeral. "Refused" means that the kernel said no (permission), not that it failed some other way.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

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
    pub unix_refused: bool,
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
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
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
            unix_refused: refused(UnixStream::connect(outside.join("s"))),
            signal_refused: process.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::PERM)),
            inspect_refused: refused(std::fs::read(format!("/proc/{}/environ", self.process))),
        }
    }
}
