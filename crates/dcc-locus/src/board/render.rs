//! The canonical rendering: foreign bytes as they are, zones from Locus.

use std::collections::BTreeMap;

use dcc_core::locus::WpStatus;

use super::zones::{Layout, Segment, layout};
use super::{BoardEntry, Problem, heading, token};

const OPENING: &str = "# Task Board\n\nDCC writes what stands between the markers. Everything else is yours.\n";

/// Renders into the file as it stands, or a new one. Lanes the file lacks are added at its end.
pub fn render(existing: Option<&[u8]>, entries: &[BoardEntry]) -> Result<Vec<u8>, Problem> {
    let existing = existing.unwrap_or(OPENING.as_bytes());
    render_into(&layout(existing)?, existing, &lanes(entries))
}

/// The entries' lines by lane, ordered by priority, then id.
pub(super) fn lanes(entries: &[BoardEntry]) -> BTreeMap<WpStatus, Vec<String>> {
    let mut sorted: Vec<&BoardEntry> = entries.iter().collect();
    sorted.sort_by(|a, b| (a.priority, &a.wp_id).cmp(&(b.priority, &b.wp_id)));
    let mut lanes: BTreeMap<WpStatus, Vec<String>> = WpStatus::ALL.iter().map(|s| (*s, Vec::new())).collect();
    for entry in sorted {
        lanes.entry(entry.status).or_default().push(line(entry));
    }
    lanes
}

fn line(entry: &BoardEntry) -> String {
    let title = one_line(&entry.title);
    let head = format!("- **[{}]** - [{}]", entry.wp_id, token(entry.status));
    if title.is_empty() { head } else { format!("{head} - {title}") }
}

/// A title as it may stand in a list item: one line, nothing that hides or reorders text, no comment of HTML.
fn one_line(title: &str) -> String {
    let visible: String = title.chars().map(|c| if c.is_control() || hides(c) { ' ' } else { c }).collect();
    let words = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    words.replace("<!--", "&lt;!--").replace("-->", "--&gt;")
}

/// Line separators, bidirectional controls, zero-width characters and the byte order mark.
fn hides(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

pub(super) fn render_into(layout: &Layout<'_>, existing: &[u8], lanes: &BTreeMap<WpStatus, Vec<String>>) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(existing.len() + 1024);
    let mut missing: Vec<WpStatus> = WpStatus::ALL.to_vec();
    for segment in &layout.segments {
        match segment {
            Segment::Foreign(bytes) => out.extend_from_slice(bytes),
            Segment::Zone(zone) => {
                missing.retain(|lane| *lane != zone.lane);
                let end: &[u8] = if zone.open.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
                out.extend_from_slice(zone.open);
                for line in lanes.get(&zone.lane).into_iter().flatten() {
                    out.extend_from_slice(line.as_bytes());
                    out.extend_from_slice(end);
                }
                out.extend_from_slice(zone.close);
            }
        }
    }
    if let (Some(line), false) = (layout.open_code, missing.is_empty()) {
        return Err(Problem { line, message: "fenced code is opened here and never closed, so lanes added at the end would be code".to_owned() });
    }
    let end = if crlf(existing) { "\r\n" } else { "\n" };
    for lane in missing {
        append(&mut out, lane, lanes, end);
    }
    Ok(out)
}

/// The file's line ending is that of its first line.
fn crlf(bytes: &[u8]) -> bool {
    bytes.iter().position(|b| *b == b'\n').is_some_and(|at| at > 0 && bytes[at - 1] == b'\r')
}

fn append(out: &mut Vec<u8>, lane: WpStatus, lanes: &BTreeMap<WpStatus, Vec<String>>, end: &str) {
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(end.as_bytes());
    }
    if !out.is_empty() && !out.ends_with(b"\n\n") && !out.ends_with(b"\n\r\n") {
        out.extend_from_slice(end.as_bytes());
    }
    let mut text = format!("## {}{end}{end}<!-- dcc:lane {} -->{end}", heading(lane), lane.as_str());
    for line in lanes.get(&lane).into_iter().flatten() {
        text.push_str(line);
        text.push_str(end);
    }
    text.push_str("<!-- /dcc:lane -->");
    text.push_str(end);
    out.extend_from_slice(text.as_bytes());
}
