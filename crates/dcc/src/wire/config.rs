//! The operator's `config.toml`: agents, recipes, further protected branches. Never read from a repository.
//!
//! Unknown keys are errors: a misspelt restriction must not pass unnoticed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use dcc_core::budget::{Budget, PriceTable};
use dcc_core::{Failure, Outcome, limits};
use dcc_sessions::presets::AgentConfig;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorConfig {
    pub agents: BTreeMap<String, AgentConfig>,
    pub recipes: BTreeMap<String, RecipeEntry>,
    pub policy: PolicyEntry,
    pub limits: LimitsEntry,
    pub budgets: BudgetEntries,
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
    /// What follows when an agent changed something without asking: "record" or "stop".
    pub ungated: dcc_jobs::observe::Ungated,
}

/// `[budgets.project]`, `[budgets.packet]`, `[budgets.session]`: what holds unless one was set by hand; and the price table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetEntries {
    pub project: Budget,
    pub packet: Budget,
    pub session: Budget,
    pub prices: PriceTable,
}

/// `[limits]`: what may run at once and how long a pause waits; defaults and reasons stand in `dcc_core::limits`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsEntry {
    pub sessions_running: usize,
    pub sessions_per_provider: usize,
    pub sessions_per_model: usize,
    pub cold_starts: usize,
    pub agents_alive: usize,
    pub pause_bound_ms: u64,
    pub freeze_ms: u64,
    pub permission_requests_per_minute: usize,
}

impl Default for LimitsEntry {
    fn default() -> Self {
        Self {
            sessions_running: limits::SESSIONS_RUNNING_MAX,
            sessions_per_provider: limits::PROVIDER_RUNNING_MAX,
            sessions_per_model: limits::MODEL_RUNNING_MAX,
            cold_starts: limits::COLD_STARTS_MAX,
            agents_alive: limits::SESSIONS_LIVE_MAX,
            pause_bound_ms: limits::PAUSE_BOUND_MS,
            freeze_ms: limits::FREEZE_MS_MAX,
            permission_requests_per_minute: limits::SESSION_REQUESTS_PER_MINUTE,
        }
    }
}

impl LimitsEntry {
    /// As the jobs take it.
    pub fn of_jobs(&self) -> dcc_jobs::Limits {
        dcc_jobs::Limits {
            runs: dcc_core::session::RunLimits {
                running: self.sessions_running,
                provider: self.sessions_per_provider,
                model: self.sessions_per_model,
                cold_starts: self.cold_starts,
                live: self.agents_alive,
            },
            pause_bound_ms: self.pause_bound_ms,
            freeze_ms: self.freeze_ms,
            requests_per_minute: self.permission_requests_per_minute,
        }
    }
    fn check(&self, path: &Path) -> Outcome<()> {
        let counts = [self.sessions_running, self.sessions_per_provider, self.sessions_per_model, self.cold_starts, self.agents_alive, self.permission_requests_per_minute];
        if counts.contains(&0) {
            return Err(Failure::invalid(format!("{}: a limit of 0 in [limits] would let nothing run", path.display())));
        }
        if self.freeze_ms > limits::FREEZE_MS_MAX {
            return Err(Failure::invalid(format!("{}: freeze_ms is at most {}: a network peer gives up on a process that stands still for longer", path.display(), limits::FREEZE_MS_MAX)));
        }
        Ok(())
    }
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
        for budget in [&self.budgets.project, &self.budgets.packet, &self.budgets.session] {
            budget.check().map_err(|f| Failure::invalid(format!("{}: [budgets] {}", path.display(), f.message)))?;
        }
        self.limits.check(path)?;
        for (name, table) in [("ui", &self.ui)] {
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
        let budgets = read("[budgets.session]\nmax_tokens = 5\nmax_cost = \"1.50\"\n[budgets.prices]\nversion = \"a\"\n[budgets.prices.models.\"m-*\"]\ninput_per_million = \"3\"\noutput_per_million = \"15\"\n").unwrap().budgets;
        assert_eq!((budgets.session.max_tokens, budgets.session.max_cost.unwrap().to_string()), (Some(5), "1.50".to_owned()));
        assert!(budgets.prices.estimate("m-1", 1_000_000, 0).is_some());
        assert!(read("[budgets]\ntokens = 1\n").is_err());
        assert!(read("[budgets.session]\nsoft_percent = 0\n").unwrap_err().message.contains("percent"));
    }

    #[test]
    fn limits_are_read_and_nonsense_is_refused() {
        let config = read("[limits]\nsessions_running = 3\nfreeze_ms = 1000\n").unwrap();
        assert_eq!((config.limits.sessions_running, config.limits.sessions_per_model, config.limits.freeze_ms), (3, limits::MODEL_RUNNING_MAX, 1000));
        for bad in ["[limits]\nsessions = 3\n", "[limits]\ncold_starts = 0\n", "[limits]\nfreeze_ms = 60001\n"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
