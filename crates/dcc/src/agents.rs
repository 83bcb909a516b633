//! The agent catalogue: presets of the sessions crate, overlaid by the operator's configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dcc_core::Outcome;
use dcc_core::ports::{AgentCatalogue, AgentListing, AgentSpec, LoginSpec};
use dcc_engines::sandbox::LandlockSandbox;
use dcc_sessions::presets::{self, AgentConfig, Installed, Preset};
use dcc_sessions::sandbox::{SandboxLauncher, home_in};
use dcc_sessions::{AcpOptions, Launcher};

use crate::wire::dirs::Dirs;

pub struct Agents {
    configured: BTreeMap<String, AgentConfig>,
    /// The directory of all homes.
    homes: PathBuf,
}

impl Agents {
    pub fn new(configured: BTreeMap<String, AgentConfig>, dirs: &Dirs) -> Self {
        Self { configured, homes: dirs.agent_homes() }
    }

    pub fn acp_options(&self) -> AcpOptions {
        AcpOptions { agents: presets::traits(&self.configured), ..AcpOptions::default() }
    }
}

fn spec(preset: Preset) -> AgentSpec {
    AgentSpec {
        name: preset.name,
        command: preset.command,
        executable: preset.executable.to_string_lossy().into_owned(),
        env: preset.env,
        read_paths: preset.read_paths,
        connect_ports: preset.connect_ports,
        listens: preset.listens,
        driver: preset.driver,
    }
}

impl AgentCatalogue for Agents {
    fn resolve(&self, name: &str) -> Outcome<AgentSpec> {
        presets::resolve(name, &self.configured).map(spec)
    }
    fn resolve_command(&self, command: &[String]) -> Outcome<AgentSpec> {
        presets::custom(command).map(spec)
    }
    fn login(&self, name: &str) -> Outcome<LoginSpec> {
        presets::login(name, &self.configured)
    }
    fn list(&self) -> Vec<AgentListing> {
        presets::installed(&self.configured).into_iter().map(|agent| self.listing(agent)).collect()
    }
}

impl Agents {
    fn listing(&self, agent: Installed) -> AgentListing {
        let what = match (&agent.executable, &agent.advice) {
            (Some(path), Some(advice)) => format!("{}; {advice}", path.display()),
            (Some(path), None) => path.display().to_string(),
            (None, Some(advice)) => advice.clone(),
            (None, None) => format!("{} is not on PATH; {}", agent.program, agent.install),
        };
        let (login, login_evidence) = presets::login_state(&agent.name, &home_in(&self.homes, &agent.name));
        AgentListing { installed: agent.executable.is_some(), what, login, login_evidence, name: agent.name }
    }
}

/// Starts agents inside the sandbox, each with a home of its own.
pub fn launcher(sandbox: Arc<LandlockSandbox>, run_dir: PathBuf, homes: PathBuf) -> Arc<dyn Launcher> {
    Arc::new(SandboxLauncher::new(sandbox, run_dir, homes))
}
