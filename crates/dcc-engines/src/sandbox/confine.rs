//! The restrictions a child takes on between fork and exec.
//!
//! Authority: ephemeral. Prepared in the host (which has one thread, so that allocation after the fork is sound) and
//! applied in the child in this order: own session and terminal, namespaces, death with the host, limits, capabilities, no new
//! privileges, Landlock, seccomp. The first that fails ends the child before exec.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use dcc_core::failure::Outcome;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, setrlimit, setsid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;

use super::{filter, mounts};
use super::posture::unavailable;
use super::profile::{Network, Profile, STATE_DIR};
use super::spec::{FILE_BYTES_MAX, Spec, Stdin};

/// All that the crate knows; the kernel takes what it has.
const ABI_WANTED: ABI = ABI::V9;
/// Before it, any file could be emptied.
const ABI_MIN: u32 = 3;
/// Before it, TCP is not governed.
const ABI_NETWORK: u32 = 4;
/// Enough for a parallel build.
const OPEN_FILES_MAX: u64 = 16_384;

/// Processes and threads of the user beyond those at the start: far above the watchdog's limit, so that it only ends what
/// outruns the watchdog, and never what the operator starts beside it.
const USER_TASKS_MORE: u64 = 8_192;

/// Everything ready to be put on; nothing in it can be undone by the child.
pub struct Confinement {
    ruleset: Option<RulesetCreated>,
    filters: Vec<BpfProgram>,
    /// The writable directories and the working directory, when it gets namespaces of its own.
    namespaces: Option<(Vec<PathBuf>, PathBuf)>,
    host: Pid,
    abi_min: u32,
    /// None for root, whom the kernel does not hold to it.
    tasks_max: Option<u64>,
    /// Standard input is a terminal that becomes the child's own.
    terminal: bool,
    /// Layers that cannot be put on are left off.
    waived: bool,
}

/// What went on; the number goes into the posture.
pub struct Confined {
    pub landlock_abi: u32,
}

/// Which layer could not be put on.
pub struct Refusal {
    pub layer: &'static str,
    pub error: String,
}

impl Confinement {
    pub fn prepare(spec: &Spec) -> Outcome<Self> {
        let profile = &spec.profile;
        let abi_min = if profile.network == Network::None { ABI_MIN } else { ABI_NETWORK };
        let tasks_max = (!rustix::process::getuid().is_root()).then(|| tasks_of_user() + USER_TASKS_MORE);
        let (ruleset, filters) = match (ruleset(profile), filter::filters(&profile.network, profile.listen.is_some(), spec.namespaces)) {
            (ruleset, filters) if spec.waived => (ruleset.ok(), filters.unwrap_or_default()),
            (ruleset, filters) => (Some(ruleset?), filters?),
        };
        Ok(Self {
            ruleset,
            filters,
            namespaces: spec.namespaces.then(|| (profile.writable.clone(), spec.cwd.clone())),
            host: rustix::process::getpid(),
            abi_min,
            tasks_max,
            terminal: spec.stdin == Stdin::Terminal,
            waived: spec.waived,
        })
    }

    /// In the child.
    pub fn apply(&mut self) -> Result<Confined, Refusal> {
        let step = |layer: &'static str| move |error: rustix::io::Errno| Refusal { layer, error: io::Error::from(error).to_string() };
        setsid().map_err(step("session"))?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).map_err(step("terminal"))?;
        }
        if let Some((writable, cwd)) = &self.namespaces {
            mounts::enter(writable, cwd).map_err(|error| Refusal { layer: "namespaces", error: error.to_string() })?;
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("death signal"))?;
        // The host may have ended before the line above; then nobody would tell us.
        if getppid() != Some(self.host) {
            return Err(Refusal { layer: "death signal", error: "the host is gone".into() });
        }
        limits(self.tasks_max).map_err(step("limits"))?;
        drop_capabilities().map_err(step("capabilities"))?;
        rustix::thread::set_no_new_privs(true).map_err(step("no new privileges"))?;
        let landlock_abi = match self.restrict_paths() {
            Err(_) if self.waived => 0,
            other => other?,
        };
        for program in &self.filters {
            match seccompiler::apply_filter(program) {
                Err(error) if !self.waived => return Err(Refusal { layer: "seccomp", error: error.to_string() }),
                _ => {}
            }
        }
        Ok(Confined { landlock_abi })
    }

    fn restrict_paths(&mut self) -> Result<u32, Refusal> {
        let refusal = |error: String| Refusal { layer: "landlock", error };
        let ruleset = self.ruleset.take().ok_or_else(|| refusal("already applied".into()))?;
        let status = ruleset.restrict_self().map_err(|error| refusal(error.to_string()))?;
        let abi = match status.landlock {
            LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
            LandlockStatus::NotEnabled => return Err(refusal("the kernel has Landlock but it is not enabled (boot parameter lsm=)".into())),
            LandlockStatus::NotImplemented => return Err(refusal("the kernel has no Landlock".into())),
        };
        if abi < self.abi_min {
            return Err(refusal(format!("the kernel's Landlock ABI is {abi}; this profile needs {}", self.abi_min)));
        }
        Ok(abi)
    }
}

/// Processes and threads that the user has now, which is what the kernel counts.
fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::getuid().as_raw();
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let own = processes.filter_map(Result::ok).filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user));
    own.filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok()).map(|tasks| tasks.count() as u64).sum()
}

fn limits(tasks_max: Option<u64>) -> rustix::io::Result<()> {
    let at_most = |resource: Resource, value: u64| {
        let maximum = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })
    };
    if let Some(tasks_max) = tasks_max {
        at_most(Resource::Nproc, tasks_max)?;
    }
    at_most(Resource::Core, 0)?;
    at_most(Resource::Nofile, OPEN_FILES_MAX)?;
    at_most(Resource::Fsize, FILE_BYTES_MAX)
}

/// None is kept, also by a root that runs DCC: it owns its files like any user. A program that is executed finds none to
/// take on again.
fn drop_capabilities() -> rustix::io::Result<()> {
    if rustix::thread::capabilities(None)?.permitted.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter() {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // A capability that this kernel does not know.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn ruleset(profile: &Profile) -> Outcome<RulesetCreated> {
    let fail = |error: &dyn std::fmt::Display| unavailable("landlock", &error.to_string());
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_WANTED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI_WANTED)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI_WANTED)))
        .and_then(landlock::Ruleset::create)
        .map_err(|error| fail(&error))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(ABI_WANTED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::IoctlDev | AccessFs::ResolveUnix);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let optional: [(&[std::path::PathBuf], BitFlags<AccessFs>); 3] =
        [(&profile.executable, read | AccessFs::Execute), (&profile.readable, read), (&profile.devices, device)];
    for (paths, access) in optional {
        for path in paths {
            // What cannot be opened cannot be granted; the command will see it missing or refused.
            if let Ok(rule) = open_real(path).and_then(|file| rule(file, access)) {
                ruleset = ruleset.add_rule(rule).map_err(|error| fail(&error))?;
            }
        }
    }
    let named = |path: &Path, error: io::Error| unavailable("landlock", &format!("{}: {error}", path.display()));
    for path in &profile.writable {
        let rule = open_real(path).and_then(|file| rule(file, write)).map_err(|error| named(path, error))?;
        ruleset = ruleset.add_rule(rule).map_err(|error| fail(&error))?;
    }
    for path in &profile.exposed {
        let root = open_real(path).map_err(|error| named(path, error))?;
        for entry in entries(&root).map_err(|error| named(path, error))? {
            ruleset = rule(entry, read | AccessFs::Execute).map_err(|error| named(path, error)).and_then(|rule| ruleset.add_rule(rule).map_err(|error| fail(&error)))?;
        }
        ruleset = rule(root, AccessFs::ReadDir.into()).map_err(|error| named(path, error)).and_then(|rule| ruleset.add_rule(rule).map_err(|error| fail(&error)))?;
    }
    if let Network::Ports(ports) = &profile.network {
        for port in ports {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(|error| fail(&error))?;
        }
    }
    if let Some(port) = profile.listen {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::BindTcp)).map_err(|error| fail(&error))?;
    }
    Ok(ruleset)
}

/// The very object at this path: a link on the way means that somebody put another place there.
pub fn open_real(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// What lies in a directory, but for the project's state and links. Each is opened where it is looked at, so that it
/// cannot become another in between.
fn entries(root: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let listing = rustix::fs::openat(root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(listing)? {
        let entry = entry?;
        let name = entry.file_name();
        if [b".".as_slice(), b"..", STATE_DIR.as_bytes()].contains(&name.to_bytes()) {
            continue;
        }
        match rustix::fs::openat(root, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_symlink() => found.push(file),
            // A link, or gone meanwhile.
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Rights that mean nothing for a plain file are left out for one.
fn rule(file: OwnedFd, access: BitFlags<AccessFs>) -> io::Result<PathBeneath<OwnedFd>> {
    let kind = rustix::fs::fstat(file.as_fd())?;
    let is_directory = rustix::fs::FileType::from_raw_mode(kind.st_mode).is_dir();
    let for_files = AccessFs::Execute | AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    Ok(PathBeneath::new(file, if is_directory { access } else { access & for_files }))
}
