//! Redaction of secrets before anything is hashed or stored (GOVERNANCE 8). Pure.
//!
//! Authority: none; it makes canon safe to keep. What it finds: passwords in URLs, bearer and basic credentials,
//! authorization and cookie headers, key formats that name themselves (AWS, GitHub, GitLab, Slack, `sk-`, PEM, JWT and
//! others), and assignments to names such as `password` or `api_key`. It errs towards removing too much.
//!
//! Invariants: never panics; time is linear in the input, because every scanner decides on a bounded look ahead or
//! starts only where no earlier one can have scanned the same run; cuts fall beside ASCII bytes only, so valid UTF-8
//! stays valid. What it cannot find is a secret without form or name; nothing here is a licence to record one.

mod assign;
mod known;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use assign::Name;
pub use known::{known_in, refuse_known, without_known};

/// What stands where a secret stood.
pub const MARK: &str = "[redacted]";
/// Values nested deeper than this are replaced as a whole: JSON that deep could not be read back.
pub const DEPTH_MAX: usize = 120;
/// How far a scanner looks before it decides.
const LOOK_BYTES: usize = 64;

/// Bytes to replace: from `start` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

/// By what something is taken for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Address,
    PrivateKey,
    /// A key whose beginning says what it is.
    Key(&'static str),
    WebToken,
    Credentials,
    /// The value of a name that says so.
    Assigned(Name),
}

/// Redacts a JSON value: all its strings, the names of its members, and whole strings whose member name says that they
/// are secret. Returns the clean value and how many places were replaced.
pub fn redact(value: &Value) -> (Value, usize) {
    let mut count = 0;
    let clean = walk(value, Name::Plain, 0, &mut count);
    (clean, count)
}

/// Redacts text. Returns the clean text and how many places were replaced.
pub fn redact_text(text: &str) -> (String, usize) {
    let (bytes, count) = redact_bytes(text.as_bytes());
    (String::from_utf8_lossy(&bytes).into_owned(), count)
}

/// Redacts captured output of unknown encoding; all other bytes stay as they are.
pub fn redact_bytes(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut kept, mut count) = (0, 0, 0);
    while at < bytes.len() {
        match find_at(bytes, at) {
            Some((_, span)) => {
                out.extend_from_slice(&bytes[kept..span.start]);
                out.extend_from_slice(MARK.as_bytes());
                kept = span.end;
                at = span.end.max(at + 1);
                count += 1;
            }
            None => at += 1,
        }
    }
    out.extend_from_slice(&bytes[kept..]);
    (out, count)
}

/// How deep a value is nested; a scalar is 0. Stops counting just above [`DEPTH_MAX`].
pub fn depth(value: &Value) -> usize {
    fn inner(value: &Value, level: usize) -> usize {
        if level > DEPTH_MAX {
            return level;
        }
        match value {
            Value::Array(items) => items.iter().map(|v| inner(v, level + 1)).max().unwrap_or(level + 1),
            Value::Object(map) => map.values().map(|v| inner(v, level + 1)).max().unwrap_or(level + 1),
            _ => level,
        }
    }
    inner(value, 0)
}

fn walk(value: &Value, name: Name, level: usize, count: &mut usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if level >= DEPTH_MAX => {
            *count += 1;
            Value::String(MARK.to_owned())
        }
        Value::Array(items) => Value::Array(items.iter().map(|v| walk(v, name, level + 1, count)).collect()),
        Value::Object(map) => {
            let mut clean = Map::new();
            for (key, member) in map {
                let (mut shown, found) = redact_text(key);
                *count += found;
                // Two names that become one keep both members.
                while clean.contains_key(&shown) {
                    shown.push('#');
                }
                clean.insert(shown, walk(member, assign::member_name(key), level + 1, count));
            }
            Value::Object(clean)
        }
        Value::String(text) if assign::member_is_secret(name, text) => {
            *count += 1;
            Value::String(MARK.to_owned())
        }
        Value::String(text) => {
            let (clean, found) = redact_text(text);
            *count += found;
            Value::String(clean)
        }
        other => other.clone(),
    }
}

/// The secret that is introduced at `at`, if any.
fn find_at(bytes: &[u8], at: usize) -> Option<(Form, Span)> {
    let assigned = || assign::assignment(bytes, at).map(|(name, span)| (Form::Assigned(name), span));
    match bytes[at] {
        b':' => url_password(bytes, at).map(|span| (Form::Address, span)),
        b'-' => pem(bytes, at).map(|span| (Form::PrivateKey, span)).or_else(assigned),
        b if is_word(b) => {
            let previous = before(bytes, at);
            if is_word(previous) {
                return None;
            }
            key_format(bytes, at)
                .map(|(prefix, span)| (Form::Key(prefix), span))
                .or_else(|| json_web_token(bytes, at, previous).map(|span| (Form::WebToken, span)))
                .or_else(|| scheme(bytes, at).map(|span| (Form::Credentials, span)))
                .or_else(assigned)
        }
        _ => None,
    }
}

/// The byte before; a space for the letter of an escape, as a line's end is written inside JSON.
fn before(bytes: &[u8], at: usize) -> u8 {
    match bytes[..at] {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'] => b' ',
        [.., last] => last,
        [] => b' ',
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn is_word_or_dash(b: u8) -> bool {
    is_word(b) || b == b'-'
}

/// Where the run of bytes that satisfy `test` ends.
fn run_end(bytes: &[u8], from: usize, test: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|b| !test(*b)).map_or(bytes.len(), |n| from + n)
}

/// The same, at most [`LOOK_BYTES`] further.
fn look(bytes: &[u8], from: usize, test: impl Fn(u8) -> bool) -> &[u8] {
    let limit = bytes.len().min(from + LOOK_BYTES);
    let end = run_end(&bytes[..limit], from, test);
    &bytes[from..end]
}

fn starts_with_ignore_case(bytes: &[u8], at: usize, prefix: &[u8]) -> bool {
    bytes.get(at..at + prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// `scheme://user:password@host`: the password; `https://token@host`: the token.
fn url_password(bytes: &[u8], colon: usize) -> Option<Span> {
    if !bytes[colon..].starts_with(b"://") {
        return None;
    }
    let start = colon + 3;
    let ends_authority = |b: u8| matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\') || b.is_ascii_whitespace();
    let mut end = run_end(bytes, start, |b| !ends_authority(b));
    let first_colon = bytes[start..end].iter().position(|b| *b == b':').map(|n| start + n);
    if !bytes[start..end].contains(&b'@') {
        // A password that holds an unescaped `/`, `?` or `#` is not valid in a URL, but people write it.
        let after = first_colon? + 1;
        if bytes[after..end].iter().all(u8::is_ascii_digit) && after < end {
            return None;
        }
        let limit = bytes.len().min(end + 4 * LOOK_BYTES);
        end = run_end(&bytes[..limit], end, |b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>'));
    }
    let host_mark = start + bytes[start..end].iter().rposition(|b| *b == b'@')?;
    let user_info = &bytes[start..host_mark];
    let secret_from = match user_info.iter().position(|b| *b == b':') {
        // Some hosts take the token as the user's name.
        Some(n) if matches!(&user_info[n + 1..], b"" | b"x-oauth-basic") => start,
        Some(n) => start + n + 1,
        None if is_web_scheme(bytes, colon) && user_info != b"git" => start,
        None => return None,
    };
    let span = Span { start: secret_from, end: host_mark };
    (span.start < span.end && &bytes[span.start..span.end] != MARK.as_bytes()).then_some(span)
}

fn is_web_scheme(bytes: &[u8], colon: usize) -> bool {
    let before = &bytes[..colon];
    let ends = |name: &[u8]| before.len() >= name.len() && before[before.len() - name.len()..].eq_ignore_ascii_case(name);
    ends(b"http") || ends(b"https")
}

/// A PEM private key up to its end line; to the end of the text when that is cut off.
fn pem(bytes: &[u8], at: usize) -> Option<Span> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    if !bytes[at..].starts_with(BEGIN) {
        return None;
    }
    let label = look(bytes, at + BEGIN.len(), |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
    let is_key = label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK");
    let body = at + BEGIN.len() + label.len();
    if !is_key || !bytes[body..].starts_with(b"-----") {
        return None;
    }
    let end = bytes[body..].windows(END.len()).position(|w| w == END).map_or(bytes.len(), |n| {
        let label_end = run_end(bytes, body + n + END.len(), |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
        run_end(bytes, label_end, |b| b == b'-')
    });
    Some(Span { start: at, end })
}

/// Which bytes a self-naming key is made of.
#[derive(Clone, Copy)]
enum Alphabet {
    Upper,
    Word,
    WordDash,
    WordDashDot,
}

impl Alphabet {
    fn has(self, b: u8) -> bool {
        match self {
            Self::Upper => b.is_ascii_uppercase() || b.is_ascii_digit(),
            Self::Word => is_word(b),
            Self::WordDash => is_word_or_dash(b),
            Self::WordDashDot => is_word_or_dash(b) || b == b'.',
        }
    }
}

/// Prefix, least number of bytes after it (below [`LOOK_BYTES`]), and what they are made of.
const KEY_FORMATS: &[(&str, usize, Alphabet)] = &[
    ("AKIA", 16, Alphabet::Upper),
    ("ASIA", 16, Alphabet::Upper),
    ("ABIA", 16, Alphabet::Upper),
    ("ACCA", 16, Alphabet::Upper),
    ("AIza", 35, Alphabet::WordDash),
    ("SG.", 32, Alphabet::WordDashDot),
    ("dckr_pat_", 20, Alphabet::WordDash),
    ("ghp_", 16, Alphabet::Word),
    ("gho_", 16, Alphabet::Word),
    ("ghu_", 16, Alphabet::Word),
    ("ghs_", 16, Alphabet::Word),
    ("ghr_", 16, Alphabet::Word),
    ("github_pat_", 16, Alphabet::Word),
    ("glpat-", 16, Alphabet::WordDash),
    ("hf_", 30, Alphabet::Word),
    ("npm_", 30, Alphabet::Word),
    ("pypi-", 32, Alphabet::WordDash),
    ("rk_live_", 10, Alphabet::Word),
    ("rk_test_", 10, Alphabet::Word),
    ("sk-", 16, Alphabet::WordDash),
    ("sk_live_", 10, Alphabet::Word),
    ("sk_test_", 10, Alphabet::Word),
    ("xoxa-", 8, Alphabet::WordDash),
    ("xoxb-", 8, Alphabet::WordDash),
    ("xoxe-", 8, Alphabet::WordDash),
    ("xoxe.", 8, Alphabet::WordDashDot),
    ("xoxo-", 8, Alphabet::WordDash),
    ("xoxp-", 8, Alphabet::WordDash),
    ("xoxr-", 8, Alphabet::WordDash),
    ("xoxs-", 8, Alphabet::WordDash),
    ("xapp-", 8, Alphabet::WordDash),
    ("ya29.", 16, Alphabet::WordDash),
];

fn key_format(bytes: &[u8], at: usize) -> Option<(&'static str, Span)> {
    let rest = &bytes[at..];
    if !matches!(rest[0], b'A' | b'S' | b'd' | b'g' | b'h' | b'n' | b'p' | b'r' | b's' | b'x' | b'y') {
        return None;
    }
    let (prefix, least, alphabet) = KEY_FORMATS.iter().find(|(prefix, ..)| rest.starts_with(prefix.as_bytes()))?;
    let head = look(bytes, at + prefix.len(), |b| alphabet.has(b));
    // A kebab-case name that happens to begin with `sk-` has neither digits nor capitals.
    let is_name = *prefix == "sk-" && head.contains(&b'-') && !head.iter().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    // The whole run is read only once it is taken: names in a row would be read again and again.
    (head.len() >= *least && !is_name).then(|| (*prefix, Span { start: at, end: run_end(bytes, at + prefix.len(), |b| alphabet.has(b)) }))
}

/// `eyJ….….…`: header, payload and what follows. Starts only outside a run of its own bytes, so no run is read twice.
fn json_web_token(bytes: &[u8], at: usize, previous: u8) -> Option<Span> {
    if is_word_or_dash(previous) || !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let header_end = run_end(bytes, at, is_word_or_dash);
    if header_end - at < 12 || bytes.get(header_end) != Some(&b'.') {
        return None;
    }
    let tail = look(bytes, header_end + 1, |b| Alphabet::WordDashDot.has(b));
    (tail.len() >= 10).then(|| Span { start: at, end: run_end(bytes, header_end + 1, |b| Alphabet::WordDashDot.has(b)) })
}

/// `Bearer …` and `Basic …` outside a header that names itself.
fn scheme(bytes: &[u8], at: usize) -> Option<Span> {
    let (length, is_basic) = match bytes[at] {
        b'B' | b'b' if starts_with_ignore_case(bytes, at, b"bearer") => (6, false),
        b'B' | b'b' if starts_with_ignore_case(bytes, at, b"basic") => (5, true),
        _ => return None,
    };
    let start = at + length + look(bytes, at + length, |b| matches!(b, b' ' | b'\t')).len();
    if start == at + length {
        return None;
    }
    let is_token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-');
    let head = look(bytes, start, is_token);
    let has_digit = head.iter().any(u8::is_ascii_digit);
    let is_secret = if is_basic {
        head.len() >= 8 && (has_digit || head.contains(&b'=') || head[1..].iter().any(u8::is_ascii_uppercase))
    } else {
        head.len() >= 20 || head.len() >= 6 && has_digit
    };
    is_secret.then(|| Span { start, end: run_end(bytes, start, is_token) })
}
