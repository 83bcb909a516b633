//! Running commands under the kernel's restrictions (GOVERNANCE 7).

use serde::{Deserialize, Serialize};

use crate::failure::Outcome;
use crate::gate::Cleared;
use crate::plans::{CommandPlan, RecipePlan};
use crate::session::Posture;

/// What a finished run left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// None when a signal ended it.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub timed_out: bool,
    pub duration_ms: u64,
    /// Captured output, cut at `limits::OUTPUT_BYTES_MAX` each.
    #[serde(skip)]
    pub stdout: Vec<u8>,
    #[serde(skip)]
    pub stderr: Vec<u8>,
    /// Bytes that were produced beyond the cut.
    pub stdout_cut: u64,
    pub stderr_cut: u64,
    /// Processes of the run that outlived its main process and were ended.
    pub survivors: u32,
    pub posture: Posture,
}

/// The end of what a running command printed: standard output and error in the order they came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recent {
    pub bytes: Vec<u8>,
    /// True when earlier bytes are no longer among them.
    pub cut: bool,
}

/// A command that runs confined.
pub trait RunningCommand: Send + Sync {
    /// Until the command and every process of it are gone; its timeout ends them. Whoever started it calls this once, and
    /// the report is theirs.
    fn finish(&self) -> Outcome<RunReport>;
    /// Orders the end of the whole tree and returns at once.
    fn end(&self);
    fn recent(&self) -> Recent;
    /// Stops every process of it where it stands, and lets it go on.
    fn freeze(&self) -> Outcome<()>;
    fn thaw(&self) -> Outcome<()>;
}

pub trait Sandbox: Send + Sync {
    /// What this machine can enforce; found by a self-test once.
    fn posture(&self) -> Posture;
    /// Finds argv[0] in the sandbox's PATH and hashes it; (absolute path, hash).
    fn resolve(&self, program: &str) -> Outcome<(String, crate::ids::Sha256Hex)>;
    /// Starts a recipe and returns once it runs with every restriction in place. HSK-503-SANDBOX-UNAVAILABLE when the
    /// kernel cannot enforce the profile.
    fn start_recipe(&self, cleared: Cleared<RecipePlan>) -> Outcome<Box<dyn RunningCommand>>;
    /// The same for a command.
    fn start(&self, cleared: Cleared<CommandPlan>) -> Outcome<Box<dyn RunningCommand>>;
    /// Ends whatever a run of this job left when its process was killed; returns when nothing of it is found any more.
    fn end_run(&self, job_id: crate::ids::JobId) -> u32;
}
