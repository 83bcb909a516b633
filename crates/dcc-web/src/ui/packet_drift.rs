//! Records of a packet that were changed outside DCC: both sides, and the two ways to settle it.
//!
//! Authority: derived. Each way is one job; nothing is changed here.

use maud::{Markup, html};

use dcc_api::view::{DriftView, PacketView};
use serde_json::json;

use super::components::forms::OpButton;
use super::components::{Pip, bind, diff_lines, op_button, params, st};
use crate::safe_text::t;

/// One section for each record; nothing when all files are as accepted.
#[must_use]
pub fn sections(view: &PacketView) -> Markup {
    html! {
        @for (at, drift) in view.drift.iter().enumerate() {
            section.sec id=[(at == 0).then_some("drift")] aria-label={ "Changed outside DCC: " (name(drift)) } { (one(drift)) }
        }
    }
}

fn name(drift: &DriftView) -> &str {
    drift.mt_id.as_deref().unwrap_or(&drift.wp_id)
}

fn one(drift: &DriftView) -> Markup {
    let mut ids = vec![("wp_id", drift.wp_id.as_str())];
    ids.extend(drift.mt_id.as_deref().map(|mt| ("mt_id", mt)));
    let ids = bind(&ids);
    let settle = |action: &str| {
        let mut all = vec![("record", json!({ "wp_id": drift.wp_id, "mt_id": drift.mt_id })), ("action", json!(action))];
        all.extend(drift.found_sha256.as_ref().map(|sha256| ("found_sha256", json!(sha256))));
        params(&all)
    };
    let (accept, restore) = (settle("accept"), settle("restore"));
    let why = drift.refusal.as_ref().map(|failure| format!("{} {}", failure.code, failure.message));
    html! {
        header.ph.wrap {
            h2 { "The file of " (t(name(drift))) " was changed outside DCC" }
            (st(Pip::Stale, "drift"))
            span.push.row.wrap {
                (op_button(OpButton { op: "locus.accept_edit", label: "Accept the edit", class: "btn sm go", bind: &ids, params: &accept, then: Some("reload"), why_not: why.as_deref(), ..OpButton::default() }))
                (op_button(OpButton { op: "locus.accept_edit", label: "Restore the accepted version", class: "btn sm", bind: &ids, params: &restore, then: Some("reload"), ..OpButton::default() }))
            }
        }
        p.pad { (t(&drift.message)) }
        @if let Some(why) = &why { p.pad.st-failed { "The edit cannot be accepted: " (t(why)) } }
        p.pad.lab { "Gates go on with the accepted version meanwhile. The edited bytes are kept as an artifact either way." }
        (diff_lines(&drift.diff))
    }
}
