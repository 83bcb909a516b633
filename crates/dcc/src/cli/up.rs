//! dcc up: the server that owns the project until it is stopped.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::{Code, Failure, Outcome};
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
    integrity::warn(&found.dirs, found.require_project_id()?);
    say_recovery(&here, &project);
    let no_open = args.no_open || here.out.is_json();
    serve_project(&found, &project, args.port, |ready| {
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

/// Serves until a signal or the stop route; then ends agents and leaves canon closed.
pub fn serve_project(found: &Found, project: &Project, port: u16, ready: impl FnOnce(&Ready)) -> Outcome<()> {
    let credential = found.dirs.require_credential(found.clock.as_ref())?;
    let socket_path = found.dirs.socket(found.require_project_id()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| Failure::engine(format!("no runtime: {e}")))?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let options = ServeOptions { door: std::sync::Arc::clone(&project.app) as _, port, credential, socket_path, ready: tell };
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
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(|e| Failure::engine(format!("{} cannot be written: {e}", log_path.display())))?;
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
            let code = match status.code() {
                Some(2) => Code::InvalidInput,
                Some(5) => Code::Locked,
                Some(7) => Code::Recorder,
                _ => Code::Engine,
            };
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = log.lines().rev().find(|line| line.starts_with("dcc: ")).unwrap_or("it said nothing").trim_start_matches("dcc: ").to_owned();
            return Err(Failure::new(code, format!("the server ended at once: {last}")).hint(format!("more stands in {}", log_path.display())));
        }
        if Instant::now() > deadline {
            return Err(Failure::engine("the server did not answer in time").hint(format!("see {}", log_path.display())));
        }
        std::thread::park_timeout(Duration::from_millis(30));
    }
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
