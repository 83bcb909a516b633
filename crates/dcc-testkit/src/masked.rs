//! What differs from run to run taken out of an answer: ids, hashes, times. What is left must be equal.

use serde_json::Value;

/// Keys whose value is a place in the log or a moment, never a fact about the project.
const PASSING: [&str; 7] = ["seq", "age_s", "age_ms", "duration_ms", "pid", "start_ticks", "inode"];

/// The value with every id, hash and time replaced by a word.
pub fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(text)),
        Value::Array(all) => Value::Array(all.iter().map(masked).collect()),
        Value::Object(map) => Value::Object(map.iter().filter(|(key, _)| !PASSING.contains(&key.as_str())).map(|(key, value)| (mask_text(key), masked(value))).collect()),
        other => other.clone(),
    }
}

/// Ids, hashes (also shortened ones of 8 digits and more) and times in a text.
pub fn mask_text(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(length) = uuid_at(&bytes[at..]) {
            out.push_str("<id>");
            at += length;
        } else if let Some(length) = time_at(&bytes[at..]) {
            out.push_str("<time>");
            at += length;
        } else {
            let word = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
            if word == 0 {
                let char_length = text[at..].chars().next().map_or(1, char::len_utf8);
                out.push_str(&text[at..at + char_length]);
                at += char_length;
                continue;
            }
            let run = &text[at..at + word];
            let is_hash = word >= 8 && run.bytes().all(|b| b.is_ascii_hexdigit()) && run.bytes().any(|b| b.is_ascii_digit());
            out.push_str(if is_hash { "<hash>" } else { run });
            at += word;
        }
    }
    out
}

fn uuid_at(bytes: &[u8]) -> Option<usize> {
    let window = bytes.get(..36)?;
    let fits = window.iter().enumerate().all(|(n, b)| if matches!(n, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() });
    fits.then_some(36)
}

/// `2026-01-01T00:00:00` with fraction and Z.
fn time_at(bytes: &[u8]) -> Option<usize> {
    let window = bytes.get(..19)?;
    let fits = window.iter().enumerate().all(|(n, b)| match n {
        4 | 7 => *b == b'-',
        10 => *b == b'T',
        13 | 16 => *b == b':',
        _ => b.is_ascii_digit(),
    });
    fits.then(|| 19 + bytes[19..].iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'Z')).count())
}

#[cfg(test)]
mod tests {
    use super::mask_text;

    #[test]
    fn what_passes_is_masked_and_what_stays_is_not() {
        assert_eq!(mask_text("job 0199a0b2-7c31-7d2f-8a5b-0242ac120002 at 2026-01-01T00:00:00.123Z"), "job <id> at <time>");
        assert_eq!(mask_text("tree deadbeef01 of WP-0001 v3"), "tree <hash> of WP-0001 v3");
        assert_eq!(mask_text("abcdefab stays, ü stays, 12345 stays"), "abcdefab stays, ü stays, 12345 stays");
    }
}
