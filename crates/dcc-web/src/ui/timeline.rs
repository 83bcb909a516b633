//! Timeline: the Flight Recorder as lanes and as a list; one event with its neighbours.
//!
//! Authority: derived. The graphic's accessible equal is the table under it.

use maud::{Markup, html};

use dcc_api::view::{EventRow, EventView, Shell, TimelineFilter, TimelineLane, TimelineView};
use dcc_core::event::EventCode;

use super::components::path::query;
use super::components::rows::code_short;
use super::components::{Pip, ago_words, clock_full, event_rows, job_link, not_built, observed, session_link, short, st, thousands, wp_link};
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// The timeline.
#[must_use]
pub fn timeline(shell: &Shell, view: &TimelineView, now_ms: i64) -> Markup {
    let lanes = view.layout == "lanes" && !view.lanes.is_empty();
    let body = html! {
        (head(view, lanes, now_ms))
        @if let Some(broken) = &view.broken { div.note.bad role="alert" { (st(Pip::Failed, "chain broken")) span { "First bad seq " b.m { (thousands(broken.seq)) } ". " (t(&broken.message)) } } }
        (filters(view))
        @if lanes { (graphic(view, now_ms)) }
        @if view.items.is_empty() { (empty(view)) } @else { div.scroll.fill { (table(&view.items, None)) @if let Some(cursor) = &view.next_cursor { p.pad { a href=(address(&view.filter, None, &[("cursor", cursor), ("layout", &view.layout)])) { "Older events" } } } } }
        (not_built(&[("Pin and export of a slice", "dcc recorder export writes the log; the address of this page is the slice."), ("Zoom and pan of lanes", "Filter by packet or session instead."), ("Cost overlay", "Cost stands on each session.")]))
    };
    page(shell, Place { rail: "timeline", title: "Timeline", screen: "timeline", ..Place::default() }, now_ms, &body)
}

fn pairs(filter: &TimelineFilter) -> Vec<(&'static str, &str)> {
    [("wp", &filter.wp), ("mt", &filter.mt), ("session", &filter.session), ("ws", &filter.ws), ("job", &filter.job), ("approval", &filter.approval), ("code", &filter.code), ("q", &filter.q)]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().filter(|value| !value.is_empty()).map(|value| (name, value)))
        .collect()
}

fn address(filter: &TimelineFilter, without: Option<&str>, more: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs(filter)
        .into_iter()
        .filter(|(name, _)| Some(*name) != without)
        .chain(more.iter().copied().filter(|(_, value)| !value.is_empty()))
        .map(|(name, value)| format!("{name}={}", query(value)))
        .collect();
    if parts.is_empty() { "/timeline".to_owned() } else { format!("/timeline?{}", parts.join("&")) }
}

fn head(view: &TimelineView, lanes: bool, now_ms: i64) -> Markup {
    html! {
        div.head {
            h1 { "Timeline" }
            @match view.verified_seq {
                Some(seq) => { (st(Pip::Done, &format!("chain verified to seq {}", thousands(seq)))) @if let Some(at) = view.verified_at_ms { span.lab { (ago_words(at, now_ms)) } } },
                None => (st(Pip::Stale, "not verified yet")),
            }
            div.row.push.tools {
                div.seg role="group" aria-label="View" {
                    a href=(address(&view.filter, None, &[("layout", "lanes")])) aria-current=[lanes.then_some("true")] { "Lanes" }
                    a href=(address(&view.filter, None, &[])) aria-current=[(!lanes).then_some("true")] { "List" }
                }
            }
        }
    }
}

fn filters(view: &TimelineView) -> Markup {
    html! {
        form.ph.wrap method="get" action="/timeline" role="search" {
            label.sr for="tq" { "Text" }
            input.field.m.tq id="tq" name="q" value=[view.filter.q.as_ref().map(|q| t(q))] placeholder="text in the event" data-key="f" autocomplete="off";
            label.sr for="tc" { "Code" }
            input.field.m.fit id="tc" name="code" value=[view.filter.code.as_ref().map(|code| t(code))] placeholder="code, e.g. FR-EVT-APPR" autocomplete="off" size="22";
            @for (name, value) in pairs(&view.filter).into_iter().filter(|(name, _)| !matches!(*name, "q" | "code")) {
                input type="hidden" name=(name) value=(value);
                a.chip href=(address(&view.filter, Some(name), &[])) aria-label={ "Remove filter " (name) " " (t(value)) } title=(t(value)) { (name) " " b { (t(short(value))) } " ×" }
            }
            @if view.layout == "lanes" { input type="hidden" name="layout" value="lanes"; }
            button.btn.sm type="submit" { "Filter" }
            @if !pairs(&view.filter).is_empty() { a.link.lab href="/timeline" { "Clear" } }
            span.push.lab { @if let Some(total) = view.total { (thousands(total)) " events" } @else { (view.items.len()) " shown" } }
        }
    }
}

fn outcome(event: &EventRow) -> Markup {
    html! { @if let Some(word) = &event.outcome { (st(Pip::of_step(word), word)) } }
}

fn table(items: &[EventRow], focus: Option<&str>) -> Markup {
    html! {
        table.tbl.tight.stackable {
            thead { tr { th { "Seq" } th { "Time" } th { "Code" } th { "Outcome" } th { "What" } th { "Actor" } th { "Linked to" } } }
            tbody {
                @for run in runs(items, focus.is_none()) {
                    @if run.len() > 1 { (folded(run)) }
                    @for event in run.iter().filter(|_| run.len() == 1) { tr id={ "e-" (event.seq) } .on-row[focus == Some(&event.event_id)] data-row data-copy=(event.event_id) {
                        th.m.mut scope="row" { a href={ "/event/" (query(&event.event_id)) } { (thousands(event.seq)) } }
                        td.m.nw { (clock_full(event.recorded_at_ms)) }
                        td.m.nw.mut title=(t(&event.code)) { (t(code_short(&event.code))) }
                        td.nw { (outcome(event)) }
                        td.cut title=(t(&event.what)) { (t(&event.what)) @if let Some(how) = &event.observed { " " (observed(how)) } }
                        td.nw.lab { (t(short(&event.actor_id))) }
                        td.nw.links { (linked(event)) }
                    } }
                }
            }
        }
    }
}

/// Events of one sort side by side: gates that passed, a request that was looked at again, heartbeats. Only these are
/// folded, as nobody reads them one by one; the others stand alone.
fn runs(items: &[EventRow], fold: bool) -> Vec<&[EventRow]> {
    let alike = |a: &EventRow, b: &EventRow| fold && a.code == b.code && foldable(a) && foldable(b) && (a.code == EventCode::SessionHeartbeat.as_str() || (a.job_id == b.job_id && a.approval_id == b.approval_id));
    items.chunk_by(alike).flat_map(|run| if run.len() > 2 { vec![run] } else { run.chunks(1).collect() }).collect()
}

fn foldable(event: &EventRow) -> bool {
    [EventCode::ApprovalPresented, EventCode::SessionHeartbeat].iter().any(|code| event.code == code.as_str()) || (event.code == EventCode::GateDecided.as_str() && event.outcome.as_deref() == Some("allow"))
}

/// One row for a run; its members open under it.
fn folded(run: &[EventRow]) -> Markup {
    let (last, first) = (&run[0], &run[run.len() - 1]);
    let id = format!("run-{}", first.seq);
    let gates = last.code == EventCode::GateDecided.as_str();
    // `gate schema pass: ...`, oldest first.
    let names: Vec<&str> = run.iter().rev().filter_map(|event| event.what.split(' ').nth(1)).collect();
    let words = if gates { format!("{} gates passed: {}", run.len(), names.join(", ")) } else { format!("{}, {} times", last.what, run.len()) };
    html! {
        tr id={ "e-" (first.seq) } data-row data-copy=(last.event_id) {
            th.m.mut scope="row" { a href={ "#" (id) } data-toggle=(id) aria-expanded="false" aria-controls=(id) title="Show each" { (thousands(first.seq)) "–" (last.seq % 1000) } }
            td.m.nw { (clock_full(last.recorded_at_ms)) }
            td.m.nw.mut title=(t(&last.code)) { (t(code_short(&last.code))) }
            td.nw { (outcome(last)) }
            td.cut title=(t(&words)) { (t(&words)) }
            td.nw.lab { (t(short(&last.actor_id))) }
            td.nw.links { (linked(last)) }
        }
        tr.more-row id=(id) hidden data-panel { td colspan="7" { (event_rows(run)) } }
    }
}

fn linked(event: &EventRow) -> Markup {
    html! {
        @if let Some(wp) = &event.wp_id { (wp_link(wp, event.mt_id.as_deref())) " " }
        @if let Some(session) = &event.session_id { (session_link(session, None)) " " }
        @if let Some(ws) = &event.workspace_id { a.link.m href={ "/ws/" (query(ws)) } title=(t(ws)) { "tree" } " " }
        @if let Some(approval) = &event.approval_id { a.link.m href={ "/approval/" (query(approval)) } title=(t(approval)) { "approval" } " " }
        @if let Some(job) = &event.job_id { (job_link(job)) }
    }
}

const LANE: i64 = 40;
const WIDTH: i64 = 1100;

fn graphic(view: &TimelineView, now_ms: i64) -> Markup {
    let from = view.from_at_ms.unwrap_or_else(|| view.lanes.iter().flat_map(|lane| &lane.spans).map(|s| s.from_at_ms).min().unwrap_or(now_ms));
    let to = view.to_at_ms.unwrap_or(now_ms).max(from + 1);
    let x = |at: i64| (at.clamp(from, to) - from) * WIDTH / (to - from);
    // Within ten minutes a tick without seconds says the same thing twice.
    let fine = to - from < 10 * 60 * 1000;
    let height = LANE * view.lanes.len() as i64 + 24;
    html! {
        div.tl-grid {
            ol.tl-lab.tl-flat aria-label="Lanes" {
                @for lane in &view.lanes { li { div.row { b.cut { @if let Some(session) = &lane.session_id { a href={ "/session/" (query(session)) } { (t(&lane.name)) } } @else { (t(&lane.name)) } } } div.lab.cut title=(t(&lane.note)) { (t(&lane.note)) } } }
            }
            svg.tl width=(WIDTH + 60) height=(height) viewBox={ "0 0 " (WIDTH + 60) " " (height) } aria-hidden="true" focusable="false" {
                defs {
                    @for name in ["hn", "hp", "hb"] { pattern id=(name) width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" { path class=(name) d="M0 0V5" stroke-width="1.5" {} } }
                }
                @for tick in 0..5 { @let at = from + (to - from) * tick / 5; path.grid d={ "M" (x(at)) " 24V" (height) } {} @let iso = super::components::time::iso(at); text x=(x(at) + 4) y="14" datetime=(iso) data-clock=(if fine { "s" } else { "m" }) { @if fine { (&iso[11..19]) } @else { (&iso[11..16]) } } }
                @for (row, lane) in view.lanes.iter().enumerate() { (lane_shapes(lane, 24 + LANE * row as i64, &x, to)) }
                path.now d={ "M" (WIDTH) " 18V" (height) } {}
                text.t1 x=(WIDTH + 4) y="14" { "now" }
            }
        }
    }
}

fn lane_shapes(lane: &TimelineLane, top: i64, x: &dyn Fn(i64) -> i64, to: i64) -> Markup {
    // A label is drawn where its span has room for it; the title holds it anyway.
    let fits = |label: &str, width: i64| label.chars().count() as i64 * 7 <= width;
    html! {
        path.sep d={ "M0 " (top) "H" (WIDTH + 60) } {}
        @for span in &lane.spans {
            @let class = match (span.kind.as_str(), span.to_at_ms) { ("wait", None) => "wait", ("wait", _) => "was", ("pause", _) => "halt", ("blocked", _) => "limit", (_, None) => "live", _ => "run" };
            @let left = x(span.from_at_ms);
            @let width = (x(span.to_at_ms.unwrap_or(to)) - left).max(2);
            rect class=(class) x=(left) y=(top + 17) width=(width) height="9" { title { (t(&span.label)) } }
            @if fits(&span.label, width) { text x=(left) y=(top + 13) { (t(&span.label)) } }
        }
        @for mark in &lane.marks {
            @let at = x(mark.at_ms);
            a href={ "/event/" (query(&mark.event_id)) } tabindex="-1" {
                title { (t(&mark.label)) }
                @match mark.kind.as_str() {
                    "ask" => path.dia d={ "M" (at) " " (top + 16) "l6 6-6 6-6-6z" } {},
                    "decision" => path.done d={ "M" (at) " " (top + 16) "l6 6-6 6-6-6z" } {},
                    "error" => path.err d={ "M" (at - 4) " " (top + 29) "l8 8m0-8l-8 8" } {},
                    _ => path.tick d={ "M" (at) " " (top + 30) "v5" } {},
                }
            }
        }
    }
}

fn empty(view: &TimelineView) -> Markup {
    html! {
        div.solo.stack {
            h2.hero { "No event" }
            p.mut { @if pairs(&view.filter).is_empty() { "The record is empty: nothing has happened in this project yet." } @else { "No event matches this filter. " } }
            @if !pairs(&view.filter).is_empty() { div.row { a.btn.go href="/timeline" { "Clear the filter" } } }
        }
    }
}

/// One event with what stood around it.
#[must_use]
pub fn event_page(shell: &Shell, view: &EventView, now_ms: i64) -> Markup {
    let event = &view.event;
    let body = html! {
        div.head data-copy=(event.event_id) {
            h1.cut { (t(&event.what)) } span.m.mut { (t(&event.code)) } (outcome(event))
            @if let Some(how) = &event.observed { (observed(how)) }
            span.lab.push { "seq " span.m { (thousands(event.seq)) } " · " (ago_words(event.recorded_at_ms, now_ms)) }
        }
        div.cols.c-packet {
            div.scroll {
                section.sec { header.ph { h2 { "Around it" } span.lab { "in order of the record" } a.link.lab.push href="/timeline" { "Timeline" } } (table(&view.context, Some(&event.event_id))) }
                section.sec { header.ph { h2 { "Payload" } span.lab { "redacted before it was hashed" } }
                    @if let Some(note) = &view.payload_note { p.pad.mut { (t(note)) } }
                    @if let Some(payload) = &view.payload_json { pre.code.bare { (SafeText::block(payload)) } }
                }
            }
            aside.scroll aria-label="Header" {
                section.sec { header.ph { h2 { "Header" } } dl.kv.pad { @for fact in &view.header { dt { (t(&fact.name)) } dd.m.wrap-any { (t(&fact.value)) } } dt { "Linked" } dd { (linked(event)) } } }
                section.sec { header.ph { h2 { "Chain" } } dl.kv.pad { dt { "Payload" } dd.m.wrap-any { (t(&view.payload_sha256)) } dt { "Before" } dd.m.wrap-any { (t(&view.prev_hash)) } dt { "Hash" } dd.m.wrap-any { (t(&view.hash)) } } }
            }
        }
    };
    let crumbs = [("/timeline", "Timeline")];
    let title = format!("seq {}", thousands(event.seq));
    page(shell, Place { rail: "timeline", title: &title, crumbs: &crumbs, screen: "event" }, now_ms, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64, code: EventCode, outcome: Option<&str>, job: &str) -> EventRow {
        EventRow { seq, code: code.as_str().to_owned(), outcome: outcome.map(str::to_owned), job_id: Some(job.to_owned()), what: "gate schema pass: fine".to_owned(), ..EventRow::default() }
    }

    #[test]
    fn only_passed_gates_of_one_job_and_their_like_are_folded() {
        let gate = |seq, job| event(seq, EventCode::GateDecided, Some("allow"), job);
        let mut items = vec![gate(9, "a"), gate(8, "a"), gate(7, "a"), gate(6, "b"), gate(5, "b"), event(4, EventCode::GateDecided, Some("denied"), "b"), gate(3, "b")];
        let lengths = |items: &[EventRow]| runs(items, true).iter().map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&items), [3, 1, 1, 1, 1], "two of a kind stand alone, and what was denied always does");
        assert_eq!(runs(&items, false).len(), items.len());
        items.extend((0..3).map(|n| event(-n, EventCode::SessionHeartbeat, None, &format!("job {n}"))));
        assert_eq!(lengths(&items).last(), Some(&3), "a heartbeat is a heartbeat");
        let row = folded(&items[..3]).into_string();
        assert!(row.contains("3 gates passed: schema, schema, schema") && row.contains("aria-controls=\"run-7\""), "{row}");
    }
}
