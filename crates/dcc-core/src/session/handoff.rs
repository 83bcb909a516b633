//! What a session leaves to whoever goes on (SESSIONS 4): a structured handoff. Pure.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::ids::HandoffId;
use crate::limits;

/// Something that proves or shows what was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceLink {
    pub kind: EvidenceKind,
    /// A commit's object id, an artifact's SHA-256, a job's id, or words that name the diff.
    #[serde(rename = "ref")]
    pub reference: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    Diff,
    Commit,
    Artifact,
    Job,
}

/// The handoff's own words, one entry a point. `done` or `remaining` says something; the rest may be empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandoffText {
    pub done: Vec<String>,
    pub remaining: Vec<String>,
    pub decisions: Vec<String>,
    pub uncertainties: Vec<String>,
    pub blockers: Vec<String>,
    pub evidence: Vec<EvidenceLink>,
}

/// A handoff as its event holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handoff {
    pub handoff_id: HandoffId,
    #[serde(flatten)]
    pub text: HandoffText,
}

impl HandoffText {
    /// Says something, and fits.
    pub fn check(&self) -> Outcome<()> {
        let lists = [&self.done, &self.remaining, &self.decisions, &self.uncertainties, &self.blockers];
        let points = || lists.iter().flat_map(|l| l.iter()).chain(self.evidence.iter().map(|e| &e.reference));
        if self.done.is_empty() && self.remaining.is_empty() {
            return Err(Failure::invalid("a handoff says what is done or what remains").hint(SHAPE));
        }
        if points().any(|p| p.trim().is_empty()) {
            return Err(Failure::invalid("a point of the handoff is empty").hint(SHAPE));
        }
        let bytes: usize = points().map(String::len).sum();
        if bytes > limits::HANDOFF_BYTES_MAX || points().count() > limits::HANDOFF_POINTS_MAX {
            return Err(Failure::invalid(format!(
                "the handoff is too large: at most {} points and {} bytes",
                limits::HANDOFF_POINTS_MAX,
                limits::HANDOFF_BYTES_MAX
            ))
            .hint("store long texts as files of the worktree and name them"));
        }
        Ok(())
    }
}

/// The shape of a handoff file, for hints.
pub const SHAPE: &str = r#"{"done": ["..."], "remaining": ["..."], "decisions": [], "uncertainties": [], "blockers": [], "evidence": [{"kind": "commit|diff|artifact|job", "ref": "..."}]}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handoff_says_something_and_fits() {
        let read = |text: &str| serde_json::from_str::<HandoffText>(text).map_err(|e| Failure::invalid(e.to_string())).and_then(|t| t.check());
        assert!(read(r#"{"done": ["the greeting"]}"#).is_ok());
        assert!(read(r#"{"remaining": ["tests"], "evidence": [{"kind": "commit", "ref": "abc"}]}"#).is_ok());
        for bad in [r"{}", r#"{"done": [" "]}"#, r#"{"done": ["x"], "doing": []}"#, r#"{"decisions": ["only this"]}"#, r#"{"done": ["x"], "evidence": [{"kind": "rumour", "ref": "y"}]}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(HandoffText { done: vec!["x".repeat(limits::HANDOFF_BYTES_MAX + 1)], ..HandoffText::default() }.check().is_err());
    }
}
