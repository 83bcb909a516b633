//! Board: packets by lane, or as a list.
//!
//! Authority: derived. A packet that waits for approval stays in its Locus lane and wears the badge.

use maud::{Markup, html};

use dcc_api::view::{BoardView, CardView, HealthRow, LaneView, Shell};

use super::components::path::query;
use super::components::state::{session_pip, words};
use super::components::{Pip, ago, failure_note, field_lines, field_text, icon, not_built, said, segs, soon, st, st_quiet};
use super::moves::moves_json;
use super::shell::{Place, page};
use crate::safe_text::t;

/// The board.
#[must_use]
pub fn board(shell: &Shell, view: &BoardView, now_ms: i64) -> Markup {
    let list = view.layout == "list";
    let body = html! {
        (head(view, list))
        (notes(view))
        (new_packet(shell))
        @if view.total == 0 {
            (empty(shell, view, now_ms))
        } @else {
            @if view.lanes.iter().all(|lane| lane.cards.is_empty()) { (filtered_empty(view)) }
            @if list { (rows(view, now_ms)) } @else { (lanes(view, now_ms)) }
            (not_built(&[
                ("Swimlanes", "Filter by text instead; swimlanes by domain and priority come later."),
                ("Saved views", "The address holds the filter: bookmark it."),
                ("Import of a board file", "Packets are created one by one here and in the terminal; dcc import is not built."),
                ("Route to a session", "Start a session from the packet instead."),
            ]))
        }
        (move_dialog())
    };
    page(shell, Place { rail: "board", title: "Board", screen: "board", ..Place::default() }, now_ms, &body)
}

fn address(view: &BoardView, layout: &str, filter: &str) -> String {
    let mut parts = Vec::new();
    if layout == "list" {
        parts.push("layout=list".to_owned());
    }
    if !filter.is_empty() && filter != "all" {
        parts.push(format!("filter={filter}"));
    }
    if !view.q.is_empty() {
        parts.push(format!("q={}", query(&view.q)));
    }
    if parts.is_empty() { "/board".to_owned() } else { format!("/board?{}", parts.join("&")) }
}

fn head(view: &BoardView, list: bool) -> Markup {
    let filter = if view.filter.is_empty() { "all" } else { &view.filter };
    html! {
        div.head {
            h1.sr { "Board" }
            nav.tabs aria-label="Views" {
                @for (at, (key, name)) in [("all", "All packets"), ("waits", "Waits for me"), ("stale", "Stale over 3 d")].iter().enumerate() {
                    a href=(address(view, &view.layout, key)) aria-current=[(filter == *key).then_some("page")] data-key=((at + 1)) title={ "Key " (at + 1) } { (name) }
                }
            }
            // The file is behind for a moment after each change: said where nothing has to move for it.
            @if view.total > 0 && view.mirror.as_ref().is_some_and(|mirror| mirror.mirror_state == "stale") {
                span.row.board-file { (st(Pip::Stale, "board file behind")) button.btn.flat.sm type="button" data-op="locus.sync_task_board" { "Write it" } }
            }
            div.row.push.tools {
                form.row method="get" action="/board" role="search" {
                    @if list { input type="hidden" name="layout" value="list"; }
                    @if filter != "all" { input type="hidden" name="filter" value=(filter); }
                    label.sr for="board-q" { "Filter packets" }
                    input.field.tq id="board-q" name="q" value=(t(&view.q)) placeholder="Filter" data-key="f" autocomplete="off";
                }
                div.seg role="group" aria-label="Layout" {
                    a href=(address(view, "lanes", filter)) aria-current=[(!list).then_some("true")] { "Lanes" }
                    a href=(address(view, "list", filter)) aria-current=[list.then_some("true")] { "List" }
                }
                button.btn.sm.go type="button" data-toggle="new-packet" data-key="c" aria-expanded="false" aria-controls="new-packet" { (icon("plus")) " New packet " kbd { "c" } }
            }
        }
    }
}

fn notes(view: &BoardView) -> Markup {
    html! {
        @if let Some(failure) = &view.failure { (failure_note(failure)) }
        @if let Some(mirror) = view.mirror.as_ref().filter(|mirror| !matches!(mirror.mirror_state.as_str(), "synchronized" | "stale")) {
            div.note id="mirror" {
                (st(Pip::Stale, if mirror.mirror_state == "advisory_edit" { "drift" } else { "conflict" }))
                span.cut {
                    b { (t(&mirror.path)) } " "
                    @if let Some(message) = &mirror.message { (t(message)) } @else { (words(&mirror.mirror_state)) ". The board shows the store." }
                }
                span.push { (soon("Review the proposals", "Edit the packet here; the next write needs a clean file.")) }
            }
        }
        @if view.hidden > 0 {
            div.note { span { (view.hidden) " of " (view.total) " packets hidden by " @if view.q.is_empty() { "this view" } @else { "“" (t(&view.q)) "”" } } a.btn.sm.push href=(address(&BoardView { q: String::new(), ..view.clone() }, &view.layout, "all")) { "Clear" } }
        }
    }
}

fn lanes(view: &BoardView, now_ms: i64) -> Markup {
    html! {
        div.board data-board data-moves=(moves_json()) {
            @for lane in &view.lanes { (lane_column(lane, now_ms)) }
        }
    }
}

fn lane_column(lane: &LaneView, now_ms: i64) -> Markup {
    let id = format!("l-{}", lane.status);
    // An empty lane and what was given up start folded; the script keeps the person's own choice.
    let folds = lane.status == "cancelled" || lane.cards.is_empty();
    html! {
        section.lane.fold[folds] id={ "lane-" (lane.status) } data-lane=(lane.status) data-folds=(folds) aria-labelledby=(id) {
            header.ph {
                button.btn.flat.sm.ico.lane-fold type="button" data-lane-fold aria-expanded=(if folds { "false" } else { "true" }) aria-label={ "Fold or open " (t(&lane.title)) } { (icon("down")) }
                h2 id=(id) { (t(&lane.title)) }
                span.lane-says data-local {}
                span.m.push { (lane.count) @if let Some(limit) = lane.wip_limit { span.mut { "/" (limit) } } }
            }
            ol.inset tabindex="0" aria-label={ (t(&lane.title)) ", " (lane.count) " packets" } {
                @for card in &lane.cards { (card_item(card, now_ms)) }
            }
            @if (lane.cards.len() as i64) < lane.count { p.pad.lab { (lane.cards.len()) " of " (lane.count) " shown. Filter to see the rest." } }
        }
    }
}

fn card_item(card: &CardView, now_ms: i64) -> Markup {
    let pip = Pip::of_card(card);
    let href = format!("/wp/{}", query(&card.wp_id));
    html! {
        li.wp id={ "wp-" (card.wp_id) } data-wp=(card.wp_id) data-status=(card.status) data-row data-copy=(card.wp_id) {
            div.l {
                (st_quiet(pip, &words(&card.status)))
                span.m.id { (t(&card.wp_id)) }
                @if card.priority < 2 { span.lab { "P" (card.priority) } }
                span.push.m { @if let Some(at) = card.lane_since_at_ms { (ago(at, now_ms)) } }
                button.btn.flat.sm.ico.over type="button" data-move=(card.wp_id) aria-label={ "Move " (t(&card.wp_id)) } title="Move (m)" { (icon("more")) }
            }
            h3 { a.two href=(href) draggable="false" title=(t(&card.title)) { (t(&card.title)) } }
            @if !card.mt_statuses.is_empty() || !card.sessions.is_empty() {
                div.l { (segs(&card.mt_statuses)) span.push.row { @for session in card.sessions.iter().take(if card.sessions.len() > 2 { 1 } else { 2 }) { (session_pip(session)) } @if card.sessions.len() > 2 { span.m title="more sessions" { "+" (card.sessions.len() - 1) } } } }
            }
            @if let (Some(ws), Some(branch)) = (&card.workspace_id, &card.branch) {
                div.l {
                    (icon("branch"))
                    a.m.cut.over href={ "/ws/" (query(ws)) } title=(t(branch)) { (t(branch)) }
                    span.m.push title="changed files" { @match card.dirty_files { Some(0) => "clean", Some(n) => { "±" (n) }, None => "± ?" } }
                }
            }
            @if card.has_drift { div.why.st-stale { a.over href={ (href) "#drift" } { (st(Pip::Stale, "file edited by hand")) } } }
            (why(card, pip, now_ms))
        }
    }
}

fn why(card: &CardView, pip: Pip, now_ms: i64) -> Markup {
    html! {
        @if let Some(first) = card.approvals.first() {
            div.why.st-needs {
                a.cut.over href={ "/approval/" (query(&first.approval_id)) } title=(t(&first.title)) {
                    "approval: " (t(&first.title)) " · " (ago(first.requested_at_ms, now_ms))
                    @if card.approvals.len() > 1 { " · " (card.approvals.len() - 1) " more" }
                }
            }
        } @else if let Some(why) = card.why.as_ref().filter(|why| **why != words(&card.status)) {
            div class={ "why st-" (pip.name()) } { span.cut title=(t(why)) { (t(why)) } }
        }
    }
}

fn rows(view: &BoardView, now_ms: i64) -> Markup {
    html! {
        div.scroll.fill {
            table.tbl.stackable data-board data-moves=(moves_json()) {
                thead { tr { th { "State" } th { "Id" } th { "Title" } th { "Micro-tasks" } th { "Worktree" } th { "Sessions" } th { "Why" } th.n { "In lane" } } }
                tbody {
                    @for lane in view.lanes.iter().filter(|lane| !lane.cards.is_empty()) {
                        tr.grp { th colspan="8" scope="colgroup" { (t(&lane.title)) " " span.lab { (lane.count) } } }
                        @for card in &lane.cards {
                            tr id={ "wp-" (card.wp_id) } data-wp=(card.wp_id) data-status=(card.status) data-row data-copy=(card.wp_id) {
                                td.nw { (st(Pip::of_card(card), &words(&card.status))) }
                                th scope="row" { a.link.m href={ "/wp/" (query(&card.wp_id)) } { (t(&card.wp_id)) } }
                                td.cut title=(t(&card.title)) { (t(&card.title)) }
                                td.nw { (segs(&card.mt_statuses)) }
                                td.nw { @if let (Some(ws), Some(branch)) = (&card.workspace_id, &card.branch) { a.link.m href={ "/ws/" (query(ws)) } { (t(branch)) } } }
                                td.nw { @for session in &card.sessions { (session_pip(session)) " " } }
                                td.nw.w-why { (why(card, Pip::of_card(card), now_ms)) }
                                td.n { @if let Some(at) = card.lane_since_at_ms { (ago(at, now_ms)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn new_packet(shell: &Shell) -> Markup {
    let _ = shell;
    html! {
        section.panel id="new-packet" hidden data-panel aria-labelledby="np-h" {
            form.stack data-op="locus.create_wp" data-then="/wp/{wp_id}" {
                div.row { h2 id="np-h" { "New packet" } span.lab { "starts as a stub in the backlog" } button.btn.flat.sm.push type="button" data-close="new-packet" { "Close " kbd { "Esc" } } }
                (field_text("np-title", "title", "Title: what shall be true when it is done", "", true))
                div.two-up {
                    (field_lines("np-ac", "acceptance_criteria", "Acceptance criteria", "one a line; at least one before it can be ready", 3, false))
                    (field_lines("np-scope", "in_scope_paths", "May change", "globs, one a line; empty is the whole repository", 3, false))
                }
                div.fl { label.lab for="np-desc" { "Description" } textarea.field id="np-desc" name="description" rows="2" {} }
                div.row.wrap {
                    label.lab { "Type " select.field.fit name="type" { @for kind in ["feature", "bug", "refactor", "docs", "test", "chore"] { option value=(kind) { (kind) } } } }
                    label.lab { "Priority " select.field.fit name="priority" data-type="int" { @for n in 0..5 { option value=(n) selected[n == 2] { (n) @if n == 0 { " highest" } } } } }
                    label.lab { "Id " input.field.fit name="wp_id" placeholder="next free" autocomplete="off" size="12"; }
                    button.btn.go.push type="submit" { "Create packet" }
                }
                (said())
            }
        }
    }
}

fn move_dialog() -> Markup {
    html! {
        dialog.sheet id="move-dialog" aria-labelledby="move-h" data-local {
            form.stack method="dialog" {
                h2 id="move-h" { "Move" }
                div.rows id="move-ways" role="radiogroup" aria-label="To lane" {}
                div.fl id="move-reason-row" { label.lab for="move-reason" { "Reason, kept on record" } textarea.field id="move-reason" rows="2" {} }
                p.lab id="move-says" {}
                div.row { button.btn type="button" value="cancel" data-dialog-close { "Cancel " kbd { "Esc" } } button.btn.go.push type="submit" id="move-go" { "Move" } }
                (said())
            }
        }
    }
}

fn filtered_empty(view: &BoardView) -> Markup {
    html! {
        div.pad { p { "No packet matches " @if view.q.is_empty() { "this view" } @else { "“" (t(&view.q)) "”" } ". " (view.hidden) " are hidden. " a href="/board" { "Clear the filter" } } }
    }
}

fn empty(shell: &Shell, view: &BoardView, now_ms: i64) -> Markup {
    html! {
        div.solo.stack {
            h1.hero { "No work packets in " (t(&shell.project_name)) " yet" }
            p.say.mut { "A work packet says what shall be true when the work is done. Everything else hangs on it: the worktree, the agent, each approval, each commit and the proof." }
            ol.slice aria-label="How one packet goes through" {
                @for (name, shape, says) in [
                    ("packet", "board", "what is true when done"), ("worktree", "s-needs", "you allow it"), ("session", "sessions", "an agent works, boxed in"),
                    ("ask", "s-needs", "once, job, session"), ("review", "s-needs", "you tick paths"), ("commit", "branch", "exactly those bytes"), ("proof", "timeline", "every step on record"),
                ] {
                    li { span.st.st-needs[shape == "s-needs"] { (icon(shape)) (name) } span.lab { (says) } }
                }
            }
            div.ways {
                section.stack { h2 { "Write the first packet" } p.lab { "A title and one acceptance criterion are enough. Split it into micro-tasks when an agent starts." } button.btn.go type="button" data-toggle="new-packet" aria-controls="new-packet" { "New packet " kbd { "c" } } }
                section.stack { h2 { "Watch it work for 60 seconds" } p.lab { "A scripted agent plays the whole slice in a throwaway project: ask, approve, review, commit, prove." } p.code.row { code { "dcc demo" } button.btn.flat.sm.push type="button" data-copy-text="dcc demo" { (icon("copy")) " Copy" } } }
                section.stack { h2 { "Import the board you have" } p.lab { "Reading an existing TASK_BOARD.md into packets is not built yet. Create packets here or with dcc wp create." } (soon("Preview the import", "Create packets one by one for now.")) }
            }
            @if !view.machine.is_empty() {
                section.stack {
                    header.row { h2 { "This machine" } a.btn.sm.push href="/health" { "Open Health" } }
                    (machine(&view.machine, now_ms))
                }
            }
            p.lab { "Everything stays in " span.m { ".handshake/" } " beside your code and out of git. Keys of this screen: " kbd { "?" } " · go anywhere: " kbd { "Ctrl K" } }
        }
    }
}

/// Health rows as a plain table; the empty board and Health share it.
#[must_use]
pub fn machine(rows: &[HealthRow], now_ms: i64) -> Markup {
    html! {
        table.tbl.flush.hl-lite {
            thead.sr { tr { th { "State" } th { "Check" } th { "Evidence" } th { "Since" } } }
            tbody {
                @for row in rows {
                    tr {
                        td.nw { (st(Pip::of_step(&row.status), if row.word.is_empty() { &row.status } else { &row.word })) }
                        th scope="row" { (t(&row.name)) }
                        td.cut.lab title=(t(&row.evidence)) { (t(&row.evidence)) }
                        td.nw.lab { @if let Some(at) = row.since_at_ms { (ago(at, now_ms)) } }
                    }
                }
            }
        }
    }
}
