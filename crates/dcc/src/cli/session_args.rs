//! The words of `dcc session` and `dcc handoff`.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Subcommand};

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
    /// Sessions, newest first
    List {
        /// One or several, with commas between: ACTIVE,PAUSED
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        role: Option<String>,
        #[arg(long)]
        wp: Option<String>,
        /// local or cloud
        #[arg(long)]
        backend: Option<String>,
        #[arg(long, default_value = "flat", value_parser = ["packet", "role", "model", "agent", "flat"])]
        group: String,
        /// What rests without an agent, and what is to be known before it goes on
        #[arg(long)]
        recovery: bool,
    },
    /// One of them: its state, what waits for it, what each way to send would do
    Show { session: String },
    /// Sit at the session's terminal: every key goes to the program, one key leaves it running
    Attach(AttachArgs),
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
    Route { session: String, wp: String, mt: Option<String>, #[arg(long, default_value = "queue", value_parser = ["queue", "boundary", "now"])] when: String },
    /// End it and all that descends from it; no file is removed
    Cancel { session: String, #[arg(long)] reason: Option<String> },
    /// End it with a handoff (--handoff, or the last one written), or with a reason why there is none (--waive)
    #[command(group(ArgGroup::new("ending").args(["handoff", "waive"])))]
    Close {
        session: String,
        /// JSON: done, remaining, decisions, uncertainties, blockers, evidence; none = the last one that was written
        #[arg(long, value_name = "FILE")]
        handoff: Option<PathBuf>,
        /// Why there is no handoff; kept on record
        #[arg(long, value_name = "REASON")]
        waive: Option<String>,
        /// Cancel a running turn first
        #[arg(long)]
        stop: bool,
    },
}

#[derive(ClapArgs, Debug)]
pub struct AttachArgs {
    pub session: String,
    /// Line by line, without escape sequences: for pipes, files and screen readers
    #[arg(long)]
    pub lines: bool,
    /// The key that leaves
    #[arg(long, default_value = "ctrl-]", value_name = "KEY")]
    pub detach_key: String,
}

/// Which agent, and what for.
#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("who").args(["agent", "human", "command"]).required(true)))]
pub struct AgentWords {
    /// A preset of dcc agent list
    #[arg(long)]
    pub agent: Option<String>,
    /// You work there yourself: the worktree is claimed, nothing is started
    #[arg(long, conflicts_with = "prompt")]
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
    #[command(flatten)]
    pub budget: BudgetWords,
    /// Any command, after --: it runs in a pseudo-terminal in the sandbox, unobserved
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Limits of the one session; dcc budget set changes them while it lives.
#[derive(ClapArgs, Debug)]
pub struct BudgetWords {
    /// Limit of its tokens, in and out together
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// Limit of its cost, a decimal amount such as 4.10
    #[arg(long, value_name = "AMOUNT")]
    pub max_cost: Option<String>,
    /// Of --max-cost
    #[arg(long, default_value = "USD", requires = "max_cost")]
    pub currency: String,
    /// Limit of its time in turns
    #[arg(long, value_name = "MINUTES")]
    pub max_minutes: Option<u64>,
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("what").args(["text", "message"]).required(true)))]
#[command(group(ArgGroup::new("change").args(["edit", "remove", "place", "now"]).requires("message")))]
pub struct SendArgs {
    pub session: String,
    /// The message; none when one that waits is changed
    pub text: Option<String>,
    #[arg(long, value_parser = ["queue", "boundary", "now"])]
    pub when: Option<String>,
    /// A message that waits (dcc session show S), with what to do: --edit, --remove, --move or --now
    #[arg(long, requires = "change")]
    pub message: Option<String>,
    /// Its new text
    #[arg(long, value_name = "TEXT")]
    pub edit: Option<String>,
    /// Take it back
    #[arg(long)]
    pub remove: bool,
    /// Its new place, from 1
    #[arg(long = "move", value_name = "PLACE")]
    pub place: Option<usize>,
    /// Stop the turn and send it
    #[arg(long)]
    pub now: bool,
}

#[derive(Subcommand, Debug)]
pub enum HandoffCommand {
    /// Newest first; waivers stand among them
    List,
    /// One of them
    Show { handoff: String },
    /// For a session that goes on, or for a packet
    #[command(group(ArgGroup::new("of").args(["session", "wp"]).required(true)))]
    Write {
        #[arg(long)]
        session: Option<String>,
        #[arg(long)]
        wp: Option<String>,
        /// JSON: done, remaining, decisions, uncertainties, blockers, evidence
        #[arg(long)]
        file: PathBuf,
    },
}
