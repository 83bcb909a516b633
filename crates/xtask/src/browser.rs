//! Chromium and its driver, which the browser walks need, and the tracer.
//!
//! What is missing is installed on a continuous-integration machine that runs Debian as root, a failure on any other
//! such machine, and a printed skip on a person's.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::test::command;

/// What the tests are told, by environment.
pub enum Browser {
    Found { chromium: PathBuf, driver: PathBuf },
    Skipped,
}

/// Looks, installs where that is asked for, or says what is missing.
pub fn require() -> Result<Browser> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if std::env::var_os("CI").is_none_or(|value| value != "true") {
        println!("SKIP: the browser walks: chromium or chromedriver is not on PATH (Debian: apt-get install chromium chromium-driver)");
        return Ok(Browser::Skipped);
    }
    install(&["chromium", "chromium-driver"])?;
    match find() {
        Some(found) => Ok(found),
        None => bail!("chromium was installed and is still not on PATH"),
    }
}

/// On a machine of continuous integration the tracer is there or installed; elsewhere its tests say that they were skipped.
pub fn require_tracer() -> Result<()> {
    if on_path("strace").is_some() {
        return Ok(());
    }
    if std::env::var_os("CI").is_none_or(|value| value != "true") {
        println!("SKIP: the order of writes and answers: strace is not on PATH (Debian: apt-get install strace)");
        return Ok(());
    }
    install(&["strace"])
}

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" and ");
    ensure!(Path::new("/etc/debian_version").exists(), "CI=true and neither {names} nor Debian is here: install {names}");
    println!("installing {names} with apt-get");
    for arguments in [vec!["update"], [&["install", "--yes", "--no-install-recommends"], packages].concat()] {
        let status = command("apt-get").args(&arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        ensure!(status.success(), "apt-get {} failed ({status}); it needs root and a network", arguments.join(" "));
    }
    Ok(())
}

fn find() -> Option<Browser> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| on_path(name))?;
    Some(Browser::Found { chromium, driver: on_path("chromedriver")? })
}

/// The first file of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
