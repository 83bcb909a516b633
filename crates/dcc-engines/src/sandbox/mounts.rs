//! Namespaces of the command's own: nothing of the machine's file systems can be changed but what the profile opens.
//!
//! Authority: ephemeral. Entered in the child, between fork and exec, before Landlock, which from then on refuses every
//! change of the mounts; the host stays where it was. They go with the last process of the run.
//!
//! Why: Landlock governs contents and names, but neither owner, mode, times nor extended attributes. On a read-only mount
//! the kernel refuses them all, and root too. The namespace of System V and POSIX queues keeps shared memory apart.
//!
//! On failure: the layer "namespaces" refuses; whether a machine has it is found out by the self-test, never at a run.

#![allow(unsafe_code, reason = "three system calls for mounts, and leaving a namespace, which is unsafe for the threads that this process does not have")]

use std::ffi::{CStr, c_long};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::thread::{CapabilitySet, UnshareFlags};

use super::confine::open_real;

/// The numbers are the same on every architecture.
const OPEN_TREE: c_long = 428;
const MOVE_MOUNT: c_long = 429;
const MOUNT_SETATTR: c_long = 442;

const AT_FDCWD: c_long = -100;
const AT_EMPTY_PATH: c_long = 0x1000;
const AT_RECURSIVE: c_long = 0x8000;
const OPEN_TREE_CLONE: c_long = 1;
const OPEN_TREE_CLOEXEC: c_long = 0o2_000_000;
/// Both ends are named by their descriptors alone.
const MOVE_BY_DESCRIPTORS: c_long = 0x44;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MS_PRIVATE: u64 = 1 << 18;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Everything read-only but these directories; `cwd` is entered anew, since the old one lies beneath.
pub fn enter(writable: &[PathBuf], cwd: &Path) -> io::Result<()> {
    unshare()?;
    // What is mounted outside later stays outside: it would come in writable.
    change_all(&MountAttributes { set: 0, clear: 0, propagation: MS_PRIVATE, user_namespace: 0 })?;
    let places: Vec<OwnedFd> = writable.iter().map(|path| open_real(path)).collect::<io::Result<_>>()?;
    let copies: Vec<OwnedFd> = places.iter().map(copy).collect::<io::Result<_>>()?;
    change_all(&MountAttributes { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 })?;
    for (copy, place) in copies.iter().zip(&places) {
        put(copy, place)?;
    }
    rustix::process::chdir(cwd).map_err(io::Error::from)
}

/// Who may not make a mount namespace may make one in a user namespace, where this one user and group keep their numbers.
fn unshare() -> io::Result<()> {
    let mounts = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    if rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SYS_ADMIN) {
        // SAFETY: this process has one thread and no descriptor whose meaning a namespace changes.
        return unsafe { rustix::thread::unshare_unsafe(mounts) }.map_err(io::Error::from);
    }
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    // SAFETY: as above.
    unsafe { rustix::thread::unshare_unsafe(mounts | UnshareFlags::NEWUSER) }?;
    let (user, group) = (user.as_raw(), group.as_raw());
    tell("/proc/self/setgroups", "deny")?;
    tell("/proc/self/uid_map", &format!("{user} {user} 1"))?;
    tell("/proc/self/gid_map", &format!("{group} {group} 1"))
}

/// Says something to the kernel.
fn tell(file: &str, words: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(file)?.write_all(words.as_bytes())
}

/// Every mount of the namespace.
fn change_all(attributes: &MountAttributes) -> io::Result<()> {
    let root: &CStr = c"/";
    call(MOUNT_SETATTR, [AT_FDCWD, root.as_ptr() as c_long, AT_RECURSIVE, std::ptr::from_ref(attributes) as c_long, size_of::<MountAttributes>() as c_long]).map(drop)
}

/// A mount of this directory, with what is mounted below, that lies nowhere yet.
fn copy(place: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
    let number = call(OPEN_TREE, [c_long::from(place.as_raw_fd()), c"".as_ptr() as c_long, flags, 0, 0])?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

fn put(copy: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let empty = c"".as_ptr() as c_long;
    call(MOVE_MOUNT, [c_long::from(copy.as_raw_fd()), empty, c_long::from(place.as_raw_fd()), empty, MOVE_BY_DESCRIPTORS]).map(drop)
}

fn call(number: c_long, arguments: [c_long; 5]) -> io::Result<c_long> {
    // SAFETY: numbers, and pointers to values that live through the call.
    let result = unsafe { syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
