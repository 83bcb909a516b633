//! [`AgentTools`] over the runner: arguments read strictly, bound to the session, answered within a bound.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use dcc_core::ids::{MtId, Oid, Sha256Hex};
use dcc_core::job::{Job, JobState};
use dcc_core::op::{self, Op};
use dcc_core::path::unbase64;
use dcc_core::plans::AskKind;
use dcc_core::ports::version::DiffSource;
use dcc_core::ports::{AgentDoor, CodeQuery};
use dcc_core::principal::Role;
use dcc_core::session::Session;
use dcc_core::workspace::Workspace;
use dcc_core::{Code, Failure, JobId, Outcome, RepoPath, SessionId, canonical, limits};
use dcc_jobs::host::{Host, Intent, ToolUse};

use super::App;
use super::records::object;
use crate::agent_door::{AgentTool, AgentTools, ToolReply};
use crate::door::Query;

/// Hits of a search when the agent names no limit: about what it can read.
const HITS_DEFAULT: usize = 200;
/// The end of a recipe's output that goes back to the agent.
const OUTPUT_TAIL_BYTES: usize = 16 * 1024;
/// Notes that an agent may write; the other types speak for a person, a gate or DCC.
const NOTE_TYPES: [&str; 4] = ["plan", "blocker", "handoff", "review"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchFor {
    q: String,
    #[serde(default)]
    regex: bool,
    #[serde(default)]
    limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    path: String,
    line: Option<u32>,
    limit: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Uncommitted,
    Branch,
    Commit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiffOf {
    source: Option<Source>,
    base: Option<String>,
    oid: Option<String>,
    path: Option<String>,
    b64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobOf {
    job_id: JobId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    what: String,
    command: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
}

/// A child that an agent asks for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Child {
    agent: String,
    prompt: String,
    purpose: Option<String>,
    role: Option<Role>,
    #[serde(default)]
    paths: Vec<String>,
}

impl AgentTools for App {
    fn attach(&self, door: Arc<dyn AgentDoor>) -> Outcome<()> {
        self.cx().agent_door.set(door).map_err(|_| Failure::engine("agents of this process have their door already"))
    }

    fn call(&self, session_id: SessionId, tool: AgentTool, arguments: Map<String, Value>) -> Outcome<ToolReply> {
        self.cx().journal.settle();
        let used = ToolUse { name: tool.operation(), side_effect: tool.side_effect(), arguments: Value::Object(arguments.clone()) };
        let call = Call { app: self, host: Host::new(Arc::clone(&self.runner)), session_id, used, tool };
        call.run(arguments)
    }
}

struct Call<'a> {
    app: &'a App,
    host: Host,
    session_id: SessionId,
    used: ToolUse,
    tool: AgentTool,
}

impl Call<'_> {
    fn run(self, arguments: Map<String, Value>) -> Outcome<ToolReply> {
        if !self.tool.is_built() {
            return self.read(|_, _| Err(self.tool.op().map_or_else(|| Failure::engine("a read that is not built"), op::not_built)));
        }
        match self.tool {
            AgentTool::GetWp => self.read(|session, workspace| strict::<Nothing>(arguments).and_then(|_| self.packet(session, workspace))),
            AgentTool::Status => self.read(|_, workspace| strict::<Nothing>(arguments).and_then(|_| self.app.answer(Query::Status { workspace_id: workspace.workspace_id }))),
            AgentTool::Search => self.read(|_, workspace| self.search(workspace, strict(arguments)?)),
            AgentTool::OpenRef => self.read(|session, _| self.open(session, strict(arguments)?)),
            AgentTool::Diff => self.read(|_, workspace| self.diff(workspace, strict(arguments)?)),
            AgentTool::GetJob => self.job(arguments),
            _ => self.ask(arguments),
        }
    }

    fn read(&self, work: impl FnOnce(&Session, &Workspace) -> Outcome<Value>) -> Outcome<ToolReply> {
        let result = self.host.reading(self.session_id, &self.used, |session, workspace| work(session, workspace).and_then(fit))?;
        Ok(ToolReply { result, has_failed: false })
    }

    fn packet(&self, session: &Session, workspace: &Workspace) -> Outcome<Value> {
        let wp_id = session.wp_id.clone().ok_or_else(|| Failure::new(Code::NotFoundWp, "this session is bound to no work packet"))?;
        let mut packet = object(&self.app.answer(Query::Wp { wp_id })?);
        // What the operator could do with it is nothing to the agent.
        packet.remove("allowed_action_ids");
        packet.insert(
            "session".into(),
            json!({
                "session_id": session.session_id, "mt_id": session.mt_id, "role": session.role, "workspace_id": workspace.workspace_id,
                "branch": workspace.branch, "path": workspace.binding.worktree_path,
            }),
        );
        Ok(Value::Object(packet))
    }

    fn search(&self, workspace: &Workspace, what: SearchFor) -> Outcome<Value> {
        let limit = if what.limit == 0 { HITS_DEFAULT } else { what.limit.min(limits::SEARCH_HITS_MAX) };
        let query = CodeQuery { text: what.q, regex: what.regex, limit, ..CodeQuery::default() };
        let mut found = self.app.cx().ports.search.search(&workspace.binding, &query)?;
        found.hits.retain(|hit| !Host::is_hidden(&hit.path));
        Ok(json!({ "items": found.hits, "cut": found.cut }))
    }

    fn open(&self, session: &Session, what: Open) -> Outcome<Value> {
        let text = self.host.file_text(session, &what.path, what.line, what.limit)?;
        if text.len() > limits::AGENT_ANSWER_BYTES_MAX {
            return Err(too_large(text.len()).hint("give line and limit"));
        }
        Ok(json!({ "path": what.path, "text": text }))
    }

    fn diff(&self, workspace: &Workspace, what: DiffOf) -> Outcome<Value> {
        let path = match (what.path, what.b64) {
            (Some(_), Some(_)) => return Err(Failure::invalid("give path or b64, not both")),
            (Some(text), None) => Some(RepoPath::new(text.into_bytes())?),
            (None, Some(coded)) => Some(RepoPath::new(unbase64(&coded).ok_or_else(|| Failure::invalid("b64 is not base64"))?)?),
            (None, None) => None,
        };
        if let Some(path) = path.as_ref().filter(|path| Host::is_hidden(path)) {
            return Err(Failure::new(Code::Scope, format!("{} looks like a secret and is not shown to agents", path.display())));
        }
        let source = match what.source.unwrap_or(Source::Uncommitted) {
            Source::Uncommitted => DiffSource::Uncommitted,
            Source::Branch => DiffSource::Branch { base: what.base.ok_or_else(|| Failure::invalid("this source needs base"))? },
            Source::Commit => DiffSource::Commit { oid: Oid::parse(&what.oid.ok_or_else(|| Failure::invalid("this source needs oid"))?)? },
        };
        self.app.answer(Query::Diff { workspace_id: workspace.workspace_id, source, path })
    }

    fn job(&self, mut arguments: Map<String, Value>) -> Outcome<ToolReply> {
        let limit = wait(&mut arguments)?;
        let what: JobOf = strict(arguments)?;
        self.host.own_job(self.session_id, &self.used, what.job_id, limit).map(|job| self.told(&job))
    }

    fn ask(&self, mut arguments: Map<String, Value>) -> Outcome<ToolReply> {
        let op = self.tool.op().ok_or_else(|| Failure::engine("a read was taken for an operation"))?;
        let limit = wait(&mut arguments)?;
        let mt_id = match self.tool {
            AgentTool::StartMt | AgentTool::BlockMt | AgentTool::Spawn => arguments.remove("mt_id").map(|id| serde_json::from_value::<MtId>(id).map_err(|e| Failure::invalid(format!("mt_id: {e}")))).transpose()?,
            _ => None,
        };
        let params = match self.tool {
            AgentTool::RequestCapability => self.request(strict(arguments)?)?,
            AgentTool::AddNote => note(arguments)?,
            AgentTool::Spawn => serde_json::to_value(strict::<Child>(arguments)?).map_err(|e| Failure::engine(e.to_string()))?,
            _ => Value::Object(arguments),
        };
        let job = self.host.asking(self.session_id, &self.used, Intent { op, params, mt_id }, limit)?;
        Ok(self.told(&job))
    }

    /// The parameters of capability.request, judged by us: a command that is shown stays in the sandbox, the rest is the
    /// unknown class.
    fn request(&self, ask: Ask) -> Outcome<Value> {
        if ask.what.trim().is_empty() || ask.what.len() > limits::LINE_BYTES_MAX {
            return Err(Failure::invalid(format!("what: 1 to {} bytes in your own words", limits::LINE_BYTES_MAX)));
        }
        if ask.command.as_ref().is_some_and(|command| command.is_empty() || command.len() > 4000) || ask.paths.len() > 100 {
            return Err(Failure::invalid("command: 1 to 4000 bytes; paths: at most 100"));
        }
        let raw_sha256 = Sha256Hex::of(&canonical::to_vec(&self.used.arguments)?);
        let session = dcc_jobs::ledger::session(self.app.cx().ports.recorder.as_ref(), self.session_id)?;
        let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
        let workspace = self.app.workspace(workspace_id)?;
        let mut paths: Vec<RepoPath> = Vec::new();
        let mut foreign: Vec<String> = Vec::new();
        for named in &ask.paths {
            match Host::own_path(&workspace, named) {
                Some(path) => paths.push(path),
                None => foreign.push(named.chars().take(400).collect()),
            }
        }
        let kind = if ask.command.is_some() { AskKind::Execute } else { AskKind::Unknown };
        Ok(json!({
            // Named by what is asked, so that the same request asked again is known as the same.
            "tool_call_id": format!("ask-{}", raw_sha256.short()), "kind": kind, "paths": paths, "foreign_paths": foreign, "command": ask.command,
            "diffs": [], "raw_sha256": raw_sha256, "claim": ask.what,
        }))
    }

    fn told(&self, job: &Job) -> ToolReply {
        let mut result = object(&job.flat());
        match job.state {
            JobState::AwaitingUser => {
                result.insert("note".into(), json!("A person has to decide. Poll job_get with this job_id, or go on; do not ask again."));
            }
            JobState::Running | JobState::Queued => {
                result.insert("note".into(), json!("Not over yet. Poll job_get with this job_id."));
            }
            _ => {}
        }
        // Said beside the job: it is over when the child has begun.
        if job.op == Op::SessionSpawn
            && let Some(child) = result.get("session_id").and_then(Value::as_str).and_then(|id| id.parse().ok())
            && let Ok(child) = self.host.child_for_its_parent(self.session_id, child)
        {
            result.insert("child".into(), child);
        }
        for (name, key) in [("stdout_tail", "stdout_sha256"), ("stderr_tail", "stderr_sha256")] {
            if let Some(tail) = result.get(key).and_then(Value::as_str).and_then(|sha256| self.tail(sha256)) {
                result.insert(name.into(), json!(tail));
            }
        }
        let has_failed = matches!(job.state, JobState::Failed | JobState::Cancelled | JobState::Poisoned);
        ToolReply { result: Value::Object(result), has_failed }
    }

    /// The end of a recipe's output, as it was kept: redacted.
    fn tail(&self, sha256: &str) -> Option<String> {
        let bytes = self.app.cx().ports.artifacts.get(sha256.parse().ok()?).ok()?;
        let from = bytes.len().saturating_sub(OUTPUT_TAIL_BYTES);
        Some(String::from_utf8_lossy(&bytes[from..]).into_owned())
    }
}

fn strict<T: DeserializeOwned>(arguments: Map<String, Value>) -> Outcome<T> {
    serde_json::from_value(Value::Object(arguments)).map_err(|e| Failure::invalid(e.to_string()).hint("the tool's input schema says what it takes"))
}

/// Takes wait_ms out of the arguments.
fn wait(arguments: &mut Map<String, Value>) -> Outcome<Duration> {
    let asked = match arguments.remove("wait_ms") {
        None => return Ok(Duration::from_millis(limits::AGENT_TOOL_WAIT_MS)),
        Some(value) => value.as_u64().filter(|ms| *ms <= limits::AGENT_TOOL_WAIT_MS_MAX),
    };
    asked.map(Duration::from_millis).ok_or_else(|| Failure::invalid(format!("wait_ms is a whole number up to {}", limits::AGENT_TOOL_WAIT_MS_MAX)))
}

/// A note's parameters; its type speaks for the agent only.
fn note(mut arguments: Map<String, Value>) -> Outcome<Value> {
    let note_type = arguments.entry("note_type").or_insert_with(|| json!(NOTE_TYPES[0]));
    if !note_type.as_str().is_some_and(|name| NOTE_TYPES.contains(&name)) {
        return Err(Failure::invalid(format!("note_type is one of {}", NOTE_TYPES.join(", "))));
    }
    Ok(Value::Object(arguments))
}

/// Shortens the list of an answer that is too large, and says so.
fn fit(mut answer: Value) -> Outcome<Value> {
    let size = answer.to_string().len();
    if size <= limits::AGENT_ANSWER_BYTES_MAX {
        return Ok(answer);
    }
    let key = ["items", "entries"].into_iter().find(|key| answer[*key].is_array());
    if let Some(list) = key.and_then(|key| answer[key].as_array_mut()) {
        let whole: usize = list.iter().map(|item| item.to_string().len() + 1).sum();
        let mut room = limits::AGENT_ANSWER_BYTES_MAX.saturating_sub(size - whole.min(size) + 64);
        let fits = list.iter().take_while(|item| {
            let bytes = item.to_string().len() + 1;
            let is_in = bytes <= room;
            room = room.saturating_sub(bytes);
            is_in
        });
        let count = fits.count();
        if count > 0 {
            list.truncate(count);
            answer["cut"] = json!(true);
            return Ok(answer);
        }
    }
    Err(too_large(size).hint("ask for less: name a path, or a smaller limit"))
}

fn too_large(bytes: usize) -> Failure {
    Failure::invalid(format!("the answer has {bytes} bytes; at most {} are given", limits::AGENT_ANSWER_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_lists_are_cut_and_say_so() {
        let item = json!({ "text": "x".repeat(1000) });
        let answer = fit(json!({ "items": vec![item.clone(); 1000], "next_cursor": null })).unwrap();
        assert!(answer["cut"] == true && answer["items"].as_array().unwrap().len() > 100);
        assert!(answer.to_string().len() <= limits::AGENT_ANSWER_BYTES_MAX);
        assert_eq!(fit(json!({ "items": [item] })).unwrap().get("cut"), None);
        let huge = json!({ "items": [{ "text": "x".repeat(limits::AGENT_ANSWER_BYTES_MAX) }] });
        assert_eq!(fit(huge).unwrap_err().code, Code::InvalidInput);
    }

    #[test]
    fn waits_and_note_types_are_bounded() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        assert_eq!(wait(&mut map(json!({}))).unwrap(), Duration::from_millis(limits::AGENT_TOOL_WAIT_MS));
        assert_eq!(wait(&mut map(json!({ "wait_ms": 0 }))).unwrap(), Duration::ZERO);
        for bad in [json!(-1), json!(limits::AGENT_TOOL_WAIT_MS_MAX + 1), json!("1"), json!(1.5)] {
            assert!(wait(&mut map(json!({ "wait_ms": bad }))).is_err());
        }
        assert_eq!(note(map(json!({ "body": "b" }))).unwrap()["note_type"], "plan");
        for bad in ["gate", "decision", "system", "user"] {
            assert!(note(map(json!({ "body": "b", "note_type": bad }))).is_err(), "{bad}");
        }
    }
}
