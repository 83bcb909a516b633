//! Approval Inbox and the page of one approval.
//!
//! Authority: derived. The card is the same component everywhere.

use maud::{Markup, html};

use dcc_api::view::{ApprovalCard, InboxGroup, InboxView, Shell};

use super::components::path::query;
use super::components::{ago, approval_card, approval_line, icon, not_built};
use super::session_side::grant_rows;
use super::shell::{Place, page};
use crate::safe_text::t;

/// The inbox: list and card.
#[must_use]
pub fn inbox(shell: &Shell, view: &InboxView, now_ms: i64) -> Markup {
    let tab = if view.tab.is_empty() { "open" } else { &view.tab };
    let body = html! {
        h1.sr { "Approval inbox" }
        div.cols.c-inbox .has-card[view.selected_by_address] {
            section.pane-queue aria-label="Queue" {
                div.ph {
                    nav.tabs aria-label="Inbox" {
                        a href="/inbox" aria-current=[(tab == "open").then_some("page")] { "Open " span.m { (view.open_count) } }
                        a href="/inbox?tab=decided" aria-current=[(tab == "decided").then_some("page")] { "Decided today " span.m { (view.decided_count) } }
                        a href="/inbox?tab=grants" aria-current=[(tab == "grants").then_some("page")] { "Grants " span.m { (view.grants_count) } }
                    }
                }
                div.scroll.fill { (queue(view, tab, now_ms)) }
                footer.ph.lab.keys-line { kbd { "j" } kbd { "k" } " move " kbd { "a" } " once " kbd { "A" } " scopes " kbd { "d" } " deny " @if let Some(last) = &view.last_result { span.push.cut { (t(last)) } } }
            }
            div.pane-card id="pane-card" {
                @if view.selected_by_address { a.btn.flat.sm.back href="/inbox" { (icon("left")) " List" } }
                @if let Some(card) = &view.selected { (approval_card(card, now_ms)) }
                @else { (nothing(shell, view, tab)) }
            }
        }
    };
    page(shell, Place { rail: "inbox", title: "Inbox", screen: "inbox", ..Place::default() }, now_ms, &body)
}

fn queue(view: &InboxView, tab: &str, now_ms: i64) -> Markup {
    let selected = view.selected.as_ref().map(|card| card.approval.approval_id.as_str());
    let href = |id: &str| if tab == "open" { format!("/inbox?a={}", query(id)) } else { format!("/inbox?tab={tab}&a={}", query(id)) };
    html! {
        @match tab {
            "decided" => {
                ol { @for row in &view.decided { (approval_line(row, &href(&row.approval_id), selected == Some(&row.approval_id), now_ms)) } }
                @if view.decided.is_empty() { p.pad.lab { "Nothing was decided today." } }
            },
            "grants" => {
                (grant_rows(&view.grants, now_ms))
                @if view.grants.is_empty() { p.pad.lab { "No standing grant. Each request asks until you say job, session or workspace on a card." } }
            },
            _ => {
                @for group in &view.groups {
                    @if group.key.starts_with("batch:") { (batch(group, selected, &href, now_ms)) }
                    @else {
                        section {
                            header.ph { h2 { (t(&group.title)) } @if group.key == "decision" { span.lab { "oldest first" } } span.m.mut.push { (group.items.len()) } }
                            ol { @for row in &group.items { (approval_line(row, &href(&row.approval_id), selected == Some(&row.approval_id), now_ms)) } }
                        }
                    }
                }
                @if view.groups.iter().all(|group| group.items.is_empty()) { p.pad.mut { "Nothing waits for you." } }
                @if !view.decided.is_empty() {
                    section { header.ph { h2 { "Last decisions" } } ol { @for row in view.decided.iter().take(5) { (approval_line(row, &format!("/inbox?tab=decided&a={}", query(&row.approval_id)), false, now_ms)) } } }
                }
                (not_built(&[
                    ("One decision for a batch", "Each request of a batch is decided by itself; a wider scope releases others of its kind."),
                    ("Snooze and extend", "A request keeps until its expiry."),
                    ("Policy page", "The rule that asked stands on each card; rules are edited in the configuration."),
                ]))
            },
        }
    }
}

/// Many requests of one kind as one row that opens; each is decided by itself.
fn batch(group: &InboxGroup, selected: Option<&str>, href: &dyn Fn(&str) -> String, now_ms: i64) -> Markup {
    let first = group.items.first();
    let holds = group.items.iter().any(|row| selected == Some(&row.approval_id));
    html! {
        details.batch id={ "batch-" (first.map_or("", |row| row.approval_id.as_str())) } open[holds] {
            summary.q data-row id={ "b-" (first.map_or("", |row| row.approval_id.as_str())) } {
                span.gut { (icon("right")) }
                span.cut title=(t(&group.title)) { b { (t(&group.title)) } " × " span.m { (group.items.len()) } }
                span.age { @if let Some(row) = first { (ago(row.requested_at_ms, now_ms)) } }
                span.lab.cut { (t(&group.note)) }
                span.exp { "each decided by itself" }
            }
            ol { @for row in &group.items { (approval_line(row, &href(&row.approval_id), selected == Some(&row.approval_id), now_ms)) } }
        }
    }
}

fn nothing(shell: &Shell, view: &InboxView, tab: &str) -> Markup {
    html! {
        div.solo.stack {
            @match tab {
                "grants" => { h2.hero { "Grants" } p.mut { "A grant lets the same kind of call run without asking again, within its scope and until its end. R3 is never granted. Revoking works at once." } },
                "decided" => { h2.hero { "Decided today" } p.mut { "Pick one to see its card as it was decided and what it released." } },
                _ => {
                    h2.hero { "Nothing waits for you" }
                    p.mut { (view.sessions_running) @if view.sessions_running == 1 { " session is running." } @else { " sessions are running." } " What one may not do on its own appears here, with an exact preview." }
                    @if shell.running == 0 { div.row { a.btn.go href="/board" { "Pick a packet" } a.btn href="/timeline" { "Read the record" } } }
                },
            }
        }
    }
}

/// One approval on its own page; with a fragment request the card alone can be taken out of it.
#[must_use]
pub fn approval_page(shell: &Shell, card: &ApprovalCard, now_ms: i64) -> Markup {
    let body = html! { h1.sr { "Approval" } (approval_card(card, now_ms)) };
    let crumbs = [("/inbox", "Inbox")];
    page(shell, Place { rail: "inbox", title: "Approval", crumbs: &crumbs, screen: "inbox" }, now_ms, &body)
}
