//! The repository's configuration, as far as it runs programs or changes behaviour: accepted at registration, and again
//! by a person each time it changed (GOVERNANCE 4).
//!
//! Authority: canon (events). Invariants: no job writes git while the configuration differs from the one last accepted;
//! reads go on, because what it names is neutralised in every command anyway; each new digest is recorded once. On
//! failure a writing job is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use dcc_core::event::{Correlation, Event, EventCode, EventOutcome, NewEvent};
use dcc_core::ids::{Sha256Hex, WorkspaceId};
use dcc_core::job::Job;
use dcc_core::plans::ConfigChange;
use dcc_core::ports::EventFilter;
use dcc_core::ports::version::{ConfigFacts, ConfigKey};
use dcc_core::principal::Actor;
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Failure, Outcome};

use crate::context::Context;
use crate::ledger;

/// An acceptance holds for every worktree, or for one that has configuration of its own.
pub(crate) const PROJECT: &str = "project";
pub(crate) const WORKSPACE: &str = "workspace";
/// Keys that an event about a changed configuration lists; the others are counted.
const LISTED: usize = 20;

/// What was accepted last.
#[derive(Debug)]
pub struct Accepted {
    pub digest: Sha256Hex,
    seq: u64,
    /// The keys behind it, an artifact; projects that were registered before they were kept have none.
    keys: Option<Sha256Hex>,
}

/// A configuration that nobody accepted.
#[derive(Clone, Debug)]
pub struct Unaccepted {
    /// Through which worktree it is seen; the main one for what every worktree sees.
    pub workspace: Workspace,
    pub is_shared: bool,
    pub message: String,
}

/// What a worktree's configuration has to be; without one, the repository's.
pub fn accepted(cx: &Context, id: Option<WorkspaceId>) -> Outcome<Accepted> {
    let codes = vec![EventCode::ProjectCreated, EventCode::ConfigAccepted];
    let events = ledger::read_all(cx.ports.recorder.as_ref(), EventFilter { codes, ..EventFilter::default() })?;
    let holds = |event: &&Event| event.code == EventCode::ProjectCreated || event.payload["scope"] == PROJECT || (id.is_some() && event.workspace_id == id);
    let last = events.iter().rev().find(holds).ok_or_else(|| Failure::engine("the project has no accepted configuration"))?;
    let read = |key: &str| serde_json::from_value(last.payload[key].clone()).ok();
    let digest = read("digest").or_else(|| read("config_digest")).ok_or_else(|| Failure::engine("the accepted configuration cannot be read"))?;
    Ok(Accepted { digest, seq: last.seq, keys: read("config_keys") })
}

/// What differs between the accepted configuration and this one.
pub fn changes(cx: &Context, accepted: &Accepted, now: &ConfigFacts) -> Outcome<Vec<ConfigChange>> {
    let before: Vec<ConfigKey> = match accepted.keys {
        Some(sha256) => serde_json::from_slice(&cx.ports.artifacts.get(sha256)?).map_err(|e| Failure::engine(format!("the accepted keys cannot be read: {e}")))?,
        None => Vec::new(),
    };
    Ok(differences(&before, &now.keys))
}

fn differences(before: &[ConfigKey], now: &[ConfigKey]) -> Vec<ConfigChange> {
    let group = |keys: &[ConfigKey]| {
        let mut map: BTreeMap<String, (Vec<String>, String, String)> = BTreeMap::new();
        for key in keys {
            let slot = map.entry(key.key.clone()).or_default();
            slot.0.push(key.value.clone().unwrap_or_else(|| "true".to_owned()));
            (slot.1, slot.2) = (key.scope.clone(), key.origin.clone());
        }
        map
    };
    let (old, new) = (group(before), group(now));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        if was.map(|w| &w.0) != is.map(|i| &i.0) {
            let (_, scope, origin) = is.or(was).cloned().unwrap_or_default();
            let text = |side: Option<&(Vec<String>, String, String)>| side.map(|s| s.0.join(", "));
            changes.push(ConfigChange { key: name.clone(), scope, origin, old: text(was), new: text(is) });
        }
    }
    if changes.is_empty() {
        // The digest is over more than is shown.
        let origin = "the order of the keys, or parts of values that are not shown".to_owned();
        changes.push(ConfigChange { key: "configuration".to_owned(), scope: "local".to_owned(), origin, old: None, new: None });
    }
    changes
}

/// Refuses a job that writes git under a configuration that nobody accepted.
pub(crate) fn require_accepted(cx: &Context, job: &Job) -> Outcome<()> {
    // A worktree that is to be made has none yet; what the repository says holds for it.
    require(cx, job.bindings.workspace_id.and_then(|id| ledger::workspace(cx.ports.recorder.as_ref(), id).ok()))
}

/// The same for a job about a worktree that cannot be opened: what the repository says holds for it.
pub(crate) fn require_shared_accepted(cx: &Context) -> Outcome<()> {
    require(cx, None)
}

fn require(cx: &Context, workspace: Option<Workspace>) -> Outcome<()> {
    let now = cx.ports.version.config_facts(&cx.config.common_dir, workspace.as_ref().map(|w| &w.binding))?;
    let accepted = accepted(cx, workspace.as_ref().map(|w| w.workspace_id))?;
    if now.digest == accepted.digest {
        return Ok(());
    }
    record(cx, workspace.as_ref(), &accepted, &now)?;
    let name = workspace.map_or_else(|| "WS".to_owned(), |w| w.workspace_id.short());
    Err(Failure::new(Code::VcsUnsupportedConfig, message(&changes(cx, &accepted, &now)?))
        .hint(format!("look at it, then change it back or accept it: dcc ws repair {name} --accept-config, or Health")))
}

/// Records each configuration that differs from the accepted one, once. Never fails: the next look finds it.
pub fn look(cx: &Context) {
    if !cx.ports.recorder.is_writable() {
        return;
    }
    if let Err(failure) = unaccepted(cx) {
        eprintln!("dcc: the repository's configuration could not be compared: {failure}");
    }
}

/// Configurations that differ from the accepted ones: the repository's, and those of worktrees that have their own.
pub fn unaccepted(cx: &Context) -> Outcome<Vec<Unaccepted>> {
    let all = ledger::workspaces(cx.ports.recorder.as_ref())?;
    let Some(root) = all.iter().find(|w| w.kind == WorkspaceKind::Root) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let shared = cx.ports.version.config_facts(&cx.config.common_dir, None)?;
    judge(cx, root, &shared, true, &mut found)?;
    let has_own = |key: &ConfigKey| key.key.starts_with("includeif.") || key.key == "extensions.worktreeconfig";
    if shared.keys.iter().any(has_own) {
        for workspace in all.iter().filter(|w| w.kind == WorkspaceKind::Worktree && w.status == WorkspaceStatus::Active) {
            // A worktree that cannot be opened says so by its health.
            if let Ok(own) = cx.ports.version.config_facts(&cx.config.common_dir, Some(&workspace.binding))
                && own.digest != shared.digest
            {
                judge(cx, workspace, &own, false, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn judge(cx: &Context, workspace: &Workspace, now: &ConfigFacts, is_shared: bool, found: &mut Vec<Unaccepted>) -> Outcome<()> {
    let accepted = accepted(cx, Some(workspace.workspace_id))?;
    if now.digest != accepted.digest {
        if cx.ports.recorder.is_writable() {
            record(cx, Some(workspace), &accepted, now)?;
        }
        found.push(Unaccepted { workspace: workspace.clone(), is_shared, message: message(&changes(cx, &accepted, now)?) });
    }
    Ok(())
}

/// One event for each new digest after an acceptance, through whichever worktree it was seen.
fn record(cx: &Context, workspace: Option<&Workspace>, accepted: &Accepted, now: &ConfigFacts) -> Outcome<()> {
    let changes = changes(cx, accepted, now)?;
    let listed: Vec<Value> = changes.iter().take(LISTED).map(|change| json!(change)).collect();
    let payload = json!({ "digest": now.digest, "accepted_digest": accepted.digest, "changes": listed, "change_count": changes.len(), "message": message(&changes) });
    let correlation = Correlation { workspace_id: workspace.map(|w| w.workspace_id), wp_id: workspace.and_then(|w| w.wp_id.clone()), ..Correlation::default() };
    let event = NewEvent::new(EventCode::ConfigChanged, Actor::SYSTEM, payload).about(&correlation).outcome(EventOutcome::Unknown);
    cx.journal.try_append(vec![event.once(format!("config:{}:{}", accepted.seq, now.digest))]).map(drop)
}

fn message(changes: &[ConfigChange]) -> String {
    let first: Vec<&str> = changes.iter().take(3).map(|change| change.key.as_str()).collect();
    let more = match changes.len().saturating_sub(3) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("the repository's configuration changed since it was accepted: {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str, value: &str, origin: &str) -> ConfigKey {
        ConfigKey { key: key.into(), value: Some(value.into()), scope: "local".into(), origin: origin.into() }
    }

    #[test]
    fn what_came_went_and_changed_is_named_with_both_values() {
        let before = [key("core.bare", "false", "a"), key("core.hookspath", "x", "a"), key("include.path", "one", "a")];
        let now = [key("core.bare", "false", "b"), key("include.path", "one", "a"), key("include.path", "two", "a"), key("core.fsmonitor", "run", "c")];
        let found: Vec<(String, Option<String>, Option<String>)> = differences(&before, &now).into_iter().map(|c| (c.key, c.old, c.new)).collect();
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(
            found,
            [("core.fsmonitor".to_owned(), None, text("run")), ("core.hookspath".to_owned(), text("x"), None), ("include.path".to_owned(), text("one"), text("one, two"))]
        );
    }

    #[test]
    fn a_difference_that_is_not_shown_is_still_said() {
        let same = [key("a.b", "x", "a")];
        assert_eq!(differences(&same, &same).len(), 1);
    }
}
