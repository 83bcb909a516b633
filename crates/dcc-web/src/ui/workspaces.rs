//! Workspaces as a list. Unknown is drawn as unknown, never as clean.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{Shell, WorkspaceRow, WorkspacesView};

use super::components::basics::bytes;
use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::session_pip;
use super::components::{Pip, ago, bind, broken_note, event_slice, icon, not_built, op_button, said, short, st, wp_link};
use super::shell::{Place, page};
use crate::safe_text::t;

/// The list.
#[must_use]
pub fn workspaces(shell: &Shell, view: &WorkspacesView, now_ms: i64) -> Markup {
    let shows = Shows { disk: view.items.iter().any(|row| row.disk_bytes.is_some()), opened: view.items.iter().any(|row| row.last_opened_at_ms.is_some()) };
    let body = html! {
        div.head {
            h1 { "Workspaces" } span.lab { (view.items.len()) @if view.archived > 0 { " · " (view.archived) " archived" } }
            div.row.push.tools {
                @if view.archived > 0 { a.btn.sm href=(if view.archived_shown { "/workspaces" } else { "/workspaces?archived=1" }) { (if view.archived_shown { "Hide archived" } else { "Show archived" }) } }
                button.btn.sm.go type="button" data-toggle="new-ws" data-key="c" aria-controls="new-ws" aria-expanded="false" { (icon("plus")) " New worktree " kbd { "c" } }
            }
        }
        (create(view))
        @if !view.importable.is_empty() {
            div.note { (st(Pip::Stale, "not known here")) span.cut { "git also has " (t(&view.importable.join(", "))) } span.lab.push { "import: dcc ws import, not built here yet" } }
        }
        @if view.items.is_empty() {
            div.solo.stack { h2.hero { "No workspace yet" } p.mut { "A workspace is a git worktree bound to a packet. Create one for a packet; it asks once, with the exact path and branch." } }
        } @else {
            div.scroll.fill { table.tbl.stackable {
                thead { tr { th { "Health" } th { "Branch" } th { "Packet" } th { "Sessions" } th.n { "Changes" } th.n { "Ahead" } th.n { "Behind" } th { "Last commit" } @if shows.disk { th.n { "Disk" } } @if shows.opened { th.n { "Opened" } } th { span.sr { "Act" } } } }
                tbody { @for row in &view.items { (line(row, shows, now_ms)) } }
            } }
        }
        (not_built(&[
            ("Import, remove, prune", "Use git worktree in a terminal; DCC notices on its own."),
            ("Open in an editor", "The path is shown: open it yourself."),
            ("Anchors", "Nothing yet."),
        ]))
    };
    page(shell, Place { rail: "workspaces", title: "Workspaces", screen: "workspaces", ..Place::default() }, now_ms, &body)
}

/// Health in a word.
#[must_use]
pub fn health(row: &WorkspaceRow) -> Markup {
    let word = match (row.health.as_str(), row.status.as_str()) {
        ("ok", "active") => "ok",
        ("ok", status) => status,
        ("", _) => "unknown",
        (health, _) => health,
    };
    st(Pip::of_workspace(row), &word.replace('_', " "))
}

/// Columns that no row fills are left out.
#[derive(Clone, Copy)]
struct Shows {
    disk: bool,
    opened: bool,
}

fn line(row: &WorkspaceRow, shows: Shows, now_ms: i64) -> Markup {
    let ids = bind(&[("workspace_id", &row.workspace_id)]);
    html! {
        tr id={ "ws-" (row.workspace_id) } data-row data-copy=(row.workspace_id) {
            td.nw { (health(row)) }
            th scope="row" { a.link.m href={ "/ws/" (query(&row.workspace_id)) } title=(t(&row.path)) { (t(row.branch.as_deref().unwrap_or("detached"))) } @if row.kind == "root" { " " span.lab { "root" } } @else { " " span.lab { (t(&row.role)) } } }
            td.cut { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) " " } @if let Some(title) = &row.wp_title { span.lab { (t(title)) } } }
            td.nw { (super::components::outside_marks(row)) @for session in &row.sessions { (session_pip(session)) " " } @if row.approvals > 0 { a.st.st-needs href="/inbox" { (icon("s-needs")) (row.approvals) @if row.approvals == 1 { " waits for you" } @else { " wait for you" } } } }
            td.n data-label="changes" { @match row.dirty_files { Some(0) => span.mut { "clean" }, Some(n) => { "±" (n) }, None => span.mut { "?" } } }
            td.n data-label="ahead" { @match row.ahead { Some(n) => (n), None => span.mut { "?" } } }
            td.n data-label="behind" { @match row.behind { Some(n) => (n), None => span.mut { "?" } } }
            td.nw.lab data-label="last commit" { @if let Some(commit) = &row.last_commit { span.m { (t(short(&commit.commit_oid))) } " " (ago(commit.committed_at_ms, now_ms)) } }
            @if shows.disk { td.n.mut data-label="disk" { @if let Some(size) = row.disk_bytes { (bytes(size)) } } }
            @if shows.opened { td.n.mut data-label="opened" { @if let Some(at) = row.last_opened_at_ms { (ago(at, now_ms)) } } }
            td.nw {
                details.menu id={ "wsm-" (row.workspace_id) } {
                    summary.btn.flat.sm.ico aria-label={ "Actions, " (t(&row.name)) } { (icon("more")) }
                    div.menu-box {
                        a.item href={ "/ws/" (query(&row.workspace_id)) } { "Review changes" }
                        button.item type="button" data-copy-text=(t(&row.path)) { "Copy path" }
                        @if row.status == "active" { (op_button(OpButton { op: "workspace.close", label: "Close: pause it, disk unchanged", class: "item", bind: &ids, then: Some("reload"), ..OpButton::default() })) }
                        @else { (op_button(OpButton { op: "workspace.open", label: "Open", class: "item", bind: &ids, then: Some("reload"), ..OpButton::default() })) }
                        @if row.status != "archived" && row.kind != "root" { (op_button(OpButton { op: "workspace.archive", label: "Archive: hide it, disk unchanged", class: "item", bind: &ids, then: Some("reload"), ..OpButton::default() })) }
                        span.item { (event_slice("ws", &row.workspace_id)) }
                    }
                }
            }
        }
        @if row.health_failure.is_some() { tr.more-row { td colspan=(9 + usize::from(shows.disk) + usize::from(shows.opened)) { (broken_note(row)) } } }
    }
}

fn create(view: &WorkspacesView) -> Markup {
    html! {
        section.panel id="new-ws" hidden data-panel aria-labelledby="nw-h" {
            form.stack data-op="workspace.create" data-then="/ws/{workspace_id}" {
                div.row { h2 id="nw-h" { "New worktree" } span.lab { "R1: you will be asked, with the exact path, branch and base" } button.btn.flat.sm.push type="button" data-close="new-ws" { "Close " kbd { "Esc" } } }
                div.three-up {
                    div.fl { label.lab for="nw-wp" { "Packet" } select.field id="nw-wp" name="bind:wp_id" required { @for wp in &view.packets { option value=(wp.wp_id) { (t(&wp.wp_id)) " " (t(&wp.title)) } } } }
                    div.fl { label.lab for="nw-branch" { "Branch" } input.field.m id="nw-branch" name="branch" placeholder="dcc/WP-…" autocomplete="off"; }
                    div.fl { label.lab for="nw-base" { "Base" } input.field.m id="nw-base" name="base" placeholder="branch of HEAD" autocomplete="off"; }
                }
                @if view.packets.is_empty() { p.lab { "Every packet has its worktree, or there is none yet. " a href="/board" { "Board" } } }
                div.row { @if !view.packets.is_empty() { button.btn.go.push type="submit" { "Ask for the worktree" } } }
                (said())
            }
        }
    }
}
