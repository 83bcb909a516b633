//! The generated pages are those that `cargo xtask docs` would make now.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use dcc_core::Code;

use super::Finding;
use crate::{docs, tree};

const AGAIN: &str = "run cargo xtask docs";

/// One page a code, no page without one, and each explains itself.
pub fn errors(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for code in Code::ALL {
        let path = docs::error_path(*code);
        match std::fs::read_to_string(root.join(&path)) {
            Ok(text) => findings.extend(page(*code, &path, &text)),
            Err(_) => findings.push(format!("{path}: missing: {AGAIN}, then write its two sections")),
        }
        known.insert(path);
    }
    for file in tree::files(root, docs::ERRORS, &[".md"])? {
        if !known.contains(&file.path) && file.path != docs::ERRORS_INDEX {
            findings.push(format!("{}: no such code: delete the page", file.path));
        }
    }
    if std::fs::read_to_string(root.join(docs::ERRORS_INDEX)).ok() != Some(docs::errors_index()) {
        findings.push(format!("{}: out of date: {AGAIN}", docs::ERRORS_INDEX));
    }
    Ok(findings)
}

fn page(code: Code, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((head, body)) = text.split_once(docs::MARKER) else {
        return vec![format!("{path}: the marker line is gone: {AGAIN}")];
    };
    if head != docs::error_head(code) {
        findings.push(format!("{path}: out of date: {AGAIN}"));
    }
    for section in docs::SECTIONS {
        let says = body.split_once(section).map_or("", |(_, rest)| rest.split("\n## ").next().unwrap_or_default());
        if says.trim().is_empty() || says.contains(docs::UNWRITTEN) {
            findings.push(format!("{path}: {section:?} says nothing yet"));
        }
    }
    findings
}

/// The event page, byte for byte.
pub fn events(root: &Path) -> Result<Vec<Finding>> {
    let is_same = tree::load(root, docs::EVENTS)? == docs::events_page();
    Ok(if is_same { Vec::new() } else { vec![format!("{}: out of date: {AGAIN}", docs::EVENTS)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_must_have_its_head_and_both_sections() {
        let code = Code::ALL[0];
        let good = format!("{}{}\n\n## What it means\n\nThis.\n\n## What to do\n\nThat.\n", docs::error_head(code), docs::MARKER);
        assert!(page(code, "p", &good).is_empty());
        assert_eq!(page(code, "p", &good.replace("That.", "")).len(), 1);
        assert_eq!(page(code, "p", &format!("x{good}")).len(), 1);
        assert_eq!(page(code, "p", &docs::error_page(code, None)).len(), 2);
        assert_eq!(page(code, "p", "nothing").len(), 1);
    }

    #[test]
    fn a_written_body_is_kept() {
        let code = Code::ALL[0];
        let text = format!("old head{}\n\nmine\n", docs::MARKER);
        let made = docs::error_page(code, Some(&text));
        assert!(made.ends_with("mine\n") && made.starts_with(&docs::error_head(code)));
    }
}
