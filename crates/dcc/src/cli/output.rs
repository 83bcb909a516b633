//! Printing: one JSON object for machines, quiet lines for people; progress goes to standard error.

use std::io::Write as _;

use serde_json::{Value, json};

use dcc_core::Failure;
use dcc_core::failure::Code;

#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The JSON object, or what `human` prints.
    pub fn show(&self, value: &Value, human: impl FnOnce(&Value) -> String) {
        let text = if self.json { value.to_string() } else { human(value) };
        line(text.trim_end());
    }

    /// A sentence for people only.
    pub fn say(&self, text: &str) {
        if !self.json {
            line(text);
        }
    }

    /// Progress and remarks, for people on standard error.
    pub fn note(&self, text: &str) {
        eprintln!("{}", visible(text));
    }

    pub fn failure(&self, failure: &Failure, job_id: Option<&str>) {
        if self.json {
            let mut error = json!({ "code": failure.code, "message": failure.message });
            if let Some(hint) = &failure.hint {
                error["hint"] = json!(hint);
            }
            if let Some(id) = job_id {
                error["job_id"] = json!(id);
            }
            line(&json!({ "error": error }).to_string());
            return;
        }
        eprintln!("dcc: {}", visible(&failure.message));
        eprintln!("     {}{}", failure.code, job_id.map(|id| format!(", job {id}")).unwrap_or_default());
        if let Some(hint) = &failure.hint {
            eprintln!("     {}", visible(hint));
        }
    }

    /// A job as PRODUCT says: the flat object, or its end in words.
    pub fn job(&self, job: &Value) {
        if self.json {
            line(&job.to_string());
            return;
        }
        let text = |key: &str| job[key].as_str().unwrap_or_default();
        match text("state") {
            "completed" | "completed_with_issues" => line(&ended_well(job)),
            "awaiting_user" => {
                line(&format!("{} waits for your decision: approval {}", text("op"), short(text("approval_id"))));
                line(&format!("  dcc approvals show {0}\n  dcc approvals approve {0}", short(text("approval_id"))));
            }
            "queued" if job["session_id"].is_string() => {
                line(&format!("{} waits for a slot; it begins by itself: job {}", text("op"), short(text("job_id"))));
                line(&format!("  dcc session show {}", short(text("session_id"))));
            }
            "running" | "queued" => line(&format!("{} is {}: job {}", text("op"), text("state"), short(text("job_id")))),
            state => {
                let failure = failure_of(job);
                if let Some(failure) = failure {
                    self.failure(&failure, Some(text("job_id")));
                } else {
                    line(&format!("{} ended as {state}: job {}", text("op"), text("job_id")));
                }
            }
        }
    }
}

fn ended_well(job: &Value) -> String {
    let text = |key: &str| job[key].as_str().unwrap_or_default();
    let mut facts = Vec::new();
    for key in ["wp_id", "mt_id", "workspace_id", "session_id", "path", "branch", "commit_oid", "recipe", "exit_code", "tests_run", "mirror_state", "status", "grant_id", "message"] {
        match &job[key] {
            Value::Null => {}
            Value::String(value) if key.ends_with("_id") && value.len() == 36 => facts.push(format!("{} {}", key.trim_end_matches("_id"), short(value))),
            Value::String(value) => facts.push(format!("{} {value}", key.trim_end_matches("_id"))),
            other => facts.push(format!("{key} {other}")),
        }
    }
    // What proves a micro-task is named by its job.
    if matches!(text("op"), "version.commit" | "sandbox.run_recipe" | "sandbox.run_command") {
        facts.push(format!("job {}", short(text("job_id"))));
    }
    let issues = if text("state") == "completed_with_issues" { " with issues" } else { "" };
    visible(&format!("{} done{issues}: {}", text("op"), facts.join(", ")))
}

/// A job's failure, when it has one.
pub fn failure_of(job: &Value) -> Option<Failure> {
    serde_json::from_value(job["failure"].clone()).ok()
}

/// A command that waits for a job exits as that job did.
pub fn job_exit(job: &Value) -> u8 {
    match job["state"].as_str() {
        Some("completed" | "completed_with_issues" | "running" | "queued") => 0,
        Some("awaiting_user") => 4,
        _ => failure_of(job).map_or(1, |f| f.code.exit_code()),
    }
}

/// The last eight characters.
pub fn short(id: &str) -> &str {
    if id.len() == 36 { &id[28..] } else { id }
}

/// Repository and agent text on a terminal: control characters become visible.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => format!("\\u{{{:x}}}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

/// One field on one line: a line break of a name or of an agent's words cannot pass for a line of ours.
pub fn one_line(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// A table with aligned columns.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(head.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>());
    }
    table.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe (dcc ... | head) is no failure of the command.
    let _ = writeln!(out, "{text}");
}

/// The message of an unexpected shape in an answer.
pub fn unreadable(what: &str) -> Failure {
    Failure::new(Code::Engine, format!("the answer has no {what}"))
}
