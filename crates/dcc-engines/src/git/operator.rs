//! What is taken from the operator's own git configuration: name, address, excludes file. Authority: derived.
//!
//! Invariant: it is read as data, by `git config`, which runs nothing; no other command ever sees that configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Failure, Outcome};

use super::builder::path_of;
use crate::exec::Exec;

const TIMEOUT_MS: u64 = 15_000;

/// Where the operator's configuration lives.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    program: PathBuf,
    home: PathBuf,
    xdg_config_home: Option<PathBuf>,
    /// An empty directory outside every repository.
    cwd: PathBuf,
}

impl Operator {
    /// With an explicit home only that directory counts; without one, the process's HOME and XDG_CONFIG_HOME.
    pub(super) fn new(program: &Path, explicit_home: Option<PathBuf>, cwd: &Path) -> Self {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let (home, xdg_config_home) = match explicit_home {
            Some(home) => (home, None),
            None => (absolute("HOME").unwrap_or_else(|| cwd.to_owned()), absolute("XDG_CONFIG_HOME")),
        };
        Self { program: program.to_owned(), home, xdg_config_home, cwd: cwd.to_owned() }
    }

    fn command(&self, git_dir: Option<&Path>) -> Exec {
        let mut exec = Exec::new(&self.program, &self.cwd);
        exec.timeout_ms = TIMEOUT_MS;
        let mut env: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), crate::exec::operator_path_value()),
            ("HOME".into(), self.home.clone().into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("GIT_OPTIONAL_LOCKS".into(), "0".into()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
            ("GIT_PAGER".into(), "cat".into()),
        ];
        if let Some(xdg) = &self.xdg_config_home {
            env.push(("XDG_CONFIG_HOME".into(), xdg.clone().into()));
        }
        exec.env = env;
        exec.args = vec!["--no-pager".into()];
        // Without a repository, one that does not exist keeps git from looking for one.
        let mut option = OsString::from("--git-dir=");
        option.push(git_dir.unwrap_or(&self.cwd.join("no-repository")));
        exec.args.push(option);
        exec.args.push("config".into());
        exec
    }

    fn get(&self, git_dir: Option<&Path>, args: &[&str]) -> Outcome<Option<Vec<u8>>> {
        let mut exec = self.command(git_dir);
        exec.args.extend(args.iter().map(OsString::from));
        let done = exec.run()?;
        if !done.is_success() {
            // Exit code 1 is "no such key"; a broken file is the operator's to repair, said in git's words.
            return if done.code == Some(1) { Ok(None) } else { Err(Failure::engine(format!("git cannot read your configuration: {}", done.stderr_line()))) };
        }
        let end = done.stdout.iter().position(|b| *b == 0).unwrap_or(done.stdout.len());
        Ok(Some(done.stdout[..end].to_vec()).filter(|v| !v.is_empty()))
    }

    /// Name and address, from the repository's own configuration over the operator's.
    pub(super) fn identity(&self, git_dir: Option<&Path>) -> Outcome<(String, String)> {
        let require = |key: &str, example: &str| -> Outcome<String> {
            let value = self.get(git_dir, &["-z", "--includes", "--get", key])?;
            let text = value.map(|v| String::from_utf8_lossy(&v).trim().to_owned()).filter(|v| !v.is_empty());
            text.ok_or_else(|| Failure::invalid(format!("git knows no {key} for you")).hint(format!("set it once: git config --global {key} {example:?}")))
        };
        Ok((require("user.name", "Your Name")?, require("user.email", "you@example.org")?))
    }

    /// The operator's excludes file, when there is one.
    pub(super) fn excludes(&self) -> Option<PathBuf> {
        let named = self.get(None, &["-z", "--includes", "--type=path", "--get", "core.excludesFile"]).ok().flatten();
        let path = match named {
            Some(bytes) => path_of(&bytes),
            None => self.xdg_config_home.clone().unwrap_or_else(|| self.home.join(".config")).join("git/ignore"),
        };
        (path.is_absolute() && path.is_file()).then_some(path)
    }
}
