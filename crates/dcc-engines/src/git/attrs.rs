//! Attributes of paths, read. Authority: derived.

use std::collections::HashMap;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::path::RepoPath;

use super::GitCli;
use super::builder::{Access, Repo};

impl GitCli {
    /// Paths that a `filter` attribute names a driver for, with its name. Whether such a driver is configured, and where,
    /// does not matter: git on the operator's own machine may know it, and then raw bytes would be wrong.
    pub(super) fn filtered(&self, repo: &Repo, paths: &[&RepoPath]) -> Outcome<HashMap<RepoPath, String>> {
        if paths.is_empty() {
            return Ok(HashMap::new());
        }
        let out = self.tool.command(repo, Access::Read, "check-attr").args(["-z", "--stdin", "filter"]).stdin(joined(paths)).output()?;
        let fields: Vec<&[u8]> = out.split(|b| *b == 0).collect();
        let mut found = HashMap::new();
        for triple in fields.chunks_exact(3) {
            let value = String::from_utf8_lossy(triple[2]);
            if !matches!(&*value, "unspecified" | "unset" | "set") {
                let path = RepoPath::new(triple[0]).map_err(|_| Failure::engine("git check-attr answered with an unknown path"))?;
                found.insert(path, value.into_owned());
            }
        }
        Ok(found)
    }
}

/// Paths, each ended by NUL, for standard input.
pub(super) fn joined(paths: &[&RepoPath]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(0);
    }
    bytes
}
