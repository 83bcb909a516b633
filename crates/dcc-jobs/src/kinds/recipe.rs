//! sandbox.run_recipe: a named command of the operator's configuration, confined, its output kept as artifacts.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use dcc_core::event::{EventCode, EventOutcome, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::RecipePlan;
use dcc_core::ports::RunReport;
use dcc_core::ports::sessions::{Observed, SideEffect, ToolReport, ToolStatus};
use dcc_core::redact;
use dcc_core::workspace::WorkspaceKind;
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::context::Context;
use crate::repairs;
use crate::runner::correlation;

pub(super) struct RunRecipe;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    recipe: String,
}

impl JobKind for RunRecipe {
    type Plan = RecipePlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<RecipePlan>> {
        let p: Params = params::parse(cx, job)?;
        let recipe = cx.config.recipes.get(&p.recipe).ok_or_else(|| {
            Failure::new(Code::NotFoundRecipe, format!("no recipe {:?}", p.recipe)).hint("recipes stand in your own config.toml as [recipes.NAME] argv = [...], never in a repository; a server that runs read them when it was started")
        })?;
        // The operator's configuration is his own; a plan, which holds this of it, is kept for good.
        redact::refuse_known(&format!("[recipes.{}]", p.recipe), &json!({ "argv": recipe.argv, "env": recipe.env }))?;
        let workspace = params::workspace(cx, job)?;
        repairs::require_whole(cx, &workspace)?;
        let program = recipe.argv.first().ok_or_else(|| Failure::invalid("the recipe has no command"))?;
        let (executable, executable_sha256) = cx.ports.sandbox.resolve(program)?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id.clone_from(&workspace.wp_id);
        bindings.mt_id = bindings.mt_id.or_else(|| workspace.mt_id.clone());
        let body = RecipePlan {
            workspace_id: workspace.workspace_id,
            recipe: recipe.name.clone(),
            argv: recipe.argv.clone(),
            executable,
            executable_sha256,
            cwd: workspace.binding.worktree_path.clone(),
            env: recipe.env.clone(),
            timeout_ms: recipe.timeout_ms,
            // The main worktree holds the git directory, which must stay read-only to whatever runs.
            writes: recipe.writes && workspace.kind == WorkspaceKind::Worktree,
            read_paths: recipe.read_paths.clone(),
            git_dir: workspace.binding.git_dir.clone(),
            common_dir: workspace.binding.common_dir.clone(),
        };
        Ok(Planned { body, engine: "sandbox", inputs: Vec::new(), bindings, claim: None })
    }

    fn runs_long(&self) -> bool {
        true
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<RecipePlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        let command = plan.argv.join(" ");
        let tool = |status| ToolReport {
            tool_call_id: format!("recipe-{}", job.job_id),
            title: format!("recipe {}", plan.recipe),
            kind: "execute".into(),
            side_effect: SideEffect::Execute,
            status,
            locations: Vec::new(),
            raw_input: Some(json!({ "argv": plan.argv })),
            raw_output: None,
            content: Vec::new(),
        };
        let about = |code, payload| {
            let mut event = NewEvent::new(code, job.actor, payload).about(&correlation(job));
            event.correlation.tool_call_id = Some(format!("recipe-{}", job.job_id));
            event
        };
        cx.journal.append(vec![
            about(EventCode::EffectPlanned, json!({ "effect": { "recipe": plan.recipe, "argv": plan.argv } })),
            about(EventCode::ToolCallStarted, json!({ "tool": tool(ToolStatus::Running), "observed": Observed::Gated })),
        ])?;
        let ran = cx.ports.sandbox.start_recipe(cleared).and_then(|running| cx.commands.attend(job.job_id, Arc::from(running)));
        let (report, ended_by) = match ran {
            Ok(ran) => ran,
            Err(failure) => {
                cx.journal.append(vec![about(EventCode::ToolCallFinished, json!({ "tool": tool(ToolStatus::Error), "observed": Observed::Gated }))])?;
                return Err(failure);
            }
        };
        let text = |bytes: &[u8]| redact::redact_text(&String::from_utf8_lossy(bytes)).0;
        let (stdout_text, stderr_text) = (text(&report.stdout), text(&report.stderr));
        let stdout = cx.ports.artifacts.put(stdout_text.as_bytes())?;
        let stderr = cx.ports.artifacts.put(stderr_text.as_bytes())?;
        let status = status_of(&report, ended_by.is_some());
        let tests_run = tests_run(&stdout_text, &stderr_text);
        let mut finished = tool(status);
        finished.raw_output = Some(json!({ "exit_code": report.exit_code, "signal": report.signal, "duration_ms": report.duration_ms, "tests_run": tests_run }));
        let ok = status == ToolStatus::Ok;
        let outcome = if ok { EventOutcome::Ok } else { EventOutcome::Failed };
        let mut effect = Effect::default()
            .with("recipe", plan.recipe.clone())
            .with("command", command)
            .with("exit_code", json!(report.exit_code))
            .with("duration_ms", report.duration_ms)
            .with("stdout_sha256", stdout.to_string())
            .with("stderr_sha256", stderr.to_string())
            .with("sandbox", report.posture.layers.join("+"));
        if let Some(tests) = tests_run {
            effect = effect.with("tests_run", tests);
        }
        effect.outputs = vec![stdout, stderr];
        effect.with_issues = !ok;
        effect.events.push(about(EventCode::ToolCallFinished, json!({ "tool": finished, "observed": Observed::Gated })).outcome(outcome));
        effect.events.push(
            about(EventCode::RecipeFinished, json!({
                "recipe": plan.recipe, "exit_code": report.exit_code, "signal": report.signal, "timed_out": report.timed_out, "survivors": report.survivors,
                "stdout": stdout, "stderr": stderr, "stdout_cut": report.stdout_cut, "stderr_cut": report.stderr_cut, "posture": report.posture,
            }))
            .outcome(outcome),
        );
        if report.timed_out || ended_by.is_some() {
            cx.journal.append(effect.events)?;
            return Err(cut_short(&plan, report.timed_out));
        }
        Ok(Done::Finished(effect))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &RecipePlan) -> Outcome<Recovered> {
        // First nothing of it runs any more, then it is said.
        cx.ports.sandbox.end_run(job.job_id);
        if job.effect.is_none() {
            return Ok(Recovered::Absent);
        }
        Ok(Recovered::Unknown(format!("the recipe {} was running; its processes are gone, what it wrote in the worktree is not known", body.recipe)))
    }
}

fn cut_short(plan: &RecipePlan, timed_out: bool) -> Failure {
    if timed_out {
        return Failure::new(Code::SboxTimeout, format!("the recipe {} exceeded {} ms and was ended", plan.recipe, plan.timeout_ms)).hint("raise timeout_ms of the recipe");
    }
    Failure::new(Code::Canceled, format!("the recipe {} was ended before it was done", plan.recipe))
}

fn status_of(report: &RunReport, was_ended: bool) -> ToolStatus {
    match (report.timed_out, was_ended, report.exit_code) {
        (true, ..) => ToolStatus::TimedOut,
        (_, true, _) => ToolStatus::Cancelled,
        (_, false, Some(0)) => ToolStatus::Ok,
        _ => ToolStatus::Error,
    }
}

/// How many tests ran, read from the closing lines of the common runners; none when no line says so.
fn tests_run(stdout: &str, stderr: &str) -> Option<u64> {
    let mut total = None;
    for line in stdout.lines().chain(stderr.lines()) {
        let line = line.trim();
        let count = if let Some(rest) = line.strip_prefix("test result:") {
            // cargo test: "test result: ok. 12 passed; 0 failed; ..."
            count_before(rest, "passed").zip(count_before(rest, "failed")).map(|(p, f)| p + f)
        } else if line.contains(" tests run:") {
            // nextest: "Summary [ 1.2s] 61 tests run: 61 passed, 0 skipped"
            count_before(line, "tests run")
        } else if line.starts_with("Ran ") && line.contains(" test") {
            // unittest: "Ran 3 tests in 0.01s"
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok())
        } else if line.ends_with('=') && line.starts_with('=') && line.contains(" passed") {
            // pytest: "==== 5 passed, 1 failed in 0.1s ===="
            Some(count_before(line, "passed").unwrap_or(0) + count_before(line, "failed").unwrap_or(0))
        } else {
            None
        };
        if let Some(count) = count {
            total = Some(total.unwrap_or(0) + count);
        }
    }
    total
}

fn count_before(text: &str, word: &str) -> Option<u64> {
    let at = text.find(word)?;
    text[..at].split_whitespace().last()?.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::tests_run;

    #[test]
    fn closing_lines_are_counted() {
        assert_eq!(tests_run("test result: ok. 12 passed; 1 failed; 0 ignored", ""), Some(13));
        assert_eq!(tests_run("", "     Summary [   0.2s] 61 tests run: 61 passed, 0 skipped"), Some(61));
        assert_eq!(tests_run("===== 5 passed, 1 failed in 0.10s =====", ""), Some(6));
        assert_eq!(tests_run("", "Ran 0 tests in 0.000s"), Some(0));
        assert_eq!(tests_run("hello", ""), None);
    }
}
