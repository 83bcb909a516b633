//! The files a search looks at: tracked ones, and untracked ones that are not ignored.

use dcc_core::workspace::WorktreeBinding;
use dcc_core::{Outcome, RepoPath};

use super::GitCli;
use super::builder::Access;

impl GitCli {
    /// Paths in git's order; dot folders and tracked-but-ignored files included, nested repositories not entered.
    pub fn list_files(&self, worktree: &WorktreeBinding) -> Outcome<Vec<RepoPath>> {
        let repo = self.open(worktree, Access::Read)?;
        let out = self.tool.command(&repo, Access::Read, "ls-files").args(["--cached", "--others", "--exclude-standard", "--deduplicate", "-z"]).output()?;
        // A path that DCC refuses to touch is not searched either; a nested repository ends with a slash.
        Ok(out.split(|b| *b == 0).filter(|name| !name.is_empty() && !name.ends_with(b"/")).filter_map(|name| RepoPath::new(name).ok()).collect())
    }
}
