//! The words by which a person answers a request at a terminal: which are offered, what a line means, what it lacks still.
//!
//! Authority: none; pure. Invariants: a line that is none of the offered words decides nothing; a denial has its reason and
//! an R3 approval its typed word before either is sent. Failure: none, a line that means nothing is no answer.

use dcc_api::door::{DecisionInput, Presentation, Verdict};
use dcc_core::approval::{Approval, Scope};
use dcc_core::capability::Tier;

use super::output::one_line;

const APPROVALS: [(&str, &str, Scope); 4] = [("y", "yes", Scope::Once), ("j", "job", Scope::Job), ("s", "session", Scope::Session), ("w", "workspace", Scope::Workspace)];

/// What a person answered, as far as he did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub verdict: Verdict,
    pub scope: Scope,
    pub reason: Option<String>,
    /// What an R3 request asks a person to type, so that no reflex approves it.
    pub typed: Option<String>,
}

/// The words that answer this request; a scope that it does not offer has none.
pub fn offers(approval: &Approval) -> String {
    let offered = APPROVALS.iter().filter(|(.., scope)| approval.offered.contains(scope)).map(|(letter, _, scope)| format!("{letter} = {}", scope.as_str()));
    offered.chain(["n REASON = deny".to_owned(), "Enter = leave it waiting".to_owned()]).collect::<Vec<_>>().join(", ")
}

/// The answer that one line is; none when it is no word that the request offers.
pub fn parse(line: &str, approval: &Approval) -> Option<Answer> {
    let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let rest = Some(rest.trim().to_owned()).filter(|rest| !rest.is_empty());
    if matches!(word, "n" | "no") {
        return Some(Answer { verdict: Verdict::Deny, scope: Scope::Once, reason: rest, typed: None });
    }
    let (.., scope) = APPROVALS.into_iter().find(|(letter, long, scope)| (word == *letter || word == *long) && approval.offered.contains(scope))?;
    // Only the word that R3 asks for may follow an approval: a sentence is not one.
    (approval.tier == Tier::R3 || rest.is_none()).then_some(Answer { verdict: Verdict::Approve, scope, reason: None, typed: rest })
}

impl Answer {
    /// The question for what is missing before it can be sent.
    pub fn lacks(&self, approval: &Approval) -> Option<String> {
        match self.verdict {
            Verdict::Deny if self.reason.is_none() => Some("Reason (sent to the requester): ".to_owned()),
            Verdict::Approve if approval.tier == Tier::R3 && self.typed.is_none() => {
                Some(format!("This is R3 and cannot be undone by a button. Type {} to approve: ", one_line(&approval.confirm_text())))
            }
            _ => None,
        }
    }

    /// With the line that answers what it lacked.
    pub fn with(mut self, line: &str) -> Self {
        let said = Some(line.trim().to_owned());
        match self.verdict {
            Verdict::Deny => self.reason = said,
            Verdict::Approve => self.typed = said,
        }
        self
    }

    /// As it is sent: it echoes the very rendering that the person saw.
    pub fn about(self, shown: &Presentation) -> DecisionInput {
        DecisionInput { decision: self.verdict, scope: self.scope, reason: self.reason, nonce: Some(shown.nonce.clone()), preview_digest: Some(shown.preview_digest), typed: self.typed }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use dcc_core::approval::ApprovalStatus;
    use dcc_core::op::Op;
    use dcc_core::plan::{IntentClass, Preview};
    use dcc_core::principal::{Actor, Role, Surface};
    use dcc_core::{ApprovalId, Sha256Hex, Timestamp};

    pub fn rendering(id: &str, tier: Tier, offered: &[Scope]) -> Presentation {
        let approval_id: ApprovalId = id.parse().unwrap();
        let job_id = id.parse().unwrap();
        let preview = Preview { title: "t".into(), exactly: Vec::new(), place: Vec::new(), risk: "r".into(), undo: "u".into() };
        let approval = Approval {
            approval_id,
            job_id,
            root_job_id: job_id,
            op: Op::FsWrite,
            status: ApprovalStatus::Pending,
            tier,
            intent: IntentClass::Unknown,
            capabilities: Vec::new(),
            plan_digest: Sha256Hex::ZERO,
            plan_artifact: Sha256Hex::ZERO,
            preview,
            preview_ref: None,
            preview_digest: Sha256Hex::ZERO,
            rule: "test".into(),
            offered: offered.to_vec(),
            requester: Actor::operator(Surface::Terminal),
            role: Role::Human,
            model: None,
            claim: None,
            wp_id: None,
            mt_id: None,
            session_id: None,
            workspace_id: None,
            branch: Some("main".into()),
            paths: Vec::new(),
            requested_at: Timestamp(0),
            expires_at: Timestamp(1_000),
            presented: None,
            decision: None,
            ended_reason: None,
            grant_id: None,
        };
        Presentation { approval_id, nonce: "00".into(), preview_digest: Sha256Hex::ZERO, approval }
    }

    const ID: &str = "0198c0de-0000-7000-8000-000000000001";

    #[test]
    fn only_what_a_request_offers_answers_it() {
        let once = rendering(ID, Tier::R2, &[Scope::Once]).approval;
        assert_eq!(offers(&once), "y = once, n REASON = deny, Enter = leave it waiting");
        for line in ["", "j", "s", "w", "session", "Y", "y please", "yes, go on", "do it", "ny"] {
            assert_eq!(parse(line, &once), None, "{line:?}");
        }
        let wide = rendering(ID, Tier::R1, &[Scope::Once, Scope::Job, Scope::Session]).approval;
        assert_eq!(offers(&wide), "y = once, j = job, s = session, n REASON = deny, Enter = leave it waiting");
        let scope = |line: &str| parse(line, &wide).map(|answer| (answer.verdict, answer.scope));
        assert_eq!((scope(" s "), scope("yes"), scope("w")), (Some((Verdict::Approve, Scope::Session)), Some((Verdict::Approve, Scope::Once)), None));
        assert_eq!(parse("s", &wide).unwrap().lacks(&wide), None);
    }

    #[test]
    fn a_denial_wants_its_reason_and_r3_its_word() {
        let plain = rendering(ID, Tier::R1, &[Scope::Once]).approval;
        let bare = parse("n", &plain).unwrap();
        assert!(bare.lacks(&plain).unwrap().starts_with("Reason"));
        assert_eq!(bare.with(" too broad\n"), parse("n  too broad", &plain).unwrap());
        let grave = rendering(ID, Tier::R3, &[Scope::Once]);
        let bare = parse("y", &grave.approval).unwrap();
        assert!(bare.lacks(&grave.approval).unwrap().contains("Type main to approve"));
        let whole = bare.with("main");
        assert_eq!((&whole, whole.lacks(&grave.approval)), (&parse("y main", &grave.approval).unwrap(), None));
        let sent = whole.about(&grave);
        assert_eq!((sent.typed.as_deref(), sent.nonce.as_deref(), sent.preview_digest), (Some("main"), Some("00"), Some(Sha256Hex::ZERO)));
    }
}
