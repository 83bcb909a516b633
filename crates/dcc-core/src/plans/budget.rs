//! budget.set: a limit of the project, a packet or a session.

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, BudgetScope};
use crate::capability::{Axis, Capability, Tier};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BudgetPlan {
    pub budget_of: BudgetScope,
    /// None: the configuration's holds again.
    pub budget: Option<Budget>,
    pub before: Budget,
}

fn in_words(budget: &Budget) -> String {
    let tokens = budget.max_tokens.map(|n| format!("{n} tokens"));
    let cost = budget.max_cost.map(|a| format!("{a} {}", budget.currency));
    let time = budget.max_wall_ms.map(|ms| format!("{} s in turns", ms / 1000));
    let limits: Vec<String> = [tokens, cost, time].into_iter().flatten().collect();
    if limits.is_empty() { "no limit".to_owned() } else { format!("{}; warning at {} %", limits.join(", "), budget.soft_percent) }
}

impl PlanBody for BudgetPlan {
    fn preview(&self) -> Preview {
        let after = self.budget.as_ref().map_or_else(|| "what the configuration says".to_owned(), in_words);
        Preview {
            title: format!("Set the budget of {}", self.budget_of.name()),
            exactly: vec![PreviewItem::Fact { label: "budget".into(), value: after }],
            place: vec![PreviewFact::new("before", in_words(&self.before))],
            risk: "changes how much agents may use before they are stopped".into(),
            undo: "set it back".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement::of(Capability::plain(Axis::PolicyEdit), Tier::R1, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}
