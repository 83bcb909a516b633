//! Budgets at work: what each running turn uses, the warnings, and the stop (SESSIONS 3).
//!
//! Authority: limits and totals are canon (events); the meter of a running turn is ephemeral and is recorded when the turn
//! ends. Invariants: each threshold of each budget warns once; a hard limit cancels the turn and pauses the session, and
//! no turn or start is cleared while a limit is passed. On failure of the recorder the turn goes on to its end: what was
//! used is counted again from the agent's next report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use dcc_core::budget::{Amount, Budget, BudgetScope, Crossing, Level, OnSoft, PriceTable, Totals};
use dcc_core::event::{EventCode, NewEvent};
use dcc_core::ids::{JobId, SessionId, WpId};
use dcc_core::ports::sessions::TokenUsage;
use dcc_core::ports::{AgentReport, Appended, EventFilter};
use dcc_core::principal::Actor;
use dcc_core::session::{Session, SessionState, StateReason};
use dcc_core::{Code, Failure, Outcome};

use crate::context::Context;
use crate::host::{change_state, cut_turn, note};
use crate::ledger;
use crate::runner::Runner;

/// What the operator's configuration says of budgets and prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetConfig {
    pub project: Budget,
    /// Of each packet and of each session, unless one was set for it.
    pub packet: Budget,
    pub session: Budget,
    pub prices: PriceTable,
}

/// A running turn's use so far.
struct Meter {
    turn: JobId,
    before: Totals,
    started: Instant,
    now: Totals,
    /// Why the turn is being ended.
    stopped: Option<String>,
}

/// The meters of this process, and the counts that agents last gave.
#[derive(Default)]
pub(crate) struct Meters {
    turns: Mutex<HashMap<SessionId, Meter>>,
    counts: Mutex<HashMap<SessionId, TokenUsage>>,
}

impl Meters {
    fn turns(&self) -> MutexGuard<'_, HashMap<SessionId, Meter>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    fn totals(&self) -> Totals {
        let mut totals = self.now.clone();
        totals.wall_ms = self.before.wall_ms.saturating_add(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
        totals
    }
}

/// Budgets in force: what was set by hand, else the configuration's.
pub fn budget_of(cx: &Context, scope: &BudgetScope) -> Outcome<Budget> {
    let set = ledger::read_all(cx.ports.recorder.as_ref(), EventFilter { codes: vec![EventCode::BudgetSet], ..EventFilter::default() })?;
    let found = set.iter().rev().find(|event| serde_json::from_value::<BudgetScope>(event.payload["budget_of"].clone()).is_ok_and(|s| s == *scope));
    if let Some(budget) = found.and_then(|event| serde_json::from_value::<Option<Budget>>(event.payload["budget"].clone()).ok()).flatten() {
        return Ok(budget);
    }
    if let BudgetScope::Session { session_id } = scope
        && let Some(own) = ledger::session(cx.ports.recorder.as_ref(), *session_id)?.budget
    {
        return Ok(own);
    }
    let configured = &cx.config.budgets;
    Ok(match scope {
        BudgetScope::Project => configured.project.clone(),
        BudgetScope::Packet { .. } => configured.packet.clone(),
        BudgetScope::Session { .. } => configured.session.clone(),
    })
}

/// What has been used, with running turns as far as they told; true when costs in several currencies were not summed.
pub fn totals_of(cx: &Context, scope: &BudgetScope) -> Outcome<(Totals, bool)> {
    let mut totals = Totals::default();
    let mut mixed = false;
    for session in ledger::sessions(cx.ports.recorder.as_ref())? {
        let counts = match scope {
            BudgetScope::Project => true,
            BudgetScope::Packet { wp_id } => session.wp_id.as_ref() == Some(wp_id),
            BudgetScope::Session { session_id } => session.session_id == *session_id,
        };
        if counts {
            let running = cx.meters.turns().get(&session.session_id).map(Meter::totals);
            mixed |= totals.add(&running.unwrap_or(session.totals));
        }
    }
    Ok((totals, mixed))
}

/// The budgets that bear on a session or packet, widest first.
fn scopes(session: Option<SessionId>, wp_id: Option<&WpId>) -> Vec<BudgetScope> {
    let packet = wp_id.map(|wp_id| BudgetScope::Packet { wp_id: wp_id.clone() });
    let session = session.map(|session_id| BudgetScope::Session { session_id });
    [Some(BudgetScope::Project), packet, session].into_iter().flatten().collect()
}

fn crossings(cx: &Context, session: Option<SessionId>, wp_id: Option<&WpId>) -> Outcome<Vec<(BudgetScope, Budget, Crossing)>> {
    let mut found = Vec::new();
    for scope in scopes(session, wp_id) {
        let budget = budget_of(cx, &scope)?;
        if !budget.is_unlimited() {
            let (totals, _) = totals_of(cx, &scope)?;
            found.extend(budget.crossings(&totals).into_iter().map(|crossing| (scope.clone(), budget.clone(), crossing)));
        }
    }
    Ok(found)
}

/// The hard limit that stands against a new turn or start, in words.
pub(crate) fn exceeded(cx: &Context, session: Option<SessionId>, wp_id: Option<&WpId>) -> Outcome<Option<String>> {
    Ok(crossings(cx, session, wp_id)?
        .into_iter()
        .find(|(_, _, crossing)| crossing.level == Level::Hard)
        .map(|(scope, budget, crossing)| format!("the budget of {} is used up: {}", scope.name(), crossing.sentence(&budget.currency))))
}

/// A turn begins: its meter runs, and so does its clock when time is limited.
pub(crate) fn begin_turn(cx: &Context, session: &Session, turn: JobId) -> Outcome<()> {
    let runner = cx.runner.get().and_then(std::sync::Weak::upgrade).ok_or_else(|| Failure::engine("no runner"))?;
    let meter = Meter { turn, before: session.totals.clone(), started: Instant::now(), now: session.totals.clone(), stopped: None };
    cx.meters.turns().insert(session.session_id, meter);
    let (session_id, wp_id) = (session.session_id, session.wp_id.clone());
    let clock = std::thread::Builder::new().name("turn-clock".to_owned()).spawn(move || {
        while let Ok(Some(left)) = next_deadline(&runner.cx, session_id, wp_id.as_ref()) {
            match runner.wait(turn, Some(left)) {
                Ok(job) if !job.state.is_terminal() => judge(&runner, session_id),
                _ => return,
            }
        }
        // Time that was over before anybody could wait for it, on a machine that was busy meanwhile.
        if runner.cx.meters.turns().get(&session_id).is_some_and(|meter| meter.turn == turn) {
            judge(&runner, session_id);
        }
    });
    if let Err(e) = clock {
        eprintln!("dcc: no thread for the clock of a turn: {e}; its time is judged when the agent reports");
    }
    Ok(())
}

/// A turn that did not begin after all.
pub(crate) fn drop_turn(cx: &Context, session_id: SessionId) {
    cx.meters.turns().remove(&session_id);
}

/// Time until the next threshold of time is reached; none without a limit of time or when all are behind.
fn next_deadline(cx: &Context, session_id: SessionId, wp_id: Option<&WpId>) -> Outcome<Option<Duration>> {
    let mut next: Option<u64> = None;
    for scope in scopes(Some(session_id), wp_id) {
        let budget = budget_of(cx, &scope)?;
        let Some(limit) = budget.max_wall_ms else { continue };
        let (totals, _) = totals_of(cx, &scope)?;
        let soft = limit / 100 * u64::from(budget.soft_percent);
        for threshold in [soft, limit] {
            if totals.wall_ms < threshold {
                next = Some(next.map_or(threshold - totals.wall_ms, |n| n.min(threshold - totals.wall_ms)));
            }
        }
    }
    // A millisecond more, so that the threshold is passed when it is looked at.
    Ok(next.map(|ms| Duration::from_millis(ms + 1)))
}

/// Takes in what an agent says of its use, before the report itself is journalled.
pub(crate) fn take(runner: &Arc<Runner>, session: &Session, report: &AgentReport) {
    let cx = &runner.cx;
    {
        let mut turns = cx.meters.turns();
        let Some(meter) = turns.get_mut(&session.session_id) else { return };
        match report {
            AgentReport::Usage { cost: Some(cost), .. } => {
                let Some((amount, currency)) = read_cost(cost) else { return };
                meter.now.report_cost(amount, &currency);
            }
            AgentReport::Tokens { tokens, .. } => {
                let last = cx.meters.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(session.session_id, *tokens);
                let (tokens_in, tokens_out) = grown(last, tokens, &meter.before);
                meter.now.tokens_in = meter.before.tokens_in.saturating_add(tokens_in);
                meter.now.tokens_out = meter.before.tokens_out.saturating_add(tokens_out);
                meter.now.estimate_cost(session.model_id.as_deref(), &cx.config.budgets.prices);
            }
            _ => return,
        }
    }
    judge(runner, session.session_id);
}

/// What this turn used. Of counts over the whole conversation it is what they grew by, since the last answer or, in a
/// process that heard none yet, since what is on record; when they fell, the agent began anew.
fn grown(last: Option<TokenUsage>, now: &TokenUsage, before: &Totals) -> (u64, u64) {
    let input = |t: &TokenUsage| t.input.saturating_add(t.cached_read).saturating_add(t.cached_write);
    let output = |t: &TokenUsage| t.output.saturating_add(t.thought);
    let (tokens_in, tokens_out) = (input(now), output(now));
    if !now.over_conversation {
        return (tokens_in, tokens_out);
    }
    let (earlier_in, earlier_out) = last.map_or((before.tokens_in, before.tokens_out), |last| (input(&last), output(&last)));
    if tokens_in >= earlier_in && tokens_out >= earlier_out { (tokens_in - earlier_in, tokens_out - earlier_out) } else { (tokens_in, tokens_out) }
}

/// An amount and its currency: `0.25 USD`.
fn read_cost(text: &str) -> Option<(Amount, String)> {
    let (amount, currency) = text.split_once(' ')?;
    let amount = Amount::parse(amount).ok().or_else(|| Amount::from_f64(amount.parse().ok()?))?;
    Some((amount, currency.to_owned()))
}

/// Warns of what was crossed, once each, and has the turn stopped at a hard limit.
fn judge(runner: &Arc<Runner>, session_id: SessionId) {
    if let Err(failure) = try_judge(runner, session_id) {
        eprintln!("dcc: the budget of session {} could not be judged: {failure}", session_id.short());
    }
}

fn try_judge(runner: &Arc<Runner>, session_id: SessionId) -> Outcome<()> {
    let cx = &runner.cx;
    let session = ledger::session(cx.ports.recorder.as_ref(), session_id)?;
    for (scope, budget, crossing) in crossings(cx, Some(session_id), session.wp_id.as_ref())? {
        let sentence = format!("{} has used {}", scope.name(), crossing.sentence(&budget.currency));
        warn(cx, &session, &scope, &crossing, &sentence)?;
        if crossing.level == Level::Hard {
            return stop(runner, session_id, sentence);
        }
    }
    Ok(())
}

/// One event for each threshold of each limit; a raised limit may warn again.
fn warn(cx: &Context, session: &Session, scope: &BudgetScope, crossing: &Crossing, sentence: &str) -> Outcome<()> {
    let payload = json!({ "budget_of": scope, "crossing": crossing, "message": sentence });
    let of = match scope {
        BudgetScope::Project => "project".to_owned(),
        BudgetScope::Packet { wp_id } => wp_id.to_string(),
        BudgetScope::Session { session_id } => session_id.to_string(),
    };
    let key = format!("budget:{of}:{:?}:{:?}:{}", crossing.measure, crossing.level, crossing.limit);
    let event = NewEvent::new(EventCode::SessionBudgetWarning, Actor::SYSTEM, payload).about(&crate::host::session_correlation(session)).once(key);
    match cx.journal.try_append(vec![event])? {
        Appended::Written(_) | Appended::Taken { .. } => Ok(()),
    }
}

/// Has the turn cut, once.
fn stop(runner: &Arc<Runner>, session_id: SessionId, why: String) -> Outcome<()> {
    let turn = {
        let mut turns = runner.cx.meters.turns();
        let Some(meter) = turns.get_mut(&session_id) else { return Ok(()) };
        if meter.stopped.is_some() {
            return Ok(());
        }
        meter.stopped = Some(why);
        meter.turn
    };
    cut_turn(runner, session_id, turn, settle)
}

/// Why a cancelled turn was ended, when it was its budget.
pub(crate) fn stopped_for(cx: &Context, session_id: SessionId) -> Option<Failure> {
    let turns = cx.meters.turns();
    let why = turns.get(&session_id)?.stopped.clone()?;
    Some(Failure::new(Code::BudgetExceeded, why).hint("raise the budget (dcc budget set), then resume the session"))
}

/// The turn is over: its totals are recorded, and the session is paused when a budget says so.
pub(crate) fn settle(runner: &Runner, session_id: SessionId) -> Outcome<()> {
    let cx = &runner.cx;
    let Some(meter) = cx.meters.turns().remove(&session_id) else { return Ok(()) };
    let now = ledger::session(cx.ports.recorder.as_ref(), session_id)?;
    let totals = json!({ "totals": meter.totals() });
    if now.state.is_terminal() {
        return Ok(());
    }
    let found = crossings_with(cx, &now, &meter)?;
    let hard = meter.stopped.is_some() || found.iter().any(|(_, crossing)| crossing.level == Level::Hard);
    let soft = found.iter().any(|(budget, crossing)| crossing.level == Level::Soft && budget.on_soft == OnSoft::Pause);
    let (to, reason) = match (hard, soft) {
        (true, _) => (SessionState::Paused, StateReason::BudgetHard),
        (false, true) => (SessionState::Paused, StateReason::BudgetSoft),
        (false, false) => (now.state, now.state_reason),
    };
    // A session that rests already goes on resting for the reason it had.
    if now.state == SessionState::Paused || (to, reason) == (now.state, now.state_reason) {
        return note(cx, &now, totals);
    }
    change_state(cx, session_id, to, reason, totals)
}

fn crossings_with(cx: &Context, session: &Session, meter: &Meter) -> Outcome<Vec<(Budget, Crossing)>> {
    let mut found = Vec::new();
    for scope in scopes(Some(session.session_id), session.wp_id.as_ref()) {
        let budget = budget_of(cx, &scope)?;
        if budget.is_unlimited() {
            continue;
        }
        // The meter has left the table: its session counts with what was recorded before, so the turn's part is added.
        let (mut totals, _) = totals_of(cx, &scope)?;
        let (now, before) = (meter.totals(), &session.totals);
        totals.tokens_in += now.tokens_in.saturating_sub(before.tokens_in);
        totals.tokens_out += now.tokens_out.saturating_sub(before.tokens_out);
        totals.wall_ms += now.wall_ms.saturating_sub(before.wall_ms);
        if let Some(cost) = &now.cost {
            let earlier = before.cost.as_ref().filter(|c| c.currency == cost.currency).map_or(0, |c| c.amount.0);
            let mut grown = cost.clone();
            grown.amount = Amount(cost.amount.0.saturating_sub(earlier));
            // Another currency than the sum's is not comparable with its limit either.
            let _mixed = totals.add(&Totals { cost: Some(grown), ..Totals::default() });
        }
        found.extend(budget.crossings(&totals).into_iter().map(|crossing| (budget.clone(), crossing)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_over_a_conversation_become_the_turns_own() {
        let at = |input, output| TokenUsage { input, output, over_conversation: true, ..TokenUsage::default() };
        let fresh = Totals::default();
        assert_eq!(grown(None, &at(10, 2), &fresh), (10, 2));
        assert_eq!(grown(Some(at(10, 2)), &at(25, 7), &fresh), (15, 5));
        assert_eq!(grown(Some(at(25, 7)), &at(4, 1), &fresh), (4, 1), "it began anew");
        let own = TokenUsage { input: 30, output: 9, ..TokenUsage::default() };
        assert_eq!(grown(Some(at(25, 7)), &own, &fresh), (30, 9), "another agent counts each turn by itself");
        let recorded = Totals { tokens_in: 25, tokens_out: 7, ..Totals::default() };
        assert_eq!(grown(None, &at(31, 9), &recorded), (6, 2), "a conversation taken up after a restart is not counted twice");
    }

    #[test]
    fn costs_are_read_as_agents_write_them() {
        assert_eq!(read_cost("0.25 USD"), Some((Amount(250_000), "USD".into())));
        assert_eq!(read_cost("0.123456789 EUR"), Some((Amount(123_457), "EUR".into())));
        assert_eq!(read_cost("NaN USD"), None);
        assert_eq!(read_cost("free"), None);
    }
}
