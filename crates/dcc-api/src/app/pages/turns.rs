//! Turns of a session from its messages and tool calls.
//!
//! Authority: derived. Pure. Invariant: the order is the recorder's: messages and calls are merged by sequence; a
//! message of the operator opens a turn of his own and the agent's turn after it.

use std::collections::HashMap;

use dcc_core::JobId;
use dcc_core::job::{Job, JobState};
use dcc_core::ports::store::{Message, ToolCall};
use dcc_core::session::is_prompt;

use super::rows::{failure_view, tool_call_row};
use crate::view::{TurnItem, TurnView};

/// Turns of one page, oldest first; each exchange is two of them.
pub(super) const TURNS_MAX: usize = 60;

/// Messages and calls of one turn on a page: more is nothing a person follows, and each refresh carries all of them.
const PARTS_MAX: usize = 200;

/// A message or a call, in the recorder's order.
enum Part<'a> {
    Said(&'a Message),
    Called(&'a ToolCall),
}

/// A turn and what was said and called in it, nothing of which is drawn yet: a page shows the end of a long one only.
struct Draft<'a> {
    view: TurnView,
    parts: Vec<Part<'a>>,
}

impl From<TurnView> for Draft<'_> {
    fn from(view: TurnView) -> Self {
        Self { view, parts: Vec::new() }
    }
}

/// The last turns, and how many came before them; `held` are the pending approvals in the order they were asked.
pub(super) fn turns(messages: &[Message], calls: &[ToolCall], agent: &str, jobs: &HashMap<JobId, Job>, held: &[String]) -> (usize, Vec<TurnView>) {
    let mut parts: Vec<(u64, Part<'_>)> = messages.iter().map(|m| (m.seq, Part::Said(m))).collect();
    parts.extend(calls.iter().map(|c| (c.seq, Part::Called(c))));
    parts.sort_by_key(|(seq, _)| *seq);
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let (mut number, mut called) = (0, 0);
    for (seq, part) in parts {
        match part {
            Part::Said(message) if is_prompt(&message.role) => {
                number += 1;
                drafts.push(prompt_turn(message, number, called).into());
                drafts.push(agent_turn(seq, message.ts.as_ms(), agent, Some(number), message.job_id, jobs).into());
            }
            Part::Said(message) if message.role == "system" => drafts.push(system_turn(message).into()),
            Part::Said(message) => current(&mut drafts, seq, message.ts.as_ms(), agent).parts.push(part),
            Part::Called(call) => {
                called += 1;
                current(&mut drafts, seq, call.started_at.as_ms(), agent).parts.push(part);
            }
        }
    }
    let earlier = drafts.len().saturating_sub(TURNS_MAX);
    let mut turns: Vec<TurnView> = drafts.into_iter().skip(earlier).map(drawn).collect();
    if let Some(turn) = turns.iter_mut().rev().find(|t| t.who == "agent") {
        turn.items.extend(held.iter().map(|id| TurnItem::Held { approval_id: id.clone() }));
    }
    (earlier, turns)
}

/// The last parts of a turn as they are shown; what was left out is counted.
fn drawn(Draft { mut view, parts }: Draft<'_>) -> TurnView {
    let over = parts.len().saturating_sub(PARTS_MAX);
    view.earlier_parts = over as i64;
    for part in parts.into_iter().skip(over) {
        match part {
            Part::Said(message) => {
                let text = message.text.clone();
                view.items.push(if message.role == "thought" { TurnItem::Thought { text } } else { TurnItem::Text { text } });
            }
            Part::Called(call) => {
                let row = tool_call_row(call);
                if let Some(TurnItem::Calls { calls }) = view.items.last_mut() {
                    calls.push(row);
                } else {
                    view.items.push(TurnItem::Calls { calls: vec![row] });
                }
            }
        }
    }
    view
}

/// The agent's turn that is last; what it says before the first prompt, or after a note of the system, stands in one of its own.
fn current<'a, 'b>(drafts: &'a mut Vec<Draft<'b>>, seq: u64, at_ms: i64, agent: &str) -> &'a mut Draft<'b> {
    if drafts.last().is_none_or(|last| last.view.who != "agent") {
        drafts.push(agent_turn(seq, at_ms, agent, None, None, &HashMap::new()).into());
    }
    drafts.last_mut().expect("a turn is there now")
}

/// What began a turn: the operator's words, or those of the session that asked for this one.
fn prompt_turn(message: &Message, number: i64, called: i64) -> TurnView {
    let (who, name) = if message.role == "session" { ("session", "another session") } else { ("operator", "operator") };
    TurnView {
        turn_id: format!("o{}", message.seq),
        number: Some(number),
        who: who.to_owned(),
        name: name.to_owned(),
        started_at_ms: message.ts.as_ms(),
        status: "done".to_owned(),
        note: (called > 0).then(|| format!("delivered after call {called}")),
        items: vec![TurnItem::Text { text: message.text.clone() }],
        ..TurnView::default()
    }
}

fn system_turn(message: &Message) -> TurnView {
    TurnView {
        turn_id: format!("s{}", message.seq),
        who: "system".to_owned(),
        name: "dcc".to_owned(),
        started_at_ms: message.ts.as_ms(),
        status: "done".to_owned(),
        items: vec![TurnItem::Text { text: message.text.clone() }],
        ..TurnView::default()
    }
}

/// The agent's side; how it ended is the turn's job to say.
fn agent_turn(seq: u64, at_ms: i64, agent: &str, number: Option<i64>, job_id: Option<JobId>, jobs: &HashMap<JobId, Job>) -> TurnView {
    let job = job_id.and_then(|id| jobs.get(&id));
    TurnView {
        turn_id: format!("a{seq}"),
        number,
        who: "agent".to_owned(),
        name: agent.to_owned(),
        started_at_ms: at_ms,
        ended_at_ms: job.filter(|j| j.state.is_terminal()).map(|j| j.updated_at.as_ms()),
        status: job.map_or("done", |j| turn_status(j.state)).to_owned(),
        note: job
            .and_then(|j| j.result.get("stop_reason"))
            .and_then(serde_json::Value::as_str)
            .filter(|stop| *stop != "end_turn")
            .map(|stop| format!("stopped: {}", stop.replace('_', " "))),
        job_id: job_id.map(|id| id.to_string()),
        failure: job.and_then(|j| j.failure.as_ref()).map(failure_view),
        ..TurnView::default()
    }
}

fn turn_status(state: JobState) -> &'static str {
    match state {
        JobState::Completed | JobState::CompletedWithIssues => "done",
        JobState::Cancelled => "cancelled",
        JobState::Failed | JobState::Poisoned | JobState::Stalled => "failed",
        JobState::Queued | JobState::Running | JobState::AwaitingUser | JobState::AwaitingValidation => "running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcc_core::Timestamp;
    use dcc_core::ports::sessions::{Observed, SideEffect, ToolReport, ToolStatus};

    fn said(seq: u64, role: &str, text: &str) -> Message {
        let session_id = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        Message { seq, session_id, role: role.into(), text: text.into(), text_ref: None, ts: Timestamp(seq as i64), job_id: None }
    }

    fn called(seq: u64) -> ToolCall {
        ToolCall {
            tool: ToolReport {
                tool_call_id: format!("c{seq}"),
                title: "read a.rs".into(),
                kind: "read".into(),
                side_effect: SideEffect::Read,
                status: ToolStatus::Ok,
                locations: vec!["a.rs".into()],
                raw_input: None,
                raw_output: None,
                content: Vec::new(),
            },
            session_id: None,
            workspace_id: None,
            wp_id: None,
            job_id: None,
            approval_id: None,
            observed: Observed::Reported,
            started_at: Timestamp(seq as i64),
            finished_at: None,
            seq,
            writes: Vec::new(),
        }
    }

    #[test]
    fn messages_and_calls_are_merged_by_sequence() {
        let messages = [said(1, "session", "do"), said(2, "thought", "hm"), said(5, "agent", "done"), said(6, "user", "more")];
        let (_, turns) = turns(&messages, &[called(3), called(4)], "claude", &HashMap::new(), &["ap".to_owned()]);
        let shape: Vec<(&str, Option<i64>, usize)> = turns.iter().map(|t| (t.who.as_str(), t.number, t.items.len())).collect();
        assert_eq!(shape, [("session", Some(1), 1), ("agent", Some(1), 3), ("operator", Some(2), 1), ("agent", Some(2), 1)]);
        assert!(matches!(&turns[1].items[1], TurnItem::Calls { calls } if calls.len() == 2));
        assert!(matches!(&turns[3].items[0], TurnItem::Held { approval_id } if approval_id == "ap"));
    }

    #[test]
    fn a_long_turn_shows_its_end_and_counts_the_rest() {
        let calls: Vec<ToolCall> = (2..500).map(called).collect();
        let (_, turns) = turns(&[said(1, "user", "do"), said(350, "agent", "half"), said(500, "agent", "done")], &calls, "claude", &HashMap::new(), &[]);
        let TurnItem::Calls { calls } = &turns[1].items[0] else { panic!("{:?}", turns[1].items[0]) };
        let last = turns[1].items.last();
        assert!(matches!(last, Some(TurnItem::Text { text }) if text == "done"), "{last:?}");
        assert_eq!((turns[1].earlier_parts, turns[1].items.len(), calls.len()), (500 - PARTS_MAX as i64, 4, PARTS_MAX - 2 - 150));
    }

    #[test]
    fn words_before_the_first_prompt_have_their_own_turn() {
        let (_, turns) = turns(&[said(1, "agent", "hello"), said(2, "system", "note"), said(3, "agent", "x")], &[], "claude", &HashMap::new(), &[]);
        assert_eq!(turns.iter().map(|t| t.who.as_str()).collect::<Vec<_>>(), ["agent", "system", "agent"]);
    }
}
