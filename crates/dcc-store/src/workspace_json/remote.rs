//! The origin's address as a hint, without anything secret in it.
//!
//! Authority: derived. Invariant: when in doubt the hint is left out; it decides nothing, and an address may hold a token
//! in places nobody thought of. Failure: an unreadable configuration means no hint.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A git configuration beyond this is not looked at for a hint.
const CONFIG_BYTES_MAX: u64 = 256 * 1024;
/// The longest address that is still one.
const URL_BYTES_MAX: usize = 2_000;

/// The address of `origin` in the repository's own configuration, credentials stripped.
pub(super) fn origin_url(common_dir: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(common_dir.join("config")).ok()?.take(CONFIG_BYTES_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    strip_credentials(&find_origin(&text)?)
}

/// `url` of `[remote "origin"]`; the last one, as git reads it for a single value.
fn find_origin(config: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or("");
            let (section, name) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
            inside = section.eq_ignore_ascii_case("remote") && name.trim() == "\"origin\"";
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            // Escapes, continued lines and comments have no place in an ordinary address: such a value gives no hint.
            let value = value.trim().trim_matches('"');
            found = (!value.contains(['\\', '"', '#', ';'])).then(|| value.to_owned());
        }
    }
    found
}

/// The address without user, password, query and fragment; none when it may still hold a secret. The user `git` of an
/// SSH address is a convention and stays.
pub fn strip_credentials(url: &str) -> Option<String> {
    if url.is_empty() || url.len() > URL_BYTES_MAX || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        if scheme.contains("::") {
            return None;
        }
        let rest = rest.split(['?', '#']).next().unwrap_or("");
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user = if user == "git" && scheme != "http" && scheme != "https" { "git@" } else { "" };
        // An at sign further on can be the rest of a password with a raw slash in it.
        return (!path.contains('@')).then(|| format!("{scheme}://{user}{host}{path}"));
    }
    if url.contains("::") {
        // A transport helper: what follows is its own language.
        return None;
    }
    let first = url.split('/').next().unwrap_or("");
    match first.rsplit_once('@') {
        Some(("git", _)) | None => (!url[first.len()..].contains('@')).then(|| url.to_owned()),
        Some((user, _)) => {
            let bare = &url[user.len() + 1..];
            (!bare.contains('@')).then(|| bare.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_survives() {
        for (url, wanted) in [
            ("https://example.org/a/b.git", Some("https://example.org/a/b.git")),
            ("https://user:SECRET@example.org:8443/a.git", Some("https://example.org:8443/a.git")),
            ("https://SECRET@example.org/a.git", Some("https://example.org/a.git")),
            ("https://git:SECRET@example.org/a.git", Some("https://example.org/a.git")),
            ("https://a@SECRET@example.org/a.git", Some("https://example.org/a.git")),
            ("https://example.org/a.git?access_token=SECRET#SECRET", Some("https://example.org/a.git")),
            ("https://user:SEC/RET@example.org/a.git", None),
            ("ssh://git@example.org/a.git", Some("ssh://git@example.org/a.git")),
            ("ssh://git:SECRET@example.org/a.git", Some("ssh://example.org/a.git")),
            ("git@example.org:a/b.git", Some("git@example.org:a/b.git")),
            ("SECRET@example.org:a/b.git", Some("example.org:a/b.git")),
            ("user:SECRET@example.org:a/b.git", Some("example.org:a/b.git")),
            ("ext::sh -c SECRET", None),
            ("helper::https://SECRET@x", None),
            ("/srv/git/a.git", Some("/srv/git/a.git")),
            ("../a.git", Some("../a.git")),
            ("file:///srv/a.git", Some("file:///srv/a.git")),
            ("https://x/a\nSECRET", None),
            ("", None),
        ] {
            let stripped = strip_credentials(url);
            assert_eq!(stripped.as_deref(), wanted, "{url}");
            assert!(!stripped.unwrap_or_default().contains("SECRET"));
        }
    }

    #[test]
    fn the_origin_is_found_in_a_configuration() {
        let config = "[core]\n\turl = no\n[remote \"upstream\"]\n\turl = no\n[Remote \"origin\"]\n\tfetch = +refs/*\n\tURL = \"https://a:b@h/x.git\"\n[branch \"main\"]\n\turl = no\n";
        assert_eq!(find_origin(config).as_deref(), Some("https://a:b@h/x.git"));
        assert_eq!(find_origin("[core]\n"), None);
        assert_eq!(find_origin("[remote \"origin\"]\n url = a\\\n b\n"), None);
    }
}
