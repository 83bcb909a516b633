//! Tool calls, one line each, with how each is known.
//!
//! Authority: derived. Invariant: gated, reported and inferred are never drawn alike.

use maud::{Markup, html};

use dcc_api::view::ToolCallRow;

use super::{Pip, clock, duration, icon, st};
use crate::safe_text::{SafeText, t};

/// The line under a fact that says how it is known.
#[must_use]
pub fn observed(how: &str) -> Markup {
    html! {
        @match how {
            "gated" => span.ob.ob-gated title="We executed or decided it" { "gated" },
            "reported" => span.ob.ob-reported title="The agent told us" { "reported" },
            "inferred" => span.ob.ob-inferred title="Seen from files, no call announced it" { "inferred" },
            _ => span {},
        }
    }
}

/// Read, write, execute.
#[must_use]
pub fn side_effect(effect: &str) -> Markup {
    html! {
        @match effect {
            "WRITE" => span.rwx.w title="write" { "W" },
            "EXECUTE" => span.rwx.x title="execute" { "X" },
            _ => span.rwx.r title="read" { "R" },
        }
    }
}

fn call(row: &ToolCallRow, prefix: &str) -> Markup {
    let word = row.result.clone().unwrap_or_else(|| row.status.replace('_', " "));
    html! {
        li id={ (prefix) (row.tool_call_id) } data-row data-copy=(row.tool_call_id) data-failed[matches!(row.status.as_str(), "error" | "denied" | "timed_out")] {
            (clock(row.started_at_ms))
            (side_effect(&row.side_effect))
            span.cut { (t(&row.tool)) }
            span.cut title=(t(&row.target)) { (t(&row.target)) }
            (st(Pip::of_step(&row.status), &word))
            span.n { @if let Some(ms) = row.duration_ms { (duration(ms)) } @else { "–" } }
            (observed(&row.observed))
            @if row.detail.is_some() || row.failure.is_some() {
                details.call-more id={ (prefix) (row.tool_call_id) "-more" } {
                    summary.lab aria-label={ "Detail of " (t(&row.tool)) " " (t(&row.target)) } title="Arguments and result" { (icon("right")) }
                    @if let Some(failure) = &row.failure { p.st-failed { (t(&failure.message)) " " span.m { (t(&failure.code)) } } }
                    @if let Some(detail) = &row.detail { pre.code { (SafeText::block(detail)) } }
                }
            }
        }
    }
}

/// A list of calls; `prefix` keeps ids apart when one call stands twice on a page.
#[must_use]
pub fn call_list(calls: &[ToolCallRow], prefix: &str) -> Markup {
    html! { ol.calls { @for row in calls { (call(row, prefix)) } } }
}

/// A run of calls folded into one line: `12 reads, 3 edits`.
#[must_use]
pub fn call_run(calls: &[ToolCallRow], id: &str) -> Markup {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for row in calls {
        match kinds.iter_mut().find(|(tool, _)| *tool == row.tool) {
            Some((_, count)) => *count += 1,
            None => kinds.push((&row.tool, 1)),
        }
    }
    let failed = calls.iter().filter(|row| matches!(row.status.as_str(), "error" | "denied" | "timed_out")).count();
    let words = kinds
        .iter()
        .map(|(tool, count)| format!("{count} {tool}{}", if *count == 1 { "" } else { "s" }))
        .collect::<Vec<_>>()
        .join(", ");
    html! {
        details id=(id) {
            summary.row {
                (icon("right"))
                span.cut { (t(&words)) }
                @if let (Some(first), Some(last)) = (calls.first(), calls.last()) {
                    span.lab { (clock(first.started_at_ms)) " to " (clock(last.started_at_ms)) }
                }
                span.push.row {
                    @if failed > 0 { (st(Pip::Failed, &format!("{failed} failed"))) }
                    @for how in ["reported", "gated", "inferred"] {
                        @if calls.iter().any(|row| row.observed == how) { (observed(how)) }
                    }
                }
            }
            (call_list(calls, "c-"))
        }
    }
}
