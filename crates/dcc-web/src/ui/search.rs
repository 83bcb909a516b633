//! Search: references with snippets.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{SearchHit, SearchView, Shell, SnippetLine};

use super::components::path::query;
use super::components::state::words;
use super::components::{failure_note, icon, not_built};
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// The search screen.
#[must_use]
pub fn search(shell: &Shell, view: &SearchView, now_ms: i64) -> Markup {
    let body = html! {
        div.head {
            h1.sr { "Search" }
            form.row.grow method="get" action="/search" role="search" {
                label.sr for="sq" { "Search" }
                input.field.m.grow id="sq" name="q" value=(t(&view.q)) placeholder="packet, session, path, text" data-key="/" autofocus[view.q.is_empty()] autocomplete="off";
                input type="hidden" name="scope" value=(view.scope);
                button.btn.sm.go type="submit" { (icon("search")) " Search" }
            }
        }
        div.ph {
            nav.tabs aria-label="Scope" {
                @for scope in &view.scopes {
                    @if scope.built { a href={ "/search?q=" (query(&view.q)) "&scope=" (query(&scope.scope)) } aria-current=[(scope.scope == view.scope).then_some("page")] { (t(&scope.title)) @if let Some(count) = scope.count { " " span.m { (count) } } } }
                    @else { span.tab-off.lab title="Not built yet" { (t(&scope.title)) ": not built yet" } }
                }
            }
            span.push.lab.nw.hits { @if !view.q.is_empty() { (view.total) @if view.total == 1 { " hit" } @else { " hits" } @if let Some(ms) = view.took_ms { @if ms < 1 { " in under 1 ms" } @else { " in " (ms) " ms" } } } }
        }
        @if let Some(failure) = &view.failure { (failure_note(failure)) }
        @if view.truncated { div.note { "Stopped at the limit: narrow it." } }
        div.scroll.fill {
            @for group in &view.groups {
                section.sec {
                    header.ph { h2 { (t(&group.title)) } @if let Some(ws) = &group.workspace_id { a.link.lab href={ "/ws/" (query(ws)) } { "Workspace" } } span.m.mut.push { (group.items.len()) } }
                    ul.rows { @for item in &group.items { (hit(item)) } }
                }
            }
            @if view.groups.iter().all(|group| group.items.is_empty()) { (empty(view)) }
        }
        (not_built(&[("Regular expressions", "Text is matched as it stands, case ignored."), ("Send a hit to a session", "Copy the reference into the composer."), ("Recent searches", "The browser's history keeps the addresses.")]))
    };
    page(shell, Place { title: "Search", screen: "search", ..Place::default() }, now_ms, &body)
}

fn hit(item: &SearchHit) -> Markup {
    html! {
        li.hit data-row data-copy=(t(&item.title)) {
            div.row {
                span.lab { (t(&words(&item.kind))) }
                a.m.cut href=(item.href) { (t(&item.title)) }
                span.lab.cut { (t(&item.detail)) }
                @if let Some(status) = &item.status { span.lab.push.nw { (t(&words(status))) } }
                @if item.also_in > 0 { span.lab.nw { "also in " (item.also_in) @if item.also_in == 1 { " other worktree" } @else { " other worktrees" } } }
            }
            @if !item.snippet.is_empty() { pre.code.snip { @for line in &item.snippet { (snippet(line)) "\n" } } }
        }
    }
}

fn snippet(line: &SnippetLine) -> Markup {
    let mut parts: Vec<(bool, &str)> = Vec::new();
    let mut at = 0;
    for (start, end) in &line.marks {
        let (Some(before), Some(inside)) = (line.text.get(at..*start), line.text.get(*start..*end)) else { continue };
        parts.extend([(false, before), (true, inside)]);
        at = *end;
    }
    parts.push((false, line.text.get(at..).unwrap_or("")));
    html! {
        @if let Some(number) = line.number { span.mut { (format!("{number:>5} ")) } }
        @for (mark, text) in parts { @if mark { mark { (SafeText::block(text)) } } @else { (SafeText::block(text)) } }
    }
}

fn empty(view: &SearchView) -> Markup {
    html! {
        div.solo.stack {
            @if view.q.is_empty() { h2.hero { "Search the project" } p.mut { "Objects by id or title, code in every worktree, events of the record. Everything found is a link." } }
            @else { h2.hero { "No hit for “" (t(&view.q)) "”" } p.mut { "Try another scope above, or fewer words. Ids may be given short." } }
        }
    }
}
