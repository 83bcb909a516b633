//! One work packet: is it done, and on which proof; everything bound to it.
//!
//! Authority: derived. Advice and claims are drawn apart from what Locus holds.

use maud::{Markup, html};

use dcc_api::view::{EvidenceView, MtRow, PacketView, Shell};
use serde_json::json;

use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::words;
use super::components::{Pip, ago, bind, icon, job_link, not_built, op_button, params, segs, short, st, st_quiet, until, why_not};
use super::packet_drift as drift;
use super::packet_forms as forms;
use super::packet_side as side;
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// The packet.
#[must_use]
pub fn packet(shell: &Shell, view: &PacketView, now_ms: i64) -> Markup {
    let body = html! {
        (head(view, now_ms))
        (forms::panels(shell, view))
        div.cols.c-packet {
            div.scroll {
                (drift::sections(view))
                (micro_tasks(view, now_ms))
                (acceptance(view))
                @if let Some(description) = &view.description {
                    section.sec { header.ph { h2 { "Description" } } pre.prose.pad { (SafeText::block(description)) } }
                }
                (notes(view, now_ms))
                (side::history(view, now_ms))
                (scope(view))
                (not_built(&[
                    ("Handoffs", "Close a session with a handoff; the list of handoffs comes later."),
                    ("Request review", "Open the worktree and review it yourself."),
                    ("Budgets and cost per packet", "Tokens and cost stand on each session."),
                    ("Objective anchors", "Nothing yet."),
                ]))
            }
            aside.scroll aria-label="Bindings and readiness" { (side::aside(view, now_ms)) }
        }
    };
    let crumbs = [("/board", "Board")];
    page(shell, Place { rail: "board", title: &view.wp_id, crumbs: &crumbs, screen: "packet" }, now_ms, &body)
}

fn head(view: &PacketView, now_ms: i64) -> Markup {
    let pip = if view.approvals.is_empty() { Pip::of_wp(&view.status) } else { Pip::Needs };
    html! {
        div.head data-copy=(view.wp_id) {
            span.m.mut { (t(&view.wp_id)) }
            h1.cut title=(t(&view.title)) { (t(&view.title)) }
            (st(pip, &words(&view.status)))
            @if let Some(why) = &view.why { span.lab.cut title=(t(why)) { (t(why)) @if let Some(at) = view.why_since_at_ms { ", " (ago(at, now_ms)) } } }
            div.row.push.tools id="lead" { (lead(view)) }
        }
    }
}

/// The one next step as the ink button, the rest behind More.
fn lead(view: &PacketView) -> Markup {
    let ids = bind(&[("wp_id", &view.wp_id)]);
    let ready = params(&[("set", json!({"status": "ready"}))]);
    let button = |op, label, key, why: &Option<String>| {
        op_button(OpButton { op, label, key, class: "btn sm go", bind: &ids, then: Some("reload"), why_not: why.as_deref(), ..OpButton::default() })
    };
    html! {
        @match view.status.as_str() {
            _ if !view.approvals.is_empty() => a.btn.sm.go href={ "/approval/" (query(&view.approvals[0].approval_id)) } { "Decide: " span.cut { (t(&view.approvals[0].title)) } },
            "stub" => (op_button(OpButton { op: "locus.update_wp", label: "Make ready", class: "btn sm go", bind: &ids, params: &ready, then: Some("reload"), why_not: why_not(&view.actions, "locus.update_wp").as_deref(), ..OpButton::default() })),
            "ready" if view.pre_work.status == "pending" => button.btn.sm.go type="button" data-toggle="gate-pre_work" aria-controls="gate-pre_work" aria-expanded="false" { "Decide pre_work gate" },
            "ready" => (button("locus.start_wp", "Start", None, &why_not(&view.actions, "locus.start_wp"))),
            "in_progress" if view.workspaces.is_empty() => button.btn.sm.go type="button" data-toggle="new-ws" data-key="o" aria-controls="new-ws" aria-expanded="false" { "Create worktree " kbd { "o" } },
            "in_progress" if view.workspaces.iter().any(|ws| ws.repair.is_some()) => @if let Some(ws) = view.workspaces.iter().find(|ws| ws.repair.is_some()) { a.btn.sm.go href={ "/ws/" (query(&ws.workspace_id)) } data-key="o" { "Repair the worktree " kbd { "o" } } },
            "in_progress" if view.close_refusal.is_none() => (button("locus.close_wp", "Close packet", None, &why_not(&view.actions, "locus.close_wp"))),
            "in_progress" if waits_for_review(view).is_some() => @if let Some((id, files)) = waits_for_review(view) { a.btn.sm.go href={ "/ws/" (query(id)) } data-key="o" { "Review " (files) @if files == 1 { " file " } @else { " files " } kbd { "o" } } },
            "in_progress" => button.btn.sm.go type="button" data-toggle="start-session" data-key="s" aria-controls="start-session" aria-expanded="false" { "Start session " kbd { "s" } },
            "blocked" => button.btn.sm.go type="button" data-toggle="wp-unblock" aria-controls="wp-unblock" aria-expanded="false" { "Unblock" },
            "gated" => button.btn.sm.go type="button" data-toggle="wp-release" aria-controls="wp-release" aria-expanded="false" { "Release hold" },
            _ => button.btn.sm type="button" data-toggle="wp-reopen" aria-controls="wp-reopen" aria-expanded="false" { "Reopen" },
        }
        (forms::more_menu(view))
    }
}

/// The worktree with changes that nobody works on now, and how many files they are.
fn waits_for_review(view: &PacketView) -> Option<(&str, i64)> {
    let working = view.sessions.iter().any(|session| matches!(session.state.as_str(), "CREATED" | "ACTIVE"));
    let changed = view.workspaces.iter().find_map(|ws| ws.dirty_files.filter(|n| *n > 0).map(|n| (ws.workspace_id.as_str(), n)));
    changed.filter(|_| !working)
}

fn micro_tasks(view: &PacketView, now_ms: i64) -> Markup {
    let statuses: Vec<String> = view.micro_tasks.iter().map(|mt| mt.status.clone()).collect();
    html! {
        section.sec id="mts" {
            header.ph {
                h2 { "Micro-tasks" } span.row { (segs(&statuses)) }
                button.btn.sm.push type="button" data-toggle="add-mts" aria-controls="add-mts" aria-expanded="false" { (icon("plus")) " Add" }
            }
            @if view.micro_tasks.is_empty() {
                p.pad.mut { "No micro-tasks yet. A micro-task is one step with its own finish line; it is done only with evidence: a finished job, or your own statement marked as such." }
            } @else {
                table.tbl.stackable {
                    thead { tr { th { "Id" } th { "Name" } th { "State" } th { "Proof" } th.n { "Tries" } th { "Agent" } th { span.sr { "Act" } } } }
                    tbody { @for mt in &view.micro_tasks { (mt_row(view, mt, now_ms)) } }
                }
            }
        }
    }
}

fn mt_row(view: &PacketView, mt: &MtRow, now_ms: i64) -> Markup {
    html! {
        tr id=(mt.mt_id) data-row data-copy=(mt.mt_id) {
            th.m scope="row" { a href={ "#mt-" (mt.mt_id) } data-toggle={ "mt-" (mt.mt_id) } aria-expanded="false" aria-controls={ "mt-" (mt.mt_id) } { (t(&mt.mt_id)) } }
            td.nm title=(t(&mt.name)) { (t(&mt.name)) }
            td.nw { (st(Pip::of_step(&mt.status), &words(&mt.status))) }
            td.lab.proof { @if let Some(evidence) = &mt.evidence { (proof(evidence, Some(now_ms))) } @else if let Some(waits) = &mt.waits { (t(waits)) } @else if !mt.depends_on.is_empty() { "depends on " (t(&mt.depends_on.join(", "))) } }
            td.n data-label=[(mt.iterations > 0).then_some("tries")] { @if mt.iterations > 0 { (mt.iterations) } @else { span.wide-only { "–" } } }
            td.m.nw.mut data-label=[mt.agent.as_ref().map(|_| "agent")] { @if let Some(agent) = &mt.agent { (t(agent)) } }
            td.nw { (mt_act(view, mt)) }
        }
        tr.more-row id={ "mt-" (mt.mt_id) } hidden data-panel { td colspan="7" { (forms::mt_panel(view, mt)) } }
    }
}

fn mt_act(view: &PacketView, mt: &MtRow) -> Markup {
    let ids = bind(&[("wp_id", &view.wp_id), ("mt_id", &mt.mt_id)]);
    html! {
        @match mt.status.as_str() {
            "pending" | "failed" | "blocked" => (op_button(OpButton { op: "locus.start_mt", label: "Start", class: "btn sm", bind: &ids, then: Some("reload"), why_not: why_not(&view.actions, &format!("locus.start_mt:{}", mt.mt_id)).as_deref(), ..OpButton::default() })),
            "in_progress" => button.btn.sm type="button" data-toggle={ "mt-" (mt.mt_id) } aria-controls={ "mt-" (mt.mt_id) } aria-expanded="false" data-key="d" { "Mark done " kbd { "d" } },
            _ => button.btn.flat.sm type="button" data-toggle={ "mt-" (mt.mt_id) } aria-controls={ "mt-" (mt.mt_id) } aria-expanded="false" { "Open" },
        }
    }
}

/// A proof, always in this order: command, exit, tests, commit, age. Zero tests is red.
#[must_use]
pub fn proof(evidence: &EvidenceView, now_ms: Option<i64>) -> Markup {
    html! {
        @if let Some(statement) = &evidence.statement { span.claim { "statement: " (t(statement)) } }
        @if let Some(command) = &evidence.command {
            @if let Some(job) = &evidence.job_id { a.link.m href={ "/job/" (query(job)) } { (t(command)) } } @else { span.m { (t(command)) } } " "
        }
        @if let Some(exit) = evidence.exit_code { span.st-failed[exit != 0] { "exit " (exit) } }
        @if let Some(tests) = evidence.tests_run { " · " b.st-failed[tests == 0] { (tests) " tests" } }
        @if let Some(oid) = &evidence.commit_oid { " · " span.m title=(t(oid)) { (t(short(oid))) } }
        @if let (Some(job), None) = (&evidence.job_id, &evidence.command) { "job " (job_link(job)) }
        @if let (Some(at), Some(now_ms)) = (evidence.recorded_at_ms, now_ms) { " · " (ago(at, now_ms)) }
    }
}

fn acceptance(view: &PacketView) -> Markup {
    let met = view.acceptance_criteria.iter().filter(|criterion| criterion.status == "met").count();
    html! {
        section.sec {
            header.ph { h2 { "Acceptance" } span.push.lab { span.m { (met) "/" (view.acceptance_criteria.len()) } " met" } }
            ul.rows {
                @for criterion in &view.acceptance_criteria {
                    li {
                        (st_quiet(Pip::of_step(&criterion.status), &criterion.status))
                        span { (t(&criterion.text)) }
                        @if let Some(proof) = &criterion.proof { span.lab.push.nw { (t(proof)) } }
                    }
                }
            }
            @if view.acceptance_criteria.is_empty() { p.pad.mut { "No acceptance criterion. One is needed before the packet can be ready. Add it under More, Edit." } }
        }
    }
}

fn notes(view: &PacketView, now_ms: i64) -> Markup {
    html! {
        section.sec id="notes" {
            header.ph { h2 { "Notes" } span.lab { "append-only" } button.btn.sm.push type="button" data-toggle="add-note" data-key="a" aria-controls="add-note" aria-expanded="false" { "Add note " kbd { "a" } } }
            (forms::note_form(view))
            ul.rows {
                @for note in &view.notes {
                    li.top-align {
                        span.m.mut { (until(note.written_at_ms, now_ms)) }
                        b { (t(&note.author)) }
                        @if note.note_type != "user" { span.lab { (t(&words(&note.note_type))) } }
                        span.prose.claim[note.author_kind == "agent"] { (SafeText::block(&note.body)) }
                    }
                }
            }
            @if view.notes.is_empty() { p.pad.lab { "No note yet." } }
        }
    }
}

fn scope(view: &PacketView) -> Markup {
    html! {
        section.sec {
            header.ph { h2 { "Scope and links" } button.btn.sm.push type="button" data-toggle="add-dep" aria-controls="add-dep" aria-expanded="false" { "Add link" } }
            (forms::dependency_form(view))
            dl.kv.pad {
                dt { "May change" }
                dd.m { @if view.in_scope_paths.is_empty() { "the whole repository" } @else { @for glob in &view.in_scope_paths { span.wrap-any { (t(glob)) } " " } } }
                @for edge in &view.dependencies {
                    dt { (t(&words(&edge.kind))) }
                    dd.row {
                        a.link.m href={ "/wp/" (query(&edge.wp.wp_id)) } { (t(&edge.wp.wp_id)) } span.cut { (t(&edge.wp.title)) } (st(Pip::of_wp(&edge.wp.status), &words(&edge.wp.status)))
                        (op_button(OpButton { op: "locus.remove_dependency", label: "Remove", class: "btn flat sm", bind: &bind(&[("wp_id", &view.wp_id)]), params: &params(&[("kind", json!(edge.kind)), ("to_wp_id", json!(edge.wp.wp_id))]), then: Some("reload"), ..OpButton::default() }))
                    }
                }
                dt { "Type, priority" } dd { (t(&view.wp_type)) ", " (view.priority) }
                dt { "Routing" } dd.m { (t(&view.routing)) }
                @if !view.labels.is_empty() { dt { "Labels" } dd { (t(&view.labels.join(", "))) } }
                @if let Some(assignee) = &view.assignee { dt { "Assignee" } dd { (t(assignee)) } }
                dt { "Version" } dd.m { (view.version) }
            }
        }
    }
}
