//! Links from anything to the packet, worktree, session, job and recorder slice it belongs to.
//!
//! Authority: derived.

use maud::{Markup, html};

use super::{icon, path::query, short};
use crate::safe_text::t;

/// Link to a packet, with its micro-task when there is one.
#[must_use]
pub fn wp_link(wp_id: &str, mt_id: Option<&str>) -> Markup {
    html! {
        a.link.m href={ "/wp/" (query(wp_id)) } { (t(wp_id)) }
        @if let Some(mt_id) = mt_id { " " a.link.m href={ "/wp/" (query(wp_id)) "#" (mt_id) } { (t(mt_id)) } }
    }
}

/// Link to a session by agent and short id.
#[must_use]
pub fn session_link(session_id: &str, agent: Option<&str>) -> Markup {
    html! {
        a.link href={ "/session/" (query(session_id)) } title=(t(session_id)) {
            @if let Some(agent) = agent { (t(agent)) " " }
            span.m { (t(short(session_id))) }
        }
    }
}

/// Link to a workspace.
#[must_use]
pub fn workspace_link(workspace_id: &str, name: &str) -> Markup {
    html! { a.link.m.cut href={ "/ws/" (query(workspace_id)) } title=(t(name)) { (t(name)) } }
}

/// Link to a job by its short id.
#[must_use]
pub fn job_link(job_id: &str) -> Markup {
    html! { a.link.m href={ "/job/" (query(job_id)) } title=(t(job_id)) { (t(short(job_id))) } }
}

/// Link to the recorder's slice of one thing: `column` is a filter of the timeline.
#[must_use]
pub fn event_slice(column: &str, id: &str) -> Markup {
    html! {
        a.link.lab href={ "/timeline?" (column) "=" (query(id)) } title={ "Recorder slice of " (t(id)) } {
            (icon("timeline")) span { "Record" }
        }
    }
}
