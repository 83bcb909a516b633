//! Relative links in the documents lead to files that exist. Images are left out: the screenshot is made by hand.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::tree::{self, SourceFile};

/// Findings over the root's documents and `docs/`.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut all = tree::files(root, "docs", &[".md"])?;
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        all.push(SourceFile { path: name.into(), text: tree::load(root, name)? });
    }
    Ok(all.iter().flat_map(|file| broken(root, file)).collect())
}

fn broken(root: &Path, file: &SourceFile) -> Vec<Finding> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    targets(&file.text)
        .filter(|target| !root.join(folder).join(target).exists())
        .map(|target| format!("{}: the link to {target} leads nowhere", file.path))
        .collect()
}

fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(move |(at, _)| {
        let opening = text[..at].rfind('[')?;
        let is_image = text[..opening].ends_with('!');
        let target = text[at + 2..].split([')', '#', ' ']).next()?;
        let is_relative = !target.is_empty() && !target.contains(':');
        (is_relative && !is_image).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_are_followed_and_others_not() {
        let text = "[a](docs/a.md#part) ![b](b.png) [c](https://example.invalid/) [d](#here)";
        assert_eq!(targets(text).collect::<Vec<_>>(), ["docs/a.md"]);
    }
}
