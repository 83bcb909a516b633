//! The catalogue of known agents, and what the operator's configuration makes of it (SESSIONS 5, presets).
//!
//! Authority: ephemeral; the operator's configuration wins over the catalogue in every field it sets. Invariants: nothing
//! is downloaded, nothing is run to find out; no port is open unless the operator's entry names it.
//!
//! Commands and modes follow the public agent registry and the agents' documentation; only `scripted` was run here, so
//! each quirk is a claim to be checked when that agent is first used.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dcc_core::failure::{Code, Failure, Outcome};

use crate::acp::AgentTraits;
use crate::scripted::DEMO_FILE;

/// `[agents.NAME]` of the operator's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Program and arguments; empty = the catalogue's.
    pub command: Vec<String>,
    /// Joined with the catalogue's; never holds a secret.
    pub env: BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    /// A directory of the operator's that the agent is configured from.
    pub config_dir: Option<String>,
    pub connect_ports: Vec<u16>,
    pub ask_mode: Option<String>,
    pub auth_method: Option<String>,
    /// Which file requests the agent may make: all when not set.
    pub file_caps: Option<Vec<FileCap>>,
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
    pub ask_mode: Option<String>,
    pub auth_method: Option<String>,
    /// What a person should know of this agent.
    pub quirks: Vec<String>,
}

struct Entry {
    name: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// The mode in which it asks; none = one named default or ask.
    ask_mode: Option<&'static str>,
    /// How to get the program.
    install: &'static str,
    quirks: &'static [&'static str],
}

const SCRIPTED: &str = "scripted";

const CATALOGUE: &[Entry] = &[
    Entry {
        name: "claude",
        program: "claude-agent-acp",
        args: &[],
        env: &[],
        ask_mode: Some("default"),
        install: "npm package @agentclientprotocol/claude-agent-acp",
        quirks: &["runs read-only commands without asking", "an approved plan can move it into a mode that does not ask: the next prompt is then refused"],
    },
    Entry {
        name: "codex",
        program: "codex-acp",
        args: &[],
        env: &[],
        ask_mode: Some("read-only"),
        install: "npm package @agentclientprotocol/codex-acp",
        quirks: &["its mode auto writes without asking, so it is set to read-only, where each write is asked for"],
    },
    Entry {
        name: "gemini",
        program: "gemini",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("default"),
        install: "npm package @google/gemini-cli",
        quirks: &["shows a command in the title only"],
    },
    Entry {
        name: "opencode",
        program: "opencode",
        args: &["acp"],
        env: &[("OPENCODE_PERMISSION", "{\"edit\":\"ask\",\"bash\":\"ask\",\"webfetch\":\"ask\"}")],
        ask_mode: Some("build"),
        install: "npm package opencode-ai",
        quirks: &["its modes are agents; whether it asks is decided by its permission settings, given by environment"],
    },
    Entry {
        name: "qwen",
        program: "qwen",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("default"),
        install: "npm package @qwen-code/qwen-code",
        quirks: &[],
    },
    Entry {
        name: "goose",
        program: "goose",
        args: &["acp"],
        env: &[("GOOSE_MODE", "approve")],
        ask_mode: Some("approve"),
        install: "the releases of goose",
        quirks: &["its default mode writes without asking"],
    },
    Entry {
        name: "copilot",
        program: "copilot",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("https://agentclientprotocol.com/protocol/session-modes#agent"),
        install: "npm package @github/copilot",
        quirks: &["its modes are named by addresses"],
    },
    Entry {
        name: "cursor",
        program: "cursor-agent",
        args: &["acp"],
        env: &[],
        ask_mode: Some("agent"),
        install: "the installer of the Cursor command line",
        quirks: &["its mode ask only answers questions; it is set to agent, which asks before it acts"],
    },
    Entry {
        name: "vibe",
        program: "vibe-acp",
        args: &[],
        env: &[],
        ask_mode: Some("default"),
        install: "Python package mistral-vibe",
        quirks: &[],
    },
    Entry {
        name: "fast-agent",
        program: "fast-agent-acp",
        args: &["-x"],
        env: &[],
        ask_mode: None,
        install: "Python package fast-agent-acp",
        quirks: &["its modes are the agents of its own configuration: name one as ask_mode when it offers any"],
    },
];

/// The agent of this name: the catalogue's entry as the operator's configuration changes it, or an entry of the
/// operator's own. HSK-404-AGENT names what is missing.
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
    let mut env: BTreeMap<String, String> = entry.iter().flat_map(|e| e.env).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    env.extend(config.env.clone());
    let mut read_paths = config.read_paths.clone();
    read_paths.extend(config.config_dir.clone());
    Ok(Preset {
        name: name.to_owned(),
        executable: program(name, &command[0], entry)?,
        command,
        env,
        read_paths,
        connect_ports: config.connect_ports,
        ask_mode: config.ask_mode.or_else(|| entry.and_then(|e| e.ask_mode).map(str::to_owned)),
        auth_method: config.auth_method,
        quirks: entry.iter().flat_map(|e| e.quirks).map(|q| (*q).to_owned()).collect(),
    })
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
        ask_mode: Some("default".to_owned()),
        auth_method: None,
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
        ask_mode: None,
        auth_method: None,
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
    let preset = resolve(&name, configured).ok();
    let own = configured.get(&name).and_then(|config| config.command.first().cloned());
    Installed {
        program: own.or_else(|| entry.map(|e| e.program.to_owned())).unwrap_or_else(|| "dcc".to_owned()),
        executable: preset.as_ref().map(|preset| preset.executable.clone()),
        configured: configured.contains_key(&name),
        install: entry.map(|e| e.install.to_owned()).unwrap_or_default(),
        quirks: preset.map(|preset| preset.quirks).unwrap_or_default(),
        name,
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
    let caps = config.and_then(|config| config.file_caps.clone());
    let offers = |cap: FileCap| caps.as_ref().is_none_or(|caps| caps.contains(&cap));
    AgentTraits {
        // What the operator names has to be there; what the catalogue names may be gone in an agent without modes.
        ask_mode_required: own_mode.is_some(),
        ask_mode: own_mode.or_else(|| entry.and_then(|e| e.ask_mode).map(str::to_owned)),
        read_files: offers(FileCap::Read),
        write_files: offers(FileCap::Write),
        ..AgentTraits::default()
    }
}

fn unknown(name: &str, configured: &BTreeMap<String, AgentConfig>) -> Failure {
    let names: Vec<&str> = CATALOGUE.iter().map(|e| e.name).chain([SCRIPTED]).chain(configured.keys().map(String::as_str)).collect();
    Failure::new(Code::NotFoundAgent, format!("there is no agent {name:?}"))
        .hint(format!("known are {}; add another under [agents.{name}] in the configuration", names.join(", ")))
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
