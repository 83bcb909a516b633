//! Times: relative and short, with the absolute time behind; clocks in feeds.
//!
//! Authority: derived. The server writes UTC; the page's script shows clocks in the reader's zone and
//! keeps ages running. Failure: a time before 1970 is shown as 1970.

use maud::{Markup, html};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Year, month, day of a count of days since 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn iso(at_ms: i64) -> String {
    let at_ms = at_ms.max(0);
    let (year, month, day) = civil(at_ms.div_euclid(DAY));
    let rest = at_ms.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / HOUR,
        rest / MINUTE % 60,
        rest / SECOND % 60,
        rest % SECOND
    )
}

fn absolute(at_ms: i64) -> String {
    let iso = iso(at_ms);
    format!("{} {} UTC", &iso[..10], &iso[11..19])
}

/// A span in short words: `12 s`, `4 m`, `2 h 14 m`, `3 d`.
#[must_use]
pub fn span(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < MINUTE => format!("{} s", ms / SECOND),
        ms if ms < HOUR => format!("{} m", ms / MINUTE),
        ms if ms < DAY => format!("{} h {:02} m", ms / HOUR, ms / MINUTE % 60),
        ms => format!("{} d", ms / DAY),
    }
}

/// A measured duration: `34 ms`, `0.8 s`, `38.2 s`, `3 m 41 s`.
#[must_use]
pub fn duration(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < 100 => format!("{ms} ms"),
        ms if ms < MINUTE => format!("{}.{} s", ms / SECOND, ms % SECOND / 100),
        ms if ms < HOUR => format!("{} m {:02} s", ms / MINUTE, ms / SECOND % 60),
        ms => format!("{} h {:02} m", ms / HOUR, ms / MINUTE % 60),
    }
}

/// An age that keeps running: `4 m`.
#[must_use]
pub fn ago(at_ms: i64, now_ms: i64) -> Markup {
    html! {
        time datetime=(iso(at_ms)) title=(absolute(at_ms)) data-ago=(at_ms) { (span(now_ms - at_ms)) }
    }
}

/// An age as words in a sentence: `12 s ago`, `1 min ago`.
#[must_use]
pub fn ago_words(at_ms: i64, now_ms: i64) -> Markup {
    html! {
        time datetime=(iso(at_ms)) title=(absolute(at_ms)) data-ago=(at_ms) data-ago-words { (span_words(now_ms - at_ms)) }
    }
}

fn span_words(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < MINUTE => format!("{} s ago", ms / SECOND),
        ms if ms < HOUR => format!("{} min ago", ms / MINUTE),
        ms if ms < DAY => format!("{} h ago", ms / HOUR),
        ms if ms < 2 * DAY => "1 day ago".to_owned(),
        ms => format!("{} days ago", ms / DAY),
    }
}

/// A clock with seconds.
#[must_use]
pub fn clock(at_ms: i64) -> Markup {
    html! { time datetime=(iso(at_ms)) title=(absolute(at_ms)) data-clock="s" { (&iso(at_ms)[11..19]) } }
}

/// A clock with milliseconds, for the record.
#[must_use]
pub fn clock_full(at_ms: i64) -> Markup {
    html! { time datetime=(iso(at_ms)) title=(absolute(at_ms)) data-clock="ms" { (&iso(at_ms)[11..23]) } }
}

/// A deadline or end: hours and minutes, with the date when it is another day.
#[must_use]
pub fn until(at_ms: i64, now_ms: i64) -> Markup {
    let iso = iso(at_ms);
    let same_day = at_ms.div_euclid(DAY) == now_ms.div_euclid(DAY);
    html! {
        time datetime=(iso) title=(absolute(at_ms)) data-clock="m" {
            @if !same_day { (&iso[5..10]) " " } (&iso[11..16])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_and_spans() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(1_795_344_132_044), "2026-11-22T10:42:12.044Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(span(12_400), "12 s");
        assert_eq!(span(2 * HOUR + 14 * MINUTE), "2 h 14 m");
        assert_eq!(span_words(61_000), "1 min ago");
        assert_eq!(span_words(3 * DAY), "3 days ago");
        assert_eq!(duration(221_000), "3 m 41 s");
        assert_eq!((duration(34).as_str(), duration(840).as_str()), ("34 ms", "0.8 s"));
    }
}
