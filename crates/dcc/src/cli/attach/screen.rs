//! A session's terminal on the person's own: every key goes to the program, the screen is drawn as it changes.
//!
//! Authority: none; the attachment is the job `session.attach`. Invariants: the person's terminal is restored however this
//! ends; when the server goes, so does the attachment. Failure: the server's answer, after the terminal is restored.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use dcc_api::door::{FlatJob, Query, TerminalInput};
use dcc_core::ids::SessionId;
use dcc_core::job::{Bindings, JobRequest, JobState};
use dcc_core::op::Op;
use dcc_core::path::{base64, unbase64};
use dcc_core::ports::terminal::TerminalSize;
use dcc_core::{Code, Failure, JobId, Outcome, limits};
use dcc_sessions::pty::Emulator;

use super::super::Cli;
use super::super::terminal::painter::Painter;
use super::super::terminal::raw::{self, RawMode, Told};
use super::DetachKey;
use crate::link::Link;

/// Often enough for the lease, whatever else happens.
const STILL_HERE: Duration = Duration::from_millis(limits::ATTACHMENT_LEASE_MS / 3);

const LEAVES_WITHIN: Duration = Duration::from_millis(limits::ATTACHMENT_LEAVE_MS);

/// What the main thread waits for.
enum Next {
    Person(Told),
    /// All of the screen, as the server has it.
    State(Value),
    /// Output that follows, or how reading ended.
    Output(Outcome<Value>),
}

impl From<Told> for Next {
    fn from(told: Told) -> Self {
        Self::Person(told)
    }
}

/// How it ended.
enum Over {
    Left,
    CommandEnded,
}

pub fn attach(cli: &Cli, session_id: SessionId, detach: &DetachKey) -> Outcome<u8> {
    let link = cli.link()?;
    let size = raw::size();
    let attachment = begin(cli, link.as_ref(), session_id, size)?;
    cli.out.note(&format!("attached; {} leaves, the command goes on", detach.words));
    let raw = RawMode::enter()?;
    let mut at = Attached { cli, link: link.as_ref(), session_id, attachment, emulator: Emulator::new(size), painter: Painter::new(size) };
    let over = at.follow(detach);
    let last = at.painter.end();
    let drawn = draw(&last);
    drop(raw);
    if !matches!(over, Ok(Over::CommandEnded)) {
        // Gone or not: the lease ends it as well.
        let _ = link.at_terminal(session_id, &TerminalInput { leave: true, ..at.nothing() });
    }
    cli.out.note(match over? {
        Over::Left => "left; the command goes on",
        Over::CommandEnded => "the command ended",
    });
    drawn.map(|()| 0)
}

fn begin(cli: &Cli, link: &dyn Link, session_id: SessionId, size: TerminalSize) -> Outcome<JobId> {
    let bindings = Bindings { session_id: Some(session_id), ..Bindings::default() };
    let params = json!({ "rows": size.rows, "columns": size.columns });
    let job: FlatJob = link.submit(&JobRequest { op: Op::SessionAttach, params, bindings, idempotency_key: Some(cli.clock.fresh_id().to_string()) })?;
    match (job.state, job.failure) {
        (_, Some(failure)) => Err(failure),
        (JobState::Running, None) => Ok(job.job_id),
        (state, None) => Err(Failure::engine(format!("the attachment is {} and not running", state.as_str()))),
    }
}

struct Attached<'a> {
    cli: &'a Cli,
    link: &'a dyn Link,
    session_id: SessionId,
    attachment: JobId,
    emulator: Emulator,
    painter: Painter,
}

impl Attached<'_> {
    fn nothing(&self) -> TerminalInput {
        TerminalInput { attachment: self.attachment, b64: None, size: None, leave: false }
    }

    fn follow(&mut self, detach: &DetachKey) -> Outcome<Over> {
        let (to, next) = channel();
        read_on(self.cli, self.session_id, &to)?;
        raw::listen(&to)?;
        let (mut typed, mut others) = (Vec::new(), VecDeque::new());
        loop {
            // All that came meanwhile: the key that leaves does not stand in line behind keys that nobody reads.
            for came in next.try_iter() {
                match came {
                    Next::Person(Told::Keys(keys)) => typed.extend(keys),
                    other => others.push_back(other),
                }
            }
            if self.typed(&mut typed, detach)? {
                return Ok(Over::Left);
            }
            let came = match others.pop_front() {
                Some(other) => Ok(other),
                None if !typed.is_empty() => continue,
                None => next.recv_timeout(STILL_HERE),
            };
            match came {
                Ok(Next::Person(Told::Keys(keys))) => typed = keys,
                Ok(Next::Person(Told::Resized)) => {
                    let size = raw::size();
                    self.painter.resize(size);
                    self.paint()?;
                    _ = self.tell(&TerminalInput { size: Some(size), ..self.nothing() })?;
                }
                Ok(Next::Person(Told::Closed | Told::Interrupt | Told::End)) | Err(RecvTimeoutError::Disconnected) => return Ok(Over::Left),
                Ok(Next::State(state)) => self.take_up(&state)?,
                Ok(Next::Output(output)) => {
                    if self.shown(output)? {
                        return Ok(Over::CommandEnded);
                    }
                }
                Err(RecvTimeoutError::Timeout) => _ = self.tell(&self.nothing())?,
            }
        }
    }

    /// Hands on the first of what was typed; true when the person leaves. What he typed before that is handed on as long as
    /// it is taken.
    fn typed(&mut self, typed: &mut Vec<u8>, detach: &DetachKey) -> Outcome<bool> {
        let leaves = typed.iter().position(|key| *key == detach.byte);
        let mut before = leaves.unwrap_or(typed.len());
        let since = Instant::now();
        while before > 0 {
            let piece: Vec<u8> = typed.drain(..before.min(raw::KEYS_AT_ONCE)).collect();
            before -= piece.len();
            let is_taken = self.tell(&TerminalInput { b64: Some(base64(&piece)), ..self.nothing() })?;
            if leaves.is_none() || !is_taken || since.elapsed() > LEAVES_WITHIN {
                break;
            }
        }
        Ok(leaves.is_some())
    }

    /// Says it to the server; false when it was not taken. An attachment that ended by itself, while this machine slept, is
    /// begun anew; a command that ended is told by what is read of it.
    fn tell(&mut self, input: &TerminalInput) -> Outcome<bool> {
        match self.link.at_terminal(self.session_id, input) {
            Err(failure) if failure.code == Code::IllegalTransition => {}
            // A program that does not read its terminal loses what was typed, as anywhere.
            Err(failure) if failure.code == Code::AgentFailed => return draw("\u{7}").map(|()| false),
            other => return other.map(|()| true),
        }
        match begin(self.cli, self.link, self.session_id, raw::size()) {
            Ok(attachment) => {
                self.attachment = attachment;
                self.link.at_terminal(self.session_id, &TerminalInput { attachment, ..input.clone() }).map(|()| true)
            }
            Err(_) => draw("\u{7}").map(|()| false),
        }
    }

    fn paint(&mut self) -> Outcome<()> {
        raw::on_second_screen(self.emulator.is_full_screen());
        draw(&self.painter.frame(&self.emulator))
    }

    fn take_up(&mut self, state: &Value) -> Outcome<()> {
        self.emulator = Emulator::new(size_in(state)?);
        self.emulator.feed(&bytes_in(state));
        self.painter.take_up(&self.emulator);
        self.paint()
    }

    /// Draws what came; true when the command is over.
    fn shown(&mut self, output: Outcome<Value>) -> Outcome<bool> {
        let chunk = match output {
            Err(failure) if failure.code == Code::IllegalTransition => return Ok(true),
            other => other?,
        };
        // What the program asked the terminal is answered by the server, once for all who look on.
        self.emulator.feed(&bytes_in(&chunk));
        self.paint()?;
        Ok(chunk["ended"] == true)
    }
}

fn size_in(value: &Value) -> Outcome<TerminalSize> {
    let number = |key: &str| value[key].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    TerminalSize::new(number("rows"), number("columns"))
}

fn bytes_in(value: &Value) -> Vec<u8> {
    value["b64"].as_str().and_then(unbase64).unwrap_or_default()
}

fn draw(bytes: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::engine(format!("standard output: {e}")))
}

/// Reads the terminal on a thread of its own: first all of it, then what follows; all of it again where that does not join.
fn read_on(cli: &Cli, session_id: SessionId, to: &Sender<Next>) -> Outcome<()> {
    let (found, attended, to) = (cli.find()?, cli.attended(), to.clone());
    let read = move || {
        let read = || -> Outcome<()> {
            let link = crate::link::connect(found, attended)?;
            let mut state = link.query(&Query::TerminalState { session_id })?;
            let mut from = state["next"].as_u64().unwrap_or_default();
            let mut size = size_in(&state)?;
            let gone = |_| Failure::engine("nobody waits for the terminal's output");
            to.send(Next::State(state)).map_err(gone)?;
            loop {
                let chunk = link.query(&Query::Terminal { session_id, from, size: Some(size) })?;
                if chunk["from"].as_u64() == Some(from) && size_in(&chunk)? == size {
                    from = chunk["next"].as_u64().unwrap_or_default();
                    let ended = chunk["ended"] == true;
                    to.send(Next::Output(Ok(chunk))).map_err(gone)?;
                    if ended {
                        return Ok(());
                    }
                } else {
                    state = link.query(&Query::TerminalState { session_id })?;
                    from = state["next"].as_u64().unwrap_or_default();
                    size = size_in(&state)?;
                    to.send(Next::State(state)).map_err(gone)?;
                }
            }
        };
        if let Err(failure) = read() {
            // Without a listener the command is on its way out.
            let _ = to.send(Next::Output(Err(failure)));
        }
    };
    std::thread::Builder::new().name("terminal".to_owned()).spawn(read).map(drop).map_err(|e| Failure::engine(format!("no thread: {e}")))
}
