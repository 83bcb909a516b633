//! What happens in a repository without DCC: where a worktree's HEAD was last known to be, and what a difference is
//! called (GOVERNANCE 5). Pure.
//!
//! Invariant: the last known HEAD is the one that the latest event about it left, whoever moved it; so an outside change
//! is recorded once, and what DCC did itself is never taken for one.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventCode};
use crate::ids::Oid;
use crate::ports::version::HeadState;

/// Branch and commit of a worktree; no branch when detached, no commit when unborn.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Head {
    pub branch: Option<String>,
    pub oid: Option<Oid>,
}

impl From<&HeadState> for Head {
    fn from(state: &HeadState) -> Self {
        match state {
            HeadState::Branch { name, oid } => Self { branch: Some(name.clone()), oid: Some(oid.clone()) },
            HeadState::Unborn { name } => Self { branch: Some(name.clone()), oid: None },
            HeadState::Detached { oid } => Self { branch: None, oid: Some(oid.clone()) },
        }
    }
}

impl Head {
    /// For people: `main at 1a2b3c4`.
    pub fn text(&self) -> String {
        let at = self.oid.as_ref().map_or_else(|| "no commit".to_owned(), |oid| oid.short().to_owned());
        match &self.branch {
            Some(branch) => format!("{branch} at {at}"),
            None => format!("detached at {at}"),
        }
    }
}

/// What was done without DCC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideKind {
    /// The branch went forward: commits, a merge, a pull.
    Commit,
    /// The branch went elsewhere: a reset, an amended commit, a rebase.
    Reset,
    /// HEAD names another branch, or none.
    Switch,
    /// Files outside the packet's scope were changed.
    Edit,
}

impl OutsideKind {
    /// The name of a moved HEAD; `is_forward` says that the old commit is an ancestor of the new one.
    pub fn of_move(from: &Head, to: &Head, is_forward: bool) -> Self {
        if from.branch != to.branch {
            Self::Switch
        } else if from.oid.is_none() || is_forward {
            Self::Commit
        } else {
            Self::Reset
        }
    }
}

/// The codes of events that say where a worktree's HEAD is.
pub const HEAD_CODES: [EventCode; 5] =
    [EventCode::WorkspaceCreated, EventCode::WorkspaceImported, EventCode::Committed, EventCode::HeadMoved, EventCode::OutOfBandChange];

/// Where the event leaves the HEAD of its workspace; none when it does not say.
pub fn head_after(event: &Event) -> Option<Head> {
    let oid = |at: &str| event.payload.pointer(at).and_then(|v| serde_json::from_value::<Oid>(v.clone()).ok());
    let text = |at: &str| event.payload.pointer(at).and_then(|v| v.as_str()).map(str::to_owned);
    match event.code {
        EventCode::WorkspaceCreated | EventCode::WorkspaceImported => {
            // A worktree may be registered with more than its base.
            Some(Head { branch: text("/workspace/branch"), oid: oid("/head_oid").or_else(|| oid("/workspace/base_oid")) })
        }
        EventCode::Committed => Some(Head { branch: text("/branch_ref").map(|name| short(&name)), oid: Some(oid("/commit_oid")?) }),
        EventCode::HeadMoved => serde_json::from_value(event.payload["to"].clone()).ok(),
        EventCode::OutOfBandChange if text("/kind").as_deref() != Some("edit") => Some(Head { branch: text("/branch"), oid: oid("/to_oid") }),
        _ => None,
    }
}

fn short(name: &str) -> String {
    name.strip_prefix("refs/heads/").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(code: EventCode, payload: Value) -> Event {
        serde_json::from_value(json!({
            "seq": 1, "event_id": "0198c0de-0000-7000-8000-000000000001", "ts": "2026-01-31T09:10:11.120Z", "code": code, "name": code.name(),
            "actor_kind": "system", "actor_id": "dcc", "actor": {"principal": "system", "surface": "internal", "attended": false},
            "outcome": "ok", "payload": payload, "payload_sha256": "0".repeat(64), "project_id": "0198c0de-0000-7000-8000-000000000002",
            "instance_id": "0198c0de-0000-7000-8000-000000000003", "prev_hash": "0".repeat(64), "hash": "0".repeat(64)
        }))
        .unwrap()
    }

    fn head(branch: &str, digit: char) -> Head {
        Head { branch: Some(branch.to_owned()), oid: Some(Oid::parse(&digit.to_string().repeat(40)).unwrap()) }
    }

    #[test]
    fn each_event_says_where_it_leaves_head() {
        let a = "a".repeat(40);
        for (code, payload, want) in [
            (EventCode::WorkspaceCreated, json!({"workspace": {"branch": "x", "base_oid": a}}), Some(head("x", 'a'))),
            (EventCode::WorkspaceImported, json!({"workspace": {"branch": "x", "base_oid": a}, "head_oid": "b".repeat(40)}), Some(head("x", 'b'))),
            (EventCode::Committed, json!({"commit_oid": a, "branch_ref": "refs/heads/dcc/x"}), Some(head("dcc/x", 'a'))),
            (EventCode::HeadMoved, json!({"to": head("y", 'c')}), Some(head("y", 'c'))),
            (EventCode::OutOfBandChange, json!({"kind": "reset", "branch": "x", "to_oid": a}), Some(head("x", 'a'))),
            (EventCode::OutOfBandChange, json!({"kind": "switch", "branch": null, "to_oid": a}), Some(Head { branch: None, ..head("x", 'a') })),
            (EventCode::OutOfBandChange, json!({"kind": "edit", "branch": "x", "to_oid": a}), None),
            (EventCode::JobFinished, json!({"commit_oid": a}), None),
        ] {
            assert_eq!(head_after(&event(code, payload)), want, "{code:?}");
        }
    }

    #[test]
    fn a_move_has_one_name() {
        let (a, b) = (head("x", 'a'), head("x", 'b'));
        assert_eq!(OutsideKind::of_move(&a, &b, true), OutsideKind::Commit);
        assert_eq!(OutsideKind::of_move(&a, &b, false), OutsideKind::Reset);
        assert_eq!(OutsideKind::of_move(&a, &head("y", 'b'), true), OutsideKind::Switch);
        assert_eq!(OutsideKind::of_move(&Head { oid: None, ..a.clone() }, &b, false), OutsideKind::Commit);
    }
}
