//! Starts agents in the kernel's sandbox (GOVERNANCE 7).
//!
//! Authority: ephemeral. Invariants: no agent runs unless the self-test saw files and network enforced; its temporary
//! directory goes when its tree is empty; its home is DCC's own, one for each agent name, and stays.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::SessionId;
use dcc_core::plans::{LoginPlan, SessionStartPlan};
use dcc_core::ports::sessions::{Callback, LoginReport, McpHandout, SessionPlace, StartExtras};
use dcc_core::session::{Posture, ProcessIdentity};
use dcc_core::workspace::{escape_path, unescape_path};
use dcc_engines::sandbox::{Ending, LandlockSandbox, PrivateDir, SandboxedChild, Spec, Terminal, free_port, reap};

use crate::launch::{AgentExit, AgentProcess, Launched, Launcher, Output};
use crate::presets::{home_files, servers_argument};

/// Launches through [`LandlockSandbox`].
pub struct SandboxLauncher {
    sandbox: Arc<LandlockSandbox>,
    run_dir: PathBuf,
    homes_dir: PathBuf,
}

impl SandboxLauncher {
    /// `run_dir` holds the temporary directories of sessions, `homes_dir` the homes of agents; both are made when missing
    /// and neither may lie in a repository.
    pub fn new(sandbox: Arc<LandlockSandbox>, run_dir: PathBuf, homes_dir: PathBuf) -> Self {
        Self { sandbox, run_dir, homes_dir }
    }

    /// The home that the agent of this name sees as HOME.
    pub fn home_path(&self, agent: &str) -> PathBuf {
        home_in(&self.homes_dir, agent)
    }
}

/// The home of the agent of this name, below the directory of all homes.
pub fn home_in(homes_dir: &Path, agent: &str) -> PathBuf {
    homes_dir.join(directory_name(agent))
}

/// An agent's name as one path component: a command's first word may hold slashes.
fn directory_name(agent: &str) -> String {
    let name: String = agent.chars().take(80).map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

fn make_private(path: &Path) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::engine(format!("cannot make {}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

/// Makes an agent's home when there is none, with the files it begins with. It is filled before it gets its name, and an
/// old home is left alone: in one that an agent has written to, a link could lead the writing out of it.
fn make_home(home: &Path, session: &PrivateDir, files: &[(&str, &str)]) -> Outcome<()> {
    if is_home(home)? {
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::engine(format!("cannot make {}: {error}", home.display()));
    let new = home.with_file_name(session.unfinished());
    make_private(&new)?;
    for (path, text) in files {
        let path = new.join(path);
        make_private(path.parent().unwrap_or(&new))?;
        let mut file = std::fs::File::create_new(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    // Another session of this agent may have been faster: its home stands.
    let Err(error) = std::fs::rename(&new, home) else { return Ok(()) };
    std::fs::remove_dir_all(&new).map_err(failed)?;
    if is_home(home)? { Ok(()) } else { Err(failed(error)) }
}

/// True when the agent's home is there. What stands in its place, a link before all, is refused: the agent would be given
/// what it leads to.
fn is_home(home: &Path) -> Outcome<bool> {
    match home.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(Failure::new(Code::SboxPolicyDenied, format!("{} is not a directory of its own, and an agent's home has to be one", home.display()))
            .hint("move it away: the next start makes a home; dcc agent login NAME logs the agent in there")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::engine(format!("{} cannot be looked at: {error}", home.display()))),
    }
}

impl Launcher for SandboxLauncher {
    fn launch(&self, plan: &SessionStartPlan, extras: &StartExtras, session_id: SessionId) -> Outcome<Launched> {
        let executable = PathBuf::from(OsString::from_vec(unescape_path(&plan.executable)));
        if !executable.is_file() {
            return Err(Failure::new(Code::NotFoundAgent, format!("the program {} of the agent {} is not there", executable.display(), plan.agent))
                .hint("dcc doctor lists the agents and where their programs are looked for"));
        }
        let mut posture = match plan.waiver {
            None => self.sandbox.require_enforced()?.clone(),
            Some(_) => self.sandbox.waived_posture(),
        };
        let home = self.home_path(&plan.agent);
        let temporary = PrivateDir::make(&self.run_dir, "session")?;
        make_home(&home, &temporary, home_files(&plan.agent))?;
        let opened = opened(plan, extras);
        let mut spec = Spec::for_agent(&opened, temporary.path(), &home, &format!("session-{session_id}"))?;
        spec.waived = plan.waiver.is_some();
        if let (Some(argument), Some(server)) = (servers_argument(&plan.agent), &extras.mcp) {
            let file = servers_file(temporary.path(), server)?;
            spec.argv.extend([argument.to_owned(), format!("@{}", file.display())]);
        }
        if plan.listens {
            spec.listen_on(free_port()?, true);
        }
        posture.notes.extend(spec.profile.notes.iter().cloned());
        let path = spec.env.get("PATH").cloned().unwrap_or_default();
        let mut child = self.sandbox.spawn(spec)?;
        let terminal = child.terminal.take();
        let (stdin, stdout, stderr) = streams(&mut child, terminal.as_ref())?;
        let place = SessionPlace { home: escaped(&home), tmp: escaped(temporary.path()), read_paths: opened.read_paths, program: plan.executable.clone(), path };
        let process = Box::new(SandboxedAgent { child, terminal, posture, place, _temporary: temporary });
        Ok(Launched { process, stdin, stdout, stderr })
    }

    fn login(&self, plan: &LoginPlan, marker: &str) -> Outcome<LoginReport> {
        let mut posture = self.sandbox.require_enforced()?.clone();
        let home = self.home_path(&plan.agent);
        let temporary = PrivateDir::make(&self.run_dir, "login")?;
        make_home(&home, &temporary, home_files(&plan.agent))?;
        let terminal = Terminal::of_path(&plan.terminal)?;
        let mut spec = Spec::for_login(plan, temporary.path(), &home, marker)?;
        match plan.callback {
            Callback::Nowhere => {}
            Callback::Port(port) => spec.listen_on(port, false),
        }
        posture.notes.extend(spec.profile.notes.iter().cloned());
        let child = self.sandbox.spawn_on(spec, terminal)?;
        let ended = child.wait_timeout(Duration::from_millis(plan.timeout_ms))?;
        let timed_out = ended.is_none();
        let report = if let Some(report) = ended { report } else {
            child.end(Ending::Terminate);
            child.wait()?
        };
        Ok(LoginReport { exit_code: report.exit_code, timed_out, posture })
    }

    fn reap(&self, process: &ProcessIdentity) -> bool {
        is_live(process) && reap(process)
    }
}

type Streams = (Box<dyn Write + Send>, Box<dyn Output>, Box<dyn Read + Send>);

/// Input, output and error of the command: its terminal, or its three pipes.
fn streams(child: &mut SandboxedChild, terminal: Option<&Terminal>) -> Outcome<Streams> {
    if let Some(terminal) = terminal {
        let again = || terminal.try_clone().map_err(|error| Failure::engine(format!("the terminal cannot be shared: {error}")));
        return Ok((Box::new(again()?), Box::new(again()?), Box::new(std::io::empty())));
    }
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((Box::new(stdin), Box::new(stdout), Box::new(stderr))),
        _ => Err(Failure::engine("the sandbox gave an agent without its standard streams")),
    }
}

/// A file with an MCP server, in the session's own temporary directory and gone with it: the token in its environment must
/// stand in no command line.
fn servers_file(tmp: &Path, server: &McpHandout) -> Outcome<PathBuf> {
    let env: serde_json::Map<String, serde_json::Value> = server.env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let text = serde_json::json!({ "mcpServers": { &server.name: { "type": "local", "command": server.command, "args": server.args, "env": env, "tools": ["*"] } } });
    let path = tmp.join("mcp-servers.json");
    let failed = |error: std::io::Error| Failure::engine(format!("cannot write {}: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(text.to_string().as_bytes()).map_err(failed)?;
    Ok(path)
}

/// What the sandbox has to know: the plan, opened by what DCC itself adds.
fn opened(plan: &SessionStartPlan, extras: &StartExtras) -> SessionStartPlan {
    let mut opened = plan.clone();
    opened.connect_ports.extend(extras.connect_ports.iter().filter(|port| !plan.connect_ports.contains(port)));
    opened.read_paths.extend(extras.read_paths.iter().filter(|path| !plan.read_paths.contains(path)).cloned());
    opened
}

fn escaped(path: &Path) -> String {
    escape_path(path.as_os_str().as_bytes())
}

/// True while the pid names the process that was recorded.
fn is_live(process: &ProcessIdentity) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)) else { return false };
    // The start time is the 22nd field; the second one is a name in parentheses that may hold blanks.
    let start_time = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse::<u64>().ok());
    start_time == Some(process.start_time)
}

struct SandboxedAgent {
    /// Dropped first: the tree is gone before its directory goes.
    child: SandboxedChild,
    terminal: Option<Terminal>,
    posture: Posture,
    place: SessionPlace,
    _temporary: PrivateDir,
}

impl AgentProcess for SandboxedAgent {
    fn identity(&self) -> ProcessIdentity {
        self.child.identity.clone()
    }
    fn posture(&self) -> Posture {
        self.posture.clone()
    }
    fn resize(&self, rows: u16, columns: u16) -> Outcome<()> {
        match &self.terminal {
            Some(terminal) => terminal.resize(rows, columns),
            None => Err(Failure::new(Code::IllegalTransition, "the agent has no terminal")),
        }
    }
    fn wait(&self) -> AgentExit {
        // The host was killed: its tree has been swept by marker and no exit code is known.
        self.child.wait().map_or_else(|_| AgentExit::default(), |report| AgentExit { exit_code: report.exit_code })
    }
    fn kill_tree(&self) -> Outcome<()> {
        self.child.kill_tree();
        let report = self.child.wait()?;
        if report.left > 0 {
            return Err(Failure::engine(format!("{} processes of the agent could not be ended", report.left)).hint("they hang in the kernel; look for them with ps"));
        }
        Ok(())
    }
    fn freeze(&self) -> Outcome<()> {
        self.child.freeze()
    }
    fn thaw(&self) -> Outcome<()> {
        self.child.thaw()
    }
    fn place(&self) -> Option<SessionPlace> {
        Some(self.place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_home_is_one_component() {
        assert_eq!(directory_name("../../etc"), "______etc");
        assert_eq!(directory_name("claude"), "claude");
        assert_eq!(directory_name(""), "_");
    }

    #[test]
    fn a_new_home_begins_with_its_files_and_an_old_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (home, session) = (dir.path().join("homes/gemini"), PrivateDir::make(&dir.path().join("run"), "session").unwrap());
        make_home(&home, &session, &[(".gemini/settings.json", "{}\n")]).unwrap();
        let settings = home.join(".gemini/settings.json");
        assert_eq!(std::fs::read_to_string(&settings).unwrap(), "{}\n");
        assert_eq!(std::fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::remove_file(&settings).unwrap();
        std::os::unix::fs::symlink("/nowhere", &settings).unwrap();
        make_home(&home, &session, &[(".gemini/settings.json", "{}\n")]).unwrap();
        assert!(settings.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(home.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_servers_file_is_the_sessions_own_and_holds_what_was_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let server = McpHandout { name: "dcc".into(), command: "/bin/dcc".into(), args: vec!["mcp".into()], env: vec![("DCC_MCP_TOKEN".into(), "t".into())] };
        let path = servers_file(dir.path(), &server).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((read["mcpServers"]["dcc"]["command"].as_str(), read["mcpServers"]["dcc"]["env"]["DCC_MCP_TOKEN"].as_str()), (Some("/bin/dcc"), Some("t")));
        assert!(servers_file(dir.path(), &server).is_err(), "what stands there already is not written over");
        assert_eq!((servers_argument("copilot"), servers_argument("claude")), (Some("--additional-mcp-config"), None));
    }

    #[test]
    fn a_reused_pid_is_not_the_process() {
        let own = std::process::id();
        assert!(!is_live(&ProcessIdentity { pid: own, start_time: 1 }));
        assert!(!is_live(&ProcessIdentity { pid: u32::MAX, start_time: 1 }));
    }
}
