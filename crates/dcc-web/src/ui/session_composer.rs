//! What is said to a session: the messages that wait, each with what may be done to it, and the composer.
//!
//! Authority: derived. Invariant: every change of a waiting message is an operation of its own (`session.send`), so two
//! people never change it unseen.

use maud::{Markup, html};

use dcc_api::view::{QueuedMessage, SessionView};

use super::components::forms::OpButton;
use super::components::{Pip, ago, bind, icon, op_button, params, said, st, why_not};
use super::session::is_ended;
use crate::safe_text::t;

/// Waiting messages above, the new one below.
#[must_use]
pub fn composer(view: &SessionView, now_ms: i64) -> Markup {
    let row = &view.session;
    if is_ended(row) {
        return html! { (waiting(view, now_ms)) p.composer.lab id="composer-over" { "This session has ended and takes no message. Retry it as a successor, or start another from its packet." } };
    }
    let why = why_not(&view.actions, "session.send");
    html! {
        (waiting(view, now_ms))
        form.composer.stack data-op="session.send" data-bind=(bind(&[("session_id", &row.session_id)])) data-clear aria-label={ "Message to " (t(&row.agent)) } {
            label.sr for="say-text" { "Message" }
            textarea.field id="say-text" name="text" rows="2" required data-key="i" data-submit-keys placeholder={ "Steer " (t(&row.agent)) ". Your text is kept until it is delivered." } {}
            div.row.wrap {
                (ways(view, "Queue", &[]))
                @for way in &view.deliveries { span.lab.cut data-when=(way.when) { (t(&way.sentence)) } }
                button.btn.go.push type="submit" aria-disabled=[why.as_ref().map(|_| "true")] data-why=[why.as_ref().map(|why| t(why))] title=[why.as_ref().map(|why| t(why))] { @if row.state == "ACTIVE" { "Queue message " } @else { "Send " } kbd { "Ctrl Enter" } }
            }
            (said())
        }
    }
}

/// The ways to deliver that are open now, without those left out.
pub(super) fn ways(view: &SessionView, first: &str, without: &[&str]) -> Markup {
    html! {
        fieldset.seg { legend.sr { "When to deliver" }
            @for way in view.deliveries.iter().filter(|way| !without.contains(&way.when.as_str())) {
                label title=(t(&way.sentence)) { input type="radio" name="when" value=(way.when) checked[way.when == "queue"] disabled[way.refused]; @if way.when == "queue" { (first) } @else { (mode_name(&way.when)) } }
            }
        }
    }
}

/// A way of delivering, in words.
#[must_use]
pub fn mode_name(when: &str) -> &'static str {
    match when {
        "boundary" => "Next boundary",
        "now" => "Stop and send",
        _ => "Queue",
    }
}

fn waiting(view: &SessionView, now_ms: i64) -> Markup {
    html! {
        @if !view.queued.is_empty() {
            section.waiting id="queued" aria-labelledby="queued-h" {
                h2.lab id="queued-h" { (view.queued.len()) @if is_ended(&view.session) { (if view.queued.len() == 1 { " message was not delivered; a retry takes it along" } else { " messages were not delivered; a retry takes them along" }) }
                    @else { (if view.queued.len() == 1 { " message waits" } else { " messages wait" }) ", delivered in this order" } }
                ol { @for (at, message) in view.queued.iter().enumerate() { (one(view, at, message, now_ms)) } }
            }
        }
    }
}

fn one(view: &SessionView, at: usize, message: &QueuedMessage, now_ms: i64) -> Markup {
    let ids = bind(&[("session_id", &view.session.session_id)]);
    let edit = format!("edit-{}", message.message_id);
    let held = (message.delivery == "delivering").then_some("HSK-409-VERSION-CONFLICT It is being handed to the agent as a turn.");
    let why = why_not(&view.actions, "session.send");
    let why = held.or(why.as_deref());
    let act = |label: &str, more: (&str, serde_json::Value)| {
        let given = params(&[("message_id", message.message_id.as_str().into()), more]);
        op_button(OpButton { op: "session.send", label, class: "btn flat sm", bind: &ids, params: &given, then: Some("reload"), why_not: why, ..OpButton::default() })
    };
    html! {
        li id={ "m-" (message.message_id) } data-row data-copy=(message.message_id) {
            div.row.wrap {
                span.m.mut { (at + 1) }
                span.chip { (icon("clock")) (mode_name(&message.when)) }
                @match message.delivery.as_str() {
                    "delivering" => (st(Pip::Active, "being delivered")),
                    "unknown" => (st(Pip::Needs, "not known whether it arrived")),
                    _ => {},
                }
                span.cut.grow title=(t(&message.text)) { (t(&message.text)) }
                span.lab { (ago(message.queued_at_ms, now_ms)) }
                @if !is_ended(&view.session) { span.row {
                    button.btn.flat.sm type="button" data-toggle=(edit) aria-controls=(edit) aria-expanded="false" aria-disabled=[why.map(|_| "true")] data-why=[why.map(|why| t(why))] { "Edit" }
                    @if at > 0 { (act("Earlier", ("move", (at - 1).into()))) }
                    @if at + 1 < view.queued.len() { (act("Later", ("move", (at + 1).into()))) }
                    (act("Send now", ("now", true.into())))
                    (act("Remove", ("remove", true.into())))
                } }
            }
            div id=(edit) hidden data-panel {
                form.stack data-op="session.send" data-bind=(ids) data-params=(params(&[("message_id", message.message_id.as_str().into()), ("when", message.when.as_str().into())])) data-then="reload" {
                    label.sr for={ (edit) "-t" } { "Text of message " (at + 1) }
                    textarea.field id={ (edit) "-t" } name="edit" rows="3" required { (message.text) }
                    div.row { button.btn.flat.sm type="button" data-close=(edit) { "Leave it " kbd { "Esc" } } button.btn.sm.push type="submit" { "Change the message" } }
                    (said())
                }
            }
        }
    }
}
