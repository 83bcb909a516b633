//! Paths of files: the name leads and is never cut; folders give way first.
//!
//! Authority: derived. Bytes that are not UTF-8 are shown as `\xNN` and travel as base64.

use std::fmt::Write as _;

use maud::{Markup, html};

use dcc_api::view::PathView;

use crate::safe_text::t;

/// The path as a person reads it.
#[must_use]
pub fn path_text(path: &PathView) -> String {
    match path {
        PathView::Text(text) => text.clone(),
        PathView::Bytes { b64 } => decode(b64).map_or_else(|| format!("(base64) {b64}"), |bytes| escape_bytes(&bytes)),
    }
}

/// A key that is equal for equal paths and differs otherwise; used for addresses and storage.
#[must_use]
pub fn path_key(path: &PathView) -> String {
    match path {
        PathView::Text(text) => format!("path={}", query(text)),
        PathView::Bytes { b64 } => format!("b64={}", query(b64)),
    }
}

/// The path as the operations take it: a JSON string or an object with base64.
#[must_use]
pub fn path_json(path: &PathView) -> String {
    serde_json::to_string(path).unwrap_or_default()
}

/// Percent-encodes a value of a query.
#[must_use]
pub fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn split(text: &str) -> (&str, &str) {
    text.rsplit_once('/').map_or(("", text), |(folder, name)| (folder, name))
}

/// Name first, folder after it, cut from the left: for lists.
#[must_use]
pub fn path_cell(path: &PathView) -> Markup {
    let text = path_text(path);
    let (folder, name) = split(&text);
    html! {
        span.path title=(t(&text)) {
            b { (t(name)) }
            @if !folder.is_empty() { span.dir { bdi { (t(folder)) } } }
        }
    }
}

/// The whole path in its order: for heads and cards.
#[must_use]
pub fn path_whole(path: &PathView) -> Markup {
    let text = path_text(path);
    let (folder, name) = split(&text);
    html! {
        span.path title=(t(&text)) {
            @if !folder.is_empty() { span { (t(folder)) "/" } }
            b { (t(name)) }
        }
    }
}

fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

/// Standard base64; `None` when it is not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_stay_readable() {
        let path = PathView::Bytes { b64: "c3JjL/8ucnM=".to_owned() };
        assert_eq!(path_text(&path), "src/\\xFF.rs");
        assert_eq!(path_key(&path), "b64=c3JjL/8ucnM%3D");
        assert_eq!(path_json(&PathView::from("a b")), "\"a b\"");
        assert_eq!(path_key(&PathView::from("a b&c")), "path=a%20b%26c");
    }
}
