//! The operator's directories (XDG), never inside a repository: configuration, state, run time.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use dcc_core::ports::Clock;
use dcc_core::{Failure, Outcome, ProjectId};

/// What a surface shows to prove that it is the operator's.
const CREDENTIAL: &str = "credential";
/// Keys and checkpoints are one line each.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Where the operator's own files stand.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// `$XDG_CONFIG_HOME/dcc`
    pub config: PathBuf,
    /// `$XDG_STATE_HOME/dcc`
    pub state: PathBuf,
    /// `$XDG_RUNTIME_DIR/dcc`, or `run` below the state directory.
    pub runtime: PathBuf,
    pub home: Option<PathBuf>,
}

impl Dirs {
    /// From the environment; a relative XDG value is ignored as the specification says.
    pub fn from_env() -> Outcome<Self> {
        let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = var("HOME");
        let below = |name: &str, fallback: &str| {
            var(name)
                .or_else(|| home.as_ref().map(|h| h.join(fallback)))
                .map(|p| p.join("dcc"))
                .ok_or_else(|| Failure::invalid(format!("neither {name} nor HOME is set")).hint("set HOME to your home directory"))
        };
        let config = below("XDG_CONFIG_HOME", ".config")?;
        let state = below("XDG_STATE_HOME", ".local/state")?;
        let runtime = var("XDG_RUNTIME_DIR").filter(|p| p.is_dir()).map_or_else(|| state.join("run"), |p| p.join("dcc"));
        Ok(Self { config, state, runtime, home })
    }

    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The homes that DCC keeps for agents, one for each name.
    pub fn agent_homes(&self) -> PathBuf {
        self.state.join("agents")
    }

    /// Short on purpose: a Unix socket's path has 107 bytes.
    pub fn socket(&self, project_id: ProjectId) -> PathBuf {
        let text = project_id.to_string();
        self.runtime.join(format!("{}.sock", &text[text.len() - 12..]))
    }

    /// The operator's credential; none before `dcc init`.
    pub fn credential(&self) -> Outcome<Option<String>> {
        self.secret(CREDENTIAL)
    }

    /// The credential, made on first use with mode 0600.
    pub fn require_credential(&self, clock: &dyn Clock) -> Outcome<String> {
        self.require_secret(CREDENTIAL, clock)
    }

    /// A secret of the state directory, one line; none before it was made. One that others can read is refused.
    pub fn secret(&self, name: &str) -> Outcome<Option<String>> {
        let path = self.state.join(name);
        let unreadable = |why: String| Failure::engine(format!("{} cannot be read: {why}", path.display())).hint("put the file back, or move it away: the next dcc init makes a new one");
        let text = match read_small(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| unreadable("it is no text".to_owned()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let mode = std::fs::metadata(&path).map_or(0, |m| m.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            return Err(Failure::new(dcc_core::Code::Unauthenticated, format!("{} can be read by others (mode {mode:o})", path.display()))
                .hint(format!("chmod 600 {0}, or delete it: the next dcc init makes a new one", path.display())));
        }
        Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty()))
    }

    /// The secret, made on first use with mode 0600.
    pub fn require_secret(&self, name: &str, clock: &dyn Clock) -> Outcome<String> {
        if let Some(secret) = self.secret(name)? {
            return Ok(secret);
        }
        private_dir(&self.state)?;
        let secret = hex::encode(clock.random());
        let path = self.state.join(name);
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                file.write_all(format!("{secret}\n").as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| Failure::engine(format!("{} cannot be written: {e}", path.display())))?;
                Ok(secret)
            }
            // Another process was faster.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                self.secret(name)?.ok_or_else(|| Failure::engine(format!("{} is empty", path.display())).hint("delete it and try again"))
            }
            Err(e) => Err(Failure::engine(format!("{} cannot be made: {e}", path.display()))),
        }
    }
}

/// A small file of ours. What was put in its place, a pipe or a device, is refused instead of waited for.
pub fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let not_blocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(not_blocking).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > SMALL_BYTES_MAX {
        return Err(std::io::Error::other("it is no small file"));
    }
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a small file of ours, mode 0600, in one step: after a kill it is the old one or the new one, never half of it.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let fail = |e: std::io::Error| Failure::engine(format!("{} cannot be written: {e}", path.display()));
    if let Some(folder) = path.parent() {
        private_dir(folder)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temporary, path)).map_err(fail)
}

/// Makes a directory and its parents, mode 0700 for what is made.
pub fn private_dir(path: &Path) -> Outcome<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Failure::engine(format!("the directory {} cannot be made: {e}", path.display())))
}
