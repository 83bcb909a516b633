//! Side of a session, one part at a time: overview, ledger, tree, checkpoints, grants, raw events.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{GrantRow, SessionRow, SessionView};

use super::components::calls::side_effect;
use super::components::diff::kind_letter;
use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::session_state;
use super::components::{Pip, ago, bind, clock, duration, event_slice, icon, job_rows, observed, op_button, params, path_cell, pm, short, st, st_quiet, until};
use super::session_ledger::calls_part;
use crate::safe_text::{SafeText, t};

/// The parts that stand at the side: name in the address, label, key.
const TABS: [(&str, &str, Option<&str>); 6] =
    [("", "Overview", None), ("ledger", "Ledger", Some("l")), ("children", "Tree", Some("T")), ("checkpoints", "Checkpoints", None), ("grants", "Grants", None), ("raw", "Raw", None)];

/// The part that the address names, under the names of all.
#[must_use]
pub fn side(view: &SessionView, now_ms: i64) -> Markup {
    let home = format!("/session/{}", query(&view.session.session_id));
    html! {
        div.head id="side-tabs" { nav.tabs aria-label="Detail" {
            @for (name, label, key) in TABS {
                a href={ (home) @if !name.is_empty() { "?tab=" (name) } "#side-tabs" } aria-current=[(view.tab == name).then_some("page")] data-key=[key] {
                    (label)
                    @match name { "grants" if !view.grants.is_empty() => { " " span.m { (view.grants.len()) } }, "children" if !view.children.is_empty() => { " " span.m { (view.children.len()) } }, _ => {} }
                    @if let Some(key) = key { " " kbd { (key) } }
                }
            }
        } }
        @match view.tab.as_str() {
            "ledger" => (calls_part(view)),
            "children" => (tree(view, now_ms)),
            "checkpoints" => (checkpoints(view, now_ms)),
            "grants" => (grants(view, now_ms)),
            "raw" => (raw(view)),
            _ => (overview(view, now_ms)),
        }
    }
}

fn overview(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        (plan(view))
        (changes(view))
        (ledger(view))
        (grants(view, now_ms))
        section.sec { header.ph { h2 { "Jobs" } a.link.lab.push href={ "/jobs?session=" (query(&view.session.session_id)) } { "All" } } (job_rows(&view.jobs, now_ms)) }
        (children(view, now_ms))
    }
}

fn grants(view: &SessionView, now_ms: i64) -> Markup {
    html! { section.sec { header.ph { h2 { "Grants" } span.m.mut.push { (view.grants.len()) } } (grant_rows(&view.grants, now_ms)) @if view.grants.is_empty() { p.pad.lab { "None: each request asks." } } } }
}

fn checkpoints(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        section.sec { header.ph { h2 { "Checkpoints" } span.m.mut.push { (view.checkpoints.len()) } }
            ul.rows.dense { @for point in &view.checkpoints { li { span.m.mut { (point.number) } span.cut.grow title=[point.note.as_deref().map(|note| t(note))] { (t(point.note.as_deref().unwrap_or_default())) } span.m.mut { "seq " (point.seq) } span.push.lab { (ago(point.saved_at_ms, now_ms)) } } } }
            @if view.checkpoints.is_empty() { p.pad.lab { "None yet: one is kept after tool calls, decisions and messages, and before it rests." } }
            @else { p.pad.lab { "After a crash the session rests at the last one; resume takes it up from there, retry starts a successor." } }
        }
    }
}

/// The tree it belongs to, with what ends together and what is near its limit.
fn tree(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        section.sec id="tree" {
            header.ph { h2 { "Tree" } span.m.mut.push { (view.tree.len()) } }
            ul.rows.family { @for row in &view.tree {
                li class={ "lvl-" (row.depth.clamp(0, 3)) } aria-current=[(row.session_id == view.session.session_id).then_some("true")] {
                    span.sr { "depth " (row.depth) ": " }
                    (session_state(row))
                    @if row.session_id == view.session.session_id { b { (t(&row.agent)) } span.m { (t(short(&row.session_id))) } span.lab { "this one" } }
                    @else { a.link href={ "/session/" (query(&row.session_id)) } { b { (t(&row.agent)) } " " span.m { (t(short(&row.session_id))) } } }
                    @if let Some(purpose) = &row.purpose { span.cut.lab { (t(purpose)) } }
                    (family_words(row))
                    span.push.lab { (ago(row.created_at_ms, now_ms)) }
                }
            } }
            p.pad.lab { "Stopping a session stops what is below it. A child is never wider than its parent: " span.m { "dcc session spawn " (t(short(&view.session.session_id))) } }
        }
    }
}

/// Open children, what ends with the session, and its limit when it is near.
#[must_use]
pub fn family_words(row: &SessionRow) -> Markup {
    html! {
        @if row.cascade > 0 { span.lab.nw { (row.open_children) @if row.open_children == 1 { " child, " } @else { " children, " } "stops " (row.cascade) " with it" } }
        @if let Some(near) = &row.near_limit { (st(Pip::Blocked, near)) }
    }
}

fn raw(view: &SessionView) -> Markup {
    html! {
        section.sec {
            header.ph { h2 { "Raw" } span.lab { "events as recorded, newest first" } span.push { (event_slice("session", &view.session.session_id)) } }
            ul.raw { @for row in &view.raw { li {
                details id={ "raw-" (row.event.seq) } {
                    summary.row { (icon("right")) span.m.mut { (row.event.seq) } (clock(row.event.recorded_at_ms)) span.m.cut { (t(&row.event.code)) } span.cut.lab { (t(&row.event.what)) } }
                    p.row { a.link.lab href={ "/event/" (query(&row.event.event_id)) } { "Open the event" } }
                    pre.code tabindex="0" { (SafeText::block(&row.payload)) }
                }
            } } }
        }
    }
}

/// Sessions that this one started, and where it came from itself.
fn children(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        @if !view.children.is_empty() || view.session.parent_session_id.is_some() {
            section.sec id="children" {
                header.ph { h2 { "Children" } span.m.mut { (view.children.len()) } @if let Some(parent) = &view.session.parent_session_id { a.link.lab.push href={ "/session/" (query(parent)) } { "child of " (t(short(parent))) } } }
                ul.rows { @for child in &view.children { li { (session_state(child)) a.link href={ "/session/" (query(&child.session_id)) } { b { (t(&child.agent)) } " " span.m { (t(short(&child.session_id))) } } @if let Some(purpose) = &child.purpose { span.cut.lab { (t(purpose)) } } span.push.lab { (ago(child.created_at_ms, now_ms)) } } } }
            }
        }
    }
}

fn plan(view: &SessionView) -> Markup {
    let done = view.plan.iter().filter(|entry| entry.status == "completed").count();
    html! {
        @if !view.plan.is_empty() {
            section.sec {
                header.ph { h2 { "Plan" } span.m.mut { (done) "/" (view.plan.len()) } span.push { (observed("reported")) } }
                ol.rows { @for entry in &view.plan { li { (st_quiet(Pip::of_step(&entry.status), &entry.status.replace('_', " "))) @if entry.status == "in_progress" { b.cut { (t(&entry.text)) } } @else { span.cut title=(t(&entry.text)) { (t(&entry.text)) } } } } }
            }
        }
    }
}

fn changes(view: &SessionView) -> Markup {
    let add: i64 = view.changes.iter().filter_map(|file| file.additions).sum();
    let del: i64 = view.changes.iter().filter_map(|file| file.deletions).sum();
    html! {
        section.sec id="changes" {
            header.ph {
                h2 { "Changes" } (pm(Some(add), Some(del)))
                @if let Some(ws) = &view.session.workspace_id { a.link.lab.push href={ "/ws/" (query(ws)) } data-key="D" { "Review " (view.changes.len()) @if view.changes.len() == 1 { " file " } @else { " files " } kbd { "D" } } }
            }
            ul.rows.dense {
                @for file in view.changes.iter().take(20) { li { span.m.mut title=(t(&file.kind)) { (kind_letter(&file.kind)) } (path_cell(&file.path)) @if !file.in_scope { (st_quiet(Pip::Failed, "outside the scope")) } span.push { (pm(file.additions, file.deletions)) } } }
            }
            @if view.changes.is_empty() { p.pad.lab { "No changed file in the worktree." } }
            @if view.changes.len() > 20 { p.pad.lab { (view.changes.len() - 20) " more." } }
        }
    }
}

fn ledger(view: &SessionView) -> Markup {
    let inferred: i64 = view.ledger.iter().filter(|row| row.observed == "inferred").map(|row| row.calls).sum();
    html! {
        @if !view.ledger.is_empty() {
            section.sec id="ledger" {
                header.ph { h2 { "Ledger" } span.m.mut { (view.session.tool_calls) } a.link.lab.push href={ "/session/" (query(&view.session.session_id)) "?tab=ledger" } { "Call by call" } }
                table.tbl.tight.ledger {
                    thead { tr { th { "Kind" } th.n { "Calls" } th.n { "Ok" } th.n { "Failed" } th.n { "Time" } th { "Known how" } } }
                    tbody { @for row in &view.ledger {
                        tr {
                            th scope="row" { span.row { (side_effect(&row.side_effect)) span.m { (t(&row.tool)) } } }
                            td.n { (row.calls) } td.n { (row.ok) } td.n.st-failed[row.failed > 0].mut[row.failed == 0] { (row.failed) }
                            td.n { @if let Some(ms) = row.duration_ms { (duration(ms)) } @else { "–" } }
                            td { (observed(&row.observed)) }
                        }
                    } }
                }
                @if inferred > 0 { p.pad.lab { (inferred) " effects were inferred from files: no call announced them." } }
            }
        }
    }
}

/// Standing grants, each revocable in one step.
#[must_use]
pub fn grant_rows(grants: &[GrantRow], now_ms: i64) -> Markup {
    html! {
        ul.rows {
            @for grant in grants {
                li.tall id={ "g-" (grant.grant_id) } data-row data-copy=(grant.grant_id) {
                    (st(Pip::of_approval(&grant.status), &grant.status.replace('_', " ")))
                    span.grow {
                        span.m { (t(&grant.capability_id)) } " " b { (t(&grant.scope)) }
                        span.lab.block {
                            (t(&grant.covers))
                            " · used " (grant.uses) @if let Some(max) = grant.max_uses { " of " (max) }
                            @if let Some(at) = grant.revoked_at_ms { " · revoked " (super::components::ago_words(at, now_ms)) }
                            @else if let Some(at) = grant.expires_at_ms { " · till " (until(at, now_ms)) }
                            @if let Some(wp) = &grant.wp_id { " · " a.link href={ "/wp/" (query(wp)) } { (t(wp)) } }
                            @if let Some(session) = &grant.session_id { " · " a.link href={ "/session/" (query(session)) } { @if let Some(agent) = &grant.agent { (t(agent)) " " } (t(short(session))) } }
                            @if let Some(approval) = &grant.approval_id { " · " a.link href={ "/approval/" (query(approval)) } { "decision" } }
                        }
                    }
                    @if grant.status == "active" {
                        span.push { (op_button(OpButton { op: "grant.revoke", label: "Revoke", class: "btn sm no", bind: &bind(&[]), params: &params(&[("grant_id", grant.grant_id.as_str().into())]), then: Some("reload"), ..OpButton::default() })) }
                    }
                }
            }
        }
    }
}
