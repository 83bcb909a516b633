//! The project's tree: its root, its files, its crates. Authority: none; reads only.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Folders that hold nothing of ours: build output, records of a running command center, git.
const SKIPPED: [&str; 4] = ["target", ".git", ".handshake", "node_modules"];

/// The workspace's root. Asked at run time first, since test runners may have moved the tree since the build.
pub fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let two_up = manifest_dir.parent().and_then(Path::parent).map(Path::to_path_buf);
    two_up.unwrap_or(manifest_dir)
}

/// One file, by its path relative to the root with `/` between the parts.
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// Every text file below `folder` whose name ends with one of `endings`, sorted by path.
pub fn files(root: &Path, folder: &str, endings: &[&str]) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    walk(root, &root.join(folder), endings, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, folder: &Path, endings: &[&str], found: &mut Vec<SourceFile>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(root, &entry.path(), endings, found)?;
        } else if kind.is_file() && endings.iter().any(|e| name.ends_with(e)) {
            let bytes = std::fs::read(entry.path())?;
            let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            found.push(SourceFile { path, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    Ok(())
}

/// A file of the root; missing is an error that names it.
pub fn load(root: &Path, path: &str) -> Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))
}
