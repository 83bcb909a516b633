//! What a session's head opens: closing with a handoff, stopping, routing. Each says beforehand what it will do.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::SessionView;

use super::components::path::query;
use super::components::state::{session_state, words};
use super::components::{bind, path_cell, said, short};
use super::session_composer::ways;
use crate::safe_text::t;

/// Files named in the dialog; the review shows all.
const FILES_NAMED: usize = 12;

/// All three, closed.
#[must_use]
pub fn panels(view: &SessionView) -> Markup {
    html! { (close_panel(view)) (stop_panel(view)) (route_panel(view)) }
}

fn close_panel(view: &SessionView) -> Markup {
    let id = bind(&[("session_id", &view.session.session_id)]);
    html! {
        section.panel id="close-panel" hidden data-panel aria-labelledby="cl-h" {
            form.stack data-op="session.close" data-bind=(id) data-then="reload" {
                div.row { h2 id="cl-h" { "Close with handoff" } span.lab { "the page a new agent or person starts from; the worktree stays" } button.btn.flat.sm.push type="button" data-close="close-panel" { "Close " kbd { "Esc" } } }
                div.two-up {
                    div.fl { label.lab for="h-done" { "Done, one a line" } textarea.field id="h-done" name="handoff.done" rows="3" data-type="lines" {} }
                    div.fl { label.lab for="h-rem" { "Remaining, one a line" } textarea.field id="h-rem" name="handoff.remaining" rows="3" data-type="lines" {} }
                    div.fl { label.lab for="h-dec" { "Decisions, one a line" } textarea.field id="h-dec" name="handoff.decisions" rows="2" data-type="lines" {} }
                    div.fl { label.lab for="h-unc" { "Uncertainties, one a line" } textarea.field id="h-unc" name="handoff.uncertainties" rows="2" data-type="lines" {} }
                    div.fl { label.lab for="h-blo" { "Blockers, one a line" } textarea.field id="h-blo" name="handoff.blockers" rows="2" data-type="lines" {} }
                    div.fl { label.lab for="h-evi" { "Evidence, one a line: " span.m { "commit ID" } ", " span.m { "job ID" } ", " span.m { "artifact SHA" } " or " span.m { "diff WORDS" } } textarea.field id="h-evi" name="handoff.evidence" rows="2" data-type="evidence" {} }
                }
                div.fl { label.lab for="h-waive" { @if view.handoff_required { "or waive it: the reason is kept on record" } @else { "or close without one, with a reason" } } input.field id="h-waive" name="waive_reason" autocomplete="off"; }
                div.row { button.btn.go.push type="submit" { "Close session" } }
                (said())
            }
        }
    }
}

fn stop_panel(view: &SessionView) -> Markup {
    let id = bind(&[("session_id", &view.session.session_id)]);
    html! {
        section.panel id="stop-panel" hidden data-panel aria-labelledby="sp-h" {
            form.stack data-op="session.cancel" data-bind=(id) data-then="reload" {
                div.row { h2 id="sp-h" { "Stop this session" @if !view.ends.is_empty() { " and " (view.ends.len()) " below it" } } button.btn.flat.sm.push type="button" data-close="stop-panel" { "Close " kbd { "Esc" } } }
                p {
                    "The agent and everything it started is ended, within 5 s; stopped is said when nothing of it runs any more. "
                    @if !view.held.is_empty() { (view.held.len()) @if view.held.len() == 1 { " held request is" } @else { " held requests are" } " answered with cancelled. " }
                    @if !view.queued.is_empty() { (view.queued.len()) @if view.queued.len() == 1 { " waiting message stays" } @else { " waiting messages stay" } " with it and a retry takes them along. " }
                    "Your typed text is kept."
                }
                @if !view.ends.is_empty() {
                    h3.lab { "Ends with it" }
                    ul.rows.dense { @for one in &view.ends { li { (session_state(one)) a.link href={ "/session/" (query(&one.session_id)) } { b { (t(&one.agent)) } " " span.m { (t(short(&one.session_id))) } } @if let Some(purpose) = &one.purpose { span.cut.lab { (t(purpose)) } } } } }
                }
                (left(view))
                div.fl { label.lab for="stop-r" { "Reason" } input.field id="stop-r" name="reason" autocomplete="off"; }
                div.row { button.btn.no.push type="submit" { @if view.ends.is_empty() { "Stop session" } @else { "Stop " (view.ends.len() + 1) " sessions" } } }
                (said())
            }
        }
    }
}

/// Files that a stop leaves uncommitted, by name.
fn left(view: &SessionView) -> Markup {
    html! {
        @match view.uncommitted_files {
            Some(0) => p.lab { "Nothing is uncommitted." },
            None => p.lab { "Whether files are uncommitted is unknown; they stay in the worktree." },
            Some(count) => {
                h3.lab { (count) @if count == 1 { " uncommitted file stays" } @else { " uncommitted files stay" } " in the worktree" }
                ul.rows.dense { @for file in view.changes.iter().take(FILES_NAMED) { li { (path_cell(&file.path)) } } @if view.changes.len() > FILES_NAMED { li.lab { (view.changes.len() - FILES_NAMED) " more" } } }
            },
        }
    }
}

fn route_panel(view: &SessionView) -> Markup {
    let Some(route) = &view.route else { return html! {} };
    let id = bind(&[("session_id", &view.session.session_id), ("wp_id", &route.packet.wp_id)]);
    html! {
        section.panel id="route-panel" hidden data-panel aria-labelledby="ro-h" {
            form.stack data-op="session.route" data-bind=(id) data-then="reload" {
                div.row { h2 id="ro-h" { "Route to this session" } span.lab { "a message made from the records tells the agent; the session is bound to it from then on" } button.btn.flat.sm.push type="button" data-close="route-panel" { "Close " kbd { "Esc" } } }
                div.fl { label.lab for="ro-mt" { "Packet or micro-task of its worktree" }
                    select.field id="ro-mt" name="bind:mt_id" {
                        option value="" { (t(&route.packet.wp_id)) " " (t(&route.packet.title)) ": the whole packet" }
                        @for (mt, name, status) in &route.tasks { option value=(mt) selected[view.session.mt_id.as_ref() != Some(mt) && status == "in_progress"] { (t(mt)) " " (t(name)) ", " (words(status)) } }
                    }
                }
                div.row.wrap { (ways(view, "Queue", &["now"])) button.btn.go.push type="submit" { "Route" } }
                p.lab { "Another packet has its own worktree: start a session there, or bind this worktree to it first." }
                (said())
            }
        }
    }
}
