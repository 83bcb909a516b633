//! Health: checks with evidence and one fix each; the recovery queue on top.
//!
//! Authority: derived. A check that did not run is drawn as unknown.

use maud::{Markup, html};

use dcc_api::view::{HealthRow, HealthView, RecoveryRow, Shell};

use super::components::forms::OpButton;
use super::components::path::query;
use super::components::{Pip, ago, ago_words, bind, field_text, fix_button, job_link, not_built, op_button, params, said, session_link, st, wp_link};
use super::shell::{Place, page};
use crate::safe_text::t;

/// The health screen.
#[must_use]
pub fn health(shell: &Shell, view: &HealthView, now_ms: i64) -> Markup {
    let body = html! {
        (head(view, now_ms))
        @if let Some(worktrees) = &view.waivable { (waive(worktrees)) }
        @if !view.recovery.is_empty() { (recovery(view, now_ms)) }
        section.fill.scroll aria-label="Checks" {
            table.tbl.hl.stackable {
                colgroup { col.w-st; col.w-nm; col; col.w-ago; col.w-fix; }
                thead { tr { th { "State" } th { "Check" } th { "Evidence" } th { "Since" } th { "One fix" } } }
                @for group in &view.groups {
                    tbody {
                        tr.grp { th colspan="5" scope="colgroup" { (t(&group.title)) " " span.lab { (t(&group.note)) } } }
                        @for row in &group.rows { (line(row, now_ms)) }
                    }
                }
            }
        }
        (not_built(&[("Backup and restore", "Copy .handshake/ while the server is stopped."), ("Resume all safe", "Resume each session by itself.")]))
    };
    page(shell, Place { rail: "health", title: "Health", screen: "health", ..Place::default() }, now_ms, &body)
}

fn head(view: &HealthView, now_ms: i64) -> Markup {
    let all: Vec<&HealthRow> = view.groups.iter().flat_map(|group| &group.rows).collect();
    let count = |statuses: &[&str]| all.iter().filter(|row| statuses.contains(&row.status.as_str())).count();
    let absent = count(&["absent"]);
    let (faults, needs, drift, unknown, ok) = (count(&["fault"]), count(&["needs"]), count(&["drift"]), count(&["unknown"]), count(&["ok"]));
    html! {
        div.head {
            h1 { "Health" }
            @if faults > 0 { (st(Pip::Failed, &format!("{faults} fault{}", if faults == 1 { "" } else { "s" }))) }
            @if needs > 0 { (st(Pip::Needs, &format!("{needs} need{} you", if needs == 1 { "s" } else { "" }))) }
            @if drift > 0 { (st(Pip::Stale, &format!("{drift} drift"))) }
            @if unknown > 0 { (st(Pip::Stale, &format!("{unknown} unknown"))) }
            @if !all.is_empty() && ok + absent == all.len() { (st(Pip::Done, &format!("All {ok} checks passed"))) } @else { (st(Pip::Done, &format!("{ok} ok"))) }
            @if let Some(at) = view.checked_at_ms { span.lab { "checked " (ago_words(at, now_ms)) } }
            div.row.push.tools {
                a.btn.sm href="/health" { "Check again" }
                button.btn.sm type="button" data-verify-record { "Verify the record" }
                (op_button(OpButton { op: "store.rebuild", label: "Rebuild", class: "btn sm", bind: &bind(&[]), then: Some("reload"), ..OpButton::default() }))
            }
        }
    }
}

fn line(row: &HealthRow, now_ms: i64) -> Markup {
    html! {
        tr data-row {
            td.nw { (st(Pip::of_step(&row.status), if row.word.is_empty() { &row.status } else { &row.word })) }
            th.cut scope="row" title=(t(&row.name)) { (t(&row.name)) }
            @let calm = matches!(row.status.as_str(), "ok" | "absent");
            td.lab.cut[calm].wrap-any[!calm] title=(t(&row.evidence)) { (t(&row.evidence)) }
            td.nw.lab { @if let Some(at) = row.since_at_ms { (ago(at, now_ms)) } }
            td.nw { span.row { @if let Some(fix) = &row.fix { (fix_button(fix)) } @if let Some(other) = &row.other { (fix_button(other)) } } }
        }
    }
}

/// Asks for agents without a sandbox in one worktree; what that means stands on the card, which wants a typed word.
fn waive(worktrees: &[(String, String)]) -> Markup {
    html! {
        section.panel id="waive" hidden data-panel aria-labelledby="waive-h" {
            form.stack data-op="sandbox.waive" data-then="reload" {
                div.row { h2 id="waive-h" { "Let agents run without a sandbox" } span.lab { "R3: you will be asked, with what it means and a word to type" } button.btn.flat.sm.push type="button" data-close="waive" { "Close " kbd { "Esc" } } }
                @if worktrees.is_empty() { p.lab { "There is no worktree to waive it for. " a href="/workspaces" { "Workspaces" } } }
                @else {
                    div.two-up {
                        div.fl { label.lab for="wv-ws" { "Worktree" } select.field id="wv-ws" name="bind:workspace_id" required { @for (id, branch) in worktrees { option value=(id) { (t(branch)) } } } }
                        div.fl { label.lab for="wv-for" { "For" } select.field id="wv-for" name="for_ms" data-type="minutes" { @for (minutes, words) in [(15, "15 minutes"), (30, "30 minutes"), (60, "1 hour"), (240, "4 hours"), (480, "8 hours")] { option value=(minutes) selected[minutes == 30] { (words) } } } }
                    }
                    (field_text("wv-why", "reason", "Reason, kept on record", "", true))
                    div.row { button.btn.no.push type="submit" { "Ask for the waiver" } }
                }
                (said())
            }
        }
    }
}

fn recovery(view: &HealthView, now_ms: i64) -> Markup {
    html! {
        section aria-labelledby="rq" {
            header.ph { h2 id="rq" { "Recovery queue" } span.lab { @if let Some(note) = &view.recovery_note { (t(note)) " " } "Nothing resumes by itself." } }
            table.tbl.hl.stackable {
                colgroup { col.w-st; col.w-nm; col; col.w-ago; col.w-fix; }
                thead.sr { tr { th { "State" } th { "What" } th { "Evidence" } th { "Since" } th { "Act" } } }
                tbody { @for row in &view.recovery { (recovery_line(row, now_ms)) } }
            }
        }
    }
}

fn recovery_line(row: &RecoveryRow, now_ms: i64) -> Markup {
    html! {
        tr data-row {
            td.nw { (st(Pip::Paused, &row.state)) }
            th scope="row" {
                @if let Some(session) = &row.session_id { (session_link(session, row.agent.as_deref())) " " }
                @if let Some(job) = &row.job_id { "job " (job_link(job)) " " }
                @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) }
            }
            td.cut.lab title=(t(&row.evidence)) { (t(&row.evidence)) }
            td.nw.lab { @if let Some(at) = row.since_at_ms { (ago(at, now_ms)) } }
            td.nw {
                span.row {
                    @if let Some(session) = &row.session_id {
                        @let ids = bind(&[("session_id", session)]);
                        (op_button(OpButton { op: "session.resume", label: "Resume", class: "btn sm", bind: &ids, then: Some("reload"), why_not: (!row.safe_to_resume).then_some("A pending write is unknown: look at the evidence first."), ..OpButton::default() }))
                        (op_button(OpButton { op: "session.cancel", label: "Cancel", class: "btn sm no", bind: &ids, params: &params(&[("reason", "recovery".into())]), then: Some("reload"), ..OpButton::default() }))
                    } @else if let Some(job) = &row.job_id { a.btn.sm href={ "/job/" (query(job)) } { "Show evidence" } }
                }
            }
        }
    }
}
