//! Jobs: history and inspector.
//!
//! Authority: derived. A failure is shown in words with its next step.

use maud::{Markup, html};

use dcc_api::view::{ApprovalRow, JobRow, JobView, JobsFilter, JobsView, RefView, Shell};

use super::components::basics::bytes;
use super::components::notes::failure_line;
use super::components::path::query;
use super::components::state::words;
use super::components::{Pip, ago, ago_words, approval_line, clock, event_rows, event_slice, job_link, job_rows, not_built, session_link, short, st, wp_link};
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// The history.
#[must_use]
pub fn jobs(shell: &Shell, view: &JobsView, now_ms: i64) -> Markup {
    let body = html! {
        div.head {
            h1 { "Jobs" } @if let Some(total) = view.total { span.lab { (total) } }
            form.row.push.tools.wrap method="get" action="/jobs" role="search" {
                @for (name, value) in kept(&view.filter) { input type="hidden" name=(name) value=(value); }
                label.sr for="j-state" { "State" }
                select.field.fit id="j-state" name="state" data-submit-on-change {
                    option value="" { "any state" }
                    @for state in ["queued", "running", "awaiting_user", "awaiting_validation", "completed", "completed_with_issues", "failed", "cancelled", "stalled", "poisoned"] { option value=(state) selected[view.filter.state.as_deref() == Some(state)] { (words(state)) } }
                }
                label.sr for="j-op" { "Operation" }
                select.field.fit id="j-op" name="op" data-submit-on-change {
                    option value="" { "any operation" }
                    @for op in &view.ops { option value=(op) selected[view.filter.op.as_ref() == Some(op)] { (t(op)) } }
                }
                button.btn.sm type="submit" { "Filter" }
            }
        }
        @if !kept(&view.filter).is_empty() { div.ph { @for (name, value) in kept(&view.filter) { span.chip { (name) " " b { (t(&value)) } } } a.link.lab href="/jobs" { "Clear" } } }
        @if view.items.is_empty() { div.solo.stack { h2.hero { "No job" } p.mut { "Every change is a job. None matches " @if view.filter == JobsFilter::default() { "yet." } @else { "this filter. " a href="/jobs" { "Clear it" } } } } }
        @else { div.scroll.fill { table.tbl.stackable {
            thead { tr { th { "State" } th { "Operation" } th { "What" } th { "Who" } th { "Packet" } th { "Session" } th { "Job" } th.n { "Took" } th.n { "Age" } } }
            tbody { @for row in &view.items { (line(row, now_ms)) } }
        } } }
        @if let Some(cursor) = &view.next_cursor { p.pad { a href=(format!("/jobs?{}cursor={}", address(&view.filter), query(cursor))) { "Older jobs" } } }
    };
    page(shell, Place { rail: "jobs", title: "Jobs", screen: "jobs", ..Place::default() }, now_ms, &body)
}

/// Filters that stand in the address beside state and operation.
fn kept(filter: &JobsFilter) -> Vec<(&'static str, String)> {
    [("wp", &filter.wp_id), ("mt", &filter.mt_id), ("session", &filter.session_id), ("ws", &filter.workspace_id)]
        .into_iter()
        .filter_map(|(name, value)| value.clone().map(|value| (name, value)))
        .collect()
}

fn address(filter: &JobsFilter) -> String {
    let mut all = kept(filter);
    all.extend([("state", &filter.state), ("op", &filter.op)].into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    let mut out = String::new();
    for (name, value) in &all {
        for part in [*name, "=", &query(value), "&"] {
            out.push_str(part);
        }
    }
    out
}

fn line(row: &JobRow, now_ms: i64) -> Markup {
    html! {
        tr id={ "j-" (row.job_id) } data-row data-copy=(row.job_id) {
            td.nw { span.row { (st(Pip::of_job(&row.state), &words(&row.state))) @if let (Some(approval), "awaiting_user") = (&row.approval_id, row.state.as_str()) { " " a.btn.sm href={ "/approval/" (query(approval)) } { "Decide" } } } }
            th scope="row" { a.link.m href={ "/job/" (query(&row.job_id)) } { (t(&row.op)) } }
            td.cut title=(t(&row.summary)) { @if let Some(failure) = &row.failure { (failure_line(failure)) " " span.lab { (t(&row.summary)) } } @else { (t(&row.summary)) } }
            td.nw.lab { (who(row)) }
            td.nw { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } }
            td.nw { @if let Some(session) = &row.session_id { (session_link(session, None)) } }
            td.m.nw.mut title=(t(&row.job_id)) { (t(short(&row.job_id))) @if row.attempt > 1 { " attempt " (row.attempt) } }
            td.n data-label="took" { @if let Some(end) = row.finished_at_ms { (super::components::duration(end - row.created_at_ms)) } }
            td.n data-label="age" { (ago(row.created_at_ms, now_ms)) }
        }
    }
}

/// Who asked: a person by name, an agent by the link to its session.
fn who(row: &JobRow) -> Markup {
    html! {
        @if row.session_id.as_ref() == Some(&row.actor_id) { "session " (session_link(&row.actor_id, None)) }
        @else { span title=(t(&row.actor_id)) { (t(short(&row.actor_id))) } }
    }
}

/// One job, opened.
#[must_use]
pub fn job_page(shell: &Shell, view: &JobView, now_ms: i64) -> Markup {
    let row = &view.job;
    let body = html! {
        div.head data-copy=(row.job_id) {
            h1.cut { span.m { (t(&row.op)) } } span.m.mut title=(t(&row.job_id)) { (t(short(&row.job_id))) }
            (st(Pip::of_job(&row.state), &words(&row.state)))
            span.lab { (ago_words(row.created_at_ms, now_ms)) ", by " (who(row)) }
            div.row.push.tools {
                (event_slice("job", &row.job_id))
                @if view.cancellable { button.btn.sm.no type="button" data-cancel-job=(row.job_id) { "Cancel job" } }
                @if let (Some(approval), "awaiting_user") = (&row.approval_id, row.state.as_str()) { a.btn.sm.go href={ "/approval/" (query(approval)) } { "Decide" } }
            }
        }
        @if let Some(failure) = &row.failure { (super::components::failure_note(failure)) }
        @if let Some(next) = &view.next_step { div.note { b { "Next step" } span { (t(next)) } } }
        div.cols.c-packet {
            div.scroll { (plan(view)) (output(view)) (record(view)) (family(view, now_ms)) (not_built(&[("Retry", "Ask for the operation again; its lineage is shown by the parent link.")])) }
            aside.scroll aria-label="Bindings and events" { (summary(view, now_ms)) (phases(view)) (gates(view)) (asked(&view.approvals, now_ms)) (events(view)) }
        }
    };
    let crumbs = [("/jobs", "Jobs")];
    let title = format!("{} {}", row.op, short(&row.job_id));
    page(shell, Place { rail: "jobs", title: &title, crumbs: &crumbs, screen: "job" }, now_ms, &body)
}

fn summary(view: &JobView, now_ms: i64) -> Markup {
    let row = &view.job;
    html! {
        section.sec {
            header.ph { h2 { "Summary" } }
            dl.kv.pad {
                @if let Some(wp) = &row.wp_id { dt { "Packet" } dd { (wp_link(wp, row.mt_id.as_deref())) } }
                @if let Some(session) = &row.session_id { dt { "Session" } dd { (session_link(session, None)) } }
                @if let Some(ws) = &row.workspace_id { dt { "Workspace" } dd { a.link.m href={ "/ws/" (query(ws)) } { (t(short(ws))) } } }
                @if let Some(parent) = &row.parent_job_id { dt { "Parent" } dd { (job_link(parent)) } }
                dt { "Asked" } dd { (clock(row.created_at_ms)) @if let Some(end) = row.finished_at_ms { ", took " (super::components::duration(end - row.created_at_ms)) } @else { ", changed " (ago_words(row.updated_at_ms, now_ms)) } }
                @for (name, value) in &view.results { dt { (t(&words(name))) } dd.m.wrap-any { (t(value)) } }
                @if let Some(digest) = &view.plan_digest { dt { "Plan" } dd.m.wrap-any { (t(digest)) } }
                @if let Some(key) = &view.idempotency_key { dt { "Idempotency" } dd.m.wrap-any { (t(key)) } }
                dt { "Job" } dd.m.wrap-any { (t(&row.job_id)) }
            }
        }
    }
}

fn phases(view: &JobView) -> Markup {
    html! {
        section.sec { header.ph { h2 { "Phases" } }
            ol.rows.dense { @for phase in &view.phases { li { (st(Pip::of_step(&phase.status), &phase.phase)) span.lab.cut { @if let Some(detail) = &phase.detail { (t(detail)) } } span.push.m.mut { @if let Some(at) = phase.at_ms { (clock(at)) } } } } }
        }
    }
}

fn gates(view: &JobView) -> Markup {
    html! {
        @if !view.gates.is_empty() {
            section.sec { header.ph { h2 { "Gates" } }
                ol.rows.dense { @for gate in &view.gates { li { (st(Pip::of_step(&gate.decision), &gate.decision)) span { (t(&gate.gate)) } span.lab.cut { @if let Some(reason) = &gate.reason { (t(reason)) } } span.push.m.mut { @if let Some(at) = gate.decided_at_ms { (clock(at)) } } } } }
            }
        }
    }
}

fn asked(approvals: &[ApprovalRow], now_ms: i64) -> Markup {
    html! {
        @if !approvals.is_empty() {
            section.sec { header.ph { h2 { "Approval" } } ol { @for row in approvals { (approval_line(row, &format!("/approval/{}", query(&row.approval_id)), false, now_ms)) } } }
        }
    }
}

fn events(view: &JobView) -> Markup {
    html! { section.sec { header.ph { h2 { "Events" } span.push { (event_slice("job", &view.job.job_id)) } } (event_rows(&view.events)) } }
}

fn plan(view: &JobView) -> Markup {
    html! {
        section.sec {
            header.ph { h2 { "Plan and preview" } }
            p.pad { (t(&view.job.summary)) }
            @if !view.plan.is_empty() { dl.kv.pad { @for fact in view.plan.iter().filter(|fact| fact.name != "what" || fact.value != view.job.summary) { dt { (t(&fact.name)) } dd.m.lines { (SafeText::block(&fact.value)) } } } }
            details.pad id="params" { summary.row.lab { (super::components::icon("right")) "Parameters as sent" } pre.code { (SafeText::block(&view.params_json)) } }
        }
    }
}

fn output(view: &JobView) -> Markup {
    html! {
        @if let Some(output) = &view.output {
            section.sec {
                header.ph { h2 { "Output" } @if let Some(exit) = output.exit_code { span.m.st-failed[exit != 0] { "exit " (exit) } } @if output.truncated { span.lab.push { "shortened" } } }
                pre.code.bare tabindex="0" aria-label="Captured output" { (SafeText::block(&output.text)) }
                @if let Some(hash) = &output.sha256 { p.pad.lab { "whole output " a.link.m href={ "/api/v1/artifacts/" (query(hash)) } data-plain { (t(short(hash))) } } }
            }
        }
    }
}

fn record(view: &JobView) -> Markup {
    html! {
        section.sec {
            header.ph { h2 { "Inputs and outputs" } span.lab { "by hash" } }
            (refs("in", &view.inputs)) (refs("out", &view.outputs))
            @if view.inputs.is_empty() && view.outputs.is_empty() { p.pad.lab { "None kept." } }
        }
        section.sec {
            header.ph { h2 { "Attempts" } }
            ul.rows.dense { @for attempt in &view.attempts { li { span.m.mut { (attempt.attempt) } (st(Pip::of_job(&attempt.state), &words(&attempt.state))) span.lab.cut { @if let Some(failure) = &attempt.failure { (failure_line(failure)) } } span.push.m.mut { (clock(attempt.started_at_ms)) } } } }
        }
    }
}

fn refs(word: &str, items: &[RefView]) -> Markup {
    html! { @if !items.is_empty() { ul.rows.dense { @for item in items { li { span.lab { (word) } span.cut { (t(&item.name)) } span.push { a.link.m href={ "/api/v1/artifacts/" (query(&item.sha256)) } data-plain title=(t(&item.sha256)) { (t(short(&item.sha256))) } @if let Some(size) = item.bytes { " " span.lab { (bytes(size)) } } } } } } } }
}

fn family(view: &JobView, now_ms: i64) -> Markup {
    html! { @if !view.children.is_empty() { section.sec { header.ph { h2 { "Jobs it started" } } (job_rows(&view.children, now_ms)) } } }
}
