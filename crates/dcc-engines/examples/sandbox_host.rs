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
    use dcc_engines::sandbox::{LandlockSandbox, Profile, Spec, Stdin};
    let tmp = std::path::Path::new(tmp);
    let argv = ["sh", "-c", "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &); echo ready; while :; do sleep 1000; done"];
    let argv = argv.map(str::to_owned).to_vec();
    let spec = Spec::new(argv, "/bin/sh".as_ref(), tmp, &std::collections::BTreeMap::new(), Profile::system(tmp, tmp), Stdin::Pipe, marker);
    let mut child = LandlockSandbox::new(vec![own.into()], tmp.join("run")).spawn(spec).expect("it starts");
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
        Err(error) if matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem) => "refused".into(),
        Err(error) => format!("other: {error}"),
    }
}

fn call(number: i64, arguments: [i64; 6]) -> Result<(), Error> {
    // SAFETY: integers only, or pointers that the caller keeps alive; a bad one gives EFAULT.
    let result = unsafe { syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[cfg(target_arch = "x86_64")]
fn unbound_listener() -> Result<(), Error> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
    Ok(rustix::net::listen(&socket, 1)?)
}

#[cfg(target_arch = "x86_64")]
fn attack(name: &str, argument: &str) -> Result<(), Error> {
    let number = argument.parse::<i64>().unwrap_or(0);
    match name {
        "tcp" => std::net::TcpStream::connect(("127.0.0.1", number as u16)).map(|_| ()),
        "listen" => std::net::TcpListener::bind("127.0.0.1:0").map(|_| ()),
        // A free port of every address, without bind(2).
        "listen_unbound" => unbound_listener(),
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
        // socketpair(AF_UNIX, DGRAM or RAW), then send to a name.
        "pair_datagram" => std::os::unix::net::UnixDatagram::pair().and_then(|(socket, _)| socket.send_to(b"x", argument)).map(|_| ()),
        "pair_raw" => pair(3),
        "pair_seqpacket" => pair(5),
        "pair_stream_flags" => pair(1 | 0o2_000_000 | 0o4000),
        "affinity" => call(203, [number, 8, [1_u64].as_ptr() as i64, 0, 0, 0]),
        // SCHED_IDLE
        "scheduler" => call(144, [number, 5, [0_u32].as_ptr() as i64, 0, 0, 0]),
        "sched_attr" => call(314, [number, [48_u64, 0, 0, 0, 0, 0].as_ptr() as i64, 0, 0, 0, 0]),
        "priority" => call(141, [0, number, 19, 0, 0, 0]),
        "priority_of_user" => call(141, [2, 0, 19, 0, 0, 0]),
        // IOPRIO_WHO_PROCESS, idle; IOPRIO_WHO_USER
        "ioprio" => call(251, [1, number, 3 << 13, 0, 0, 0]),
        "ioprio_of_user" => call(251, [3, 0, 3 << 13, 0, 0, 0]),
        "set_user_id" => mode(argument, 0o4755),
        "set_group_id" => mode(argument, 0o2755),
        "plain_mode" => mode(argument, 0o755),
        "make_set_user_id" => path(argument, |path| call(2, [path, 0o101, 0o4755, 0, 0, 0])),
        "mode" => mode(argument, 0o644),
        "owner" => path(argument, |path| call(92, [path, -1, -1, 0, 0, 0])),
        "owner_by_descriptor" => std::fs::File::open(argument).and_then(|file| std::os::unix::fs::fchown(file, None, Some(0))),
        "times" => path(argument, |path| call(280, [-100, path, [0_i64; 4].as_ptr() as i64, 0, 0, 0])),
        "attribute" => path(argument, |path| call(188, [path, c"user.x".as_ptr() as i64, c"1".as_ptr() as i64, 1, 0, 0])),
        "mode_new" => path(argument, |path| call(452, [-100, path, 0o644, 0, 0, 0])),
        "shared_memory" => call(29, [number, 4096, 0o1600, 0, 0, 0]),
        "shared_memory_of_others" => call(29, [number, 4096, 0, 0, 0, 0]),
        "kernel_log" => call(103, [10, 0, 0, 0, 0, 0]),
        "set_namespace" => std::fs::File::open("/proc/self/ns/mnt").and_then(|file| call(308, [std::os::fd::AsRawFd::as_raw_fd(&file).into(), 0, 0, 0, 0, 0])),
        "remount" => path("/", |path| call(165, [path, path, 0, 0x1020, 0, 0])),
        "unmount" => path(argument, |path| call(166, [path, 2, 0, 0, 0, 0])),
        "mount_attributes" => path("/", |path| call(442, [-100, path, 0x8000, [0_u64, 1, 0, 0].as_ptr() as i64, 32, 0])),
        "open_tree" => path("/", |path| call(428, [-100, path, 1, 0, 0, 0])),
        "chroot" => path("/", |path| call(161, [path, 0, 0, 0, 0, 0])),
        // setxattrat, open_tree_attr, file_setattr, and openat2: unknown to programs.
        "newer" => unknown(&[463, 467, 469, 437]),
        // getpid of x32: would pass a filter that knows only numbers of x86_64.
        "x32" => call(0x4000_0000 + 39, [0; 6]),
        "clone3" => match call(435, [0; 6]) {
            Err(error) if error.raw_os_error() == Some(38) => Err(Error::from(std::io::ErrorKind::PermissionDenied)),
            other => other,
        },
        _ => Err(Error::other("unknown attack")),
    }
}

#[cfg(target_arch = "x86_64")]
fn pair(kind: i64) -> Result<(), Error> {
    call(53, [1, kind, 0, [0_i32; 2].as_mut_ptr() as i64, 0, 0])
}

#[cfg(target_arch = "x86_64")]
fn path(path: &str, act: impl FnOnce(i64) -> Result<(), Error>) -> Result<(), Error> {
    let path = std::ffi::CString::new(path).map_err(Error::other)?;
    act(path.as_ptr() as i64)
}

#[cfg(target_arch = "x86_64")]
fn mode(at: &str, mode: i64) -> Result<(), Error> {
    path(at, |path| call(90, [path, mode, 0, 0, 0, 0]))
}

#[cfg(target_arch = "x86_64")]
fn unknown(numbers: &[i64]) -> Result<(), Error> {
    match numbers.iter().find(|number| call(**number, [0; 6]).map_err(|error| error.raw_os_error()) != Err(Some(38))) {
        None => Err(Error::from(std::io::ErrorKind::PermissionDenied)),
        Some(number) => Err(Error::other(format!("{number} is known"))),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn attack(_: &str, _: &str) -> Result<(), Error> {
    Err(Error::other("the attacks are written for x86_64"))
}
