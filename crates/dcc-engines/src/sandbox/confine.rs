//! The restrictions a child takes on between fork and exec.
//!
//! Authority: ephemeral. Prepared in the host (which has one thread, so that allocation after the fork is sound) and
//! applied in the child in this order: own session and terminal, death with the host, limits, capabilities, no new privileges,
//! Landlock, seccomp. The first that fails ends the child before exec.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use dcc_core::failure::Outcome;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, setrlimit, setsid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;

use super::filter;
use super::posture::unavailable;
use super::profile::{Network, Profile};
use super::spec::FILE_BYTES_MAX;

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
    pub fn prepare(profile: &Profile, terminal: bool, waived: bool) -> Outcome<Self> {
        let abi_min = if profile.network == Network::None { ABI_MIN } else { ABI_NETWORK };
        let tasks_max = (!rustix::process::getuid().is_root()).then(|| tasks_of_user() + USER_TASKS_MORE);
        let (ruleset, filters) = match (ruleset(profile), filter::filters(&profile.network)) {
            (ruleset, filters) if waived => (ruleset.ok(), filters.unwrap_or_default()),
            (ruleset, filters) => (Some(ruleset?), filters?),
        };
        Ok(Self { ruleset, filters, host: rustix::process::getpid(), abi_min, tasks_max, terminal, waived })
    }

    /// In the child.
    pub fn apply(&mut self) -> Result<Confined, Refusal> {
        let step = |layer: &'static str| move |error: rustix::io::Errno| Refusal { layer, error: io::Error::from(error).to_string() };
        setsid().map_err(step("session"))?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).map_err(step("terminal"))?;
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

/// A root that runs DCC keeps what file ownership needs; Landlock governs which files.
fn drop_capabilities() -> rustix::io::Result<()> {
    let kept = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::FSETID | CapabilitySet::KILL;
    let now = rustix::thread::capabilities(None)?;
    if now.permitted.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter().filter(|capability| !kept.contains(*capability)) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // A capability that this kernel does not know.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let left = now.permitted & kept;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() })
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
    let optional: [(&[std::path::PathBuf], BitFlags<AccessFs>); 4] = [
        (&profile.executable, read | AccessFs::Execute),
        (&profile.readable, read),
        (&profile.listable, AccessFs::ReadDir.into()),
        (&profile.devices, device),
    ];
    for (paths, access) in optional {
        for path in paths {
            // What cannot be opened cannot be granted; the command will see it missing or refused.
            if let Ok(rule) = rule(path, access) {
                ruleset = ruleset.add_rule(rule).map_err(|error| fail(&error))?;
            }
        }
    }
    for path in &profile.writable {
        let rule = rule(path, write).map_err(|error| unavailable("landlock", &format!("{}: {error}", path.display())))?;
        ruleset = ruleset.add_rule(rule).map_err(|error| fail(&error))?;
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

/// Rights that mean nothing for a plain file are left out for one.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, String> {
    let file = PathFd::new(path).map_err(|error| error.to_string())?;
    let kind = rustix::fs::fstat(file.as_fd()).map_err(|error| error.to_string())?;
    let is_directory = rustix::fs::FileType::from_raw_mode(kind.st_mode).is_dir();
    let for_files = AccessFs::Execute | AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    Ok(PathBeneath::new(file, if is_directory { access } else { access & for_files }))
}
