//! dcc up: the server that owns the project until it is stopped.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::{Code, Failure, Outcome, limits};
use dcc_web::server::{AgentListener, Ready, ServeOptions, serve};

use super::Cli;
use super::args::UpArgs;
use crate::link::Remote;
use crate::wire::{integrity, lock};
use crate::wire::open::{self, OpenOptions, Project};
use crate::wire::project::Found;

/// A server that is being started answers within this, or its start has failed.
const START: Duration = Duration::from_secs(30);

pub fn run(cli: &Cli, args: &UpArgs) -> Outcome<u8> {
    let here = Cli { path: args.path.clone().unwrap_or_else(|| cli.path.clone()), out: cli.out, wait: cli.wait, clock: std::sync::Arc::clone(&cli.clock) };
    let found = here.find()?;
    if args.stop {
        return stop(&here, &found);
    }
    if let Some(remote) = Remote::connect(&found, false)? {
        if !args.detach {
            return Err(lock::acquire(&found.state_dir, "up", Duration::ZERO).err().unwrap_or_else(|| Failure::new(Code::Locked, "a server owns the project already")));
        }
        let url = remote.login_url()?;
        here.out.show(&json!({ "url": url, "status": "running" }), |v| format!("already served: {}", v["url"].as_str().unwrap_or_default()));
        return Ok(0);
    }
    if args.detach {
        let url = detach(&here.path, args.port, &found)?;
        here.out.show(&json!({ "url": url, "status": "running" }), |v| format!("serving in the background: {}\n  dcc up --stop ends it", v["url"].as_str().unwrap_or_default()));
        return Ok(0);
    }
    let project = open::open_or_read(&found, &OpenOptions { what: "up", wait: Duration::ZERO, serving: true })?;
    integrity::warn_once(&found.dirs, found.require_project_id()?);
    say_recovery(&here, &project);
    let no_open = args.no_open || here.out.is_json();
    serve_project(&found, &project, args.port, "dcc up --detach", |ready| {
        here.out.show(&json!({ "url": ready.login_url, "base_url": ready.base_url, "status": "running" }), |v| {
            format!("{} is served at {}\n  sign in (once, within 60 s): {}\n  Ctrl C ends it", found.root.display(), v["base_url"].as_str().unwrap_or_default(), v["url"].as_str().unwrap_or_default())
        });
        if !no_open {
            open_browser(&ready.login_url);
        }
    })?;
    Ok(0)
}

fn say_recovery(cli: &Cli, project: &Project) {
    let r = &project.recovery;
    if !r.is_quiet() {
        cli.out.note(&format!(
            "recovered: {} jobs finished, {} failed, {} stalled, {} sessions paused, {} requests stale; see the Health page",
            r.finished, r.failed, r.stalled, r.paused_sessions, r.stale_approvals
        ));
    }
    for (key, sentence) in &r.drift {
        cli.out.note(&format!("drift: {key}: {sentence}"));
    }
    // A corrupt file was named when it was moved aside.
    if project.store_opened == "made from canon" {
        cli.out.note(&format!("devcc.db: {}", project.store_opened));
    }
}

/// `link_command` prints a fresh sign-in link. Serves until a signal or the stop route; then ends agents and leaves canon closed.
pub fn serve_project(found: &Found, project: &Project, port: u16, link_command: &str, ready: impl FnOnce(&Ready)) -> Outcome<()> {
    let credential = found.dirs.require_credential(found.clock.as_ref())?;
    let socket_path = found.dirs.socket(found.require_project_id()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| Failure::engine(format!("no runtime: {e}")))?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let options = ServeOptions { door: std::sync::Arc::clone(&project.app) as _, port, credential, link_command: link_command.to_owned(), socket_path, ready: tell };
    let verifier = std::sync::Arc::clone(&project.app);
    // The chain is walked once in the background, so that the status line can say how far it was verified.
    let (dirs, project_id, clock) = (found.dirs.clone(), found.require_project_id()?, std::sync::Arc::clone(&found.clock));
    std::thread::spawn(move || match verifier.verify() {
        Ok(report) => integrity::note(&dirs, project_id, &report, clock.now()),
        Err(failure) => eprintln!("dcc: {failure}"),
    });
    let watching = crate::wire::watch::start(found, &project.app);
    let served = runtime.block_on(async {
        // Bound before the first request can start a session, so that every agent of this server has its door.
        let agents = AgentListener::bind(std::sync::Arc::clone(&project.app) as _, &own_program()?).await?;
        let _agents = Ended(tokio::spawn(agents.serve()));
        let mut server = std::pin::pin!(serve(options, signals()));
        tokio::select! {
            early = &mut server => return early,
            up = told => if let Ok(up) = up { ready(&up) },
        }
        server.await
    });
    project.app.hub.close();
    watching.join();
    let ended = project.app.runner.shut_down();
    runtime.shutdown_timeout(Duration::from_secs(2));
    served.and(ended)
}

/// A task that ends with its holder: no agent is answered while the server shuts down.
struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn own_program() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|e| Failure::engine(format!("the program's own path is unknown: {e}")))
}

async fn signals() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Starts the server as its own session and returns when it answers; keeps no descriptor of it.
fn detach(path: &PathBuf, port: u16, found: &Found) -> Outcome<String> {
    let exe = own_program()?;
    let log_path = found.dirs.state.join("server.log");
    crate::wire::dirs::private_dir(&found.dirs.state)?;
    let log = open_log(&log_path)?;
    let begins = log.metadata().map_or(0, |meta| meta.len());
    #[allow(clippy::disallowed_methods, reason = "the program starts itself, unsandboxed, as the operator")]
    let mut command = std::process::Command::new(exe);
    command.arg("-C").arg(path).args(["up", "--no-open", "--port", &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    let mut child = command.spawn().map_err(|e| Failure::engine(format!("the server cannot be started: {e}")))?;
    let deadline = Instant::now() + START;
    loop {
        if let Some(remote) = Remote::connect(found, false)? {
            return remote.login_url();
        }
        if let Ok(Some(status)) = child.try_wait() {
            let (code, last) = last_words(&since(&log_path, begins));
            return Err(Failure::new(code, format!("the server ended at once ({status}): {last}")).hint(format!("more stands in {}", log_path.display())));
        }
        if Instant::now() > deadline {
            return Err(Failure::engine("the server did not answer in time").hint(format!("see {}", log_path.display())));
        }
        // tidy, allowed: another process begins or ends, and tells nobody when
        std::thread::park_timeout(Duration::from_millis(30));
    }
}

/// The log that servers in the background write to. A long one becomes the former one, whose place it takes.
fn open_log(path: &std::path::Path) -> Outcome<std::fs::File> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > limits::SERVER_LOG_BYTES_MAX) {
        // Without the rename it goes on growing, which loses nothing.
        let _ = std::fs::rename(path, path.with_extension("log.old"));
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|e| Failure::engine(format!("{} cannot be written: {e}", path.display())))
}

/// What was written to the log from there on, up to a bound.
fn since(path: &std::path::Path, begins: u64) -> String {
    use std::io::{Read as _, Seek as _};
    let read = || {
        let mut log = std::fs::File::open(path)?;
        log.seek(std::io::SeekFrom::Start(begins))?;
        let mut bytes = Vec::new();
        log.take(limits::SERVER_LOG_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The last failure that a log tells of, with the code that stands in the line below it.
fn last_words(log: &str) -> (Code, String) {
    let lines: Vec<&str> = log.lines().collect();
    let Some(at) = lines.iter().rposition(|line| line.starts_with("dcc: ")) else { return (Code::Engine, "it said nothing".to_owned()) };
    let code = lines.get(at + 1).and_then(|line| Code::parse(line.trim().split(',').next()?));
    (code.unwrap_or(Code::Engine), lines[at].trim_start_matches("dcc: ").to_owned())
}

fn stop(cli: &Cli, found: &Found) -> Outcome<u8> {
    let Some(remote) = Remote::connect(found, false)? else {
        cli.out.show(&json!({ "status": "stopped" }), |_| "no server runs for this project".to_owned());
        return Ok(0);
    };
    remote.stop()?;
    let deadline = Instant::now() + START;
    while lock::is_held(&found.state_dir) {
        if Instant::now() > deadline {
            return Err(Failure::new(Code::Locked, "the server was asked to end and still holds the project"));
        }
        // tidy, allowed: another process begins or ends, and tells nobody when
        std::thread::park_timeout(Duration::from_millis(30));
    }
    cli.out.show(&json!({ "status": "stopped" }), |_| "the server has ended".to_owned());
    Ok(0)
}

/// What needs a long-lived process starts one and says so.
pub fn ensure_served(cli: &Cli) -> Outcome<()> {
    let found = cli.find()?;
    found.require_project_id()?;
    if Remote::connect(&found, false)?.is_some() {
        return Ok(());
    }
    // A server over files that cannot be written would start no agent.
    crate::wire::read_only::probe(&found.state_dir)?;
    detach(&cli.path, 0, &found)?;
    cli.out.note("started a server in the background, because an agent outlives this command; dcc up --stop ends it");
    Ok(())
}

/// Opens the page where a browser exists; without one the printed address serves.
pub fn open_browser(url: &str) {
    if std::env::var_os("DISPLAY").is_none() && std::env::var_os("WAYLAND_DISPLAY").is_none() && cfg!(target_os = "linux") {
        return;
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    #[allow(clippy::disallowed_methods, reason = "the operator's own browser, started by the operator's command")]
    let mut command = std::process::Command::new(opener);
    // Not having an opener is no failure.
    let _ = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files of their own")]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_told_with_its_own_code() {
        let log = "dcc: an earlier one\n     HSK-423-LOCKED\nnoise\ndcc: already recorded\n     HSK-409-APPROVAL-CONSUMED, job x\n     a hint\n";
        assert_eq!(last_words(log), (Code::ApprovalConsumed, "already recorded".to_owned()));
        assert_eq!(last_words("dcc: job 1: no code\n").0, Code::Engine);
        assert_eq!(last_words("").1, "it said nothing");
    }

    #[test]
    fn the_log_does_not_grow_for_ever_and_only_its_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.log");
        std::fs::write(&path, vec![b'x'; 2 * 1024 * 1024]).unwrap();
        let log = open_log(&path).unwrap();
        assert_eq!(log.metadata().unwrap().len(), 0);
        assert!(path.with_extension("log.old").exists());
        std::fs::write(&path, "before dcc: now").unwrap();
        assert_eq!(since(&path, 7), "dcc: now");
    }
}
