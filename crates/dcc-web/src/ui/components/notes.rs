//! Banners, failures in place, and plain words about what is not built yet.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{FailureView, FixView, NoticeView, WorkspaceRow};

use super::forms::OpButton;
use super::{Pip, icon, op_button, st};
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

/// The control of a fix: a job, a read, a page, or a command to copy.
#[must_use]
pub fn fix_button(fix: &FixView) -> Markup {
    html! {
        @if fix.op.as_deref() == Some("recorder.verify") { button.btn.sm type="button" data-verify-record { (t(&fix.label)) } }
        @else if let Some(op) = &fix.op { (op_button(OpButton { op, label: &fix.label, class: "btn sm", bind: fix.bindings.as_deref().unwrap_or("{}"), params: fix.params.as_deref().unwrap_or_default(), then: Some("reload"), ..OpButton::default() })) }
        @else if let Some(href) = &fix.href { a.btn.sm href=(href) { (t(&fix.label)) } }
        @else if let Some(command) = &fix.command { button.btn.sm type="button" data-copy-text=(t(command)) title=(t(command)) { (icon("copy")) " " (t(&fix.label)) } }
        @else { span.lab { (t(&fix.label)) } }
    }
}

/// A worktree that does not stand as registered: the whole sentence, the command, and the repair that asks for its job.
#[must_use]
pub fn broken_note(ws: &WorkspaceRow) -> Markup {
    html! {
        @if let Some(failure) = ws.health_failure.as_ref().filter(|_| ws.health != "locked") {
            div.note.bad id={ "broken-" (ws.workspace_id) } {
                (st(Pip::Failed, &if ws.health.is_empty() { "unknown".to_owned() } else { super::state::words(&ws.health) }))
                span.fill.wrap-any { (t(&failure.message)) @if let Some(hint) = &failure.hint { ". " span.lab { (t(hint)) } } }
                @if let Some(fix) = &ws.repair { (fix_button(fix)) }
            }
        }
    }
}
