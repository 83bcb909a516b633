//! Right side of a packet: what waits, what is bound, what stands before done, the last events.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{GateView, PacketView};

use super::components::approval::tier;
use super::components::path::query;
use super::components::state::{session_state, words};
use super::components::{Pip, ago, broken_note, event_rows, event_slice, job_rows, money, short, st, st_quiet, workspace_link};
use crate::safe_text::t;

/// The whole side.
#[must_use]
pub fn aside(view: &PacketView, now_ms: i64) -> Markup {
    html! {
        (waits(view, now_ms))
        (bindings(view, now_ms))
        (readiness(view, now_ms))
        section.sec {
            header.ph { h2 { "Last events" } span.push { (event_slice("wp", &view.wp_id)) } }
            (event_rows(&view.events))
            @if view.events.is_empty() { p.pad.lab { "No event yet." } }
        }
    }
}

fn waits(view: &PacketView, now_ms: i64) -> Markup {
    html! {
        @if !view.approvals.is_empty() {
            section.sec id="waits" {
                header.ph { h2 { "Waits for you" } span.m.push { (view.approvals.len()) } }
                ul.rows {
                    @for row in &view.approvals {
                        li data-row data-copy=(row.approval_id) {
                            (tier(&row.tier))
                            a.cut href={ "/approval/" (query(&row.approval_id)) } title=(t(&row.title)) { (t(&row.title)) }
                            span.lab.push.nw { @if let Some(agent) = &row.agent { (t(agent)) " · " } (ago(row.requested_at_ms, now_ms)) }
                            a.btn.sm href={ "/approval/" (query(&row.approval_id)) } { "Decide" }
                        }
                    }
                }
            }
        }
    }
}

fn bindings(view: &PacketView, now_ms: i64) -> Markup {
    html! {
        section.sec id="bindings" {
            header.ph {
                h2 { "Bindings" }
                @if !is_closed(view) { span.push.row {
                    button.btn.sm type="button" data-toggle="new-ws" aria-controls="new-ws" aria-expanded="false" { "Worktree" }
                    button.btn.sm type="button" data-toggle="start-session" aria-controls="start-session" aria-expanded="false" aria-disabled=[view.workspaces.is_empty().then_some("true")] data-why=[view.workspaces.is_empty().then_some("A session needs a worktree: create one first.")] { "Session" }
                } }
            }
            ul.rows {
                @for ws in &view.workspaces {
                    li data-row data-copy=(ws.workspace_id) {
                        (st_quiet(Pip::of_workspace(ws), &ws.health))
                        (workspace_link(&ws.workspace_id, ws.branch.as_deref().unwrap_or(&ws.name)))
                        (super::components::outside_marks(ws))
                        span.m.push.mut.nw { @match ws.dirty_files { Some(0) => "clean", Some(n) => { "±" (n) }, None => "± ?" } @if let Some(ahead) = ws.ahead { ", " (ahead) " ahead" } }
                        a.btn.sm href={ "/ws/" (query(&ws.workspace_id)) } { "Review" }
                    }
                    @if ws.health_failure.is_some() { li.bare { (broken_note(ws)) } }
                }
                @for session in &view.sessions {
                    li data-row data-copy=(session.session_id) {
                        a.nw href={ "/session/" (query(&session.session_id)) } { b { (t(&session.agent)) } " " span.m.mut { (t(short(&session.session_id))) } }
                        (session_state(session))
                        span.lab.push.nw {
                            @if let Some(mt) = &session.mt_id { (t(mt)) " · " }
                            @if let Some(cost) = &session.cost { (money(cost)) " · " }
                            @if let Some(at) = session.ended_at_ms.or(session.state_since_at_ms) { (ago(at, now_ms)) }
                        }
                    }
                }
            }
            @if view.workspaces.is_empty() && view.sessions.is_empty() {
                p.pad.lab { "No worktree, no session. A worktree is the packet's own copy of the code on its own branch; creating one asks once." }
            }
        }
    }
}

/// Nothing is decided, bound or started on it any more, but by reopening it.
fn is_closed(view: &PacketView) -> bool {
    matches!(view.status.as_str(), "done" | "cancelled")
}

fn readiness(view: &PacketView, now_ms: i64) -> Markup {
    let open = view.readiness.iter().filter(|row| row.status != "done").count();
    html! {
        section.sec id="readiness" {
            header.ph {
                h2 { "Ready to close" }
                span.push { @if view.status == "done" { (st(Pip::Done, "closed")) } @else if open == 0 && view.close_refusal.is_none() { (st(Pip::Done, "yes")) } @else { @if open == 0 { (st(Pip::Queued, "not yet")) } @else { (st(Pip::Queued, &format!("not yet, {open} open"))) } } }
            }
            ul.rows {
                (gate("pre_work", &view.pre_work, is_closed(view), now_ms))
                (gate("post_work", &view.post_work, is_closed(view), now_ms))
                @for row in &view.readiness {
                    li { (st(Pip::of_step(&row.status), &row.name)) span.push.lab.cut { @if let Some(detail) = &row.detail { (t(detail)) } } }
                }
            }
            @if let Some(refusal) = view.close_refusal.as_ref().filter(|_| !is_closed(view)) {
                p.pad.lab id="close-why" { span.m { (t(&refusal.code)) } " " (t(&refusal.message)) @if let Some(hint) = &refusal.hint { ". Next: " (t(hint)) } }
            }
        }
    }
}

fn gate(name: &str, view: &GateView, is_closed: bool, now_ms: i64) -> Markup {
    html! {
        li {
            (st(Pip::of_step(&view.status), name))
            span.push.lab.cut {
                (t(&words(&view.status)))
                @if let Some(by) = &view.validated_by { " by " (t(by)) }
                @if let Some(at) = view.validated_at_ms { ", " (ago(at, now_ms)) }
                @if let Some(reason) = &view.reason { ": " (t(reason)) }
            }
            @if !is_closed { button.btn.sm type="button" data-toggle={ "gate-" (name) } aria-controls={ "gate-" (name) } aria-expanded="false" { "Decide" } }
        }
    }
}

/// Commits and jobs of the packet.
#[must_use]
pub fn history(view: &PacketView, now_ms: i64) -> Markup {
    html! {
        @if !view.commits.is_empty() {
            section.sec {
                header.ph { h2 { "Commits" } span.m.mut { (view.commits.len()) } }
                ul.rows {
                    @for commit in &view.commits {
                        li data-row data-copy=(commit.commit_oid) {
                            span.m title=(t(&commit.commit_oid)) { (t(short(&commit.commit_oid))) }
                            span.cut { (t(&commit.subject)) }
                            @if !commit.governed { (st(Pip::Stale, "ungoverned")) }
                            span.push.lab.nw { @if let Some(job) = &commit.job_id { "job " (super::components::job_link(job)) " · " } (ago(commit.committed_at_ms, now_ms)) }
                        }
                    }
                }
            }
        }
        section.sec {
            header.ph { h2 { "Jobs" } a.link.lab.push href={ "/jobs?wp=" (query(&view.wp_id)) } { "All jobs of " (t(&view.wp_id)) } }
            (job_rows(&view.jobs, now_ms))
        }
    }
}
