//! Buttons and forms that ask for an operation. The script reads `data-op`, `data-bind` and
//! `data-params`, posts one job and shows what became of it in the slot `.said`.
//!
//! Authority: derived. Invariants: a refused operation stays reachable and says why.

use maud::{Markup, html};

use dcc_api::view::ActionView;
use dcc_core::Code;
use dcc_core::op::Op;
use serde_json::{Map, Value};

use super::icon;
use crate::safe_text::t;

/// Bindings as the attribute holds them.
#[must_use]
pub fn bind(pairs: &[(&str, &str)]) -> String {
    params(&pairs.iter().map(|(name, value)| (*name, Value::from(*value))).collect::<Vec<_>>())
}

/// Parameters as the attribute holds them.
#[must_use]
pub fn params(pairs: &[(&str, Value)]) -> String {
    let map: Map<String, Value> = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Value::Object(map).to_string()
}

/// Code and sentence of an operation that is refused now; `None` when it may be asked for.
#[must_use]
pub fn why_not(actions: &[ActionView], op: &str) -> Option<String> {
    let Some(action) = actions.iter().find(|action| action.op == op && !action.enabled) else { return not_built_why(op) };
    Some(action.failure.as_ref().map_or_else(
        || "not possible in this state".to_owned(),
        |failure| format!("{} {}", failure.code, failure.message),
    ))
}

/// The reason of an operation that this build does not hold; the part after `:` names its target.
fn not_built_why(op: &str) -> Option<String> {
    let op = Op::parse(op.split(':').next().unwrap_or(op)).ok()?;
    (!op.is_built()).then(|| format!("{} not built yet", Code::NotBuilt.as_str()))
}

/// What a button asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpButton<'a> {
    pub op: &'a str,
    pub label: &'a str,
    pub icon: Option<&'a str>,
    pub key: Option<&'a str>,
    /// `btn sm` and the like.
    pub class: &'a str,
    /// JSON of [`bind`].
    pub bind: &'a str,
    /// JSON of [`params`]; empty for none.
    pub params: &'a str,
    /// Where to go when it is done: `/wp/{wp_id}`.
    pub then: Option<&'a str>,
    /// Why it is refused now.
    pub why_not: Option<&'a str>,
}

/// One button, one operation.
#[must_use]
pub fn op_button(button: OpButton<'_>) -> Markup {
    let missing = not_built_why(button.op);
    let why_not = missing.as_deref().or(button.why_not);
    html! {
        button class=(button.class) type="button" data-op=(button.op) data-bind=(button.bind)
            data-params=[(!button.params.is_empty()).then_some(button.params)]
            data-then=[button.then] data-key=[button.key]
            aria-disabled=[why_not.map(|_| "true")]
            data-why=[why_not.map(|why| t(why))] title=[why_not.map(|why| t(why))] {
            @if let Some(name) = button.icon { (icon(name)) " " }
            (button.label)
            @if let Some(key) = button.key { " " kbd { (key) } }
        }
    }
}

/// Where the answer to an operation appears; the script owns its content.
#[must_use]
pub fn said() -> Markup {
    html! { div.said data-local role="status" {} }
}

/// A labelled text field.
#[must_use]
pub fn field_text(id: &str, name: &str, label: &str, value: &str, required: bool) -> Markup {
    html! {
        div.fl {
            label.lab for=(id) { (label) }
            input.field id=(id) name=(name) value=(t(value)) required[required] autocomplete="off";
        }
    }
}

/// A labelled field with one item a line.
#[must_use]
pub fn field_lines(id: &str, name: &str, label: &str, hint: &str, rows: u8, required: bool) -> Markup {
    html! {
        div.fl {
            label.lab for=(id) { (label) @if !hint.is_empty() { " " span.mut { "· " (hint) } } }
            textarea.field id=(id) name=(name) rows=(rows) data-type="lines" required[required] {}
        }
    }
}
