//! The test command: says what it needs, builds the binary that the tests drive, then hands over to the test runner.
//!
//! Invariant: after the runner nothing more is printed, so that the last line is the runner's own count. Failure: a need
//! that is not met ends the run before anything is built.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::browser::{self, Browser};
use crate::{tidy, tree};

/// merge-tree --write-tree came with it.
const GIT_MINIMUM: (u32, u32) = (2, 38);

/// Runs everything; `long` asks the tests for their full counts.
pub fn run(long: bool) -> Result<ExitCode> {
    println!("needs: git {}.{} or newer; chromium and chromedriver for the browser walks; strace for the order of writes and answers", GIT_MINIMUM.0, GIT_MINIMUM.1);
    let git = git_version()?;
    println!("git: {}.{}", git.0, git.1);
    let browser = browser::require()?;
    if let Browser::Found { chromium, driver } = &browser {
        println!("browser: {}, {}", chromium.display(), driver.display());
    }
    browser::require_tracer()?;
    let is_tidy = tidy::run()? == ExitCode::SUCCESS;
    ensure!(cargo().args(["build", "--locked", "--package", "dcc"]).status()?.success(), "dcc does not build");
    let status = with_environment(runner(long)?, &browser, long).status().context("starting the test runner")?;
    // The same findings fail as tests under the runner; this covers a run in which they could not be built.
    Ok(if status.success() && is_tidy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// cargo-nextest when it is there, else cargo's own.
fn runner(long: bool) -> Result<Command> {
    let has_nextest = cargo().args(["nextest", "--version"]).output().is_ok_and(|out| out.status.success());
    let mut runner = cargo();
    if has_nextest {
        let config = tree::root().join("crates/xtask/nextest.toml");
        ensure!(config.is_file(), "{} is missing", config.display());
        runner.args(["nextest", "run", "--locked", "--workspace", "--no-fail-fast", "--no-tests=fail", "--config-file"]).arg(config);
        if long {
            runner.args(["--profile", "long"]);
        }
    } else {
        println!("cargo-nextest is not installed; running cargo test");
        runner.args(["test", "--locked", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]);
    }
    Ok(runner)
}

/// How the tests learn what was found: `DCC_TEST_BROWSER` is found or skip.
fn with_environment(mut runner: Command, browser: &Browser, long: bool) -> Command {
    match browser {
        Browser::Found { chromium, driver } => {
            runner.env("DCC_TEST_BROWSER", "found").env("DCC_TEST_CHROMIUM", chromium).env("DCC_TEST_CHROMEDRIVER", driver);
        }
        Browser::Skipped => {
            runner.env("DCC_TEST_BROWSER", "skip");
        }
    }
    if long {
        runner.env("DCC_TEST_LONG", "1");
    }
    runner
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut cargo = command(&program);
    cargo.current_dir(tree::root());
    // Set by the outer cargo for xtask itself; it must not reach the builds below.
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    cargo
}

/// The chores' own children.
#[allow(clippy::disallowed_methods, reason = "xtask is a developer's tool and is no part of the product")]
pub fn command(program: &str) -> Command {
    Command::new(program)
}

fn git_version() -> Result<(u32, u32)> {
    let out = command("git").arg("--version").output().context("git is not on PATH: install git 2.38 or newer")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let Some(version) = parse_version(&text) else { bail!("git --version said {text:?}") };
    ensure!(version >= GIT_MINIMUM, "git {}.{} is too old: install git 2.38 or newer", version.0, version.1);
    Ok(version)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let word = text.split_whitespace().nth(2)?;
    let mut numbers = word.split('.').map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_versions_are_read() {
        assert_eq!(parse_version("git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(parse_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(parse_version("git"), None);
        assert!((2, 9) < GIT_MINIMUM);
    }
}
