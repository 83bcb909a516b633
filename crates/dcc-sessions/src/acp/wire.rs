//! JSON-RPC over lines: a bounded line reader, the envelope, a bounded queue of lines to send.
//!
//! Authority: ephemeral. Invariants: a line longer than the cap is skipped without being held; params keep their raw bytes
//! so that a digest can be taken over exactly what was sent; the queue holds at most [`OUTBOX_LINES_MAX`] lines and
//! [`OUTBOX_BYTES_MAX`] bytes, and a push never blocks.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, PoisonError};

use dcc_core::failure::{Code, Failure};

/// Lines waiting for an agent that does not read; a busy agent has a handful.
pub const OUTBOX_LINES_MAX: usize = 1_024;
/// Bytes waiting for an agent that does not read: several answers of the largest size.
pub const OUTBOX_BYTES_MAX: usize = 4 * dcc_core::limits::AGENT_LINE_BYTES_MAX;
const BLOCK_BYTES: usize = 64 * 1024;
/// A line buffer above this is given back after use.
const KEEP_BYTES: usize = 1024 * 1024;

pub const METHOD_NOT_FOUND: i64 = -32_601;
pub const INVALID_PARAMS: i64 = -32_602;
pub const INVALID_REQUEST: i64 = -32_600;
pub const INTERNAL_ERROR: i64 = -32_603;
pub const AUTH_REQUIRED: i64 = -32_000;
pub const RESOURCE_NOT_FOUND: i64 = -32_002;
pub const REQUEST_CANCELLED: i64 = -32_800;

/// What the reader found.
#[derive(PartialEq, Eq, Debug)]
pub enum Line<'a> {
    Text(&'a [u8]),
    /// Longer than the cap: how many bytes it had, and its beginning.
    TooLong { bytes: u64, head: &'a [u8] },
}

/// Splits a stream into lines of bounded length.
pub struct LineReader<R> {
    source: R,
    block: Box<[u8]>,
    at: usize,
    filled: usize,
    line: Vec<u8>,
    line_bytes_max: usize,
}

impl<R: Read> LineReader<R> {
    pub fn new(source: R, line_bytes_max: usize) -> Self {
        Self { source, block: vec![0; BLOCK_BYTES].into_boxed_slice(), at: 0, filled: 0, line: Vec::new(), line_bytes_max }
    }

    /// Where the lines come from, when no whole one is in hand and the next may have to be waited for.
    pub fn idle_source(&self) -> Option<&R> {
        (!self.block[self.at..self.filled].contains(&b'\n')).then_some(&self.source)
    }

    /// The next line without its newline; none at the end of the stream or when it can no longer be read.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        if self.line.capacity() > KEEP_BYTES {
            self.line = Vec::new();
        }
        self.line.clear();
        let mut skipped = 0u64;
        let mut ended = false;
        while !ended {
            if self.at == self.filled && !self.fill() {
                if self.line.is_empty() && skipped == 0 {
                    return None;
                }
                break;
            }
            let rest = &self.block[self.at..self.filled];
            let (take, used) = match rest.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    ended = true;
                    (end, end + 1)
                }
                None => (rest.len(), rest.len()),
            };
            let room = self.line_bytes_max - self.line.len();
            let kept = take.min(room);
            if skipped == 0 {
                self.line.extend_from_slice(&rest[..kept]);
            }
            skipped += if skipped == 0 { (take - kept) as u64 } else { take as u64 };
            self.at += used;
        }
        if skipped > 0 {
            let bytes = self.line.len() as u64 + skipped;
            return Some(Line::TooLong { bytes, head: &self.line[..self.line.len().min(200)] });
        }
        Some(Line::Text(&self.line))
    }

    fn fill(&mut self) -> bool {
        loop {
            match self.source.read(&mut self.block) {
                Ok(0) => return false,
                Ok(read) => {
                    self.at = 0;
                    self.filled = read;
                    return true;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A stream that fails is a stream that ended: the supervisor finds out why.
                Err(_) => return false,
            }
        }
    }
}

/// One JSON-RPC message, parameters still raw.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(default)]
    pub method: Option<String>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<RpcError>,
}

/// The error an agent answered with.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct RpcError {
    #[serde(default)]
    pub code: i64,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub data: Option<Value>,
}

impl RpcError {
    /// One sentence for a person.
    pub fn sentence(&self) -> String {
        let detail = match &self.data {
            Some(Value::String(text)) => format!(": {}", shown(text, 300)),
            Some(data) => {
                let found = ["details", "message", "error"].iter().find_map(|key| data[*key].as_str());
                found.map_or_else(String::new, |text| format!(": {}", shown(text, 300)))
            }
            None => String::new(),
        };
        format!("{}{detail} (code {})", shown(&self.message, 500), self.code)
    }
}

/// A request or, without an id, a notification.
pub fn message(id: Option<i64>, method: &str, params: &Value) -> Vec<u8> {
    let mut value = json!({"jsonrpc": "2.0", "method": method, "params": params});
    if let Some(id) = id {
        value["id"] = json!(id);
    }
    line(&value)
}

/// A successful answer; the id goes back exactly as it came.
pub fn answer(id: &str, result: &Value) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into_bytes()
}

/// An error as answer.
pub fn answer_error(id: &str, code: i64, text: &str) -> Vec<u8> {
    let error = json!({"code": code, "message": text});
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").into_bytes()
}

/// A failure of ours as answer: its code and sentence, so that the agent can tell its user why.
pub fn answer_failure(id: &str, failure: &Failure) -> Vec<u8> {
    let code = match failure.code {
        Code::NotFound => RESOURCE_NOT_FOUND,
        Code::InvalidInput | Code::VcsPathDenied => INVALID_PARAMS,
        Code::Canceled => REQUEST_CANCELLED,
        _ => INTERNAL_ERROR,
    };
    let error = json!({"code": code, "message": failure.to_string(), "data": {"code": failure.code, "hint": failure.hint}});
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").into_bytes()
}

fn line(value: &Value) -> Vec<u8> {
    // serde_json escapes newlines inside strings, so one value is one line.
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Foreign text made fit to be shown: control characters replaced, cut at `chars`.
pub fn shown(text: &str, chars: usize) -> String {
    let mut out: String = text.chars().take(chars).map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(chars).is_some() {
        out.push('\u{2026}');
    }
    out
}

/// Why a line was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The agent does not read its input.
    Full,
    /// No more lines go to this agent.
    Closed,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    closed: bool,
}

/// Lines on their way to the agent.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Outbox {
    pub fn push(&self, line: Vec<u8>) -> Result<(), Refused> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return Err(Refused::Closed);
        }
        if queue.lines.len() >= OUTBOX_LINES_MAX || queue.bytes + line.len() > OUTBOX_BYTES_MAX {
            return Err(Refused::Full);
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        self.changed.notify_all();
        Ok(())
    }

    /// No more lines; what waits is still written.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }

    /// Writes until closed and empty, or until the agent no longer takes anything.
    pub fn drain_to(&self, mut stdin: impl Write) {
        loop {
            let line = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    if let Some(line) = queue.lines.pop_front() {
                        queue.bytes -= line.len();
                        break line;
                    }
                    if queue.closed {
                        return;
                    }
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            };
            if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.closed = true;
                queue.lines.clear();
                queue.bytes = 0;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_long_ones_skipped() {
        let text = format!("one\n{}\nthree\nlast", "x".repeat(100));
        let mut reader = LineReader::new(text.as_bytes(), 10);
        assert_eq!(reader.next_line(), Some(Line::Text(b"one")));
        assert_eq!(reader.next_line(), Some(Line::TooLong { bytes: 100, head: b"xxxxxxxxxx" }));
        assert_eq!(reader.next_line(), Some(Line::Text(b"three")));
        assert_eq!(reader.next_line(), Some(Line::Text(b"last")));
        assert_eq!(reader.next_line(), None);
    }

    #[test]
    fn a_line_of_exactly_the_cap_passes() {
        let mut reader = LineReader::new(&b"0123456789\n01234567890\n"[..], 10);
        assert_eq!(reader.next_line(), Some(Line::Text(b"0123456789")));
        assert!(matches!(reader.next_line(), Some(Line::TooLong { bytes: 11, .. })));
        assert_eq!(reader.next_line(), None);
    }

    #[test]
    fn an_endless_line_is_not_held() {
        let endless = io::repeat(b'x').take(200 * 1024 * 1024);
        let mut reader = LineReader::new(endless, 1024);
        assert!(matches!(reader.next_line(), Some(Line::TooLong { bytes: 209_715_200, .. })));
        assert!(reader.line.capacity() <= BLOCK_BYTES);
    }

    #[test]
    fn the_outbox_is_bounded_and_ordered() {
        let outbox = Outbox::default();
        for n in 0..OUTBOX_LINES_MAX {
            outbox.push(vec![u8::try_from(n % 250).unwrap()]).unwrap();
        }
        assert_eq!(outbox.push(vec![0]), Err(Refused::Full));
        outbox.close();
        assert_eq!(outbox.push(vec![0]), Err(Refused::Closed));
        let mut out = Vec::new();
        outbox.drain_to(&mut out);
        assert_eq!(out.len(), OUTBOX_LINES_MAX);
        assert_eq!(out[..3], [0, 1, 2]);
    }

    #[test]
    fn ids_return_as_they_came() {
        let envelope: Envelope = serde_json::from_str(r#"{"id": "a\u0041", "method": "x", "params": {"b" : 1}}"#).unwrap();
        assert_eq!(envelope.id.unwrap().get(), r#""a\u0041""#);
        assert_eq!(envelope.params.unwrap().get(), r#"{"b" : 1}"#);
        assert_eq!(answer(r#""a\u0041""#, &json!({})), b"{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0041\",\"result\":{}}\n");
    }
}
