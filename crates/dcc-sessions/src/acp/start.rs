//! From a started process to a session that can take a prompt: initialize, session/new, the asking mode.
//!
//! Authority: ephemeral. Invariant: success means protocol version 1, a session id, and the asking mode confirmed wherever
//! the agent offers modes. Failure names the step and the first lines of the agent's standard error.

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{ClientCapabilities, FileSystemCapabilities, Implementation, InitializeRequest, NewSessionRequest};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ports::sessions::{ApprovalStyle, BackendCapabilities, StartedAgent};
use dcc_core::workspace::unescape_path;

use super::AgentTraits;
use super::live::{CallError, Live, STDERR_HEAD_LINES};
use super::modes::{self, Offered, Via};
use super::wire::{AUTH_REQUIRED, RpcError, shown};

/// The mode is set again once: an update about the old mode may have crossed the first request.
const MODE_TRIES: usize = 2;

/// Where a start stopped, before it is told with standard error.
pub struct Stopped {
    step: &'static str,
    failure: Failure,
}

/// Opens the session. The whole takes at most `timeout`.
pub fn open(live: &Live, cwd: &str, traits: &AgentTraits, timeout: Duration) -> Result<StartedAgent, Stopped> {
    let opening = Opening { live, deadline: Instant::now() + timeout };
    let initialized = opening.initialize(traits)?;
    let new = opening.call("session/new", &json_of(&NewSessionRequest::new(cwd)))?;
    let Some(agent_session_id) = new["sessionId"].as_str() else {
        return Err(opening.broke("session/new", "its answer holds no session id"));
    };
    live.set_own_session(agent_session_id);
    let mode = match modes::offered(&new) {
        None if traits.ask_mode_required => {
            return Err(opening.broke("session/new", "it offers no modes, but an asking mode is configured for it"));
        }
        None => None,
        Some(offered) => Some(opening.set_mode(agent_session_id, &offered, traits.ask_mode.as_deref())?),
    };
    if !live.mark_started(mode) {
        return Err(Opening::gone("session/new"));
    }
    Ok(StartedAgent {
        process: live.process.identity(),
        agent_session_id: agent_session_id.to_owned(),
        agent_info: info(&initialized),
        model_id: model(&new),
        posture: live.process.posture(),
        capabilities: BackendCapabilities { approvals: ApprovalStyle::Interactive, ..BackendCapabilities::default() },
        resumed: false,
    })
}

struct Opening<'a> {
    live: &'a Live,
    deadline: Instant,
}

impl Opening<'_> {
    fn initialize(&self, traits: &AgentTraits) -> Result<Value, Stopped> {
        let files = FileSystemCapabilities::new().read_text_file(traits.read_files).write_text_file(traits.write_files);
        let request = InitializeRequest::new(ProtocolVersion::V1)
            .client_capabilities(ClientCapabilities::new().fs(files).terminal(false))
            .client_info(Implementation::new("dcc", env!("CARGO_PKG_VERSION")));
        let answer = self.call("initialize", &json_of(&request))?;
        match answer["protocolVersion"].as_u64() {
            Some(1) => Ok(answer),
            Some(other) => Err(self.broke("initialize", &format!("it speaks version {other} of the protocol and we speak version 1"))),
            None => Err(self.broke("initialize", "its answer names no protocol version")),
        }
    }

    fn set_mode(&self, session: &str, offered: &Offered, configured: Option<&str>) -> Result<String, Stopped> {
        const STEP: &str = "session/set_mode";
        let wanted = modes::asking(&self.live.agent, offered, configured).map_err(|failure| Stopped { step: STEP, failure })?;
        let mut seen = None;
        for _ in 0..MODE_TRIES {
            self.live.forget_mode();
            seen = self.set_mode_once(session, offered, &wanted)?;
            if seen.as_deref() == Some(wanted.as_str()) {
                return Ok(wanted);
            }
        }
        let seen = shown(&seen.unwrap_or_default(), 64);
        Err(self.broke(STEP, &format!("it was asked to be in mode {wanted:?} and says it is in {seen:?}")))
    }

    /// Sets the mode and says in which the agent is, by its own updates and answers.
    fn set_mode_once(&self, session: &str, offered: &Offered, wanted: &str) -> Result<Option<String>, Stopped> {
        let confirmed = match &offered.via {
            Via::SetMode => {
                let asked = self.live.call("session/set_mode", &json!({"sessionId": session, "modeId": wanted}), self.deadline);
                match asked {
                    Ok(_) => Some(wanted.to_owned()),
                    // An agent that cannot set a mode but was born in the right one is in it.
                    Err(CallError::Answered(_)) if offered.current == wanted => Some(wanted.to_owned()),
                    Err(error) => return Err(self.failed("session/set_mode", error)),
                }
            }
            Via::ConfigOption(config) => {
                let answer = self.call("session/set_config_option", &json!({"sessionId": session, "configId": config, "value": wanted}))?;
                modes::mode_option(&answer["configOptions"]).map(|option| option.current)
            }
        };
        // Its own update is the stronger word; without one the answer stands.
        Ok(self.live.confirm_mode(confirmed))
    }

    fn call(&self, step: &'static str, params: &Value) -> Result<Value, Stopped> {
        self.live.call(step, params, self.deadline).map_err(|error| self.failed(step, error))
    }

    fn failed(&self, step: &'static str, error: CallError) -> Stopped {
        match error {
            CallError::Answered(error) => Stopped { step, failure: answered(&self.live.agent, step, &error) },
            CallError::TimedOut => Stopped { step, failure: Failure::new(Code::SboxTimeout, format!("the agent {} did not answer {step} in time", self.live.agent)) },
            CallError::Gone => Self::gone(step),
        }
    }

    fn gone(step: &'static str) -> Stopped {
        // The cause is known only once the process has been waited for: `told` fills it in.
        Stopped { step, failure: Failure::new(Code::AgentFailed, String::new()) }
    }

    fn broke(&self, step: &'static str, why: &str) -> Stopped {
        Stopped { step, failure: Failure::new(Code::AgentFailed, format!("the agent {} failed at {step}: {why}", self.live.agent)) }
    }
}

impl Stopped {
    /// The failure with the cause of death and the first lines of standard error; the process must be gone.
    pub fn told(mut self, live: &Live) -> Failure {
        if self.failure.message.is_empty() {
            self.failure.message = format!("the agent {} failed at {}: {}", live.agent, self.step, live.end_cause());
        }
        let head = live.stderr_head(STDERR_HEAD_LINES);
        if !head.trim().is_empty() {
            self.failure.message.push_str("\nstandard error:\n");
            self.failure.message.push_str(&head);
        }
        self.failure
    }
}

fn answered(agent: &str, step: &str, error: &RpcError) -> Failure {
    if error.code == AUTH_REQUIRED {
        return Failure::new(Code::AgentFailed, format!("the agent {agent} wants to be logged in first (at {step})"))
            .hint(format!("dcc agent login {agent} is not built yet; log it in with its own command, HOME set to the agent's own home"));
    }
    Failure::new(Code::AgentFailed, format!("the agent {agent} failed at {step}: {}", error.sentence()))
}

fn json_of(request: &impl Serialize) -> Value {
    serde_json::to_value(request).expect("protocol types always serialise")
}

/// The agent's name and version as it gives them.
fn info(initialized: &Value) -> Option<String> {
    let info = &initialized["agentInfo"];
    let name = info["name"].as_str()?;
    Some(shown(format!("{name} {}", info["version"].as_str().unwrap_or_default()).trim(), 120))
}

/// The model where the agent tells it: the model list, else the configuration option of that category.
fn model(new: &Value) -> Option<String> {
    let option = || new["configOptions"].as_array()?.iter().find(|o| o["category"].as_str() == Some("model"))?["currentValue"].as_str();
    new["models"]["currentModelId"].as_str().or_else(option).map(|id| shown(id, 120))
}

/// The worktree's path as the protocol can carry it: absolute and UTF-8 behind the plan's escape.
pub fn cwd_of(escaped: &str) -> Outcome<String> {
    String::from_utf8(unescape_path(escaped))
        .ok()
        .filter(|path| path.starts_with('/'))
        .ok_or_else(|| Failure::invalid(format!("an agent cannot be told of the worktree {escaped:?}: it needs an absolute path in UTF-8")))
}
