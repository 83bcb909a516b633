//! The one builder of git commands (GOVERNANCE 4, first paragraph). Authority: ephemeral.
//!
//! Invariants: the environment is rebuilt, never inherited; repository and worktree are named explicitly, never
//! discovered; no hook, monitor, pager, editor, filter, external diff, text conversion, signing program or transport can
//! run; paths are literal. Options go through `GIT_CONFIG_COUNT` rather than `-c`, because a key may contain `=`.
//!
//! On failure: a time-out or output beyond the limit is HSK-500-ENGINE, never a partial answer; a non-zero exit is the
//! caller's to judge through [`GitRun`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::limits;

use crate::exec::{Exec, Finished};

/// Whether a command may write anything at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// No optional locks: the command changes nothing.
    Read,
    Write,
}

/// A repository as the registry names it, with what its configuration must not be allowed to run.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    pub(super) git_dir: PathBuf,
    pub(super) common_dir: PathBuf,
    /// None for commands that concern the repository as a whole.
    pub(super) worktree: Option<PathBuf>,
    pub(super) config: super::config::RepoConfig,
}

/// What every command shares.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) program: PathBuf,
    /// Empty directory that stands in for HOME.
    pub(super) home: PathBuf,
    /// The operator's own excludes file; it is data.
    pub(super) excludes: Option<PathBuf>,
}

/// Options that hold for every command.
const OPTIONS: &[(&str, &str)] = &[
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.pager", "cat"),
    ("core.editor", "false"),
    ("core.askPass", "false"),
    ("core.sshCommand", "false"),
    ("core.gitProxy", "false"),
    ("core.alternateRefsCommand", "false"),
    ("core.quotePath", "true"),
    ("core.safecrlf", "false"),
    ("submodule.recurse", "false"),
    ("protocol.allow", "never"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("gpg.program", "false"),
    ("gpg.ssh.program", "false"),
    ("gpg.x509.program", "false"),
    ("log.showSignature", "false"),
    ("log.mailmap", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("safe.bareRepository", "explicit"),
    ("branch.autoSetupMerge", "false"),
    ("branch.autoSetupRebase", "never"),
    ("checkout.workers", "1"),
    // `git diff` would write the refreshed index even without optional locks.
    ("diff.autoRefreshIndex", "false"),
    ("diff.suppressBlankEmpty", "false"),
    ("diff.orderFile", "/dev/null"),
    ("status.renames", "true"),
    ("color.ui", "false"),
];

/// One command under construction.
#[derive(Debug)]
pub(super) struct GitCmd {
    exec: Exec,
    options: Vec<(Vec<u8>, Vec<u8>)>,
    name: String,
    access: Access,
}

/// A finished command.
#[derive(Debug)]
pub(super) struct GitRun {
    pub(super) done: Finished,
    name: String,
}

impl Tool {
    /// A command that concerns no repository: `git version`, `check-ref-format`.
    pub(super) fn bare(&self, name: &str) -> GitCmd {
        self.shared(name).arg(name)
    }

    fn shared(&self, name: &str) -> GitCmd {
        let mut exec = Exec::new(&self.program, &self.home);
        exec.timeout_ms = limits::GIT_TIMEOUT_MS;
        exec.stdout_max = limits::GIT_OUTPUT_BYTES_MAX;
        exec.env = environment(&self.home);
        exec.args = vec!["--no-pager".into(), "--literal-pathspecs".into()];
        let mut options: Vec<(Vec<u8>, Vec<u8>)> = OPTIONS.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        let excludes = self.excludes.as_deref().unwrap_or(Path::new("/dev/null"));
        options.push((b"core.excludesFile".to_vec(), excludes.as_os_str().as_bytes().to_vec()));
        GitCmd { exec, options, name: name.to_owned(), access: Access::Read }
    }

    /// A command in a repository, with everything its configuration could run neutralised.
    pub(super) fn command(&self, repo: &Repo, access: Access, name: &str) -> GitCmd {
        let mut cmd = self.located(&repo.git_dir, &repo.common_dir, repo.worktree.as_deref(), access, name);
        cmd.options.extend(repo.config.neutral.iter().cloned());
        cmd
    }

    /// The same before the configuration is known; for reading the configuration itself, which runs nothing.
    pub(super) fn located(&self, git_dir: &Path, common_dir: &Path, worktree: Option<&Path>, access: Access, name: &str) -> GitCmd {
        let mut cmd = self.shared(name);
        cmd.exec.args.push(joined("--git-dir=", git_dir));
        if git_dir != common_dir {
            // The `commondir` file inside the git directory is not asked.
            cmd = cmd.env("GIT_COMMON_DIR", common_dir);
        }
        if let Some(worktree) = worktree {
            cmd.exec.args.push(joined("--work-tree=", worktree));
            worktree.clone_into(&mut cmd.exec.cwd);
        }
        cmd.access = access;
        match access {
            Access::Read => cmd = cmd.env("GIT_OPTIONAL_LOCKS", "0"),
            Access::Write => cmd = cmd.option("core.fsync", "all"),
        }
        cmd.exec.args.push(name.into());
        cmd
    }
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

fn environment(home: &Path) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), crate::exec::operator_path_value()),
        ("HOME".into(), home.as_os_str().to_owned()),
        ("XDG_CONFIG_HOME".into(), home.as_os_str().to_owned()),
    ];
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_GRAFT_FILE", "/dev/null"),
        ("GIT_ALLOW_PROTOCOL", ""),
        ("GIT_PROTOCOL_FROM_USER", "0"),
        ("GIT_PAGER", "cat"),
        ("GIT_EDITOR", "false"),
        ("GIT_SEQUENCE_EDITOR", "false"),
        ("GIT_ASKPASS", "false"),
        ("SSH_ASKPASS", "false"),
        ("GIT_SSH_COMMAND", "false"),
        ("GIT_ADVICE", "0"),
    ];
    env.extend(fixed.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))));
    env
}

impl GitCmd {
    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.exec.args.push(arg.as_ref().to_owned());
        self
    }
    pub(super) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.exec.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }
    /// `--` and the paths, literal.
    pub(super) fn paths(self, paths: &[dcc_core::RepoPath]) -> Self {
        self.arg("--").args(paths.iter().map(|p| OsStr::from_bytes(p.as_bytes())))
    }
    pub(super) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.exec.env.retain(|(k, _)| k != key);
        self.exec.env.push((key.into(), value.as_ref().to_owned()));
        self
    }
    pub(super) fn option(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.options.push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }
    pub(super) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.exec.stdin = Some(bytes);
        self
    }
    pub(super) fn stdin_file(mut self, file: std::fs::File) -> Self {
        self.exec.stdin_file = Some(std::sync::Arc::new(file));
        self
    }
    pub(super) fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.exec.timeout_ms = timeout_ms;
        self
    }
    /// Runs it and hands the end over, whatever it is, unless it was cut short.
    pub(super) fn run(mut self) -> Outcome<GitRun> {
        let count = self.options.len();
        self.exec.env.push(("GIT_CONFIG_COUNT".into(), count.to_string().into()));
        for (i, (key, value)) in self.options.into_iter().enumerate() {
            self.exec.env.push((format!("GIT_CONFIG_KEY_{i}").into(), OsString::from_vec(key)));
            self.exec.env.push((format!("GIT_CONFIG_VALUE_{i}").into(), OsString::from_vec(value)));
        }
        let timeout_ms = self.exec.timeout_ms;
        if self.access == Access::Write {
            dcc_core::failpoint!(&format!("before git {}", self.name));
        }
        let done = self.exec.run()?;
        if self.access == Access::Write {
            dcc_core::failpoint!(&format!("after git {}", self.name));
        }
        if done.timed_out {
            return Err(Failure::engine(format!("git {} did not end within {} s", self.name, timeout_ms.div_ceil(1000)))
                .hint("the repository or its file system is very slow; try again"));
        }
        if done.stdout_cut > 0 {
            return Err(Failure::engine(format!("git {} answered more than {} MiB", self.name, limits::GIT_OUTPUT_BYTES_MAX >> 20)).hint("narrow it: name paths"));
        }
        Ok(GitRun { done, name: self.name })
    }
    /// Runs it; a non-zero exit is HSK-500-ENGINE with git's own words.
    pub(super) fn output(self) -> Outcome<Vec<u8>> {
        self.run()?.output()
    }
    /// Runs it; the first line of its output.
    pub(super) fn line(self) -> Outcome<String> {
        let out = self.output()?;
        Ok(first_line(&out))
    }
}

impl GitRun {
    pub(super) fn is_success(&self) -> bool {
        self.done.is_success()
    }
    pub(super) fn code(&self) -> Option<i32> {
        self.done.code
    }
    pub(super) fn line(&self) -> String {
        first_line(&self.done.stdout)
    }
    pub(super) fn output(self) -> Outcome<Vec<u8>> {
        if self.is_success() { Ok(self.done.stdout) } else { Err(self.failure()) }
    }
    pub(super) fn stderr(&self) -> String {
        self.done.stderr_line()
    }
    /// The failure that a non-zero exit is, with git's own words.
    pub(super) fn failure(&self) -> Failure {
        let words = self.stderr();
        let end = match (self.done.code, self.done.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        if words.contains("bad config") || words.contains("bad numeric config") || words.contains("bad boolean config") || words.contains("unknown repository extension") {
            return Failure::new(Code::VcsRepoInvalid, format!("git cannot read the repository's configuration: {words}")).hint("repair the configuration file that is named");
        }
        Failure::engine(format!("git {} failed with {end}: {}", self.name, if words.is_empty() { "no message" } else { &words }))
    }
}

fn first_line(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// Text of a git answer as a path.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
