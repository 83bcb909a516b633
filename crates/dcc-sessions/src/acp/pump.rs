//! Reads an agent's lines and acts on each, in order: answers, updates, requests.
//!
//! Authority: ephemeral. Invariants: every line leads to a report, an answer or a count, never to the end of the session;
//! the reader never waits for the agent to read; a request that may take long runs on a thread of its own, at most
//! `SESSION_PENDING_MAX` permissions and as many file requests at once.

use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure};
use dcc_core::limits;
use dcc_core::ports::sessions::{AgentReport, TokenUsage, UsageStyle, Withdrawn};

use crate::launch::Output;

use super::live::{Admission, Live, Reply, RequestKind, cancelled, not_taken};
use super::serve::{self, Call};
use super::tools;
use super::updates::Updates;
use super::wire::{Envelope, INTERNAL_ERROR, INVALID_PARAMS, Line, LineReader, METHOD_NOT_FOUND, REQUEST_CANCELLED, answer, answer_error, shown};

/// Updates that say how things stand: an agent that tells an earlier conversation again says the present with them.
const OF_NOW: [&str; 5] = ["available_commands_update", "current_mode_update", "config_option_update", "session_info_update", "usage_update"];

/// Reports that are handed over together at most.
const REPORTS_MAX: usize = 64;

/// Reads until the agent's output ends.
pub fn pump(live: &Arc<Live>, stdout: Box<dyn Output>, line_bytes_max: usize, silence: Duration) {
    live.reader_begins();
    let mut reader = LineReader::new(stdout, line_bytes_max);
    let mut pump = Pump { live, updates: Updates::default(), out: Vec::new(), has_spoken: false };
    loop {
        // Words of an agent that then works in silence are shown, not kept until it does something else.
        if pump.updates.is_speaking() && reader.idle_source().is_some_and(|source| !source.says_more_within(silence)) {
            pump.updates.boundary(&mut pump.out);
            pump.deliver();
        }
        let Some(line) = reader.next_line() else { break };
        match line {
            Line::Text(bytes) => pump.line(bytes),
            Line::TooLong { bytes, head } => {
                let sample = format!("a line of {bytes} bytes was skipped: {}", String::from_utf8_lossy(head));
                pump.noise(&sample);
            }
        }
        // What came while the last was being recorded is recorded together.
        if pump.out.len() >= REPORTS_MAX || reader.idle_source().is_some() {
            pump.updates.ripen(Instant::now(), &mut pump.out);
            pump.deliver();
        }
    }
    // Its calls end with it.
    pump.updates.turn_over(&Value::Null, &live.take_refused(), &mut pump.out);
    pump.deliver();
    live.reader_done();
}

struct Pump<'a> {
    live: &'a Arc<Live>,
    updates: Updates,
    out: Vec<AgentReport>,
    /// A message of the protocol has come.
    has_spoken: bool,
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
        if !self.out.is_empty() {
            self.live.reports(std::mem::take(&mut self.out));
        }
    }

    fn noise(&mut self, sample: &str) {
        let sample = self.live.scrub(sample);
        self.live.heard(Some(&sample));
        self.updates.noise(&sample, &mut self.out);
    }

    /// A line that is no message. Some agents greet in words before they speak the protocol, which costs nothing; one
    /// whose first word is broken JSON will not get better, and nobody waits for its time to run out.
    fn no_message(&mut self, line: &str) {
        self.noise(&line.chars().take(limits::AGENT_NOISE_CHARS).collect::<String>());
        if !self.has_spoken && line.starts_with('{')
            && let Some(said) = self.live.noise()
        {
            self.live.want_end(Some(&format!("it said something that is not JSON: {said}")));
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.noise(&format!("not UTF-8: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(limits::AGENT_NOISE_CHARS)])));
        };
        // Before anything of it is read: what was handed over in confidence comes back in no report.
        let text = self.live.scrub(text.trim());
        let text = text.as_ref();
        if text.is_empty() {
            return;
        }
        // A list would be read as an envelope by position.
        let Some(envelope) = text.starts_with('{').then(|| serde_json::from_str::<Envelope>(text).ok()).flatten() else {
            return self.no_message(text);
        };
        self.has_spoken = true;
        self.live.heard(None);
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
            (None, None) => self.noise(&text.chars().take(limits::AGENT_NOISE_CHARS).collect::<String>()),
        }
    }

    fn reply(&mut self, id: &str, reply: Reply) {
        // Whoever waits for it goes on, and what was said before is recorded before.
        self.deliver();
        let taken = id.parse::<i64>().map_err(|_| ()).and_then(|id| self.live.take_reply(id, reply));
        match taken {
            Ok(None) => {}
            Err(()) => self.updates.other("answer_nobody_waits_for", &mut self.out),
            Ok(Some((turn, reply))) => {
                let refused = self.live.take_refused();
                let result = reply.as_ref().unwrap_or(&Value::Null);
                if let Some(tokens) = self.updates.turn_over(result, &refused, &mut self.out) {
                    self.learn(UsageStyle::Tokens);
                    let over_conversation = self.live.traits.tokens_over_conversation;
                    self.out.push(AgentReport::Tokens { turn, tokens: TokenUsage { over_conversation, ..tokens } });
                }
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
                Ok(params) if self.live.own_session().is_none_or(|own| own == params.session_id) => self.update(params.update, bytes),
                Ok(_) => self.updates.other("session/update:other_session", &mut self.out),
                Err(_) => self.updates.other("session/update:unreadable", &mut self.out),
            },
            "$/cancel_request" => match serde_json::from_str::<CancelParams>(params) {
                Ok(params) => self.live.withdraw(params.request_id.get()),
                Err(_) => self.updates.other("$/cancel_request:unreadable", &mut self.out),
            },
            _ => match serde_json::from_str(params) {
                Ok(value) => self.updates.kept(method, &value, &mut self.out),
                Err(_) => self.updates.other(method, &mut self.out),
            },
        }
    }

    fn update(&mut self, update: Value, bytes: usize) {
        let is_of_now = update["sessionUpdate"].as_str().is_some_and(|sort| OF_NOW.contains(&sort));
        if !is_of_now && self.live.is_replayed() {
            return;
        }
        let meaning = self.updates.read(update, bytes, &mut self.out);
        if let Some(mode) = &meaning.mode {
            self.live.mode_changed(mode);
        }
        if let Some(lenient) = meaning.settings {
            self.live.set_lenient(lenient);
        }
        if let Some(model_id) = meaning.model
            && self.live.model_changed(&model_id)
        {
            self.out.push(AgentReport::Model { model_id });
        }
        if meaning.tells_cost {
            self.learn(UsageStyle::Cost);
        }
    }

    /// What an agent tells of its consumption shows only when it tells it; cost says more than tokens.
    fn learn(&mut self, usage: UsageStyle) {
        let learned = self.live.learn(|known| {
            if known.usage != UsageStyle::Cost {
                known.usage = usage;
            }
        });
        self.out.extend(learned.map(AgentReport::Capabilities));
    }

    fn request(&mut self, method: &str, id: &str, params: &str) {
        self.updates.boundary(&mut self.out);
        let Some(kind) = serve::sort_of(method, &self.live.traits) else {
            self.updates.other(&format!("request:{method}"), &mut self.out);
            return self.live.refuse(answer_error(id, METHOD_NOT_FOUND, &format!("{} is not offered", shown(method, 64))));
        };
        let withdrawn = match self.live.admit(id, kind) {
            Admission::Taken(withdrawn) => withdrawn,
            Admission::Duplicate => return self.updates.other("request_id_used_twice", &mut self.out),
            Admission::TooMany => {
                self.updates.other(&format!("{}:too_many_waiting", kind.word()), &mut self.out);
                return self.live.refuse(not_taken(kind, id, INTERNAL_ERROR, "too many requests wait"));
            }
            Admission::NotNow => {
                self.updates.other(&format!("{}:not_now", kind.word()), &mut self.out);
                return self.live.refuse(not_taken(kind, id, REQUEST_CANCELLED, "the session is starting, being cancelled or ending"));
            }
        };
        // Everything said before the question is recorded before it.
        self.deliver();
        if kind == RequestKind::Permission {
            return self.permission(id, params, withdrawn);
        }
        match Call::read(method, params) {
            Ok(call) => self.work(id, answer_error(id, INTERNAL_ERROR, "no thread could be started"), move |live, id| call.answer(live, id)),
            Err(sentence) => self.unreadable(id, &sentence),
        }
    }

    fn permission(&mut self, id: &str, params: &str, withdrawn: Withdrawn) {
        match tools::permission(params, self.live.own_session().as_deref(), &self.updates.tools, withdrawn) {
            Ok(permission) => self.work(id, answer(id, &cancelled()), move |live, id| answer(id, &serve::decide(live, permission))),
            Err(sentence) => self.unreadable(id, &sentence),
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
