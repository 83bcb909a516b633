//! Changed lines as a table, and one file with its head.
//!
//! Authority: derived from the diff the server made. Invariant: added and removed lines carry a sign
//! in text, colour is never alone.

use maud::{Markup, html};

use dcc_api::view::{DiffLine, FileDiff, FileRow};

use super::path::{path_key, path_text, path_whole};
use super::{failure_note, icon, pm};
use crate::safe_text::{SafeText, t};

/// Letter of a kind of change.
#[must_use]
pub fn kind_letter(kind: &str) -> &'static str {
    match kind {
        "added" | "created" => "A",
        "untracked" => "U",
        "deleted" => "D",
        "renamed" => "R",
        "type_changed" => "T",
        "mode_changed" => "X",
        "conflicted" => "!",
        "submodule" => "S",
        "read" => "r",
        _ => "M",
    }
}

/// A short id for a path that is safe in an attribute: FNV-1a over its key.
#[must_use]
pub fn path_id(file: &FileRow) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path_key(&file.path).bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("f{hash:016x}")
}

fn marked(line: &DiffLine) -> Markup {
    let mut parts: Vec<(bool, &str)> = Vec::new();
    let mut at = 0;
    for (start, end) in &line.marks {
        let (Some(before), Some(inside)) = (line.text.get(at..*start), line.text.get(*start..*end)) else { continue };
        parts.push((false, before));
        parts.push((true, inside));
        at = *end;
    }
    parts.push((false, line.text.get(at..).unwrap_or("")));
    html! {
        @for (mark, text) in parts {
            @if mark { mark { (SafeText::block(text)) } } @else { (SafeText::block(text)) }
        }
    }
}

/// Name of a row for assistive technology: `old 12, new 14`, `new 15, added`.
fn row_name(word: &str, line: &DiffLine) -> String {
    [line.old_number.map(|n| format!("old {n}")), line.new_number.map(|n| format!("new {n}")), (!word.is_empty()).then(|| word.to_owned())]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn row(line: &DiffLine) -> Markup {
    html! {
        @match line.kind.as_str() {
            "add" => tr.add {
                th.ln scope="row" aria-label=(row_name("added", line)) {}
                td.ln data-n=[line.new_number] {}
                td.sg { "+" } td.c { (marked(line)) }
            },
            "del" => tr.del {
                th.ln scope="row" data-n=[line.old_number] aria-label=(row_name("removed", line)) {}
                td.ln {}
                td.sg { "−" } td.c { (marked(line)) }
            },
            "no_newline" => tr { td.ln {} td.ln {} td.sg {} td.c.mut { "no line end at the end of the file" } },
            _ => tr {
                th.ln scope="row" data-n=[line.old_number] aria-label=(row_name("", line)) {}
                td.ln data-n=[line.new_number] {}
                td.sg {} td.c { (marked(line)) }
            },
        }
    }
}

/// The lines of a file.
#[must_use]
pub fn diff_lines(diff: &FileDiff) -> Markup {
    html! {
        @if let Some(failure) = &diff.failure { (failure_note(failure)) }
        @if let Some(plain) = &diff.file.plain { p.pad.plain { (t(plain)) } }
        @if !diff.hunks.is_empty() {
            table.diff aria-label={ "Changed lines of " (t(&path_text(&diff.file.path))) } {
                tbody {
                    @for (at, hunk) in diff.hunks.iter().enumerate() {
                        tr.hunk data-hunk {
                            td colspan="4" {
                                div.row {
                                    span.cut { (t(&hunk.header)) }
                                    span.push.lab { "hunk " (at + 1) " of " (diff.hunks.len()) @if let Some(note) = &hunk.note { " · " (t(note)) } }
                                }
                            }
                        }
                        @for line in &hunk.lines { (row(line)) }
                    }
                }
            }
        }
        @if let Some(truncated) = &diff.truncated { p.pad.lab { (t(truncated)) } }
        @if diff.hunks.is_empty() && diff.file.plain.is_none() && diff.failure.is_none() {
            p.pad.lab { "No changed lines: the content is equal." }
        }
    }
}

/// One file in the review: head with both boxes, and its lines now or when it comes into view.
#[must_use]
pub fn file_article(workspace_id: &str, file: &FileRow, diff: Option<&FileDiff>) -> Markup {
    let id = path_id(file);
    let name = path_text(&file.path);
    html! {
        article.df id={ "df-" (id) } data-file=(id) data-oid=(file.blob_oid) {
            header {
                button.btn.flat.sm.ico type="button" aria-expanded="true" aria-controls={ "body-" (id) } data-fold={ "body-" (id) } aria-label={ "Fold " (t(&name)) } { (icon("down")) }
                input.box type="checkbox" data-box=(id) aria-label={ "Select " (t(&name)) " for the commit" };
                h2.cut { (path_whole(&file.path)) }
                @if let Some(old) = &file.old_path { span.lab.cut { "from " (t(&path_text(old))) } }
                (pm(file.additions, file.deletions))
                @if let Some(by) = &file.touched_by { span.lab.cut { (t(by)) } }
                label.push { "viewed " input.seen type="checkbox" data-seen=(id) aria-label={ "Viewed " (t(&name)) }; }
            }
            // Lines that are shown stay as they are read; when the file moves on, a bar says so and offers the new ones.
            div.df-body id={ "body-" (id) } data-oid=(file.blob_oid) data-loaded[diff.is_some()]
                data-lazy={ "/ws/" (super::path::query(workspace_id)) "/file?" (path_key(&file.path)) } {
                @if let Some(diff) = diff { (diff_lines(diff)) } @else { p.pad.lab { "Lines load when this file comes into view." } }
            }
        }
    }
}
