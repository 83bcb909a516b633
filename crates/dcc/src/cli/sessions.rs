//! dcc session.

use serde_json::json;

use dcc_api::door::{Paging, Query};
use dcc_core::ids::{MtId, SessionId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::{Failure, Outcome};

use super::Cli;
use super::args::SessionCommand;
use super::output::{short, table};
use super::work::{clean, items, text};
use super::{up, workspaces};

pub fn run(cli: &Cli, command: SessionCommand) -> Outcome<u8> {
    match command {
        SessionCommand::Start { ws, agent, mt, prompt, role, command } => {
            // An agent lives longer than this command: a server has to own it.
            up::ensure_served(cli)?;
            let mut bindings = workspaces::bind(cli, &ws)?;
            bindings.mt_id = mt.as_deref().map(MtId::parse).transpose()?;
            let command = (!command.is_empty()).then_some(command);
            cli.submit(Op::SessionStart, clean(json!({ "agent": agent, "command": command, "prompt": prompt, "role": role })), bindings)
        }
        SessionCommand::List => {
            let value = cli.query(&Query::Sessions { paging: Paging::default() })?;
            cli.out.show(&value, |value| {
                let rows = items(value)
                    .map(|s| vec![short(&text(s, "session_id")).to_owned(), text(s, "agent"), text(s, "role"), text(s, "state"), text(s, "state_reason"), text(s, "wp_id"), text(s, "mt_id"), text(s, "tool_calls")])
                    .collect();
                table(&["session", "agent", "role", "state", "reason", "packet", "task", "calls"], rows)
            });
            Ok(0)
        }
        SessionCommand::Show { session } => {
            let link = cli.link()?;
            let session_id: SessionId = cli.resolve(link.as_ref(), "session", &session)?;
            let value = link.query(&Query::Session { session_id })?;
            cli.out.show(&value, |s| {
                format!(
                    "session {} {} [{}, {}]\n  agent {} ({})\n  packet {} {}\n  sandbox {}\n  {}",
                    text(s, "session_id"), text(s, "role"), text(s, "state"), text(s, "state_reason"), text(s, "agent"), text(s, "command"), text(s, "wp_id"), text(s, "mt_id"),
                    s["posture"]["layers"], text(s, "fault")
                )
            });
            Ok(0)
        }
        SessionCommand::Send { session, text, when } => act(cli, Op::SessionSend, &session, json!({ "text": text, "when": when })),
        SessionCommand::Cancel { session, reason } => act(cli, Op::SessionCancel, &session, clean(json!({ "reason": reason }))),
        SessionCommand::Close { session, handoff, waive } => {
            let handoff = handoff
                .map(|path| std::fs::read_to_string(&path).map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", path.display()))))
                .transpose()?;
            act(cli, Op::SessionClose, &session, clean(json!({ "handoff": handoff, "waive_reason": waive })))
        }
    }
}

fn act(cli: &Cli, op: Op, session: &str, params: serde_json::Value) -> Outcome<u8> {
    let id: SessionId = cli.resolve(cli.link()?.as_ref(), "session", session)?;
    cli.submit(op, params, Bindings { session_id: Some(id), ..Bindings::default() })
}
