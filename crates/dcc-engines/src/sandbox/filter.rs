//! The seccomp filters: system calls that no confined command needs and that Landlock does not govern.
//!
//! Authority: derived, from the profile's network. A refused call fails with EPERM; nothing is killed for trying, so a
//! program can fall back. Several small filters are stacked, the strictest answer wins.
//!
//! Why these: sockets of the machine's own services (Unix, also by way of a pair of datagram sockets, which can send
//! anywhere), calls that act past both Landlock and this filter (io_uring), other processes' memory and descriptors, the
//! session keyring, new namespaces and mounts, loading code into the kernel, limits and scheduling of other processes,
//! programs that would run as their owner (set-user-id), typing into a terminal, TCP connections made without
//! connect(2), listeners without bind(2), and calls that are newer than this list.

use dcc_core::failure::Outcome;
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

use super::posture::unavailable;
use super::profile::Network;

const REFUSED: &[&str] = &[
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "fanotify_init",
    "open_by_handle_at",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "unshare",
    "setns",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "syslog",
    "vhangup",
    "process_mrelease",
];

/// What only namespaces keep inside: owners and attributes of any file, shared memory and queues of this user. Modes and
/// times stay open, since too much rests on them.
const WITHOUT_NAMESPACES: &[&str] = &[
    "fchownat", "setxattr", "lsetxattr", "removexattr", "lremovexattr", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semtimedop",
    "semctl", "mq_open", "mq_unlink",
];
const WITHOUT_NAMESPACES_OLD: &[&str] = &["chown", "lchown"];

/// The first argument is a process, zero the caller itself. A thread's own number counts as another's: the filter cannot
/// tell them apart.
const OF_OTHERS: &[&str] = &["sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "migrate_pages", "move_pages"];

/// The call, the argument that holds a mode, and the argument with flags for which alone the mode counts.
const MODES: &[(&str, u8, Option<u8>)] =
    &[("fchmod", 1, None), ("fchmodat", 2, None), ("fchmodat2", 2, None), ("mknodat", 2, None), ("openat", 3, Some(2))];
/// Older ways to say the same, which newer architectures do not have.
const MODES_OLD: &[(&str, u8, Option<u8>)] = &[("chmod", 1, None), ("mknod", 1, None), ("creat", 1, None), ("open", 2, Some(1))];
/// Set-user-id and set-group-id.
const SET_ID: &[u64] = &[0o4000, 0o2000];
/// O_CREAT and O_TMPFILE.
const MAKES: &[u64] = &[0o100, 0o20_000_000];

/// The last call whose effects were judged when this list was made (mseal). Later ones are unknown to programs that must
/// run on older kernels, so they fall back.
const NEWEST: u32 = 462;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: &[u64] = &[0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// TIOCSTI and TIOCLINUX put characters into a terminal's input.
const TERMINAL_INPUT: &[u64] = &[0x5412, 0x541C];
const MSG_FASTOPEN: u64 = 0x2000_0000;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;
const UNIX: u64 = 1;
const STREAM: u64 = 1;
const DGRAM: u64 = 2;
const SEQPACKET: u64 = 5;
const TYPE_MASK: u64 = 0xF;
const TCP: u64 = 6;
const UDP: u64 = 17;
/// Names resolve over it.
const DNS_PORT: u16 = 53;

/// The filters in the order in which they are to be installed.
pub fn filters(network: &Network, listens: bool, namespaces: bool) -> Outcome<Vec<BpfProgram>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| unavailable("seccomp", &error.to_string()))?;
    let mut programs = vec![known_numbers()];
    // What these would do stands in memory that a filter cannot read; programs fall back to clone and openat.
    programs.push(compile(arch, ENOSYS, &[rule("clone3", &[]), rule("openat2", &[])])?);
    programs.push(compile(arch, EPERM, &refused_rules(network, listens))?);
    if !namespaces {
        let old = if std::env::consts::ARCH == "x86_64" { WITHOUT_NAMESPACES_OLD } else { &[] };
        let rules: Vec<Value> = WITHOUT_NAMESPACES.iter().chain(old).map(|name| rule(name, &[])).collect();
        programs.push(compile(arch, EPERM, &rules)?);
    }
    Ok(programs)
}

fn compile(arch: TargetArch, errno: u32, rules: &[Value]) -> Outcome<BpfProgram> {
    let text = json!({"only": {"mismatch_action": "allow", "match_action": {"errno": errno}, "filter": rules}}).to_string();
    let mut map = compile_from_json(text.as_bytes(), arch).map_err(|error| unavailable("seccomp", &error.to_string()))?;
    map.remove("only").ok_or_else(|| unavailable("seccomp", "the filter was not compiled"))
}

/// Calls by number: those newer than the list do not exist, and those of x32 (x86_64 kernels know them under the same
/// architecture by other numbers, which would pass every other filter) are refused.
fn known_numbers() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    const ERRNO: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7FFF_0000;
    let step = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    vec![
        // Load the call's number; at or above the bit: refuse; above the newest: unknown; else allow.
        step(0x20, 0, 0, 0),
        step(0x35, 2, 0, X32_BIT),
        step(0x25, 2, 0, NEWEST),
        step(0x06, 0, 0, ALLOW),
        step(0x06, 0, 0, ERRNO | EPERM),
        step(0x06, 0, 0, ERRNO | ENOSYS),
    ]
}

fn refused_rules(network: &Network, listens: bool) -> Vec<Value> {
    let mut rules: Vec<Value> = REFUSED.iter().map(|name| rule(name, &[])).collect();
    rules.extend(NAMESPACE_FLAGS.iter().map(|flag| rule("clone", &[masked(0, *flag, *flag)])));
    rules.extend(TERMINAL_INPUT.iter().map(|request| rule("ioctl", &[equal(1, *request)])));
    // Another process's limits: pid is not zero and a new limit is given.
    rules.push(rule("prlimit64", &[differs(0, 0), json!({"index": 2, "type": "qword", "op": "ne", "val": 0})]));
    rules.extend(OF_OTHERS.iter().map(|call| rule(call, &[differs(0, 0)])));
    // PRIO_PROCESS and IOPRIO_WHO_PROCESS of the caller itself stay.
    for (call, process) in [("setpriority", 0), ("ioprio_set", 1)] {
        rules.extend([rule(call, &[differs(0, process)]), rule(call, &[differs(1, 0)])]);
    }
    rules.extend(set_id_rules());
    rules.extend(pair_rules());
    for (call, flags_index) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
        rules.push(rule(call, &[masked(flags_index, MSG_FASTOPEN, MSG_FASTOPEN)]));
    }
    if !listens {
        // A socket that is not bound takes a free port here, and Landlock is asked at bind(2) alone.
        rules.extend(["listen", "accept", "accept4"].map(|call| rule(call, &[])));
    }
    match network {
        Network::None => rules.push(rule("socket", &[])),
        Network::Ports(ports) => rules.extend(socket_rules(ports.contains(&DNS_PORT))),
    }
    rules
}

/// A program that runs as its owner would give this user away to every other one that can reach it.
fn set_id_rules() -> Vec<Value> {
    let old: &[_] = if std::env::consts::ARCH == "x86_64" { MODES_OLD } else { &[] };
    let mut rules = Vec::new();
    for (call, mode, flags) in MODES.iter().chain(old) {
        for bit in SET_ID {
            let set = masked(*mode, *bit, *bit);
            match flags {
                None => rules.push(rule(call, &[set])),
                Some(flags) => rules.extend(MAKES.iter().map(|makes| rule(call, &[set.clone(), masked(*flags, *makes, *makes)]))),
            }
        }
    }
    rules
}

/// Pairs that are connected for good: a pair of datagram sockets (raw means the same) can send to any address.
fn pair_rules() -> Vec<Value> {
    let mut rules = vec![rule("socketpair", &[differs(0, UNIX)])];
    rules.extend((0..=TYPE_MASK).filter(|kind| ![STREAM, SEQPACKET].contains(kind)).map(|kind| rule("socketpair", &[masked(1, TYPE_MASK, kind)])));
    rules
}

/// TCP (which Landlock holds to the ports), UDP when names are to resolve, and the routing table's netlink. Stream
/// sockets of other protocols (MPTCP, SCTP) would pass Landlock's port rules.
fn socket_rules(udp: bool) -> Vec<Value> {
    let mut rules = vec![
        rule("socket", &[differs(0, INET), differs(0, INET6), differs(0, NETLINK)]),
        rule("socket", &[equal(0, NETLINK), differs(2, 0)]),
    ];
    for domain in [INET, INET6] {
        for kind in 0..=TYPE_MASK {
            let of_kind = [equal(0, domain), masked(1, TYPE_MASK, kind)];
            let protocol = match kind {
                STREAM => TCP,
                DGRAM if udp => UDP,
                _ => {
                    rules.push(rule("socket", &of_kind));
                    continue;
                }
            };
            let [first, second] = of_kind;
            rules.push(rule("socket", &[first, second, differs(2, 0), differs(2, protocol)]));
        }
    }
    rules
}

fn rule(name: &str, args: &[Value]) -> Value {
    if args.is_empty() { json!({"syscall": name}) } else { json!({"syscall": name, "args": args}) }
}
fn equal(index: u8, value: u64) -> Value {
    json!({"index": index, "type": "dword", "op": "eq", "val": value})
}
fn differs(index: u8, value: u64) -> Value {
    json!({"index": index, "type": "dword", "op": "ne", "val": value})
}
fn masked(index: u8, mask: u64, value: u64) -> Value {
    json!({"index": index, "type": "dword", "op": {"masked_eq": mask}, "val": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_compiles() {
        for network in [Network::None, Network::Ports(vec![443]), Network::Ports(vec![53, 443])] {
            for (listens, namespaces) in [(true, true), (true, false), (false, true), (false, false)] {
                let programs = filters(&network, listens, namespaces).unwrap();
                assert!(programs.iter().all(|program| !program.is_empty()));
            }
        }
    }
}
