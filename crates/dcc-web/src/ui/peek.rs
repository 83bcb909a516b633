//! Peek: the short form of an object, shown beside the list it stands in. What waits for a decision is decided there.
//!
//! Authority: derived. Invariants: one column of 420 px; ids of its own (`peek-…`), so that it never meets the page's; no
//! control but links, the way out and the decision.

use maud::{DOCTYPE, Markup, html};

use dcc_api::door::Page;
use dcc_api::view::{ApprovalCard, EventView, FileRow, JobView, PacketView, ReviewView, SessionView, TurnItem};

use super::components::diff::kind_letter;
use super::components::path::query;
use super::components::state::{session_state, words};
use super::components::{Pip, ago, approval_card, clock_full, event_rows, failure_note, icon, path_cell, pm, segs, session_link, short, st, st_quiet, thousands, wp_link};
use super::packet::proof;
use super::workspaces::health;
use crate::safe_text::{SafeText, t};

/// Rows of one list; the page holds the rest.
const ROWS: usize = 12;

/// The short form of a page; `card` is the oldest request that waits on it.
#[must_use]
pub fn peek(page: &Page, card: Option<&ApprovalCard>, now_ms: i64) -> Markup {
    html! {
        (DOCTYPE)
        title { "Peek" }
        div.peek-body id="peek-body" {
            @match page {
                Page::Packet(view) => (packet(view, card, now_ms)),
                Page::Session(view) => (session(view, now_ms)),
                Page::Review(view) => (workspace(view, now_ms)),
                Page::Job(view) => (job(view, now_ms)),
                Page::Event(view) => (event(view)),
                Page::Approval(view) => { (head(&format!("/approval/{}", view.approval.approval_id), &html! { (st(Pip::of_approval(&view.approval.status), &words(&view.approval.status))) }, "Request")) (approval_card(view, now_ms)) },
                _ => { (head("", &html! {}, "Nothing to look into here")) },
            }
        }
    }
}

fn head(href: &str, state: &Markup, title: &str) -> Markup {
    html! {
        header.peek-head {
            div.row {
                (state)
                span.row.push {
                    @if !href.is_empty() { a.btn.sm href=(href) { "Open " kbd { "Enter" } } }
                    button.btn.flat.sm.ico type="button" data-peek-close aria-label="Close the peek" title="Esc" { (icon("s-failed")) }
                }
            }
            h2.two { (t(title)) }
        }
    }
}

fn packet(view: &PacketView, card: Option<&ApprovalCard>, now_ms: i64) -> Markup {
    let pip = if view.approvals.is_empty() { Pip::of_wp(&view.status) } else { Pip::Needs };
    let statuses: Vec<String> = view.micro_tasks.iter().map(|mt| mt.status.clone()).collect();
    html! {
        (head(&format!("/wp/{}", query(&view.wp_id)), &html! { (st(pip, &words(&view.status))) span.m.mut { (t(&view.wp_id)) } }, &view.title))
        @if let Some(why) = view.why.as_ref().filter(|_| card.is_none()) { p.pad.lab { (t(why)) } }
        @if let Some(card) = card { (approval_card(card, now_ms)) }
        @if let Some(description) = &view.description { p.pad.prose { (SafeText::block(description)) } }
        @if !view.micro_tasks.is_empty() {
            section.sec { header.ph { h3 { "Micro-tasks" } span.row { (segs(&statuses)) } }
                ul.rows { @for mt in view.micro_tasks.iter().take(ROWS) {
                    li { (st_quiet(Pip::of_step(&mt.status), &words(&mt.status))) span.cut title=(t(&mt.name)) { (t(&mt.name)) } span.push.lab.cut { @if let Some(evidence) = &mt.evidence { (proof(evidence, None)) } @else { (words(&mt.status)) } } }
                } }
            }
        }
        section.sec { header.ph { h3 { "Acceptance" } }
            ul.rows { @for criterion in view.acceptance_criteria.iter().take(ROWS) { li { (st_quiet(Pip::of_step(&criterion.status), &criterion.status)) span { (t(&criterion.text)) } } } }
            @if view.acceptance_criteria.is_empty() { p.pad.lab { "None yet: one is needed before it can be ready." } }
        }
        @if !view.workspaces.is_empty() || !view.sessions.is_empty() {
            section.sec { header.ph { h3 { "At work" } }
                ul.rows {
                    @for ws in view.workspaces.iter().take(ROWS) { li { (icon("branch")) a.link.m.cut href={ "/ws/" (query(&ws.workspace_id)) } { (t(ws.branch.as_deref().unwrap_or(&ws.name))) } span.push.m.mut.nw { @match ws.dirty_files { Some(0) => "clean", Some(n) => { "±" (n) }, None => "± ?" } } } }
                    @for one in view.sessions.iter().take(ROWS) { li { span.nw { (session_link(&one.session_id, Some(&one.agent))) } (session_state(one)) } }
                }
            }
        }
        (facts(&[("Type, priority", html! { (t(&view.wp_type)) ", " (view.priority) }), ("May change", html! { @if view.in_scope_paths.is_empty() { "the whole repository" } @else { span.m { (t(&view.in_scope_paths.join(" "))) } } })]))
        @if !view.events.is_empty() { section.sec { header.ph { h3 { "Last events" } } (event_rows(&view.events[..view.events.len().min(6)])) } }
    }
}

fn facts(pairs: &[(&str, Markup)]) -> Markup {
    html! { dl.kv.pad { @for (name, value) in pairs { dt { (name) } dd.wrap-any { (value) } } } }
}

fn session(view: &SessionView, now_ms: i64) -> Markup {
    let row = &view.session;
    let last = view.turns.iter().rev().filter(|turn| turn.who == "agent").flat_map(|turn| turn.items.iter().rev()).find_map(|item| if let TurnItem::Text { text } = item { Some(text) } else { None });
    html! {
        (head(&format!("/session/{}", query(&row.session_id)), &html! { (session_state(row)) }, &format!("{} {}", row.agent, short(&row.session_id))))
        @if let Some(card) = view.held.first() { (approval_card(card, now_ms)) }
        @if let Some(failure) = &view.failure { (failure_note(failure)) }
        (facts(&[
            ("Packet", html! { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } @else { "none" } }),
            ("Worktree", html! { @if let (Some(ws), Some(branch)) = (&row.workspace_id, &row.branch) { a.link.m href={ "/ws/" (query(ws)) } { (t(branch)) } } @else { "none" } }),
            ("Sandbox", html! { (t(&row.sandbox_posture)) }),
            ("Calls", html! { (row.tool_calls) ", last activity " @if let Some(at) = row.last_activity_at_ms { (ago(at, now_ms)) " ago" } @else { "none" } }),
        ]))
        @if let Some(text) = last { section.sec { header.ph { h3 { "Last words" } span.lab { "of the agent" } } p.pad.claim-box { span.claim.prose { (SafeText::block(&cut(text, 600))) } } } }
        @if !view.plan.is_empty() { section.sec { header.ph { h3 { "Plan" } } ol.rows { @for entry in view.plan.iter().take(ROWS) { li { (st_quiet(Pip::of_step(&entry.status), &words(&entry.status))) span.cut { (t(&entry.text)) } } } } } }
        (files("Changes", &view.changes))
    }
}

fn files(title: &str, rows: &[FileRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            section.sec { header.ph { h3 { (title) } span.m.mut.push { (rows.len()) } }
                ul.rows.dense { @for file in rows.iter().take(ROWS) { li { span.m.mut title=(t(&file.kind)) { (kind_letter(&file.kind)) } (path_cell(&file.path)) span.push { (pm(file.additions, file.deletions)) } } } }
                @if rows.len() > ROWS { p.pad.lab { (rows.len() - ROWS) " more." } }
            }
        }
    }
}

fn workspace(view: &ReviewView, now_ms: i64) -> Markup {
    let ws = &view.workspace;
    html! {
        (head(&format!("/ws/{}", query(&ws.workspace_id)), &html! { (health(ws)) }, ws.branch.as_deref().unwrap_or(&ws.name)))
        @if let Some(failure) = &view.failure { (failure_note(failure)) }
        (facts(&[
            ("Packet", html! { @if let Some(wp) = &view.wp { (wp_link(&wp.wp_id, view.mt_id.as_deref())) " " (t(&wp.title)) } @else { "none" } }),
            ("Path", html! { span.m { (t(&ws.path)) } }),
            ("Base", html! { @if let Some(base) = &ws.base_branch { span.m { (t(base)) } } @if let (Some(ahead), Some(behind)) = (ws.ahead, ws.behind) { ", " (ahead) " ahead, " (behind) " behind" } }),
            ("Last commit", html! { @if let Some(commit) = &ws.last_commit { span.m { (t(short(&commit.commit_oid))) } " " (t(&commit.subject)) ", " (ago(commit.committed_at_ms, now_ms)) } @else { "unknown" } }),
        ]))
        @if view.files.is_empty() && ws.dirty_files == Some(0) { p.pad { (st(Pip::Done, "clean")) } }
        (files("Uncommitted", &view.files))
    }
}

fn job(view: &JobView, now_ms: i64) -> Markup {
    let row = &view.job;
    html! {
        (head(&format!("/job/{}", query(&row.job_id)), &html! { (st(Pip::of_job(&row.state), &words(&row.state))) span.m.mut { (t(short(&row.job_id))) } }, &row.op))
        @if let Some(failure) = &row.failure { (failure_note(failure)) }
        @if let Some(next) = &view.next_step { p.pad { b { "Next step " } (t(next)) } }
        (facts(&[
            ("What", html! { (t(&row.summary)) }),
            ("Packet", html! { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } @else { "none" } }),
            ("Asked", html! { (ago(row.created_at_ms, now_ms)) " ago" }),
        ]))
        section.sec { header.ph { h3 { "Phases" } } ol.rows.dense { @for phase in &view.phases { li { (st(Pip::of_step(&phase.status), &phase.phase)) span.push.lab.cut { @if let Some(detail) = &phase.detail { (t(detail)) } } } } } }
        @if let Some(output) = &view.output { section.sec { header.ph { h3 { "Output" } } pre.code.bare tabindex="0" aria-label="Captured output" { (SafeText::block(&cut(&output.text, 2_000))) } } }
    }
}

fn event(view: &EventView) -> Markup {
    let row = &view.event;
    html! {
        (head(&format!("/event/{}", query(&row.event_id)), &html! { span.m.mut { (t(&row.code)) } }, &row.what))
        (facts(&[("Seq", html! { (thousands(row.seq)) }), ("Time", html! { (clock_full(row.recorded_at_ms)) }), ("Actor", html! { (t(short(&row.actor_id))) })]))
        @if let Some(note) = &view.payload_note { p.pad.mut { (t(note)) } }
        @if let Some(payload) = &view.payload_json { pre.code.bare tabindex="0" aria-label="Payload" { (SafeText::block(&cut(payload, 4_000))) } }
    }
}

/// The first characters of a text, marked where it was cut.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
