//! Our own judgement of what an agent asks for: from kind, locations and raw input, never from shell text.

use serde_json::{Value, json};

use dcc_core::plain_diff::plain_diff;
use dcc_core::plans::{AGENT_DIFF_BYTES_MAX, AskKind};
use dcc_core::ports::PermissionAsk;
use dcc_core::ports::sessions::SideEffect;
use dcc_core::workspace::Workspace;
use dcc_core::{RepoPath, limits};

use super::files::inside;
use super::reports::cut_text;

/// What a kind of tool does; whatever is not known to be harmless counts as execution.
pub(super) fn side_effect(kind: Option<&str>) -> SideEffect {
    match kind {
        Some("read" | "search" | "think" | "fetch") => SideEffect::Read,
        Some("edit" | "delete" | "move") => SideEffect::Write,
        _ => SideEffect::Execute,
    }
}

/// Our judgement of a request: kind, paths and command as parameters of capability.request.
pub(super) fn judge(workspace: &Workspace, ask: &PermissionAsk) -> Value {
    let mut paths: Vec<RepoPath> = Vec::new();
    let mut foreign: Vec<String> = Vec::new();
    for location in ask.locations.iter().chain(ask.diffs.iter().map(|d| &d.0)) {
        match inside(workspace, location) {
            Some(path) if paths.contains(&path) => {}
            Some(path) => paths.push(path),
            None if foreign.contains(location) => {}
            None => foreign.push(cut_text(location, 400)),
        }
    }
    let kind = match ask.kind.as_deref() {
        Some("edit") if !paths.is_empty() => AskKind::Edit,
        Some("execute") if ask.command.is_some() => AskKind::Execute,
        Some("read" | "search") if !paths.is_empty() => AskKind::Read,
        // Delete and move lose content; without details, and for kinds that reach outside, the worst class.
        _ => AskKind::Unknown,
    };
    let diffs: Vec<(RepoPath, String)> = ask
        .diffs
        .iter()
        .filter_map(|(path, old, new)| Some((inside(workspace, path)?, cut_text(&plain_diff(old.as_deref(), new), AGENT_DIFF_BYTES_MAX))))
        .take(8)
        .collect();
    json!({
        "tool_call_id": cut_text(&ask.tool_call_id, 200), "kind": kind, "paths": paths.iter().take(100).collect::<Vec<_>>(), "foreign_paths": foreign.iter().take(20).collect::<Vec<_>>(),
        "command": ask.command.as_ref().map(|c| cut_text(c, 4000)), "diffs": diffs, "raw_sha256": ask.raw_sha256, "claim": cut_text(&ask.title, limits::LINE_BYTES_MAX),
    })
}
