//! The commands. Thin: each turns its words into a `JobRequest` or a `Query` and prints the answer.

mod agents;
mod answers;
mod approvals;
mod args;
mod attach;
mod budget;
mod demo;
mod jobs;
mod mcp;
mod output;
mod project;
mod recorder;
mod sandbox;
mod session_args;
mod sessions;
mod terminal;
mod unbuilt;
mod up;
mod vcs;
mod work;
mod workspaces;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;

use dcc_api::door::{FlatJob, Query};
use dcc_core::job::{Bindings, JobRequest};
use dcc_core::op::Op;
use dcc_core::ports::Clock;
use dcc_core::{Code, Failure, Outcome};

use crate::link::{self, Link};
use crate::wire::clock::SystemClock;
use crate::wire::dirs::Dirs;
use crate::wire::integrity;
use crate::wire::project::{self as found, Found};
use args::{Args, Command};
pub use output::{Output, visible};

/// One invocation: where, how to print, whether a person sits there.
pub struct Cli {
    pub path: PathBuf,
    pub out: Output,
    pub wait: bool,
    pub clock: Arc<dyn Clock>,
}

/// Runs the command line and answers the exit code of PRODUCT (CLI).
pub fn run() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((failure, json)) = unbuilt::asked_for(&given) {
        Output::new(json).failure(&failure, None);
        return ExitCode::from(failure.code.exit_code());
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output with 0, misuse to standard error with 2.
            if error.use_stderr() && std::env::args_os().take_while(|a| a != "--").any(|a| a == "--json") {
                Output::new(true).failure(&misuse(&error.to_string()), None);
                return ExitCode::from(2);
            }
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let cli = Cli { path: args.path.clone().unwrap_or_else(|| PathBuf::from(".")), out: Output::new(args.json), wait: args.wait, clock: Arc::new(SystemClock) };
    match dispatch(&cli, args.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            cli.out.failure(&failure, None);
            ExitCode::from(failure.code.exit_code())
        }
    }
}

fn dispatch(cli: &Cli, command: Command) -> Outcome<u8> {
    match command {
        Command::Demo(args) => demo::run(cli, &args),
        Command::Up(args) => up::run(cli, &args),
        Command::Init => project::init(cli),
        Command::Status => project::status(cli),
        Command::Doctor => project::doctor(cli),
        Command::Rebuild { dry_run } => project::rebuild(cli, dry_run),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "dcc", &mut std::io::stdout());
            Ok(0)
        }
        Command::Agent(command) => agents::run(cli, &command),
        Command::Wp(command) => work::packet(cli, command),
        Command::Mt(command) => work::micro_task(cli, command),
        Command::Board(command) => work::board(cli, &command),
        Command::Ws(command) => workspaces::run(cli, command),
        Command::Session(command) => sessions::run(cli, command),
        Command::Handoff(command) => sessions::handoff(cli, command),
        Command::Approvals(command) => approvals::run(cli, command),
        Command::Grants(command) => approvals::grants(cli, &command),
        Command::Budget(command) => budget::run(cli, command),
        Command::Job(command) => jobs::run(cli, command),
        Command::Run(args) => jobs::run_confined(cli, args),
        Command::Sandbox(command) => sandbox::run(cli, command),
        Command::Vcs(command) => vcs::run(cli, command),
        Command::Search(args) => vcs::search(cli, &args),
        Command::Timeline(args) => recorder::timeline(cli, &args),
        Command::Recorder(command) => recorder::run(cli, command),
        Command::Mcp { session } => mcp::run(&session),
        Command::Unknown(words) => Err(Failure::invalid(format!("{:?} is no command", words.first().map_or("", String::as_str))).hint("dcc --help")),
    }
}

/// What clap says of misuse, as a failure: its first paragraph in one line, or the commands there are; then the usage.
fn misuse(text: &str) -> Failure {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("dcc --help").to_owned();
    let first = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    if let Some(said) = first.strip_prefix("error: ") {
        return Failure::invalid(said).hint(usage);
    }
    let words = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = words.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty())).collect::<Vec<_>>().join(", ");
    Failure::invalid(format!("a command is missing: {names}")).hint(usage)
}

/// The scripted agent's process.
pub fn scripted_agent(file: Option<OsString>) -> ExitCode {
    let Some(file) = file else {
        eprintln!("dcc scripted-agent FILE: the script is missing");
        return ExitCode::from(2);
    };
    dcc_sessions::scripted::scripted_main(Path::new(&file))
}

impl Cli {
    /// A person can answer: both ends are a terminal and the output is not for a machine.
    pub fn attended(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    pub fn find(&self) -> Outcome<Found> {
        found::find(&self.path, Dirs::from_env()?, Arc::clone(&self.clock))
    }

    pub fn link(&self) -> Outcome<Box<dyn Link>> {
        let found = self.find()?;
        integrity::warn_once(&found.dirs, found.require_project_id()?);
        link::connect(found, self.attended())
    }

    pub fn query(&self, query: &Query) -> Outcome<Value> {
        self.link()?.query(query)
    }

    /// Sends an intent, follows it as PRODUCT says, prints the flat job, answers the exit code.
    pub fn submit(&self, op: Op, params: Value, bindings: Bindings) -> Outcome<u8> {
        let link = self.link()?;
        let job = self.drive(link.as_ref(), op, params, bindings)?;
        self.out.job(&job);
        Ok(output::job_exit(&job))
    }

    /// As [`Cli::submit`] without printing.
    pub fn drive(&self, link: &dyn Link, op: Op, params: Value, bindings: Bindings) -> Outcome<Value> {
        let key = self.clock.fresh_id().to_string();
        let request = JobRequest { op, params, bindings, idempotency_key: Some(key) };
        let job = link.submit(&request)?;
        self.follow(link, job)
    }

    /// Waits for what runs, asks at a terminal for what waits for a person.
    pub fn follow(&self, link: &dyn Link, job: FlatJob) -> Outcome<Value> {
        let id = job.job_id;
        let mut now = serde_json::to_value(&job).map_err(|e| Failure::engine(e.to_string()))?;
        // A run that waits for a slot is queued for as long as others run: that is said, not waited for.
        if now["state"] == "running" || (now["state"] == "queued" && !is_run(&now)) {
            now = link.wait(id, false)?;
        }
        if now["state"] == "awaiting_user" {
            if self.attended() && !self.out.is_json() {
                approvals::ask(self, link, &now)?;
                now = link.wait(id, false)?;
            } else if self.wait {
                now = link.wait(id, true)?;
            }
        }
        Ok(now)
    }

    /// A short or whole id of this kind.
    pub fn resolve<T: std::str::FromStr>(&self, link: &dyn Link, kind: &str, text: &str) -> Outcome<T> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let found = link.query(&Query::Resolve { short: text.to_owned() })?;
        let ids: Vec<&str> = found["items"].as_array().into_iter().flatten().filter(|i| i["kind"] == kind).filter_map(|i| i["id"].as_str()).collect();
        let code = match kind {
            "workspace" => Code::NotFoundWorkspace,
            "session" => Code::NotFoundSession,
            "job" => Code::NotFoundJob,
            "approval" => Code::NotFoundApproval,
            "grant" => Code::NotFoundGrant,
            _ => Code::NotFound,
        };
        match ids.as_slice() {
            [only] => only.parse().map_err(|_| Failure::engine(format!("{only} cannot be read"))),
            [] => Err(Failure::new(code, format!("no {kind} {text}"))),
            several => Err(Failure::invalid(format!("{text} is the end of {} {kind}s", several.len())).hint("give more characters")),
        }
    }
}

/// Operations that may wait for a slot.
fn is_run(job: &Value) -> bool {
    job["op"].as_str().is_some_and(|op| matches!(op, "session.start" | "session.retry" | "session.spawn" | "session.resume" | "session.run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_hold_together_and_each_command_says_what_it_is() {
        fn described(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                assert!(sub.get_about().is_some(), "{path} says nothing of itself");
                described(sub, &path);
            }
        }
        let command = Args::command();
        described(&command, "dcc");
        command.debug_assert();
    }

    #[test]
    fn misuse_is_one_sentence_and_the_usage() {
        let told = |words: &[&str]| misuse(&Args::try_parse_from(words).unwrap_err().to_string());
        let proof = told(&["dcc", "mt", "done", "WP-1", "MT-1"]);
        assert!(proof.message.contains("--job <JOB>|--statement <STATEMENT>"), "{proof:?}");
        assert!(proof.hint.as_deref().is_some_and(|hint| hint.starts_with("dcc mt done")), "{proof:?}");
        let bare = told(&["dcc", "handoff"]);
        assert_eq!(bare.message, "a command is missing: list, show, write");
    }
}
