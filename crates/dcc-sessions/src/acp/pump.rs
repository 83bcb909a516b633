//! Reads an agent's lines and acts on each, in order: answers, updates, requests.
//!
//! Authority: ephemeral. Invariants: every line leads to a report, an answer or a count, never to the end of the session;
//! the reader never waits for the agent to read; a request that may take long runs on a thread of its own, at most
//! `SESSION_PENDING_MAX` permissions and as many file requests at once.

use agent_client_protocol_schema::v1::{ReadTextFileRequest, WriteTextFileRequest};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;

use dcc_core::failure::{Code, Failure};
use dcc_core::limits::AGENT_LINE_BYTES_MAX;
use dcc_core::ports::sessions::{AgentReport, PermissionAnswer};

use super::live::{Admission, Live, Reply, RequestKind, cancelled};
use super::tools::{self, Permission};
use super::updates::{Meaning, Updates};
use super::wire::{
    Envelope, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, Line, LineReader, METHOD_NOT_FOUND, REQUEST_CANCELLED, answer, answer_error, answer_failure, shown,
};

/// Reads until the agent's output ends.
pub fn pump(live: &Arc<Live>, stdout: impl Read, line_bytes_max: usize) {
    live.reader_begins();
    let mut reader = LineReader::new(stdout, line_bytes_max);
    let mut pump = Pump { live, updates: Updates::default(), out: Vec::new() };
    while let Some(line) = reader.next_line() {
        match line {
            Line::Text(bytes) => pump.line(bytes),
            Line::TooLong { bytes, head } => {
                let sample = format!("a line of {bytes} bytes was skipped: {}", String::from_utf8_lossy(head));
                pump.updates.noise(&sample, &mut pump.out);
            }
        }
        pump.deliver();
    }
    pump.updates.boundary(&mut pump.out);
    pump.deliver();
    live.reader_done();
}

struct Pump<'a> {
    live: &'a Arc<Live>,
    updates: Updates,
    out: Vec<AgentReport>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    session_id: String,
    update: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelParams<'a> {
    #[serde(borrow)]
    request_id: &'a serde_json::value::RawValue,
}

impl Pump<'_> {
    fn deliver(&mut self) {
        for report in self.out.drain(..) {
            self.live.report(report);
        }
    }

    fn noise(&mut self, sample: &str) {
        self.updates.noise(sample, &mut self.out);
    }

    fn line(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.noise(&format!("not UTF-8: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])));
        };
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let Ok(envelope) = serde_json::from_str::<Envelope>(text) else {
            return self.noise(&text.chars().take(200).collect::<String>());
        };
        let params = envelope.params.map_or("{}", |params| params.get());
        match (envelope.method.as_deref(), envelope.id) {
            (Some(method), Some(id)) => self.request(method, id.get(), params),
            (Some(method), None) => self.notification(method, params, bytes.len()),
            (None, Some(id)) => {
                let reply = match envelope.error {
                    Some(error) => Err(error),
                    None => Ok(envelope.result.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null)),
                };
                self.reply(id.get(), reply);
            }
            (None, None) => self.noise(&text.chars().take(200).collect::<String>()),
        }
    }

    fn reply(&mut self, id: &str, reply: Reply) {
        let taken = id.parse::<i64>().map_err(|_| ()).and_then(|id| self.live.take_reply(id, reply));
        match taken {
            Ok(None) => {}
            Err(()) => self.updates.other("answer_nobody_waits_for", &mut self.out),
            Ok(Some((turn, reply))) => {
                self.updates.boundary(&mut self.out);
                self.out.push(match reply {
                    Ok(result) => AgentReport::TurnEnded { turn, stop_reason: shown(result["stopReason"].as_str().unwrap_or("unknown"), 64) },
                    Err(error) => {
                        let failure = Failure::new(Code::AgentFailed, format!("the agent {} answered the prompt with an error: {}", self.live.agent, error.sentence()));
                        AgentReport::TurnFailed { turn, failure }
                    }
                });
            }
        }
    }

    fn notification(&mut self, method: &str, params: &str, bytes: usize) {
        match method {
            "session/update" => match serde_json::from_str::<UpdateParams>(params) {
                Ok(params) if self.live.own_session().is_none_or(|own| own == params.session_id) => {
                    if let Meaning::Mode(mode) = self.updates.read(params.update, bytes, &mut self.out) {
                        self.live.mode_changed(mode);
                    }
                }
                Ok(_) => self.updates.other("session/update:other_session", &mut self.out),
                Err(_) => self.updates.other("session/update:unreadable", &mut self.out),
            },
            "$/cancel_request" => match serde_json::from_str::<CancelParams>(params) {
                Ok(params) => self.live.withdraw(params.request_id.get()),
                Err(_) => self.updates.other("$/cancel_request:unreadable", &mut self.out),
            },
            _ => self.updates.other(method, &mut self.out),
        }
    }

    fn request(&mut self, method: &str, id: &str, params: &str) {
        self.updates.boundary(&mut self.out);
        match method {
            "session/request_permission" => self.permission(id, params),
            "fs/read_text_file" | "fs/write_text_file" => self.file(method, id, params),
            _ => {
                self.updates.other(&format!("request:{method}"), &mut self.out);
                self.live.refuse(answer_error(id, METHOD_NOT_FOUND, &format!("{} is not offered", shown(method, 64))));
            }
        }
    }

    fn permission(&mut self, id: &str, params: &str) {
        let withdrawn = match self.live.admit(id, RequestKind::Permission) {
            Admission::Taken(withdrawn) => withdrawn,
            Admission::Duplicate => return self.updates.other("request_id_used_twice", &mut self.out),
            Admission::TooMany => {
                self.updates.other("permission:too_many_waiting", &mut self.out);
                return self.live.refuse(answer(id, &cancelled()));
            }
            Admission::NotNow => {
                self.updates.other("permission:not_now", &mut self.out);
                return self.live.refuse(answer(id, &cancelled()));
            }
        };
        match tools::permission(params, self.live.own_session().as_deref(), &self.updates.tools, withdrawn) {
            Ok(permission) => {
                // Everything said before the question is recorded before it.
                self.deliver();
                self.work(id, answer(id, &cancelled()), move |live, id| answer(id, &decide(live, permission)));
            }
            Err(sentence) => {
                self.noise(&sentence);
                self.live.settle(id, answer_error(id, INVALID_PARAMS, &sentence));
            }
        }
    }

    fn file(&mut self, method: &str, id: &str, params: &str) {
        match self.live.admit(id, RequestKind::File) {
            Admission::Taken(_) => {}
            Admission::Duplicate => return self.updates.other("request_id_used_twice", &mut self.out),
            Admission::TooMany => {
                self.updates.other("file:too_many_waiting", &mut self.out);
                return self.live.refuse(answer_error(id, INTERNAL_ERROR, "too many file requests wait"));
            }
            Admission::NotNow => {
                self.updates.other("file:not_now", &mut self.out);
                return self.live.refuse(answer_error(id, REQUEST_CANCELLED, "the session is starting, being cancelled or ending"));
            }
        }
        self.deliver();
        let too_late = answer_error(id, INTERNAL_ERROR, "no thread could be started");
        if method == "fs/read_text_file" {
            match serde_json::from_str::<ReadTextFileRequest>(params) {
                Ok(request) => self.work(id, too_late, move |live, id| read_file(live, id, &request)),
                Err(e) => self.unreadable(id, &format!("{method}: {e}")),
            }
        } else {
            match serde_json::from_str::<WriteTextFileRequest>(params) {
                Ok(request) => self.work(id, too_late, move |live, id| write_file(live, id, &request)),
                Err(e) => self.unreadable(id, &format!("{method}: {e}")),
            }
        }
    }

    fn unreadable(&mut self, id: &str, sentence: &str) {
        self.noise(sentence);
        self.live.settle(id, answer_error(id, INVALID_PARAMS, sentence));
    }

    /// Answers on a thread of its own; `otherwise` goes out when none can be started or the host fails.
    fn work(&mut self, id: &str, otherwise: Vec<u8>, job: impl FnOnce(&Live, &str) -> Vec<u8> + Send + 'static) {
        self.live.worker_begins();
        // A thread that cannot be started drops its work, and with it the worker answers.
        let worker = Worker { live: Arc::clone(self.live), id: id.to_owned(), line: otherwise };
        let spawned = std::thread::Builder::new().name("agent-request".to_owned()).spawn(move || {
            let mut worker = worker;
            worker.line = job(&worker.live, &worker.id);
        });
        if spawned.is_err() {
            self.updates.other("request:no_thread", &mut self.out);
        }
    }
}

/// Sends its line when it goes, whatever became of the work.
struct Worker {
    live: Arc<Live>,
    id: String,
    line: Vec<u8>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A reply after withdrawal is dropped: the agent has had its answer.
        self.live.settle(&self.id, std::mem::take(&mut self.line));
        self.live.worker_ends();
    }
}

/// Asks the host and puts its decision into the agent's words: the option of that kind, else `cancelled`.
fn decide(live: &Live, permission: Permission) -> Value {
    let answer = live.host.ask(live.session_id, permission.ask);
    let option = match answer {
        PermissionAnswer::AllowOnce => permission.allow,
        PermissionAnswer::RejectOnce => permission.reject,
        PermissionAnswer::Cancelled => None,
    };
    option.map_or_else(cancelled, |id| json!({"outcome": {"outcome": "selected", "optionId": id}}))
}

fn own(live: &Live, session_id: &str) -> Result<(), Failure> {
    if live.own_session().as_deref() == Some(session_id) { Ok(()) } else { Err(Failure::invalid("the request names another session")) }
}

fn read_file(live: &Live, id: &str, request: &ReadTextFileRequest) -> Vec<u8> {
    let Some(path) = request.path.to_str() else {
        return answer_error(id, INVALID_REQUEST, "the path is not UTF-8");
    };
    match own(live, &request.session_id.0).and_then(|()| live.host.read_file(live.session_id, path, request.line, request.limit)) {
        Ok(content) if content.len() > AGENT_LINE_BYTES_MAX => answer_error(id, INTERNAL_ERROR, "the file is too large: ask for a part of it with line and limit"),
        Ok(content) => answer(id, &json!({"content": content})),
        Err(failure) => answer_failure(id, &failure),
    }
}

fn write_file(live: &Live, id: &str, request: &WriteTextFileRequest) -> Vec<u8> {
    let Some(path) = request.path.to_str() else {
        return answer_error(id, INVALID_REQUEST, "the path is not UTF-8");
    };
    match own(live, &request.session_id.0).and_then(|()| live.host.write_file(live.session_id, path, &request.content)) {
        Ok(()) => answer(id, &json!({})),
        Err(failure) => answer_failure(id, &failure),
    }
}
