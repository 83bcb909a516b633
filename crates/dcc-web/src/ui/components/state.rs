//! States as shape, word and colour; one mapping for each kind of thing.
//!
//! Authority: derived. Failure: an unknown word is shown as it is, with the hollow shape.

use maud::{Markup, html};

use dcc_api::view::{CardView, QuietView, SessionRef, SessionRow, WorkspaceRow};
use dcc_core::session::{Need, StateReason};

use super::icon;
use crate::safe_text::t;

/// One of the nine shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pip {
    Queued,
    Active,
    Needs,
    Blocked,
    Paused,
    Done,
    Failed,
    Cancelled,
    Stale,
}

impl Pip {
    /// Name in the style sheet and in the sprite.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Active => "active",
            Self::Needs => "needs",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Stale => "stale",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Queued => "st st-queued",
            Self::Active => "st st-active",
            Self::Needs => "st st-needs",
            Self::Blocked => "st st-blocked",
            Self::Paused => "st st-paused",
            Self::Done => "st st-done",
            Self::Failed => "st st-failed",
            Self::Cancelled => "st st-cancelled",
            Self::Stale => "st st-stale",
        }
    }

    /// Of a packet's Locus status.
    #[must_use]
    pub fn of_wp(status: &str) -> Self {
        match status {
            "in_progress" => Self::Active,
            "blocked" => Self::Blocked,
            "gated" => Self::Needs,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            _ => Self::Queued,
        }
    }

    /// Of a card on the board: what needs a person leads.
    #[must_use]
    pub fn of_card(card: &CardView) -> Self {
        let sessions: Vec<Self> = card.sessions.iter().map(|s| Self::of_session(&s.state, s.state_reason.as_deref())).collect();
        if !card.approvals.is_empty() || sessions.contains(&Self::Needs) {
            return Self::Needs;
        }
        if card.status == "in_progress" {
            for pip in [Self::Active, Self::Failed, Self::Blocked, Self::Paused] {
                if sessions.contains(&pip) {
                    return pip;
                }
            }
        }
        Self::of_wp(&card.status)
    }

    /// Of a session.
    #[must_use]
    pub fn of_session(state: &str, reason: Option<&str>) -> Self {
        match state {
            "ACTIVE" => Self::Active,
            "BLOCKED" if need(reason).is_some() => Self::Needs,
            "BLOCKED" if matches!(reason, Some("terminal_open" | "a_person_works")) => Self::Active,
            "BLOCKED" => Self::Blocked,
            "PAUSED" => Self::Paused,
            "COMPLETED" => Self::Done,
            "FAILED" => Self::Failed,
            "CANCELLED" => Self::Cancelled,
            _ => Self::Queued,
        }
    }

    /// Of a job.
    #[must_use]
    pub fn of_job(state: &str) -> Self {
        match state {
            "running" | "awaiting_validation" => Self::Active,
            "awaiting_user" => Self::Needs,
            "completed" => Self::Done,
            "completed_with_issues" | "stalled" => Self::Blocked,
            "failed" | "poisoned" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Queued,
        }
    }

    /// Of an approval or a grant.
    #[must_use]
    pub fn of_approval(status: &str) -> Self {
        match status {
            "pending" => Self::Needs,
            "approved" | "consumed" | "active" => Self::Done,
            "denied" => Self::Failed,
            "expired" | "stale" | "used_up" => Self::Stale,
            _ => Self::Cancelled,
        }
    }

    /// Of a micro-task, a plan entry, a phase, a gate, a check: the words they share.
    #[must_use]
    pub fn of_step(status: &str) -> Self {
        match status {
            "in_progress" | "running" => Self::Active,
            "completed" | "done" | "pass" | "ok" | "met" | "allow" | "allowed" | "approved" => Self::Done,
            "failed" | "fail" | "error" | "fault" | "deny" | "denied" => Self::Failed,
            "blocked" | "timed_out" => Self::Blocked,
            "held" | "needs" | "waiting" | "ask" | "due" => Self::Needs,
            "skipped" | "skip" | "cancelled" => Self::Cancelled,
            "void" | "drift" | "unknown" | "stale" => Self::Stale,
            _ => Self::Queued,
        }
    }

    /// Of a workspace.
    #[must_use]
    pub fn of_workspace(row: &WorkspaceRow) -> Self {
        match (row.health.as_str(), row.status.as_str()) {
            ("ok", "active") => Self::Done,
            ("ok", "paused") => Self::Paused,
            ("ok", _) => Self::Cancelled,
            ("locked" | "foreign", _) => Self::Blocked,
            ("", _) => Self::Stale,
            _ => Self::Failed,
        }
    }
}

/// Shape and word.
#[must_use]
pub fn st(pip: Pip, word: &str) -> Markup {
    html! { span class=(pip.class()) { (icon(&format!("s-{}", pip.name()))) span.cut { (t(word)) } } }
}

/// Shape alone, its word for assistive technology.
#[must_use]
pub fn st_quiet(pip: Pip, word: &str) -> Markup {
    html! { span class=(pip.class()) title=(t(word)) { (icon(&format!("s-{}", pip.name()))) span.sr { (t(word)) } } }
}

/// The words of a wire spelling: `in_progress` becomes `in progress`.
#[must_use]
pub fn words(wire: &str) -> String {
    wire.replace('_', " ").to_lowercase()
}

fn need(reason: Option<&str>) -> Option<Need> {
    reason.and_then(StateReason::parse).and_then(StateReason::need)
}

/// The state of a session in words: `waits for you: approval`.
#[must_use]
pub fn session_words(state: &str, reason: Option<&str>) -> String {
    let waits = need(reason).map(|need| match need {
        Need::Decision => "approval",
        Need::Consent => "consent",
        Need::Message => "your next message",
        Need::Review => "review",
        Need::Recovery => "a look after the crash",
    });
    match (state, waits, reason) {
        ("BLOCKED", Some(what), _) => format!("waits for you: {what}"),
        ("ACTIVE", _, Some("dispatching")) => "starting".to_owned(),
        ("ACTIVE", _, _) => "working".to_owned(),
        ("CREATED", _, _) => "created".to_owned(),
        ("BLOCKED", _, Some(reason @ ("terminal_open" | "a_person_works"))) => words(reason),
        (_, _, Some(reason)) if reason != "done" => format!("{}: {}", words(state), words(reason)),
        _ => words(state),
    }
}

/// What stands in place of "working" when nothing is heard: `no activity for 4 m, last tool still runs`.
#[must_use]
pub fn quiet_words(quiet: &QuietView) -> String {
    let tool = if quiet.tool_runs { ", last tool still runs" } else { "" };
    format!("no activity for {}{tool}", super::time::span(quiet.for_ms))
}

/// Shape and words of a session row.
#[must_use]
pub fn session_state(row: &SessionRow) -> Markup {
    if let Some(quiet) = &row.quiet {
        return st(Pip::Stale, &quiet_words(quiet));
    }
    let reason = row.state_reason.as_deref();
    let words = match row.state_detail.as_deref() {
        Some(detail) if row.state == "BLOCKED" && Pip::of_session(&row.state, reason) == Pip::Needs => format!("waits for you: {detail}"),
        Some(detail) => format!("{}: {detail}", session_words(&row.state, None)),
        None => session_words(&row.state, reason),
    };
    st(Pip::of_session(&row.state, reason), &words)
}

/// Shape and agent of a session that stands on something else.
#[must_use]
pub fn session_pip(session: &SessionRef) -> Markup {
    let reason = session.state_reason.as_deref();
    let pip = Pip::of_session(&session.state, reason);
    let words = session_words(&session.state, reason);
    html! {
        a class={ "over " (pip.class()) } href={ "/session/" (session.session_id) } title={ (t(&session.agent)) ": " (words) } {
            (icon(&format!("s-{}", pip.name())))
            span.cut { (t(&session.agent)) }
            span.sr { ", " (words) }
        }
    }
}
