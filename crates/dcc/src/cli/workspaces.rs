//! dcc ws.

use std::path::Path;

use serde_json::json;

use dcc_api::door::{Paging, Query};
use dcc_core::ids::{MtId, WorkspaceId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::workspace::escape_path;
use dcc_core::{Failure, Outcome};

use super::Cli;
use super::args::WsCommand;
use super::output::{short, table, unreadable, visible};
use super::work::{clean, items, text, wp_id};

pub fn run(cli: &Cli, command: WsCommand) -> Outcome<u8> {
    match command {
        WsCommand::Create { wp, branch, base, role } => {
            let bindings = Bindings { wp_id: Some(wp_id(&wp)?), ..Bindings::default() };
            cli.submit(Op::WorkspaceCreate, clean(json!({ "branch": branch, "base": base, "role": role })), bindings)
        }
        WsCommand::List => {
            let value = cli.query(&Query::Workspaces { paging: Paging::default() })?;
            cli.out.show(&value, |value| {
                let rows = items(value)
                    .map(|w| vec![short(&text(w, "workspace_id")).to_owned(), text(w, "kind"), text(w, "status"), text(w, "health"), text(w, "branch"), text(w, "wp_id"), text(w, "path")])
                    .collect();
                table(&["workspace", "kind", "status", "health", "branch", "packet", "path"], rows)
            });
            Ok(0)
        }
        WsCommand::Show { ws } => {
            let link = cli.link()?;
            let workspace_id: WorkspaceId = cli.resolve(link.as_ref(), "workspace", &ws)?;
            let value = link.query(&Query::Workspace { workspace_id })?;
            cli.out.show(&value, |w| {
                format!(
                    "workspace {} [{}], health {}\n  path {}\n  branch {} from {}\n  packet {}\n  {}",
                    text(w, "workspace_id"), text(w, "status"), text(w, "health"), text(w, "path"), text(w, "branch"), text(w, "base_branch"), text(w, "wp_id"), text(w, "health_message")
                )
            });
            Ok(0)
        }
        WsCommand::Open { ws } => simple(cli, Op::WorkspaceOpen, &ws),
        WsCommand::Close { ws } => simple(cli, Op::WorkspaceClose, &ws),
        WsCommand::Archive { ws, dry_run: false } => simple(cli, Op::WorkspaceArchive, &ws),
        WsCommand::Archive { ws, dry_run: true } => would_archive(cli, &ws),
        WsCommand::Unlink { ws } => simple(cli, Op::WorkspaceUnlink, &ws),
        WsCommand::Repair { ws, accept_config, reinit_json, untrack_json, relocate, path, reregister, recreate, dry_run } => {
            let flags = [
                (accept_config, "accept_config"),
                (reinit_json, "reinit_json"),
                (untrack_json, "untrack_json"),
                (relocate, "relocate"),
                (reregister, "reregister"),
                (recreate, "recreate"),
            ];
            let fix = flags.into_iter().find_map(|(given, word)| given.then_some(word));
            match (fix, dry_run) {
                (Some(fix), false) => cli.submit(Op::WorkspaceRepair, clean(json!({ "fix": fix, "path": path.as_deref().map(absolute).transpose()? })), bind(cli, &ws)?),
                (fix, _) => findings(cli, &ws, fix),
            }
        }
        WsCommand::Link { ws, wp, mt } => {
            let mt = mt.as_deref().map(MtId::parse).transpose()?;
            let bindings = bind(cli, &ws)?;
            cli.submit(Op::WorkspaceLink, clean(json!({ "wp_id": wp_id(&wp)?, "mt_id": mt })), bindings)
        }
    }
}

/// What is wrong, with the command for each repair; with `fix` only what that repair would do.
fn findings(cli: &Cli, ws: &str, fix: Option<&str>) -> Outcome<u8> {
    let link = cli.link()?;
    let workspace_id: WorkspaceId = cli.resolve(link.as_ref(), "workspace", ws)?;
    let mut value = link.query(&Query::Repairs { workspace_id })?;
    if let (Some(fix), Some(all)) = (fix, value["items"].as_array_mut()) {
        all.retain(|finding| finding["fix"] == fix);
    }
    cli.out.show(&value, |value| {
        let lines: Vec<String> = items(value)
            .map(|f| {
                let command = f["fix"].as_str().map(|fix| format!("\n  dcc ws repair {} --{}", short(&text(value, "workspace_id")), fix.replace('_', "-"))).unwrap_or_default();
                format!("{}: {}\n  would: {}{command}", text(f, "name"), text(f, "evidence"), text(f, "would"))
            })
            .collect();
        if lines.is_empty() { "nothing to repair".to_owned() } else { visible(&lines.join("\n")) }
    });
    Ok(0)
}

/// What archiving would do; a refusal is the command's failure, as it would be without the flag.
fn would_archive(cli: &Cli, ws: &str) -> Outcome<u8> {
    let link = cli.link()?;
    let workspace_id: WorkspaceId = cli.resolve(link.as_ref(), "workspace", ws)?;
    let archive = link.query(&Query::Workspace { workspace_id })?["archive"].take();
    if !archive["refused"].is_null() {
        return Err(serde_json::from_value(archive["refused"].clone()).unwrap_or_else(|_| unreadable("refused")));
    }
    let value = json!({ "workspace_id": workspace_id, "would": archive["would"] });
    cli.out.show(&value, |value| visible(&text(value, "would")));
    Ok(0)
}

/// A path of the command line as plans hold it: absolute, escaped.
fn absolute(path: &Path) -> Outcome<String> {
    let path = std::path::absolute(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))?;
    Ok(escape_path(path.as_os_str().as_encoded_bytes()))
}

/// Bindings that name the workspace.
pub(super) fn bind(cli: &Cli, ws: &str) -> Outcome<Bindings> {
    let id: WorkspaceId = cli.resolve(cli.link()?.as_ref(), "workspace", ws)?;
    Ok(Bindings { workspace_id: Some(id), ..Bindings::default() })
}

fn simple(cli: &Cli, op: Op, ws: &str) -> Outcome<u8> {
    let bindings = bind(cli, ws)?;
    cli.submit(op, json!({}), bindings)
}
