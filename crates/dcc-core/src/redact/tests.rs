//! What must go, what must stay, and that nothing panics.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn secrets_go() {
    let cases: &[(&str, &str)] = &[
        ("postgres://bob:hunter2@db/x", "hunter2"),
        ("postgres://bob:hun/ter2@db/x", "ter2"),
        ("clone https://abcdef0123456789@github.com/x.git now", "abcdef0123456789"),
        ("https://ghs_token:x-oauth-basic@github.com", "ghs_token"),
        ("HTTPS://u:p%40ss@h", "p%40ss"),
        ("Authorization: Bearer abc", "abc"),
        ("curl -H \"Authorization: token abc def\" x", "abc def"),
        ("Cookie: sid=abc; other=def", "def"),
        ("use bearer abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
        ("Bearer s3cr3t", "s3cr3t"),
        ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("id AKIAIOSFODNN7EXAMPLE.", "AKIAIOSFODNN7EXAMPLE"),
        ("x=ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123"),
        ("gho_0123456789abcdefghijABCDEFGHIJ012345", "gho_"),
        ("github_pat_11AAAAAAA0abcdefghijkl_mnopqrstuvwxyz", "github_pat_"),
        ("sk-proj-abcDEF123456789012345", "sk-proj"),
        ("{\"log\":\"one\\nghp_0123456789abcdefghijABCDEFGHIJ012345\\tAKIAIOSFODNN7EXAMPLE\"}", "AKIA"),
        ("one\\nghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_"),
        ("two\\r\\neyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc_def-ghi", "eyJ"),
        ("sk-abcdefghijklmnopqrstuvwx", "abcdefghijkl"),
        ("xoxb-123456789012-abcdefghijkl", "xoxb-"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc_def-ghi", "eyJ"),
        ("password=hunter2", "hunter2"),
        ("password: hunter2", "hunter2"),
        ("PASSWORD = 'hun ter2'", "ter2"),
        ("{\"db_password\": \"hunter2\"}", "hunter2"),
        ("{\\\"password\\\":\\\"hunter2\\\",\\\"a\\\":1}", "hunter2"),
        ("token: abcdef", "abcdef"),
        ("?access_token=abc123&x=1", "abc123"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
        ("--password hunter2 --user bob", "hunter2"),
        ("--api-key=abc123", "abc123"),
        ("X-Api-Key: abcdef", "abcdef"),
        ("DB_PASS=hunter2", "hunter2"),
        ("Server=x;Pwd=hunter2;", "hunter2"),
        ("let password: &str = \"hunter2\";", "hunter2"),
        ("env['API_TOKEN'] = 'abc123'", "abc123"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\nrest", "MIIabc"),
        ("key: -----BEGIN OPENSSH PRIVATE KEY-----\nMIIabc", "MIIabc"),
        ("private_key = \"-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----\"", "MIIabc"),
    ];
    for (text, secret) in cases {
        let (clean, count) = redact_text(text);
        assert!(!clean.contains(secret), "{text:?} -> {clean:?}");
        assert!(count >= 1 && clean.contains(MARK), "{text:?} -> {clean:?}");
    }
}

#[test]
fn what_stands_around_a_secret_stays() {
    assert_eq!(redact_text("a postgres://bob:x1@db/y z").0, "a postgres://bob:[redacted]@db/y z");
    assert_eq!(redact_text("?token=abc123&x=1").0, "?token=[redacted]&x=1");
    assert_eq!(redact_text("{\"password\": \"a\\\"b\", \"x\": 1}").0, "{\"password\": \"[redacted]\", \"x\": 1}");
    let (clean, _) = redact_text("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nrest");
    assert_eq!(clean, "[redacted]\nrest");
}

#[test]
fn ordinary_text_stays() {
    for text in [
        "ssh://git@github.com/a/b.git and https://github.com:443/a?b=c@d",
        "basic authentication for the bearer of bad news",
        "PWD=/home/x OLDPWD=/tmp",
        "let token = tokenizer(); if token == other { password: String }",
        "std::token::next, secret::Store, password",
        "password=${PASSWORD} token: $API_TOKEN password: ******",
        "sk-learn-has-a-long-kebab-name",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        "WP-0001 MT-001 0190f9a2-7c3e-7000-8000-000000000001 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "monkey: banana, compass: north, max_tokens_in = 100",
        "",
    ] {
        assert_eq!(redact_text(text), (text.to_owned(), 0), "{text:?}");
    }
}

#[test]
fn members_are_known_by_name() {
    let (clean, count) = redact(&json!({
        "password": "x", "apiKey": "abc", "imported_token": "READY_FOR_DEV", "tokens_in": 5, "token_id": "t-1",
        "env": {"GITHUB_TOKEN": "abc", "HOME": "/home/x"}, "secrets": ["a1", {"note": "b"}], "pass": "hunter2",
        "https://u:pw@h/": 1
    }));
    assert_eq!(
        clean,
        json!({
            "password": MARK, "apiKey": MARK, "imported_token": "READY_FOR_DEV", "tokens_in": 5, "token_id": "t-1",
            "env": {"GITHUB_TOKEN": MARK, "HOME": "/home/x"}, "secrets": [MARK, {"note": "b"}], "pass": MARK,
            "https://u:[redacted]@h/": 1
        })
    );
    assert_eq!(count, 6);
}

#[test]
fn deep_values_are_cut() {
    let mut value = json!(1);
    for _ in 0..1_000 {
        value = json!([value]);
    }
    let (clean, count) = redact(&value);
    assert_eq!((depth(&clean), count), (DEPTH_MAX, 1));
    assert!(depth(&value) > DEPTH_MAX);
}

/// Inputs that make naive scanners quadratic. 512 KiB each; a quadratic scan would take the better part of an hour, so no clock is
/// needed.
#[test]
fn time_is_linear() {
    let pieces = [
        "eyJ-", "eyJaaaaaaaaa.", "sk-", "sk-a-", "://a:b/", "://", "--password ", "password", "password=", "token:", "bearer ",
        "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "\\", "password\\", "password=\"\\", "a-", "=", "Cookie:",
    ];
    for piece in pieces {
        let text = piece.repeat((512 << 10) / piece.len());
        let _ = redact_text(&text);
    }
}

fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "password", "token", "=", ":", " ", "\"", "'", "\\", "://", "@", "/", "eyJ", ".", "bearer ", "Basic ", "sk-", "ghp_",
        "AKIA", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "\n", "é", "\u{10000}", "[redacted]", "--", "authorization", "abcdefghijklmnop",
        "0123456789ABCDEF", "xoxb-", "&", "#", "]", "(", "String", "${",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn never_panics_on_text(text in any::<String>()) {
        let _ = redact_text(&text);
    }

    #[test]
    fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = redact_bytes(&bytes);
    }

    #[test]
    fn text_stays_text(text in fragments()) {
        let (bytes, count) = redact_bytes(text.as_bytes());
        let clean = String::from_utf8(bytes).expect("cuts fall beside ASCII bytes");
        prop_assert!(count > 0 || clean == text);
    }

    #[test]
    fn a_planted_key_never_survives(before in fragments(), after in fragments(), n in 0u64..1_000_000_000) {
        let key = format!("ghp_{n:036}");
        let (clean, count) = redact_text(&format!("{before} {key} {after}"));
        prop_assert!(!clean.contains(&key), "{clean:?}");
        prop_assert!(count > 0);
    }

    #[test]
    fn a_planted_password_never_survives(before in fragments(), after in fragments(), n in 100_000_000u64..1_000_000_000) {
        let secret = format!("Zq{n}");
        let (clean, _) = redact_text(&format!("{before}\ndb_password={secret}\n{after}"));
        prop_assert!(!clean.contains(&secret), "{clean:?}");
    }
}
