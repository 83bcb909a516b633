//! Plays one turn: what the agent says, reads, edits and runs, and how it asks.
//!
//! Authority: none. Invariant: an honest step does nothing that it was not allowed to do, and says what came of it.

use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peer::{NoAnswer, Peer};
use super::script::{Action, Asking, Edit, OnReject, Run, Step, Turn, PlanLine};

/// Output of a command that is reported.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// How a step went on.
#[derive(PartialEq, Eq, Debug)]
pub enum Flow {
    Next,
    /// The turn ends with this stop reason.
    Stop(&'static str),
    /// The prompt is answered with an error.
    Fail(String),
}

/// What the permission request came to.
enum Consent {
    Allowed,
    Rejected,
    Cancelled,
}

pub struct Player<'a> {
    pub peer: &'a mut Peer,
    pub cwd: &'a Path,
    calls: u64,
    pub answer_twice: bool,
}

impl<'a> Player<'a> {
    pub fn new(peer: &'a mut Peer, cwd: &'a Path) -> Self {
        Self { peer, cwd, calls: 0, answer_twice: false }
    }

    /// Plays the turn and answers its prompt.
    pub fn turn(mut self, turn: Option<&Turn>, id: &Value) {
        let mut end = Flow::Stop("end_turn");
        if turn.is_none() {
            self.say("The script has nothing further.");
        }
        for step in turn.iter().flat_map(|turn| &turn.steps) {
            self.peer.poll();
            let flow = if self.peer.cancelled { Flow::Stop("cancelled") } else { self.step(step) };
            if flow != Flow::Next {
                end = flow;
                break;
            }
        }
        for _ in 0..if self.answer_twice { 2 } else { 1 } {
            match &end {
                Flow::Fail(text) => self.peer.error(id, -32_603, text),
                Flow::Stop(reason) => {
                    let mut answer = json!({"stopReason": reason});
                    if let Some(tokens) = turn.and_then(|turn| turn.tokens) {
                        answer["usage"] = json!({"totalTokens": tokens.input + tokens.output, "inputTokens": tokens.input, "outputTokens": tokens.output});
                    }
                    self.peer.result(id, &answer);
                }
                Flow::Next => {}
            }
        }
    }

    fn step(&mut self, step: &Step) -> Flow {
        match &step.action {
            Action::Say(text) => self.say(text),
            Action::SayChunks(texts) => texts.iter().for_each(|text| self.chunk("agent_message_chunk", text)),
            Action::Think(text) => self.chunk("agent_thought_chunk", text),
            Action::Plan(entries) => {
                let line = |entry: &PlanLine| match entry {
                    PlanLine::Text(text) => json!({"content": text, "priority": "medium", "status": "pending"}),
                    PlanLine::State { text, status } => json!({"content": text, "priority": "medium", "status": status}),
                };
                let entries: Vec<Value> = entries.iter().map(line).collect();
                self.peer.update(&json!({"sessionUpdate": "plan", "entries": entries}));
            }
            Action::Read(path) => return self.read_step(path),
            Action::Tool(tool) => self.tool(tool),
            Action::Edit(edit) => return self.edit(step, edit),
            Action::Run(run) => return self.run(step, run),
            Action::Usage(usage) => {
                let mut update = json!({"sessionUpdate": "usage_update", "used": usage.used, "size": usage.size});
                if let Some(cost) = &usage.cost {
                    update["cost"] = json!({"amount": cost.amount, "currency": cost.currency});
                }
                self.peer.update(&update);
            }
            Action::Terminal(run) => return self.terminal(step, run),
            Action::Mcp(call) => return self.mcp(step, call),
            Action::Pace(pace) => return self.pace(*pace),
            Action::WaitFor(_) => {
                self.peer.wait_for_cancel();
                return Flow::Stop("cancelled");
            }
            Action::Error(text) => return Flow::Fail(text.clone()),
            _ => return self.mischief(step),
        }
        Flow::Next
    }

    pub fn say(&self, text: &str) {
        self.chunk("agent_message_chunk", text);
    }

    fn chunk(&self, kind: &str, text: &str) {
        self.peer.update(&json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}}));
    }

    pub fn absolute(&self, path: &str) -> PathBuf {
        self.cwd.join(path)
    }

    pub fn next_call(&mut self) -> String {
        self.calls += 1;
        format!("call-{}-{}", std::process::id(), self.calls)
    }

    pub fn begin(&self, id: &str, fields: &Value) {
        let mut update = json!({"sessionUpdate": "tool_call", "toolCallId": id, "status": "pending"});
        merge(&mut update, fields);
        self.peer.update(&update);
    }

    pub fn progress(&self, id: &str, status: &str, output: &Value) {
        let mut update = json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status});
        if !output.is_null() {
            update["rawOutput"] = output.clone();
        }
        self.peer.update(&update);
    }

    fn tool(&mut self, tool: &Value) {
        let id = self.next_call();
        let status = tool["status"].as_str().unwrap_or("completed");
        self.begin(&id, &json!({"title": tool["title"], "kind": tool["kind"], "rawInput": tool["raw_input"]}));
        self.progress(&id, "in_progress", &Value::Null);
        self.progress(&id, status, &tool["raw_output"]);
    }

    /// The file's text through the client where it offers that; none when there is no such file.
    fn text_of(&mut self, path: &Path) -> Result<Option<String>, NoAnswer> {
        if !self.peer.can_read {
            return Ok(std::fs::read_to_string(path).ok());
        }
        let params = json!({"sessionId": self.peer.session_id, "path": path});
        match self.peer.call("fs/read_text_file", &params) {
            Ok(result) => Ok(result["content"].as_str().map(str::to_owned)),
            Err(NoAnswer::Error(error)) if error["code"] == -32_002 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_step(&mut self, path: &str) -> Flow {
        let id = self.next_call();
        let absolute = self.absolute(path);
        self.begin(&id, &json!({"title": format!("Read {path}"), "kind": "read", "locations": [{"path": absolute}]}));
        match self.text_of(&absolute) {
            Ok(Some(text)) => self.progress(&id, "completed", &json!({"lines": text.lines().count()})),
            Ok(None) => {
                self.progress(&id, "failed", &json!({"error": "no such file"}));
                self.say(&format!("There is no {path}; I go on without it."));
            }
            Err(NoAnswer::Cancelled) => return Flow::Stop("cancelled"),
            Err(NoAnswer::Error(error)) => {
                self.progress(&id, "failed", &json!({"error": error["message"]}));
                self.say(&format!("I may not read {path}: {}", error["message"].as_str().unwrap_or("no reason given")));
            }
        }
        Flow::Next
    }

    fn edit(&mut self, step: &Step, edit: &Edit) -> Flow {
        let path = self.absolute(&edit.path);
        let before = match self.text_of(&path) {
            Ok(before) => before,
            Err(NoAnswer::Cancelled) => return Flow::Stop("cancelled"),
            Err(NoAnswer::Error(error)) => {
                self.say(&format!("I may not read {}: {}", edit.path, error["message"].as_str().unwrap_or("no reason given")));
                return after_failure(step);
            }
        };
        let after = match edit.applied(before.as_deref()) {
            Ok(after) => after,
            Err(why) => {
                self.say(&format!("I cannot make the edit: {why}."));
                return after_failure(step);
            }
        };
        let id = self.next_call();
        let fields = json!({
            "title": format!("{} {}", if before.is_some() { "Edit" } else { "Create" }, edit.path),
            "kind": "edit",
            "locations": [{"path": path}],
            "content": [{"type": "diff", "path": path, "oldText": before, "newText": after}],
            "rawInput": {"path": path},
        });
        if let Some(flow) = self.consent(step, &id, &fields) {
            return flow;
        }
        self.progress(&id, "in_progress", &Value::Null);
        match self.write(&path, &after) {
            Ok(()) => self.progress(&id, "completed", &json!({"bytes": after.len()})),
            Err(NoAnswer::Cancelled) => return Flow::Stop("cancelled"),
            Err(NoAnswer::Error(error)) => {
                self.progress(&id, "failed", &json!({"error": error["message"]}));
                self.say(&format!("I could not write {}: {}", edit.path, error["message"].as_str().unwrap_or("no reason given")));
                return after_failure(step);
            }
        }
        Flow::Next
    }

    fn write(&mut self, path: &Path, text: &str) -> Result<(), NoAnswer> {
        if self.peer.can_write {
            let params = json!({"sessionId": self.peer.session_id, "path": path, "content": text});
            return self.peer.call("fs/write_text_file", &params).map(drop);
        }
        super::mischief::write_by_hand(path, text).map_err(|e| NoAnswer::Error(json!({"message": e.to_string()})))
    }

    fn run(&mut self, step: &Step, run: &Run) -> Flow {
        let id = self.next_call();
        let fields = json!({"title": run.argv.join(" "), "kind": "execute", "rawInput": {"command": run.argv}});
        if let Some(flow) = self.consent(step, &id, &fields) {
            return flow;
        }
        self.progress(&id, "in_progress", &Value::Null);
        match self.execute(&run.argv) {
            Ok((code, output)) => {
                let status = if code == Some(0) { "completed" } else { "failed" };
                self.progress(&id, status, &json!({"exit_code": code, "output": output}));
                Flow::Next
            }
            Err(error) => {
                self.progress(&id, "failed", &json!({"error": error.to_string()}));
                self.say(&format!("{} did not run: {error}", run.argv.join(" ")));
                after_failure(step)
            }
        }
    }

    /// Runs with its own hands, like real agents do; the sandbox around this process is what holds it.
    #[allow(clippy::disallowed_methods, reason = "this is the agent's own process, not DCC's")]
    fn execute(&self, argv: &[String]) -> std::io::Result<(Option<i32>, String)> {
        let (program, arguments) = argv.split_first().ok_or_else(|| std::io::Error::other("no command"))?;
        let mut child = Command::new(program).args(arguments).current_dir(self.cwd).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut output)?;
        }
        Ok((child.wait()?.code(), String::from_utf8_lossy(&output).into_owned()))
    }

    /// Announces the call and asks where the step says so; some flow when the step is over.
    pub fn consent(&mut self, step: &Step, id: &str, fields: &Value) -> Option<Flow> {
        if step.asking != Asking::BareUnknown {
            self.begin(id, fields);
        }
        if !step.ask && step.asking == Asking::Plain {
            return None;
        }
        match self.permission(step.asking, id, fields) {
            Consent::Allowed => None,
            Consent::Cancelled => {
                self.progress(id, "failed", &json!({"error": "cancelled"}));
                Some(Flow::Stop("cancelled"))
            }
            Consent::Rejected => {
                self.progress(id, "failed", &json!({"error": "not allowed"}));
                self.say(&format!("{} was not allowed, so I left it.", fields["title"].as_str().unwrap_or("That")));
                Some(after_failure(step))
            }
        }
    }

    fn permission(&mut self, asking: Asking, id: &str, fields: &Value) -> Consent {
        let mut call = json!({"toolCallId": id});
        if !matches!(asking, Asking::Bare | Asking::BareUnknown) {
            merge(&mut call, fields);
        }
        let (request, params) = self.request(&call, asking == Asking::NoAllowOnce);
        match asking {
            Asking::Withdraw => self.peer.send(&json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": request}})),
            Asking::Twice => self.peer.send(&json!({"jsonrpc": "2.0", "id": request, "method": "session/request_permission", "params": params})),
            _ => {}
        }
        let answer = self.peer.answer(&request, asking != Asking::Hang);
        if let Ok(result) = &answer
            && result["outcome"]["optionId"].as_str().is_some_and(|id| id.ends_with("_always"))
        {
            self.say("The client chose an option for always.");
        }
        consent_of(answer)
    }

    /// Asks about a tool call; the request's id, and its parameters.
    pub fn request(&mut self, call: &Value, no_allow_once: bool) -> (String, Value) {
        let params = json!({"sessionId": self.peer.session_id, "toolCall": call, "options": self.options(no_allow_once)});
        (self.peer.ask("session/request_permission", &params), params)
    }

    /// The four options in an order that differs from one request to the next.
    fn options(&self, no_allow_once: bool) -> Value {
        let mut options = vec![("allow_once", "Allow"), ("allow_always", "Always allow"), ("reject_once", "Reject"), ("reject_always", "Always reject")];
        let mut seed = self.calls.wrapping_mul(2_654_435_761).wrapping_add(u64::from(std::process::id()));
        for last in (1..options.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            options.swap(last, (seed >> 33) as usize % (last + 1));
        }
        let shown = options.into_iter().filter(|(kind, _)| !(no_allow_once && *kind == "allow_once"));
        shown.map(|(kind, name)| json!({"optionId": format!("option-{kind}"), "name": name, "kind": kind})).collect()
    }

    /// So many requests at once, then all the answers; in whatever order they come.
    pub fn ask_many(&mut self, count: u64) -> Flow {
        let mut requests = Vec::new();
        for _ in 0..count {
            let call = self.next_call();
            requests.push(self.request(&json!({"toolCallId": call, "title": format!("Many {call}"), "kind": "execute"}), false).0);
        }
        let (mut allowed, mut rejected, mut cancelled) = (0, 0, 0);
        while !requests.is_empty() {
            let message = self.peer.receive();
            let Some(at) = requests.iter().position(|id| message["id"] == id.as_str()) else { continue };
            requests.swap_remove(at);
            match consent_of(Ok(message["result"].clone())) {
                Consent::Allowed => allowed += 1,
                Consent::Rejected => rejected += 1,
                Consent::Cancelled => cancelled += 1,
            }
        }
        self.say(&format!("{allowed} allowed, {rejected} rejected, {cancelled} cancelled"));
        Flow::Next
    }
}

fn consent_of(answer: Result<Value, NoAnswer>) -> Consent {
    let Ok(result) = answer else { return Consent::Cancelled };
    match (result["outcome"]["outcome"].as_str(), result["outcome"]["optionId"].as_str()) {
        (Some("selected"), Some("option-allow_once" | "option-allow_always")) => Consent::Allowed,
        (Some("selected"), _) => Consent::Rejected,
        _ => Consent::Cancelled,
    }
}

pub fn after_failure(step: &Step) -> Flow {
    if step.on_reject == OnReject::Stop { Flow::Stop("end_turn") } else { Flow::Next }
}

fn merge(into: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        into[key] = value.clone();
    }
}
