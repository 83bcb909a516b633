//! dcc demo: a throwaway project with packets in every lane and the scripted agent at work; `--headless` plays the whole
//! slice through the public HTTP API. Everything stands under one directory: configuration, state, credential.

mod play;
mod seed;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use dcc_core::Failure;
use dcc_core::Outcome;

use super::Cli;
use super::args::DemoArgs;
use super::up::{open_browser, serve_project};
use crate::link::Remote;
use crate::wire::dirs::{Dirs, private_dir};
use crate::wire::open::{self, OpenOptions};
use crate::wire::project as found;

pub fn run(cli: &Cli, args: &DemoArgs) -> Outcome<u8> {
    let dir = directory(cli, args)?;
    let dirs = Dirs { config: dir.join("config"), state: dir.join("state"), runtime: dir.join("run"), home: Some(dir.join("home")) };
    for path in [&dirs.config, &dirs.state, &dirs.runtime, &dir.join("home")] {
        private_dir(path)?;
    }
    let repo = dir.join("greeter");
    if !repo.join(".git").exists() {
        seed::repository(&dir, &repo, &dirs)?;
    }
    let place = found::find(&repo, dirs, std::sync::Arc::clone(&cli.clock))?;
    if let Some(remote) = Remote::connect(&place, false)?.filter(|_| !args.headless) {
        let url = remote.login_url()?;
        cli.out.show(&serde_json::json!({ "url": url, "status": "running" }), |_| format!("the demo is open already; sign in (once, within 60 s): {url}"));
        return Ok(0);
    }
    let project = open::open(&place, &OpenOptions { what: "demo", wait: Duration::ZERO, serving: true })?;
    cli.out.note(&format!("the demo's project: {}", repo.display()));
    let credential = place.dirs.require_credential(cli.clock.as_ref())?;
    let (tell, told) = mpsc::channel();
    let (out, headless, no_open, root) = (cli.out, args.headless, args.no_open, dir.clone());
    let app = std::sync::Arc::clone(&project.app);
    serve_project(&place, &project, args.port, &format!("dcc demo --dir {}", dir.display()), move |ready| {
        let (ready, remote) = (ready.clone(), Remote::over_tcp(ready.port, credential));
        // The player talks to this very server, so it must not stand in its way.
        std::thread::spawn(move || {
            let result = if headless {
                play::slice(&remote, &out, &app)
            } else {
                seed::packets(&remote, &out).map(|()| {
                    // So that the status line speaks of what is there now; a chain that does not hold is said on every screen.
                    let _ = app.verify();
                    out.say(&format!("the command center is open at {}", ready.base_url));
                    out.say(&format!("  sign in (once, within 60 s): {}", ready.login_url));
                    out.say("  one session of the scripted agent already asks for something: the Inbox");
                    out.say(&format!("  Ctrl C ends it; everything stands under {}", root.display()));
                    if !no_open {
                        open_browser(&ready.login_url);
                    }
                })
            };
            let ended = headless || result.is_err();
            let _ = tell.send(result);
            if ended && let Err(failure) = remote.stop() {
                eprintln!("dcc: {failure}");
            }
        });
    })?;
    match told.try_recv() {
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) => Ok(0),
        // Ended by a signal before the player was done.
        Err(_) if args.headless => Err(Failure::new(dcc_core::Code::Canceled, "the demo was ended before its last step")),
        Err(_) => Ok(0),
    }
}

/// `--dir`, or a fresh directory below the system's temporary one.
fn directory(cli: &Cli, args: &DemoArgs) -> Outcome<PathBuf> {
    let dir = if let Some(dir) = &args.dir { std::path::absolute(dir).map_err(|e| Failure::invalid(format!("{}: {e}", dir.display())))? } else {
        let id = cli.clock.fresh_id().simple().to_string();
        std::env::temp_dir().join(format!("dcc-demo-{}", &id[id.len() - 8..]))
    };
    let is_ours = dir.join("config").is_dir() && dir.join("greeter").is_dir();
    let is_empty = std::fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_ours && !is_empty {
        return Err(Failure::invalid(format!("{} is not empty and is no demo", dir.display())).hint("name a new directory"));
    }
    private_dir(&dir)?;
    Ok(dir)
}

/// Writes a file of the demo that is not there yet.
fn write_new(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Failure::engine(format!("{} cannot be written: {e}", path.display())))
}
