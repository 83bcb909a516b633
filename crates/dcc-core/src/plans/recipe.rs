//! sandbox.run_recipe: a named command of the operator's configuration, in the sandbox (GOVERNANCE 7).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{Sha256Hex, WorkspaceId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

/// The whole run, resolved: no shell, no search of PATH at run time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecipePlan {
    pub workspace_id: WorkspaceId,
    pub recipe: String,
    pub argv: Vec<String>,
    /// Absolute path of argv[0] and the hash of its bytes.
    pub executable: String,
    pub executable_sha256: Sha256Hex,
    pub cwd: String,
    pub env: BTreeMap<String, String>,
    pub timeout_ms: u64,
    /// False: the worktree is read-only to it.
    pub writes: bool,
    /// Further directories it may read.
    pub read_paths: Vec<String>,
    pub git_dir: String,
    pub common_dir: String,
}

impl PlanBody for RecipePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Run recipe {}", self.recipe),
            exactly: vec![PreviewItem::Command { argv: self.argv.clone(), cwd: self.cwd.clone() }],
            place: vec![
                PreviewFact::new("executable", &self.executable),
                PreviewFact::new("executable sha256", self.executable_sha256.to_string()),
                PreviewFact::new("network", "none"),
                PreviewFact::new("writes", if self.writes { "this worktree and a private temporary directory" } else { "a private temporary directory only" }),
            ],
            risk: "runs inside the sandbox; the repository's git directory is read-only to it".into(),
            undo: "files it writes in the worktree show as changes".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement { workspace_id: Some(self.workspace_id), ..Requirement::of(Capability::scoped(Axis::ShellRun, self.recipe.clone()), Tier::R1, IntentClass::Recipe(self.recipe.clone())) }
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::ExecutableIs { path: self.executable.clone(), sha256: self.executable_sha256 }]
    }
}
