//! One session, live: its feed, held requests inline, the composer; the side holds the rest.
//!
//! Authority: derived. Words of an agent are shown as said, calls carry how they are known.

use maud::{Markup, html};

use dcc_api::view::{SessionRow, SessionView, Shell, TurnItem, TurnView};

use super::components::basics::{budget_bar, tokens};
use super::components::calls::call_run;
use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::{quiet_words, session_state};
use super::components::time::span;
use super::components::{Pip, ago, bind, call_list, clock, event_slice, failure_note, held_card, icon, job_link, money, op_button, short, st, why_not, wp_link};
use super::session_composer::composer;
use super::session_panels::panels;
use super::session_side::side;
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// Calls a turn may show unfolded.
const CALLS_OPEN: usize = 12;

/// The session.
#[must_use]
pub fn session(shell: &Shell, view: &SessionView, now_ms: i64) -> Markup {
    let row = &view.session;
    let body = html! {
        (head(view))
        (facts(row, now_ms))
        (panels(view))
        (quiet(row))
        @if let Some(failure) = &view.failure {
            (failure_note(failure))
            @if let Some(command) = failure.hint.as_deref().and_then(login_command) { div.pad.row { code { (t(command)) } button.btn.sm type="button" data-copy-text=(t(command)) { (icon("copy")) " Copy the command" } } }
            @if !view.output.is_empty() { pre.code.pad-x tabindex="0" aria-label="First lines of standard error" { (SafeText::block(&view.output.join("\n"))) } }
        }
        div.cols.c-session {
            section aria-label="Feed" {
                (feed_head(view))
                div.scroll.fill.feed id="feed" data-follow tabindex="0" aria-label="Turns" {
                    @if view.earlier_turns > 0 { p.pad.lab { (view.earlier_turns) " earlier turns stand in the record. " (event_slice("session", &row.session_id)) } }
                    @for turn in &view.turns { (turn_article(view, turn, now_ms)) }
                    @for card in view.held.iter().filter(|card| !mentioned(view, &card.approval.approval_id)) { div.turn { (held_card(card, now_ms)) } }
                    @if view.turns.is_empty() && view.held.is_empty() { (empty(view)) }
                }
                (composer(view, now_ms))
            }
            aside.scroll aria-label="Detail" { (side(view, now_ms)) }
        }
    };
    let title = format!("{} {}", row.agent, short(&row.session_id));
    let crumbs = [("/sessions", "Sessions")];
    page(shell, Place { rail: "sessions", title: &title, crumbs: &crumbs, screen: "session" }, now_ms, &body)
}

fn mentioned(view: &SessionView, approval_id: &str) -> bool {
    view.turns.iter().flat_map(|turn| &turn.items).any(|item| matches!(item, TurnItem::Held { approval_id: id } if id == approval_id))
}

fn head(view: &SessionView) -> Markup {
    let row = &view.session;
    let ids = bind(&[("session_id", &row.session_id)]);
    let act = |op, label, key| op_button(OpButton { op, label, key, class: "btn sm", bind: &ids, then: Some("reload"), why_not: why_not(&view.actions, op).as_deref(), ..OpButton::default() });
    let ended = is_ended(row);
    html! {
        div.head data-copy=(row.session_id) {
            h1.cut { (t(&row.agent)) } span.m.mut title=(t(&row.session_id)) { (t(short(&row.session_id))) }
            (session_state(row))
            @if row.driver == "pty" { (super::terminal::tabs(&row.session_id, false)) }
            @if !ended {
                div.row.push.tools id="lead" {
                    @if row.state == "PAUSED" { (act("session.resume", "Resume", Some("p"))) } @else { (act("session.pause", "Pause", Some("p"))) }
                    (toggle(route_why(view).as_deref(), "route-panel", None, "Route", "btn sm"))
                    (toggle(why_not(&view.actions, "session.close").as_deref(), "close-panel", None, "Close with handoff", "btn sm"))
                    (toggle(why_not(&view.actions, "session.cancel").as_deref(), "stop-panel", Some("stop"), "Stop", "btn sm no"))
                }
            } @else {
                div.row.push.tools id="lead" {
                    (act("session.retry", "Retry as a successor", None))
                    @if let Some(wp) = &row.wp_id { a.btn.sm href={ "/wp/" (query(wp)) } { "Back to " (t(wp)) } }
                }
            }
        }
    }
}

fn toggle(why: Option<&str>, id: &str, symbol: Option<&str>, label: &str, class: &str) -> Markup {
    html! {
        button class=(class) type="button" data-toggle=(id) aria-controls=[why.is_none().then_some(id)] aria-expanded="false" aria-disabled=[why.map(|_| "true")] data-why=[why.map(|why| t(why))] title=[why.map(|why| t(why))] {
            @if let Some(symbol) = symbol { (icon(symbol)) " " } (label)
        }
    }
}

/// It takes nothing any more.
pub(super) fn is_ended(row: &SessionRow) -> bool {
    matches!(row.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED")
}

/// Why nothing can be routed to the session now.
fn route_why(view: &SessionView) -> Option<String> {
    let unbound = view.route.is_none().then(|| "HSK-409-WORKTREE-CONFLICT Its worktree is bound to no packet: bind it first (dcc ws link WS WP).".to_owned());
    why_not(&view.actions, "session.route").or(unbound)
}

/// The command of a hint that sends a person to log an agent in.
fn login_command(hint: &str) -> Option<&str> {
    const FRONT: &str = "dcc agent login ";
    let command = &hint[hint.find(FRONT)?..];
    let name = command[FRONT.len()..].find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(command.len() - FRONT.len());
    (name > 0).then(|| &command[..FRONT.len() + name])
}

/// A session that works and is silent: since when, and what it was at.
fn quiet(row: &SessionRow) -> Markup {
    let Some(quiet) = &row.quiet else { return html! {} };
    html! {
        div.note.hatch id="quiet-note" {
            (st(Pip::Stale, &quiet_words(quiet)))
            span {
                @match (&quiet.last_tool, quiet.tool_runs) {
                    (Some(tool), true) => { "Its last tool still runs: " span.m { (t(tool)) } "." },
                    (Some(tool), false) => { "No tool runs; the last was " span.m { (t(tool)) } "." },
                    (None, _) => "It has called no tool.",
                }
                " The process lives. Wait, pause it, or stop it: its files stay."
            }
        }
    }
}

fn facts(row: &SessionRow, now_ms: i64) -> Markup {
    let began = row.started_at_ms.unwrap_or(row.created_at_ms);
    html! {
        div.head.facts-line {
            dl.read {
                div { dt { "Packet" } dd { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } @else { "none" } } }
                div { dt { "Worktree" } dd { @if let (Some(ws), Some(branch)) = (&row.workspace_id, &row.branch) { a.cut href={ "/ws/" (query(ws)) } title=(t(branch)) { (t(branch)) } } @else { "none" } } }
                div { dt { "Role, model" } dd { (t(&row.role)) @if let Some(model) = &row.model_id { ", " (t(model)) } } }
                @if !row.lane.is_empty() { div { dt { "Lane" } dd { (row.lane.to_lowercase()) } } }
                div { dt { "Elapsed" } dd { @if let Some(end) = row.ended_at_ms { (span(end - began)) } @else { (ago(began, now_ms)) } } }
                div { dt { "Tokens" } dd { @match (row.tokens_in, row.tokens_out) { (None, None) => "not reported", (a, b) => { (tokens(a.unwrap_or(0))) " in, " (tokens(b.unwrap_or(0))) " out" } } } }
                @if let Some(cost) = &row.cost { div { dt { "Cost" } dd { (money(cost)) } } }
                @if let Some(budget) = &row.budget { div { dt { "Budget" } dd { (budget_bar(budget)) " " (t(&budget.words)) } } }
                @if row.driver == "pty" { div { dt { "Driven by" } dd { "terminal, unobserved" } } }
                @if row.driver == "human" { div { dt { "Driven by" } dd { "a person" } } }
                div { dt { "Sandbox" } dd { @if row.sandbox_posture.is_empty() { span.st-failed { "unknown" } } @else { (t(&row.sandbox_posture)) } } }
                div { dt { "Grants" } dd { @if row.grants > 0 { a href="/inbox?tab=grants" { (row.grants) } } @else { "0" } } }
                div { dt { "Last activity" } dd { @if let Some(at) = row.last_activity_at_ms { (ago(at, now_ms)) } @else { "none" } } }
            }
        }
    }
}

fn feed_head(view: &SessionView) -> Markup {
    html! {
        div.head {
            div.seg role="group" aria-label="Show" data-local id="feed-show" {
                button type="button" aria-pressed="true" data-show="all" { "All" }
                button type="button" aria-pressed="false" data-show="tools" data-key="t" { "Tools " kbd { "t" } }
                button type="button" aria-pressed="false" data-show="errors" { "Errors" }
            }
            @let turns = view.turns.iter().filter_map(|turn| turn.number).max().unwrap_or(0);
            span.lab.push { (turns) @if turns == 1 { " turn, " } @else { " turns, " } (view.session.tool_calls) @if view.session.tool_calls == 1 { " call" } @else { " calls" } span id="following" data-local {} }
            (event_slice("session", &view.session.session_id))
        }
    }
}

fn turn_article(view: &SessionView, turn: &TurnView, now_ms: i64) -> Markup {
    html! {
        article.turn id={ "turn-" (turn.turn_id) } data-who=(turn.who) data-own[turn.who == "operator"] data-failed[turn.failure.is_some()] {
            header.row {
                b { @if turn.who == "operator" { "you" } @else { (t(&turn.name)) } }
                span.lab { (clock(turn.started_at_ms)) }
                span.lab.cut { (t(&turn_words(turn))) }
                @if turn.status == "running" { @if let Some(quiet) = &view.session.quiet { (st(Pip::Stale, &quiet_words(quiet))) } @else if view.session.state == "ACTIVE" { (st(Pip::Active, "working")) span.lab { (ago(turn.started_at_ms, now_ms)) } } @else { (session_state(&view.session)) } }
                @if let Some(job) = &turn.job_id { span.push.lab { "job " (job_link(job)) } }
            }
            @if turn.earlier_parts > 0 { p.lab { (turn.earlier_parts) " earlier messages and calls of this turn stand in the record. " (event_slice("session", &view.session.session_id)) } }
            @if turn.who == "system" { (told(turn)) }
            @else { @for (at, item) in turn.items.iter().enumerate() { (turn_item(view, turn, at, item, now_ms)) } }
            @if let Some(failure) = &turn.failure { (failure_note(failure)) }
        }
    }
}

/// Our own words to the agent: a short one as it stands, a long one under its first line.
fn told(turn: &TurnView) -> Markup {
    let text = turn.items.iter().filter_map(|item| if let TurnItem::Text { text } = item { Some(text.as_str()) } else { None }).collect::<Vec<_>>().join("\n");
    let lines = text.lines().count();
    html! {
        @if lines <= 3 { div.say.prose { (SafeText::block(&text)) } }
        @else {
            details id={ "told-" (turn.turn_id) } {
                summary.row.lab { (icon("right")) span.cut { (t(text.lines().next().unwrap_or(""))) } span.push.nw { (lines) " lines" } }
                div.say.prose { (SafeText::block(&text)) }
            }
        }
    }
}

fn turn_words(turn: &TurnView) -> String {
    [
        turn.number.map(|number| format!("turn {number}")),
        turn.ended_at_ms.map(|end| span(end - turn.started_at_ms)),
        turn.tokens.map(|n| format!("{} tokens", tokens(n))),
        turn.cost.as_ref().map(|cost| format!("{} {} {}", cost.amount, cost.currency, cost.source)),
        turn.note.clone(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" · ")
}

fn turn_item(view: &SessionView, turn: &TurnView, at: usize, item: &TurnItem, now_ms: i64) -> Markup {
    html! {
        @match item {
            TurnItem::Text { text } => div.say.prose { (SafeText::block(text)) },
            TurnItem::Thought { text } => details.thought id={ "th-" (turn.turn_id) "-" (at) } { summary.row.lab { (icon("right")) "reasoning the agent shows" } div.claim.prose { (SafeText::block(text)) } },
            TurnItem::Calls { calls } => {
                @if turn.status != "running" && calls.len() > CALLS_OPEN { (call_run(calls, &format!("run-{}-{at}", turn.turn_id))) }
                @else { (call_list(calls, "c-")) }
            },
            TurnItem::Held { approval_id } => {
                @if let Some(card) = view.held.iter().find(|card| card.approval.approval_id == *approval_id) { (held_card(card, now_ms)) }
                @else { p.lab { "A request was decided: " a.link href={ "/approval/" (query(approval_id)) } { (t(short(approval_id))) } } }
            },
        }
    }
}

fn empty(view: &SessionView) -> Markup {
    html! {
        div.pad.stack {
            p { @match (is_ended(&view.session), view.session.driver.as_str()) {
                (true, _) => "It ended without a turn.",
                (_, "pty") => { "A command in a terminal has no turns. " a.link href={ "/session/" (query(&view.session.session_id)) "/terminal" } { "Its terminal" } " shows what it shows and takes keys." },
                (_, "human") => "A person works here; what he commits is on the packet.",
                _ => { "No turn yet. " @if view.session.state == "CREATED" { "The agent is starting." } @else { "Write the first message below." } },
            } }
            @if !view.starters.is_empty() {
                p.lab { "Starting points from the packet:" }
                div.row.wrap { @for text in &view.starters { button.chip type="button" data-fill="say-text" { (t(text)) } } }
            }
        }
    }
}
