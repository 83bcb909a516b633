//! Files an agent reads and writes through DCC: inside its own worktree, no secrets, each write a governed job.

use std::path::{Component, Path, PathBuf};

use serde_json::json;

use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, Outcome, RepoPath, limits, redact};

use super::states::{wait_decided, workspace_of};
use super::Host;
use crate::delivery;

impl Host {
    pub(super) fn read(&self, session: &Session, path: &str, line: Option<u32>, limit: Option<u32>) -> Outcome<String> {
        let workspace = workspace_of(self.cx(), session)?;
        let path = inside(&workspace, path).ok_or_else(|| Failure::new(Code::Scope, format!("{path} is outside the session's worktree")))?;
        if path.usually_holds_secrets() {
            return Err(Failure::new(Code::Scope, format!("{} looks like a secret and is not read for agents", path.display())));
        }
        let bytes = self
            .cx()
            .ports
            .files
            .read(&workspace.binding, &path, limits::AGENT_LINE_BYTES_MAX as u64)?
            .ok_or_else(|| Failure::new(Code::NotFound, format!("no file {}", path.display())))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if line.is_none() && limit.is_none() {
            return Ok(text);
        }
        let skip = line.unwrap_or(1).saturating_sub(1) as usize;
        Ok(text.split_inclusive('\n').skip(skip).take(limit.map_or(usize::MAX, |l| l as usize)).collect())
    }

    pub(super) fn write(&self, session: &Session, path: &str, content: &str) -> Outcome<()> {
        let workspace = workspace_of(self.cx(), session)?;
        let path = inside(&workspace, path).ok_or_else(|| Failure::new(Code::Scope, format!("{path} is outside the session's worktree")))?;
        if delivery::at_boundary(&self.runner, session, "a file that is to be written")? {
            return Err(Failure::new(Code::Canceled, "the operator interrupted the turn"));
        }
        // Before the file is written, not after: what rests changes nothing.
        self.rest_here(session.session_id, || false)?;
        // What waits for a person waits as long as this call, so a secret need not outlive it.
        let (sha256, _held) = if redact::known_in(content).is_none() { (self.cx().ports.artifacts.put(content.as_bytes())?, None) } else {
            let (sha256, held) = self.cx().unkept.hold(content.as_bytes());
            (sha256, Some(held))
        };
        let job = self.request(session, Op::FsWrite, json!({ "path": path, "content_sha256": sha256 }))?;
        let job = if job.state == JobState::AwaitingUser {
            wait_decided(&self.runner, session.session_id, &job, None, || true)?
        } else {
            job
        };
        match (job.state, job.failure) {
            (JobState::Completed, _) => Ok(()),
            (_, Some(failure)) => Err(failure),
            (state, None) => Err(Failure::new(Code::AgentFailed, format!("the write ended as {}", state.as_str()))),
        }
    }
}

/// A path inside the worktree, compared by component; none when it lies elsewhere. Symbolic links are the file engine's
/// to refuse.
pub(super) fn inside(workspace: &Workspace, text: &str) -> Option<RepoPath> {
    let root = workspace.binding.worktree();
    let given = Path::new(text);
    let joined = if given.is_absolute() { given.to_path_buf() } else { root.join(given) };
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir => return None,
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    let relative = clean.strip_prefix(&root).ok()?;
    RepoPath::new(relative.as_os_str().as_encoded_bytes()).ok()
}
