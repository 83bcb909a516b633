//! Commands that the scripted agent runs in a terminal of the client's.
//!
//! Authority: none. Invariant: it says what came of each, and releases it unless its script says otherwise.

use serde_json::{Value, json};

use super::peer::NoAnswer;
use super::play::{Flow, Player};
use super::script::{Step, TerminalRun};

/// Looks at the output of a command that it waits for; bounds a script that waits in vain.
const LOOKS_MAX: usize = 20_000;

impl Player<'_> {
    pub fn terminal(&mut self, step: &Step, run: &TerminalRun) -> Flow {
        let id = self.next_call();
        let mut input = json!({"command": run.command});
        if !run.args.is_empty() {
            input["args"] = json!(run.args);
        }
        if let Some(flow) = self.consent(step, &id, &json!({"title": run.command, "kind": "execute", "rawInput": input})) {
            return flow;
        }
        let cwd = run.cwd.as_ref().map(|cwd| self.absolute(cwd));
        let created = self.client("terminal/create", json!({"command": run.command, "args": run.args, "cwd": cwd, "env": [{"name": "SCRIPTED", "value": "1"}], "outputByteLimit": 4_000}));
        let terminal = match created {
            Ok(created) => created["terminalId"].clone(),
            Err(end) => return self.without_terminal(&id, &run.command, end),
        };
        self.peer.update(&json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": "in_progress", "content": [{"type": "terminal", "terminalId": terminal}]}));
        if run.leave {
            self.say(&format!("{} goes on.", run.command));
            return Flow::Next;
        }
        match self.end_of(run, &terminal) {
            Ok((exit, output)) => {
                self.progress(&id, if exit["exitCode"] == 0 { "completed" } else { "failed" }, &json!({"exit": exit, "output": output["output"]}));
                self.say(&format!("{} ended with {exit} and showed {}", run.command, output["output"]));
                Flow::Next
            }
            Err(end) => self.without_terminal(&id, &run.command, end),
        }
    }

    /// How the command ended, and what it showed.
    fn end_of(&mut self, run: &TerminalRun, terminal: &Value) -> Result<(Value, Value), NoAnswer> {
        if let Some(text) = &run.kill_at {
            for _ in 0..LOOKS_MAX {
                let shown = self.client("terminal/output", json!({"terminalId": terminal}))?;
                if shown["output"].as_str().is_some_and(|output| output.contains(text.as_str())) {
                    break;
                }
            }
            self.client("terminal/kill", json!({"terminalId": terminal}))?;
        }
        let exit = self.client("terminal/wait_for_exit", json!({"terminalId": terminal}))?;
        let output = self.client("terminal/output", json!({"terminalId": terminal}))?;
        self.client("terminal/release", json!({"terminalId": terminal}))?;
        Ok((exit, output))
    }

    fn client(&mut self, method: &str, mut params: Value) -> Result<Value, NoAnswer> {
        params["sessionId"] = json!(self.peer.session_id);
        self.peer.call(method, &params)
    }

    fn without_terminal(&mut self, id: &str, command: &str, end: NoAnswer) -> Flow {
        match end {
            NoAnswer::Cancelled => Flow::Stop("cancelled"),
            NoAnswer::Error(error) => {
                self.progress(id, "failed", &json!({"error": error["message"]}));
                self.say(&format!("{command} did not run: {}", error["message"].as_str().unwrap_or("no reason given")));
                Flow::Next
            }
        }
    }
}
