//! The operator's `config.toml`: agents, recipes, further protected branches. Never read from a repository.
//!
//! Unknown keys are errors: a misspelt restriction must not pass unnoticed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use dcc_core::{Failure, Outcome, limits};
use dcc_sessions::presets::AgentConfig;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorConfig {
    pub agents: BTreeMap<String, AgentConfig>,
    pub recipes: BTreeMap<String, RecipeEntry>,
    pub policy: PolicyEntry,
    pub limits: BTreeMap<String, toml::Value>,
    pub budgets: BTreeMap<String, toml::Value>,
    pub ui: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeEntry {
    pub argv: Vec<String>,
    #[serde(default = "recipe_timeout")]
    pub timeout_ms: u64,
    /// True: it may write the worktree. The main worktree is always read-only to recipes.
    #[serde(default)]
    pub writes: bool,
    #[serde(default)]
    pub read_paths: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEntry {
    /// Branches that a coder never commits to, besides the default base branch.
    pub protected_branches: Vec<String>,
}

fn recipe_timeout() -> u64 {
    limits::RECIPE_TIMEOUT_MS
}

impl OperatorConfig {
    /// Reads the file; a missing one is the empty configuration.
    pub fn load(path: &Path) -> Outcome<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Failure::invalid(format!("{} cannot be read: {e}", path.display()))),
        };
        let config: Self = toml::from_str(&text).map_err(|e| {
            Failure::invalid(format!("{}: {}", path.display(), e.message())).hint(match e.span() {
                Some(span) => format!("line {}", text[..span.start.min(text.len())].lines().count().max(1)),
                None => "see README, Configuration".to_owned(),
            })
        })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Outcome<()> {
        for (name, recipe) in &self.recipes {
            let name_fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !name_fits || recipe.argv.is_empty() {
                return Err(Failure::invalid(format!("{}: recipe {name:?} needs a plain name and a non-empty argv", path.display())));
            }
        }
        for (name, table) in [("limits", &self.limits), ("budgets", &self.budgets), ("ui", &self.ui)] {
            if let Some(key) = table.keys().next() {
                return Err(Failure::invalid(format!("{}: [{name}] {key} is not built yet", path.display())).hint("remove it; a setting without effect would mislead"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<OperatorConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::io::Write::write_all(&mut std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap(), text.as_bytes()).unwrap();
        OperatorConfig::load(&path)
    }

    #[test]
    fn recipes_are_read_and_misspellings_refused() {
        let config = read("[recipes.test]\nargv = [\"make\", \"test\"]\nwrites = true\n").unwrap();
        assert_eq!(config.recipes["test"].timeout_ms, limits::RECIPE_TIMEOUT_MS);
        assert!(read("[recipe.test]\nargv = []\n").is_err());
        assert!(read("[recipes.test]\nargv = [\"x\"]\nwrite = true\n").is_err());
        assert!(read("[recipes.\"a b\"]\nargv = [\"x\"]\n").is_err());
        assert!(read("[budgets]\ntokens = 1\n").unwrap_err().message.contains("not built"));
    }
}
