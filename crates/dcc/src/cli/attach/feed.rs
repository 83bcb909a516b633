//! A session that speaks a protocol: its feed as it grows, requests decided and messages sent from the same line.
//!
//! Authority: none; a message is a job, a decision goes the way of every decision. The line is edited by the kernel: what
//! comes while one is typed stands above it only after return. Invariant: Ctrl C asks what is meant and ends nothing.

use std::io::IsTerminal as _;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};

use dcc_api::door::{DecisionInput, Presentation, Query, Verdict};
use dcc_core::approval::Scope;
use dcc_core::capability::Tier;
use dcc_core::event::EventCode;
use dcc_core::ids::SessionId;
use dcc_core::job::{Bindings, JobRequest};
use dcc_core::op::Op;
use dcc_core::ports::{EventFilter, Order};
use dcc_core::{ApprovalId, Failure, Outcome, Sha256Hex};

use super::super::Cli;
use super::super::approvals::card;
use super::super::output::{one_line, short, visible};
use super::super::terminal::raw::{self, Told};
use super::super::work::{items, text};
use crate::link::Link;

/// Of what was said before, so much is shown first.
const EARLIER: usize = 40;

enum Next {
    Person(Told),
    /// Something of the session is on record.
    Grown,
    Ended(Outcome<()>),
}

impl From<Told> for Next {
    fn from(told: Told) -> Self {
        Self::Person(told)
    }
}

/// What the next line answers.
enum Asked {
    Nothing,
    Decision(Box<Presentation>),
    Interrupt,
}

pub fn follow(cli: &Cli, link: &dyn Link, session_id: SessionId) -> Outcome<u8> {
    let (to, next) = channel();
    let mut feed = Feed { cli, link, session_id, seen: 0, asked: Asked::Nothing, is_over: false };
    feed.earlier()?;
    watch(cli, session_id, feed.seen, &to)?;
    if std::io::stdin().is_terminal() {
        cli.out.note("each line is sent as a message; Ctrl C asks what to stop, Ctrl D leaves, the session goes on");
        raw::listen(&to)?;
    }
    while !feed.is_over {
        match next.recv().map_err(|_| Failure::engine("nothing is followed any more"))? {
            Next::Grown => feed.grown()?,
            Next::Ended(ended) => return ended.map(|()| 0),
            Next::Person(Told::Interrupt) => {
                cli.out.say("\nCtrl C: p = pause the session, c = cancel it, l = leave, Enter = go on");
                feed.asked = Asked::Interrupt;
            }
            Next::Person(Told::Closed | Told::End) => return Ok(0),
            Next::Person(Told::Resized) => {}
            Next::Person(Told::Keys(line)) => {
                if feed.line(String::from_utf8_lossy(&line).trim())? {
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
    asked: Asked,
    is_over: bool,
}

impl Feed<'_> {
    fn events(&self, filter: EventFilter) -> Outcome<Vec<Value>> {
        let value = self.link.query(&Query::Events { filter: EventFilter { session_id: Some(self.session_id), ..filter } })?;
        Ok(items(&value).cloned().collect())
    }

    /// The end of what is on record, and a request that waits.
    fn earlier(&mut self) -> Outcome<()> {
        let mut events = self.events(EventFilter { order: Order::Descending, limit: EARLIER, ..EventFilter::default() })?;
        events.reverse();
        let waits = events.iter().rev().find(|e| e["code"] == EventCode::ApprovalRequested.as_str() || e["code"] == EventCode::ApprovalDecided.as_str()).cloned();
        for event in events {
            self.seen = event["seq"].as_u64().unwrap_or(self.seen);
            self.show(&event, false)?;
        }
        match waits {
            Some(event) if event["code"] == EventCode::ApprovalRequested.as_str() => self.request(&event),
            _ => Ok(()),
        }
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
            let who = if role == "user" { "you" } else { role.as_str() };
            let said = visible(&self.said(payload)?);
            self.cli.out.say(&format!("{who}: {}", said.trim_end().replace('\n', "\n    ")));
        } else if is(EventCode::ToolCallStarted) || is(EventCode::ToolCallFinished) {
            let tool = &payload["tool"];
            self.cli.out.say(&format!("  {} [{}, {}]", one_line(&text(tool, "title")), text(tool, "status"), text(payload, "observed")));
        } else if is(EventCode::SessionStateChange) || is(EventCode::SessionCompleted) {
            if payload["to"].is_string() {
                self.cli.out.say(&format!("-- {}, {}", text(payload, "to"), text(payload, "reason")));
            }
            self.is_over = live && ["COMPLETED", "FAILED", "CANCELLED"].iter().any(|state| payload["to"] == *state);
        } else if is(EventCode::SessionUpdate) && payload["kind"] == "plan" {
            for entry in payload["entries"].as_array().into_iter().flatten() {
                self.cli.out.say(&format!("  plan: [{}] {}", entry[1].as_str().unwrap_or_default(), one_line(entry[0].as_str().unwrap_or_default())));
            }
        } else if is(EventCode::ApprovalDecided) {
            self.cli.out.say(&format!("  request {} was decided", short(&text(event, "approval_id"))));
            self.asked = Asked::Nothing;
        } else if is(EventCode::ApprovalRequested) && live {
            self.request(event)?;
        }
        Ok(())
    }

    /// A short text stands in the event, a long one beside it.
    fn said(&self, payload: &Value) -> Outcome<String> {
        let Some(kept) = payload["text_ref"].as_str().and_then(|sha256| sha256.parse::<Sha256Hex>().ok()) else { return Ok(text(payload, "text")) };
        Ok(String::from_utf8_lossy(&self.link.artifact(kept)?).into_owned())
    }

    /// Shows a request, for the next line to decide; one that was decided meanwhile is nobody's question.
    fn request(&mut self, event: &Value) -> Outcome<()> {
        let Some(id) = event["approval_id"].as_str().and_then(|id| id.parse::<ApprovalId>().ok()) else { return Ok(()) };
        if !self.cli.attended() {
            self.cli.out.say(&format!("  waits for a decision: dcc approvals show {}", short(&id.to_string())));
            return Ok(());
        }
        if let Ok(shown) = self.link.present(id) {
            self.cli.out.say(&card(&shown.approval));
            let yes = match shown.approval.tier {
                Tier::R3 => format!("y {} = once", one_line(&shown.approval.confirm_text())),
                _ => "y = once, j = job, s = session, w = workspace".to_owned(),
            };
            self.cli.out.say(&format!("Approve? {yes}, n REASON = deny, Enter = leave it waiting"));
            self.asked = Asked::Decision(Box::new(shown));
        }
        Ok(())
    }

    /// One line of the person; true when he leaves.
    fn line(&mut self, line: &str) -> Outcome<bool> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Interrupt => match line {
                "p" => self.ask(Op::SessionPause, json!({})),
                "c" => self.ask(Op::SessionCancel, json!({})),
                "l" => return Ok(true),
                _ => {}
            },
            Asked::Decision(shown) => self.decide(shown, line),
            Asked::Nothing if line.is_empty() => {}
            Asked::Nothing => self.ask(Op::SessionSend, json!({ "text": line })),
        }
        Ok(false)
    }

    /// A refusal is said and ends nothing.
    fn ask(&self, op: Op, params: Value) {
        let bindings = Bindings { session_id: Some(self.session_id), ..Bindings::default() };
        let job = self.link.submit(&JobRequest { op, params, bindings, idempotency_key: Some(self.cli.clock.fresh_id().to_string()) });
        if let Err(failure) | Ok(Some(failure)) = job.map(|job| job.failure) {
            self.cli.out.failure(&failure, None);
        }
    }

    fn decide(&mut self, shown: Box<Presentation>, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (decision, scope) = match word {
            "y" => (Verdict::Approve, Scope::Once),
            "j" => (Verdict::Approve, Scope::Job),
            "s" => (Verdict::Approve, Scope::Session),
            "w" => (Verdict::Approve, Scope::Workspace),
            "n" => (Verdict::Deny, Scope::Once),
            "" => return self.cli.out.say(&format!("left waiting: dcc approvals approve {}", short(&shown.approval_id.to_string()))),
            _ => {
                self.cli.out.say("not sent: answer the request first, or press return to leave it waiting");
                self.asked = Asked::Decision(shown);
                return;
            }
        };
        let reason = (decision == Verdict::Deny).then(|| rest.trim().to_owned());
        let typed = (decision == Verdict::Approve && shown.approval.tier == Tier::R3).then(|| rest.trim().to_owned());
        let input = DecisionInput { decision, scope, reason, nonce: Some(shown.nonce.clone()), preview_digest: Some(shown.preview_digest), typed };
        if let Err(failure) = self.link.decide(shown.approval_id, &input) {
            self.cli.out.failure(&failure, None);
        }
    }
}
