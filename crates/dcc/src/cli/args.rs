//! The words of the command line (PRODUCT, CLI).

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

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
    #[command(subcommand)]
    Job(JobCommand),
    /// Run a recipe of your configuration, or a command after --, in the sandbox
    Run(RunArgs),
    /// Version control
    #[command(subcommand)]
    Vcs(VcsCommand),
    /// Search code and objects
    Search(SearchArgs),
    /// The Flight Recorder, joined by any id
    Timeline(TimelineArgs),
    #[command(subcommand)]
    Recorder(RecorderCommand),
    /// DCC's tools for the agent inside a session, over MCP on standard input and output; started by the agent
    Mcp {
        #[arg(long)]
        session: String,
    },
    #[command(external_subcommand)]
    Unbuilt(Vec<String>),
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
    List,
    Login { name: String },
}

#[derive(Subcommand, Debug)]
pub enum WpCommand {
    Create(WpCreate),
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
    Show { wp: String },
    /// Set fields: title=.. priority=1 labels=a,b
    Set { wp: String, #[arg(required = true)] fields: Vec<String> },
    /// Record a gate's result: pre_work or post_work, pass, fail or skip
    Gate { wp: String, gate: String, result: String, #[arg(long)] reason: Option<String> },
    Ready { wp: String },
    Start { wp: String },
    Block(WpReason),
    Unblock(WpReason),
    Hold(WpReason),
    Release(WpReason),
    Close { wp: String, #[arg(long)] verdict: Option<String> },
    Cancel(WpReason),
    Reopen { #[command(flatten)] which: WpReason, #[arg(long, default_value = "ready")] to: String },
    Note { wp: String, text: String },
    /// Take a file that was edited by hand in as the next version
    Accept { wp: String, mt: Option<String> },
    /// Write the last accepted version back over an edited file
    Restore { wp: String, mt: Option<String> },
    /// Leave a tombstone; its id is never given again
    Delete(WpReason),
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
    Add { wp: String, kind: String, to: String },
    Rm { wp: String, kind: String, to: String },
}

#[derive(Subcommand, Debug)]
pub enum MtCommand {
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
    List { wp: String },
    Show { wp: String, mt: String },
    Start { wp: String, mt: String },
    Done {
        wp: String,
        mt: String,
        /// A finished job that proves it
        #[arg(long, required_unless_present = "statement")]
        job: Option<String>,
        /// Your own word, marked as such
        #[arg(long, conflicts_with = "job")]
        statement: Option<String>,
    },
    Fail { wp: String, mt: String, #[arg(long)] reason: String },
    Block { wp: String, mt: String, #[arg(long)] reason: String },
    Skip { wp: String, mt: String, #[arg(long)] reason: String },
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
    List,
    Show { ws: String },
    Open { ws: String },
    Close { ws: String },
    Archive { ws: String },
    Link { ws: String, wp: String, mt: Option<String> },
    Unlink { ws: String },
    /// Without a flag: what is wrong with a workspace, and the repair for each
    Repair {
        ws: String,
        /// Take the repository's changed configuration, as it is now, for accepted
        #[arg(long)]
        accept_config: bool,
        /// Keep a workspace.json that is not understood under another name and make it anew
        #[arg(long, conflicts_with = "accept_config")]
        reinit_json: bool,
        /// Take a tracked workspace.json out of git's index; the file stays
        #[arg(long, conflicts_with_all = ["accept_config", "reinit_json"])]
        untrack_json: bool,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum ApprovalCommand {
    List { #[arg(long)] all: bool },
    Show { approval: String },
    Approve {
        approval: String,
        #[arg(long, default_value = "once")]
        scope: String,
        #[arg(long)]
        reason: Option<String>,
        /// Return without waiting for the released job
        #[arg(long)]
        no_wait: bool,
    },
    Deny { approval: String, #[arg(long)] reason: String },
}

#[derive(Subcommand, Debug)]
pub enum GrantCommand {
    List,
    Revoke { grant: String },
}

#[derive(Subcommand, Debug)]
pub enum JobCommand {
    List {
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        op: Option<String>,
        #[arg(long)]
        wp: Option<String>,
    },
    Show { job: String },
    Wait { job: String },
    Cancel { job: String, #[arg(long)] reason: Option<String> },
}

#[derive(ClapArgs, Debug)]
pub struct RunArgs {
    #[arg(long)]
    pub ws: String,
    pub recipe: Option<String>,
    #[arg(last = true)]
    pub command: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum VcsCommand {
    Status { #[arg(long)] ws: String },
    Diff {
        #[arg(long)]
        ws: String,
        paths: Vec<std::ffi::OsString>,
    },
    Log {
        #[arg(long)]
        ws: String,
        #[arg(short = 'n', default_value_t = 20)]
        limit: usize,
        path: Option<std::ffi::OsString>,
    },
    Commit {
        #[arg(long)]
        ws: String,
        #[arg(short = 'm', long, required_unless_present = "file")]
        message: Option<String>,
        #[arg(short = 'F', long, conflicts_with = "message")]
        file: Option<PathBuf>,
        /// NUL-separated paths
        #[arg(long)]
        paths_from0: Option<PathBuf>,
        #[arg(required_unless_present = "paths_from0")]
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
    /// code, objects, events or transcripts
    #[arg(long, default_value = "code")]
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
