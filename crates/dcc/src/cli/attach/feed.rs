//! A session that speaks a protocol: its feed as it grows, requests decided and messages sent from the same line.
//!
//! Authority: none; a message is a job, a decision goes the way of every decision. The line is edited by the kernel: what
//! comes while one is typed stands above it only after return. Invariants: Ctrl C asks what is meant and ends nothing; a line
//! whose meaning changed while it was typed (a request came up, or the one that was shown is over) is taken as nothing.

use std::io::IsTerminal as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use dcc_api::door::{Paging, Query};
use dcc_core::approval::{Approval, ApprovalStatus};
use dcc_core::event::EventCode;
use dcc_core::ids::SessionId;
use dcc_core::job::{Bindings, JobRequest};
use dcc_core::op::Op;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::{ApprovalId, Failure, Outcome, Sha256Hex, limits};

use super::super::approvals::card;
use super::super::{Cli, answers};
use super::super::output::{one_line, short, visible};
use super::super::terminal::raw::{self, Told};
use super::super::work::{items, text};
use super::questions::Questions;
use crate::link::Link;

enum Next {
    /// With the moment at which it was read.
    Person(Told, Instant),
    /// Something of the session is on record.
    Grown,
    Ended(Outcome<()>),
    /// What was on its way to another question has arrived.
    Settled,
}

impl From<Told> for Next {
    fn from(told: Told) -> Self {
        Self::Person(told, Instant::now())
    }
}

pub fn follow(cli: &Cli, link: &dyn Link, session_id: SessionId) -> Outcome<u8> {
    let (to, next) = channel();
    let mut feed = Feed { cli, link, session_id, seen: 0, questions: Questions::default(), interrupted: false, turning: None, heard_from: Instant::now(), is_over: false };
    feed.earlier()?;
    watch(cli, session_id, feed.seen, &to)?;
    if std::io::stdin().is_terminal() {
        cli.out.note("each line is sent as a message; Ctrl C asks what to stop, Ctrl D leaves, the session goes on");
        raw::listen(&to)?;
    }
    while !feed.is_over {
        match feed.next(&next)? {
            Next::Grown => feed.grown()?,
            Next::Settled => feed.settle(),
            Next::Ended(ended) => return ended.map(|()| 0),
            Next::Person(Told::Interrupt, _) => {
                cli.out.say("\nCtrl C: p = pause the session, c = cancel it, l = leave, Enter = go on");
                feed.interrupted = true;
            }
            Next::Person(Told::Closed | Told::End, _) => return Ok(0),
            Next::Person(Told::Resized, _) => {}
            Next::Person(Told::Keys(line), read_at) => {
                if feed.line(String::from_utf8_lossy(&line).trim(), read_at) {
                    return Ok(0);
                }
            }
        }
    }
    Ok(0)
}

/// Says `Grown` for each event of the session, from a thread of its own.
fn watch(cli: &Cli, session_id: SessionId, after: u64, to: &Sender<Next>) -> Outcome<()> {
    let (found, attended, to) = (cli.find()?, cli.attended(), to.clone());
    let run = move || {
        let id = session_id.to_string();
        let watched = crate::link::connect(found, attended).and_then(|link| {
            link.events(after, &mut |line| Ok(line["session_id"].as_str() != Some(id.as_str()) || to.send(Next::Grown).is_ok()))
        });
        // Without a listener the command is on its way out.
        let _ = to.send(Next::Ended(watched));
    };
    std::thread::Builder::new().name("feed".to_owned()).spawn(run).map(drop).map_err(|e| Failure::engine(format!("no thread: {e}")))
}

struct Feed<'a> {
    cli: &'a Cli,
    link: &'a dyn Link,
    session_id: SessionId,
    /// The last event that was shown.
    seen: u64,
    questions: Questions,
    /// Ctrl C was pressed: the next line says what is to stop, whatever else is asked.
    interrupted: bool,
    /// The next line means something else than the one before; until then none is taken.
    turning: Option<Instant>,
    /// What was read before is taken as nothing.
    heard_from: Instant,
    is_over: bool,
}

impl Feed<'_> {
    fn events(&self, filter: EventFilter) -> Outcome<Vec<Value>> {
        let value = self.link.query(&Query::Events { filter: EventFilter { session_id: Some(self.session_id), ..filter } })?;
        Ok(items(&value).cloned().collect())
    }

    fn next(&self, next: &Receiver<Next>) -> Outcome<Next> {
        let gone = || Failure::engine("nothing is followed any more");
        let Some(at) = self.turning else { return next.recv().map_err(|_| gone()) };
        match next.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Ok(told) => Ok(told),
            Err(RecvTimeoutError::Timeout) => Ok(Next::Settled),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    /// The end of what is on record, and the requests that wait.
    fn earlier(&mut self) -> Outcome<()> {
        let mut events = self.events(EventFilter { order: Order::Descending, limit: limits::FEED_EARLIER_EVENTS, ..EventFilter::default() })?;
        events.reverse();
        for event in events {
            self.seen = event["seq"].as_u64().unwrap_or(self.seen);
            self.show(&event, false)?;
        }
        let pending = self.link.query(&Query::Approvals { status: Some(ApprovalStatus::Pending), paging: Paging::default() })?;
        let mut waiting: Vec<Approval> = items(&pending).filter_map(|a| serde_json::from_value(a.clone()).ok()).filter(|a: &Approval| a.session_id == Some(self.session_id)).collect();
        waiting.sort_by_key(|approval| approval.requested_at);
        for approval in waiting {
            self.requested(approval.approval_id);
        }
        Ok(())
    }

    fn grown(&mut self) -> Outcome<()> {
        for event in self.events(EventFilter { after_seq: Some(self.seen), ..EventFilter::default() })? {
            self.seen = event["seq"].as_u64().unwrap_or(self.seen);
            self.show(&event, true)?;
        }
        Ok(())
    }

    fn show(&mut self, event: &Value, live: bool) -> Outcome<()> {
        let payload = &event["payload"];
        let code = event["code"].as_str().unwrap_or_default();
        let is = |wanted: EventCode| code == wanted.as_str();
        if is(EventCode::SessionMessage) {
            let role = text(payload, "role");
            let who = match role.as_str() {
                "user" => "you",
                "session" => "another session",
                other => other,
            };
            let said = visible(&self.said(payload)?);
            self.cli.out.say(&format!("{who}: {}", said.trim_end().replace('\n', "\n    ")));
        } else if is(EventCode::ToolCallStarted) || is(EventCode::ToolCallFinished) {
            let tool = &payload["tool"];
            self.cli.out.say(&format!("  {} [{}, {}]", one_line(&text(tool, "title")), text(tool, "status"), text(payload, "observed")));
        } else if is(EventCode::SessionStateChange) || is(EventCode::SessionCompleted) {
            if payload["to"].is_string() {
                self.cli.out.say(&format!("-- {}, {}", text(payload, "to"), text(payload, "reason")));
            }
            self.is_over |= live && ["COMPLETED", "FAILED", "CANCELLED"].iter().any(|state| payload["to"] == *state);
        } else if is(EventCode::SessionUpdate) && payload["kind"] == "plan" {
            for entry in payload["entries"].as_array().into_iter().flatten() {
                self.cli.out.say(&format!("  plan: [{}] {}", entry[1].as_str().unwrap_or_default(), one_line(entry[0].as_str().unwrap_or_default())));
            }
        } else if let Some(id) = event["approval_id"].as_str().and_then(|id| id.parse::<ApprovalId>().ok()) {
            if is(EventCode::ApprovalRequested) && live {
                self.requested(id);
            } else if is(EventCode::ApprovalDecided) {
                self.over(id, "was decided");
            } else if is(EventCode::ApprovalExpired) || is(EventCode::ApprovalStale) {
                self.over(id, "is over");
            }
        }
        Ok(())
    }

    /// A short text stands in the event, a long one beside it.
    fn said(&self, payload: &Value) -> Outcome<String> {
        let Some(kept) = payload["text_ref"].as_str().and_then(|sha256| sha256.parse::<Sha256Hex>().ok()) else { return Ok(text(payload, "text")) };
        Ok(String::from_utf8_lossy(&self.link.artifact(kept)?).into_owned())
    }

    /// A request waits; without a person here it is only said.
    fn requested(&mut self, id: ApprovalId) {
        if !self.cli.attended() {
            return self.cli.out.say(&format!("  waits for a decision: dcc approvals show {}", short(&id.to_string())));
        }
        self.questions.add(id);
        if self.questions.shown().is_some() {
            self.cli.out.say("  another request waits behind it");
        }
        self.raise();
    }

    /// A request needs no answer any more, whoever gave it.
    fn over(&mut self, id: ApprovalId, how: &str) {
        self.cli.out.say(&format!("  request {} {how}", short(&id.to_string())));
        if self.questions.remove(id) {
            self.turn();
        }
        self.raise();
    }

    /// Shows the oldest request that waits, unless one is shown already; one that was decided meanwhile is nobody's question.
    fn raise(&mut self) {
        while !self.interrupted
            && let Some(id) = self.questions.next()
        {
            match self.link.present(id) {
                Ok(shown) if shown.approval.status == ApprovalStatus::Pending => {
                    self.cli.out.say(&card(&shown.approval));
                    self.questions.show(shown);
                    self.turn();
                }
                Ok(_) => _ = self.questions.remove(id),
                Err(failure) => {
                    self.cli.out.failure(&failure, None);
                    self.questions.remove(id);
                }
            }
        }
    }

    /// From now on a line means something else; what is being typed meant what was before.
    fn turn(&mut self) {
        self.turning = Some(Instant::now() + Duration::from_millis(limits::APPROVAL_GUARD_MS));
    }

    /// Forgets the line that is half typed, and asks.
    fn settle(&mut self) {
        self.turning = None;
        if self.interrupted {
            return;
        }
        // A terminal that is gone has no line.
        let _ = rustix::termios::tcflush(rustix::stdio::stdin(), rustix::termios::QueueSelector::IFlush);
        self.heard_from = Instant::now();
        match self.questions.prompt() {
            Some(prompt) => self.cli.out.say(&prompt),
            None => self.cli.out.say("no request is open; what was half typed is dropped, lines are messages again"),
        }
    }

    /// One line of the person; true when he leaves.
    fn line(&mut self, line: &str, read_at: Instant) -> bool {
        if std::mem::take(&mut self.interrupted) {
            match line {
                "p" => self.ask(Op::SessionPause, json!({})),
                "c" => self.ask(Op::SessionCancel, json!({})),
                "l" => return true,
                _ => {}
            }
            self.raise();
            if self.questions.shown().is_some() {
                self.turn();
            }
        } else if self.turning.is_some() || read_at < self.heard_from {
            if !line.is_empty() {
                self.cli.out.say("not taken: what it would answer changed while it was typed");
            }
        } else if self.questions.shown().is_some() {
            self.answer(line);
        } else if !line.is_empty() {
            self.ask(Op::SessionSend, json!({ "text": line }));
        }
        false
    }

    /// A refusal is said and ends nothing.
    fn ask(&self, op: Op, params: Value) {
        let bindings = Bindings { session_id: Some(self.session_id), ..Bindings::default() };
        let job = self.link.submit(&JobRequest { op, params, bindings, idempotency_key: Some(self.cli.clock.fresh_id().to_string()) });
        if let Err(failure) | Ok(Some(failure)) = job.map(|job| job.failure) {
            self.cli.out.failure(&failure, None);
        }
    }

    /// A line about the request that is shown.
    fn answer(&mut self, line: &str) {
        let Some((shown, begun)) = self.questions.shown() else { return };
        let id = shown.approval_id;
        if line.is_empty() {
            self.cli.out.say(&format!("left waiting: dcc approvals approve {}", short(&id.to_string())));
            self.questions.remove(id);
            return self.raise();
        }
        let Some(answer) = begun.cloned().map(|answer| answer.with(line)).or_else(|| answers::parse(line, &shown.approval)) else {
            return self.cli.out.say("not sent: answer the request first, or press return to leave it waiting");
        };
        if answer.lacks(&shown.approval).is_some() {
            self.questions.begin(answer);
            return self.cli.out.say(&self.questions.prompt().unwrap_or_default());
        }
        match self.link.decide(id, &answer.about(shown)) {
            Ok(_) => _ = self.questions.remove(id),
            Err(failure) => {
                self.cli.out.failure(&failure, None);
                self.questions.put_back();
            }
        }
        self.raise();
    }
}
