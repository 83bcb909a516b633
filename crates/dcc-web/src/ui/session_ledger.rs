//! The ledger of a session call by call, with its filters.
//!
//! Authority: derived. Invariant: how a call is known stands beside it, whatever filter is on.

use maud::{Markup, html};

use dcc_api::view::{CallsFilter, SessionView};

use super::components::call_list;
use super::components::path::query;
use super::components::state::words;
use crate::safe_text::t;

const EFFECTS: [&str; 3] = ["READ", "WRITE", "EXECUTE"];
const STATUSES: [&str; 9] = ["requested", "held", "running", "ok", "error", "denied", "cancelled", "timed_out", "unknown"];
const KNOWN: [&str; 3] = ["gated", "reported", "inferred"];

/// Filters, then the calls.
#[must_use]
pub fn calls_part(view: &SessionView) -> Markup {
    let calls = &view.calls;
    let home = format!("/session/{}", query(&view.session.session_id));
    html! {
        section.sec id="ledger" {
            form.ph.wrap method="get" action=(home) role="search" aria-label="Filter the ledger" {
                h2 { "Ledger" } span.m.mut { (calls.total) }
                input type="hidden" name="tab" value="ledger";
                (pick("effect", "Effect", "any effect", &EFFECTS, calls.filter.effect.as_deref()))
                (pick("status", "Status", "any status", &STATUSES, calls.filter.status.as_deref()))
                (pick("known", "Known how", "known any way", &KNOWN, calls.filter.known.as_deref()))
                button.btn.sm type="submit" { "Filter" }
                @if calls.filter != CallsFilter::default() { a.link.lab href={ (home) "?tab=ledger" } { "Clear" } }
            }
            @if calls.items.is_empty() {
                p.pad.lab { @if calls.filter == CallsFilter::default() { "No tool call yet." } @else { "No call of " (view.session.tool_calls) " fits " b { (t(&shown(&calls.filter))) } ". " a.link href={ (home) "?tab=ledger" } { "Show all" } } }
            }
            (call_list(&calls.items, "l-"))
            @if calls.total > calls.items.len() as i64 { p.pad.lab { "The newest " (calls.items.len()) "; all stand in the record." } }
        }
    }
}

fn pick(name: &str, label: &str, any: &str, all: &[&str], now: Option<&str>) -> Markup {
    let id = format!("led-{name}");
    html! {
        label.sr for=(id) { (label) }
        select.field.fit id=(id) name=(name) data-submit-on-change {
            option value="" { (any) }
            @for one in all { option value=(one) selected[now.is_some_and(|n| n.eq_ignore_ascii_case(one))] { (words(one)) } }
        }
    }
}

fn shown(filter: &CallsFilter) -> String {
    let all = [&filter.effect, &filter.status, &filter.known];
    all.into_iter().flatten().map(|one| words(one)).collect::<Vec<_>>().join(", ")
}
