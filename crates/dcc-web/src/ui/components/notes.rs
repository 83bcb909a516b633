//! Banners, failures in place, and plain words about what is not built yet.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{FailureView, NoticeView};

use super::{Pip, icon, st};
use crate::safe_text::t;

/// A banner of the shell.
#[must_use]
pub fn notice(note: &NoticeView) -> Markup {
    let (class, pip) = match note.kind.as_str() {
        "warn" => ("note warn", Pip::Needs),
        "bad" => ("note bad", Pip::Failed),
        "stale" => ("note hatch", Pip::Stale),
        _ => ("note", Pip::Stale),
    };
    html! {
        div class=(class) {
            (st(pip, &note.word))
            span { (t(&note.message)) @if let Some(code) = &note.code { " " span.m.mut { (t(code)) } } }
            @if let (Some(href), Some(label)) = (&note.href, &note.label) { a.btn.sm.push href=(href) { (t(label)) } }
        }
    }
}

/// A failure where it happened: sentence, code, next step.
#[must_use]
pub fn failure_note(failure: &FailureView) -> Markup {
    html! {
        div.note.bad role="alert" {
            (st(Pip::Failed, "problem"))
            span.fill {
                (t(&failure.message))
                @if let Some(hint) = &failure.hint { " " span.lab { (t(hint)) } }
            }
            span.m.mut { (t(&failure.code)) }
        }
    }
}

/// A failure as one line in a list or table.
#[must_use]
pub fn failure_line(failure: &FailureView) -> Markup {
    html! { span.st-failed { (t(&failure.message)) } " " span.m.mut { (t(&failure.code)) } }
}

/// A list of what a person would look for here and will not find yet.
#[must_use]
pub fn not_built(items: &[(&str, &str)]) -> Markup {
    html! {
        details.nb id="not-built" {
            summary.row.lab { (icon("right")) span { "Not built yet on this screen: " (items.len()) } }
            dl.kv.lab { @for (name, instead) in items { dt { (name) } dd { (instead) } } }
        }
    }
}

/// A control that is not built: it can be reached and says so.
#[must_use]
pub fn soon(label: &str, sentence: &str) -> Markup {
    html! {
        button.btn.sm type="button" aria-disabled="true" data-why={ "Not built yet. " (sentence) } title={ "Not built yet. " (sentence) } { (label) }
    }
}
