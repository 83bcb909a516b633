//! dcc sandbox: what can be enforced, and waivers where nothing can.

use clap::Subcommand;
use serde_json::{Value, json};

use dcc_api::door::Query;
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::{Code, Failure, Outcome, WorkspaceId};

use super::Cli;
use super::output::table;
use super::work::text;

#[derive(Subcommand, Debug)]
pub enum SandboxCommand {
    /// What the self-test saw, and the waivers in force
    Show,
    /// Let agents run unconfined in one worktree for a time, where no sandbox can be had; needs you at a terminal
    Waive {
        #[arg(long)]
        ws: String,
        /// How long: 30m, 2h, 90s; at most 8h
        #[arg(long = "for")]
        time: String,
        #[arg(long)]
        reason: String,
    },
    /// End waivers, and the agents that run under them, at once
    Revoke {
        /// Only this worktree's
        #[arg(long)]
        ws: Option<String>,
    },
}

pub fn run(cli: &Cli, command: SandboxCommand) -> Outcome<u8> {
    match command {
        SandboxCommand::Show => {
            let health = cli.query(&Query::Health)?;
            let value = json!({ "sandbox": health["sandbox"], "waivers": health["waivers"] });
            cli.out.show(&value, |value| {
                let posture = &value["sandbox"];
                let word = |key: &str| if posture[key] == true { "enforced" } else { "not enforced" };
                let rows: Vec<Vec<String>> = value["waivers"].as_array().into_iter().flatten().map(|w| vec![text(w, "workspace_id"), text(w, "expires_at"), text(w, "reason")]).collect();
                let waived = if rows.is_empty() { "no waiver is in force".to_owned() } else { format!("UNENFORCED in:\n{}", table(&["workspace", "until", "reason"], rows)) };
                format!("files {}, network {}\n{waived}", word("filesystem"), word("network"))
            });
            Ok(0)
        }
        SandboxCommand::Waive { ws, time, reason } => {
            if !cli.attended() {
                return Err(Failure::new(Code::SameTurnConsent, "a waiver of the sandbox needs a person at a terminal or in the browser"));
            }
            let for_ms = milliseconds(&time)?;
            let id: WorkspaceId = cli.resolve(cli.link()?.as_ref(), "workspace", &ws)?;
            cli.submit(Op::SandboxWaive, json!({ "for_ms": for_ms, "reason": reason }), Bindings { workspace_id: Some(id), ..Bindings::default() })
        }
        SandboxCommand::Revoke { ws } => {
            let link = cli.link()?;
            let id = ws.map(|ws| cli.resolve::<WorkspaceId>(link.as_ref(), "workspace", &ws)).transpose()?;
            cli.submit(Op::SandboxRevoke, Value::Null, Bindings { workspace_id: id, ..Bindings::default() })
        }
    }
}

/// `30m`, `2h`, `90s`.
fn milliseconds(text: &str) -> Outcome<i64> {
    let unit = |suffix: char| match suffix {
        's' => Some(1_000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        _ => None,
    };
    let parsed = text.chars().last().and_then(unit).zip(text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse::<i64>().ok()));
    parsed.and_then(|(unit, count)| count.checked_mul(unit)).filter(|ms| *ms > 0).ok_or_else(|| Failure::invalid(format!("{text:?} is no time")).hint("30m, 2h or 90s"))
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_have_a_unit() {
        assert_eq!((milliseconds("30m").unwrap(), milliseconds("2h").unwrap(), milliseconds("90s").unwrap()), (1_800_000, 7_200_000, 90_000));
        for bad in ["", "30", "m", "-1m", "0s", "1.5h", "9999999999999999h", "3ü"] {
            assert!(milliseconds(bad).is_err(), "{bad:?}");
        }
    }
}
