//! Search over objects, code, events and transcripts.
//!
//! Authority: derived; a hit is a reference. Failure: a bad pattern or a worktree that cannot be read stands in
//! `failure` beside what was found.

use std::time::Instant;

use dcc_core::event::EventCode;
use dcc_core::ports::{CodeHit, CodeQuery, EventFilter, Order};
use dcc_core::workspace::WorkspaceStatus;
use dcc_core::{Outcome, WorkspaceId};

use super::super::App;
use super::rows::{cut, event_row, failure_view};
use crate::door::SearchKind;
use crate::view::{SearchGroup, SearchHit, SearchScope, SearchView, SnippetLine};

/// Hits on one page.
const HITS_MAX: usize = 200;

impl App {
    pub(super) fn search_view(&self, q: String, scope: SearchKind, workspace_id: Option<WorkspaceId>, regex: bool) -> SearchView {
        let began = Instant::now();
        let mut view = SearchView { scope: scope.as_str().to_owned(), ..SearchView::default() };
        if !q.trim().is_empty() {
            let found = match scope {
                SearchKind::Objects => self.find_objects(&mut view, q.trim()),
                SearchKind::Code => self.find_code(&mut view, &q, workspace_id, regex),
                SearchKind::Events => self.find_events(&mut view, q.trim(), Vec::new()),
                SearchKind::Transcripts => self.find_events(&mut view, q.trim(), vec![EventCode::SessionMessage]),
            };
            if let Err(failure) = found {
                view.failure = Some(failure_view(&failure));
            }
            view.took_ms = Some(began.elapsed().as_millis() as i64);
        }
        view.total = view.groups.iter().map(|g| g.items.len() as i64).sum();
        view.scopes = [(SearchKind::Objects, "Objects"), (SearchKind::Code, "Code"), (SearchKind::Events, "Events"), (SearchKind::Transcripts, "Transcripts")]
            .into_iter()
            .map(|(kind, title)| SearchScope {
                scope: kind.as_str().to_owned(),
                title: title.to_owned(),
                count: (kind == scope && !q.trim().is_empty()).then_some(view.total),
                built: true,
            })
            .collect();
        view.q = q;
        view
    }

    /// Packets, micro-tasks, sessions, workspaces by text; anything by a short id.
    fn find_objects(&self, view: &mut SearchView, q: &str) -> Outcome<()> {
        let store = &self.cx().ports.store;
        let mut found = store.find_objects(q, HITS_MAX + 1)?;
        view.truncated = found.len() > HITS_MAX;
        found.truncate(HITS_MAX);
        if q.len() >= 4 {
            let known: Vec<String> = found.iter().map(|(_, id, _)| id.clone()).collect();
            found.extend(store.resolve_short(q)?.into_iter().filter(|(_, id)| !known.contains(id)).take(50).map(|(kind, id)| (kind, id, String::new())));
        }
        for (kind, id, title) in found {
            let hit = object_hit(&kind, &id, &title);
            let name = group_title(&hit.kind);
            match view.groups.iter_mut().find(|g| g.title == name) {
                Some(group) => group.items.push(hit),
                None => view.groups.push(SearchGroup { title: name.to_owned(), workspace_id: None, items: vec![hit] }),
            }
        }
        Ok(())
    }

    fn find_code(&self, view: &mut SearchView, q: &str, workspace_id: Option<WorkspaceId>, regex: bool) -> Outcome<()> {
        let ports = &self.cx().ports;
        let targets = match workspace_id {
            Some(id) => vec![self.workspace(id)?],
            None => ports.store.workspaces()?.into_iter().filter(|w| w.status == WorkspaceStatus::Active).collect(),
        };
        let mut room = HITS_MAX;
        for workspace in targets {
            if room == 0 {
                view.truncated = true;
                break;
            }
            let query = CodeQuery { text: q.to_owned(), regex, limit: room, ..CodeQuery::default() };
            match ports.search.search(&workspace.binding, &query) {
                Ok(results) => {
                    view.truncated |= results.cut;
                    let mut items = Vec::new();
                    for hit in results.hits.iter().map(|hit| code_hit(hit, q, regex, workspace.workspace_id)) {
                        // The same line in several worktrees is one hit that says so.
                        match view.groups.iter_mut().flat_map(|g| &mut g.items).find(|old| old.title == hit.title && old.snippet == hit.snippet) {
                            Some(old) => old.also_in += 1,
                            None => items.push(hit),
                        }
                    }
                    room = room.saturating_sub(items.len());
                    if !items.is_empty() {
                        let title = workspace.branch.clone().unwrap_or_else(|| workspace.binding.worktree_path.clone());
                        view.groups.push(SearchGroup { title, workspace_id: Some(workspace.workspace_id.to_string()), items });
                    }
                }
                Err(failure) => view.failure = Some(failure_view(&failure)),
            }
        }
        Ok(())
    }

    fn find_events(&self, view: &mut SearchView, q: &str, codes: Vec<EventCode>) -> Outcome<()> {
        let transcripts = !codes.is_empty();
        let filter = EventFilter { text: Some(q.to_owned()), codes, order: Order::Descending, limit: HITS_MAX, ..EventFilter::default() };
        let events = self.cx().ports.recorder.read(&filter)?;
        view.truncated = events.len() == HITS_MAX;
        let items: Vec<SearchHit> = events
            .iter()
            .map(|event| {
                let row = event_row(event);
                let text = event.payload["text"].as_str().map(|t| around(t, q)).filter(|_| transcripts);
                SearchHit {
                    kind: if transcripts { "message" } else { "event" }.to_owned(),
                    title: row.what,
                    detail: format!("seq {} · {}", row.seq, row.name.replace('_', " ")),
                    href: match (transcripts, &row.session_id) {
                        (true, Some(session)) => format!("/session/{session}"),
                        _ => format!("/event/{}", row.event_id),
                    },
                    status: row.outcome,
                    snippet: text.map(|text| SnippetLine { number: None, marks: marks(&text, q), text }).into_iter().collect(),
                    also_in: 0,
                }
            })
            .collect();
        if !items.is_empty() {
            view.groups.push(SearchGroup { title: if transcripts { "Transcripts" } else { "Events" }.to_owned(), workspace_id: None, items });
        }
        Ok(())
    }
}

/// A kind of the store in the view's word, with the page that shows it.
fn object_hit(kind: &str, id: &str, title: &str) -> SearchHit {
    let (kind, href) = match kind {
        "wp" | "packet" | "work_packet" => ("wp", format!("/wp/{id}")),
        "mt" | "micro_task" => match id.split_once('/') {
            Some((wp, mt)) => ("mt", format!("/wp/{wp}#{mt}")),
            None => ("mt", "/board".to_owned()),
        },
        "session" => ("session", format!("/session/{id}")),
        "approval" => ("approval", format!("/approval/{id}")),
        "job" => ("job", format!("/job/{id}")),
        "workspace" => ("workspace", format!("/ws/{id}")),
        "grant" => ("grant", "/inbox?tab=grants".to_owned()),
        other => (other, format!("/event/{id}")),
    };
    // A made id says nothing: its object is shown by name, the id behind it.
    let (title, detail) = match kind {
        "workspace" | "session" | "approval" | "job" | "grant" if !title.is_empty() => (title, id),
        _ => (id, title),
    };
    SearchHit { kind: kind.to_owned(), title: title.to_owned(), detail: detail.to_owned(), href, ..SearchHit::default() }
}

fn group_title(kind: &str) -> &str {
    match kind {
        "wp" => "Packets",
        "mt" => "Micro-tasks",
        "session" => "Sessions",
        "approval" => "Approvals",
        "job" => "Jobs",
        "workspace" => "Workspaces",
        "grant" => "Grants",
        _ => "Others",
    }
}

fn code_hit(hit: &CodeHit, q: &str, regex: bool, workspace: WorkspaceId) -> SearchHit {
    let number = hit.line as i64;
    let start = (hit.column as usize).saturating_sub(1);
    // Only a literal's end is known; a pattern marks nothing rather than too much.
    let marks_here = if regex { Vec::new() } else { marks(&hit.text, q) };
    let mut snippet = Vec::new();
    snippet.extend(hit.before.iter().map(|text| SnippetLine { number: Some(number - 1), text: text.clone(), marks: Vec::new() }));
    snippet.push(SnippetLine { number: Some(number), text: hit.text.clone(), marks: marks_here });
    snippet.extend(hit.after.iter().map(|text| SnippetLine { number: Some(number + 1), text: text.clone(), marks: Vec::new() }));
    SearchHit {
        kind: "code".to_owned(),
        title: format!("{}:{}", hit.path.display(), hit.line),
        detail: format!("column {}", start + 1),
        href: format!("/ws/{workspace}"),
        status: None,
        snippet,
        also_in: 0,
    }
}

/// Byte ranges of the text that match, without regard to ASCII case.
fn marks(text: &str, q: &str) -> Vec<(usize, usize)> {
    if q.is_empty() {
        return Vec::new();
    }
    let (haystack, needle) = (text.to_ascii_lowercase(), q.to_ascii_lowercase());
    haystack.match_indices(&needle).map(|(at, part)| (at, at + part.len())).take(20).collect()
}

/// The line of a text that holds the match, with its neighbours' words cut off.
fn around(text: &str, q: &str) -> String {
    let needle = q.to_ascii_lowercase();
    let line = text.lines().find(|l| l.to_ascii_lowercase().contains(&needle)).or_else(|| text.lines().next()).unwrap_or("");
    cut(line, 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_marked_by_bytes() {
        assert_eq!(marks("ä Foo foo", "foo"), [(3, 6), (7, 10)]);
        assert!(marks("x", "").is_empty());
        assert_eq!(around("one\ntwo Three", "three"), "two Three");
    }

    #[test]
    fn every_kind_has_a_page() {
        assert_eq!(object_hit("mt", "WP-1/MT-001", "x").href, "/wp/WP-1#MT-001");
        assert_eq!(object_hit("workspace", "w", "x").href, "/ws/w");
        assert_eq!(object_hit("workspace", "w", "main").title, "main");
        assert_eq!(object_hit("wp", "WP-1", "x").title, "WP-1");
    }
}
