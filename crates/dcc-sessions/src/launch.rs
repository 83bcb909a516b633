//! The seam between the protocol and the process: who starts an agent and who ends its whole tree.
//!
//! Authority: ephemeral. Invariant: `kill_tree` returns only when no process of the tree is left, or says how it failed.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::SessionId;
use dcc_core::plans::{LoginPlan, SessionStartPlan};
use dcc_core::ports::sessions::{LoginReport, SessionPlace, StartExtras};
use dcc_core::session::{Posture, ProcessIdentity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How the main process of an agent ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgentExit {
    /// None when a signal ended it or the status was lost.
    pub exit_code: Option<i32>,
}

/// A running agent.
pub trait AgentProcess: Send + Sync {
    fn identity(&self) -> ProcessIdentity;
    fn posture(&self) -> Posture;
    /// Blocks until the main process is gone. Called by one thread, once.
    fn wait(&self) -> AgentExit;
    /// Ends the main process and everything it started: end of input, TERM, KILL. Returns when the tree is empty; may be
    /// called more than once and after the main process has gone. A frozen tree is thawed first.
    fn kill_tree(&self) -> Outcome<()>;
    /// Stops every process of the tree where it stands; returns when none of them runs.
    fn freeze(&self) -> Outcome<()>;
    /// Lets a stopped tree go on; does nothing to one that runs.
    fn thaw(&self) -> Outcome<()>;
    /// Tells a command in a terminal the size it is looked at in.
    fn resize(&self, _rows: u16, _columns: u16) -> Outcome<()> {
        Err(Failure::new(Code::IllegalTransition, "the agent has no terminal"))
    }
    /// Where it lives, for commands that run beside it in the same profile; none when it is not confined.
    fn place(&self) -> Option<SessionPlace>;
}

/// What an agent says, and whether it says more within a time.
pub trait Output: Read + Send {
    /// True when something can be read, the end included, before the time is over.
    fn says_more_within(&self, wait: Duration) -> bool;
}

impl<T: Read + Send + AsFd> Output for T {
    fn says_more_within(&self, wait: Duration) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        // What cannot be waited for is read at once.
        let Ok(wait) = Timespec::try_from(wait) else { return true };
        poll(&mut fds, Some(&wait)) != Ok(0)
    }
}

/// An agent just started, with its standard streams. In a terminal input and output are the terminal, and error is empty.
pub struct Launched {
    pub process: Box<dyn AgentProcess>,
    pub stdin: Box<dyn Write + Send>,
    pub stdout: Box<dyn Output>,
    pub stderr: Box<dyn Read + Send>,
}

/// Starts agents and ends those that another instance left behind.
pub trait Launcher: Send + Sync {
    /// HSK-404-AGENT when the program is missing, HSK-503-SANDBOX-UNAVAILABLE when it could not be confined.
    /// The extras open what they name beside what the plan opens.
    fn launch(&self, plan: &SessionStartPlan, extras: &StartExtras, session_id: SessionId) -> Outcome<Launched>;
    /// Runs an agent's own login on the terminal that the plan names, to its end or its time.
    fn login(&self, _plan: &LoginPlan, _marker: &str) -> Outcome<LoginReport> {
        Err(Failure::new(Code::NotBuilt, "no login can be run here"))
    }
    /// Ends the process and its tree if pid and start time still name it; true when something was ended.
    fn reap(&self, process: &ProcessIdentity) -> bool;
}
