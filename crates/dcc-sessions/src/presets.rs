//! The catalogue of known agents, and what the operator's configuration makes of it (SESSIONS 5, presets).
//!
//! Authority: ephemeral; the operator's configuration wins over the catalogue in every field it sets. Invariants: nothing
//! is downloaded, nothing is run to find out; no port is open unless the operator's entry names it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dcc_core::ports::sessions::Driver;
use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::redact::{redact_text, refuse_known};
use dcc_engines::sandbox::PORT_WORD;
use serde_json::json;

use crate::acp::AgentTraits;
use crate::scripted::DEMO_FILE;

mod catalogue;
mod login;

use catalogue::{CATALOGUE, Entry};
pub(crate) use catalogue::{home_files, servers_argument};
pub use login::{login, login_state};

/// `[agents.NAME]` of the operator's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Program and arguments; empty = the catalogue's.
    pub command: Vec<String>,
    /// Joined with the catalogue's. A value that looks like a secret is refused: it would stay in every plan.
    pub env: BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    /// A directory of the operator's that the agent is configured from.
    pub config_dir: Option<String>,
    pub connect_ports: Vec<u16>,
    /// It may listen on one TCP port and connect to it, chosen at each start; `{port}` in command and env stands for it.
    pub listen_port: bool,
    pub ask_mode: Option<String>,
    /// The method by which the agent itself logs in (ACP authenticate) when it says at a start that it must.
    pub auth_method: Option<String>,
    /// Its own login command, program and arguments; empty = the catalogue's.
    pub login: Vec<String>,
    /// The TCP port on which that command waits for the browser's answer.
    pub login_port: Option<u16>,
    /// Which file requests the agent may make: the catalogue's when not set, all for an agent of the operator's own.
    pub file_caps: Option<Vec<FileCap>>,
    /// `pty` for a program that speaks no protocol: it runs in a pseudo-terminal, unobserved.
    pub driver: Driver,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileCap {
    Read,
    Write,
}

/// An agent ready to be planned: everything a `SessionStartPlan` needs to know of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Preset {
    pub name: String,
    /// argv.
    pub command: Vec<String>,
    /// Absolute path of the program.
    pub executable: PathBuf,
    pub env: BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    pub connect_ports: Vec<u16>,
    pub listens: bool,
    pub ask_mode: Option<String>,
    pub auth_method: Option<String>,
    pub driver: Driver,
    /// What a person should know of this agent.
    pub quirks: Vec<String>,
}

const SCRIPTED: &str = "scripted";

const BOTH: &[FileCap] = &[FileCap::Read, FileCap::Write];

/// The agent of this name: the catalogue's entry as the operator's configuration changes it, or an entry of the
/// operator's own. HSK-404-AGENT names what is missing, HSK-400 an environment that holds a secret.
pub fn resolve(name: &str, configured: &BTreeMap<String, AgentConfig>) -> Outcome<Preset> {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    let config = configured.get(name).cloned().unwrap_or_default();
    if name == SCRIPTED && config.command.is_empty() {
        return scripted(DEMO_FILE);
    }
    let command: Vec<String> = match entry {
        _ if !config.command.is_empty() => config.command.clone(),
        Some(entry) => std::iter::once(entry.program).chain(entry.args.iter().copied()).map(str::to_owned).collect(),
        None => return Err(unknown(name, configured)),
    };
    refuse_secrets(name, &config.env)?;
    // No more than the environment: the words of a command are seen by every process of the machine besides.
    refuse_known(&format!("[agents.{name}] command"), &json!(command))?;
    let mut env: BTreeMap<String, String> = entry.iter().flat_map(|e| e.env).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    env.extend(config.env.clone());
    let executable = program(name, &command[0], entry)?;
    if !config.listen_port && command.iter().chain(env.values()).any(|text| text.contains(PORT_WORD)) {
        return Err(Failure::new(Code::SboxPolicyDenied, format!("the agent {name} listens on a TCP port of its own, which its entry does not allow"))
            .hint(format!("set listen_port = true under [agents.{name}]: it then listens on one free port, chosen at each start")));
    }
    let mut read_paths = config.read_paths.clone();
    read_paths.extend(config.config_dir.clone());
    Ok(Preset {
        name: name.to_owned(),
        executable,
        command,
        env,
        read_paths,
        connect_ports: config.connect_ports,
        listens: config.listen_port,
        ask_mode: config.ask_mode.or_else(|| entry.and_then(|e| e.ask_mode).map(str::to_owned)),
        auth_method: config.auth_method,
        driver: config.driver,
        quirks: entry.iter().flat_map(|e| e.quirks).map(|q| (*q).to_owned()).collect(),
    })
}

/// What is shorter under a secret's name is a placeholder, as services on one's own machine take it.
const SECRET_BYTES_MIN: usize = 20;

/// The environment is part of a session's plan, and plans are kept for good.
fn refuse_secrets(agent: &str, env: &BTreeMap<String, String>) -> Outcome<()> {
    let secret = |name: &str, value: &str| redact_text(value).1 > 0 || (value.len() >= SECRET_BYTES_MIN && redact_text(&format!("{name}={value}")).1 > 0);
    match env.iter().find(|(name, value)| secret(name, value)) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::invalid(format!("the environment of the agent {agent} holds what looks like a secret: {name}"))
            .hint("the environment is kept in every plan; put the key where the agent looks for it in its own home (docs/agents.md)")),
    }
}

/// The scripted agent with a file to play; [`DEMO_FILE`] is part of the program.
pub fn scripted(file: &str) -> Outcome<Preset> {
    let executable = std::env::current_exe().map_err(|e| Failure::new(Code::NotFoundAgent, format!("the path of this program cannot be found: {e}")))?;
    let read_paths = if file == DEMO_FILE { Vec::new() } else { vec![file.to_owned()] };
    Ok(Preset {
        name: SCRIPTED.to_owned(),
        command: vec![executable.to_string_lossy().into_owned(), "scripted-agent".to_owned(), file.to_owned()],
        executable,
        env: BTreeMap::new(),
        read_paths,
        connect_ports: Vec::new(),
        listens: false,
        ask_mode: Some("default".to_owned()),
        auth_method: None,
        driver: Driver::Acp,
        quirks: vec!["plays a fixed script; no model is behind it".to_owned()],
    })
}

/// Any other command, as `dcc session start -- COMMAND` gives it; named by the program's file name.
pub fn custom(command: &[String]) -> Outcome<Preset> {
    let first = command.first().filter(|first| !first.is_empty()).ok_or_else(|| Failure::invalid("no command was given"))?;
    let executable = program(first, first, None)?;
    let name = executable.file_name().map_or_else(|| first.clone(), |name| name.to_string_lossy().into_owned());
    Ok(Preset {
        name,
        command: command.to_vec(),
        executable,
        env: BTreeMap::new(),
        read_paths: Vec::new(),
        connect_ports: Vec::new(),
        listens: false,
        ask_mode: None,
        auth_method: None,
        driver: Driver::Pty,
        quirks: Vec::new(),
    })
}

/// One line of `dcc doctor`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Installed {
    pub name: String,
    /// The program that is looked for.
    pub program: String,
    /// Where it is; none = not installed.
    pub executable: Option<PathBuf>,
    /// The operator's configuration has an entry.
    pub configured: bool,
    /// What a person should mend in its entry, in words; none = nothing to say.
    pub advice: Option<String>,
    pub install: String,
    pub quirks: Vec<String>,
}

/// Every agent that is known or configured, found or not.
pub fn installed(configured: &BTreeMap<String, AgentConfig>) -> Vec<Installed> {
    let catalogued = CATALOGUE.iter().map(|entry| entry.name.to_owned());
    let mut names: Vec<String> = std::iter::once(SCRIPTED.to_owned()).chain(catalogued).collect();
    names.extend(configured.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    names.into_iter().map(|name| line_of(name, configured)).collect()
}

fn line_of(name: String, configured: &BTreeMap<String, AgentConfig>) -> Installed {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    let (preset, refused) = match resolve(&name, configured) {
        Ok(preset) => (Some(preset), None),
        Err(failure) => (None, (failure.code != Code::NotFoundAgent).then_some(failure.message)),
    };
    let own = configured.get(&name).and_then(|config| config.command.first().cloned());
    Installed {
        program: own.or_else(|| entry.map(|e| e.program.to_owned())).unwrap_or_else(|| "dcc".to_owned()),
        // What is refused for its entry is installed all the same.
        executable: preset.as_ref().map(|preset| preset.executable.clone()).or_else(|| entry.filter(|_| refused.is_some()).and_then(|e| program(&name, e.program, Some(e)).ok())),
        configured: configured.contains_key(&name),
        advice: refused.or_else(|| preset.as_ref().and_then(unreachable)),
        install: entry.map(|e| e.install.to_owned()).unwrap_or_default(),
        quirks: preset.map(|preset| preset.quirks).unwrap_or_default(),
        name,
    }
}

/// Names resolve over this port.
const DNS_PORT: u16 = 53;

/// What an agent cannot reach by the ports of its entry.
fn unreachable(preset: &Preset) -> Option<String> {
    match preset.connect_ports.as_slice() {
        _ if preset.name == SCRIPTED => None,
        [] => Some(format!("reaches no service: no port is named under [agents.{}] connect_ports", preset.name)),
        ports if !ports.contains(&DNS_PORT) => Some(format!("cannot resolve names: port {DNS_PORT} is not among its connect_ports")),
        _ => None,
    }
}

/// What the backend has to know of each agent, by name.
pub fn traits(configured: &BTreeMap<String, AgentConfig>) -> BTreeMap<String, AgentTraits> {
    let names = CATALOGUE.iter().map(|entry| entry.name).chain([SCRIPTED]).chain(configured.keys().map(String::as_str));
    names.map(|name| (name.to_owned(), traits_of(name, configured.get(name)))).collect()
}

fn traits_of(name: &str, config: Option<&AgentConfig>) -> AgentTraits {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    let own_mode = config.and_then(|config| config.ask_mode.clone());
    let own_caps = config.and_then(|config| config.file_caps.as_deref());
    let caps = own_caps.unwrap_or_else(|| entry.map_or(BOTH, |e| e.file_caps));
    AgentTraits {
        // What the operator names has to be there; what the catalogue names may be gone in an agent without modes.
        ask_mode_required: own_mode.is_some(),
        ask_mode: own_mode.or_else(|| entry.and_then(|e| e.ask_mode).map(str::to_owned)),
        read_files: caps.contains(&FileCap::Read),
        write_files: caps.contains(&FileCap::Write),
        tokens_over_conversation: catalogue::COUNT_THE_CONVERSATION.contains(&name),
        takes_stdio_servers: !catalogue::TAKE_NO_STDIO_SERVERS.contains(&name),
        servers_by_file: servers_argument(name).is_some(),
        ..AgentTraits::default()
    }
}

fn unknown(name: &str, configured: &BTreeMap<String, AgentConfig>) -> Failure {
    let names: Vec<&str> = CATALOGUE.iter().map(|e| e.name).chain([SCRIPTED]).chain(configured.keys().map(String::as_str)).collect();
    Failure::new(Code::NotFoundAgent, format!("there is no agent {name:?}"))
        .hint(format!("known are {}; add another under [agents.{name}] in the configuration; a server that runs read it when it was started", names.join(", ")))
}

/// Finds the program of a command: a path as it is, a name in PATH.
fn program(agent: &str, name: &str, entry: Option<&Entry>) -> Outcome<PathBuf> {
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|path| is_program(path))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|path| is_program(path))
    };
    let absolute = found.and_then(|path| std::path::absolute(path).ok());
    absolute.ok_or_else(|| {
        let how = entry.map_or_else(|| format!("install it, or correct command under [agents.{agent}]"), |e| format!("install it ({}), or name it as command under [agents.{agent}]", e.install));
        Failure::new(Code::NotFoundAgent, format!("the program {name} of the agent {agent} is not installed")).hint(how)
    })
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(name: &str, config: AgentConfig) -> BTreeMap<String, AgentConfig> {
        BTreeMap::from([(name.to_owned(), config)])
    }

    #[test]
    fn names_are_unique_and_every_entry_says_how_to_install_it() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|e| e.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|e| !e.install.is_empty() && !e.program.is_empty() && e.name != SCRIPTED));
    }

    #[test]
    fn missing_programs_and_unknown_names_are_told_apart() {
        let unknown = resolve("nobody", &BTreeMap::new()).unwrap_err();
        assert!(unknown.code == Code::NotFoundAgent && unknown.hint.unwrap().contains("claude"));
        let config = AgentConfig { command: vec!["dcc-no-such-program".into()], ..AgentConfig::default() };
        let missing = resolve("claude", &configured("claude", config)).unwrap_err();
        assert!(missing.code == Code::NotFoundAgent && missing.message.contains("dcc-no-such-program"));
    }

    #[test]
    fn the_operator_wins_over_the_catalogue() {
        let config = AgentConfig {
            command: vec!["sh".into(), "-c".into()],
            env: BTreeMap::from([("GOOSE_MODE".into(), "chat".into())]),
            connect_ports: vec![443],
            ask_mode: Some("careful".into()),
            file_caps: Some(vec![FileCap::Write]),
            ..AgentConfig::default()
        };
        let all = configured("goose", config);
        let preset = resolve("goose", &all).unwrap();
        assert!(preset.executable.is_absolute() && preset.command == ["sh", "-c"]);
        assert_eq!((preset.env["GOOSE_MODE"].as_str(), preset.connect_ports.as_slice(), preset.ask_mode.as_deref()), ("chat", &[443][..], Some("careful")));
        let traits = &traits(&all)["goose"];
        assert!(traits.ask_mode_required && !traits.read_files && traits.write_files);
    }

    #[test]
    fn file_requests_follow_the_catalogue_until_the_operator_says_otherwise() {
        let caps = |all: &BTreeMap<String, AgentConfig>, name: &str| (traits(all)[name].read_files, traits(all)[name].write_files);
        let none = BTreeMap::new();
        assert_eq!((caps(&none, "gemini"), caps(&none, "claude")), ((false, true), (true, true)));
        let both = configured("gemini", AgentConfig { file_caps: Some(BOTH.to_vec()), ..AgentConfig::default() });
        assert_eq!(caps(&both, "gemini"), (true, true));
        assert_eq!(caps(&configured("mine", AgentConfig::default()), "mine"), (true, true));
    }

    #[test]
    fn files_of_a_new_home_are_settings_below_it() {
        let all: Vec<_> = CATALOGUE.iter().flat_map(|e| e.home_files).collect();
        assert!(all.iter().all(|(path, text)| Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_))) && text.ends_with('\n')));
        let settings: serde_json::Value = serde_json::from_str(home_files("gemini")[0].1).unwrap();
        assert_eq!(settings["tools"]["shell"]["enableInteractiveShell"], false);
        assert!(home_files("nobody").is_empty());
    }

    #[test]
    fn an_agent_without_the_ports_it_needs_is_told_apart() {
        let network = |ports: &[u16]| {
            let config = AgentConfig { command: vec!["sh".into()], connect_ports: ports.to_vec(), ..AgentConfig::default() };
            let lines = installed(&configured("mine", config));
            lines.into_iter().find(|line| line.name == "mine").and_then(|line| line.advice)
        };
        assert!(network(&[]).unwrap().contains("no port"));
        assert!(network(&[443]).unwrap().contains("resolve"));
        assert_eq!(network(&[53, 443]), None);
        assert_eq!(installed(&BTreeMap::new())[0].advice, None);
    }

    #[test]
    fn a_secret_in_the_environment_is_refused_and_never_repeated() {
        let with = |name: &str, value: &str| {
            let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            configured("mine", AgentConfig { command: vec!["sh".into()], env, ..AgentConfig::default() })
        };
        for (name, value) in [("ANTHROPIC_API_KEY", "0123456789abcdef0123456789abcdef"), ("PLAIN", "sk-ant-api03-0123456789abcdef0123456789abcdef")] {
            let failure = resolve("mine", &with(name, value)).unwrap_err();
            assert!(failure.code == Code::InvalidInput && failure.message.contains(name) && !failure.message.contains("0123"), "{failure}");
            let lines = installed(&with(name, value));
            assert!(lines.iter().find(|line| line.name == "mine").unwrap().advice.as_ref().unwrap().contains(name));
        }
        for (name, value) in [("OPENAI_API_KEY", "local"), ("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"), ("ANTHROPIC_MODEL", "a-model-with-quite-a-long-name")] {
            assert!(resolve("mine", &with(name, value)).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_scripted_agent_is_this_program() {
        let preset = resolve("scripted", &BTreeMap::new()).unwrap();
        assert_eq!(preset.command[1..], ["scripted-agent", DEMO_FILE]);
        assert!(installed(&BTreeMap::new()).iter().any(|line| line.name == "scripted" && line.executable.is_some()));
        assert_eq!(scripted("/tmp/play.json").unwrap().read_paths, ["/tmp/play.json"]);
    }

    #[test]
    fn a_custom_command_is_named_by_its_program() {
        let preset = custom(&["/bin/sh".into(), "-i".into()]).unwrap();
        assert_eq!(preset.name, "sh");
        assert!(custom(&[]).is_err() && custom(&["/bin/dcc-nothing".into()]).is_err());
    }
}
