//! The scripted agent's side of the wire: lines in through a thread, lines out, answers by id.
//!
//! Authority: ephemeral. Invariant: a session/cancel is noticed while waiting for anything.

use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, channel};

use super::mcp::McpServer;

/// Why an answer did not come.
#[derive(Debug)]
pub enum NoAnswer {
    Error(Value),
    /// The turn was cancelled while waiting.
    Cancelled,
}

pub struct Peer {
    incoming: Receiver<Option<Value>>,
    next_id: u64,
    pub session_id: String,
    pub cancelled: bool,
    pub ignore_eof: bool,
    /// What the client offers.
    pub can_read: bool,
    pub can_write: bool,
    /// The MCP servers that the client handed over, and the first of them once it was started.
    pub handed: Value,
    pub mcp: Option<McpServer>,
}

impl Peer {
    /// Starts reading standard input.
    pub fn start() -> Self {
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(Some(value)).is_err()
                {
                    return;
                }
            }
            // The receiver may be gone because the agent is ending.
            let _ = sender.send(None);
        });
        Self { incoming, next_id: 0, session_id: String::new(), cancelled: false, ignore_eof: false, can_read: false, can_write: false, handed: Value::Null, mcp: None }
    }

    /// The next message. The end of input ends the agent, unless its script says otherwise.
    pub fn receive(&self) -> Value {
        if let Ok(Some(value)) = self.incoming.recv() {
            return value;
        }
        if self.ignore_eof {
            loop {
                std::thread::park();
            }
        }
        std::process::exit(0)
    }

    /// Takes in what has come without waiting, to notice a cancel.
    pub fn poll(&mut self) {
        while let Ok(message) = self.incoming.try_recv() {
            match message {
                Some(message) => self.aside(&message),
                None => {
                    if !self.ignore_eof {
                        std::process::exit(0)
                    }
                }
            }
        }
    }

    /// Waits until the turn is cancelled.
    pub fn wait_for_cancel(&mut self) {
        while !self.cancelled {
            let message = self.receive();
            self.aside(&message);
        }
    }

    /// What comes while something else is waited for.
    fn aside(&mut self, message: &Value) {
        match (message["method"].as_str(), message.get("id")) {
            (Some("session/cancel"), _) => self.cancelled = true,
            (Some(method), Some(id)) => self.error(id, -32_601, &format!("{method} cannot be answered during a turn")),
            _ => {}
        }
    }

    pub fn send(&self, value: &Value) {
        self.raw(format!("{value}\n").as_bytes());
    }

    /// Bytes as they are; a client that no longer reads ends the agent.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() && !self.ignore_eof {
            std::process::exit(0);
        }
    }

    /// The MCP server that was handed over, started when it is first needed.
    pub fn tools(&mut self) -> Result<&mut McpServer, String> {
        if self.mcp.is_none() {
            self.mcp = Some(McpServer::start(&self.handed[0])?);
        }
        self.mcp.as_mut().ok_or_else(|| "no MCP server".to_owned())
    }

    pub fn result(&self, id: &Value, result: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }
    pub fn error(&self, id: &Value, code: i64, text: &str) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}));
    }
    pub fn update(&self, update: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": self.session_id, "update": update}}));
    }

    /// Sends a request and gives its id.
    pub fn ask(&mut self, method: &str, params: &Value) -> String {
        self.next_id += 1;
        let id = format!("scripted-{}", self.next_id);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Waits for the answer to a request. A cancel ends the wait, unless `heed_cancel` is false.
    pub fn answer(&mut self, id: &str, heed_cancel: bool) -> Result<Value, NoAnswer> {
        loop {
            if self.cancelled && heed_cancel {
                return Err(NoAnswer::Cancelled);
            }
            let message = self.receive();
            if message.get("method").is_none() && message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(NoAnswer::Error(error.clone())),
                    None => Ok(message["result"].clone()),
                };
            }
            self.aside(&message);
        }
    }

    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, NoAnswer> {
        let id = self.ask(method, params);
        self.answer(&id, true)
    }
}
