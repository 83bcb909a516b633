//! The page's own files, inside the binary: style, scripts, icons. Served under `/assets/NAME?v=HASH`.
//!
//! Authority: derived. Invariants: names are fixed, the hash is that of the bytes, nothing is fetched
//! from elsewhere. `app.js` is the concatenation of the modules under `assets/js` with their import and
//! export words taken out, so that the first visit needs one request; `app.css` likewise.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// One served file.
#[derive(Debug)]
pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
    /// First 16 hex digits of the SHA-256 of the bytes; the value of `?v=`.
    pub hash: String,
}

const STYLES: [&str; 3] = [include_str!("../assets/tokens.css"), include_str!("../assets/ui.css"), include_str!("../assets/app.css")];

/// Modules in the order of their dependence.
const MODULES: [(&str, &str); 13] = [
    ("core.js", include_str!("../assets/js/core.js")),
    ("places.js", include_str!("../assets/js/places.js")),
    ("morph.js", include_str!("../assets/js/morph.js")),
    ("live.js", include_str!("../assets/js/live.js")),
    ("actions.js", include_str!("../assets/js/actions.js")),
    ("approvals.js", include_str!("../assets/js/approvals.js")),
    ("review.js", include_str!("../assets/js/review.js")),
    ("board.js", include_str!("../assets/js/board.js")),
    ("terminal.js", include_str!("../assets/js/terminal.js")),
    ("palette.js", include_str!("../assets/js/palette.js")),
    ("peek.js", include_str!("../assets/js/peek.js")),
    ("keys.js", include_str!("../assets/js/keys.js")),
    ("main.js", include_str!("../assets/js/main.js")),
];

const IDIOMORPH: &str = include_str!("../assets/vendor/idiomorph.min.js");

/// The sprite that stands inline in each page.
#[must_use]
pub const fn icons() -> &'static str {
    concat!("<div hidden>", include_str!("../assets/icons.svg"), "</div>")
}

/// Every served file.
#[must_use]
pub fn all() -> &'static [Asset] {
    static ALL: OnceLock<Vec<Asset>> = OnceLock::new();
    ALL.get_or_init(|| {
        vec![
            asset("app.css", "text/css; charset=utf-8", STYLES.join("\n").into_bytes()),
            asset("app.js", "text/javascript; charset=utf-8", bundle().into_bytes()),
            asset("theme.js", "text/javascript; charset=utf-8", include_bytes!("../assets/js/theme.js").to_vec()),
        ]
    })
}

/// The file of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Asset> {
    all().iter().find(|asset| asset.name == name)
}

/// Address of a file with its hash.
#[must_use]
pub fn url(name: &str) -> String {
    find(name).map_or_else(|| format!("/assets/{name}"), |asset| format!("/assets/{name}?v={}", asset.hash))
}

fn asset(name: &'static str, content_type: &'static str, bytes: Vec<u8>) -> Asset {
    let hash = hex::encode(Sha256::digest(&bytes))[..16].to_owned();
    Asset { name, content_type, bytes, hash }
}

/// One script out of the modules. Imports stand on one line each and only name siblings.
fn bundle() -> String {
    let mut out = format!("// idiomorph 0.8.0, Zero-Clause BSD\n{IDIOMORPH}\n");
    for (name, text) in MODULES {
        out.push_str("// ");
        out.push_str(name);
        out.push('\n');
        for line in text.lines() {
            if line.starts_with("import ") {
                continue;
            }
            out.push_str(line.strip_prefix("export ").unwrap_or(line));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_vendored_file_is_the_one_we_took() {
        let noted = include_str!("../assets/vendor/idiomorph.sha256");
        let found = hex::encode(Sha256::digest(IDIOMORPH.as_bytes()));
        assert_eq!(noted.split_whitespace().next(), Some(found.as_str()));
    }

    #[test]
    fn modules_share_one_scope_without_clashes() {
        let mut names = HashSet::new();
        for (module, text) in MODULES {
            for line in text.lines() {
                let line = line.strip_prefix("export ").unwrap_or(line);
                let line = line.strip_prefix("async ").unwrap_or(line);
                let Some(rest) = ["function ", "const ", "let ", "class "].iter().find_map(|word| line.strip_prefix(word)) else { continue };
                let name: String = rest.chars().take_while(|ch| ch.is_alphanumeric() || *ch == '_' || *ch == '$').collect();
                assert!(name.is_empty() || names.insert(name.clone()), "{name} in {module} is declared twice");
            }
        }
    }

    #[test]
    fn nothing_in_the_bundle_needs_an_exception_to_the_content_policy() {
        let script = bundle();
        assert!(!script.lines().any(|line| line.starts_with("import ") || line.starts_with("export ")));
        for word in ["eval(", "new Function", "setAttribute(\"style\"", "innerHTML ="] {
            let ours: String = MODULES.iter().map(|(_, text)| *text).collect();
            assert!(!ours.contains(word), "{word}");
        }
        assert!(!STYLES.concat().contains("http"), "styles fetch nothing");
    }
}
