//! The words of `dcc session` and `dcc handoff`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Subcommand, Debug)]
pub enum SessionCommand {
    /// Start an agent in a workspace
    Start {
        #[arg(long)]
        ws: String,
        #[arg(long)]
        mt: Option<String>,
        #[command(flatten)]
        agent: AgentWords,
    },
    /// Start a child of a session, in its worktree and never wider than it
    Spawn {
        session: String,
        #[arg(long)]
        mt: Option<String>,
        #[command(flatten)]
        agent: AgentWords,
    },
    List {
        /// One or several, with commas between: ACTIVE,PAUSED
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        role: Option<String>,
        #[arg(long)]
        wp: Option<String>,
        /// packet, role, model, agent or flat
        #[arg(long, default_value = "flat")]
        group: String,
        /// What rests without an agent, and what is to be known before it goes on
        #[arg(long)]
        recovery: bool,
    },
    Show { session: String },
    /// Look on at the session's terminal, and type lines into it
    Attach { session: String },
    /// The session, what descends from it, and what it descends from
    Tree { session: String },
    /// Send a message, or change one that waits (--message)
    Send(SendArgs),
    /// Let it rest at its next boundary
    Pause { session: String, #[arg(long)] reason: Option<String> },
    /// Let a resting session go on, with a new process where its agent is gone
    Resume { session: String, #[arg(long)] prompt: Option<String> },
    /// Start a successor of an ended session: same agent, worktree and prompt
    Retry { session: String, #[arg(long)] prompt: Option<String> },
    /// Hand it a packet or a micro-task
    Route { session: String, wp: String, mt: Option<String>, #[arg(long, default_value = "queue")] when: String },
    /// End it and all that descends from it; no file is removed
    Cancel { session: String, #[arg(long)] reason: Option<String> },
    /// End it with a handoff, or with a reason why there is none
    Close {
        session: String,
        /// JSON: done, remaining, decisions, uncertainties, blockers, evidence; none = the last one that was written
        #[arg(long)]
        handoff: Option<PathBuf>,
        #[arg(long, conflicts_with = "handoff")]
        waive: Option<String>,
        /// Cancel a running turn first
        #[arg(long)]
        stop: bool,
    },
}

/// Which agent, and what for.
#[derive(ClapArgs, Debug)]
pub struct AgentWords {
    #[arg(long, required_unless_present_any = ["command", "human"])]
    pub agent: Option<String>,
    /// You work there yourself: the worktree is claimed, nothing is started
    #[arg(long, conflicts_with_all = ["agent", "command", "prompt"])]
    pub human: bool,
    #[arg(long)]
    pub prompt: Option<String>,
    #[arg(long)]
    pub role: Option<String>,
    /// What it is for
    #[arg(long)]
    pub purpose: Option<String>,
    /// PRIMARY, VALIDATION, SUBAGENT or BACKGROUND
    #[arg(long)]
    pub lane: Option<String>,
    /// A glob it may write inside; repeat it
    #[arg(long = "path")]
    pub paths: Vec<String>,
    /// Any command, after --: it runs in a pseudo-terminal in the sandbox, unobserved
    #[arg(last = true)]
    pub command: Vec<String>,
}

#[derive(ClapArgs, Debug)]
pub struct SendArgs {
    pub session: String,
    /// The message; none when one that waits is changed
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    pub text: Option<String>,
    /// queue, boundary or now
    #[arg(long)]
    pub when: Option<String>,
    /// A message that waits (dcc session show S)
    #[arg(long)]
    pub message: Option<String>,
    /// Its new text
    #[arg(long, requires = "message")]
    pub edit: Option<String>,
    #[arg(long, requires = "message")]
    pub remove: bool,
    /// Its new place, from 1
    #[arg(long = "move", requires = "message", value_name = "PLACE")]
    pub place: Option<usize>,
    /// Stop the turn and send it
    #[arg(long, requires = "message")]
    pub now: bool,
}

#[derive(Subcommand, Debug)]
pub enum HandoffCommand {
    List,
    Show { handoff: String },
    Write {
        #[arg(long, required_unless_present = "wp")]
        session: Option<String>,
        #[arg(long, conflicts_with = "session")]
        wp: Option<String>,
        /// JSON: done, remaining, decisions, uncertainties, blockers, evidence
        #[arg(long)]
        file: PathBuf,
    },
}
