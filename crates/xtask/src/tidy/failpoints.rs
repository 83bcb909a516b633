//! Failpoints end the process on purpose; a release has none. What makes them real stands behind `debug_assertions`.

use std::path::Path;

use anyhow::{Result, ensure};

use super::Finding;
use crate::tree;

/// Written in pieces, so that this file does not find itself.
const VARIABLE: &str = concat!("DCC_FAIL", "POINT");
const CLOCK: &str = concat!("DCC_CLOCK", "_FILE");
const ABSENT: &str = concat!("DCC_SANDBOX", "_ABSENT");
const REACH: &str = concat!("failpoint", "::reach");
const ARM: &str = concat!("failpoint", "::arm");
const OFFSET: &str = concat!("clock", "_offset_ms");
const BELIEVED: &str = concat!("believed", "_posture");
const GUARD: &str = "#[cfg(debug_assertions)]";
/// Where the places are made, and where the binary arms them.
const MACRO_FILE: &str = "crates/dcc-core/src/failpoint.rs";
const ARMING_FILE: &str = "crates/dcc/src/wire/failpoint.rs";

/// Places where a failpoint could get into a release.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let sources = tree::files(root, "crates", &[".rs"])?;
    let product: Vec<_> = sources.iter().filter(|f| f.path.contains("/src/") && !f.path.starts_with("crates/xtask/") && !f.path.starts_with("crates/dcc-testkit/")).collect();
    ensure!(product.iter().any(|f| f.path == MACRO_FILE) && product.iter().any(|f| f.path == ARMING_FILE), "the failpoints are not where this check looks");
    let mut findings = Vec::new();
    for file in product {
        findings.extend(unguarded(&file.path, &file.text));
    }
    Ok(findings)
}

/// Lines that are compiled into a release and name what arms or reaches a failpoint.
fn unguarded(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut above = "";
    for (n, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        let is_guarded = above.trim() == GUARD;
        let wrong = match path {
            MACRO_FILE => (code.starts_with("pub fn") || code.starts_with("static")) && !is_guarded,
            ARMING_FILE => false,
            _ => [VARIABLE, CLOCK, ABSENT].iter().any(|word| code.contains(word)) || ([REACH, ARM, OFFSET, BELIEVED].iter().any(|word| code.contains(word)) || code == "pub mod failpoint;" && path.starts_with("crates/dcc/")) && !is_guarded,
        };
        if wrong {
            findings.push(format!("{path}:{}: {code}: a release would have it; put {GUARD} on the line above", n + 1));
        }
        if !code.is_empty() {
            above = line;
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_guarded_passes() {
        let arm = format!("wire::{ARM}();\n");
        assert_eq!(unguarded("crates/dcc/src/main.rs", &arm).len(), 1);
        assert_eq!(unguarded("crates/dcc/src/main.rs", &format!("{GUARD}\n{arm}")).len(), 0);
        assert_eq!(unguarded("crates/dcc/src/wire/mod.rs", "pub mod failpoint;\n").len(), 1);
        assert_eq!(unguarded("crates/dcc/src/wire/open.rs", &format!("var({VARIABLE:?})")).len(), 1);
        assert_eq!(unguarded("crates/dcc/src/wire/open.rs", &format!("{BELIEVED}()")).len(), 1);
        assert_eq!(unguarded("crates/dcc-engines/src/sandbox/engine.rs", &format!("var_os({ABSENT:?})")).len(), 1);
        assert_eq!(unguarded(MACRO_FILE, "/// Says.\npub fn arm() {}\n").len(), 1);
        assert_eq!(unguarded(MACRO_FILE, &format!("{GUARD}\npub fn arm() {{}}\n")).len(), 0);
        assert_eq!(unguarded("crates/dcc-recorder/src/writer.rs", "dcc_core::failpoint!(\"before append\");\n").len(), 0);
    }
}
