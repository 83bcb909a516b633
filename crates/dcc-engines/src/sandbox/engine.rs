//! The `Sandbox` port: recipes.
//!
//! Authority: ephemeral. Every run has a private directory below the run directory, which is removed with it.
//!
//! On failure: HSK-503-SANDBOX-UNAVAILABLE when the self-test did not see files and network enforced;
//! HSK-409-STALE-PREVIEW when the executable changed since the plan; otherwise the run's own ending is data.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::limits;
use dcc_core::plans::RecipePlan;
use dcc_core::ports::sandbox::{RunReport, Sandbox};
use dcc_core::session::Posture;
use sha2::{Digest as _, Sha256};

use super::posture::{new_private_dir, self_test, unavailable};
use super::spawn::{SandboxedChild, spawn};
use super::spec::{EndReason, Ending, ExitReport, PATH_DEFAULT, Spec, path_of, text_of};

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

    /// For sessions: the command that [`spawn`] takes.
    pub fn host_command(&self) -> &[OsString] {
        &self.host_command
    }

    fn measured(&self) -> &Posture {
        self.posture.get_or_init(|| self_test(&self.host_command, &self.run_dir))
    }

    /// Refuses unless files and network were seen enforced.
    pub fn require_enforced(&self) -> Outcome<&Posture> {
        let posture = self.measured();
        if posture.filesystem && posture.network {
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

    fn run(&self, cleared: Cleared<RecipePlan>) -> Outcome<RunReport> {
        let posture = self.require_enforced()?.clone();
        let plan = cleared.body();
        if hash_file(&path_of(&plan.executable))? != plan.executable_sha256 {
            return Err(Failure::new(Code::StalePreview, format!("{} changed since the run was planned", plan.executable)).hint("ask for the run again"));
        }
        let private = Private(new_private_dir(&self.run_dir, "recipe")?);
        let spec = Spec::for_recipe(plan, &private.0, &run_marker(cleared.job_id()))?;
        let mut posture = posture;
        posture.notes.extend(spec.profile.notes.iter().cloned());
        let started = Instant::now();
        let timeout_ms = if plan.timeout_ms == 0 { limits::RECIPE_TIMEOUT_MS } else { plan.timeout_ms };
        let mut child = spawn(&self.host_command, spec)?;
        let stdout = capture(child.stdout.take());
        let stderr = capture(child.stderr.take());
        let (report, timed_out) = await_end(&child, Duration::from_millis(timeout_ms))?;
        posture.notes.extend(watchdog_note(&report));
        let (stdout, stdout_cut) = finish(stdout);
        let (stderr, stderr_cut) = finish(stderr);
        Ok(RunReport {
            exit_code: report.exit_code,
            signal: report.signal,
            timed_out,
            duration_ms: started.elapsed().as_millis() as u64,
            stdout,
            stderr,
            stdout_cut,
            stderr_cut,
            survivors: report.survivors,
            posture,
        })
    }

    fn end_run(&self, job_id: dcc_core::JobId) -> u32 {
        super::sweep_marker(&run_marker(job_id))
    }
}

/// What a run's processes carry in their environment, so that they can be found when their host is gone.
fn run_marker(job_id: dcc_core::JobId) -> String {
    format!("job-{job_id}")
}

/// A run's directory; goes with it.
struct Private(PathBuf);

impl Drop for Private {
    fn drop(&mut self) {
        // What cannot be removed is only space; the name is never used again.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn await_end(child: &SandboxedChild, timeout: Duration) -> Outcome<(ExitReport, bool)> {
    let in_time = child.wait_timeout(timeout)?;
    let report = if let Some(report) = in_time {
        report
    } else {
        child.end(Ending::Terminate);
        child.wait()?
    };
    let timed_out = in_time.is_none();
    if report.left > 0 {
        return Err(Failure::engine(format!("{} processes of the run could not be ended", report.left)).hint("they hang in the kernel; look for them with ps"));
    }
    Ok((report, timed_out))
}

fn watchdog_note(report: &ExitReport) -> Option<String> {
    match report.ended_by? {
        EndReason::Processes => Some("ended by the watchdog: too many processes".into()),
        EndReason::Disk => Some("ended by the watchdog: the disk is nearly full".into()),
        EndReason::Asked | EndReason::ParentGone => None,
    }
}

type Capture = std::thread::JoinHandle<(Vec<u8>, u64)>;

/// Reads to the end, keeps what fits, counts the rest: a flood costs time, not memory.
fn capture<R: Read + Send + 'static>(pipe: Option<R>) -> Option<Capture> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut cut = 0;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => return (kept, cut),
                Ok(count) => {
                    let room = (limits::OUTPUT_BYTES_MAX - kept.len()).min(count);
                    kept.extend_from_slice(&chunk[..room]);
                    cut += (count - room) as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return (kept, cut),
            }
        }
    }))
}

/// The tree is gone, so the pipe has ended.
fn finish(capture: Option<Capture>) -> (Vec<u8>, u64) {
    capture.and_then(|thread| thread.join().ok()).unwrap_or_default()
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
