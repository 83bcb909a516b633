//! agent.login: an agent's own login command, in the home that DCC keeps for it, on a person's terminal.
//!
//! Pure. Invariants: no secret stands in a plan; what is typed and shown passes over the terminal and is recorded nowhere.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::capability::{Axis, Capability, Tier};
use crate::ports::sessions::Callback;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoginPlan {
    pub agent: String,
    /// argv.
    pub command: Vec<String>,
    /// Absolute path of the program.
    pub executable: String,
    pub env: BTreeMap<String, String>,
    pub read_paths: Vec<String>,
    pub connect_ports: Vec<u16>,
    /// Where it waits for the browser's answer; `{port}` in command and environment stands for the port.
    pub callback: Callback,
    /// The command's end of a pseudo-terminal of this user, whose other end the asking command holds.
    pub terminal: String,
    pub timeout_ms: u64,
}

impl PlanBody for LoginPlan {
    fn preview(&self) -> Preview {
        let listens = match self.callback {
            Callback::Nowhere => "on no port".to_owned(),
            Callback::Port(port) => format!("on TCP port {port}, for the browser's answer"),
        };
        Preview {
            title: format!("Log {} in with its own command", self.agent),
            exactly: vec![PreviewItem::Command { argv: self.command.clone(), cwd: "the agent's own home".into() }],
            place: vec![
                PreviewFact::new("program", &self.executable),
                PreviewFact::new("connects to", if self.connect_ports.is_empty() { "nothing".to_owned() } else { format!("TCP ports {:?}", self.connect_ports) }),
                PreviewFact::new("listens", listens),
                PreviewFact::new("terminal", &self.terminal),
            ],
            risk: "runs inside the sandbox, writes the agent's home and sees no worktree; it draws on your terminal".into(),
            undo: "log out with the agent's own command, or empty its home".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement::of(Capability::plain(Axis::AgentLogin), Tier::R2, IntentClass::AgentLogin)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}
