//! The frame of every screen: rail, header with needs-you, status line, notices.
//!
//! Authority: derived. Invariants: the frame's live parts have fixed ids (`rail`, `top`, `main`, `end`);
//! a fragment holds exactly these and the title.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use dcc_api::view::{FailureView, Shell};

use super::components::{Pip, ago_words, icon, notice, st, thousands};
use crate::assets;
use crate::safe_text::t;

/// Where a screen stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Key of the rail: board, inbox, sessions, workspaces, jobs, timeline, health, or empty.
    pub rail: &'a str,
    /// Name of the screen for the title and for reports: `Board`.
    pub title: &'a str,
    /// Crumbs between the project and the title: address and name.
    pub crumbs: &'a [(&'a str, &'a str)],
    /// Name of the screen for its keys: board, packet, review, session, inbox.
    pub screen: &'a str,
}

const RAIL: [(&str, &str, &str, &str); 7] = [
    ("board", "/board", "b", "Board"),
    ("inbox", "/inbox", "i", "Inbox"),
    ("sessions", "/sessions", "s", "Sessions"),
    ("workspaces", "/workspaces", "w", "Workspaces"),
    ("jobs", "/jobs", "j", "Jobs"),
    ("timeline", "/timeline", "t", "Timeline"),
    ("health", "/health", "h", "Health"),
];

/// Puts a screen into the frame, or renders its live parts alone for a fragment request.
#[must_use]
pub fn page(shell: &Shell, place: Place<'_>, now_ms: i64, body: &Markup) -> Markup {
    let live = html! {
        (rail(shell, place))
        (top(shell, place))
        main.screen id="main" data-screen=(place.screen) tabindex="-1" {
            div.local id="local-notes" data-local {}
            @for note in &shell.notices { (notice(note)) }
            @if let Some(reason) = &shell.read_only {
                div.note.hatch id="read-only-note" data-off=[shell.changing_off.then(|| off_reason(reason))] { (st(Pip::Stale, "read-only")) span { (t(&reason.message)) @if let Some(hint) = &reason.hint { " " (t(hint)) } } span.m.mut.push { (t(&reason.code)) } }
            }
            (body)
        }
        (end(shell, now_ms))
    };
    if shell.fragment {
        return html! { title { (title(shell, place)) } (live) };
    }
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title(shell, place), Some(shell)))
            body {
                (PreEscaped(assets::icons()))
                a.skip.btn href="#main" { "Skip to content" }
                div.app id="app" { (live) }
                div.sr id="say" role="status" aria-live="polite" {}
                div.sr id="say-now" role="alert" {}
            }
        }
    }
}

/// Code and sentence, for every control that is off because of it.
fn off_reason(reason: &FailureView) -> String {
    crate::safe_text::SafeText::line(&format!("{} {}", reason.code, reason.message)).plain()
}

fn title(shell: &Shell, place: Place<'_>) -> String {
    let count = shell.needs.total();
    let lead = if count > 0 { format!("({count}) ") } else { String::new() };
    crate::safe_text::SafeText::line(&format!("{lead}{} · {} · DCC", place.title, shell.project_name)).plain()
}

/// Head of a page; without a shell there is neither token nor live stream.
#[must_use]
pub fn head(title: &str, shell: Option<&Shell>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            @if let Some(shell) = shell {
                meta name="dcc-token" content=(shell.token);
                meta name="dcc-instance" content=(shell.instance_id);
                meta name="dcc-seq" content=(shell.seq);
            }
            title { (title) }
            link rel="icon" id="favicon" href=(FAVICON);
            link rel="stylesheet" href=(assets::url("app.css"));
            script src=(assets::url("theme.js")) {}
            script type="module" src=(assets::url("app.js")) {}
        }
    }
}

const FAVICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20' fill='none' stroke='%237A838E' stroke-width='2'%3E%3Cpath d='M3 6.5V3h9.5v4M17 13.5V17H7.5v-4'/%3E%3C/svg%3E";

fn rail(shell: &Shell, place: Place<'_>) -> Markup {
    html! {
        nav.rail id="rail" aria-label="Main" {
            a.mark href="/board" { (icon("mark")) span.sr { "Handshake DCC" } }
            @for (key, href, letter, name) in RAIL {
                a href=(href) aria-label=(name) aria-current=[(place.rail == key).then_some("page")] data-rail=(key) {
                    (icon(key)) kbd aria-hidden="true" { (letter) }
                    @if key == "inbox" && shell.needs.total() > 0 { span.dot { (icon("s-needs")) } }
                    span.tip aria-hidden="true" { (name) }
                }
            }
        }
    }
}

fn top(shell: &Shell, place: Place<'_>) -> Markup {
    html! {
        header.top id="top" {
            nav.crumbs aria-label="Place" {
                ol {
                    li { a href="/board" { (t(&shell.project_name)) } }
                    @for (href, name) in place.crumbs { li { a href=(href) { (t(name)) } } }
                    li aria-current="page" { span.cut { (t(place.title)) } }
                }
            }
            a.btn.find href="/search" data-palette { (icon("search")) " " span.find-says { "Search or run a command" } " " span.push aria-hidden="true" { kbd { "/" } " " kbd { "Ctrl K" } } }
            (attention(shell))
        }
    }
}

fn attention(shell: &Shell) -> Markup {
    let needs = &shell.needs;
    let kinds = [
        (needs.approvals, "approval", "approvals"),
        (needs.questions, "question", "questions"),
        (needs.reviews, "review", "reviews"),
        (needs.recoveries, "recovery", "recoveries"),
    ]
    .iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
    .collect::<Vec<_>>()
    .join(" · ");
    html! {
        div.attn id="attn" data-needs=(needs.total()) data-hrefs=(needs.hrefs.join(" ")) data-words=(kinds) {
            @if needs.total() > 0 {
                a href="/inbox" aria-label={ "Needs you: " (needs.total()) ". " (kinds) } {
                    span.st.st-needs { (icon("s-needs")) span.cut { "Needs you " b { (needs.total()) } } }
                    " " span.lab { (kinds) }
                }
            } @else {
                span.mut { "Nothing waits for you" }
            }
            a href="/sessions" { "Running " b { (shell.running) @if let Some(limit) = shell.running_limit { "/" (limit) } } }
        }
    }
}

fn end(shell: &Shell, now_ms: i64) -> Markup {
    html! {
        footer.end id="end" {
            span id="live" data-local { (st(Pip::Stale, "connecting")) }
            span { "seq " span id="seq" data-seq=(shell.seq) { (thousands(shell.seq)) } }
            @if let Some(at) = shell.last_event_at_ms { span { "last event " (ago_words(at, now_ms)) } }
            @if let Some(seq) = shell.verified_seq {
                button.end-more type="button" data-verify-record title="Verify again" { "recorder verified to " (thousands(seq)) @if let Some(at) = shell.verified_at_ms { ", " (ago_words(at, now_ms)) } }
            }
            span.end-more { "db " (t(&shell.db_status)) }
            span.push {}
            button type="button" data-theme-switch { "theme: " span data-theme-label data-local { "system" } }
            button type="button" data-keys { "keys " kbd { "?" } }
        }
    }
}
