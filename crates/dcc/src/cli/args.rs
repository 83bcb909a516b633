//! The words of the command line (PRODUCT, CLI).

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};

/// The command center for people who let several coding agents work on their repositories at once.
#[derive(Parser, Debug)]
#[command(name = "dcc", version, disable_help_subcommand = true)]
pub struct Args {
    /// The project: any path inside the repository
    // An id of its own: a command may have a `path` too.
    #[arg(id = "project", short = 'C', long = "project", value_name = "PATH", global = true)]
    pub path: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Block until a parked job is decided
    #[arg(long, global = true)]
    pub wait: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// A throwaway project with packets and a scripted agent; the slice, live
    Demo(DemoArgs),
    /// Serve DCC for a repository, initialising it on first use
    Up(UpArgs),
    /// Make the repository a project
    Init,
    /// What is at work, and who waits for you
    Status,
    /// Check machine, repository, configuration, sandbox and agents
    Doctor,
    /// Make all derived data anew from canon
    Rebuild {
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Shell completions
    Completions { shell: clap_complete::Shell },
    /// Agents: which there are, and signing one in
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Work packets
    #[command(subcommand)]
    Wp(WpCommand),
    /// Micro-tasks
    #[command(subcommand)]
    Mt(MtCommand),
    /// The task board file
    #[command(subcommand)]
    Board(BoardCommand),
    /// Workspaces: git worktrees
    #[command(subcommand)]
    Ws(WsCommand),
    /// Execution sessions
    #[command(subcommand)]
    Session(super::session_args::SessionCommand),
    /// What was done and what remains: advisory, for whoever goes on
    #[command(subcommand)]
    Handoff(super::session_args::HandoffCommand),
    /// The Approval Inbox
    #[command(subcommand)]
    Approvals(ApprovalCommand),
    /// Standing permissions
    #[command(subcommand)]
    Grants(GrantCommand),
    /// Limits on tokens, cost and time, and what was used
    #[command(subcommand)]
    Budget(super::budget::BudgetCommand),
    /// Jobs: what was asked for, and what became of it
    #[command(subcommand)]
    Job(JobCommand),
    /// Run a recipe of your configuration, or a command after --, in the sandbox
    Run(RunArgs),
    /// What can be enforced of agents, and waivers where nothing can
    #[command(subcommand)]
    Sandbox(super::sandbox::SandboxCommand),
    /// Version control
    #[command(subcommand)]
    Vcs(VcsCommand),
    /// Search code and objects
    Search(SearchArgs),
    /// The Flight Recorder, joined by any id
    Timeline(TimelineArgs),
    /// The Flight Recorder itself: verify, tail, export
    #[command(subcommand)]
    Recorder(RecorderCommand),
    /// DCC's tools for the agent inside a session, over MCP on standard input and output; started by the agent
    Mcp {
        #[arg(long)]
        session: String,
    },
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

#[derive(ClapArgs, Debug)]
pub struct DemoArgs {
    /// Play the slice over the public HTTP API without a person, then exit
    #[arg(long)]
    pub headless: bool,
    /// Where to make it; a temporary directory otherwise
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Do not open a browser
    #[arg(long)]
    pub no_open: bool,
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

#[derive(ClapArgs, Debug, Default)]
pub struct UpArgs {
    pub path: Option<PathBuf>,
    /// TCP port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    #[arg(long)]
    pub no_open: bool,
    /// Return when the server is ready
    #[arg(long)]
    pub detach: bool,
    /// End the running server
    #[arg(long)]
    pub stop: bool,
}

#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    /// Which agents there are, and what can be told of their logins
    List,
    /// Log an agent in with its own command, in the home that DCC keeps for it; needs a terminal
    Login {
        name: String,
        /// Only say what can be told of its login
        #[arg(long)]
        status: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum WpCommand {
    /// A new packet
    Create(WpCreate),
    /// Packets
    List {
        #[arg(long)]
        status: Option<String>,
        /// Only what could be started now
        #[arg(long)]
        ready: bool,
        /// Deleted packets too
        #[arg(long)]
        all: bool,
    },
    /// One packet
    Show { wp: String },
    /// Set fields: title=.. priority=1 labels=a,b
    Set { wp: String, #[arg(required = true)] fields: Vec<String> },
    /// Record a gate's result: pre_work or post_work, pass, fail or skip
    Gate { wp: String, #[arg(value_parser = ["pre_work", "post_work"])] gate: String, #[arg(value_parser = ["pass", "fail", "skip"])] result: String, #[arg(long)] reason: Option<String> },
    /// It may be started
    Ready { wp: String },
    /// Work on it begins
    Start { wp: String },
    /// It waits for something
    Block(WpReason),
    /// What it waited for is there
    Unblock(WpReason),
    /// Set it aside
    Hold(WpReason),
    /// Take it up again after a hold
    Release(WpReason),
    /// It is done
    Close { wp: String, #[arg(long)] verdict: Option<String> },
    /// It will not be done
    Cancel(WpReason),
    /// Back to work: --to ready or in_progress
    Reopen { #[command(flatten)] which: WpReason, #[arg(long, default_value = "ready")] to: String },
    /// Add a note
    Note { wp: String, text: String },
    /// Take a file that was edited by hand in as the next version
    Accept { wp: String, mt: Option<String> },
    /// Write the last accepted version back over an edited file
    Restore { wp: String, mt: Option<String> },
    /// Leave a tombstone; its id is never given again
    Delete(WpReason),
    /// What it depends on
    #[command(subcommand)]
    Dep(DepCommand),
}

#[derive(ClapArgs, Debug)]
pub struct WpReason {
    pub wp: String,
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub struct WpCreate {
    #[arg(long)]
    pub title: String,
    #[arg(long)]
    pub id: Option<String>,
    #[arg(long = "type")]
    pub wp_type: Option<String>,
    #[arg(long)]
    pub priority: Option<u8>,
    #[arg(long = "criterion")]
    pub criteria: Vec<String>,
    #[arg(long = "scope")]
    pub scope: Vec<String>,
    #[arg(long = "label")]
    pub labels: Vec<String>,
    #[arg(long, conflicts_with = "file")]
    pub description: Option<String>,
    #[arg(long)]
    pub file: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum DepCommand {
    /// kind: blocks, blocked_by, depends-on, parent-child, related, discovered-from, duplicate-of, implements, tests or documents
    Add { wp: String, kind: String, to: String },
    /// No longer
    Rm { wp: String, kind: String, to: String },
}

#[derive(Subcommand, Debug)]
pub enum MtCommand {
    /// A micro-task, with what it is done by
    Add {
        wp: String,
        #[arg(long)]
        name: String,
        #[arg(long = "criterion", required = true)]
        criteria: Vec<String>,
        #[arg(long)]
        scope: Option<String>,
        #[arg(long = "after")]
        depends_on: Vec<String>,
    },
    /// A packet's micro-tasks
    List { wp: String },
    /// One of them
    Show { wp: String, mt: String },
    /// Work on it begins
    Start { wp: String, mt: String },
    /// Done, with its proof: a finished job, or your own word
    #[command(group(ArgGroup::new("proof").args(["job", "statement"]).required(true)))]
    Done {
        wp: String,
        mt: String,
        /// A finished job that proves it
        #[arg(long)]
        job: Option<String>,
        /// Your own word, marked as such
        #[arg(long)]
        statement: Option<String>,
    },
    /// It was tried and did not succeed
    Fail { wp: String, mt: String, #[arg(long)] reason: String },
    /// It waits for something
    Block { wp: String, mt: String, #[arg(long)] reason: String },
    /// It is not needed
    Skip { wp: String, mt: String, #[arg(long)] reason: String },
    /// Back to work
    Reopen { wp: String, mt: String, #[arg(long)] reason: Option<String> },
}

#[derive(Subcommand, Debug)]
pub enum BoardCommand {
    /// Print the board file's state
    Render,
    /// Bring the file in step
    Sync,
}

#[derive(Subcommand, Debug)]
pub enum WsCommand {
    /// A worktree for a packet
    Create {
        #[arg(long)]
        wp: String,
        #[arg(long)]
        branch: Option<String>,
        #[arg(long)]
        base: Option<String>,
        #[arg(long)]
        role: Option<String>,
    },
    /// Worktrees, and what git says of each
    List,
    /// One of them
    Show { ws: String },
    /// Take it up again
    Open { ws: String },
    /// Set it aside; nothing on disk changes
    Close { ws: String },
    /// Hide it; nothing on disk changes
    Archive {
        ws: String,
        /// Say what would be done, or why not
        #[arg(long)]
        dry_run: bool,
    },
    /// Bind it to a packet
    Link { ws: String, wp: String, mt: Option<String> },
    /// Bind it to no packet
    Unlink { ws: String },
    /// Without a flag: what is wrong with a workspace, and the repair for each
    #[command(group(ArgGroup::new("fix").args(["accept_config", "reinit_json", "untrack_json"])))]
    Repair {
        ws: String,
        /// Take the repository's changed configuration, as it is now, for accepted
        #[arg(long)]
        accept_config: bool,
        /// Keep a workspace.json that is not understood under another name and make it anew
        #[arg(long)]
        reinit_json: bool,
        /// Take a tracked workspace.json out of git's index; the file stays
        #[arg(long)]
        untrack_json: bool,
        /// Follow a worktree that stands elsewhere, and let git and it name each other again
        #[arg(long, group = "mend", conflicts_with_all = ["accept_config", "reinit_json", "untrack_json"])]
        relocate: bool,
        /// With --relocate: where it stands now, when DCC does not find it
        #[arg(long, value_name = "DIR", requires = "relocate")]
        path: Option<PathBuf>,
        /// Make git's lost entry for a worktree anew; its files stay as they are
        #[arg(long, group = "mend", conflicts_with_all = ["accept_config", "reinit_json", "untrack_json"])]
        reregister: bool,
        /// Check a worktree out again whose directory is gone
        #[arg(long, group = "mend", conflicts_with_all = ["accept_config", "reinit_json", "untrack_json"])]
        recreate: bool,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum ApprovalCommand {
    /// What waits for you, or with --all also what was decided
    List { #[arg(long)] all: bool },
    /// The card of one request
    Show { approval: String },
    /// Permit it
    Approve {
        approval: String,
        #[arg(long, default_value = "once", value_parser = ["once", "job", "session", "workspace"])]
        scope: String,
        #[arg(long)]
        reason: Option<String>,
        /// Return without waiting for the released job
        #[arg(long)]
        no_wait: bool,
    },
    /// Refuse it; the reason is sent to whoever asked
    Deny { approval: String, #[arg(long)] reason: String },
}

#[derive(Subcommand, Debug)]
pub enum GrantCommand {
    /// Those that stand and those that ended
    List,
    /// End one now
    Revoke { grant: String },
}

#[derive(Subcommand, Debug)]
pub enum JobCommand {
    /// The newest
    List {
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        op: Option<String>,
        #[arg(long)]
        wp: Option<String>,
    },
    /// One of them, whole
    Show { job: String },
    /// Until it has ended
    Wait { job: String },
    /// End it, where it can be ended
    Cancel { job: String, #[arg(long)] reason: Option<String> },
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("what").args(["recipe", "command"]).required(true)))]
pub struct RunArgs {
    #[arg(long)]
    pub ws: String,
    /// A recipe of your configuration
    pub recipe: Option<String>,
    /// Any command, after --
    #[arg(last = true)]
    pub command: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum VcsCommand {
    /// What differs from the last commit
    Status { #[arg(long)] ws: String },
    /// The differences themselves
    Diff {
        #[arg(long)]
        ws: String,
        paths: Vec<std::ffi::OsString>,
    },
    /// Commits, and whether DCC made them
    Log {
        #[arg(long)]
        ws: String,
        #[arg(short = 'n', default_value_t = 20)]
        limit: usize,
        path: Option<std::ffi::OsString>,
    },
    /// Exactly these paths, on the worktree's branch
    #[command(group(ArgGroup::new("words").args(["message", "file"]).required(true)))]
    #[command(group(ArgGroup::new("selected").args(["paths", "paths_from0"]).required(true).multiple(true)))]
    Commit {
        #[arg(long)]
        ws: String,
        #[arg(short = 'm', long)]
        message: Option<String>,
        /// A file that holds the message
        #[arg(short = 'F', long)]
        file: Option<PathBuf>,
        /// A file of NUL-separated paths
        #[arg(long)]
        paths_from0: Option<PathBuf>,
        paths: Vec<std::ffi::OsString>,
    },
}

#[derive(ClapArgs, Debug)]
pub struct SearchArgs {
    pub query: String,
    #[arg(long)]
    pub ws: Option<String>,
    #[arg(long)]
    pub regex: bool,
    #[arg(long, default_value = "code", value_parser = ["code", "objects", "events", "transcripts"])]
    pub scope: String,
}

#[derive(ClapArgs, Debug, Default)]
pub struct TimelineArgs {
    #[arg(long)]
    pub wp: Option<String>,
    #[arg(long)]
    pub mt: Option<String>,
    #[arg(long)]
    pub session: Option<String>,
    #[arg(long)]
    pub ws: Option<String>,
    #[arg(long)]
    pub job: Option<String>,
    /// A code, or the front of several
    #[arg(long)]
    pub code: Option<String>,
    /// RFC 3339 time
    #[arg(long)]
    pub since: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum RecorderCommand {
    /// Walk the whole chain
    Verify,
    /// The last events
    Tail { #[arg(short = 'n', default_value_t = 20)] count: usize },
    /// JSON Lines on standard output
    Export,
}
