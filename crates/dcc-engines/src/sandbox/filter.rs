//! The seccomp filters: system calls that no confined command needs and that Landlock does not govern.
//!
//! Authority: derived, from the profile's network. A refused call fails with EPERM; nothing is killed for trying, so a
//! program can fall back. Several small filters are stacked, the strictest answer wins.
//!
//! Why these: sockets of the machine's own services (Unix), calls that act past both Landlock and this filter
//! (io_uring), other processes' memory and descriptors, the session keyring, new namespaces and mounts, loading code
//! into the kernel, limits of other processes, typing into a terminal, TCP connections made without connect(2).

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
];

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
const STREAM: u64 = 1;
const DGRAM: u64 = 2;
const TYPE_MASK: u64 = 0xF;
const TCP: u64 = 6;
const UDP: u64 = 17;
/// Names resolve over it.
const DNS_PORT: u16 = 53;

/// The filters in the order in which they are to be installed.
pub fn filters(network: &Network) -> Outcome<Vec<BpfProgram>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| unavailable("seccomp", &error.to_string()))?;
    let mut programs = Vec::new();
    if std::env::consts::ARCH == "x86_64" {
        programs.push(no_x32());
    }
    programs.push(compile(arch, ENOSYS, &[rule("clone3", &[])])?);
    programs.push(compile(arch, EPERM, &refused_rules(network))?);
    Ok(programs)
}

fn compile(arch: TargetArch, errno: u32, rules: &[Value]) -> Outcome<BpfProgram> {
    let text = json!({"only": {"mismatch_action": "allow", "match_action": {"errno": errno}, "filter": rules}}).to_string();
    let mut map = compile_from_json(text.as_bytes(), arch).map_err(|error| unavailable("seccomp", &error.to_string()))?;
    map.remove("only").ok_or_else(|| unavailable("seccomp", "the filter was not compiled"))
}

/// The x32 calls of x86_64 kernels have other numbers under the same architecture and would pass every filter by
/// number: refuse them all.
fn no_x32() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    const ERRNO: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7FFF_0000;
    let step = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    vec![
        // Load the call's number; at or above the bit: refuse; else allow.
        step(0x20, 0, 0, 0),
        step(0x35, 0, 1, X32_BIT),
        step(0x06, 0, 0, ERRNO | EPERM),
        step(0x06, 0, 0, ALLOW),
    ]
}

fn refused_rules(network: &Network) -> Vec<Value> {
    let mut rules: Vec<Value> = REFUSED.iter().map(|name| rule(name, &[])).collect();
    rules.extend(NAMESPACE_FLAGS.iter().map(|flag| rule("clone", &[masked(0, *flag, *flag)])));
    rules.extend(TERMINAL_INPUT.iter().map(|request| rule("ioctl", &[equal(1, *request)])));
    // Another process's limits: pid is not zero and a new limit is given.
    rules.push(rule("prlimit64", &[differs(0, 0), json!({"index": 2, "type": "qword", "op": "ne", "val": 0})]));
    for (call, flags_index) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
        rules.push(rule(call, &[masked(flags_index, MSG_FASTOPEN, MSG_FASTOPEN)]));
    }
    match network {
        Network::None => rules.push(rule("socket", &[])),
        Network::Ports(ports) => rules.extend(socket_rules(ports.contains(&DNS_PORT))),
    }
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
            let programs = filters(&network).unwrap();
            assert!(programs.iter().all(|program| !program.is_empty()));
        }
    }
}
