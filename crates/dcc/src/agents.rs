//! The agent catalogue: presets of the sessions crate, overlaid by the operator's configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dcc_core::Outcome;
use dcc_core::ports::{AgentCatalogue, AgentSpec};
use dcc_engines::sandbox::LandlockSandbox;
use dcc_sessions::presets::{self, AgentConfig, Preset};
use dcc_sessions::sandbox::SandboxLauncher;
use dcc_sessions::{AcpOptions, Launcher};

pub struct Agents {
    configured: BTreeMap<String, AgentConfig>,
    /// The script that the agent named `scripted` plays, when the project has one (the demo).
    script: Option<PathBuf>,
}

impl Agents {
    pub fn new(configured: BTreeMap<String, AgentConfig>, script: Option<PathBuf>) -> Self {
        Self { configured, script }
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
    }
}

impl AgentCatalogue for Agents {
    fn resolve(&self, name: &str) -> Outcome<AgentSpec> {
        if let ("scripted", Some(script)) = (name, &self.script) {
            return presets::scripted(&script.to_string_lossy()).map(spec);
        }
        presets::resolve(name, &self.configured).map(spec)
    }
    fn resolve_command(&self, command: &[String]) -> Outcome<AgentSpec> {
        presets::custom(command).map(spec)
    }
    fn list(&self) -> Vec<(String, bool, String)> {
        let mut all: Vec<_> = presets::installed(&self.configured)
            .into_iter()
            .map(|agent| {
                let what = match &agent.executable {
                    Some(path) => path.to_string_lossy().into_owned(),
                    None => format!("{} is not on PATH; {}", agent.program, agent.install),
                };
                (agent.name, agent.executable.is_some(), what)
            })
            .collect();
        if let Some(script) = &self.script {
            all.retain(|(name, ..)| name != "scripted");
            all.insert(0, ("scripted".to_owned(), true, format!("plays {}", script.display())));
        }
        all
    }
}

/// Starts agents inside the sandbox, each with a home of its own.
pub fn launcher(sandbox: Arc<LandlockSandbox>, run_dir: PathBuf, homes: PathBuf) -> Arc<dyn Launcher> {
    Arc::new(SandboxLauncher::new(sandbox, run_dir, homes))
}
