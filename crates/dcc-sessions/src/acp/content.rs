//! Content blocks: text, pictures, sounds, resources and links in what an agent says and shows.
//!
//! Pure. Invariants: no address is ever followed; a block of a kind that is not known is counted by its kind, never fatal.

use serde_json::Value;

use dcc_core::path::unbase64;
use dcc_core::plain_diff::plain_diff;
use dcc_core::ports::sessions::{Attachment, AttachmentSort, ToolContent};

use super::wire::shown;

/// Text and difference of one part of a tool call: the ledger shows the beginning, the review shows the whole.
const PART_TEXT_CHARS_MAX: usize = 1_000;
const PART_DIFF_BYTES_MAX: usize = 3 * 1024;
/// Parts of one tool call that are passed on.
const PARTS_MAX: usize = 50;

/// One block as it is understood.
#[derive(PartialEq, Debug)]
pub enum Block {
    Text(String),
    Attachment(Attachment),
    /// Its kind, made fit to be counted.
    Unknown(String),
}

/// Reads a block.
pub fn block(value: &Value) -> Block {
    let kind = value["type"].as_str().unwrap_or("without_type");
    let read = match kind {
        "text" => value["text"].as_str().map(|text| Block::Text(text.to_owned())),
        "image" => bytes_of(&value["data"]).map(|data| attached(AttachmentSort::Picture, value, Some(data))),
        "audio" => bytes_of(&value["data"]).map(|data| attached(AttachmentSort::Audio, value, Some(data))),
        "resource_link" => value["uri"].as_str().map(|_| attached(AttachmentSort::Link, value, None)),
        "resource" => resource(&value["resource"]),
        _ => return Block::Unknown(shown(kind, 64)),
    };
    read.unwrap_or_else(|| Block::Unknown(format!("{kind}:unreadable")))
}

fn resource(value: &Value) -> Option<Block> {
    let data = match value["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => bytes_of(&value["blob"])?,
    };
    Some(attached(AttachmentSort::Resource, value, Some(data)))
}

fn bytes_of(base64: &Value) -> Option<Vec<u8>> {
    unbase64(base64.as_str()?)
}

fn attached(sort: AttachmentSort, value: &Value, data: Option<Vec<u8>>) -> Block {
    let text = |key: &str| value[key].as_str().map(|text| shown(text, 500));
    Block::Attachment(Attachment { sort, mime: text("mimeType"), name: text("title").or_else(|| text("name")), uri: text("uri"), data, sha256: None, bytes: None })
}

/// The parts of a tool call's `content`. Text is left out when it stands for the output already.
pub fn parts(content: &Value, with_text: bool) -> Vec<ToolContent> {
    content.as_array().into_iter().flatten().take(PARTS_MAX).filter_map(|part| one_part(part, with_text)).collect()
}

fn one_part(part: &Value, with_text: bool) -> Option<ToolContent> {
    match part["type"].as_str()? {
        "content" => match block(&part["content"]) {
            Block::Text(text) => with_text.then(|| ToolContent::Text { text: shown(&text, PART_TEXT_CHARS_MAX) }),
            Block::Attachment(attachment) => Some(ToolContent::Attachment(attachment)),
            Block::Unknown(_) => None,
        },
        "diff" => {
            let mut text = plain_diff(part["oldText"].as_str(), part["newText"].as_str()?);
            let cut = text.len() > PART_DIFF_BYTES_MAX;
            if cut {
                text.truncate((0..=PART_DIFF_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            }
            Some(ToolContent::Diff { path: shown(part["path"].as_str()?, 500), text, cut })
        }
        "terminal" => Some(ToolContent::Terminal { terminal_id: shown(part["terminalId"].as_str()?, 128) }),
        _ => None,
    }
}

/// The text blocks of a tool call's `content`.
pub fn texts(content: &Value) -> Vec<String> {
    let text = |part: &Value| part["content"]["text"].as_str().map(str::to_owned);
    content.as_array().into_iter().flatten().take(PARTS_MAX).filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_of_every_kind_are_read() {
        assert_eq!(block(&json!({"type": "text", "text": "a"})), Block::Text("a".into()));
        let Block::Attachment(picture) = block(&json!({"type": "image", "data": "AQID", "mimeType": "image/png"})) else { panic!() };
        assert_eq!((picture.sort, picture.mime.as_deref(), picture.data.as_deref()), (AttachmentSort::Picture, Some("image/png"), Some(&[1, 2, 3][..])));
        let Block::Attachment(link) = block(&json!({"type": "resource_link", "uri": "file:///a", "name": "a", "title": "A"})) else { panic!() };
        assert_eq!((link.sort, link.name.as_deref(), link.uri.as_deref(), link.data), (AttachmentSort::Link, Some("A"), Some("file:///a"), None));
        for (resource, bytes) in [(json!({"uri": "x:", "text": "hi"}), &b"hi"[..]), (json!({"uri": "x:", "blob": "AQ=="}), &[1][..])] {
            let Block::Attachment(read) = block(&json!({"type": "resource", "resource": resource})) else { panic!() };
            assert_eq!((read.sort, read.data.as_deref()), (AttachmentSort::Resource, Some(bytes)));
        }
        assert!(matches!(block(&json!({"type": "audio", "data": "AQID", "mimeType": "audio/wav"})), Block::Attachment(a) if a.sort == AttachmentSort::Audio));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (value, kind) in [
            (json!({"type": "image", "data": "?"}), "image:unreadable"), (json!({"type": "hologram"}), "hologram"), (json!(3), "without_type"),
            (json!({"type": "resource", "resource": {"uri": "x:"}}), "resource:unreadable"),
        ] {
            assert_eq!(block(&value), Block::Unknown(kind.into()));
        }
    }

    #[test]
    fn parts_of_a_tool_call_are_read_and_cut() {
        let long = "line\n".repeat(5_000);
        let content = json!([
            {"type": "content", "content": {"type": "text", "text": "out"}}, {"type": "diff", "path": "/w/a", "oldText": "a\n", "newText": "b\n"},
            {"type": "diff", "path": "/w/new", "newText": long}, {"type": "terminal", "terminalId": "t-1"}, {"type": "novelty"}, 3]);
        let all = parts(&content, true);
        assert_eq!(all[0], ToolContent::Text { text: "out".into() });
        assert_eq!(all[1], ToolContent::Diff { path: "/w/a".into(), text: "@@ -1,1 +1,1 @@\n-a\n+b\n".into(), cut: false });
        assert!(matches!(&all[2], ToolContent::Diff { cut: true, text, .. } if text.len() <= PART_DIFF_BYTES_MAX));
        assert_eq!((all[3].clone(), all.len()), (ToolContent::Terminal { terminal_id: "t-1".into() }, 4));
        assert_eq!(parts(&content, false).len(), 3);
        assert_eq!(texts(&content), ["out"]);
    }
}
