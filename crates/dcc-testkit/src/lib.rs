//! Development only: a hermetic environment around the real binary and real repositories.
//!
//! Every world has its own HOME, XDG directories and TMPDIR below one temporary directory; nothing of the machine's
//! configuration is seen. Servers started through it are ended by their own command when the world is dropped.

#![allow(clippy::disallowed_methods, reason = "tests start processes and write files of their own")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

mod frozen;
mod masked;
mod random;
mod server;
mod snapshot;
pub use frozen::Frozen;
pub use masked::{mask_text, masked};
pub use random::Random;
pub use server::{Http, Reply, Server};
pub use snapshot::Snapshot;

/// One hermetic world with one repository.
pub struct World {
    dir: tempfile::TempDir,
    dcc: PathBuf,
}

/// A finished command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output as one JSON object.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not one JSON object ({e}): {self:?}"))
    }
    /// The stable code of a failed command or job.
    pub fn code_text(&self) -> String {
        let value = self.json();
        let code = if value["error"].is_object() { &value["error"]["code"] } else { &value["failure"]["code"] };
        code.as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    /// A repository `repo` on branch main with two commits; `dcc` is the binary under test.
    pub fn new(dcc: &str) -> Self {
        let world = Self::empty(dcc);
        world.write("README.md", "# repo\n\nfirst\n");
        world.write("src/a.txt", "one\ntwo\nthree\n");
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.git(&["add", "--all"]);
        world.git(&["commit", "--quiet", "-m", "First"]);
        world.write("src/b.txt", "bee\n");
        world.git(&["add", "--all"]);
        world.git(&["commit", "--quiet", "-m", "Second"]);
        world
    }

    /// A directory `repo` that is no repository yet.
    pub fn empty(dcc: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("dcc").tempdir().expect("a temporary directory");
        for sub in ["repo", "home", "config/dcc", "state", "run", "tmp"] {
            std::fs::create_dir_all(dir.path().join(sub)).expect("a directory");
        }
        std::fs::write(dir.path().join("home/.gitconfig"), "[user]\n\tname = Test Person\n\temail = test@example.invalid\n").expect("a file");
        Self { dir, dcc: dcc.into() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }
    pub fn state_dir(&self) -> PathBuf {
        self.repo().join(".handshake")
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, text: &str) {
        write_at(&self.repo().join(path), text);
    }

    /// The operator's config.toml.
    pub fn configure(&self, text: &str) {
        write_at(&self.dir.path().join("config/dcc/config.toml"), text);
    }

    fn hermetic(&self, command: &mut Command) {
        let at = |sub: &str| self.dir.path().join(sub);
        command.env_clear();
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", at("home"))
            .env("XDG_CONFIG_HOME", at("config"))
            .env("XDG_STATE_HOME", at("state"))
            .env("XDG_RUNTIME_DIR", at("run"))
            .env("TMPDIR", at("tmp"))
            .env("LANG", "C.UTF-8")
            .stdin(std::process::Stdio::null());
    }

    /// A `dcc` command in the repository, ready for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.dcc);
        self.hermetic(&mut command);
        command.current_dir(self.repo());
        command
    }

    pub fn dcc<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        ran(&self.command().args(arguments).output().expect("dcc starts"))
    }

    /// `dcc --json ...` that must end with 0.
    pub fn ok(&self, arguments: &[&str]) -> Value {
        let ran = self.json(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.json()
    }

    /// `dcc --json ...` whatever it ends with.
    pub fn json(&self, arguments: &[&str]) -> Ran {
        ran(&self.command().arg("--json").args(arguments).output().expect("dcc starts"))
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.repo(), arguments)
    }

    /// git in some directory, with fixed dates; must end with 0.
    pub fn git_in(&self, directory: &Path, arguments: &[&str]) -> String {
        self.try_git_in(directory, arguments).unwrap_or_else(|words| panic!("git {arguments:?}: {words}"))
    }

    /// The same; what git said against it when it does not end with 0.
    pub fn try_git_in(&self, directory: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("git");
        self.hermetic(&mut command);
        let done = command
            .current_dir(directory)
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .args(arguments)
            .output()
            .expect("git starts");
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(words(&done.stdout)) } else { Err(words(&done.stderr)) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A server that a command started ends by its own command; no other process is touched.
        if self.state_dir().join("recorder.db").exists() {
            let _ = self.command().args(["up", "--stop"]).output();
        }
    }
}

fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn write_at(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}
