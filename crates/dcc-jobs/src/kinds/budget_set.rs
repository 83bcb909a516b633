//! budget.set: one event; a budget in force is what the last one says (see `budgets`).

use serde::Deserialize;
use serde_json::json;

use dcc_core::budget::{Budget, BudgetScope};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::job::Job;
use dcc_core::plans::BudgetPlan;
use dcc_core::{Code, Failure, Outcome};

use super::{Done, Effect, JobKind, Planned, Recovered, params};
use crate::budgets;
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct SetBudget;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// Null: the configuration's budget holds again.
    budget: Option<Budget>,
}

impl JobKind for SetBudget {
    type Plan = BudgetPlan;

    /// The binding says whose: a session, else a packet, else the project.
    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<BudgetPlan>> {
        let p: Params = params::parse(cx, job)?;
        if let Some(budget) = &p.budget {
            budget.check()?;
        }
        let mut bindings = job.bindings.clone();
        let budget_of = match (job.bindings.session_id, &job.bindings.wp_id) {
            (Some(session_id), _) => {
                bindings.wp_id = ledger::session(cx.ports.recorder.as_ref(), session_id)?.wp_id;
                BudgetScope::Session { session_id }
            }
            (None, Some(wp_id)) => {
                let packet = cx.ports.locus.packet(wp_id)?.ok_or_else(|| Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")))?;
                bindings.wp_id = Some(packet.record.wp_id.clone());
                BudgetScope::Packet { wp_id: packet.record.wp_id }
            }
            (None, None) => BudgetScope::Project,
        };
        let before = budgets::budget_of(cx, &budget_of)?;
        Ok(Planned { body: BudgetPlan { budget_of, budget: p.budget, before }, engine: "dcc", inputs: Vec::new(), bindings, claim: None })
    }

    fn apply(&self, _cx: &Context, job: &Job, cleared: Cleared<BudgetPlan>) -> Outcome<Done> {
        let plan = cleared.body();
        let set = NewEvent::new(EventCode::BudgetSet, job.actor, json!({ "budget_of": plan.budget_of, "budget": plan.budget })).about(&correlation(job));
        Ok(Done::Finished(Effect { events: vec![set], ..Effect::default() }))
    }

    /// It holds for the turns that run already.
    fn finished(&self, cx: &Context) {
        budgets::changed(cx);
    }

    fn recover(&self, _cx: &Context, _job: &Job, _body: &BudgetPlan) -> Outcome<Recovered> {
        // The event is written together with the job's end: no end means no change.
        Ok(Recovered::Absent)
    }
}
