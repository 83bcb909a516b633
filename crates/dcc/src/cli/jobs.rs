//! dcc job, dcc run.

use serde_json::json;

use dcc_api::door::Query;
use dcc_core::ids::JobId;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::JobFilter;
use dcc_core::{Failure, Outcome, Sha256Hex};

use super::Cli;
use super::args::{JobCommand, RunArgs};
use super::output::{job_exit, short, table, visible};
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
            cli.out.show(&value, |job| visible(&serde_json::to_string_pretty(job).unwrap_or_default()));
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
