//! What an agent does without asking: our own comparison of its worktree with what was permitted, at each decision of a
//! turn and at its end (SESSIONS 5, fact 2).
//!
//! Authority: findings are canon (events); what was seen last is ephemeral and dies with the turn. Invariants: a changed
//! path is explained by a job in the same worktree since the turn began, or it is reported once, as inferred: who changed
//! it is not known. Permission to run a command explains what changes from the yes until the first look after the command
//! is over; permission to read explains nothing. On failure the turn goes on, and the failure is said on standard error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use dcc_core::event::{Event, EventCode, EventOutcome, NewEvent};
use dcc_core::ids::{JobId, SessionId};
use dcc_core::job::{Job, JobState};
use dcc_core::op::Op;
use dcc_core::plans::AskKind;
use dcc_core::ports::sessions::{Observed, SideEffect, ToolReport, ToolStatus};
use dcc_core::ports::version::{Difference, Observation};
use dcc_core::ports::{EventFilter, JobFilter};
use dcc_core::principal::Actor;
use dcc_core::session::{Session, StateReason};
use dcc_core::{Code, Failure, Outcome, RepoPath, WorkspaceId, limits};

use crate::context::Context;
use crate::host::{cut_turn, session_correlation};
use crate::outside::{counted, names};
use crate::runner::Runner;
use crate::{kinds, ledger, outside};

/// What happens when an agent changed something without asking (`[policy] ungated`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ungated {
    /// It is recorded and shown.
    #[default]
    Record,
    /// The turn is ended too, and the session rests until a person lets it go on.
    Stop,
}

/// The running turns of this process, as they were last seen.
#[derive(Default)]
pub(crate) struct Observer {
    turns: Mutex<HashMap<SessionId, Arc<Mutex<Watched>>>>,
}

/// One turn.
struct Watched {
    turn: JobId,
    workspace_id: WorkspaceId,
    seen: Observation,
    /// The recorder's last sequence when it was seen.
    seen_seq: u64,
    permits: Permits,
    stopped: Option<String>,
}

/// A job that may explain changes.
#[derive(Debug)]
struct Permit {
    what: Covers,
    tool_call_id: Option<String>,
    allowed: bool,
    over_seq: Option<u64>,
}

#[derive(Debug)]
enum Covers {
    Paths(Vec<RepoPath>),
    /// It can change any file while it is at work.
    All,
    Nothing,
}

/// What was permitted in the worktree since the turn began, read from the record as it grows.
#[derive(Debug, Default)]
struct Permits {
    jobs: HashMap<JobId, Permit>,
    read_seq: u64,
    /// The last event that says that DCC, or somebody outside, moved HEAD or wrote the index.
    git_seq: u64,
    outside: Option<(u64, String)>,
}

/// A turn begins in this session: its worktree is seen as it is before the agent gets to work.
pub(crate) fn begin(cx: &Context, session: &Session, turn: JobId) {
    let begun = try_begin(cx, session, turn);
    if let Err(failure) = begun {
        eprintln!("dcc: session {}: what changes in this turn is not compared: {failure}", session.session_id.short());
    }
}

fn try_begin(cx: &Context, session: &Session, turn: JobId) -> Outcome<()> {
    let Some(workspace_id) = session.workspace_id else { return Ok(()) };
    let seq = cx.ports.recorder.head()?.seq;
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
    let mut permits = Permits { read_seq: seq, ..Permits::default() };
    let running = JobFilter { states: vec![JobState::Running], workspace_id: Some(workspace_id), ..JobFilter::default() };
    for job in cx.ports.store.jobs(&running)?.into_iter().filter(|job| job.job_id != turn) {
        let what = covers(cx, &job);
        permits.jobs.insert(job.job_id, Permit { what, tool_call_id: None, allowed: true, over_seq: None });
    }
    let (seen, _) = cx.ports.version.observe(&workspace.binding, None)?;
    let watched = Watched { turn, workspace_id, seen, seen_seq: seq, permits, stopped: None };
    cx.observer.turns.lock().unwrap_or_else(PoisonError::into_inner).insert(session.session_id, Arc::new(Mutex::new(watched)));
    Ok(())
}

/// At a decision of the turn. Fails when the policy stops the turn for what was found: nothing more is decided in it.
pub(crate) fn at_decision(runner: &Arc<Runner>, session: &Session) -> Outcome<()> {
    look(runner, session, "decision");
    stopped_for(&runner.cx, session.session_id).map_or(Ok(()), Err)
}

/// At the end of the turn, before it is recorded.
pub(crate) fn at_end(runner: &Arc<Runner>, session: &Session) {
    look(runner, session, "turn_end");
}

/// The turn is over.
pub(crate) fn forget(cx: &Context, id: SessionId) {
    cx.observer.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
}

/// Why the policy stopped the turn that runs, if it did.
pub(crate) fn stopped_for(cx: &Context, id: SessionId) -> Option<Failure> {
    let watched = watched(cx, id)?;
    let why = watched.lock().unwrap_or_else(PoisonError::into_inner).stopped.clone()?;
    Some(Failure::new(Code::PolicyForbidden, why).hint("look at the worktree; resuming the session lets the agent go on"))
}

fn watched(cx: &Context, id: SessionId) -> Option<Arc<Mutex<Watched>>> {
    cx.observer.turns.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
}

fn look(runner: &Arc<Runner>, session: &Session, moment: &'static str) {
    let Some(watched) = watched(&runner.cx, session.session_id) else { return };
    // One look at a time: of two requests that come together the second finds what the first has taken in.
    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(failure) = watched.look(runner, session, moment) {
        eprintln!("dcc: session {}: the worktree could not be compared: {failure}", session.session_id.short());
    }
}

impl Watched {
    fn look(&mut self, runner: &Arc<Runner>, session: &Session, moment: &'static str) -> Outcome<()> {
        let cx = &runner.cx;
        let seq = cx.ports.recorder.head()?.seq;
        // A HEAD that somebody moved is recorded as an outside change first, and is named here too.
        outside::look(cx)?;
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), self.workspace_id)?;
        let (seen, difference) = cx.ports.version.observe(&workspace.binding, Some(&self.seen))?;
        self.permits.read(cx, self.workspace_id, self.turn)?;
        let found = self.permits.unexplained(&difference, self.seen_seq);
        self.seen = seen;
        self.seen_seq = seq;
        let Some(found) = found else { return Ok(()) };
        let stops = cx.config.ungated == Ungated::Stop;
        cx.journal.append(found.events(session, self.turn, seq, moment, cx.config.ungated))?;
        if stops && self.stopped.is_none() {
            self.stopped = Some(found.message.clone());
            stop(runner, session.session_id, self.turn, moment)?;
        }
        Ok(())
    }
}

/// What no permission explains.
#[derive(Debug)]
struct Found {
    paths: Vec<RepoPath>,
    cut: bool,
    head: Option<String>,
    index: bool,
    message: String,
}

impl Permits {
    fn read(&mut self, cx: &Context, workspace_id: WorkspaceId, turn: JobId) -> Outcome<()> {
        use EventCode as C;
        let filter = EventFilter {
            workspace_id: Some(workspace_id),
            after_seq: Some(self.read_seq),
            codes: vec![C::JobAccepted, C::JobStateChange, C::EffectPlanned, C::JobFinished, C::ToolCallFinished, C::Committed, C::HeadMoved, C::OutOfBandChange],
            ..EventFilter::default()
        };
        for event in ledger::read_all(cx.ports.recorder.as_ref(), filter)? {
            self.read_seq = event.seq;
            if event.job_id != Some(turn) || event.code == C::ToolCallFinished {
                self.take(cx, &event)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, cx: &Context, event: &Event) -> Outcome<()> {
        let job = event.job_id.and_then(|id| self.jobs.get_mut(&id));
        match (event.code, job) {
            (EventCode::JobAccepted, None) => {
                if let Some(id) = event.job_id {
                    let job = ledger::job(cx.ports.recorder.as_ref(), id)?;
                    let tool_call_id = kinds::asked_by(cx, &job).map(|asked| asked.tool_call_id);
                    self.jobs.insert(id, Permit { what: covers(cx, &job), tool_call_id, allowed: false, over_seq: None });
                }
            }
            // The effect of a request is the answer: it allows when it is completed. Everything else when it runs.
            (EventCode::JobStateChange | EventCode::EffectPlanned, Some(permit)) if permit.tool_call_id.is_none() => {
                permit.allowed |= event.code == EventCode::EffectPlanned || event.payload["to"] == json!(JobState::Running);
            }
            (EventCode::JobFinished, Some(permit)) if permit.tool_call_id.is_some() => {
                permit.allowed = event.payload["to"] == json!(JobState::Completed);
            }
            (EventCode::JobFinished, Some(permit)) => permit.over_seq = Some(event.seq),
            (EventCode::ToolCallFinished, _) if event.payload["write"].is_null() => {
                for permit in self.jobs.values_mut().filter(|p| p.tool_call_id.is_some() && p.tool_call_id == event.tool_call_id) {
                    permit.over_seq = Some(event.seq);
                }
            }
            (EventCode::Committed | EventCode::HeadMoved, _) => self.git_seq = event.seq,
            (EventCode::OutOfBandChange, _) if event.payload["kind"] != "edit" => {
                self.git_seq = event.seq;
                self.outside = Some((event.seq, event.payload["message"].as_str().unwrap_or("HEAD was moved").to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn unexplained(&self, difference: &Difference, since: u64) -> Option<Found> {
        let explains_all = |p: &Permit| p.allowed && matches!(p.what, Covers::All) && p.over_seq.is_none_or(|seq| seq > since);
        let all = self.jobs.values().any(explains_all);
        let is_named = |path: &RepoPath| self.jobs.values().any(|p| p.allowed && matches!(&p.what, Covers::Paths(paths) if paths.contains(path)));
        let paths: Vec<RepoPath> = if all { Vec::new() } else { difference.paths.iter().filter(|path| !is_named(path)).cloned().collect() };
        let head = self.outside.as_ref().filter(|(seq, _)| *seq > since).map(|(_, message)| message.clone());
        let index = difference.index_changed && !difference.head_moved && self.git_seq <= since && !all;
        if paths.is_empty() && head.is_none() && !index {
            return None;
        }
        let mut parts = Vec::new();
        if !paths.is_empty() {
            parts.push(format!("{} changed with no permission in this turn: {}", counted(paths.len(), "file"), names(&paths)));
        }
        parts.extend(head.clone());
        if index {
            parts.push("the index was changed".to_owned());
        }
        Some(Found { message: parts.join("; "), paths, cut: difference.cut, head, index })
    }
}

/// What a job's yes lets happen to the files of its worktree.
fn covers(cx: &Context, job: &Job) -> Covers {
    match job.op {
        Op::CapabilityRequest => match kinds::asked_by(cx, job) {
            Some(asked) if asked.kind == AskKind::Edit => Covers::Paths(asked.paths),
            Some(asked) if asked.kind == AskKind::Read => Covers::Nothing,
            _ => Covers::All,
        },
        Op::FsWrite => serde_json::from_value(job.params["path"].clone()).map_or(Covers::Nothing, |path| Covers::Paths(vec![path])),
        Op::SandboxRunRecipe => {
            let recipe = job.params["recipe"].as_str().and_then(|name| cx.config.recipes.get(name));
            if recipe.is_some_and(|recipe| recipe.writes) { Covers::All } else { Covers::Nothing }
        }
        op if outside::writes_files(op) && op != Op::SessionRun => Covers::All,
        _ => Covers::Nothing,
    }
}

impl Found {
    /// The finding, and its row in the tool-call ledger: seen from files, and never shown as anything else.
    fn events(&self, session: &Session, turn: JobId, seq: u64, moment: &str, policy: Ungated) -> Vec<NewEvent> {
        let listed = &self.paths[..self.paths.len().min(limits::OBSERVED_PATHS_LISTED)];
        let mut correlation = session_correlation(session);
        correlation.job_id = Some(turn);
        correlation.workflow_run_id = Some(turn);
        let effect = json!({
            "paths": listed, "path_count": self.paths.len(), "cut": self.cut, "head": self.head, "index": self.index,
            "moment": moment, "policy": policy, "message": self.message,
        });
        let tool = ToolReport {
            tool_call_id: format!("seen-{seq}"),
            title: self.message.clone(),
            kind: "edit".into(),
            side_effect: SideEffect::Write,
            status: ToolStatus::Ok,
            locations: listed.iter().take(100).map(RepoPath::display).collect(),
            raw_input: None,
            raw_output: None,
            content: Vec::new(),
        };
        let found = NewEvent::new(EventCode::UngatedEffect, Actor::SYSTEM, effect).about(&correlation).outcome(EventOutcome::Unknown);
        correlation.tool_call_id = Some(tool.tool_call_id.clone());
        let row = NewEvent::new(EventCode::ToolCallFinished, Actor::SYSTEM, json!({ "tool": tool, "observed": Observed::Inferred })).about(&correlation);
        vec![found, row]
    }
}

/// Ends the turn; the session then rests.
fn stop(runner: &Arc<Runner>, id: SessionId, turn: JobId, moment: &str) -> Outcome<()> {
    runner.cx.holds.ask(id, StateReason::PolicyPause);
    if moment == "turn_end" {
        return Ok(());
    }
    cut_turn(runner, id, turn, |_, _| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    fn id(n: u8) -> JobId {
        format!("0198c0de-0000-7000-8000-0000000000{n:02x}").parse().unwrap()
    }

    fn permits(list: Vec<(u8, Covers, bool, Option<u64>)>) -> Permits {
        let permit = |(n, what, allowed, over_seq)| (id(n), Permit { what, tool_call_id: None, allowed, over_seq });
        Permits { jobs: list.into_iter().map(permit).collect(), ..Permits::default() }
    }

    fn changed(paths: &[&str]) -> Difference {
        Difference { paths: paths.iter().map(|p| path(p)).collect(), ..Difference::default() }
    }

    fn left(permits: &Permits, difference: &Difference) -> Vec<String> {
        permits.unexplained(difference, 10).map(|f| f.paths.iter().map(RepoPath::display).collect()).unwrap_or_default()
    }

    #[test]
    fn a_path_is_explained_by_a_yes_for_it_and_by_nothing_else() {
        let asked = permits(vec![(1, Covers::Paths(vec![path("a"), path("b")]), true, Some(5)), (2, Covers::Paths(vec![path("c")]), false, None)]);
        assert_eq!(left(&asked, &changed(&["a", "b", "c", "d"])), ["c", "d"]);
        assert!(asked.unexplained(&changed(&["a"]), 10).is_none());
        assert_eq!(left(&permits(vec![(1, Covers::Nothing, true, None)]), &changed(&["a"])), ["a"]);
    }

    #[test]
    fn a_command_explains_what_changes_until_the_look_after_its_end() {
        for (allowed, over, explained) in [(true, None, true), (true, Some(11), true), (true, Some(10), false), (false, None, false)] {
            assert_eq!(left(&permits(vec![(1, Covers::All, allowed, over)]), &changed(&["a"])).is_empty(), explained, "{allowed} {over:?}");
        }
    }

    #[test]
    fn a_head_moved_from_outside_is_named_and_our_own_is_not() {
        let moved = Difference { head_moved: true, index_changed: true, ..Difference::default() };
        assert!(Permits { git_seq: 12, ..Permits::default() }.unexplained(&moved, 10).is_none());
        let outside = Permits { git_seq: 12, outside: Some((12, "work was moved".into())), ..Permits::default() };
        assert_eq!(outside.unexplained(&moved, 10).unwrap().message, "work was moved");
        assert!(outside.unexplained(&Difference::default(), 12).is_none(), "said once");
        let index = Difference { index_changed: true, ..Difference::default() };
        assert!(Permits::default().unexplained(&index, 10).unwrap().index);
    }
}
