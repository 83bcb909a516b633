//! Buttons and forms that ask for an operation. The script reads `data-op`, `data-bind` and
//! `data-params`, posts one job and shows what became of it in the slot `.said`.
//!
//! Authority: derived. Invariants: a refused operation stays reachable and says why.

use maud::{Markup, html};

use dcc_api::view::ActionView;
use dcc_core::Code;
use dcc_core::op::Op;
use dcc_core::principal::Role;
use dcc_core::session::Lane;
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

/// What a session's start may say besides: role, lane, purpose, limits. Empty = as usual.
#[must_use]
pub fn start_more(prefix: &str) -> Markup {
    html! {
        details id={ (prefix) "-more" } {
            summary.row.lab { (icon("right")) span { "Role, lane and limits" } }
            div.three-up {
                div.fl { label.lab for={ (prefix) "-role" } { "Role" } select.field id={ (prefix) "-role" } name="role" { option value="" { "coder" } @for role in [Role::Validator, Role::Orchestrator] { option value=(role.as_str()) { (role.as_str()) } } } }
                div.fl { label.lab for={ (prefix) "-lane" } { "Lane" } select.field id={ (prefix) "-lane" } name="lane" { option value="" { "as its role has it" } @for lane in Lane::ALL { option value=(lane.as_str()) { (lane.as_str().to_lowercase()) } } } }
                div.fl { label.lab for={ (prefix) "-purpose" } { "What it is for" } input.field id={ (prefix) "-purpose" } name="purpose" autocomplete="off"; }
                div.fl { label.lab for={ (prefix) "-tok" } { "At most so many tokens, in and out" } input.field.m id={ (prefix) "-tok" } name="budget.max_tokens" type="number" min="1" step="1" data-type="int"; }
                div.fl { label.lab for={ (prefix) "-cost" } { "At most so much, in USD" } input.field.m id={ (prefix) "-cost" } name="budget.max_cost" inputmode="decimal" placeholder="4.10" pattern="[0-9]+([.][0-9]{1,6})?" title="A decimal amount such as 4.10" autocomplete="off"; }
                div.fl { label.lab for={ (prefix) "-min" } { "At most so many minutes in turns" } input.field.m id={ (prefix) "-min" } name="budget.max_wall_ms" type="number" min="1" step="1" data-type="minutes"; }
            }
            p.lab.says { "At 80 percent of a limit you are warned; at the limit the turn is stopped and the session rests." }
        }
    }
}
