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
        "command": ask.command.as_ref().map(|c| cut_text(c, 4000)), "diffs": diffs, "details": details(ask, kind), "raw_sha256": ask.raw_sha256, "claim": claim(ask),
    })
}

/// What the request shows beside paths, command and differences. An input that only repeats them adds nothing.
fn details(ask: &PermissionAsk, kind: AskKind) -> Vec<(&'static str, String)> {
    const DETAIL_BYTES_MAX: usize = 2_000;
    let mut details = Vec::new();
    if ask.command_is_title && ask.command.is_some() {
        details.push(("where the command stands", "in the title of the request only".to_owned()));
    }
    let says_all = kind == AskKind::Execute || (kind == AskKind::Edit && !ask.diffs.is_empty());
    if let Some(input) = ask.input.as_ref().filter(|_| !says_all) {
        details.push(("input", cut_text(input, DETAIL_BYTES_MAX)));
    }
    details
}

/// The agent's own words: the title of its request, and the text it shows.
fn claim(ask: &PermissionAsk) -> String {
    let words: Vec<&str> = std::iter::once(&ask.title).chain(&ask.texts).map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    cut_text(&words.join("\n"), limits::LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{claim, details};
    use dcc_core::ids::Sha256Hex;
    use dcc_core::plans::AskKind;
    use dcc_core::ports::PermissionAsk;
    use dcc_core::ports::sessions::Withdrawn;

    fn ask() -> PermissionAsk {
        PermissionAsk {
            tool_call_id: "t".into(),
            title: "Fetch".into(),
            kind: Some("fetch".into()),
            locations: Vec::new(),
            command: None,
            command_is_title: false,
            diffs: Vec::new(),
            input: Some(r#"{"url":"https://a.invalid"}"#.into()),
            texts: vec!["because".into()],
            raw_sha256: Sha256Hex::of(b""),
            can_allow: true,
            withdrawn: Withdrawn::default(),
        }
    }

    #[test]
    fn the_input_is_shown_where_nothing_else_says_it() {
        let labels = |ask: &PermissionAsk, kind| details(ask, kind).into_iter().map(|(label, _)| label).collect::<Vec<_>>();
        assert_eq!(labels(&ask(), AskKind::Unknown), ["input"]);
        let titled = PermissionAsk { command: Some("ls".into()), command_is_title: true, ..ask() };
        assert_eq!(labels(&titled, AskKind::Execute), ["where the command stands"]);
        let edit = PermissionAsk { diffs: vec![("a".into(), None, "x".into())], ..ask() };
        assert!(labels(&edit, AskKind::Edit).is_empty());
        assert_eq!(labels(&PermissionAsk { diffs: Vec::new(), ..edit }, AskKind::Edit), ["input"]);
    }

    #[test]
    fn the_agents_words_are_its_claim() {
        assert_eq!(claim(&ask()), "Fetch\nbecause");
        assert_eq!(claim(&PermissionAsk { texts: vec!["x".repeat(5_000)], ..ask() }).len(), dcc_core::limits::LINE_BYTES_MAX);
    }
}
