//! Sessions as a list: what needs a person first.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{SessionRow, SessionsView, Shell};

use super::components::basics::tokens;
use super::components::path::query;
use super::components::state::session_state;
use super::components::basics::budget_bar;
use super::components::{Pip, ago, event_slice, icon, money, said, short, wp_link};
use super::shell::{Place, page};
use crate::safe_text::t;

/// The list.
#[must_use]
pub fn sessions(shell: &Shell, view: &SessionsView, now_ms: i64) -> Markup {
    let filter = if view.filter.is_empty() { "open" } else { &view.filter };
    let group = if view.group.is_empty() { "wp" } else { &view.group };
    let body = html! {
        div.head {
            h1.sr { "Sessions" }
            nav.tabs aria-label="Filter" {
                a href={ "/sessions?group=" (group) } aria-current=[(filter == "open").then_some("page")] { "Open" }
                a href={ "/sessions?filter=all&group=" (group) } aria-current=[(filter == "all").then_some("page")] { "All " @if view.ended > 0 { span.m { (view.ended) " ended" } } }
            }
            div.row.push.tools {
                div.seg role="group" aria-label="Group by" { @for (key, name) in [("wp", "Packet"), ("role", "Role"), ("model", "Model"), ("flat", "Flat")] { a href={ "/sessions?filter=" (filter) "&group=" (key) } aria-current=[(group == key).then_some("true")] { (name) } } }
                button.btn.sm.go type="button" data-toggle="start-session" data-key="c" aria-controls="start-session" aria-expanded="false" { (icon("plus")) " Start session " kbd { "c" } }
            }
        }
        (start(shell, view))
        @if view.items.is_empty() { (empty(view)) } @else { (table(view, group, now_ms)) }
    };
    page(shell, Place { rail: "sessions", title: "Sessions", screen: "sessions", ..Place::default() }, now_ms, &body)
}

fn key_of(row: &SessionRow, group: &str) -> String {
    match group {
        "role" => row.role.clone(),
        "model" => row.model_id.clone().unwrap_or_else(|| "model unknown".to_owned()),
        "flat" => String::new(),
        _ => row.wp_id.clone().map_or_else(|| "No packet".to_owned(), |wp| format!("{wp} {}", row.wp_title.as_deref().unwrap_or(""))),
    }
}

fn table(view: &SessionsView, group: &str, now_ms: i64) -> Markup {
    let mut rows: Vec<&SessionRow> = view.items.iter().collect();
    rows.sort_by_key(|row| match Pip::of_session(&row.state, row.state_reason.as_deref()) {
        Pip::Needs => 0,
        Pip::Active => 1,
        Pip::Blocked | Pip::Paused | Pip::Queued => 2,
        _ => 3,
    });
    let rows = under_parents(rows);
    let mut groups: Vec<(String, Vec<&SessionRow>)> = Vec::new();
    for row in rows {
        let key = key_of(row, group);
        match groups.iter_mut().find(|(name, _)| *name == key) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    html! {
        div.scroll.fill { table.tbl.stackable {
            thead { tr { th { "Agent" } th { "State" } th { "Packet" } th { "Worktree" } th { "Role, model" } th.n { "Calls" } th.n { "Tokens" } th.n { "Cost" } th { "Budget" } th.n { "Elapsed" } th.n { "Grants" } th { span.sr { "Record" } } } }
            tbody {
                @for (name, members) in &groups {
                    @if !name.is_empty() { tr.grp { th colspan="12" scope="colgroup" { (t(name)) } } }
                    @for row in members { (line(row, now_ms)) }
                }
            }
        } }
    }
}

/// Each child right behind its parent, where both are shown; the order of the rest stays.
fn under_parents(rows: Vec<&SessionRow>) -> Vec<&SessionRow> {
    fn place<'a>(row: &'a SessionRow, all: &[&'a SessionRow], out: &mut Vec<&'a SessionRow>) {
        out.push(row);
        for child in all.iter().filter(|r| r.parent_session_id.as_ref() == Some(&row.session_id)) {
            place(child, all, out);
        }
    }
    let has_parent = |row: &SessionRow| row.parent_session_id.as_ref().is_some_and(|id| rows.iter().any(|r| r.session_id == *id));
    let mut out = Vec::new();
    for row in rows.iter().filter(|row| !has_parent(row)) {
        place(row, &rows, &mut out);
    }
    out
}

fn line(row: &SessionRow, now_ms: i64) -> Markup {
    let began = row.started_at_ms.unwrap_or(row.created_at_ms);
    html! {
        tr id={ "s-" (row.session_id) } data-row data-copy=(row.session_id) {
            th scope="row" { @if row.depth > 0 { span.lab title={ "depth " (row.depth) } { (icon("right")) " " } } a.link href={ "/session/" (query(&row.session_id)) } title=(t(&row.session_id)) { b { (t(&row.agent)) } " " span.m { (t(short(&row.session_id))) } } }
            td.cut { (session_state(row)) @if let Some(at) = row.state_since_at_ms { " " span.lab { (ago(at, now_ms)) } } }
            td.nw { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } }
            td.nw { @if let (Some(ws), Some(branch)) = (&row.workspace_id, &row.branch) { a.link.m href={ "/ws/" (query(ws)) } { (t(branch)) } } }
            td.nw.lab { (t(&row.role)) @if let Some(model) = &row.model_id { ", " (t(model)) } }
            td.n data-label="calls" { (row.tool_calls) }
            td.n data-label="tokens" { @match (row.tokens_in, row.tokens_out) { (None, None) => span.mut { "?" }, (a, b) => { (tokens(a.unwrap_or(0))) " / " (tokens(b.unwrap_or(0))) } } }
            td.n data-label="cost" { @if let Some(cost) = &row.cost { (money(cost)) } @else { span.mut { "?" } } }
            td.nw data-label="budget" { @if let Some(budget) = &row.budget { (budget_bar(budget)) } @else { span.mut { "none" } } }
            td.n data-label="elapsed" { @if let Some(end) = row.ended_at_ms { (super::components::time::span(end - began)) } @else { (ago(began, now_ms)) } }
            td.n data-label="grants" { @if row.grants > 0 { a.link href="/inbox?tab=grants" { (row.grants) } } @else { span.mut { "0" } } }
            td.nw { (event_slice("session", &row.session_id)) }
        }
    }
}

fn start(shell: &Shell, view: &SessionsView) -> Markup {
    html! {
        section.panel id="start-session" hidden data-panel aria-labelledby="sts-h" {
            form.stack data-op="session.start" data-then="/session/{session_id}" {
                div.row { h2 id="sts-h" { "Start session" } span.lab { "runs in the sandbox of its worktree" } button.btn.flat.sm.push type="button" data-close="start-session" { "Close " kbd { "Esc" } } }
                div.two-up {
                    div.fl { label.lab for="sts-ws" { "Worktree" } select.field id="sts-ws" name="bind:workspace_id" required { @for ws in &view.workspaces { option value=(ws.workspace_id) { (t(ws.branch.as_deref().unwrap_or(&ws.name))) @if let Some(wp) = &ws.wp_id { " · " (t(wp)) } } } } }
                    div.fl { label.lab for="sts-agent" { "Agent" } select.field id="sts-agent" name="agent" { @for agent in &shell.agents { option value=(t(agent)) { (t(agent)) } } } }
                }
                div.fl { label.lab for="sts-prompt" { "First prompt" } textarea.field id="sts-prompt" name="prompt" rows="3" {} }
                div.row { button.btn.go.push type="submit" { "Start session" } }
                (said())
            }
        }
    }
}

fn empty(view: &SessionsView) -> Markup {
    html! {
        div.solo.stack {
            h2.hero { "No session is open" }
            p.mut { "A session is one agent at work in one worktree. Start one from a packet: it gets the packet's text, its scope and its sandbox." @if view.ended > 0 { " " (view.ended) " have ended." } }
            div.row { a.btn.go href="/board" { "Pick a packet" } @if view.ended > 0 { a.btn href="/sessions?filter=all" { "Show ended sessions" } } }
        }
    }
}
