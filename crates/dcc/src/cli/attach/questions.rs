//! The requests of a session that wait for the person who follows it: in their order, one shown at a time.
//!
//! Authority: none; pure. Invariants: an answer is about the one that is shown and no other; what ends one leaves the others as
//! they are. Failure: none.

use std::collections::VecDeque;

use dcc_api::door::Presentation;
use dcc_core::ApprovalId;

use super::super::answers::{self, Answer};

#[derive(Default)]
pub struct Questions {
    /// All that wait, the one that is shown among them.
    open: VecDeque<ApprovalId>,
    shown: Option<Shown>,
}

struct Shown {
    rendering: Box<Presentation>,
    /// An answer that lacks something still.
    begun: Option<Answer>,
}

impl Questions {
    pub fn add(&mut self, id: ApprovalId) {
        if !self.open.contains(&id) {
            self.open.push_back(id);
        }
    }

    /// Which one is to be shown; none while one is.
    pub fn next(&self) -> Option<ApprovalId> {
        if self.shown.is_some() { None } else { self.open.front().copied() }
    }

    pub fn show(&mut self, rendering: Presentation) {
        self.shown = Some(Shown { rendering: Box::new(rendering), begun: None });
    }

    /// The one that is shown, and what was answered of it so far.
    pub fn shown(&self) -> Option<(&Presentation, Option<&Answer>)> {
        self.shown.as_ref().map(|shown| (shown.rendering.as_ref(), shown.begun.as_ref()))
    }

    pub fn begin(&mut self, answer: Answer) {
        if let Some(shown) = &mut self.shown {
            shown.begun = Some(answer);
        }
    }

    /// The one that is shown was not decided: it waits as before and is shown anew.
    pub fn put_back(&mut self) {
        self.shown = None;
    }

    /// True when it was the one that is shown.
    pub fn remove(&mut self, id: ApprovalId) -> bool {
        self.open.retain(|open| *open != id);
        self.shown.take_if(|shown| shown.rendering.approval_id == id).is_some()
    }

    /// What is asked about the one that is shown.
    pub fn prompt(&self) -> Option<String> {
        let shown = self.shown.as_ref()?;
        let approval = &shown.rendering.approval;
        let others = match self.open.len() {
            0 | 1 => String::new(),
            count => format!(" ({} more wait)", count - 1),
        };
        Some(shown.begun.as_ref().and_then(|begun| begun.lacks(approval)).unwrap_or_else(|| format!("Approve? {}{others}", answers::offers(approval))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::answers::tests::rendering;
    use dcc_core::approval::Scope;
    use dcc_core::capability::Tier;

    const IDS: [&str; 3] = ["0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002", "0198c0de-0000-7000-8000-000000000003"];

    #[test]
    fn one_is_shown_and_what_ends_another_leaves_it() {
        let [a, b, c]: [ApprovalId; 3] = IDS.map(|id| id.parse().unwrap());
        let mut questions = Questions::default();
        for id in [a, b, a, c] {
            questions.add(id);
        }
        assert_eq!(questions.next(), Some(a));
        questions.show(rendering(IDS[0], Tier::R1, &[Scope::Once]));
        assert_eq!(questions.next(), None, "another is not shown over it");
        assert!(questions.prompt().unwrap().contains("(2 more wait)"));
        questions.begin(answers::parse("n", &questions.shown().unwrap().0.approval).unwrap());
        assert!(!questions.remove(b), "another was decided");
        assert!(questions.prompt().unwrap().starts_with("Reason"), "and this one is as far as it was");
        questions.put_back();
        assert_eq!((questions.next(), questions.shown()), (Some(a), None));
        questions.show(rendering(IDS[0], Tier::R1, &[Scope::Once]));
        assert!(questions.prompt().unwrap().starts_with("Approve?"), "what was refused is answered anew");
        assert!(questions.remove(a));
        assert_eq!((questions.next(), questions.prompt()), (Some(c), None));
    }
}
