//! Side of a session: plan, changes, ledger, grants, checkpoints, jobs.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{GrantRow, SessionView};

use super::components::calls::side_effect;
use super::components::diff::kind_letter;
use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::session_state;
use super::components::{Pip, ago, bind, duration, job_rows, not_built, observed, op_button, params, path_cell, pm, short, st, st_quiet, until};
use crate::safe_text::t;

/// Sections in order of use.
#[must_use]
pub fn side(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        (plan(view))
        (changes(view))
        (ledger(view))
        section.sec { header.ph { h2 { "Grants" } span.m.mut.push { (view.grants.len()) } } (grant_rows(&view.grants, now_ms)) @if view.grants.is_empty() { p.pad.lab { "None: each request asks." } } }
        section.sec { header.ph { h2 { "Jobs" } a.link.lab.push href={ "/jobs?session=" (query(&view.session.session_id)) } { "All" } } (job_rows(&view.jobs, now_ms)) }
        @if !view.checkpoints.is_empty() {
            section.sec { header.ph { h2 { "Checkpoints" } span.m.mut.push { (view.checkpoints.len()) } }
                ul.rows.dense { @for point in &view.checkpoints { li { span.m.mut { (point.number) } span.cut { @if let Some(note) = &point.note { (t(note)) } @else { "seq " (point.seq) } } span.push.lab { (ago(point.saved_at_ms, now_ms)) } } } }
            }
        }
        (children(view, now_ms))
        (not_built(&[
            ("Edit of a waiting message", "Remove it and send it anew, or: dcc session send S --message M --edit TEXT."),
            ("Route", "dcc session route S WP hands it another packet."),
        ]))
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
                header.ph { h2 { "Ledger" } span.m.mut { (view.session.tool_calls) } }
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
