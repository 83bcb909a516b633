//! From a started process to a session that can take a prompt: initialize, session/new or an earlier conversation taken
//! up, the asking mode.
//!
//! Authority: ephemeral. Invariants: success means protocol version 1, a session id, and the asking mode confirmed wherever
//! the agent offers modes, also after an earlier conversation was taken up; what such a conversation repeats is dropped
//! and counted. Failure names the step and the first lines of the agent's standard error.

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    ClientCapabilities, EnvVariable, FileSystemCapabilities, Implementation, InitializeRequest, McpServer, McpServerStdio, NewSessionRequest,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ports::sessions::{AgentReport, McpHandout, StartedAgent};
use dcc_core::workspace::unescape_path;

use super::live::{CallError, Live, STDERR_HEAD_LINES};
use super::modes::{self, Offered, Via};
use super::offers;
use super::wire::{AUTH_REQUIRED, RpcError, shown};

/// The mode is set again once: an update about the old mode may have crossed the first request.
const MODE_TRIES: usize = 2;

/// A history that is told after the answer comes within milliseconds of it.
const QUIET: Duration = Duration::from_millis(150);
const QUIET_MAX: Duration = Duration::from_secs(2);

/// What helps when the program speaks something else.
const NOT_ACP: &str = "the command must speak the Agent Client Protocol on standard output, one JSON object on each line (some programs need a flag for it); a program for a terminal is started with dcc session start --ws WS -- COMMAND";

/// Where a start stopped, before it is told with standard error.
pub struct Stopped {
    step: &'static str,
    failure: Failure,
}

/// What the session shall be.
pub struct Wanted<'a> {
    pub cwd: &'a str,
    /// The agent's own id of an earlier conversation.
    pub resume: Option<&'a str>,
    pub mcp: Option<&'a McpHandout>,
    /// For the whole.
    pub timeout: Duration,
}

/// A conversation, with the agent's answer to its opening.
struct Conversation {
    id: String,
    answer: Value,
    resumed: bool,
    /// The agent took the MCP server, or none was to be handed over.
    mcp: bool,
}

/// Opens the session.
pub fn open(live: &Live, wanted: &Wanted) -> Result<StartedAgent, Stopped> {
    let opening = Opening { live, wanted, deadline: Instant::now() + wanted.timeout };
    let initialized = opening.initialize()?;
    let (conversation, mode) = opening.converse(&initialized)?;
    let answer = &conversation.answer;
    let mut capabilities = offers::capabilities(&initialized, answer);
    capabilities.mcp = conversation.mcp && (live.traits.takes_stdio_servers || live.traits.servers_by_file);
    capabilities.current_mode.clone_from(&mode);
    let model_id = offers::model(answer);
    live.set_capabilities(&capabilities);
    live.set_model(model_id.as_deref());
    let options = offers::session_options(answer);
    if !options.is_empty() {
        live.report(AgentReport::Options { options });
    }
    if !live.mark_started(mode) {
        return Err(Opening::gone("session/new"));
    }
    Ok(StartedAgent {
        process: live.process.identity(),
        agent_session_id: conversation.id,
        agent_info: info(&initialized),
        model_id,
        posture: live.process.posture(),
        capabilities,
        resumed: conversation.resumed,
    })
}

struct Opening<'a> {
    live: &'a Live,
    wanted: &'a Wanted<'a>,
    deadline: Instant,
}

impl Opening<'_> {
    fn initialize(&self) -> Result<Value, Stopped> {
        let traits = &self.live.traits;
        let files = FileSystemCapabilities::new().read_text_file(traits.read_files).write_text_file(traits.write_files);
        let request = InitializeRequest::new(ProtocolVersion::V1)
            .client_capabilities(ClientCapabilities::new().fs(files).terminal(traits.terminals))
            .client_info(Implementation::new("dcc", env!("CARGO_PKG_VERSION")));
        let answer = self.call("initialize", &json_of(&request))?;
        match answer["protocolVersion"].as_u64() {
            Some(1) => Ok(answer),
            Some(other) => Err(self.broke("initialize", &format!("it speaks version {other} of the protocol and we speak version 1"))),
            None => Err(self.broke("initialize", "its answer names no protocol version")),
        }
    }

    /// The earlier conversation where that can be had in the asking mode, else a new one.
    fn converse(&self, initialized: &Value) -> Result<(Conversation, Option<String>), Stopped> {
        if let Some(earlier) = self.wanted.resume
            && let Some(found) = self.take_up(earlier, initialized)?
        {
            return Ok(found);
        }
        let (answer, mcp) = self.fresh()?;
        let Some(id) = answer["sessionId"].as_str().map(str::to_owned) else {
            return Err(self.broke("session/new", "its answer holds no session id"));
        };
        self.live.set_own_session(&id);
        let mode = self.asking_mode(&id, &answer)?;
        self.switch_off(&id, &answer)?;
        Ok((Conversation { id, answer, resumed: false, mcp }, mode))
    }

    /// None when the agent cannot, or says no, or cannot be brought into its asking mode; what it said is kept.
    fn take_up(&self, earlier: &str, initialized: &Value) -> Result<Option<(Conversation, Option<String>)>, Stopped> {
        for method in offers::resume_methods(initialized) {
            self.live.replay_begins(earlier);
            let params = json!({"sessionId": earlier, "cwd": self.wanted.cwd, "mcpServers": self.servers()});
            // A conversation that does not come must leave the time for a new one.
            let half = Instant::now() + self.deadline.saturating_duration_since(Instant::now()) / 2;
            let refusal = match self.live.call(method, &params, half) {
                Ok(answer) => match self.resumed_mode(earlier, &answer).and_then(|mode| self.switch_off(earlier, &answer).map(|()| mode)) {
                    Ok(mode) => {
                        // Some agents answer first and tell the history then.
                        self.live.await_quiet(QUIET, QUIET_MAX.min(self.deadline.saturating_duration_since(Instant::now())));
                        let updates = self.live.replayed();
                        if updates > 0 {
                            self.live.report(AgentReport::Replayed { updates });
                        }
                        return Ok(Some((Conversation { id: earlier.to_owned(), answer, resumed: true, mcp: true }, mode)));
                    }
                    Err(stopped) if stopped.is_gone() => return Err(stopped),
                    Err(stopped) => stopped.failure.message,
                },
                Err(CallError::Answered(error)) => error.sentence(),
                Err(CallError::TimedOut) => "no answer in time".to_owned(),
                Err(CallError::Gone) => return Err(Self::gone(method)),
            };
            self.live.replay_failed();
            self.live.report(AgentReport::Other { kind: format!("{method}:refused"), raw: Some(refusal) });
        }
        Ok(None)
    }

    /// An agent that tells no modes when a conversation is taken up may have some all the same: where its preset names
    /// one, it is set blindly, and an agent that does not take it gives a new conversation instead.
    fn resumed_mode(&self, session: &str, answer: &Value) -> Result<Option<String>, Stopped> {
        match &self.live.traits.ask_mode {
            Some(mode) if modes::offered(answer).is_empty() => {
                let blind = Offered { via: Via::SetMode, current: String::new(), modes: vec![(mode.clone(), mode.clone())] };
                self.set_mode(session, &blind).map(Some)
            }
            _ => self.asking_mode(session, answer),
        }
    }

    /// A new conversation, and whether the MCP server was taken. An agent that refuses because of it works without it.
    fn fresh(&self) -> Result<(Value, bool), Stopped> {
        const STEP: &str = "session/new";
        let servers = self.servers();
        let with = |servers: Vec<McpServer>| json_of(&NewSessionRequest::new(self.wanted.cwd).mcp_servers(servers));
        if servers.is_empty() {
            return Ok((self.call(STEP, &with(servers))?, true));
        }
        match self.live.call(STEP, &with(servers), self.deadline) {
            Ok(answer) => Ok((answer, true)),
            Err(CallError::Answered(error)) if error.code != AUTH_REQUIRED => {
                let answer = self.call(STEP, &with(Vec::new()))?;
                self.live.report(AgentReport::Other { kind: "mcpServers:refused".to_owned(), raw: Some(error.sentence()) });
                Ok((answer, false))
            }
            Err(error) => Err(self.failed(STEP, error)),
        }
    }

    fn servers(&self) -> Vec<McpServer> {
        let stdio = |handout: &McpHandout| {
            let env = handout.env.iter().map(|(name, value)| EnvVariable::new(name, value)).collect();
            McpServer::Stdio(McpServerStdio::new(&handout.name, &handout.command).args(handout.args.clone()).env(env))
        };
        self.wanted.mcp.filter(|_| self.live.traits.takes_stdio_servers).map(stdio).into_iter().collect()
    }

    /// Brings the agent into the mode in which it asks; none when it has no modes.
    fn asking_mode(&self, session: &str, answer: &Value) -> Result<Option<String>, Stopped> {
        let mut refused = None;
        for offered in modes::offered(answer) {
            match self.set_mode(session, &offered) {
                Ok(mode) => return Ok(Some(mode)),
                // Nobody is left to be asked in the other way.
                Err(stopped) if stopped.is_gone() || stopped.failure.code == Code::SboxTimeout => return Err(stopped),
                Err(stopped) => refused = refused.or(Some(stopped)),
            }
        }
        match refused {
            Some(stopped) => Err(stopped),
            None if self.live.traits.ask_mode_required => Err(self.broke("session/new", "it offers no modes, but an asking mode is configured for it")),
            None => Ok(None),
        }
    }

    /// Switches off what would let the agent act without asking in its asking mode, and reads it back.
    fn switch_off(&self, session: &str, answer: &Value) -> Result<(), Stopped> {
        const STEP: &str = "session/set_config_option";
        for switch in modes::switches(&answer["configOptions"]).into_iter().filter(|switch| !switch.asks) {
            let mut params = json!({"sessionId": session, "configId": switch.id, "value": switch.asking});
            if switch.asking.is_boolean() {
                params["type"] = json!("boolean");
            }
            let now = modes::switches(&self.call(STEP, &params)?["configOptions"]);
            if !now.iter().any(|found| found.id == switch.id && found.asks) {
                return Err(self.broke(STEP, &format!("{:?} lets it act without asking and cannot be switched off", shown(&switch.id, 64))));
            }
        }
        Ok(())
    }

    fn set_mode(&self, session: &str, offered: &Offered) -> Result<String, Stopped> {
        const STEP: &str = "session/set_mode";
        let wanted = modes::asking(&self.live.agent, offered, self.live.traits.ask_mode.as_deref()).map_err(|failure| Stopped { step: STEP, failure })?;
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
    /// The agent ended: what is missing is the cause.
    fn is_gone(&self) -> bool {
        self.failure.message.is_empty()
    }

    /// The failure with the cause of death and the first lines of standard error; the process must be gone.
    pub fn told(mut self, live: &Live) -> Failure {
        if self.is_gone() {
            self.failure.message = format!("the agent {} failed at {}: {}", live.agent, self.step, live.end_cause());
        } else if let Some(line) = live.noise() {
            self.failure.message.push_str(&format!("; it said something that is not JSON: {line}"));
        }
        if live.noise().is_some() && self.failure.hint.is_none() {
            self.failure.hint = Some(NOT_ACP.to_owned());
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
            .hint(format!("in a terminal: dcc agent login {agent}"));
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

/// The worktree's path as the protocol can carry it: absolute and UTF-8 behind the plan's escape.
pub fn cwd_of(escaped: &str) -> Outcome<String> {
    String::from_utf8(unescape_path(escaped))
        .ok()
        .filter(|path| path.starts_with('/'))
        .ok_or_else(|| Failure::invalid(format!("an agent cannot be told of the worktree {escaped:?}: it needs an absolute path in UTF-8")))
}
