//! What a person changed inside the zones, in words.

use std::collections::{BTreeMap, HashMap};

use dcc_core::locus::WpStatus;

use super::heading;
use super::zones::{Layout, lines, without_end};

/// Lines named before the rest is counted.
const SHOWN: usize = 5;
/// A line of somebody else's text inside a message.
const LINE_CHARS_MAX: usize = 120;

/// One sentence: which lines Locus does not have, and which of its own are missing.
pub(super) fn differences(layout: &Layout<'_>, lanes: &BTreeMap<WpStatus, Vec<String>>) -> String {
    let mut found = Vec::new();
    for lane in WpStatus::ALL {
        let ours = lanes.get(lane).map(Vec::as_slice).unwrap_or_default();
        let Some(zone) = layout.zones().find(|z| z.lane == *lane) else {
            found.push(format!("the lane {} is missing", heading(*lane)));
            continue;
        };
        let mut left: HashMap<&[u8], usize> = HashMap::new();
        for line in ours {
            *left.entry(line.as_bytes()).or_default() += 1;
        }
        for (number, line) in lines(zone.body).enumerate() {
            let line = without_end(line);
            match left.get_mut(line) {
                Some(count) if *count > 0 => *count -= 1,
                _ => found.push(format!("line {} ({}) is not Locus's", zone.line + number, shown(line))),
            }
        }
        for line in ours {
            if let Some(count) = left.get_mut(line.as_bytes()).filter(|c| **c > 0) {
                *count -= 1;
                found.push(format!("{} is missing under {}", shown(line.as_bytes()), heading(*lane)));
            }
        }
    }
    if found.is_empty() {
        return "the same entries stand in another order".to_owned();
    }
    let rest = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if rest > 0 {
        found.push(format!("and {rest} more"));
    }
    found.join("; ")
}

fn shown(line: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    if text.is_empty() {
        return "an empty line".to_owned();
    }
    if text.chars().count() <= LINE_CHARS_MAX { text.to_owned() } else { format!("{}…", text.chars().take(LINE_CHARS_MAX).collect::<String>()) }
}
