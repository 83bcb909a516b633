//! dcc agent: which agents there are, and an agent's own login on this very terminal.
//!
//! The login runs in the sandbox, below the server or in this process. It gets the far end of a pseudo-terminal made here;
//! this command carries bytes between that and the person's terminal, and nobody else sees them.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::Receiver;

use rustix::termios::ttyname;
use serde_json::{Value, json};

use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::ports::{AgentCatalogue as _, AgentListing};
use dcc_core::{Code, Failure, Outcome};
use dcc_engines::sandbox::Terminal;

use super::Cli;
use super::args::AgentCommand;
use super::output::{job_exit, table};
use super::terminal::raw::{self, RawMode, Told};
use crate::agents::Agents;
use crate::wire::config::OperatorConfig;
use crate::wire::dirs::Dirs;

/// What the key makes in raw mode.
const CTRL_C: u8 = 3;
/// As a shell says of a command that SIGTERM ended.
const TERMINATED: i32 = 143;

pub fn run(cli: &Cli, command: &AgentCommand) -> Outcome<u8> {
    match command {
        AgentCommand::List => {
            let agents = listed()?;
            let items: Vec<Value> = agents.iter().map(|a| json!({ "name": a.name, "status": status(a), "what": a.what, "login": a.login, "login_evidence": a.login_evidence })).collect();
            let rows = agents.iter().map(|a| vec![a.name.clone(), status(a).into(), if a.installed { a.login.as_str().into() } else { String::new() }, a.what.clone()]).collect();
            cli.out.show(&json!({ "items": items, "next_cursor": null }), |_| table(&["agent", "status", "login", ""], rows));
            Ok(0)
        }
        AgentCommand::Login { name, status: true } => {
            let agent = known(name)?;
            cli.out.show(&json!({ "name": agent.name, "login": agent.login, "login_evidence": agent.login_evidence }), |_| format!("{}: {} ({})", agent.name, agent.login.as_str(), agent.login_evidence));
            Ok(0)
        }
        AgentCommand::Login { name, status: false } => login(cli, name),
    }
}

fn listed() -> Outcome<Vec<AgentListing>> {
    let dirs = Dirs::from_env()?;
    let config = OperatorConfig::load(&dirs.config_file())?;
    Ok(Agents::new(config.agents, &dirs).list())
}

fn known(name: &str) -> Outcome<AgentListing> {
    listed()?.into_iter().find(|a| a.name == name).ok_or_else(|| Failure::new(Code::NotFoundAgent, format!("there is no agent {name:?}")).hint("dcc agent list"))
}

fn status(agent: &AgentListing) -> &'static str {
    if agent.installed { "installed" } else { "absent" }
}

fn login(cli: &Cli, name: &str) -> Outcome<u8> {
    known(name)?;
    if !cli.attended() || cli.out.is_json() {
        return Err(Failure::new(Code::SameTurnConsent, "a login needs a terminal, with a person at it").hint(format!("in a terminal: dcc agent login {name}")));
    }
    let link = cli.link()?;
    let (ours, theirs) = Terminal::open()?;
    let path = ttyname(&theirs, Vec::new()).map_err(|e| broken(&e.into()))?.into_string().map_err(|e| Failure::engine(e.to_string()))?;
    let job = {
        let _carried = Carried::begin(&ours)?;
        let job = cli.drive(link.as_ref(), Op::AgentLogin, json!({ "agent": name, "terminal": path }), Bindings::default());
        // The last that holds the far end: what was written is read to its end.
        drop(theirs);
        job?
    };
    cli.out.job(&job);
    Ok(job_exit(&job))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::engine(format!("the terminal cannot be used: {error}"))
}

/// The person's terminal, raw, with its bytes carried to and fro; as it was when dropped.
struct Carried {
    output: Option<std::thread::JoinHandle<()>>,
    _raw: RawMode,
}

impl Carried {
    fn begin(far: &Terminal) -> Outcome<Self> {
        let again = || far.try_clone().map_err(|e| broken(&e));
        let (mut shown, typed) = (again()?, again()?);
        let size = raw::size();
        far.resize(size.rows, size.columns)?;
        let mode = RawMode::enter()?;
        let (to, told) = std::sync::mpsc::channel();
        raw::listen(&to)?;
        let output = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = shown.read(&mut chunk) {
                let mut out = std::io::stdout();
                if out.write_all(&chunk[..count]).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        });
        // Ends with this process: a read of a terminal cannot be called back.
        std::thread::spawn(move || carry(&told, typed));
        Ok(Self { output: Some(output), _raw: mode })
    }
}

/// Hands the person's keys and the size of his terminal on.
fn carry(told: &Receiver<Told>, mut far: Terminal) {
    while let Ok(told) = told.recv() {
        let gone = match told {
            Told::Keys(keys) => far.write_all(&keys).is_err(),
            Told::Interrupt => far.write_all(&[CTRL_C]).is_err(),
            Told::Resized => {
                let size = raw::size();
                // A size that cannot be told leaves the earlier one.
                let _ = far.resize(size.rows, size.columns);
                false
            }
            Told::Closed => true,
            Told::End => {
                raw::restore();
                // The far end goes with this process, and the login with it.
                std::process::exit(TERMINATED);
            }
        };
        if gone {
            return;
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            // Ends when the last holder of the far end is gone.
            let _ = output.join();
        }
    }
}
