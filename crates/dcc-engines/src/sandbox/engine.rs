//! The `Sandbox` port: recipes and commands.
//!
//! Authority: ephemeral. Every run has a private directory below the run directory, which is removed with it.
//!
//! On failure: HSK-503-SANDBOX-UNAVAILABLE when the self-test did not see files and network enforced;
//! HSK-409-STALE-PREVIEW when the executable changed since the plan; otherwise the run's own ending is data.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::limits;
use dcc_core::plans::{CommandPlan, RecipePlan};
use dcc_core::ports::sandbox::{RunningCommand, Sandbox};
use dcc_core::session::Posture;
use sha2::{Digest as _, Sha256};

use super::posture::{self_test, unavailable};
use super::run::{Private, Run};
use super::spawn::{SandboxedChild, spawn, spawn_on};
use super::spec::{PATH_DEFAULT, Spec, path_of, text_of};

/// Landlock and seccomp through the re-executed host.
#[derive(Debug)]
pub struct LandlockSandbox {
    host_command: Vec<OsString>,
    run_dir: PathBuf,
    posture: OnceLock<Posture>,
}

impl LandlockSandbox {
    /// `host_command` starts [`super::host_main`] (the program and its hidden subcommand); `run_dir` holds the private
    /// directories of runs and is made when missing.
    pub fn new(host_command: Vec<OsString>, run_dir: PathBuf) -> Self {
        Self { host_command, run_dir, posture: OnceLock::new() }
    }

    /// One that believes this of its machine, whatever a self-test would see: to try what happens then.
    #[cfg(debug_assertions)]
    pub fn believing(posture: Posture, host_command: Vec<OsString>, run_dir: PathBuf) -> Self {
        Self { host_command, run_dir, posture: OnceLock::from(posture) }
    }

    /// Starts a command with the layers that the self-test saw on this machine, or not at all.
    pub fn spawn(&self, spec: Spec) -> Outcome<SandboxedChild> {
        spawn(&self.host_command, self.fitted(spec)?)
    }

    /// As [`LandlockSandbox::spawn`], on a terminal whose other end somebody else holds.
    pub fn spawn_on(&self, spec: Spec, theirs: OwnedFd) -> Outcome<SandboxedChild> {
        spawn_on(&self.host_command, self.fitted(spec)?, theirs)
    }

    fn fitted(&self, mut spec: Spec) -> Outcome<Spec> {
        let posture = if spec.waived { self.measured() } else { self.require_enforced()? };
        spec.namespaces = posture.metadata;
        Ok(spec)
    }

    fn measured(&self) -> &Posture {
        self.posture.get_or_init(|| self_test(&self.host_command, &self.run_dir))
    }

    fn begin(&self, spec: Spec, private: Private, mut posture: Posture, timeout_ms: u64, kept_max: u64) -> Outcome<Run> {
        posture.notes.extend(spec.profile.notes.iter().cloned());
        let child = self.spawn(spec)?;
        Ok(Run::new(child, private, posture, Duration::from_millis(timeout_ms), kept_max))
    }

    /// What can be promised of an agent that runs under a waiver: nothing.
    pub fn waived_posture(&self) -> Posture {
        let mut notes = vec!["unenforced: no sandbox can be had here and a person waived it; what the kernel can restrict is put on, and nothing of it is promised".to_owned()];
        notes.extend(self.measured().notes.iter().cloned());
        Posture { layers: vec!["none".into()], notes, ..Posture::default() }
    }

    /// Refuses unless what confines an agent was seen enforced.
    pub fn require_enforced(&self) -> Outcome<&Posture> {
        let posture = self.measured();
        if posture.confines_agents() {
            return Ok(posture);
        }
        let why = posture.notes.first().map_or("the self-test did not see it enforced", String::as_str);
        Err(unavailable("self-test", why))
    }
}

impl Sandbox for LandlockSandbox {
    fn posture(&self) -> Posture {
        self.measured().clone()
    }

    fn resolve(&self, program: &str) -> Outcome<(String, Sha256Hex)> {
        let path = find(program)?;
        let hash = hash_file(&path)?;
        Ok((text_of(&path), hash))
    }

    fn start_recipe(&self, cleared: Cleared<RecipePlan>) -> Outcome<Box<dyn RunningCommand>> {
        let posture = self.require_enforced()?.clone();
        let plan = cleared.body();
        require_unchanged(&plan.executable, plan.executable_sha256)?;
        let private = Private::make(&self.run_dir, "recipe")?;
        let spec = Spec::for_recipe(plan, &private.tmp(), &run_marker(cleared.job_id()))?;
        let timeout_ms = if plan.timeout_ms == 0 { limits::RECIPE_TIMEOUT_MS } else { plan.timeout_ms };
        Ok(Box::new(self.begin(spec, private, posture, timeout_ms, limits::OUTPUT_BYTES_MAX as u64)?))
    }

    fn start(&self, cleared: Cleared<CommandPlan>) -> Outcome<Box<dyn RunningCommand>> {
        let posture = self.require_enforced()?.clone();
        let plan = cleared.body();
        require_unchanged(&plan.executable, plan.executable_sha256)?;
        let private = Private::make(&self.run_dir, "command")?;
        let spec = Spec::for_command(plan, &private.tmp(), &run_marker(cleared.job_id()))?;
        let kept_max = plan.output_bytes_max.min(limits::OUTPUT_BYTES_MAX as u64);
        Ok(Box::new(self.begin(spec, private, posture, plan.timeout_ms, kept_max)?))
    }

    fn end_run(&self, job_id: dcc_core::JobId) -> u32 {
        super::sweep_marker(&run_marker(job_id))
    }
}

/// What the processes of a job carry in their environment, so that they can be found when their host is gone.
pub fn run_marker(job_id: dcc_core::JobId) -> String {
    format!("job-{job_id}")
}

fn require_unchanged(executable: &str, sha256: Sha256Hex) -> Outcome<()> {
    if hash_file(&path_of(executable))? == sha256 {
        return Ok(());
    }
    Err(Failure::new(Code::StalePreview, format!("{executable} changed since the run was planned")).hint("ask for the run again"))
}

/// The real file behind a program name: absolute as given, else in the operator's PATH and then the system's, absolute
/// directories only.
fn find(program: &str) -> Outcome<PathBuf> {
    if program.is_empty() || (program.contains('/') && !program.starts_with('/')) {
        return Err(Failure::invalid(format!("{program:?} is neither a program name nor an absolute path")));
    }
    let missing = || {
        Failure::new(Code::NotFound, format!("no program {program} that can be executed")).hint("install it, or give its absolute path in the configuration")
    };
    if program.starts_with('/') {
        return executable_file(Path::new(program)).ok_or_else(missing);
    }
    let operator = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&operator).chain(std::env::split_paths(PATH_DEFAULT));
    directories.filter(|directory| directory.is_absolute()).find_map(|directory| executable_file(&directory.join(program))).ok_or_else(missing)
}

fn executable_file(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let real = std::fs::canonicalize(path).ok()?;
    let metadata = std::fs::metadata(&real).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(real)
}

fn hash_file(path: &Path) -> Outcome<Sha256Hex> {
    let fail = |error: std::io::Error| Failure::new(Code::NotFound, format!("cannot read {}: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut chunk).map_err(fail)? {
            0 => return Ok(Sha256Hex(hasher.finalize().into())),
            count => hasher.update(&chunk[..count]),
        }
    }
}
