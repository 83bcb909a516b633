//! dcc vcs, dcc search.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Value, json};

use dcc_api::door::{Query, SearchKind};
use dcc_core::ids::WorkspaceId;
use dcc_core::op::Op;
use dcc_core::ports::version::DiffSource;
use dcc_core::{Failure, Outcome, RepoPath};

use super::Cli;
use super::args::{SearchArgs, VcsCommand};
use super::output::{one_line, table, visible};
use super::work::{items, text};
use super::workspaces;

pub fn run(cli: &Cli, command: VcsCommand) -> Outcome<u8> {
    match command {
        VcsCommand::Status { ws } => {
            let workspace_id = workspace(cli, &ws)?;
            let value = cli.query(&Query::Status { workspace_id })?;
            cli.out.show(&value, |value| {
                let mut lines: Vec<String> = vec![format!("head {} {}", text(&value["head"], "head"), one_line(&format!("{} {}", text(&value["head"], "name"), text(&value["head"], "oid"))))];
                for entry in value["entries"].as_array().into_iter().flatten() {
                    lines.push(format!("  {}{} {}", text(entry, "index"), text(entry, "worktree"), path_text(&entry["path"])));
                }
                if lines.len() == 1 {
                    lines.push("  clean".to_owned());
                }
                if let Some(operation) = value["operation"].as_str() {
                    lines.push(format!("a {operation} is in progress: finish it or abort it with git before you commit"));
                }
                if let Some(path) = value["index_lock"][0].as_str() {
                    lines.push(format!("the index is locked: {}, {} s old; another git command is at work, or one was killed", one_line(path), value["index_lock"][1]));
                }
                visible(&lines.join("\n"))
            });
            Ok(0)
        }
        VcsCommand::Diff { ws, paths } => {
            let workspace_id = workspace(cli, &ws)?;
            let link = cli.link()?;
            let paths: Vec<Option<RepoPath>> = if paths.is_empty() { vec![None] } else { paths.iter().map(|p| repo_path(p).map(Some)).collect::<Outcome<_>>()? };
            let mut files = Vec::new();
            for path in paths {
                let value = link.query(&Query::Diff { workspace_id, source: DiffSource::Uncommitted, path })?;
                files.extend(items(&value).cloned());
            }
            let value = json!({ "workspace_id": workspace_id, "items": files, "next_cursor": null });
            cli.out.show(&value, |value| visible(&items(value).map(diff_text).collect::<String>()));
            Ok(0)
        }
        VcsCommand::Log { ws, limit, path } => {
            let workspace_id = workspace(cli, &ws)?;
            let path = path.as_ref().map(repo_path).transpose()?;
            let value = cli.query(&Query::Log { workspace_id, path, limit })?;
            cli.out.show(&value, |value| {
                let rows = items(value)
                    .map(|c| {
                        let governed = if c["governed"] == true { "governed" } else { "ungoverned" };
                        vec![text(c, "oid").chars().take(9).collect(), governed.to_owned(), text(c, "committed_at"), text(c, "subject")]
                    })
                    .collect();
                table(&["commit", "by", "at", "subject"], rows)
            });
            Ok(0)
        }
        VcsCommand::Commit { ws, message, file, paths_from0, paths } => {
            let message = match (message, file) {
                (Some(text), _) => text,
                (None, Some(path)) => std::fs::read_to_string(&path).map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", path.display())))?,
                (None, None) => return Err(Failure::invalid("a message is needed: -m MSG or -F FILE")),
            };
            let mut selected: Vec<RepoPath> = paths.iter().map(repo_path).collect::<Outcome<_>>()?;
            if let Some(list) = paths_from0 {
                let bytes = std::fs::read(&list).map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", list.display())))?;
                for part in bytes.split(|b| *b == 0).filter(|p| !p.is_empty()) {
                    selected.push(RepoPath::new(part)?);
                }
            }
            let bindings = workspaces::bind(cli, &ws)?;
            cli.submit(Op::VersionCommit, json!({ "paths": selected, "message": message }), bindings)
        }
    }
}

fn workspace(cli: &Cli, ws: &str) -> Outcome<WorkspaceId> {
    cli.resolve(cli.link()?.as_ref(), "workspace", ws)
}

fn repo_path(path: &OsString) -> Outcome<RepoPath> {
    RepoPath::new(path.as_bytes())
}

fn path_text(value: &Value) -> String {
    // A name that is no text shows as the preview of a commit shows it.
    one_line(&serde_json::from_value::<RepoPath>(value.clone()).map_or_else(|_| value.to_string(), |path| path.display()))
}

fn diff_text(file: &Value) -> String {
    let count = |key: &str| file[key].as_u64().map_or("?".to_owned(), |n| n.to_string());
    let mut out = format!("{} {} +{} -{}\n", text(file, "change"), path_text(&file["path"]), count("added"), count("deleted"));
    for hunk in file["hunks"].as_array().into_iter().flatten() {
        out.push_str(&format!("@@ -{},{} +{},{} @@ {}\n", hunk["old_start"], hunk["old_lines"], hunk["new_start"], hunk["new_lines"], text(hunk, "heading")));
        for line in hunk["lines"].as_array().into_iter().flatten() {
            out.push_str(&format!("{}{}\n", text(line, "sign"), one_line(&text(line, "text"))));
        }
    }
    out
}

pub fn search(cli: &Cli, args: &SearchArgs) -> Outcome<u8> {
    let scope = SearchKind::parse(&args.scope).ok_or_else(|| Failure::invalid(format!("{:?} is no scope: code, objects, events or transcripts", args.scope)))?;
    let workspace_id = args.ws.as_deref().map(|ws| workspace(cli, ws)).transpose()?;
    let value = cli.query(&Query::Search { q: args.query.clone(), scope, workspace_id, regex: args.regex, limit: 0 })?;
    cli.out.show(&value, |value| {
        let lines: Vec<String> = items(value)
            .map(|hit| match scope {
                SearchKind::Code => format!("{}:{}: {}", path_text(&hit["path"]), hit["line"], text(hit, "text")),
                SearchKind::Objects => format!("{} {} {}", text(hit, "kind"), text(hit, "id"), text(hit, "title")),
                SearchKind::Events | SearchKind::Transcripts => format!("{} {} {}", hit["seq"], text(hit, "code"), text(hit, "name")),
            })
            .collect();
        if lines.is_empty() { "no hit".to_owned() } else { visible(&lines.join("\n")) }
    });
    Ok(0)
}
