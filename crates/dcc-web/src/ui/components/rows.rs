//! Rows of events and jobs, the same on every screen.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::{EventRow, JobRow};

use super::path::query;
use super::{Pip, ago, clock, icon, short, st, thousands};
use crate::safe_text::t;

/// A code without its common front: `APPR-requested`.
#[must_use]
pub fn code_short(code: &str) -> &str {
    code.strip_prefix("FR-EVT-").unwrap_or(code)
}

/// Events as dense lines: clock, words, seq.
#[must_use]
pub fn event_rows(events: &[EventRow]) -> Markup {
    html! {
        ol.rows.dense {
            @for event in events {
                li data-row data-copy=(event.event_id) {
                    span.m.mut { (clock(event.recorded_at_ms)) }
                    a.cut href={ "/event/" (query(&event.event_id)) } title={ (t(&event.code)) ": " (t(&event.what)) } { (t(&event.what)) }
                    span.push.m.mut { (thousands(event.seq)) }
                }
            }
        }
    }
}

/// Jobs as lines: state, operation, words, age.
#[must_use]
pub fn job_rows(jobs: &[JobRow], now_ms: i64) -> Markup {
    html! {
        ul.rows.jobs {
            @for job in jobs {
                li data-row data-copy=(job.job_id) {
                    (st(Pip::of_job(&job.state), &super::state::words(&job.state)))
                    a.m.nw.op href={ "/job/" (query(&job.job_id)) } title=(t(&job.job_id)) { (t(&job.op)) }
                    span.lab.cut.what {
                        @if let Some(failure) = &job.failure { (t(&failure.code)) " " (t(&failure.message)) } @else { (t(&job.summary)) }
                    }
                    span.push.lab.nw { span.m { (t(short(&job.job_id))) } " " (ago(job.created_at_ms, now_ms)) }
                }
            }
        }
        @if jobs.is_empty() { p.pad.lab { (icon("jobs")) " No job yet." } }
    }
}
