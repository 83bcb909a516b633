//! sandbox.run_command: one command word for word, in the profile of a session or of a worktree (GOVERNANCE 1 and 7).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{SessionId, Sha256Hex, WorkspaceId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};
use crate::ports::sessions::SessionPlace;

/// The whole run, resolved: the program found and hashed, the directory inside the worktree, every variable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandPlan {
    pub workspace_id: WorkspaceId,
    /// The session in whose profile it runs; none = a person's own command, in a profile of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// As it was asked for, in one line.
    pub command: String,
    /// What is executed. A command that was asked for as shell text is the argument of a shell here.
    pub argv: Vec<String>,
    /// Absolute path of argv[0] and the hash of its bytes.
    pub executable: String,
    pub executable_sha256: Sha256Hex,
    /// Absolute, inside the worktree.
    pub cwd: String,
    pub worktree: String,
    /// Variables beside those that every confined command has.
    pub env: BTreeMap<String, String>,
    /// False: the worktree is read-only to it.
    pub writes: bool,
    /// Where the session lives, whose profile it shares but for the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<SessionPlace>,
    pub timeout_ms: u64,
    /// Bytes of standard output, and of standard error, that are kept.
    pub output_bytes_max: u64,
    pub git_dir: String,
    pub common_dir: String,
}

impl PlanBody for CommandPlan {
    fn preview(&self) -> Preview {
        let mut exactly = vec![PreviewItem::Command { argv: self.argv.clone(), cwd: self.cwd.clone() }];
        exactly.extend(self.env.iter().map(|(name, value)| PreviewItem::Fact { label: format!("variable {name}"), value: value.clone() }));
        let writes = match (self.writes, &self.place) {
            (false, _) => "a private temporary directory only",
            (true, None) => "this worktree and a private temporary directory",
            (true, Some(_)) => "this worktree, the agent's home and the session's temporary directory",
        };
        Preview {
            title: if self.session_id.is_some() { "Run a command in the session's sandbox".into() } else { "Run a command in the sandbox".into() },
            exactly,
            place: vec![
                PreviewFact::new("executable", &self.executable),
                PreviewFact::new("executable sha256", self.executable_sha256.to_string()),
                PreviewFact::new("network", "none"),
                PreviewFact::new("writes", writes),
                PreviewFact::new("ends after", format!("{} s", self.timeout_ms / 1_000)),
            ],
            risk: "runs inside the sandbox; the repository's git directory is read-only to it".into(),
            undo: "files it writes in the worktree show as changes".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { workspace_id: Some(self.workspace_id), command_sha256: Some(Sha256Hex::of(self.command.as_bytes())), ..Requirement::of(Capability::plain(Axis::ShellSandboxed), Tier::R1, IntentClass::CommandInSandbox) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::ExecutableIs { path: self.executable.clone(), sha256: self.executable_sha256 }]
    }
}

/// Words as one line of text, quoted where a word needs it; a request and the run that follows it are compared by it.
pub fn one_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> CommandPlan {
        CommandPlan {
            workspace_id: "00000000-0000-7000-8000-000000000001".parse().unwrap(),
            session_id: None,
            command: "npm test".into(),
            argv: vec!["bash".into(), "-c".into(), "npm test".into()],
            executable: "/usr/bin/bash".into(),
            executable_sha256: Sha256Hex::of(b"bash"),
            cwd: "/w/sub".into(),
            worktree: "/w".into(),
            env: BTreeMap::from([("CI".into(), "1".into())]),
            writes: true,
            place: None,
            timeout_ms: 60_000,
            output_bytes_max: 1,
            git_dir: "/r/.git/worktrees/w".into(),
            common_dir: "/r/.git".into(),
        }
    }

    #[test]
    fn everything_that_decides_what_runs_is_shown() {
        let shown = format!("{:?}", plan().preview());
        for part in ["npm test", "bash", "/w/sub", "variable CI", "\"1\"", "none", "60 s", "this worktree and a private"] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
        let inside = CommandPlan { place: Some(SessionPlace::default()), ..plan() };
        assert!(format!("{:?}", inside.preview()).contains("agent's home"));
    }

    #[test]
    fn words_are_quoted_where_they_need_it() {
        let line = |words: &[&str]| one_line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["git", "log", "-n", "1"]), "git log -n 1");
        assert_eq!(line(&["sh", "-c", "it's", ""]), "sh -c 'it'\\''s' ''");
    }
}
