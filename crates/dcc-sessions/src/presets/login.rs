//! How each known agent logs itself in, and where it keeps what it got.
//!
//! Authority: ephemeral; claims about programs of others, and what stands in homes now. Invariants: files are looked for
//! and never shown; what no file tells is unknown, never guessed; a link in an agent's home is not followed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ports::sessions::{Callback, LoginSpec, LoginState};

use super::{AgentConfig, SCRIPTED, program, resolve};

/// One agent's own login: arguments of its program.
struct Login {
    agent: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    callback: Callback,
    marks: &'static [Mark],
}

/// A file below the home that is there, or holds these words, once the agent has credentials.
struct Mark {
    path: &'static str,
    holds: Option<&'static str>,
}

const fn file(path: &'static str) -> Mark {
    Mark { path, holds: None }
}
const fn words(path: &'static str, holds: &'static str) -> Mark {
    Mark { path, holds: Some(holds) }
}

const LOGINS: &[Login] = &[
    Login {
        agent: "claude",
        args: &["--cli", "auth", "login"],
        env: &[],
        callback: Callback::Nowhere,
        marks: &[file(".claude/.credentials.json"), words(".claude/settings.json", "ANTHROPIC_API_KEY"), words(".claude/settings.json", "ANTHROPIC_AUTH_TOKEN")],
    },
    Login { agent: "codex", args: &["login"], env: &[], callback: Callback::Port(1455), marks: &[file(".codex/auth.json")] },
    Login {
        agent: "gemini",
        args: &[],
        env: &[("NO_BROWSER", "true")],
        callback: Callback::Nowhere,
        marks: &[file(".gemini/oauth_creds.json"), words(".env", "GEMINI_API_KEY")],
    },
    Login { agent: "qwen", args: &[], env: &[], callback: Callback::Nowhere, marks: &[file(".qwen/oauth_creds.json"), words(".qwen/.env", "OPENAI_API_KEY")] },
    Login { agent: "opencode", args: &["auth", "login"], env: &[], callback: Callback::Nowhere, marks: &[words(".local/share/opencode/auth.json", "\"type\"")] },
    // Where it keeps its token was not seen: it may be another program's key store.
    Login { agent: "copilot", args: &["login", "--device-code"], env: &[], callback: Callback::Nowhere, marks: &[] },
    Login { agent: "goose", args: &["configure"], env: &[], callback: Callback::Nowhere, marks: &[] },
    Login { agent: "cursor", args: &["login"], env: &[("NO_OPEN_BROWSER", "1")], callback: Callback::Nowhere, marks: &[] },
    Login { agent: "vibe", args: &["--setup"], env: &[], callback: Callback::Nowhere, marks: &[words(".vibe/.env", "MISTRAL_API_KEY")] },
];

/// The agent's own login as the operator's configuration changes it. HSK-404-AGENT when its program is missing,
/// HSK-501-NOT-BUILT when no command is known.
pub fn login(name: &str, configured: &BTreeMap<String, AgentConfig>) -> Outcome<LoginSpec> {
    if name == SCRIPTED {
        return Err(Failure::invalid("the scripted agent needs no login"));
    }
    let preset = resolve(name, configured)?;
    let config = configured.get(name).cloned().unwrap_or_default();
    let known = LOGINS.iter().find(|login| login.agent == name);
    let (command, executable) = match (config.login.first(), known) {
        (Some(first), _) => (config.login.clone(), program(name, first, None)?),
        (None, Some(known)) => (preset.command.iter().take(1).cloned().chain(known.args.iter().map(|arg| (*arg).to_owned())).collect(), preset.executable),
        (None, None) => {
            return Err(Failure::new(Code::NotBuilt, format!("no login command is known for the agent {name}")).hint(format!("name it as login = [\"PROGRAM\", \"ARGUMENT\"] under [agents.{name}]")));
        }
    };
    let mut env = preset.env;
    env.extend(known.iter().flat_map(|known| known.env).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let callback = config.login_port.map_or_else(|| known.filter(|_| config.login.is_empty()).map_or(Callback::Nowhere, |known| known.callback), Callback::Port);
    Ok(LoginSpec {
        agent: name.to_owned(),
        command,
        executable: executable.to_string_lossy().into_owned(),
        env,
        read_paths: preset.read_paths,
        connect_ports: preset.connect_ports,
        callback,
    })
}

/// What the agent's home tells, and what that rests on.
pub fn login_state(name: &str, home: &Path) -> (LoginState, String) {
    if name == SCRIPTED {
        return (LoginState::NotNeeded, "it plays a file; no service is behind it".to_owned());
    }
    let marks = LOGINS.iter().find(|login| login.agent == name).map_or(&[][..], |login| login.marks);
    if marks.is_empty() {
        return (LoginState::Unknown, "where it keeps credentials is not known".to_owned());
    }
    if let Some(found) = marks.iter().find(|mark| stands(home, mark)) {
        return (LoginState::Stored, format!("{} stands in its home; whether its service still takes it is not known", found.path));
    }
    let paths: Vec<&str> = marks.iter().map(|mark| mark.path).collect();
    (LoginState::NoneStored, format!("its home holds none where it keeps them ({})", paths.join(", ")))
}

/// Settings are small; what is longer holds no key at its beginning.
const MARK_BYTES_MAX: u64 = 256 * 1024;

fn stands(home: &Path, mark: &Mark) -> bool {
    let mut path = home.to_path_buf();
    for part in Path::new(mark.path).components() {
        path.push(part);
        // The agent writes here: a link of its would let it ask us about any file of the operator's.
        if path.symlink_metadata().map_or(true, |found| found.is_symlink()) {
            return false;
        }
    }
    let Ok(found) = path.metadata() else { return false };
    if !found.is_file() || found.len() == 0 {
        return false;
    }
    let Some(holds) = mark.holds else { return true };
    let mut text = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(MARK_BYTES_MAX).read_to_end(&mut text));
    read.is_ok() && String::from_utf8_lossy(&text).contains(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets::catalogue::CATALOGUE;

    #[test]
    fn logins_belong_to_known_agents_and_marks_stay_in_the_home() {
        for login in LOGINS {
            assert!(CATALOGUE.iter().any(|entry| entry.name == login.agent), "{}", login.agent);
            assert!(login.marks.iter().all(|mark| Path::new(mark.path).components().all(|part| matches!(part, std::path::Component::Normal(_)))));
        }
    }

    #[test]
    fn what_a_home_tells_is_told_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("claude");
        let state = |name: &str| login_state(name, &home).0;
        assert_eq!((state("claude"), state("copilot"), state("mine"), state("scripted")), (LoginState::NoneStored, LoginState::Unknown, LoginState::Unknown, LoginState::NotNeeded));
        std::fs::create_dir_all(home.join(".claude")).unwrap();
        let settings = home.join(".claude/settings.json");
        std::io::Write::write_all(&mut std::fs::File::create_new(&settings).unwrap(), b"{\"env\": {}}").unwrap();
        assert_eq!(state("claude"), LoginState::NoneStored, "settings without a key are no login");
        std::fs::remove_file(&settings).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create_new(&settings).unwrap(), b"{\"env\": {\"ANTHROPIC_API_KEY\": \"geheim\"}}").unwrap();
        let (stored, evidence) = login_state("claude", &home);
        assert!(stored == LoginState::Stored && evidence.contains("settings.json") && !evidence.contains("geheim"));
        std::fs::remove_file(&settings).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", home.join(".claude/.credentials.json")).unwrap();
        assert_eq!(state("claude"), LoginState::NoneStored, "a link is not followed");
    }

    #[test]
    fn a_login_is_the_agents_own_program_unless_the_operator_names_another() {
        let with = |login: &[&str], port| {
            let config = AgentConfig { command: vec!["sh".into(), "--acp".into()], login: login.iter().map(|w| (*w).to_owned()).collect(), login_port: port, connect_ports: vec![443], ..AgentConfig::default() };
            BTreeMap::from([("codex".to_owned(), config.clone()), ("mine".to_owned(), config)])
        };
        let own = login("codex", &with(&[], None)).unwrap();
        assert_eq!((own.command.join(" ").as_str(), own.callback, own.connect_ports.as_slice()), ("sh login", Callback::Port(1455), &[443][..]));
        let named = login("codex", &with(&["env", "x"], Some(5000))).unwrap();
        assert_eq!((named.command.join(" ").as_str(), named.callback), ("env x", Callback::Port(5000)));
        assert_eq!(login("mine", &with(&[], None)).unwrap_err().code, Code::NotBuilt);
        assert_eq!(login("scripted", &BTreeMap::new()).unwrap_err().code, Code::InvalidInput);
        assert_eq!(login("nobody", &BTreeMap::new()).unwrap_err().code, Code::NotFoundAgent);
    }
}
