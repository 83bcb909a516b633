//! Names that say their value is secret, and the assignments that use them. Pure; part of [`super`].

use super::{LOOK_BYTES, MARK, Span, is_word, is_word_or_dash, look, run_end};

/// What a name says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Plain,
    /// A password: any value counts.
    Password,
    /// A token, a key, a secret: words of product language are spared.
    Token,
    /// A header whose whole line is secret.
    Header,
}

/// Names as they end, without separators and in lower case.
const TOKENS: &[&str] = &[
    "secret", "secrets", "token", "tokens", "credential", "credentials", "apikey", "accesskey", "secretkey", "privatekey",
    "authkey", "signingkey", "encryptionkey", "accountkey", "masterkey", "sessionkey", "accesskeyid", "sharedkey",
];
const PASSWORDS: &[&str] = &["password", "passwords", "passwd", "passphrase", "passwort"];
const HEADERS: &[&str] = &["authorization", "cookie"];
/// Types that stand where a value would, in source code.
const TYPES: &[&[u8]] = &[b"String", b"string", b"str", b"&str", b"&'static str", b"Option<String>", b"Option<&str>"];

/// Reads the end of a name: `DB_PASSWORD`, `x-api-key`, `accessToken2`.
pub(super) fn classify(name: &[u8]) -> Name {
    let mut name = name;
    while let [head @ .., last] = name {
        if !(last.is_ascii_digit() || matches!(last, b'_' | b'-')) {
            break;
        }
        name = head;
    }
    // A cheap look before any copy: most words end otherwise.
    if !matches!(name.last().map(u8::to_ascii_lowercase), Some(b't' | b's' | b'n' | b'l' | b'y' | b'd' | b'e')) {
        return Name::Plain;
    }
    let tail = &name[name.len().saturating_sub(40)..];
    let folded: String = tail.iter().filter(|b| b.is_ascii_alphanumeric()).map(|b| char::from(b.to_ascii_lowercase())).collect();
    let ends = |set: &[&str]| set.iter().any(|s| folded.ends_with(s));
    if ends(PASSWORDS) {
        Name::Password
    } else if ends(TOKENS) {
        Name::Token
    } else if ends(HEADERS) {
        Name::Header
    } else if folded.ends_with("pwd") && !matches!(name, b"PWD" | b"OLDPWD") {
        Name::Password
    } else if folded.len() > 4 && name[..name.len() - 4].ends_with(b"_") && folded.ends_with("pass") {
        Name::Token
    } else {
        Name::Plain
    }
}

/// The same for a member of a JSON object, where `pass` alone is a name too.
pub(super) fn member_name(key: &str) -> Name {
    if key.eq_ignore_ascii_case("pass") { Name::Token } else { classify(key.as_bytes()) }
}

/// Is this whole string, under a member of this name, a secret?
pub(super) fn member_is_secret(name: Name, text: &str) -> bool {
    match name {
        Name::Plain => false,
        _ if is_placeholder(text.as_bytes()) => false,
        Name::Password | Name::Header => true,
        // Status words of a board (`READY_FOR_DEV`) are called tokens too.
        Name::Token => text.bytes().any(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
    }
}

/// Things that stand for a value without being one.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[b"true", b"false", b"null", b"none", b"nil", b"undefined"];
    value.is_empty()
        || value.starts_with(MARK.as_bytes())
        || WORDS.iter().any(|w| value.eq_ignore_ascii_case(w))
        || value.starts_with(b"${")
        || value.starts_with(b"$(")
        || value.iter().all(|b| *b == b'*')
        || matches!(value, [b'$', rest @ ..] if rest.iter().all(|b| b.is_ascii_uppercase() || *b == b'_'))
}

/// `name = value`, `name: value`, `"name": "value"`, `--name value`, `Authorization: …`.
pub(super) fn assignment(bytes: &[u8], at: usize) -> Option<(Name, Span)> {
    // Only at the head of a run of name bytes, so that no run is read twice.
    if at > 0 && is_word_or_dash(bytes[at - 1]) {
        return None;
    }
    let name_end = run_end(bytes, at, is_word_or_dash);
    let name = classify(&bytes[at..name_end]);
    if name == Name::Plain {
        return None;
    }
    let (start, is_spaced_flag) = match separator(bytes, name_end) {
        Some(start) => (start, false),
        None if bytes[at..].starts_with(b"--") => (name_end + blanks(bytes, name_end), true),
        None => return None,
    };
    if is_spaced_flag && (start == name_end || bytes.get(start) == Some(&b'-')) {
        return None;
    }
    let start = after_type(bytes, start)?;
    let span = value_span(bytes, start, name)?;
    let value = &bytes[span.start..span.end];
    // A private key has its own scanner, which knows where it ends.
    if is_placeholder(value) || value.starts_with(b"-----BEGIN ") {
        return None;
    }
    let is_quoted = span.start > start;
    let is_call = !is_quoted && bytes.get(span.end) == Some(&b'(');
    let is_too_short = name == Name::Token && value.len() < if is_quoted || start == name_end + 1 { 3 } else { 6 };
    (!is_call && !is_too_short).then_some((name, span))
}

fn blanks(bytes: &[u8], at: usize) -> usize {
    look(bytes, at, |b| matches!(b, b' ' | b'\t')).len()
}

/// Where the value begins, when an assignment follows the name.
fn separator(bytes: &[u8], name_end: usize) -> Option<usize> {
    let mut at = name_end + look(bytes, name_end, |b| b == b'\\').len();
    if matches!(bytes.get(at), Some(b'"' | b'\'' | b'`')) {
        at += 1;
        if bytes.get(at) == Some(&b']') {
            at += 1;
        }
    } else {
        at = name_end;
    }
    at += blanks(bytes, at);
    let after = match (bytes.get(at)?, bytes.get(at + 1)) {
        (b':', Some(b':')) | (b'=', Some(b'=' | b'~')) => return None,
        (b':', Some(b'=')) | (b'=', Some(b'>')) => at + 2,
        (b':' | b'=', _) => at + 1,
        _ => return None,
    };
    Some(after + blanks(bytes, after))
}

/// Steps over `String = ` in source code; None when a type is all there is.
fn after_type(bytes: &[u8], start: usize) -> Option<usize> {
    let Some(kind) = TYPES.iter().filter(|t| bytes[start..].starts_with(t)).max_by_key(|t| t.len()) else {
        return Some(start);
    };
    let end = start + kind.len();
    if bytes.get(end).is_some_and(|b| is_word(*b)) {
        return Some(start);
    }
    let mark = end + blanks(bytes, end);
    if bytes.get(mark) == Some(&b'=') { Some(mark + 1 + blanks(bytes, mark + 1)) } else { None }
}

/// The value's own bytes, without its quotes.
fn value_span(bytes: &[u8], start: usize, name: Name) -> Option<Span> {
    let escapes = look(bytes, start, |b| b == b'\\').len();
    let quote = bytes.get(start + escapes).copied().filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote {
        let from = start + escapes + 1;
        return Some(Span { start: from, end: quoted_end(bytes, from, quote, escapes > 0) });
    }
    let end = match name {
        Name::Header => run_end(bytes, start, |b| !matches!(b, b'\n' | b'\r' | b'"' | b'\'' | b'`' | b'\\')),
        _ => run_end(bytes, start, |b| {
            !b.is_ascii_whitespace()
                && !matches!(b, b',' | b';' | b'&' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'|')
        }),
    };
    // The mark itself and lists begin with a bracket; a value does not end with the one that closes a list.
    let end = if name != Name::Header && bytes[start..end].ends_with(b"]") && !bytes[start..end].starts_with(b"[") { end - 1 } else { end };
    (start < end).then_some(Span { start, end })
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8, is_escaped: bool) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => return at,
            // Inside a string of a string the closing quote has its own backslash.
            b'\\' if is_escaped && bytes.get(at + 1) == Some(&quote) => return at,
            b'\\' => at += 2,
            b if b == quote => return at,
            _ => at += 1,
        }
    }
    // A backslash at the very end steps one too far.
    at.min(bytes.len())
}

const _: () = assert!(LOOK_BYTES >= 16, "a run of blanks or escapes before a value is looked over in one piece");
