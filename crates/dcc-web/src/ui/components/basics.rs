//! Icons, short ids, numbers.
//!
//! Authority: derived.

use maud::{Markup, html};

use dcc_api::view::CostView;

use crate::safe_text::t;

/// One symbol of the inlined sprite; always beside a word or a name for assistive technology.
#[must_use]
pub fn icon(name: &str) -> Markup {
    html! { svg.i aria-hidden="true" { use href={ "#i-" (name) } {} } }
}

/// An id in its short form: ids made from a clock show their last eight characters.
#[must_use]
pub fn short(id: &str) -> &str {
    if id.len() <= 14 || !id.is_ascii() {
        return id;
    }
    if id.len() == 40 || id.len() == 64 {
        return &id[..7];
    }
    &id[id.len() - 8..]
}

/// Thousands parted by a thin space.
#[must_use]
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    if number < 0 {
        out.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Tokens in short form: `212 k`.
#[must_use]
pub fn tokens(number: i64) -> String {
    match number {
        n if n >= 10_000 => format!("{} k", n / 1000),
        n if n >= 1000 => format!("{}.{} k", n / 1000, n % 1000 / 100),
        n => n.to_string(),
    }
}

/// Bytes in short form.
#[must_use]
pub fn bytes(number: i64) -> String {
    match number {
        n if n >= 1_000_000_000 => format!("{}.{} GB", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
        n if n >= 1_000_000 => format!("{} MB", n / 1_000_000),
        n if n >= 1000 => format!("{} KB", n / 1000),
        n => format!("{n} B"),
    }
}

/// Lines added and removed; zero is left out.
#[must_use]
pub fn pm(additions: Option<i64>, deletions: Option<i64>) -> Markup {
    html! {
        span.pm {
            @if let Some(n) = additions.filter(|n| *n > 0) { span.plus { "+" (thousands(n)) } }
            @if additions.is_some_and(|n| n > 0) && deletions.is_some_and(|n| n > 0) { " " }
            @if let Some(n) = deletions.filter(|n| *n > 0) { span.minus { "−" (thousands(n)) } }
        }
    }
}

/// Money with its source.
#[must_use]
pub fn money(cost: &CostView) -> Markup {
    let sign = if cost.currency == "USD" { "$" } else { "" };
    html! {
        span.m { (sign) (t(&cost.amount)) @if sign.is_empty() { " " (t(&cost.currency)) } }
        " " span.lab { (t(&cost.source)) }
    }
}

/// One tick for each micro-task.
#[must_use]
pub fn segs(statuses: &[String]) -> Markup {
    let done = statuses.iter().filter(|status| matches!(status.as_str(), "completed" | "skipped")).count();
    let total = statuses.len();
    html! {
        @if total > 0 {
            span.segs role="img" aria-label={ (done) " of " (total) " micro-tasks done" } {
                @for status in statuses.iter().take(12) {
                    @match status.as_str() {
                        "completed" | "skipped" => i.on {},
                        "in_progress" => i.now {},
                        "blocked" | "failed" => i.bad {},
                        _ => i {},
                    }
                }
            }
            span.m.mut { (done) "/" (total) }
        }
    }
}

/// How much of a limit is used: a bar of ten steps, the percent, and the level in words when it matters.
#[must_use]
pub fn budget_bar(budget: &dcc_api::view::BudgetView) -> Markup {
    let filled = budget.percent.clamp(0, 100);
    html! {
        span.budget title=(t(&budget.words)) {
            meter min="0" max="100" value=(filled) aria-label={ "Budget used: " (t(&budget.words)) } {}
            " " span.m { (budget.percent) " %" }
            @if budget.level == "hard" { " " b.st-failed { "used up" } } @else if budget.level == "soft" { " " b.st-needs { "near the limit" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_and_numbers() {
        assert_eq!(short("WP-0001"), "WP-0001");
        assert_eq!(short("0192f3a4-1111-7abc-8def-0123456789ab"), "456789ab");
        assert_eq!(short(&"a".repeat(40)), "aaaaaaa");
        assert_eq!(thousands(18_234), "18\u{202f}234");
        assert_eq!(thousands(999), "999");
        assert_eq!(tokens(212_400), "212 k");
        assert_eq!(tokens(1_240), "1.2 k");
    }
}
