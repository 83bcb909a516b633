//! sandbox.run_command: one command word for word, by an agent in its session's profile or by a person in a worktree.
//! Its output is kept as artifacts and can be looked at while it runs.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::Sha256Hex;
use dcc_core::job::{Bindings, Job};
use dcc_core::plans::{CommandPlan, one_line};
use dcc_core::ports::RunReport;
use dcc_core::ports::sessions::{Observed, SessionPlace, SideEffect, ToolReport, ToolStatus};
use dcc_core::principal::Principal;
use dcc_core::redact;
use dcc_core::workspace::{Workspace, WorkspaceKind, escape_path};
use dcc_core::{Code, Failure, Outcome, limits};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::commands::EndedBy;
use crate::context::Context;
use crate::{ledger, repairs};
use crate::runner::correlation;

pub(super) struct RunCommand;

/// Either words or shell text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    argv: Option<Vec<String>>,
    /// Shell text, as some agents give a command; a bare word is a program all the same.
    line: Option<String>,
    /// Absolute, or relative to the worktree.
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout_ms: Option<u64>,
    /// Bytes of the output that whoever asks wants to see while it runs.
    shown_bytes_max: Option<u64>,
}

impl JobKind for RunCommand {
    type Plan = CommandPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<CommandPlan>> {
        let p: Params = params::parse(cx, job)?;
        let session_id = match job.actor.principal {
            Principal::Agent { session_id } => Some(session_id),
            Principal::Operator | Principal::System => None,
        };
        let (workspace, place) = match session_id {
            Some(id) => {
                let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
                let workspace_id = session.workspace_id.ok_or_else(|| Failure::new(Code::Scope, "the session has no workspace"))?;
                let place = cx.ports.sessions.place(id).ok_or_else(|| Failure::new(Code::Scope, "the session has no confined agent whose profile a command could share"))?;
                (ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?, Some(place))
            }
            None => (params::workspace(cx, job)?, None),
        };
        repairs::require_whole(cx, &workspace)?;
        let cwd = directory(&workspace, p.cwd.as_deref())?;
        let (command, argv) = words(&p)?;
        let (argv, executable, executable_sha256) = find(cx, argv, &cwd, place.as_ref())?;
        let body = CommandPlan {
            workspace_id: workspace.workspace_id,
            session_id,
            command,
            argv,
            executable,
            executable_sha256,
            cwd,
            worktree: workspace.binding.worktree_path.clone(),
            env: variables(p.env)?,
            // The main worktree holds the git directory, which must stay read-only to whatever runs.
            writes: workspace.kind == WorkspaceKind::Worktree,
            place,
            timeout_ms: p.timeout_ms.unwrap_or(limits::COMMAND_TIMEOUT_MS).clamp(1, limits::COMMAND_TIMEOUT_MS),
            output_bytes_max: limits::OUTPUT_BYTES_MAX as u64,
            git_dir: workspace.binding.git_dir.clone(),
            common_dir: workspace.binding.common_dir.clone(),
        };
        Ok(Planned { body, engine: "sandbox", inputs: Vec::new(), bindings: bindings(job, &workspace), claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<CommandPlan>) -> Outcome<Done> {
        let p: Params = params::parse(cx, job)?;
        let plan = cleared.body().clone();
        let row = Row { job, plan: &plan };
        cx.journal.append(vec![
            row.about(EventCode::EffectPlanned, json!({ "effect": { "command": plan.command, "argv": plan.argv, "cwd": plan.cwd } })),
            row.tool(EventCode::ToolCallStarted, ToolStatus::Running, None),
        ])?;
        let running = match cx.ports.sandbox.start(cleared) {
            Ok(running) => Arc::from(running),
            Err(failure) => {
                cx.journal.append(vec![row.tool(EventCode::ToolCallFinished, ToolStatus::Error, Some(json!({ "code": failure.code, "message": failure.message })))])?;
                return Err(failure);
            }
        };
        let command = cx.commands.begin(job.job_id, plan.session_id, Arc::clone(&running), p.shown_bytes_max);
        if plan.session_id.is_some_and(|id| cx.ports.sessions.place(id).is_none()) {
            // Its agent went while it began: whoever ends what a session runs did not see it.
            command.end(EndedBy::Others);
        }
        if let Some(runner) = cx.runner.get().and_then(std::sync::Weak::upgrade) {
            runner.wake();
        }
        let finished = running.finish();
        cx.commands.over(job.job_id, finished.as_ref().ok());
        match finished {
            Ok(report) => row.ended(cx, report, command.ended_by()),
            Err(failure) => {
                cx.journal.append(vec![row.tool(EventCode::ToolCallFinished, ToolStatus::Error, Some(json!({ "code": failure.code, "message": failure.message })))])?;
                Err(failure)
            }
        }
    }

    fn recover(&self, cx: &Context, job: &Job, body: &CommandPlan) -> Outcome<Recovered> {
        // First nothing of it runs any more, then it is said.
        cx.ports.sandbox.end_run(job.job_id);
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        Ok(Recovered::Unknown(format!("the command {} was running; its processes are gone, what it wrote in the worktree is not known", body.command)))
    }
}

/// The command's line in the ledger.
struct Row<'a> {
    job: &'a Job,
    plan: &'a CommandPlan,
}

impl Row<'_> {
    fn about(&self, code: EventCode, payload: serde_json::Value) -> NewEvent {
        let mut event = NewEvent::new(code, self.job.actor, payload).about(&correlation(self.job));
        event.correlation.tool_call_id = Some(format!("command-{}", self.job.job_id));
        event
    }

    fn tool(&self, code: EventCode, status: ToolStatus, raw_output: Option<serde_json::Value>) -> NewEvent {
        let tool = ToolReport {
            tool_call_id: format!("command-{}", self.job.job_id),
            title: self.plan.command.chars().take(300).collect(),
            kind: "execute".into(),
            side_effect: SideEffect::Execute,
            status,
            locations: Vec::new(),
            raw_input: Some(json!({ "command": self.plan.command.chars().take(2_000).collect::<String>(), "cwd": self.plan.cwd, "terminal_id": self.job.job_id })),
            raw_output,
            content: Vec::new(),
        };
        self.about(code, json!({ "tool": tool, "observed": Observed::Gated }))
    }

    fn ended(&self, cx: &Context, report: RunReport, ended_by: Option<EndedBy>) -> Outcome<Done> {
        let stdout = keep(cx, &report.stdout)?;
        let stderr = keep(cx, &report.stderr)?;
        let status = match (report.timed_out, ended_by, report.exit_code) {
            (true, ..) => ToolStatus::TimedOut,
            (_, Some(_), _) => ToolStatus::Cancelled,
            (_, None, Some(0)) => ToolStatus::Ok,
            _ => ToolStatus::Error,
        };
        let outcome = if status == ToolStatus::Ok { EventOutcome::Ok } else { EventOutcome::Failed };
        let output = json!({ "exit_code": report.exit_code, "signal": report.signal, "duration_ms": report.duration_ms, "stdout": stdout, "stderr": stderr });
        let mut effect = Effect::default()
            .with("command", self.plan.command.clone())
            .with("exit_code", json!(report.exit_code))
            .with("duration_ms", report.duration_ms)
            .with("stdout_sha256", stdout.to_string())
            .with("stderr_sha256", stderr.to_string())
            .with("sandbox", report.posture.layers.join("+"));
        effect.outputs = vec![stdout, stderr];
        effect.with_issues = status != ToolStatus::Ok;
        effect.events.push(self.tool(EventCode::ToolCallFinished, status, Some(output)).outcome(outcome));
        effect.events.push(
            self.about(EventCode::CommandFinished, json!({
                "command": self.plan.command, "exit_code": report.exit_code, "signal": report.signal, "timed_out": report.timed_out, "survivors": report.survivors,
                "stdout": stdout, "stderr": stderr, "stdout_cut": report.stdout_cut, "stderr_cut": report.stderr_cut, "posture": report.posture,
            }))
            .outcome(outcome),
        );
        let failure = match (report.timed_out, ended_by) {
            (true, _) => Failure::new(Code::SboxTimeout, format!("{} exceeded {} ms and was ended", self.plan.command, self.plan.timeout_ms)),
            (false, Some(EndedBy::Others)) => Failure::new(Code::Canceled, format!("{} was ended before it was done", self.plan.command)),
            _ => return Ok(Done::Finished(effect)),
        };
        cx.journal.append(effect.events)?;
        Err(failure)
    }
}

fn keep(cx: &Context, output: &[u8]) -> Outcome<Sha256Hex> {
    let (text, _) = redact::redact_text(&String::from_utf8_lossy(output));
    cx.ports.artifacts.put(text.as_bytes())
}

fn bindings(job: &Job, workspace: &Workspace) -> Bindings {
    let mut bindings = job.bindings.clone();
    bindings.workspace_id = Some(workspace.workspace_id);
    bindings.wp_id.clone_from(&workspace.wp_id);
    bindings.mt_id = bindings.mt_id.or_else(|| workspace.mt_id.clone());
    bindings
}

/// The real directory, inside the worktree also behind links.
fn directory(workspace: &Workspace, given: Option<&str>) -> Outcome<String> {
    let root = workspace.binding.worktree();
    let outside = |why: String| Failure::new(Code::Scope, why).hint("the directory of a command lies in its worktree");
    let wanted = given.map_or_else(|| root.clone(), |given| root.join(given));
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|error| outside(format!("{}: {error}", path.display())));
    let (root, wanted) = (real(&root)?, real(&wanted)?);
    if !wanted.starts_with(&root) || !wanted.is_dir() {
        return Err(outside(format!("{} is no directory of the worktree", wanted.display())));
    }
    Ok(escape_path(wanted.as_os_str().as_bytes()))
}

/// The command in one line, and its words; shell text is a word for a shell.
fn words(p: &Params) -> Outcome<(String, Vec<String>)> {
    let (line, argv) = match (&p.argv, &p.line) {
        (Some(argv), None) => (one_line(argv), argv.clone()),
        (None, Some(line)) if one_line(std::slice::from_ref(line)) == *line => (line.clone(), vec![line.clone()]),
        (None, Some(line)) => (line.clone(), vec!["bash".into(), "-c".into(), line.clone()]),
        _ => return Err(Failure::invalid("give a command, either as words or as a line")),
    };
    let size: usize = argv.iter().map(String::len).sum();
    if argv.first().is_none_or(String::is_empty) || argv.len() > limits::COMMAND_WORDS_MAX || size > limits::COMMAND_BYTES_MAX || argv.iter().any(|word| word.contains('\0')) {
        return Err(Failure::invalid(format!("a command has 1 to {} words without NUL, together at most {} bytes", limits::COMMAND_WORDS_MAX, limits::COMMAND_BYTES_MAX)));
    }
    Ok((line, argv))
}

fn variables(env: BTreeMap<String, String>) -> Outcome<BTreeMap<String, String>> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.as_bytes()[0].is_ascii_digit();
    let size: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    let fits = env.len() <= limits::COMMAND_VARIABLES_MAX && size <= limits::COMMAND_BYTES_MAX;
    if !fits || env.iter().any(|(name, value)| !is_name(name) || value.contains('\0')) {
        return Err(Failure::invalid(format!("a command takes at most {} variables with plain names, together at most {} bytes", limits::COMMAND_VARIABLES_MAX, limits::COMMAND_BYTES_MAX)));
    }
    Ok(env)
}

/// The program behind the first word: a path from the command's directory, a name in the session's PATH, else as for a
/// recipe. A shell that is missing is the system's.
fn find(cx: &Context, mut argv: Vec<String>, cwd: &str, place: Option<&SessionPlace>) -> Outcome<(Vec<String>, String, Sha256Hex)> {
    let name = argv[0].clone();
    if name.contains('/') && !name.starts_with('/') {
        let (path, sha256) = cx.ports.sandbox.resolve(&format!("{cwd}/{name}"))?;
        return Ok((argv, path, sha256));
    }
    if let Some(place) = place.filter(|_| !name.contains('/')) {
        for dir in place.path.split(':').filter(|dir| dir.starts_with('/')) {
            if let Ok((path, sha256)) = cx.ports.sandbox.resolve(&format!("{dir}/{name}")) {
                return Ok((argv, path, sha256));
            }
        }
    }
    match cx.ports.sandbox.resolve(&name) {
        Ok((path, sha256)) => Ok((argv, path, sha256)),
        Err(_) if name == "bash" => {
            let (path, sha256) = cx.ports.sandbox.resolve("/bin/sh")?;
            argv[0] = "sh".into();
            Ok((argv, path, sha256))
        }
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(value: serde_json::Value) -> Params {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn shell_text_goes_to_a_shell_and_a_bare_word_does_not() {
        let of = |value| words(&params(value)).unwrap();
        assert_eq!(of(json!({"line": "ls"})), ("ls".to_owned(), vec!["ls".to_owned()]));
        assert_eq!(of(json!({"line": "npm test && echo $?"})).1, ["bash", "-c", "npm test && echo $?"]);
        assert_eq!(of(json!({"line": "npm test"})).0, "npm test", "as it was asked for");
        assert_eq!(of(json!({"argv": ["git", "log", "a b"]})), ("git log 'a b'".to_owned(), vec!["git".to_owned(), "log".into(), "a b".into()]));
        for bad in [json!({}), json!({"argv": []}), json!({"argv": [""]}), json!({"argv": ["a"], "line": "a"}), json!({"argv": ["a\u{0}"]}), json!({"argv": vec!["x"; 2_000]})] {
            assert!(words(&params(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_have_plain_names_and_bounds() {
        let of = |name: &str, value: &str| variables(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(of("CI", "1").is_ok() && of("_a1", "").is_ok());
        for (name, value) in [("", "1"), ("A=B", "1"), ("1A", "1"), ("A", "x\u{0}"), ("A B", "1")] {
            assert!(of(name, value).is_err(), "{name:?}");
        }
        assert!(of("A", &"x".repeat(limits::COMMAND_BYTES_MAX)).is_err());
    }
}
