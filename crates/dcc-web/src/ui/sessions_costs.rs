//! What sessions used, by project, packet, provider and session, beside the limits of each.
//!
//! Authority: derived. A cost names its source; one that could not be added is said.

use maud::{Markup, html};

use dcc_api::view::CostRow;

use super::components::basics::{budget_bar, tokens};
use super::components::time::span;
use super::components::money;
use crate::safe_text::t;

/// The panel, closed.
#[must_use]
pub fn costs(rows: &[CostRow]) -> Markup {
    html! {
        section.panel.costs id="costs" hidden data-panel aria-labelledby="costs-h" {
            div.row { h2 id="costs-h" { "Costs" } span.lab { "up to each session's last turn; limits: " span.m { "dcc budget set" } } button.btn.flat.sm.push type="button" data-close="costs" { "Close " kbd { "Esc" } } }
            div.scroll tabindex="0" role="region" aria-labelledby="costs-h" { table.tbl.tight.stackable {
                thead { tr { th { "Of" } th.n { "Sessions" } th.n { "Tokens in / out" } th.n { "Cost" } th.n { "In turns" } th { "Limit" } th.n { "Warns at" } } }
                tbody {
                    @for (scope, title) in [("project", "Project"), ("packet", "Packets"), ("provider", "Providers"), ("session", "Sessions that used most")] {
                        @if rows.iter().any(|row| row.scope == scope) { tr.grp { th colspan="7" scope="colgroup" { (title) } } }
                        @for row in rows.iter().filter(|row| row.scope == scope) { (line(row)) }
                    }
                }
            } }
        }
    }
}

fn line(row: &CostRow) -> Markup {
    html! {
        tr {
            th.cut scope="row" { @if let Some(href) = &row.href { a.link href=(href) { (t(&row.name)) } } @else { (t(&row.name)) } }
            td.n data-label="sessions" { (row.sessions) }
            td.n data-label="tokens" { @if row.tokens_in + row.tokens_out == 0 { span.mut { "not reported" } } @else { (tokens(row.tokens_in)) " / " (tokens(row.tokens_out)) } }
            td.n data-label="cost" { @if let Some(cost) = &row.cost { (money(cost)) @if row.mixed { " " span.lab { "and others in another currency" } } } @else { span.mut { "?" } } }
            td.n data-label="in turns" { (span(row.wall_ms)) }
            td.nw data-label="limit" { @if let Some(budget) = &row.budget { (budget_bar(budget)) " " span.lab { (t(&budget.words)) } } @else if row.scope == "provider" { span.mut { "by packet or session" } } @else { span.mut { "none" } } }
            td.n data-label="warns at" { @if let Some(percent) = row.soft_percent { (percent) " %" } }
        }
    }
}
