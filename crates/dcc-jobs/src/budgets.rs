//! Budgets at work: what each running turn uses, the warnings, and the stop (SESSIONS 3).
//!
//! Authority: limits and totals are canon (events); the meter of a running turn is ephemeral and is recorded when the turn
//! ends, however it ends. Invariants: each threshold of each budget warns once; a hard limit cancels the turn and pauses the
//! session, and no turn or start is cleared while a limit is passed; a session's limit covers what it spawned and what
//! succeeded it; a limit that is set while turns run holds for them at once. On failure of the recorder the turn goes on to its end: what was
//! used is counted again from the agent's next report.

use std::sync::{Arc, Weak};
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
use crate::meters::{Meter, Meters};
use crate::runner::Runner;

const RAISE: &str = "raise the budget (dcc budget set), then resume the session";

/// What the operator's configuration says of budgets and prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetConfig {
    pub project: Budget,
    /// Of each packet and of each session, unless one was set for it.
    pub packet: Budget,
    pub session: Budget,
    pub prices: PriceTable,
}

/// Budgets in force: what was set by hand, else the configuration's.
pub fn budget_of(cx: &Context, scope: &BudgetScope) -> Outcome<Budget> {
    if let Some(budget) = given(cx, scope)? {
        return Ok(budget);
    }
    let configured = &cx.config.budgets;
    Ok(match scope {
        BudgetScope::Project => configured.project.clone(),
        BudgetScope::Packet { .. } => configured.packet.clone(),
        BudgetScope::Session { .. } => configured.session.clone(),
    })
}

/// What a person set for just this, now or when the session began.
fn given(cx: &Context, scope: &BudgetScope) -> Outcome<Option<Budget>> {
    let set = ledger::read_all(cx.ports.recorder.as_ref(), EventFilter { codes: vec![EventCode::BudgetSet], ..EventFilter::default() })?;
    let found = set.iter().rev().find(|event| serde_json::from_value::<BudgetScope>(event.payload["budget_of"].clone()).is_ok_and(|s| s == *scope));
    if let Some(budget) = found.and_then(|event| serde_json::from_value::<Option<Budget>>(event.payload["budget"].clone()).ok()).flatten() {
        return Ok(Some(budget));
    }
    match scope {
        BudgetScope::Session { session_id } => Ok(ledger::session(cx.ports.recorder.as_ref(), *session_id)?.budget),
        _ => Ok(None),
    }
}

/// What has been used, with running turns as far as they told. Of a session: with what descends from it.
pub fn totals_of(cx: &Context, scope: &BudgetScope) -> Outcome<Totals> {
    Ok(measure(cx, scope, None)?.0)
}

/// What a session has used with its running turn; none when no turn runs.
pub fn running(cx: &Context, id: SessionId) -> Option<Totals> {
    cx.meters.with(id, |meter| meter.totals())
}

/// What has been used, and how many turns go on using. `over` is a turn whose meter left the table and is not on record yet.
fn measure(cx: &Context, scope: &BudgetScope, over: Option<(SessionId, &Totals)>) -> Outcome<(Totals, u64)> {
    let (mut totals, mut running) = (Totals::default(), 0);
    let mut line = Vec::new();
    for session in ledger::sessions(cx.ports.recorder.as_ref())? {
        let id = session.session_id;
        let counts = match scope {
            BudgetScope::Project => true,
            BudgetScope::Packet { wp_id } => session.wp_id.as_ref() == Some(wp_id),
            // Parents and predecessors come first, because they were created first.
            BudgetScope::Session { session_id } => id == *session_id || session.parent_session_id.is_some_and(|p| line.contains(&p)) || session.successor_of.is_some_and(|p| line.contains(&p)),
        };
        if !counts {
            continue;
        }
        line.push(id);
        let metered = cx.meters.with(id, |meter| meter.totals());
        totals.add(match (over, &metered) {
            (Some((turn, used)), _) if turn == id => used,
            (_, Some(used)) => {
                running += 1;
                used
            }
            (_, None) => &session.totals,
        });
    }
    Ok((totals, running))
}

/// The budgets that bear on a session or packet, widest first: of those it descends from, what was set for them.
fn budgets(cx: &Context, session: Option<SessionId>, wp_id: Option<&WpId>) -> Outcome<Vec<(BudgetScope, Budget)>> {
    let mut found = vec![(BudgetScope::Project, budget_of(cx, &BudgetScope::Project)?)];
    if let Some(wp_id) = wp_id {
        let scope = BudgetScope::Packet { wp_id: wp_id.clone() };
        found.push((scope.clone(), budget_of(cx, &scope)?));
    }
    if let Some(id) = session {
        for session_id in forebears(cx, id)? {
            let scope = BudgetScope::Session { session_id };
            found.extend(given(cx, &scope)?.map(|budget| (scope, budget)));
        }
        let scope = BudgetScope::Session { session_id: id };
        found.push((scope.clone(), budget_of(cx, &scope)?));
    }
    found.retain(|(_, budget)| !budget.is_unlimited());
    Ok(found)
}

/// Whom the session descends from: parents and predecessors, and theirs.
fn forebears(cx: &Context, id: SessionId) -> Outcome<Vec<SessionId>> {
    let mut found = Vec::new();
    let mut next = vec![id];
    while let Some(id) = next.pop() {
        let session = ledger::session(cx.ports.recorder.as_ref(), id)?;
        let before: Vec<SessionId> = session.parent_session_id.into_iter().chain(session.successor_of).filter(|id| !found.contains(id)).collect();
        next.extend(&before);
        found.extend(before);
    }
    Ok(found)
}

fn crossings(cx: &Context, session: Option<SessionId>, wp_id: Option<&WpId>, over: Option<(SessionId, &Totals)>) -> Outcome<Vec<(BudgetScope, Budget, Crossing)>> {
    let mut found = Vec::new();
    for (scope, budget) in budgets(cx, session, wp_id)? {
        let (totals, _) = measure(cx, &scope, over)?;
        found.extend(budget.crossings(&totals).into_iter().map(|crossing| (scope.clone(), budget.clone(), crossing)));
    }
    Ok(found)
}

/// The hard limit that stands against a new turn or start, in words.
pub(crate) fn exceeded(cx: &Context, session: Option<SessionId>, wp_id: Option<&WpId>) -> Outcome<Option<String>> {
    Ok(crossings(cx, session, wp_id, None)?
        .into_iter()
        .find(|(_, _, crossing)| crossing.level == Level::Hard)
        .map(|(scope, budget, crossing)| format!("the budget of {} is used up: {}", scope.name(), crossing.sentence(&budget.currency))))
}

/// Refuses to go on with a session, or with what descends from it, while a limit is used up.
pub(crate) fn require_room(cx: &Context, session: &Session) -> Outcome<()> {
    match exceeded(cx, Some(session.session_id), session.wp_id.as_ref())? {
        Some(why) => Err(Failure::new(Code::BudgetExceeded, why).hint(RAISE)),
        None => Ok(()),
    }
}

/// A turn begins: its meter and its clock run.
pub(crate) fn begin_turn(cx: &Context, session: &Session, turn: JobId) -> Outcome<()> {
    let id = session.session_id;
    let runner = cx.runner.get().cloned().ok_or_else(|| Failure::engine("no runner"))?;
    cx.meters.begin(id, Meter { turn, before: session.totals.clone(), started: Instant::now(), now: session.totals.clone(), stopped: None });
    let meters = Arc::clone(&cx.meters);
    let clock = std::thread::Builder::new().name("turn-clock".to_owned()).spawn(move || run_clock(&meters, &runner, id, turn));
    if let Err(e) = clock {
        eprintln!("dcc: no thread for the clock of a turn: {e}; its time is judged when the agent reports");
    }
    Ok(())
}

/// Judges the turn whenever a limit of time is reached, another turn begins or ends, or a budget is set, until it is over.
fn run_clock(meters: &Meters, runner: &Weak<Runner>, id: SessionId, turn: JobId) {
    loop {
        let seen = meters.changes();
        if !meters.with(id, |meter| meter.turn == turn).unwrap_or(false) {
            return;
        }
        let left = {
            let Some(runner) = runner.upgrade() else { return };
            judge(&runner, id);
            next_deadline(&runner.cx, id)
        };
        let left = left.unwrap_or_else(|failure| {
            eprintln!("dcc: the time of session {} could not be judged: {failure}", id.short());
            None
        });
        meters.wait_change(seen, left);
    }
}

/// A budget was set: what runs is judged by it.
pub(crate) fn changed(cx: &Context) {
    cx.meters.ring();
}

/// A turn that did not begin after all.
pub(crate) fn drop_turn(cx: &Context, session_id: SessionId) {
    drop(cx.meters.take(session_id));
    cx.meters.ring();
}

/// Time until the next threshold of time is reached; none without a limit of time or when all are behind.
fn next_deadline(cx: &Context, session_id: SessionId) -> Outcome<Option<Duration>> {
    let session = ledger::session(cx.ports.recorder.as_ref(), session_id)?;
    let mut next: Option<u64> = None;
    for (scope, budget) in budgets(cx, Some(session_id), session.wp_id.as_ref())? {
        let Some(limit) = budget.max_wall_ms else { continue };
        let (totals, running) = measure(cx, &scope, None)?;
        let soft = limit / 100 * u64::from(budget.soft_percent);
        for threshold in [soft, limit] {
            if totals.wall_ms < threshold {
                // Every turn under the limit uses of it at the same time.
                let left = (threshold - totals.wall_ms) / running.max(1);
                next = Some(next.map_or(left, |n| n.min(left)));
            }
        }
    }
    // A millisecond more, so that the threshold is passed when it is looked at.
    Ok(next.map(|ms| Duration::from_millis(ms + 1)))
}

/// Takes in what an agent says of its use, before the report itself is journalled.
pub(crate) fn take(runner: &Arc<Runner>, session: &Session, report: &AgentReport) {
    let cx = &runner.cx;
    let id = session.session_id;
    let told = cx.meters.with(id, |meter| {
        match report {
            AgentReport::Usage { cost: Some(cost), .. } => {
                let Some((amount, currency)) = read_cost(cost) else { return false };
                meter.now.report_cost(amount, &currency);
            }
            AgentReport::Tokens { tokens, .. } => {
                let last = cx.meters.count(id, *tokens);
                let (tokens_in, tokens_out) = grown(last, tokens, &meter.before);
                meter.now.tokens_in = meter.before.tokens_in.saturating_add(tokens_in);
                meter.now.tokens_out = meter.before.tokens_out.saturating_add(tokens_out);
                meter.now.estimate_cost(session.model_id.as_deref(), &cx.config.budgets.prices);
            }
            _ => return false,
        }
        true
    });
    if told == Some(true) {
        judge(runner, id);
    }
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
    Some((amount, currency.trim().to_ascii_uppercase()))
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
    for (scope, budget, crossing) in crossings(cx, Some(session_id), session.wp_id.as_ref(), None)? {
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
    let foreign = crossing.foreign.as_ref().map(|currency| format!(":{currency}")).unwrap_or_default();
    let key = format!("budget:{of}:{:?}:{:?}:{}{foreign}", crossing.measure, crossing.level, crossing.limit);
    let event = NewEvent::new(EventCode::SessionBudgetWarning, Actor::SYSTEM, payload).about(&crate::host::session_correlation(session)).once(key);
    match cx.journal.try_append(vec![event])? {
        Appended::Written(_) | Appended::Taken { .. } => Ok(()),
    }
}

/// Has the turn cut, once.
fn stop(runner: &Arc<Runner>, session_id: SessionId, why: String) -> Outcome<()> {
    let turn = runner.cx.meters.with(session_id, |meter| {
        let first = meter.stopped.is_none();
        meter.stopped.get_or_insert(why);
        first.then_some(meter.turn)
    });
    turn.flatten().map_or(Ok(()), |turn| cut_turn(runner, session_id, turn, settle))
}

/// Why a cancelled turn was ended, when it was its budget.
pub(crate) fn stopped_for(cx: &Context, session_id: SessionId) -> Option<Failure> {
    let why = cx.meters.with(session_id, |meter| meter.stopped.clone())??;
    Some(Failure::new(Code::BudgetExceeded, why).hint(RAISE))
}

/// The turn is over: its totals are recorded, and the session is paused when a budget says so.
pub(crate) fn settle(runner: &Runner, session_id: SessionId) -> Outcome<()> {
    let cx = &runner.cx;
    let Some(meter) = cx.meters.take(session_id) else { return Ok(()) };
    let settled = record(cx, session_id, &meter);
    // One turn less uses of what it shared, and what it used is on record now.
    cx.meters.ring();
    settled
}

fn record(cx: &Context, session_id: SessionId, meter: &Meter) -> Outcome<()> {
    let now = ledger::session(cx.ports.recorder.as_ref(), session_id)?;
    let used = meter.totals();
    let totals = json!({ "totals": used });
    if now.state.is_terminal() {
        return note(cx, &now, totals);
    }
    let found = crossings(cx, Some(session_id), now.wp_id.as_ref(), Some((session_id, &used)))?;
    let hard = meter.stopped.is_some() || found.iter().any(|(_, _, crossing)| crossing.level == Level::Hard);
    let soft = found.iter().any(|(_, budget, crossing)| crossing.level == Level::Soft && budget.on_soft == OnSoft::Pause);
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
        assert_eq!(read_cost("1.5 usd"), Some((Amount(1_500_000), "USD".into())));
        assert_eq!(read_cost("100000000000000000000 USD"), Some((Amount(u64::MAX), "USD".into())), "no limit is above it");
        assert_eq!(read_cost("NaN USD"), None);
        assert_eq!(read_cost("free"), None);
    }
}
