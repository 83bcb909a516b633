//! Cutting a board file into what is ours and what is not.
//!
//! A marker is a line of its own; inside fenced code it is text. Anything unclear is a `Problem`, never a guess.

use dcc_core::Sha256Hex;
use dcc_core::locus::WpStatus;

use super::Problem;

pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// A piece of the file; all pieces joined give the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment<'a> {
    Foreign(&'a [u8]),
    Zone(Zone<'a>),
}

/// What stands between two markers, with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Zone<'a> {
    pub lane: WpStatus,
    /// The marker's line with its end.
    pub open: &'a [u8],
    pub body: &'a [u8],
    pub close: &'a [u8],
    /// Number of the body's first line, from 1.
    pub line: usize,
}

pub(super) struct Layout<'a> {
    pub segments: Vec<Segment<'a>>,
    /// Where fenced code is opened that nothing closes; text after it would be code.
    pub open_code: Option<usize>,
}

impl<'a> Layout<'a> {
    pub(super) fn zones(&self) -> impl Iterator<Item = &Zone<'a>> {
        self.segments.iter().filter_map(|s| match s {
            Segment::Zone(zone) => Some(zone),
            Segment::Foreign(_) => None,
        })
    }

    /// Hash of what is ours, whatever the order of the zones and the line endings.
    pub(super) fn zones_sha256(&self) -> Sha256Hex {
        let mut zones: Vec<_> = self.zones().collect();
        zones.sort_by_key(|z| z.lane);
        let mut bytes = Vec::new();
        for zone in zones {
            bytes.extend_from_slice(zone.lane.as_str().as_bytes());
            bytes.push(0);
            for line in lines(zone.body) {
                bytes.extend_from_slice(without_end(line));
                bytes.push(b'\n');
            }
            bytes.push(0);
        }
        Sha256Hex::of(&bytes)
    }
}

/// Lines with their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|b| *b == b'\n')
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

enum Marker {
    Open(WpStatus),
    Close,
}

fn marker(line: &[u8]) -> Result<Option<Marker>, String> {
    let text = line.strip_prefix(BOM).unwrap_or(line).trim_ascii();
    let Some(inner) = text.strip_prefix(b"<!--") else { return Ok(None) };
    let inner = inner.trim_ascii_start();
    if !inner.starts_with(b"dcc:lane") && !inner.starts_with(b"/dcc:lane") {
        return Ok(None);
    }
    let spelled = String::from_utf8_lossy(text).into_owned();
    if text == b"<!-- /dcc:lane -->" {
        return Ok(Some(Marker::Close));
    }
    let name = spelled.strip_prefix("<!-- dcc:lane ").and_then(|t| t.strip_suffix(" -->"));
    match name.map(WpStatus::parse) {
        Some(Some(lane)) => Ok(Some(Marker::Open(lane))),
        Some(None) => Err(format!("{} is not a lane", name.unwrap_or_default())),
        None => Err(format!("{spelled:?} is not a marker as DCC writes it")),
    }
}

/// Opening or closing line of fenced code: its character and length, and whether nothing else stands on it.
fn code_fence(line: &[u8]) -> Option<(u8, usize, bool)> {
    let indent = line.iter().take_while(|b| **b == b' ').count();
    let rest = line[indent..].trim_ascii_end();
    let mark = *rest.first().filter(|b| matches!(b, b'`' | b'~'))?;
    let length = rest.iter().take_while(|b| **b == mark).count();
    let info = &rest[length..];
    if indent > 3 || length < 3 || (mark == b'`' && info.contains(&b'`')) {
        return None;
    }
    Some((mark, length, info.is_empty()))
}

/// Cuts the file.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout<'_>, Problem> {
    let mut segments = Vec::new();
    let mut seen = Vec::new();
    let mut code: Option<(u8, usize, usize)> = None;
    let (mut foreign_from, mut at) = (0, 0);
    let mut open: Option<(WpStatus, usize, usize, usize)> = None;
    for (number, line) in lines(bytes).enumerate().map(|(n, l)| (n + 1, l)) {
        let problem = |message: String| Problem { line: number, message };
        let end = at + line.len();
        let fence = code_fence(without_end(line));
        match (open, code, fence) {
            (None, Some((mark, length, _)), Some((m, l, bare))) if m == mark && l >= length && bare => code = None,
            (None, Some(_), _) => {}
            (None, None, Some((mark, length, _))) => code = Some((mark, length, number)),
            _ => match (marker(without_end(line)).map_err(problem)?, open) {
                (Some(Marker::Open(lane)), None) => {
                    if seen.contains(&lane) {
                        return Err(problem(format!("lane {} stands there twice", lane.as_str())));
                    }
                    seen.push(lane);
                    segments.push(Segment::Foreign(&bytes[foreign_from..at]));
                    open = Some((lane, at, end, number + 1));
                }
                (Some(Marker::Open(_)), Some((lane, ..))) => return Err(problem(format!("lane {} is not closed before the next one", lane.as_str()))),
                (Some(Marker::Close), Some((lane, from, body, first))) => {
                    segments.push(Segment::Zone(Zone { lane, open: &bytes[from..body], body: &bytes[body..at], close: &bytes[at..end], line: first }));
                    foreign_from = end;
                    open = None;
                }
                (Some(Marker::Close), None) => return Err(problem("a lane is closed that is not open".to_owned())),
                (None, _) => {}
            },
        }
        at = end;
    }
    if let Some((lane, _, _, first)) = open {
        return Err(Problem { line: first - 1, message: format!("lane {} is never closed", lane.as_str()) });
    }
    segments.push(Segment::Foreign(&bytes[foreign_from..]));
    Ok(Layout { segments, open_code: code.map(|(_, _, line)| line) })
}
