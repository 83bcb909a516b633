//! What a sandboxed command may touch: an allow list, everything else is refused by the kernel.
//!
//! Authority: derived, from a plan.
//!
//! Invariants: the repository's shared git directory is never writable; the main worktree is never writable; a
//! directory that holds the operator's home, the project's state or the repository is never granted as a whole.
//! Known limit: Landlock cannot except a file inside a writable tree, so the worktree's own `.git` file can be changed
//! from inside. Nothing trusts it; the metadata it points to lies in the shared git directory.
//!
//! On failure: HSK-403-SCOPE for a worktree that must not be given away, SBOX_POLICY_DENIED for a path that would.

use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ports::sessions::Driver;
use dcc_core::plans::{CommandPlan, LoginPlan, RecipePlan, SessionStartPlan};
use serde::{Deserialize, Serialize};

use super::install;
use super::spec::{escaped, escaped_list, path_of};

/// The project's state directory, at the root of the main worktree.
pub const STATE_DIR: &str = ".handshake";

/// Read and execute.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
];

/// Read only: what programs need to know of the machine, and no secret among it.
const SYSTEM_FACTS: &[&str] = &[
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/java",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/lsb-release",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/perl",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/profile",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/zsh",
    "/etc/static/ssl/certs",
    // Landlock refuses what needs the right to trace (environ, mem, fd of processes outside).
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];

const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What of the network is reachable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// No socket of any family can be made; a pair of connected ones can.
    None,
    /// TCP connections to these ports of any host; names resolve (UDP) only when 53 is among them. Nothing listens but on the profile's own port.
    Ports(Vec<u16>),
}

impl Network {
    /// Beside what is reachable already.
    fn also(&mut self, port: Option<u16>) {
        if *self == Self::None {
            *self = Self::Ports(Vec::new());
        }
        if let (Self::Ports(ports), Some(port)) = (self, port)
            && !ports.contains(&port)
        {
            ports.push(port);
        }
    }
}

/// The allow list. Directories mean everything below them. Paths are real ones: the host opens each without following
/// any link, so that nobody who can write there turns a granted path into another place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// Read, write, execute.
    #[serde(with = "escaped_list")]
    pub writable: Vec<PathBuf>,
    /// Read and execute.
    #[serde(with = "escaped_list")]
    pub executable: Vec<PathBuf>,
    /// Read.
    #[serde(with = "escaped_list")]
    pub readable: Vec<PathBuf>,
    /// Directories whose entries can be read and executed one by one: names of all, neither the project's state nor what a
    /// link leads to. The host looks at the entries, since what it grants must be what it looked at.
    #[serde(with = "escaped_list")]
    pub exposed: Vec<PathBuf>,
    /// Device files: read, write, ioctl.
    #[serde(with = "escaped_list")]
    pub devices: Vec<PathBuf>,
    pub network: Network,
    /// The one TCP port that may be listened on, on any address of the machine; Landlock knows no addresses.
    #[serde(default)]
    pub listen: Option<u16>,
    /// Private to this run, and writable.
    #[serde(with = "escaped")]
    pub tmp: PathBuf,
    /// HOME inside.
    #[serde(with = "escaped")]
    pub home: PathBuf,
    /// What this profile does not give although it was asked for, in words.
    pub notes: Vec<String>,
}

/// Where the repository lies, for the checks both kinds of profile share.
struct Place {
    worktree: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
}

impl Place {
    fn new(cwd: &str, git_dir: &str, common_dir: &str) -> Outcome<Self> {
        Ok(Self { worktree: require_real(cwd)?, git_dir: require_real(git_dir)?, common_dir: require_real(common_dir)? })
    }
    /// The main worktree, when the shared git directory is its `.git`.
    fn main_worktree(&self) -> Option<&Path> {
        (self.common_dir.file_name()? == ".git").then(|| self.common_dir.parent()).flatten()
    }
    /// True for the main worktree itself and for anything that would make git's own files writable.
    fn holds_git(&self) -> bool {
        self.git_dir.starts_with(&self.worktree) || self.common_dir.starts_with(&self.worktree) || self.worktree.starts_with(&self.common_dir)
    }
    /// HSK-403-SCOPE for a worktree that an agent, or a command of its, must not have.
    fn require_agents_own(&self) -> Outcome<()> {
        let inside = self.main_worktree().is_some_and(|main| self.worktree.starts_with(main));
        if self.holds_git() || inside {
            return Err(Failure::new(
                Code::Scope,
                format!("an agent cannot run in {}: it is the repository's main worktree or lies inside it", self.worktree.display()),
            )
            .hint("create a worktree for the packet (workspace.create) and start the agent there"));
        }
        Ok(())
    }
    /// Directories that no grant may contain or lie in: the project's state and the operator's keys.
    fn secret(&self) -> Vec<PathBuf> {
        let mut secret: Vec<PathBuf> = self.main_worktree().map(|main| main.join(STATE_DIR)).into_iter().collect();
        secret.extend(install::operator_secrets());
        secret
    }
    /// Directories that no grant may contain.
    fn guarded(&self) -> Vec<PathBuf> {
        let mut guarded = self.secret();
        guarded.extend([self.common_dir.clone(), self.worktree.clone()]);
        guarded.extend(install::operator_home());
        guarded
    }
}

impl Profile {
    /// For a command word for word: that of its session, or of a worktree as a recipe has it; never a network.
    pub fn for_command(plan: &CommandPlan, tmp: &Path) -> Outcome<Self> {
        let place = Place::new(&plan.worktree, &plan.git_dir, &plan.common_dir)?;
        let cwd = require_real(&plan.cwd)?;
        if !cwd.starts_with(&place.worktree) {
            return Err(Failure::new(Code::Scope, format!("the command's directory {} is not in the worktree", cwd.display())));
        }
        let Some(session) = &plan.place else {
            let mut profile = Self::system(tmp, tmp);
            profile.open_worktree(&place, plan.writes);
            profile.finish(&place, &path_of(&plan.executable), &[])?;
            return Ok(profile);
        };
        place.require_agents_own()?;
        let (home, tmp) = (require_real(&session.home)?, require_real(&session.tmp)?);
        let mut profile = Self::system(&tmp, &home);
        profile.writable.extend([place.worktree.clone(), home]);
        // Not the command's own program: a name must not open what the session does not have.
        profile.finish(&place, &path_of(&session.program), &session.read_paths)?;
        Ok(profile)
    }

    /// For a recipe: no network; the worktree is writable when the plan says so and it is not the main worktree.
    pub fn for_recipe(plan: &RecipePlan, tmp: &Path) -> Outcome<Self> {
        let place = Place::new(&plan.cwd, &plan.git_dir, &plan.common_dir)?;
        let mut profile = Self::system(tmp, tmp);
        profile.open_worktree(&place, plan.writes);
        profile.finish(&place, &path_of(&plan.executable), &plan.read_paths)?;
        Ok(profile)
    }

    /// For an agent: its worktree, its home and `tmp` are writable. `home` is the agent's home that DCC owns.
    pub fn for_agent(plan: &SessionStartPlan, tmp: &Path, home: &Path) -> Outcome<Self> {
        let place = Place::new(&plan.cwd, &plan.git_dir, &plan.common_dir)?;
        place.require_agents_own()?;
        let mut profile = Self::system(tmp, home);
        profile.writable.push(place.worktree.clone());
        profile.writable.push(real(home));
        if plan.driver == Driver::Pty {
            // Always the opener's own terminal, whoever opens it.
            profile.devices.push("/dev/tty".into());
        }
        if !plan.connect_ports.is_empty() {
            profile.network = Network::Ports(plan.connect_ports.clone());
        }
        profile.finish(&place, &path_of(&plan.executable), &plan.read_paths)?;
        Ok(profile)
    }

    /// For an agent's own login: its home and nothing of any repository.
    pub fn for_login(plan: &LoginPlan, tmp: &Path, home: &Path) -> Outcome<Self> {
        let mut profile = Self::system(tmp, home);
        profile.writable.push(real(home));
        // Always the opener's own terminal, whoever opens it.
        profile.devices.push("/dev/tty".into());
        if !plan.connect_ports.is_empty() {
            profile.network = Network::Ports(plan.connect_ports.clone());
        }
        let secret = install::operator_secrets();
        let guarded: Vec<PathBuf> = secret.iter().cloned().chain(install::operator_home()).collect();
        profile.open_program(&path_of(&plan.executable), &guarded, &secret)?;
        profile.add_read_paths(&plan.read_paths, &guarded, &secret)?;
        Ok(profile)
    }

    /// Opens one port to listen on; with `reach` it can be connected to from inside as well.
    pub fn listen_on(&mut self, port: u16, reach: bool) {
        self.listen = Some(port);
        self.network.also(reach.then_some(port));
        self.notes.push(format!("may listen on TCP port {port}; neither the address nor a listener that takes any free port can be held back then"));
    }

    /// What every profile has: the system to read, a private directory to write, no network.
    pub fn system(tmp: &Path, home: &Path) -> Self {
        let list = |paths: &[&str]| {
            let mut real: Vec<PathBuf> = paths.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
            real.sort();
            real.dedup();
            real
        };
        Self {
            writable: vec![real(tmp)],
            executable: list(SYSTEM),
            readable: list(SYSTEM_FACTS),
            exposed: Vec::new(),
            devices: list(DEVICES),
            network: Network::None,
            listen: None,
            tmp: tmp.to_path_buf(),
            home: home.to_path_buf(),
            notes: Vec::new(),
        }
    }

    /// Grants a program's file and the directory tree it was installed in, unless that tree holds a guarded directory.
    fn open_program(&mut self, program: &Path, guarded: &[PathBuf], secret: &[PathBuf]) -> Outcome<()> {
        if self.holds(program) {
            return Ok(());
        }
        let file = real(program);
        if let Some(secret) = secret.iter().find(|secret| file.starts_with(secret)) {
            return Err(Failure::new(Code::SboxPolicyDenied, format!("the program {} lies in {}, which stays closed", file.display(), secret.display())));
        }
        self.executable.extend(install::tree(program, guarded));
        Ok(())
    }

    /// True for a program in a place that is open anyhow. It opens nothing beyond: whoever writes there chooses where a
    /// link at its name leads.
    fn holds(&self, program: &Path) -> bool {
        let open = |place: &Path| self.writable.iter().chain(&self.exposed).any(|root| place.starts_with(root));
        program.ancestors().skip(1).any(|above| open(&real(above)))
    }

    /// The worktree, writable when that is wanted and possible.
    fn open_worktree(&mut self, place: &Place, writes: bool) {
        if writes && !place.holds_git() {
            self.writable.push(place.worktree.clone());
            return;
        }
        if writes {
            self.notes.push("the main worktree is read-only to recipes: run it in a worktree of its own to let it write".into());
        }
        self.exposed.push(place.worktree.clone());
    }

    fn finish(&mut self, place: &Place, executable: &Path, read_paths: &[String]) -> Outcome<()> {
        let guarded = place.guarded();
        self.open_program(executable, &guarded, &place.secret())?;
        self.readable.push(place.common_dir.clone());
        if !place.git_dir.starts_with(&place.common_dir) && !place.git_dir.starts_with(&place.worktree) {
            return Err(Failure::new(Code::VcsRepoInvalid, "the worktree's git directory is not part of its repository"));
        }
        self.readable.extend(alternates(&place.common_dir));
        self.add_read_paths(read_paths, &guarded, &place.secret())
    }

    fn add_read_paths(&mut self, read_paths: &[String], guarded: &[PathBuf], secret: &[PathBuf]) -> Outcome<()> {
        for text in read_paths {
            let Ok(path) = std::fs::canonicalize(text) else {
                self.notes.push(format!("read path {text} does not exist"));
                continue;
            };
            if let Some(inside) = guarded.iter().find(|inside| inside.starts_with(&path)) {
                return Err(Failure::new(Code::SboxPolicyDenied, format!("the read path {text} contains {}", inside.display()))
                    .hint("list the narrower directories that the command needs"));
            }
            if let Some(secret) = secret.iter().find(|secret| path.starts_with(secret)) {
                return Err(Failure::new(Code::SboxPolicyDenied, format!("the read path {text} lies in {}, which stays closed", secret.display())));
            }
            self.executable.push(path);
        }
        Ok(())
    }
}

/// A path that is missing stays as it is, and the host refuses it.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn require_real(text: &str) -> Outcome<PathBuf> {
    let path = path_of(text);
    std::fs::canonicalize(&path).map_err(|error| Failure::new(Code::Scope, format!("{}: {error}", path.display())))
}

/// Object directories that the repository borrows from. Only what looks like one is taken, because the file may come
/// with a foreign repository and every line is a grant.
fn alternates(common_dir: &Path) -> Vec<PathBuf> {
    const DEPTH_MAX: usize = 5;
    let mut found: Vec<PathBuf> = Vec::new();
    let mut open = vec![(common_dir.join("objects"), 0)];
    while let Some((objects, depth)) = open.pop() {
        let Ok(text) = std::fs::read_to_string(objects.join("info/alternates")) else { continue };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).take(100) {
            let Ok(path) = std::fs::canonicalize(objects.join(line)) else { continue };
            let looks_right = path.file_name().is_some_and(|name| name == "objects") && path.join("pack").is_dir();
            if looks_right && depth < DEPTH_MAX && !found.contains(&path) {
                open.push((path.clone(), depth + 1));
                found.push(path);
            }
        }
    }
    found
}
