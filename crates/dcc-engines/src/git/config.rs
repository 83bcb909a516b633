//! The repository's configuration as a list of what could run or change behaviour (GOVERNANCE 4). Authority: derived.
//!
//! Invariants: reading it runs nothing; includes and config.worktree are followed by git itself, under the same rules as
//! in every other command; what may run is neutralised by name, because git has no switch that turns all drivers off.

use std::collections::BTreeSet;
use std::path::Path;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Sha256Hex;
use dcc_core::ports::version::{ConfigFacts, ConfigKey};

use super::builder::{Access, Tool};

/// A configuration that is slower to read than this includes something that is not a file.
const CONFIG_TIMEOUT_MS: u64 = 15_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct RepoConfig {
    /// Options that make the found drivers run nothing.
    pub(super) neutral: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys that would run a program, as `key (scope, origin)`.
    pub(super) executable_keys: Vec<String>,
    /// Over all keys that execute or change behaviour.
    pub(super) digest: Option<Sha256Hex>,
    entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug)]
struct Entry {
    scope: String,
    origin: String,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    /// It executes or changes behaviour, and is part of the digest.
    is_watched: bool,
}

/// A value longer than this is shown in part; the digest is over the whole.
const VALUE_SHOWN: usize = 200;

impl RepoConfig {
    /// The digest and the keys it is over, as they may be shown and kept: secrets in values are taken out.
    pub(super) fn facts(&self) -> ConfigFacts {
        let shown = |bytes: &[u8]| -> String {
            let (text, _) = dcc_core::redact::redact_text(&String::from_utf8_lossy(bytes));
            text.chars().take(VALUE_SHOWN).collect()
        };
        let keys = self.entries.iter().filter(|entry| entry.is_watched).map(|entry| ConfigKey {
            key: shown(&entry.key),
            value: entry.value.as_deref().map(shown),
            scope: entry.scope.clone(),
            origin: entry.origin.clone(),
        });
        ConfigFacts { digest: self.digest.unwrap_or(Sha256Hex::ZERO), keys: keys.collect() }
    }

    /// The last value of a key; keys are lower case except for their middle part.
    pub(super) fn value(&self, key: &str) -> Option<&[u8]> {
        self.entries.iter().rev().find(|e| e.key == key.as_bytes()).map(|e| e.value.as_deref().unwrap_or(b"true"))
    }
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(|v| String::from_utf8_lossy(v).into_owned())
    }
    pub(super) fn object_format(&self) -> String {
        self.text("extensions.objectformat").unwrap_or_else(|| "sha1".into()).to_ascii_lowercase()
    }
    pub(super) fn ref_format(&self) -> String {
        self.text("extensions.refstorage").unwrap_or_else(|| "files".into()).to_ascii_lowercase()
    }
}

/// Reads the configuration that every later command in this repository will see.
pub(super) fn read(tool: &Tool, git_dir: &Path, common_dir: &Path, worktree: Option<&Path>) -> Outcome<RepoConfig> {
    let run = tool
        .located(git_dir, common_dir, worktree, Access::Read, "config")
        .args(["--list", "--includes", "--show-scope", "--show-origin", "-z"])
        .timeout_ms(CONFIG_TIMEOUT_MS)
        .run()?;
    if !run.is_success() {
        return Err(Failure::new(Code::VcsRepoInvalid, format!("git cannot read the configuration of {}: {}", common_dir.display(), run.stderr()))
            .hint("repair the configuration file that is named"));
    }
    let entries = parse(&run.output()?)?;
    Ok(judge(entries))
}

/// NUL-separated triples: scope, origin, and key with value after a line feed.
fn parse(bytes: &[u8]) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut fields = bytes.split(|b| *b == 0);
    while let Some(scope) = fields.next() {
        if scope.is_empty() {
            break;
        }
        let (Some(origin), Some(pair)) = (fields.next(), fields.next()) else {
            return Err(Failure::engine("git config --list answered in an unknown form"));
        };
        let (key, value) = match pair.iter().position(|b| *b == b'\n') {
            Some(at) => (pair[..at].to_vec(), Some(pair[at + 1..].to_vec())),
            None => (pair.to_vec(), None),
        };
        // Our own options come back under the scope `command`.
        if scope != b"command" {
            entries.push(Entry { scope: String::from_utf8_lossy(scope).into_owned(), origin: String::from_utf8_lossy(origin).into_owned(), key, value, is_watched: false });
        }
    }
    Ok(entries)
}

fn judge(mut entries: Vec<Entry>) -> RepoConfig {
    let mut neutral = BTreeSet::new();
    let mut executable = BTreeSet::new();
    let mut digest_input = Vec::new();
    for entry in &mut entries {
        let (section, middle, name) = split_key(&entry.key);
        let runs = executes(&section, middle, &name, entry.value.as_deref());
        if runs {
            executable.insert(format!("{} ({}, {})", String::from_utf8_lossy(&entry.key), entry.scope, entry.origin));
        }
        entry.is_watched = runs || changes_behaviour(&section, &name);
        if entry.is_watched {
            for part in [entry.key.as_slice(), b"\0", entry.value.as_deref().unwrap_or(b"\0"), b"\0\n"] {
                digest_input.extend_from_slice(part);
            }
        }
        if let Some(middle) = middle {
            neutralise(&section, middle, &mut neutral);
        }
    }
    RepoConfig {
        neutral: neutral.into_iter().collect(),
        executable_keys: executable.into_iter().collect(),
        digest: Some(Sha256Hex::of(&digest_input)),
        entries,
    }
}

/// Section, middle part and name of a key; section and name in lower case.
fn split_key(key: &[u8]) -> (String, Option<&[u8]>, String) {
    let lower = |b: &[u8]| String::from_utf8_lossy(b).to_ascii_lowercase();
    let first = key.iter().position(|b| *b == b'.').unwrap_or(key.len());
    let last = key.iter().rposition(|b| *b == b'.').unwrap_or(key.len());
    let name = key.get(last + 1..).unwrap_or_default();
    if first >= last { (lower(&key[..first]), None, lower(name)) } else { (lower(&key[..first]), Some(&key[first + 1..last]), lower(name)) }
}

fn neutralise(section: &str, middle: &[u8], out: &mut BTreeSet<(Vec<u8>, Vec<u8>)>) {
    let mut set = |name: &str, value: &str| {
        let key = [section.as_bytes(), b".", middle, b".", name.as_bytes()].concat();
        out.insert((key, value.as_bytes().to_vec()));
    };
    match section {
        // Git takes an empty command for no driver; `process` would win over `clean` were it left.
        "filter" => {
            for name in ["clean", "smudge", "process"] {
                set(name, "");
            }
            set("required", "false");
        }
        // `false` ends a merge of such a path as a conflict instead of running the driver.
        "merge" => set("driver", "false"),
        "hook" => set("enabled", "false"),
        "diff" => set("cachetextconv", "false"),
        "credential" => set("helper", ""),
        "protocol" => set("allow", "never"),
        _ => {}
    }
}

/// Keys that make git run a program.
fn executes(section: &str, middle: Option<&[u8]>, name: &str, value: Option<&[u8]>) -> bool {
    match (section, name) {
        ("filter", "clean" | "smudge" | "process")
        | ("merge", "driver")
        | ("diff", "command" | "textconv" | "external")
        | ("core", "hookspath" | "pager" | "editor" | "askpass" | "sshcommand" | "gitproxy" | "alternaterefscommand")
        | ("gpg", "program" | "defaultkeycommand")
        | ("credential", "helper")
        | ("sequence", "editor")
        | ("interactive", "difffilter")
        | ("mergetool" | "difftool" | "browser" | "man", "cmd" | "path")
        | ("trailer", "command" | "cmd")
        | ("remote", "uploadpack" | "receivepack" | "vcs" | "proxy")
        | ("uploadpack", "packobjectshook")
        | ("sendemail", "sendmailcmd" | "smtpserver" | "tocmd" | "cccmd")
        | ("web", "browser")
        | ("alias" | "pager" | "hook", _) => true,
        ("core", "fsmonitor") => !matches!(value, Some(b"false" | b"0" | b"no" | b"off" | b"")),
        ("submodule", "update") => middle.is_some() && value.is_some_and(|v| v.starts_with(b"!")),
        _ => false,
    }
}

/// Keys that change what git does without running anything by themselves.
fn changes_behaviour(section: &str, name: &str) -> bool {
    match section {
        "include" | "includeif" | "extensions" | "filter" | "protocol" | "url" | "gpg" | "safe" | "trace2" => true,
        "core" => matches!(
            name,
            "worktree" | "bare" | "repositoryformatversion" | "attributesfile" | "excludesfile" | "symlinks" | "filemode" | "ignorecase" | "autocrlf" | "eol" | "safecrlf" | "checkstat" | "trustctime" | "sparsecheckout" | "gitproxy" | "commentchar" | "precomposeunicode"
        ),
        "remote" => matches!(name, "promisor" | "partialclonefilter"),
        "commit" | "tag" => name == "gpgsign",
        "user" => name == "signingkey",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_of_any_name_are_neutralised() {
        let bytes = b"local\0file:.git/config\0filter.a=b.c.clean\nrm -rf\0local\0file:x\0merge.m.driver\ncp\0local\0file:x\0core.bare\nfalse\0command\0command line:\0gc.auto\n0\0";
        let config = judge(parse(bytes).unwrap());
        assert!(config.neutral.contains(&(b"filter.a=b.c.clean".to_vec(), Vec::new())));
        assert!(config.neutral.contains(&(b"filter.a=b.c.process".to_vec(), Vec::new())));
        assert!(config.neutral.contains(&(b"merge.m.driver".to_vec(), b"false".to_vec())));
        assert_eq!(config.executable_keys.len(), 2);
        assert_eq!(config.value("core.bare"), Some(&b"false"[..]));
        assert_eq!(config.value("gc.auto"), None);
    }

    #[test]
    fn what_is_shown_are_the_keys_of_the_digest_without_secrets() {
        let facts = judge(parse(b"local\0file:.git/config\0core.fsmonitor\n/tmp/x\0local\0file:.git/config\0branch.main.remote\norigin\0worktree\0file:w\0url.https://me:ghp_0123456789abcdefghijABCDEFGHIJ456789@h/.insteadof\nh:\0").unwrap()).facts();
        let keys: Vec<(&str, &str)> = facts.keys.iter().map(|k| (k.scope.as_str(), k.origin.as_str())).collect();
        assert_eq!(keys, [("local", "file:.git/config"), ("worktree", "file:w")]);
        assert_eq!((facts.keys[0].key.as_str(), facts.keys[0].value.as_deref()), ("core.fsmonitor", Some("/tmp/x")));
        assert!(!facts.keys[1].key.contains("ghp_"), "{}", facts.keys[1].key);
    }

    #[test]
    fn the_digest_follows_keys_that_run() {
        let read = |text: &[u8]| judge(parse(text).unwrap()).digest;
        let plain = read(b"local\0file:x\0branch.main.remote\norigin\0");
        assert_eq!(plain, read(b"local\0file:x\0branch.main.remote\nother\0"));
        assert_ne!(plain, read(b"local\0file:x\0core.fsmonitor\n/tmp/x\0"));
    }
}
