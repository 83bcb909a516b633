//! The sandbox's host for this crate's tests, and the attacks that they run inside. The shipped host is a hidden
//! subcommand of `dcc`.
//!
//! `sandbox_host attack NAME ARGUMENT` prints `refused`, `worked` or the error; what the shell cannot do.

#![allow(unsafe_code, reason = "raw system calls, as an attacker makes them")]

use std::io::Error;
use std::process::ExitCode;

unsafe extern "C" {
    fn syscall(number: std::ffi::c_long, ...) -> std::ffi::c_long;
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "attack") {
        let (name, argument) = (&arguments[2], arguments.get(3).map_or("", String::as_str));
        println!("{}", verdict(attack(name, argument)));
        return ExitCode::SUCCESS;
    }
    if arguments.get(1).is_some_and(|word| word == "parent") {
        return parent(&arguments[0], &arguments[2], &arguments[3]);
    }
    dcc_engines::sandbox::host_main()
}

/// Plays DCC: starts a tree, prints the pids of its host and its command, and waits to be killed.
fn parent(own: &str, tmp: &str, marker: &str) -> ExitCode {
    use dcc_engines::sandbox::{Profile, Spec, Stdin, spawn};
    let tmp = std::path::Path::new(tmp);
    let argv = ["sh", "-c", "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &); echo ready; while :; do sleep 1000; done"];
    let argv = argv.map(str::to_owned).to_vec();
    let spec = Spec::new(argv, "/bin/sh".as_ref(), tmp, &std::collections::BTreeMap::new(), Profile::system(tmp, tmp), Stdin::Pipe, marker);
    let mut child = spawn(&[own.into()], spec).expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("it says that it is ready");
    println!("{} {}", child.identity.pid, child.pid);
    loop {
        std::thread::park();
    }
}

fn verdict(result: Result<(), Error>) -> String {
    match result {
        Ok(()) => "worked".into(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => "refused".into(),
        Err(error) => format!("other: {error}"),
    }
}

fn call(number: i64, arguments: [i64; 6]) -> Result<(), Error> {
    // SAFETY: integers only, or pointers that the caller keeps alive; a bad one gives EFAULT.
    let result = unsafe { syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[cfg(target_arch = "x86_64")]
fn attack(name: &str, argument: &str) -> Result<(), Error> {
    let number = argument.parse::<i64>().unwrap_or(0);
    match name {
        "tcp" => std::net::TcpStream::connect(("127.0.0.1", number as u16)).map(|_| ()),
        "listen" => std::net::TcpListener::bind("127.0.0.1:0").map(|_| ()),
        "udp" => std::net::UdpSocket::bind("127.0.0.1:0").map(|_| ()),
        "unix" => std::os::unix::net::UnixStream::connect(argument).map(|_| ()),
        "socketpair" => std::os::unix::net::UnixStream::pair().map(|_| ()),
        "mptcp" => call(41, [2, 1, 262, 0, 0, 0]),
        "netlink_audit" => call(41, [16, 3, 9, 0, 0, 0]),
        // PTRACE_SEIZE
        "ptrace" => call(101, [0x4206, number, 0, 0, 0, 0]),
        "process_vm" => call(310, [number, 0, 0, 0, 0, 0]),
        "kill" => call(62, [number, 0, 0, 0, 0, 0]),
        "pidfd_getfd" => call(438, [0, 0, 0, 0, 0, 0]),
        "io_uring" => call(425, [1, 0, 0, 0, 0, 0]),
        "keyctl" => call(250, [0, -3, 1, 0, 0, 0]),
        "bpf" => call(321, [0, 0, 0, 0, 0, 0]),
        "unshare" => call(272, [0x1000_0000, 0, 0, 0, 0, 0]),
        "clone_user" => call(56, [0x1000_0000 | 0x11, 0, 0, 0, 0, 0]),
        "mount" => call(165, [0, 0, 0, 0, 0, 0]),
        "prlimit" => {
            let limit = [1_u64, 1];
            call(302, [number, 7, limit.as_ptr() as i64, 0, 0, 0])
        }
        // getpid of x32: would pass a filter that knows only numbers of x86_64.
        "x32" => call(0x4000_0000 + 39, [0; 6]),
        "clone3" => match call(435, [0; 6]) {
            Err(error) if error.raw_os_error() == Some(38) => Err(Error::from(std::io::ErrorKind::PermissionDenied)),
            other => other,
        },
        _ => Err(Error::other("unknown attack")),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn attack(_: &str, _: &str) -> Result<(), Error> {
    Err(Error::other("the attacks are written for x86_64"))
}
