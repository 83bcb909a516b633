//! dcc agent: which agents there are, and an agent's own login on this very terminal.
//!
//! The login runs in the sandbox, below the server or in this process. It gets the far end of a pseudo-terminal made here;
//! this command carries bytes between that and the person's terminal, and nobody else sees them.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, ttyname};
use serde_json::{Value, json};

use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::ports::{AgentCatalogue as _, AgentListing};
use dcc_core::{Code, Failure, Outcome};
use dcc_engines::sandbox::Terminal;

use super::Cli;
use super::args::AgentCommand;
use super::output::{job_exit, table};
use crate::agents::Agents;
use crate::wire::config::OperatorConfig;
use crate::wire::dirs::Dirs;

/// How often the size of the person's terminal is looked at.
const SIZE_EVERY: Duration = Duration::from_millis(500);

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
            let agent = listed()?.into_iter().find(|a| a.name == *name).ok_or_else(|| Failure::new(Code::NotFoundAgent, format!("there is no agent {name:?}")).hint("dcc agent list"))?;
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

fn status(agent: &AgentListing) -> &'static str {
    if agent.installed { "installed" } else { "absent" }
}

fn login(cli: &Cli, name: &str) -> Outcome<u8> {
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
    before: Termios,
    is_over: Arc<AtomicBool>,
    output: Option<std::thread::JoinHandle<()>>,
}

impl Carried {
    fn begin(far: &Terminal) -> Outcome<Self> {
        let own = std::io::stdin();
        let before = tcgetattr(own.as_fd()).map_err(|e| broken(&e.into()))?;
        let again = || far.try_clone().map_err(|e| broken(&e));
        let (mut shown, mut typed, sized) = (again()?, again()?, again()?);
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(own.as_fd(), OptionalActions::Flush, &raw).map_err(|e| broken(&e.into()))?;
        let is_over = Arc::new(AtomicBool::new(false));
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
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = std::io::stdin().read(&mut chunk) {
                if typed.write_all(&chunk[..count]).is_err() {
                    break;
                }
            }
        });
        let over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let mut last = None;
            while !over.load(Ordering::Acquire) {
                let now = tcgetwinsize(std::io::stdin()).ok().map(|size| (size.ws_row, size.ws_col));
                if now != last
                    && let Some((rows, columns)) = now
                {
                    // A size that cannot be told leaves the earlier one.
                    let _ = sized.resize(rows, columns);
                }
                last = now;
                // tidy, allowed: the signal for a changed size needs a handler; a look twice a second is enough for a login.
                std::thread::sleep(SIZE_EVERY);
            }
        });
        Ok(Self { before, is_over, output: Some(output) })
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(output) = self.output.take() {
            // Ends when the last holder of the far end is gone.
            let _ = output.join();
        }
        // A terminal that is gone needs no state.
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Flush, &self.before);
    }
}
