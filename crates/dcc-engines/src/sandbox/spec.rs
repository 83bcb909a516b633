//! What goes over the socket between DCC and the host: one specification in, lines of reports out, single command bytes in.
//!
//! Authority: ephemeral. Paths travel in the lossless escape of `dcc_core::workspace`, since JSON holds no bytes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::limits;
use dcc_core::ports::sessions::Driver;
use dcc_core::plans::{CommandPlan, LoginPlan, RecipePlan, SessionStartPlan};
use dcc_core::workspace::{escape_path, unescape_path};
use serde::{Deserialize, Serialize};

use super::profile::Profile;

/// The specification with its whole environment; far above any real one, so that a broken length is refused.
pub const SPEC_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Live processes of one run; a parallel build on a large machine stays below.
pub const PROCESSES_MAX: u32 = 512;
/// The run is ended when the file system it writes to has less free space than this, if it had more at the start.
pub const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// One file that a run writes; build products stay below, a runaway log does not.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// PATH inside when the operator declares none, after the program's own directory.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The variable that marks every process of a run, so that a test can prove that none is left.
pub const MARKER_VARIABLE: &str = "DCC_SESSION";

/// Stands for the port to listen on.
pub const PORT_WORD: &str = "{port}";

/// A port on which nobody listens now, as the kernel gives it: never one of DCC's own, which are taken.
pub fn free_port() -> Outcome<u16> {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    found.map(|address| address.port()).map_err(|error| Failure::engine(format!("no free port: {error}")))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    Pipe,
    Null,
    /// A pseudo-terminal of the command's own is its standard input, output and error, and its controlling terminal.
    Terminal,
}

/// One command to run confined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// argv[0] is what the program sees as its name; never holds a secret.
    pub argv: Vec<String>,
    /// Absolute path that is executed.
    #[serde(with = "escaped")]
    pub executable: PathBuf,
    #[serde(with = "escaped")]
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    pub profile: Profile,
    pub stdin: Stdin,
    /// Value of [`MARKER_VARIABLE`]; unique to the run.
    pub marker: String,
    pub processes_max: u32,
    pub free_bytes_min: u64,
    /// Namespaces of its own, and no run without them. False only where the self-test saw that there can be none.
    pub namespaces: bool,
    /// What this kernel cannot put on is left off, because a person waived it.
    #[serde(default)]
    pub waived: bool,
}

impl Spec {
    /// A command with the environment of [`Spec::environment`] and the default limits.
    pub fn new(argv: Vec<String>, executable: &Path, cwd: &Path, declared: &BTreeMap<String, String>, profile: Profile, stdin: Stdin, marker: &str) -> Self {
        let env = Self::environment(declared, executable, &profile, marker);
        Self {
            argv,
            executable: executable.to_path_buf(),
            cwd: cwd.to_path_buf(),
            env,
            profile,
            stdin,
            marker: marker.to_owned(),
            processes_max: PROCESSES_MAX,
            free_bytes_min: FREE_BYTES_MIN,
            namespaces: true,
            waived: false,
        }
    }

    pub fn for_recipe(plan: &RecipePlan, tmp: &Path, marker: &str) -> Outcome<Self> {
        let profile = Profile::for_recipe(plan, tmp)?;
        Ok(Self::new(plan.argv.clone(), &path_of(&plan.executable), &path_of(&plan.cwd), &plan.env, profile, Stdin::Null, marker))
    }

    /// `tmp` is for a command of no session; one of a session has the session's own.
    pub fn for_command(plan: &CommandPlan, tmp: &Path, marker: &str) -> Outcome<Self> {
        let profile = Profile::for_command(plan, tmp)?;
        let mut declared = plan.env.clone();
        if let Some(session) = &plan.place {
            declared.entry("PATH".into()).or_insert_with(|| session.path.clone());
        }
        Ok(Self::new(plan.argv.clone(), &path_of(&plan.executable), &path_of(&plan.cwd), &declared, profile, Stdin::Null, marker))
    }

    /// `tmp` and `home` must exist; the caller removes `tmp` after the session.
    pub fn for_agent(plan: &SessionStartPlan, tmp: &Path, home: &Path, marker: &str) -> Outcome<Self> {
        let profile = Profile::for_agent(plan, tmp, home)?;
        let stdin = if plan.driver == Driver::Pty { Stdin::Terminal } else { Stdin::Pipe };
        let mut spec = Self::new(plan.command.clone(), &path_of(&plan.executable), &path_of(&plan.cwd), &plan.env, profile, stdin, marker);
        if stdin == Stdin::Terminal {
            spec.env.entry("TERM".into()).or_insert_with(|| "xterm-256color".into());
        }
        Ok(spec)
    }

    /// An agent's own login in its home, on a terminal.
    pub fn for_login(plan: &LoginPlan, tmp: &Path, home: &Path, marker: &str) -> Outcome<Self> {
        let profile = Profile::for_login(plan, tmp, home)?;
        let mut spec = Self::new(plan.command.clone(), &path_of(&plan.executable), home, &plan.env, profile, Stdin::Terminal, marker);
        spec.env.entry("TERM".into()).or_insert_with(|| "xterm-256color".into());
        Ok(spec)
    }

    /// Opens a port to listen on and names it where the command and its environment ask for it.
    pub fn listen_on(&mut self, port: u16, reach: bool) {
        let number = port.to_string();
        for text in self.argv.iter_mut().chain(self.env.values_mut()).filter(|text| text.contains(PORT_WORD)) {
            *text = text.replace(PORT_WORD, &number);
        }
        self.profile.listen_on(port, reach);
    }

    /// Nothing is inherited: what was declared, a PATH, a language, and what DCC decides (home, temporary directory,
    /// marker).
    fn environment(declared: &BTreeMap<String, String>, executable: &Path, profile: &Profile, marker: &str) -> BTreeMap<String, String> {
        let mut env = declared.clone();
        if !env.contains_key("PATH") {
            let own = executable.parent().and_then(Path::to_str).filter(|dir| !dir.contains(':'));
            env.insert("PATH".into(), own.map_or_else(|| PATH_DEFAULT.to_owned(), |dir| format!("{dir}:{PATH_DEFAULT}")));
        }
        env.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
        // Reading commands of git must not try to refresh an index that they cannot write.
        env.entry("GIT_OPTIONAL_LOCKS".into()).or_insert_with(|| "0".into());
        env.insert("HOME".into(), profile.home.to_string_lossy().into_owned());
        env.insert("TMPDIR".into(), profile.tmp.to_string_lossy().into_owned());
        env.insert(MARKER_VARIABLE.into(), marker.to_owned());
        env
    }
}

/// What the host says, one JSON object a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// The command runs with every layer in place.
    Started { pid: u32, landlock_abi: u32 },
    /// It does not run; which layer could not be set up.
    Refused { layer: String, message: String },
    /// It is over, and so is the host.
    Ended(ExitReport),
}

/// Why a run was ended by the host; none when the command ended by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// DCC asked.
    Asked,
    /// The socket to DCC closed.
    ParentGone,
    /// More than `processes_max` processes.
    Processes,
    /// Less than `free_bytes_min` free.
    Disk,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExitReport {
    /// None when a signal ended it.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Processes other than the command's own that had to be ended.
    pub survivors: u32,
    /// Processes that could not be ended (stuck in the kernel); zero means that the tree is proven empty.
    pub left: u32,
    pub ended_by: Option<EndReason>,
}

/// How to end a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// End of input was given: its grace, then TERM and its grace, then KILL.
    Graceful,
    /// TERM and its grace, then KILL.
    Terminate,
    /// KILL.
    Kill,
}

/// What DCC tells the host, one byte each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    End(Ending),
    /// Stop every process where it stands, for at most `limits::FREEZE_MS_MAX`.
    Freeze,
    Thaw,
}

impl Order {
    const ALL: [(Self, u8); 5] =
        [(Self::End(Ending::Graceful), b'E'), (Self::End(Ending::Terminate), b'T'), (Self::End(Ending::Kill), b'K'), (Self::Freeze, b'F'), (Self::Thaw, b'C')];

    pub fn byte(self) -> u8 {
        Self::ALL.into_iter().find(|(order, _)| *order == self).map(|(_, byte)| byte).expect("every order has its byte")
    }
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == byte).map(|(order, _)| order)
    }
}

impl Ending {
    /// Milliseconds to wait after end of input, and after TERM.
    pub fn grace_ms(self) -> (u64, u64) {
        match self {
            Self::Graceful => (limits::AGENT_INPUT_END_GRACE_MS, limits::AGENT_TERM_GRACE_MS),
            Self::Terminate => (0, limits::AGENT_TERM_GRACE_MS),
            Self::Kill => (0, 0),
        }
    }
}

/// The path behind the plan's escaped text.
pub fn path_of(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(unescape_path(text)).into()
}

/// The plan's text for a path.
pub fn text_of(path: &Path) -> String {
    escape_path(path.as_os_str().as_bytes())
}

/// Serde for one path.
pub mod escaped {
    use super::{Path, PathBuf, path_of, text_of};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&text_of(path))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
        Ok(path_of(&String::deserialize(d)?))
    }
}

/// Serde for a list of paths.
pub mod escaped_list {
    use super::{PathBuf, path_of, text_of};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(paths: &[PathBuf], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(paths.iter().map(|path| text_of(path)))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<String>::deserialize(d)?.iter().map(|text| path_of(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cancel_waits_for_stays_within_what_is_promised() {
        let (input_end, term) = Ending::Graceful.grace_ms();
        let waits = limits::AGENT_STOP_GRACE_MS + input_end + term;
        assert!(waits < limits::AGENT_GONE_MS_MAX, "{waits} ms");
        assert_eq!(limits::AGENT_GONE_MS_MAX, 5_000, "the promise of the CHANGELOG");
    }
}
