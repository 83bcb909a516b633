//! Sessions as a list: what needs a person first.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{SessionRow, SessionsView, Shell};

use super::components::basics::tokens;
use super::components::path::query;
use super::components::basics::budget_bar;
use super::components::forms::{OpButton, start_more};
use super::components::state::{session_state, words};
use super::components::{Pip, ago, bind, icon, money, op_button, said, short, wp_link};
use super::session_side::family_words;
use super::sessions_costs::costs;
use super::shell::{Place, page};
use crate::safe_text::t;

/// The list.
#[must_use]
pub fn sessions(shell: &Shell, view: &SessionsView, now_ms: i64) -> Markup {
    let state = if view.filter.state.is_empty() { "open" } else { &view.filter.state };
    let group = if view.group.is_empty() { "wp" } else { &view.group };
    let body = html! {
        div.head {
            h1.sr { "Sessions" }
            nav.tabs aria-label="Which" {
                @for (key, name) in [("open", "Open"), ("needs", "Needs you"), ("all", "All")] { a href=(address(view, key, group)) aria-current=[(state == key).then_some("page")] { (name) @if key == "all" && view.ended > 0 { " " span.m { (view.ended) " ended" } } } }
            }
            (filters(view, state, group))
            div.row.push.tools {
                div.seg role="group" aria-label="Group by" { @for (key, name) in [("wp", "Packet"), ("role", "Role"), ("model", "Model"), ("tree", "Tree"), ("flat", "Flat")] { a href=(address(view, state, key)) aria-current=[(group == key).then_some("true")] { (name) } } }
                button.btn.sm type="button" data-toggle="costs" aria-controls="costs" aria-expanded="false" { "Costs" }
                button.btn.sm.go type="button" data-toggle="start-session" data-key="c" aria-controls="start-session" aria-expanded="false" { (icon("plus")) " Start session " kbd { "c" } }
            }
        }
        (start(shell, view))
        (costs(&view.costs))
        @if view.items.is_empty() { (empty(view, state, group)) } @else { (table(view, group, now_ms)) }
        @if let Some(cursor) = &view.next_cursor { p.pad { a.link href={ (address(view, state, group)) "&cursor=" (query(cursor)) } { "More sessions" } } }
    };
    page(shell, Place { rail: "sessions", title: "Sessions", screen: "sessions", ..Place::default() }, now_ms, &body)
}

/// The list with this state and grouping and the other filters as they are.
fn address(view: &SessionsView, state: &str, group: &str) -> String {
    let mut out = format!("/sessions?filter={}&group={}", query(state), query(group));
    for (name, value) in [("role", &view.filter.role), ("backend", &view.filter.backend)] {
        if let Some(value) = value {
            out.push_str(&format!("&{name}={}", query(value)));
        }
    }
    out
}

fn filters(view: &SessionsView, state: &str, group: &str) -> Markup {
    html! {
        form.row.wrap method="get" action="/sessions" role="search" aria-label="Filter sessions" {
            input type="hidden" name="group" value=(group);
            label.sr for="s-state" { "State" }
            select.field.fit id="s-state" name="filter" data-submit-on-change {
                @for (key, name) in [("open", "open"), ("needs", "needs you"), ("all", "any state")] { option value=(key) selected[state == key] { (name) } }
                @for one in ["CREATED", "ACTIVE", "BLOCKED", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"] { option value=(one) selected[state.eq_ignore_ascii_case(one)] { (words(one)) } }
            }
            label.sr for="s-role" { "Role" }
            select.field.fit id="s-role" name="role" data-submit-on-change {
                option value="" { "any role" }
                @for one in ["coder", "validator", "human", "orchestrator"] { option value=(one) selected[view.filter.role.as_deref() == Some(one)] { (one) } }
            }
            @if view.backends.len() > 1 || view.filter.backend.is_some() {
                label.sr for="s-backend" { "Backend" }
                select.field.fit id="s-backend" name="backend" data-submit-on-change {
                    option value="" { "any backend" }
                    @for one in &view.backends { option value=(one) selected[view.filter.backend.as_ref() == Some(one)] { (t(one)) } }
                }
            }
            noscript { button.btn.sm type="submit" { "Filter" } }
        }
    }
}

fn key_of(row: &SessionRow, group: &str) -> String {
    match group {
        "role" => row.role.clone(),
        "model" => row.model_id.clone().unwrap_or_else(|| "model unknown".to_owned()),
        "flat" | "tree" => String::new(),
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
    let rows = if group == "flat" { rows } else { under_parents(rows) };
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
            thead { tr { th { "Agent" } th { "State" } th { "Packet" } th { "Worktree" } th { "Role, model" } th { "Runs in" } th.n { "Calls" } th.n { "Tokens" } th.n { "Cost" } th { "Budget" } th.n { "Elapsed" } th.n { "Grants" } th { span.sr { "Actions" } } } }
            tbody {
                @for (name, members) in &groups {
                    @if !name.is_empty() { tr.grp { th colspan="13" scope="colgroup" { (t(name)) } } }
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
            th scope="row" class={ "lvl-" (row.depth.clamp(0, 3)) } { @if row.depth > 0 { span.lab { (icon("right")) span.sr { "depth " (row.depth) ": " } } } a.link href={ "/session/" (query(&row.session_id)) } title=(t(&row.session_id)) { b { (t(&row.agent)) } " " span.m { (t(short(&row.session_id))) } } }
            td.says-all { (session_state(row)) @if let (Some(at), None) = (row.state_since_at_ms, &row.quiet) { " " span.lab { (ago(at, now_ms)) } } @if row.cascade > 0 || row.near_limit.is_some() { span.row.lab { (family_words(row)) } } }
            td.nw { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } }
            td.gives { @if let (Some(ws), Some(branch)) = (&row.workspace_id, &row.branch) { a.link.m.cut href={ "/ws/" (query(ws)) } title=(t(branch)) { (t(branch)) } } }
            td.nw.lab { (t(&row.role)) @if let Some(model) = &row.model_id { ", " (t(model)) } @if row.lane != "PRIMARY" && !row.lane.is_empty() { ", " (row.lane.to_lowercase()) } }
            td.cut.lab.w-in title=(t(&row.sandbox_posture)) { @if !row.backend.is_empty() { (t(&row.backend)) ", " } @if row.driver == "human" { "a person" } @else if row.sandbox_posture.is_empty() { "unknown sandbox" } @else { (t(&row.sandbox_posture)) } }
            td.n data-label="calls" { (row.tool_calls) }
            td.n data-label="tokens" { @match (row.tokens_in, row.tokens_out) { (None, None) => span.mut { "?" }, (a, b) => { (tokens(a.unwrap_or(0))) " / " (tokens(b.unwrap_or(0))) } } }
            td.n data-label="cost" { @if let Some(cost) = &row.cost { (money(cost)) } @else { span.mut { "?" } } }
            td.nw data-label="budget" { @if let Some(budget) = &row.budget { (budget_bar(budget)) } @else { span.mut { "none" } } }
            td.n data-label="elapsed" { @if let Some(end) = row.ended_at_ms { (super::components::time::span(end - began)) } @else { (ago(began, now_ms)) } }
            td.n data-label="grants" { @if row.grants > 0 { a.link href="/inbox?tab=grants" { (row.grants) } } @else { span.mut { "0" } } }
            td.nw { (row_menu(row)) }
        }
    }
}

/// What may be done with a session from the list, and where it leads.
fn row_menu(row: &SessionRow) -> Markup {
    let ids = bind(&[("session_id", &row.session_id)]);
    let home = format!("/session/{}", query(&row.session_id));
    let ended = matches!(row.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED");
    let act = |op, label| op_button(OpButton { op, label, class: "item", bind: &ids, then: Some("reload"), ..OpButton::default() });
    html! {
        details.menu id={ "menu-" (row.session_id) } {
            summary.btn.flat.sm.ico aria-label={ "Actions of " (t(&row.agent)) " " (t(short(&row.session_id))) } { (icon("more")) }
            div.menu-box {
                a.item href=(home) { "Open" }
                @if row.approvals > 0 { a.item href="/inbox" { (row.approvals) @if row.approvals == 1 { " request waits" } @else { " requests wait" } } }
                @if let Some(ws) = &row.workspace_id { a.item href={ "/ws/" (query(ws)) } { "Its worktree" } }
                a.item href={ "/jobs?session=" (query(&row.session_id)) } { "Its jobs" }
                a.item href={ "/timeline?session=" (query(&row.session_id)) } { "Its record" }
                @if ended { (act("session.retry", "Retry as a successor")) }
                @else {
                    @if row.state == "PAUSED" { (act("session.resume", "Resume")) } @else { (act("session.pause", "Pause")) }
                    a.item href={ (home) "#route-panel" } { "Route a packet or task…" }
                    a.item href={ (home) "#close-panel" } { "Close with handoff…" }
                    a.item href={ (home) "#stop-panel" } { "Stop…" }
                }
            }
        }
    }
}

fn start(shell: &Shell, view: &SessionsView) -> Markup {
    html! {
        section.panel id="start-session" hidden data-panel aria-labelledby="sts-h" {
            form.stack data-op="session.start" data-then="/session/{session_id}" {
                div.row { h2 id="sts-h" { "Start session" } span.lab { "runs in the sandbox of its worktree" } button.btn.flat.sm.push type="button" data-close="start-session" { "Close " kbd { "Esc" } } }
                div.two-up {
                    div.fl { label.lab for="sts-ws" { "Worktree" } select.field id="sts-ws" name="bind:workspace_id" required { @for ws in view.workspaces.iter().filter(|ws| ws.kind != "root") { option value=(ws.workspace_id) { (t(ws.branch.as_deref().unwrap_or(&ws.name))) @if let Some(wp) = &ws.wp_id { " · " (t(wp)) } } } } }
                    div.fl { label.lab for="sts-agent" { "Agent" } select.field id="sts-agent" name="agent" { @for agent in &shell.agents { option value=(t(agent)) { (t(agent)) } } } }
                }
                div.fl { label.lab for="sts-prompt" { "First prompt" } textarea.field id="sts-prompt" name="prompt" rows="3" {} }
                (start_more("sts"))
                div.row { button.btn.go.push type="submit" { "Start session" } }
                (said())
            }
        }
    }
}

fn empty(view: &SessionsView, state: &str, group: &str) -> Markup {
    let is_filtered = view.filter.role.is_some() || view.filter.backend.is_some() || !matches!(state, "open" | "all");
    html! {
        div.solo.stack {
            @if is_filtered {
                h2.hero { "No session fits" }
                p.mut { @if view.hidden == 1 { "One session is hidden. " } @else { (view.hidden) " sessions are hidden. " } "Shown are those that are " b { (t(&words(state))) } @for one in [&view.filter.role, &view.filter.backend].into_iter().flatten() { ", " b { (t(one)) } } "." }
                div.row { a.btn.go href={ "/sessions?filter=all&group=" (query(group)) } { "Clear the filter" } }
            } @else {
                h2.hero { "No session is open" }
                p.mut { "A session is one agent at work in one worktree. Start one from a packet: it gets the packet's text, its scope and its sandbox." @if view.ended > 0 { " " (view.ended) " have ended." } }
                div.row { a.btn.go href="/board" { "Pick a packet" } @if view.ended > 0 { a.btn href="/sessions?filter=all" { "Show ended sessions" } } }
            }
        }
    }
}
