//! Secrets of a known form: what nobody's text may hold that DCC is asked to keep. Pure; part of [`super`].
//!
//! Redaction errs towards removing too much, which costs a log a few words. To refuse a person's text for as little would
//! cost him his work: neither `password = form.password` nor "token: refresh fails" is a secret. So a form counts here
//! when it names itself, and a value behind a name only when it is no plain word.
//!
//! Invariants: whatever counts here is redacted too; what is told of a finding is its place and its form, never its text.

use serde_json::Value;

use super::assign::{self, Name};
use super::{Form, Span, find_at, redact};
use crate::failure::{Failure, Outcome};

/// A begun private key that is shorter than this is the talk of one.
const PRIVATE_KEY_BYTES_MIN: usize = 64;
/// A value behind a name is at least as long.
const VALUE_BYTES_MIN: usize = 6;
/// Capitals and digits alone are an id of something when they are shorter.
const CAPITALS_BYTES_MIN: usize = 20;

/// The first secret of a known form in the text, in words that do not repeat it.
pub fn known_in(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match find_at(bytes, at) {
            Some((form, span)) if is_sure(form, &bytes[span.start..span.end]) => return Some(words(form)),
            Some((_, Span { end, .. })) => at = end.max(at + 1),
            None => at += 1,
        }
    }
    None
}

/// Refuses what holds a secret of a known form anywhere: HSK-400-INVALID-INPUT names the place below `name` and the form.
pub fn refuse_known(name: &str, value: &Value) -> Outcome<()> {
    find(name, value).map_or(Ok(()), |(place, form)| {
        Err(Failure::invalid(format!("{place} holds what looks like a secret: {form}")).hint("leave it out; nothing of it was kept"))
    })
}

/// The value itself, or its redacted form when it holds a secret of a known form.
pub fn without_known(value: Value) -> Value {
    if find("", &value).is_some() { redact(&value).0 } else { value }
}

/// Place and form of the first one.
fn find(place: &str, value: &Value) -> Option<(String, String)> {
    let found = |form: Option<String>| form.map(|form| (place.to_owned(), form));
    match value {
        Value::String(text) => found(known_in(text)),
        Value::Array(items) => {
            // `--password`, `hunter2`: the words of a command say together what none of them says alone.
            let together = || items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().and_then(|words| known_in(&words.join(" ")));
            items.iter().enumerate().find_map(|(i, item)| find(&format!("{place}[{i}]"), item)).or_else(|| found(together()))
        }
        Value::Object(map) => map.iter().find_map(|(key, member)| {
            // A name that is a secret itself is not repeated.
            found(known_in(key)).or_else(|| {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                find(&place, member).or_else(|| named(key, member).map(|form| (place, form)))
            })
        }),
        _ => None,
    }
}

/// A member whose name says that its value is secret.
fn named(key: &str, member: &Value) -> Option<String> {
    let form = Form::Assigned(assign::member_name(key));
    member.as_str().filter(|text| form != Form::Assigned(Name::Plain) && is_sure(form, text.as_bytes())).map(|_| words(form))
}

fn is_sure(form: Form, found: &[u8]) -> bool {
    match form {
        Form::Key(_) | Form::WebToken | Form::Credentials => true,
        Form::PrivateKey => found.len() >= PRIVATE_KEY_BYTES_MIN,
        Form::Address | Form::Assigned(Name::Token) => is_opaque(found) && !is_path(found),
        Form::Assigned(Name::Password) => is_opaque(found) || (found.len() >= VALUE_BYTES_MIN && found.iter().any(|b| b"!@#$%^&*+~?".contains(b))),
        Form::Assigned(Name::Header) => is_opaque(found),
        Form::Assigned(Name::Plain) => false,
    }
}

/// No word, no number and no short id: letters and digits mixed.
fn is_opaque(value: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let is_mixed = has(u8::is_ascii_digit) && (has(u8::is_ascii_lowercase) || (has(u8::is_ascii_uppercase) && value.len() >= CAPITALS_BYTES_MIN));
    is_mixed && value.len() >= VALUE_BYTES_MIN && !value.iter().any(|b| b"()[]{}<>".contains(b))
}

/// `request.headers.token2`, `module::name2`: names, joined.
fn is_path(value: &[u8]) -> bool {
    let joined = String::from_utf8_lossy(value);
    let parts: Vec<&str> = joined.split(['.', ':']).filter(|part| !part.is_empty()).collect();
    let is_name = |part: &&str| part.len() <= 24 && part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(super::is_word);
    parts.len() > 1 && parts.iter().all(is_name)
}

fn words(form: Form) -> String {
    match form {
        Form::Address => "a password in an address".to_owned(),
        Form::PrivateKey => "a private key".to_owned(),
        Form::Key(prefix) => format!("a key that begins with {prefix}"),
        Form::WebToken => "a JSON web token".to_owned(),
        Form::Credentials => "bearer or basic credentials".to_owned(),
        Form::Assigned(Name::Header) => "the value of an authorization or cookie header".to_owned(),
        Form::Assigned(_) => "the value of a password, a token or a key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One of each form. None stands here in one piece, so that no scanner of repositories takes them for lost ones.
    fn forms() -> Vec<String> {
        let digits = "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R";
        let dashes = "-".repeat(5);
        vec![
            format!("ghp_{digits}"),
            format!("github_pat_{digits}"),
            format!("sk-proj-{digits}"),
            format!("xoxb-{digits}"),
            format!("AKIA{}", "IOSFODNN7EXAMPLE"),
            format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{digits}"),
            format!("{dashes}BEGIN PRIVATE KEY{dashes}\n{digits}{digits}\n{dashes}END PRIVATE KEY{dashes}"),
            "postgres://bob:hunter2zebra@db/x".to_owned(),
            "https://abcdef0123456789@github.com/x.git".to_owned(),
            "Authorization: Bearer abc123def456".to_owned(),
            "Cookie: sid=abc123def456".to_owned(),
            "Basic dXNlcjpwYXNz0123".to_owned(),
            "password=hunter2zebra".to_owned(),
            "password: 'hunter2'".to_owned(),
            "{\"db_password\": \"s!cret\"}".to_owned(),
            "--api-key=abc123def".to_owned(),
            format!("AWS_SECRET_ACCESS_KEY={digits}"),
        ]
    }

    #[test]
    fn every_form_is_known_wherever_it_stands_and_never_repeated() {
        for text in forms() {
            assert!(super::super::redact_text(&text).1 > 0, "{text}");
            for value in [json!(text), json!({ "note": format!("see {text} there") }), json!({ "a": [1, { "b": [text] }] }), json!({ "args": ["x", text] })] {
                let failure = refuse_known("params", &value).unwrap_err();
                assert!(failure.message.starts_with("params") && failure.message.contains("secret"), "{failure}");
                assert!(!failure.to_string().contains(&text[text.len() - 6..]), "{failure}");
                assert!(!without_known(value).to_string().contains(&text), "{text}");
            }
            let as_name = refuse_known("params", &json!({ text.clone(): 1 })).unwrap_err();
            assert!(!as_name.to_string().contains(&text), "{as_name}");
        }
        assert!(refuse_known("argv", &json!(["mysql", "--password", "hunter2x"])).unwrap_err().message.starts_with("argv holds"));
        assert!(refuse_known("env", &json!({ "GITHUB_TOKEN": "abc123def456" })).unwrap_err().message.starts_with("env.GITHUB_TOKEN holds"));
    }

    #[test]
    fn what_people_write_about_secrets_is_no_secret() {
        for text in [
            "Reset password: the link expires too soon",
            "auth token: refresh fails after WP-0001",
            "feat(token): add rotation; secret: rotate monthly",
            "password = form.password; token = request.headers.token2; api_key = os.environ[\"API_KEY_1\"]",
            "let token = next_token(1); let secret: String = read()?;",
            "postgres://postgres:postgres@localhost:5432/test and https://user:pass@example.org",
            "password: ****** token: <your-token-1> --password-file x --token $TOKEN1 password=${DB_PASSWORD_1}",
            "the Authorization header, Bearer <token>, Cookie: none",
            "a file that begins with -----BEGIN PRIVATE KEY-----",
            "tokens: 32000, max_tokens: 100k, password: min 8 characters",
            "0190f9a2-7c3e-7000-8000-000000000001 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "",
        ] {
            assert_eq!(known_in(text), None, "{text}");
            assert_eq!(without_known(json!({ "t": text })), json!({ "t": text }));
        }
    }

    #[test]
    fn time_is_linear() {
        for piece in ["Cookie:", "password=", "token:a ", "://a:b/", "eyJaaaaaaaaa.", "-----BEGIN PRIVATE KEY-----"] {
            let _ = known_in(&piece.repeat((512 << 10) / piece.len()));
        }
    }
}
