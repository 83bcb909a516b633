//! The commit message: cleaned once, and given its trailers. Pure.

use dcc_core::failure::{Failure, Outcome};
use dcc_core::limits;
use dcc_core::plans::CommitPlan;
use dcc_core::ports::version::CommitStamp;

/// Line endings made plain, blank lines at both ends dropped. Trailers that only DCC may write are refused, so that a
/// commit cannot claim a job that did not make it.
pub(super) fn clean(message: &str) -> Outcome<String> {
    if message.len() > limits::TEXT_BYTES_MAX {
        return Err(Failure::invalid(format!("the message is longer than {} KiB", limits::TEXT_BYTES_MAX / 1024)));
    }
    let text = message.replace("\r\n", "\n");
    // A lone carriage return is a line's end to some readers and would carry a trailer past the look below.
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(Failure::invalid(format!("the message contains the control character {}", c.escape_unicode())).hint("only line ends and tabs are text"));
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).skip_while(|l| l.is_empty()).collect();
    let text = lines.join("\n").trim_end().to_owned();
    if text.is_empty() {
        return Err(Failure::invalid("a commit needs a message").hint("say in one line what changed and why"));
    }
    if let Some(line) = text.lines().find(|l| l.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("dcc-")) && l.contains(':')) {
        return Err(Failure::invalid(format!("the message holds the line {line:?}; DCC- trailers are written by DCC alone")).hint("leave that line out"));
    }
    Ok(text)
}

/// The message with the trailers that name the work, as `git interpret-trailers` would place them.
pub(super) fn with_trailers(plan: &CommitPlan, stamp: &CommitStamp) -> String {
    let mut trailers = vec![format!("DCC-Job: {}", stamp.job_id)];
    trailers.extend(plan.wp_id.as_ref().map(|id| format!("DCC-WP: {id}")));
    trailers.extend(plan.mt_id.as_ref().map(|id| format!("DCC-MT: {id}")));
    trailers.extend(plan.session_id.as_ref().map(|id| format!("DCC-Session: {id}")));
    let gap = if ends_in_trailers(&plan.message) { "\n" } else { "\n\n" };
    format!("{}{gap}{}\n", plan.message.trim_end(), trailers.join("\n"))
}

/// True when the last paragraph, not being the first, holds trailers only.
fn ends_in_trailers(message: &str) -> bool {
    let Some((_, last)) = message.trim_end().rsplit_once("\n\n") else { return false };
    let mut lines = last.lines();
    let is_trailer = |line: &str| {
        line.split_once(':').is_some_and(|(key, value)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && value.starts_with(' ')
        })
    };
    lines.next().is_some_and(is_trailer) && lines.all(|l| is_trailer(l) || l.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cleaned_and_forged_trailers_refused() {
        assert_eq!(clean("\n\n a \r\nb  \n\n").unwrap(), " a\nb");
        assert!(clean(" \n\t").is_err());
        assert!(clean("x\n\nDCC-Job: 1").is_err());
        assert!(clean("x\n\ndcc-wp: 1").is_err());
        assert!(clean("a dcc-like thing:\tfine").is_ok());
        for hidden in ["s\r\rDCC-Job: x\r", "s\rDCC-Job: x", "s\u{85}DCC-Job: x", "s\u{1b}[2K", "s\0"] {
            assert!(clean(hidden).unwrap_err().message.contains("control character"), "{hidden:?}");
        }
    }

    #[test]
    fn trailers_join_a_block_that_is_there() {
        assert!(!ends_in_trailers("fix: this"));
        assert!(!ends_in_trailers("a\n\nb c"));
        assert!(ends_in_trailers("a\n\nSigned-off-by: x <y>\n  more"));
    }
}
