//! dcc job, dcc run.

use serde_json::{Value, json};

use dcc_api::door::Query;
use dcc_core::ids::JobId;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::{Failure, Outcome, Sha256Hex};

use super::Cli;
use super::args::{JobCommand, RunArgs};
use super::output::{job_exit, one_line, short, table, visible};
use super::work::{items, text, wp_id};
use super::workspaces;

pub fn run(cli: &Cli, command: JobCommand) -> Outcome<u8> {
    let link = cli.link()?;
    match command {
        JobCommand::List { state, op, wp } => {
            let states = state.map(|s| JobState::parse(&s).ok_or_else(|| Failure::invalid(format!("{s:?} is no job state")).hint("queued, running, awaiting_user, awaiting_validation, completed, completed_with_issues, failed, cancelled, poisoned or stalled"))).transpose()?;
            let filter = JobFilter {
                states: states.into_iter().collect(),
                op: op.as_deref().map(Op::parse).transpose()?,
                wp_id: wp.as_deref().map(wp_id).transpose()?,
                ..JobFilter::default()
            };
            let value = link.query(&Query::Jobs { filter })?;
            cli.out.show(&value, |value| {
                let rows = items(value)
                    .map(|j| vec![short(&text(j, "job_id")).to_owned(), text(j, "op"), text(j, "state"), text(j, "wp_id"), text(&j["failure"], "code"), text(j, "updated_at")])
                    .collect();
                table(&["job", "operation", "state", "packet", "failure", "updated"], rows)
            });
            Ok(0)
        }
        JobCommand::Show { job } => {
            let job_id: JobId = cli.resolve(link.as_ref(), "job", &job)?;
            let value = link.query(&Query::Job { job_id })?;
            cli.out.show(&value, |job| sheet(job, &["job_id", "op", "state", "failure"]));
            Ok(0)
        }
        JobCommand::Wait { job } => {
            let id: JobId = cli.resolve(link.as_ref(), "job", &job)?;
            let value = link.wait(id, true)?;
            cli.out.job(&value);
            Ok(job_exit(&value))
        }
        JobCommand::Cancel { job, reason } => {
            let id: JobId = cli.resolve(link.as_ref(), "job", &job)?;
            let cancelled = link.cancel(id, reason.as_deref())?;
            let value = serde_json::to_value(&cancelled).map_err(|e| Failure::engine(e.to_string()))?;
            cli.out.show(&value, |job| format!("job {} is {}", short(&text(job, "job_id")), text(job, "state")));
            Ok(0)
        }
    }
}

/// A thing in lines: what it is first, then whatever else is known of it.
pub(super) fn sheet(thing: &Value, first: &[&str]) -> String {
    let line = |key: &str, value: &Value| {
        let said = match value {
            Value::String(text) => one_line(text),
            Value::Object(failure) if key == "failure" => one_line(&format!("{} {}", text(value, "code"), failure.get("message").and_then(Value::as_str).unwrap_or_default())),
            other => one_line(&other.to_string()),
        };
        format!("{:<16} {said}", key.trim_end_matches("_id"))
    };
    let is_told = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) && value.as_object().is_none_or(|map| !map.is_empty());
    let rest = thing.as_object().into_iter().flatten().filter(|(key, value)| !first.contains(&key.as_str()) && is_told(value));
    let first = first.iter().filter(|key| is_told(&thing[**key])).map(|key| line(key, &thing[*key]));
    first.chain(rest.map(|(key, value)| line(key, value))).collect::<Vec<_>>().join("\n")
}

/// A recipe by its name, or a command word for word after `--`; both print what the run printed.
pub fn run_confined(cli: &Cli, args: RunArgs) -> Outcome<u8> {
    let (op, params) = match (args.recipe, args.command) {
        (Some(recipe), command) if command.is_empty() => (Op::SandboxRunRecipe, json!({ "recipe": recipe })),
        (None, command) if !command.is_empty() => (Op::SandboxRunCommand, json!({ "argv": command })),
        _ => return Err(Failure::invalid("name a recipe, or give a command after --").hint("dcc run --ws WS RECIPE, or dcc run --ws WS -- COMMAND...")),
    };
    let bindings = workspaces::bind(cli, &args.ws)?;
    let link = cli.link()?;
    let job = cli.drive(link.as_ref(), op, params, bindings)?;
    if !cli.out.is_json() {
        for key in ["stdout_sha256", "stderr_sha256"] {
            if let Some(sha256) = job[key].as_str().and_then(|t| Sha256Hex::parse(t).ok()) {
                let bytes = link.artifact(sha256)?;
                let text = visible(&String::from_utf8_lossy(&bytes));
                if !text.trim().is_empty() {
                    cli.out.note(text.trim_end());
                }
            }
        }
    }
    cli.out.job(&job);
    Ok(job_exit(&job))
}
