//! Marks of what was done without DCC, and of what agents did without asking.
//!
//! Authority: derived. Never a claim about who it was; each mark leads to its events.

use maud::{Markup, html};

use dcc_api::view::{MarkView, WorkspaceRow};

use super::path::query;
use super::{Pip, ago_words, st};
use crate::safe_text::t;

const OUTSIDE: &str = "FR-EVT-WS-008";
const UNGATED: &str = "FR-EVT-SEC-004";

/// One mark each in a row.
pub fn outside_marks(row: &WorkspaceRow) -> Markup {
    html! {
        @if let Some(mark) = &row.outside { a.nw href=(slice(row, OUTSIDE)) title=(t(&mark.message)) { (st(Pip::Stale, &format!("ungoverned {}", mark.count))) } " " }
        @if let Some(mark) = &row.ungated { a.nw href=(slice(row, UNGATED)) title=(t(&mark.message)) { (st(Pip::Needs, &format!("ungated {}", mark.count))) } " " }
    }
}

/// One note each above a review, with what the last one says.
pub fn outside_notes(row: &WorkspaceRow, now_ms: i64) -> Markup {
    html! {
        @if let Some(mark) = &row.outside { (note(row, mark, OUTSIDE, Pip::Stale, "ungoverned", "made without DCC", now_ms)) }
        @if let Some(mark) = &row.ungated { (note(row, mark, UNGATED, Pip::Needs, "ungated", "made without asking, during a turn", now_ms)) }
    }
}

fn note(row: &WorkspaceRow, mark: &MarkView, code: &str, pip: Pip, word: &str, how: &str, now_ms: i64) -> Markup {
    html! {
        div.note id={ "note-" (word) } {
            (st(pip, word))
            span.cut { (mark.count) @if mark.count == 1 { " change " } @else { " changes " } (how) ", the last " (ago_words(mark.last_at_ms, now_ms)) ": " (t(&mark.message)) }
            a.btn.sm.push href=(slice(row, code)) { "Show" }
        }
    }
}

fn slice(row: &WorkspaceRow, code: &str) -> String {
    format!("/timeline?ws={}&code={code}", query(&row.workspace_id))
}
