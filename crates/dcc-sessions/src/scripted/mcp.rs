//! The scripted agent's MCP client: starts the server it was handed, as real agents do, and calls its tools.
//!
//! Authority: none. Written by hand, like the rest of this agent: it shares nothing with the server but the protocol.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::play::{Flow, Player, after_failure};
use super::script::{McpCall, Step};

/// A running MCP server on standard input and output. It ends with its input, so with this process.
pub struct McpServer {
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
}

impl McpServer {
    /// Starts what `session/new` handed over, with the environment it names, and introduces itself.
    #[allow(clippy::disallowed_methods, reason = "this is the agent's own process, not DCC's")]
    pub fn start(handed: &Value) -> Result<Self, String> {
        let program = handed["command"].as_str().ok_or("no MCP server was handed over")?;
        let arguments = handed["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let variables = handed["env"].as_array().into_iter().flatten().filter_map(|v| Some((v["name"].as_str()?, v["value"].as_str()?)));
        let mut command = Command::new(program);
        command.args(arguments).envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err("no pipes".to_owned()) };
        let mut server = Self { _child: child, stdin, stdout: BufReader::new(stdout), next_id: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "scripted", "version": env!("CARGO_PKG_VERSION")}});
        server.request("initialize", &hello)?;
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(server)
    }

    /// Calls a tool; the answer's structured content, and whether it is an error.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Result<(Value, bool), String> {
        let result = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        Ok((result["structuredContent"].clone(), result["isError"] == true))
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        self.stdin.write_all(format!("{message}\n").as_bytes()).and_then(|()| self.stdin.flush()).map_err(|e| e.to_string())
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
                return Err("the MCP server is gone".to_owned());
            }
            let answer: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
            if answer["id"] != id {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(error["message"].as_str().unwrap_or("no reason given").to_owned()),
                None => Ok(answer["result"].clone()),
            };
        }
    }
}

impl Player<'_> {
    /// Calls a tool and says what came of it; with `wait`, after its job is over.
    pub fn mcp(&mut self, step: &Step, call: &McpCall) -> Flow {
        let id = self.next_call();
        self.begin(&id, &json!({"title": format!("dcc: {}", call.tool), "kind": "other", "rawInput": {"tool": call.tool, "arguments": call.args}}));
        self.progress(&id, "in_progress", &Value::Null);
        let arguments = if call.args.is_null() { json!({}) } else { call.args.clone() };
        let mut answer = self.peer.tools().and_then(|tools| tools.call(&call.tool, &arguments));
        while let (true, Ok((job, false))) = (call.wait, &answer) {
            if !matches!(job["state"].as_str(), Some("awaiting_user" | "running" | "queued")) {
                break;
            }
            self.peer.poll();
            if self.peer.cancelled {
                self.progress(&id, "failed", &json!({"error": "cancelled"}));
                return Flow::Stop("cancelled");
            }
            // Short waits, so that a cancel is noticed.
            let arguments = json!({"job_id": job["job_id"], "wait_ms": 2000});
            answer = self.peer.tools().and_then(|tools| tools.call("job_get", &arguments));
        }
        match answer {
            Ok((result, false)) => {
                let state = result["state"].as_str().unwrap_or("answered").to_owned();
                self.progress(&id, "completed", &result);
                self.say(&format!("DCC's tool {}: {state}.", call.tool));
                Flow::Next
            }
            Ok((result, true)) => {
                let why = [&result["failure"]["message"], &result["error"]["message"]].into_iter().find_map(Value::as_str).unwrap_or("no reason given").to_owned();
                self.progress(&id, "failed", &result);
                self.say(&format!("DCC's tool {} said no: {why}", call.tool));
                after_failure(step)
            }
            Err(why) => {
                self.progress(&id, "failed", &json!({"error": why}));
                self.say(&format!("DCC's tool {} cannot be called: {why}", call.tool));
                after_failure(step)
            }
        }
    }
}
